"""Neighbours and sums of words are what the model's own numbers say, and words mean what people mean by them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from limner.core.errors import ConfigError, DataError, TokenizerError
from limner.explain.vectors import (
    WordVectors,
    analogy,
    common_words,
    neighbours,
    read_vectors,
    similarity,
    table_vectors,
    word_ids,
)
from limner.models import load
from limner.text.encoder import TextEncoder
from limner.text.generator import TextGenerator
from limner.tokens import Tokenizer
from tests.explain.conftest import small_encoder
from tests.text.conftest import make_generator


@pytest.fixture(scope="module")
def story() -> TextGenerator:
    model = load("story")
    assert isinstance(model, TextGenerator)
    return model


@pytest.fixture(scope="module")
def encoder(wordpiece: Tokenizer) -> TextEncoder:
    return small_encoder(wordpiece, "learned")


@pytest.fixture(scope="module")
def table(minilm: TextEncoder) -> WordVectors:
    """All of it, made once: nearly 30,000 words."""
    return table_vectors(minilm)


# ── what everybody may check ─────────────────────────────────────────────────────────────────────────────


def test_a_cat_is_nearer_to_a_kitten_than_to_a_car(minilm: TextEncoder) -> None:
    for among in ("table", "words"):
        assert similarity(minilm, "cat", "kitten", among=among) > similarity(minilm, "cat", "car", among=among) + 0.2


def test_kings_and_queens(minilm: TextEncoder, table: WordVectors) -> None:
    found = [one.word for one in neighbours(minilm, "king", count=4, among=table).found]
    assert found[:2] == ["kings", "queen"]
    assert similarity(minilm, "king", "queen") > 0.6 > 0.2 > similarity(minilm, "king", "cabbage")


@pytest.mark.parametrize(
    ("a", "b", "c", "d"),
    [
        ("king", "man", "woman", "queen"),
        ("brother", "man", "woman", "sister"),
        ("uncle", "man", "woman", "aunt"),
        ("tokyo", "japan", "germany", "berlin"),
        ("bigger", "big", "small", "smaller"),
        ("kitten", "cat", "dog", "puppy"),
    ],
)
def test_analogies_that_hold(minilm: TextEncoder, table: WordVectors, a: str, b: str, c: str, d: str) -> None:
    assert analogy(minilm, a, b, c, among=table).found[0].word == d


@pytest.mark.parametrize(
    ("a", "b", "c", "hoped", "found"),
    [("paris", "france", "italy", "rome", "italian"), ("doctor", "man", "woman", "nurse", "doctors")],
)
def test_analogies_that_do_not(
    minilm: TextEncoder, table: WordVectors, a: str, b: str, c: str, hoped: str, found: str
) -> None:
    """The documents say so; were the weights others, they would have to say something else."""
    assert analogy(minilm, a, b, c, among=table).found[0].word == found != hoped


def test_an_analogy_is_mostly_one_of_its_own_words(minilm: TextEncoder) -> None:
    asked = analogy(minilm, "king", "man", "woman")
    assert asked.with_inputs[0].word == "king"
    assert asked.found[0].word == "queen"


def test_everyday_words_read_through_the_model(minilm: TextEncoder) -> None:
    words = ["kitten", "car", "dog", "castle", "banana", "cat"]
    found = neighbours(minilm, "cat", count=5, among=words)
    assert [one.word for one in found.found[:2]] == ["kitten", "dog"]
    assert (found.among, found.searched, len(found.found)) == ("words", 6, 5)
    assert found.vector_of == "the word, read through the model"


def test_the_common_words_of_a_tokenizer_are_english(minilm: TextEncoder, story: TextGenerator) -> None:
    words = common_words(minilm, 3000)
    assert len(set(words)) == 3000
    assert words[:3] == ["the", "and", "was"]
    assert {"house", "king", "blue", "river", "walked"} <= set(words)
    assert {"the", "happy", "friend"} <= set(common_words(story, 60))


def test_a_model_trained_on_stories_knows_animals(story: TextGenerator) -> None:
    assert {one.word for one in neighbours(story, "cat", count=3).found} == {" dog", " bird", " mouse"}
    assert neighbours(story, "cat").tokens == [" cat"]


# ── what holds of any model ──────────────────────────────────────────────────────────────────────────────


def test_neighbours_are_cosines_of_the_table(encoder: TextEncoder) -> None:
    (id,) = word_ids(encoder, "moon")
    table = torch.nn.functional.normalize(encoder.model.embedding.token.weight.detach(), dim=1)
    found = neighbours(encoder, "moon", count=500)
    for one in found.found:
        other = encoder.tokenizer.piece_id(one.word)
        assert one.similarity == pytest.approx(float(table[id] @ table[other]), abs=1e-5)
    similarities = [one.similarity for one in found.found]
    assert similarities == sorted(similarities, reverse=True)
    assert not {"moon", "[CLS]", "[PAD]", "."} & {one.word for one in found.found}
    assert found.searched == len(table_vectors(encoder)) == len(found.found) + 1


def test_a_word_of_several_tokens_is_the_mean_of_their_rows(encoder: TextEncoder) -> None:
    found = neighbours(encoder, "moonsun")
    ids = word_ids(encoder, "moonsun")
    assert len(ids) > 1
    assert found.vector_of == f"the mean of {len(ids)} tokens' rows"
    mean = encoder.model.embedding.token.weight[ids].detach().mean(dim=0).numpy()
    nearest = table_vectors(encoder).nearest(mean, 10, without=["moonsun"])
    assert [one.word for one in nearest] == [one.word for one in found.found]


def test_an_analogy_is_a_sum_of_unit_vectors(encoder: TextEncoder) -> None:
    space = table_vectors(encoder)
    at = {word: space.vectors[place] for place, word in enumerate(space.words)}
    target = at["cat"] - at["moon"] + at["tree"]
    asked = analogy(encoder, "cat", "moon", "tree", count=4, among=space)
    best = [space.words[place] for place in np.argsort(-(space.vectors @ target))]
    assert [one.word for one in asked.with_inputs] == best[:4]
    assert [one.word for one in asked.found] == [word for word in best if word not in ("cat", "moon", "tree")][:4]


def test_vectors_that_were_made_before_are_searched_as_they_are(encoder: TextEncoder) -> None:
    space = read_vectors(encoder, ["moon", "cat", "cat", "tree"])
    assert space.words == ("moon", "cat", "tree")
    np.testing.assert_allclose(space.vectors, encoder.encode(["moon", "cat", "tree"], normalize=True), atol=1e-6)
    assert neighbours(encoder, "cat", among=space) == neighbours(encoder, "cat", among=["moon", "cat", "tree"])


def test_results_are_plain_values(encoder: TextEncoder) -> None:
    for result in (neighbours(encoder, "cat"), analogy(encoder, "cat", "moon", "tree")):
        assert json.loads(json.dumps(result.to_dict())) == result.to_dict()


def test_spaces_and_capitals_of_tokens_do_not_hide_the_word_itself(tokenizer: Tokenizer) -> None:
    model = make_generator(tokenizer)
    found = neighbours(model, "The", count=300).found
    assert not {"the", "The"} & {one.word.strip() for one in found}


def test_words_that_cannot_be_asked(encoder: TextEncoder, tokenizer: Tokenizer) -> None:
    writer = make_generator(tokenizer)
    with pytest.raises(DataError, match="the word is ' '"):
        neighbours(encoder, " ")
    with pytest.raises(ConfigError, match="count is 0"):
        neighbours(encoder, "cat", count=0)
    with pytest.raises(ConfigError, match="count is -1"):
        common_words(encoder, -1)
    with pytest.raises(ConfigError, match="among is 'tables'"):
        similarity(encoder, "cat", "tree", among="tables")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="the model writes, but words are read through an encoder"):
        neighbours(writer, "cat", among="words")
    with pytest.raises(DataError, match="words is empty"):
        read_vectors(encoder, [])
    with pytest.raises(DataError, match="words is empty"):
        table_vectors(encoder, [])
    with pytest.raises(TokenizerError, match="the word is '語', but this tokenizer knows no part of it"):
        neighbours(encoder, "語")


def test_no_vector_of_length_0_becomes_no_number() -> None:
    space = WordVectors(("a", "b"), np.eye(2, dtype=np.float32), "words")
    assert all(one.similarity == 0 for one in space.nearest(np.zeros(2, np.float32), 2))
