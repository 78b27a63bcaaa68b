"""What `limner explain` says of a model is what the model does."""

from __future__ import annotations

import json

import pytest
import torch

from limner.core.errors import ConfigError, ContextError
from limner.core.tap import Recorder
from limner.core.transformer import Transformer
from limner.explain.lens import look
from limner.text.generator import TextGenerator
from limner.tokens import Tokenizer, train_tokenizer
from tests.text.conftest import STORY, make_generator, randomize, tiny_config


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    return train_tokenizer("byte-bpe", [STORY] * 4, vocab_size=320)


@pytest.fixture(params=["rotary", "learned", "sliding"])
def model(request: pytest.FixtureRequest, words: Tokenizer) -> TextGenerator:
    return make_generator(words, kind=request.param)


def test_tokens_norms_and_next_tokens_are_the_models(model: TextGenerator) -> None:
    view = look(model, "Once upon a time", top=7)
    ids = model.read_prompt("Once upon a time")
    assert [token.id for token in view.tokens] == ids
    assert "".join(token.text for token in view.tokens) == "<|end|>Once upon a time"
    tap = Recorder()
    with torch.inference_mode():
        shares = model.model(torch.tensor([ids]), tap=tap)[0, -1].softmax(dim=-1)
    assert [guess.id for guess in view.next] == shares.topk(7).indices.tolist()
    assert view.next[0].probability == pytest.approx(shares.max().item(), rel=1e-5)
    norms = [vector.norm().item() for vector in tap["embedding.output"][0]]
    assert [token.norm for token in view.tokens] == pytest.approx(norms, rel=1e-5)


def test_attention_is_a_mean_of_heads_and_the_strongest_looks_most_at_one_token_of_the_text(
    model: TextGenerator,
) -> None:
    view = look(model, "Tom climbed a tall tree")
    tap = Recorder()
    with torch.inference_mode():
        model.model(torch.tensor([[token.id for token in view.tokens]]), tap=tap)
    for layer in view.layers:
        weights = tap[f"layer.{layer.layer}.attention.weights"][0, :, -1]
        assert layer.attention == pytest.approx(weights.mean(dim=0).tolist(), abs=1e-6)
        assert sum(layer.attention) == pytest.approx(1.0, abs=1e-4)
        assert layer.head_attention == pytest.approx(weights[layer.head].tolist(), abs=1e-6)
        assert max(layer.head_attention[1:]) == pytest.approx(weights[:, 1:].max().item(), abs=1e-6)


def test_the_lens_after_the_last_layer_is_the_models_own_prediction(model: TextGenerator) -> None:
    view = look(model, "Tom climbed", top=5)
    last = view.layers[-1].guesses
    assert [guess.id for guess in last] == [guess.id for guess in view.next]
    assert last[0].probability == pytest.approx(view.next[0].probability, abs=1e-5)


def test_the_lens_on_a_layer_is_the_prediction_of_the_model_without_the_layers_after_it(words: Tokenizer) -> None:
    model = make_generator(words)
    view = look(model, "Tom climbed", top=5)
    assert model.model.decoder is not None
    model.model.decoder.layers = model.model.decoder.layers[:1]
    with torch.inference_mode():
        ids = torch.tensor([[token.id for token in view.tokens]])
        shares = model.model(ids)[0, -1].softmax(dim=-1)
    guesses = view.layers[0].guesses
    assert [guess.id for guess in guesses] == shares.topk(5).indices.tolist()
    assert view.layers[0].guess.probability == pytest.approx(shares.max().item(), rel=1e-4)


def test_an_empty_text_is_the_token_that_begins_texts(words: Tokenizer) -> None:
    view = look(make_generator(words), "")
    assert [token.text for token in view.tokens] == ["<|end|>"]
    assert view.layers[0].attention == pytest.approx([1.0])


def test_to_dict_is_json(words: Tokenizer) -> None:
    values = json.loads(json.dumps(look(make_generator(words), "café 🪁").to_dict(), allow_nan=False))
    assert list(values) == ["tokens", "before", "layers", "next"]


def test_what_cannot_be_looked_at_is_said(words: Tokenizer) -> None:
    model = TextGenerator(randomize(Transformer(tiny_config(words.vocab_size))), words)
    with pytest.raises(ContextError, match=r"holds 48\. Shorten it\.$"):
        look(model, STORY * 2)
    with pytest.raises(ConfigError, match="top is 0"):
        look(model, "Tom", top=0)
