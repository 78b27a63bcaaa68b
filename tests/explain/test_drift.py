"""A word's vectors are the model's own at its place, and part where its senses do."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from limner.core.errors import ContextError, DataError
from limner.core.tap import Recorder
from limner.explain.drift import drift
from limner.explain.words import word_places
from limner.models import load
from limner.text.encoder import TextEncoder
from limner.text.generator import TextGenerator
from limner.tokens import Tokenizer
from tests.explain.conftest import small_encoder
from tests.text.conftest import make_generator

FRUIT, COMPANY = "an apple a day", "Apple released a phone"


def test_an_apple_and_apple_part_as_the_layers_read(minilm: TextEncoder) -> None:
    seen = drift(minilm, "apple", FRUIT, COMPANY, references=["fruit", "phone"])
    assert seen.similarity[0] > 0.95, "before any layer only the place differs"
    assert seen.similarity[-1] == seen.similarity.min() < 0.8
    nearer_to_fruit = seen.references["fruit"][0] - seen.references["fruit"][1]
    assert nearer_to_fruit[0] < 0 < 0.1 < nearer_to_fruit[1] < nearer_to_fruit[4] < nearer_to_fruit[6]
    assert nearer_to_fruit[-1] > 0.2
    assert (seen.references["phone"][1] - seen.references["phone"][0])[-1] > 0.1


def test_a_word_of_one_sense_parts_less(minilm: TextEncoder) -> None:
    apple = drift(minilm, "apple", FRUIT, COMPANY)
    table = drift(minilm, "table", "They ate at a table in the kitchen.", "She put the plates on the table.")
    assert table.similarity[-1] > apple.similarity[-1] + 0.05


def test_a_writer_knows_only_what_stands_before(minilm: TextEncoder) -> None:
    story = load("story")
    assert isinstance(story, TextGenerator)
    same = drift(story, "ball", "The red ball is round", "The red ball was lost")
    assert same.causal
    np.testing.assert_allclose(same.similarity, 1, atol=1e-5)
    other = drift(story, "ball", "The boy threw the red ball", "The princess danced at the ball")
    assert other.similarity[0] > 0.99
    assert other.similarity[-1] < 0.6


@pytest.mark.parametrize("kind", ["rotary", "learned", "sliding"])
def test_vectors_are_the_models_own(kind: str, tokenizer: Tokenizer) -> None:
    model = make_generator(tokenizer, kind=kind)
    first, second = "Tom climbed a tall tree", "A tall girl"
    seen = drift(model, "tall", first, second, references=["moon"])
    for row, text in enumerate((first, second)):
        ids, places = word_places(model, text, "tall")
        assert ids == model.read_prompt(text)
        assert "".join(model.token_text(ids[place]) for place in places).strip() == "tall"
        tap = Recorder()
        with torch.inference_mode():
            model.model(torch.tensor([ids]), tap=tap)
        for layer, name in enumerate(("embedding.output", "layer.0.residual", "final_norm")):
            expected = tap[name][0, places].mean(dim=0).numpy()
            np.testing.assert_allclose(seen.vectors[row, layer], expected, atol=1e-5)
    one, two = seen.vectors[:, 1]
    assert seen.similarity[1] == pytest.approx(one @ two / np.linalg.norm(one) / np.linalg.norm(two), abs=1e-5)
    assert seen.references["moon"].shape == (2, 3)


def test_the_word_by_itself_is_found_before_one_within_another(wordpiece: Tokenizer) -> None:
    encoder = small_encoder(wordpiece, "rotary")
    ids, places = word_places(encoder, "The catalogue, the cat!", "CAT")
    assert [wordpiece.piece(ids[place]) for place in places] == ["cat"]
    assert places[0] > 3
    assert ids == encoder.read("The catalogue, the cat!")


def test_results_are_plain_values(wordpiece: Tokenizer) -> None:
    seen = drift(small_encoder(wordpiece, "rotary"), "cat", "a curious cat", "cat", references=["moon"])
    told = seen.to_dict()
    assert json.loads(json.dumps(told)) == told
    assert len(told["similarity"]) == 4
    assert told["second"]["places"] == [1]
    assert len(told["strangers"]) == 4


def test_words_that_are_not_there(wordpiece: Tokenizer) -> None:
    encoder = small_encoder(wordpiece, "rotary")
    with pytest.raises(DataError, match="the word is 'dog', but the text 'a curious cat' does not hold it"):
        drift(encoder, "dog", "a dog", "a curious cat")
    with pytest.raises(DataError, match="the word is ' '"):
        drift(encoder, " ", "a cat", "a cat")
    with pytest.raises(ContextError, match="tokens long, but the context window of the model holds 24"):
        drift(encoder, "cat", "cat " * 40, "a cat")
