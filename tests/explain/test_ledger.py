"""The shares of a logit add up to it, and each is what its part really gave."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from limner.core.errors import ConfigError
from limner.core.tap import Recorder
from limner.explain.logit import ledger
from limner.models import load
from limner.text.generator import TextGenerator
from limner.tokens import Tokenizer
from tests.explain.conftest import build

TEXT = "Once upon a time, there was a curious cat"


def logits_of(model: TextGenerator) -> torch.Tensor:
    with torch.inference_mode():
        return model.model(torch.tensor([model.read_prompt(TEXT)]))[0]


def test_shares_sum_to_the_logit_of_the_token_that_follows(model: TextGenerator) -> None:
    trace, logits = model.trace(TEXT, keep="ledger"), logits_of(model)
    follows = [*model.read_prompt(TEXT)[1:], int(logits[-1].argmax())]
    assert trace["ledger.logit"].shape == (len(follows), 2 * 2 + 2)
    np.testing.assert_allclose(trace["ledger.logit"].sum(axis=1), logits[range(len(follows)), follows], atol=1e-4)


def test_without_biases_nothing_is_left_for_the_rest(words: Tokenizer) -> None:
    """The rest is no bin for what was reckoned wrongly: where the head has no bias, it is empty."""
    for kind in ("rotary", "sliding", "sandwich"):
        model = build(words, kind)
        assert model.model.head is not None
        assert model.model.head.bias is not None
        rest = model.trace(TEXT, keep="ledger")["ledger.logit"][:, -1]
        logits = logits_of(model)
        follows = [*model.read_prompt(TEXT)[1:], int(logits[-1].argmax())]
        np.testing.assert_allclose(rest, model.model.head.bias.detach()[follows], atol=2e-5)


def test_the_bundled_model_leaves_nothing_for_the_rest() -> None:
    story = load("story")
    assert isinstance(story, TextGenerator)
    rest = story.trace(TEXT, keep="ledger")["ledger.logit"][:, -1]
    assert np.abs(rest).max() < 1e-3


def test_the_rest_of_a_layer_norm_is_its_shift_and_the_heads_bias(words: Tokenizer) -> None:
    model = build(words, "learned")
    decoder, head = model.model.decoder, model.model.head
    assert decoder is not None
    assert head is not None
    assert head.bias is not None
    assert decoder.final_norm is not None
    rest = model.trace(TEXT, keep="ledger")["ledger.logit"][:-1, -1]
    follows = model.read_prompt(TEXT)[1:]
    shift = model.model.embedding.token.weight.detach()[follows] @ decoder.final_norm.bias.detach()  # type: ignore[operator]
    np.testing.assert_allclose(rest, shift + head.bias.detach()[follows], atol=2e-5)


def test_a_share_is_what_its_part_gives_through_the_last_norm(words: Tokenizer) -> None:
    model = build(words, "rotary")
    tap, ids = Recorder(), model.read_prompt(TEXT)
    with torch.inference_mode():
        model.model(torch.tensor([ids]), tap=tap)
    last = tap["layer.1.residual"][0, 3]
    given = tap["layer.0.feed_forward.output"][0, 3]
    assert model.model.decoder is not None
    norm = model.model.decoder.final_norm
    assert norm is not None
    held = given / last.square().mean().add(1e-6).sqrt() * norm.weight.detach()
    wanted = held @ model.model.embedding.token.weight.detach()[ids[4]]
    assert model.trace(TEXT)["ledger.logit"][3, 2] == pytest.approx(float(wanted), abs=1e-5)


def test_heads_sum_to_their_attention_but_for_its_bias(model: TextGenerator) -> None:
    trace = model.trace(TEXT, keep="ledger")
    heads, attention = trace["ledger.heads"].sum(axis=2), trace["ledger.logit"][:, [1, 3]]
    block = model.model.config.stack.blocks[0]
    if not block.attention.output_bias:
        np.testing.assert_allclose(heads, attention, atol=1e-4)
    else:
        assert model.model.decoder is not None
        for layer in model.model.decoder.layers:
            with torch.no_grad():
                layer.attention.output.bias.zero_()  # type: ignore[union-attr, operator]
        trace = model.trace(TEXT, keep="ledger")
        np.testing.assert_allclose(trace["ledger.heads"].sum(axis=2), trace["ledger.logit"][:, [1, 3]], atol=1e-4)


def test_any_place_and_any_token(model: TextGenerator) -> None:
    logits = logits_of(model)
    for place, target in ((-1, None), (4, 17), (0, None), (-3, 300)):
        found = ledger(model, TEXT, place=place, target=target)
        assert found.place == place % len(logits)
        assert found.names == (
            "embedding", "attention 0", "feed_forward 0", "attention 1", "feed_forward 1", "rest",
        )  # fmt: skip
        assert found.shares.sum() == pytest.approx(float(logits[found.place, found.target]), abs=1e-4)
        assert found.logit == pytest.approx(float(logits[found.place, found.target]), abs=1e-4)
        assert target is None or found.target == target
        assert found.heads.shape == (2, model.model.config.stack.blocks[0].attention.num_heads)
    assert ledger(model, TEXT).target == int(logits[-1].argmax())
    assert ledger(model, TEXT, place=0).target == model.read_prompt(TEXT)[1]
    json.dumps(found.to_dict(), allow_nan=False)


def test_what_has_no_ledger_is_said(words: Tokenizer, rotary: TextGenerator) -> None:
    with pytest.raises(ConfigError, match=r"tiny-post, but its logits are no sum .* normalises the stream after each"):
        ledger(build(words, "post"), TEXT)
    with pytest.raises(ConfigError, match="place is 99"):
        ledger(rotary, TEXT, place=99)
    with pytest.raises(ConfigError, match="target is 'Once upon', but that is 4 tokens"):
        ledger(rotary, TEXT, target="Once upon")
    with pytest.raises(ConfigError, match="target is 4000"):
        ledger(rotary, TEXT, target=4000)
