"""Which combinations training never sees.

Two sets are held back for good, by a rule that hangs on the words alone:

* *pairs*: about a twentieth of all (animal, hat), of all (hat, colour) and of all (animal, colour) pairs;
* *triples*: a tenth of the (animal, hat, colour) triples that hold no such pair, so spread out that every pair which
  training may see keeps most of its triples. A German Shepherd with a red baseball cap is one of them.

A model that draws a held-back triple has put known parts together in a new way; one that draws a held-back pair has
never even seen that hat on that animal, or in that colour.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from functools import cache
from itertools import product
from typing import Literal

from limner.picture.world.vocabulary import ANIMALS, COLOURS, HATS

PAIR_SHARE = 0.05
TRIPLE_SHARE = 0.1
EMBLEM = ("German Shepherd", "baseball cap", "red")  # the triple everybody asks for first

Kind = Literal["animal hat", "hat colour", "animal colour"]
Pair = tuple[str, str]
Triple = tuple[str, str, str]

_VALUES: dict[Kind, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "animal hat": (ANIMALS, HATS),
    "hat colour": (HATS, COLOURS),
    "animal colour": (ANIMALS, COLOURS),
}


def pairs_of(triple: Triple) -> dict[Kind, Pair]:
    """The three pairs that a triple holds."""
    animal, hat, colour = triple
    return {"animal hat": (animal, hat), "hat colour": (hat, colour), "animal colour": (animal, colour)}


@cache
def held_back_pairs(kind: Kind) -> frozenset[Pair]:
    """The held-back pairs of one kind. No value stands in two of them, and none of them is in the emblem."""
    first, second = _VALUES[kind]
    count = round(PAIR_SHARE * len(first) * len(second))
    chosen: list[Pair] = []
    used = set(pairs_of(EMBLEM)[kind])
    for pair in sorted(product(first, second), key=_shuffled):
        if len(chosen) < count and used.isdisjoint(pair):
            chosen.append(pair)
            used.update(pair)
    assert len(chosen) == count
    return frozenset(chosen)


@cache
def held_back_triples() -> frozenset[Triple]:
    """The held-back triples: a tenth of those without a held-back pair, the emblem first."""
    free = [triple for triple in product(ANIMALS, HATS, COLOURS) if not has_held_back_pair(*triple)]
    count = round(TRIPLE_SHARE * len(free))
    totals = Counter(pair for triple in free for pair in pairs_of(triple).items())
    gone: Counter[tuple[Kind, Pair]] = Counter()
    chosen: set[Triple] = set()
    for triple in (EMBLEM, *sorted(free, key=_shuffled)):
        pairs = pairs_of(triple).items()
        if len(chosen) < count and triple not in chosen and all(gone[p] + 1 <= totals[p] / 4 for p in pairs):
            chosen.add(triple)
            gone.update(pairs)
    assert len(chosen) == count
    return frozenset(chosen)


def held_back_triple(animal: str, hat: str, colour: str) -> bool:
    """Whether the triple itself is held back; one with a held-back pair is not counted here."""
    return (animal, hat, colour) in held_back_triples()


def held_back_pair(kind: Kind, first: str, second: str) -> bool:
    """Whether the pair is held back; ``kind`` says what the two are, in this order."""
    return (first, second) in held_back_pairs(kind)


def has_held_back_pair(animal: str, hat: str, colour: str) -> bool:
    """Whether the triple holds a held-back pair of any kind."""
    return any(held_back_pair(kind, *pair) for kind, pair in pairs_of((animal, hat, colour)).items())


def in_training(animal: str, hat: str | None, colour: str | None) -> bool:
    """Whether training may show this animal with this hat; without a hat it always may."""
    if hat is None or colour is None:
        return True
    return not held_back_triple(animal, hat, colour) and not has_held_back_pair(animal, hat, colour)


def _shuffled(words: tuple[str, ...]) -> bytes:
    """Where something stands in an order that hangs on its words alone, not on the vocabulary's order."""
    return hashlib.blake2b("|".join(words).encode(), digest_size=8).digest()
