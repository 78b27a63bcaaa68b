"""Positions as they are drawn are those that the model uses, and without them an encoder reads a bag of words."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from limner.core.config import (
    ALiBiPositions,
    AttentionConfig,
    BlockConfig,
    FeedForwardConfig,
    ModelConfig,
    RotaryPositions,
    SlidingSpan,
    StackConfig,
    YarnScaling,
)
from limner.core.errors import ConfigError, ContextError
from limner.core.positions import rotary_frequencies, rotate, rotation
from limner.core.tap import Recorder
from limner.core.transformer import Transformer
from limner.explain.order import compare_order
from limner.explain.positions import Penalized, Turned, read_positions, without_positions
from limner.models import load
from limner.text.encoder import TextEncoder
from limner.text.generator import TextGenerator
from limner.tokens import Tokenizer
from tests.explain.conftest import POSITIONS, small_encoder
from tests.text.conftest import make_generator, randomize


@pytest.mark.parametrize("kind", POSITIONS)
def test_without_positions_an_encoder_reads_a_bag_of_words(kind: str, wordpiece: Tokenizer) -> None:
    encoder = small_encoder(wordpiece, kind)
    seen = compare_order(encoder, "the curious cat saw the moon", "the moon saw the curious cat")
    assert seen.same_tokens
    assert not seen.causal
    assert seen.positions == kind
    assert seen.without_positions.largest_difference is not None
    assert seen.without_positions.largest_difference <= 2e-6
    assert all(pair.similarity == pytest.approx(1, abs=1e-5) for pair in seen.without_positions.pairs)
    assert seen.with_positions.largest_difference is not None
    assert seen.with_positions.largest_difference > 1e-2
    assert seen.with_positions.similarity < seen.without_positions.similarity == pytest.approx(1, abs=1e-5)


def test_a_model_that_is_never_told_makes_no_difference(wordpiece: Tokenizer) -> None:
    encoder = small_encoder(wordpiece, "none")
    seen = compare_order(encoder, "Tom saw a cat", "a cat saw Tom")
    assert seen.positions == "none"
    assert seen.with_positions.largest_difference == seen.without_positions.largest_difference
    assert seen.with_positions.pairs == seen.without_positions.pairs


def test_cats_chase_mice(minilm: TextEncoder) -> None:
    seen = compare_order(minilm, "Cats chase mice", "Mice chase cats")
    assert seen.same_tokens
    assert seen.tokens[0] == ["[CLS]", "cats", "chase", "mice", "[SEP]"]
    assert [(pair.token, pair.places) for pair in seen.with_positions.pairs][1:4] == [
        ("cats", (1, 3)),
        ("chase", (2, 2)),
        ("mice", (3, 1)),
    ]
    assert 0.97 < seen.with_positions.similarity < 0.99, "the order of three words moves their meaning a little"
    assert (seen.with_positions.largest_difference or 0) > 0.5
    assert (seen.without_positions.largest_difference or 1) < 5e-6


def test_a_writer_hears_of_order_from_the_causal_mask_too() -> None:
    story = load("story")
    assert isinstance(story, TextGenerator)
    seen = compare_order(story, "The cat saw the dog", "The dog saw the cat")
    assert seen.same_tokens
    assert seen.causal
    assert seen.without_positions.similarity < 0.999
    ids = torch.tensor([story.read_prompt("The dog saw the cat")])
    with torch.inference_mode():
        shares = story.model(ids)[0, -1].softmax(dim=-1)
        without = story.model(ids, tap=without_positions())[0, -1].softmax(dim=-1)
    assert [one.id for one in seen.with_positions.next[1]] == shares.topk(5).indices.tolist()
    assert [one.id for one in seen.without_positions.next[1]] == without.topk(5).indices.tolist()
    assert seen.with_positions.next[1][0].text != seen.without_positions.next[1][0].text


def test_capitals_may_make_other_tokens_of_the_same_words() -> None:
    story = load("story")
    assert isinstance(story, TextGenerator)
    seen = compare_order(story, "Cats chase mice", "Mice chase cats")
    assert not seen.same_tokens
    assert seen.with_positions.largest_difference is None
    assert " chase" in [pair.token for pair in seen.with_positions.pairs]


def test_positions_off_is_off_token_by_token_through_a_cache_too(tokenizer: Tokenizer) -> None:
    from limner.core.cache import Cache

    for kind in ("rotary", "learned"):
        model = make_generator(tokenizer, kind=kind)
        ids = torch.tensor([model.read_prompt("Tom climbed a tall tree")])
        cache = Cache.empty(model.model.config, 1)
        with torch.inference_mode():
            whole = model.model(ids, tap=without_positions())
            pieces = [model.model(ids[:, [at]], cache=cache, tap=without_positions()) for at in range(ids.shape[1])]
        torch.testing.assert_close(torch.cat(pieces, dim=1), whole, atol=1e-4, rtol=1e-4)


def test_added_vectors_are_those_that_the_model_adds(wordpiece: Tokenizer, minilm: TextEncoder) -> None:
    for encoder in (small_encoder(wordpiece, "learned"), small_encoder(wordpiece, "sinusoidal"), minilm):
        text = "the curious cat saw the moon"
        tap = Recorder(["embedding.positions"])
        ids = encoder.read(text)
        with torch.inference_mode():
            encoder.model.hidden(torch.tensor([ids]), tap=tap)
        added = read_positions(encoder, len(ids)).added
        assert added is not None
        np.testing.assert_allclose(added.vectors, tap["embedding.positions"].numpy(), atol=1e-6)
        np.testing.assert_allclose(np.diag(added.similarity), 1, atol=1e-5)
    vectors, tokens = minilm.model.embedding.position.weight[: len(ids)], minilm.model.embedding.token.weight
    assert added.share == pytest.approx(float(vectors.detach().norm(dim=1).mean() / tokens.detach().norm(dim=1).mean()))


def generator_of(tokenizer: Tokenizer, *positions: RotaryPositions | ALiBiPositions) -> TextGenerator:
    attentions = [AttentionConfig(4, 2, 8, positions=one) for one in positions]
    attentions += [AttentionConfig(4, 2, 8, positions=positions[0], span=SlidingSpan(4))]
    blocks = tuple(BlockConfig(attention, FeedForwardConfig(48)) for attention in attentions)
    config = ModelConfig(tokenizer.vocab_size, 32, 48, decoder=StackConfig(2 * len(blocks), blocks, causal=True))
    return TextGenerator(randomize(Transformer(config)), tokenizer)


def test_rotations_are_those_by_which_the_model_turns(tokenizer: Tokenizer) -> None:
    spec = RotaryPositions(base=500.0, fraction=0.5, scaling=YarnScaling(4.0, 16))
    seen = read_positions(generator_of(tokenizer, spec, RotaryPositions()), 20)
    assert seen.kind == "rotary"
    assert seen.causal
    slow, full = seen.within
    assert isinstance(slow, Turned)
    assert isinstance(full, Turned)
    assert (slow.layers, full.layers) == ([0, 2, 3, 5], [1, 4])
    assert (slow.channels, full.channels) == (4, 8)
    frequencies, _ = rotary_frequencies(spec, 4, 20)
    np.testing.assert_allclose(slow.angles[7], 7 * frequencies, atol=1e-5)
    np.testing.assert_allclose(slow.turn * frequencies.numpy(), 2 * np.pi, rtol=1e-5)
    vector = torch.full((1, 1, 20, 8), 8**-0.5)
    turned = rotate(vector, rotation(torch.arange(20), rotary_frequencies(RotaryPositions(), 8, 20)[0]))[0, 0]
    for start in (0, 5):  # only the distance counts
        np.testing.assert_allclose(full.score[:12], turned[start : start + 12] @ turned[start], atol=1e-5)
    assert full.score[0] == pytest.approx(1, abs=1e-5)
    assert full.score[1:].max() < 1


def test_penalties_are_those_that_the_model_takes(tokenizer: Tokenizer) -> None:
    model = generator_of(tokenizer, ALiBiPositions())
    (way,) = read_positions(model, 6).within
    assert isinstance(way, Penalized)
    tap = Recorder(["slopes"])
    with torch.inference_mode():
        model.model(torch.tensor([[1, 2, 3]]), tap=tap)
    assert way.slopes.tolist() == tap["slopes"].tolist()
    np.testing.assert_allclose(way.bias[1], -way.slopes[1] * np.arange(6))


def test_results_are_plain_values(wordpiece: Tokenizer, tokenizer: Tokenizer) -> None:
    for kind in POSITIONS:
        told = read_positions(small_encoder(wordpiece, kind), 5).to_dict()
        assert json.loads(json.dumps(told)) == told
        assert told["kind"] == kind
    told = compare_order(make_generator(tokenizer), "Tom saw", "saw Tom").to_dict()
    assert json.loads(json.dumps(told))["tokens"][0][0] == "<|end|>"


def test_what_cannot_be_done_is_said(wordpiece: Tokenizer, tokenizer: Tokenizer) -> None:
    encoder = small_encoder(wordpiece, "learned")
    with pytest.raises(ConfigError, match="count is 0"):
        read_positions(encoder, 0)
    with pytest.raises(ConfigError, match="count is 25, but the model has learned vectors for 24 positions"):
        read_positions(encoder, 25)
    with pytest.raises(ConfigError, match="top is 0"):
        compare_order(encoder, "a", "b", top=0)
    with pytest.raises(ContextError, match=r"tokens long, .* holds 24"):
        compare_order(encoder, "cat " * 40, "cat")
