"""What is held back: the right share, and nothing that would make the rest unlearnable."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest

from limner.picture.world.split import (
    Kind,
    has_held_back_pair,
    held_back_pair,
    held_back_pairs,
    held_back_triple,
    held_back_triples,
    in_training,
    pairs_of,
)
from limner.picture.world.vocabulary import ANIMALS, COLOURS, HATS

KINDS: dict[Kind, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "animal hat": (ANIMALS, HATS),
    "hat colour": (HATS, COLOURS),
    "animal colour": (ANIMALS, COLOURS),
}
ALL = list(product(ANIMALS, HATS, COLOURS))


def test_a_tenth_of_the_triples_without_a_held_back_pair_is_held_back() -> None:
    free = [triple for triple in ALL if not has_held_back_pair(*triple)]
    held = held_back_triples()
    assert len(held) == round(len(free) / 10)
    assert held <= set(free)


def test_a_german_shepherd_with_a_red_baseball_cap_is_held_back() -> None:
    assert held_back_triple("German Shepherd", "baseball cap", "red")
    assert not in_training("German Shepherd", "baseball cap", "red")
    assert in_training("German Shepherd", None, None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_twentieth_of_each_kind_of_pair_is_held_back(kind: Kind) -> None:
    first, second = KINDS[kind]
    assert len(held_back_pairs(kind)) == round(0.05 * len(first) * len(second))
    assert not held_back_pair(kind, *pairs_of(("German Shepherd", "baseball cap", "red"))[kind])


def test_every_other_pair_keeps_most_of_its_triples_in_training() -> None:
    seen = Counter(pair for triple in ALL if in_training(*triple) for pair in pairs_of(triple).items())
    for kind, (first, second) in KINDS.items():
        for pair in product(first, second):
            count = seen[kind, pair]
            if held_back_pair(kind, *pair):
                assert count == 0
            else:
                assert count >= 4, (kind, pair, count)


def test_every_word_is_seen_with_nearly_all_others() -> None:
    for kind, (first, second) in KINDS.items():
        for at, words in enumerate((first, second)):
            for word in words:
                assert sum(pair[at] == word for pair in held_back_pairs(kind)) <= 1
