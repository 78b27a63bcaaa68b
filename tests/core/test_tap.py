"""Looking inside changes nothing; reaching in changes exactly what it should."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from limner.core.attention import BLOCK, View, attention_weights
from limner.core.cache import Cache
from limner.core.config import (
    ALiBiPositions,
    EmbeddingConfig,
    LearnedPositions,
    RotaryPositions,
    SlidingSpan,
)
from limner.core.tap import NO_TAP, Chain, Editor, Recorder
from tests.core.conftest import attention, block, build, decoder, ids

VARIANTS: dict[str, Any] = {
    "rotary": lambda: decoder(block(attention(RotaryPositions(), num_kv_heads=2))),
    "sliding": lambda: decoder(block(attention(RotaryPositions(), span=SlidingSpan(4)))),
    "alibi": lambda: decoder(block(attention(ALiBiPositions(), num_kv_heads=1))),
    "softcap": lambda: decoder(block(attention(RotaryPositions(), softcap=3.0))),
    "learned": lambda: decoder(positions=LearnedPositions(), embedding=EmbeddingConfig(segments=2)),
}


def padding() -> torch.Tensor:
    return torch.arange(20)[None] >= torch.tensor([[0], [6]])


@pytest.mark.parametrize("name", VARIANTS)
@torch.inference_mode()
def test_recording_changes_nothing(name: str) -> None:
    model = build(VARIANTS[name]())
    text = ids()
    for mask in (None, padding()):
        recorder = Recorder()
        assert torch.equal(model(text, mask=mask, tap=recorder), model(text, mask=mask))
        assert torch.equal(recorder["logits"], model(text, mask=mask))


@pytest.mark.parametrize("name", VARIANTS)
@torch.inference_mode()
def test_shown_attention_is_the_fused_one(name: str) -> None:
    """An edit that changes no number, but returns another tensor, sends the model down the shown path."""
    model = build(VARIANTS[name]())
    text = ids()
    shown = Editor({"*.weights": lambda weights: weights + 0.0})
    for mask in (None, padding()):
        real = mask if mask is not None else torch.ones_like(text, dtype=torch.bool)
        fused, weighed = Recorder(("layer.0.attention.output",)), Recorder(("layer.0.attention.output",))
        difference = model(text, mask=mask, tap=Chain(shown, weighed)) - model(text, mask=mask, tap=fused)
        assert difference[real].abs().max() <= 1e-5  # three layers on, logits of 5 and more
        first = weighed["layer.0.attention.output"] - fused["layer.0.attention.output"]
        assert first[real].abs().max() <= 1e-6


@torch.inference_mode()
def test_one_layer_shown_is_fused_to_the_last_digits() -> None:
    model = build(decoder(block(attention(RotaryPositions(), num_kv_heads=2)), layers=1))
    recorder = Recorder(("layer.0.attention.*",))
    model(ids(), tap=recorder)
    weights, value, mixed = (recorder[f"layer.0.attention.{name}"] for name in ("weights", "value", "mixed"))
    assert (weights @ value.repeat_interleave(2, dim=1) - mixed).abs().max() <= 1e-6
    assert torch.allclose(weights.sum(-1), torch.ones(2, 4, 20))
    assert weights.triu(1).abs().max() == 0


@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("time", [BLOCK, BLOCK + 1, 2 * BLOCK + 40])
def test_shown_attention_of_a_long_text_is_that_of_a_short_one_and_gradients_are(
    time: int, softcap: float | None
) -> None:
    """Long texts are worked through a block of tokens at a time; with a mask they are not."""
    config = attention(RotaryPositions(), num_kv_heads=2, softcap=softcap)
    draw = torch.Generator().manual_seed(0)
    q, k, toward = (torch.randn(2, heads, time, size, generator=draw) for heads, size in ((4, 8), (2, 8), (4, time)))
    found = []
    for view in (View(None, None, True), View(None, torch.ones(time, time, dtype=torch.bool).tril()[None, None])):
        query, key = q.clone().requires_grad_(), k.clone().requires_grad_()
        weights = attention_weights(query, key, view, config, 0.5)
        found.append((weights.detach(), *torch.autograd.grad((weights * toward).sum(), (query, key))))
    for blocks, whole in zip(*found, strict=True):
        torch.testing.assert_close(blocks, whole, rtol=1e-4, atol=1e-5)
    assert torch.allclose(found[0][0].sum(-1), torch.ones(2, 4, time))


@torch.inference_mode()
def test_every_step_is_named() -> None:
    model = build(decoder(positions=LearnedPositions(), embedding=EmbeddingConfig(segments=2), layers=1))
    recorder = Recorder()
    model(ids(), tap=recorder)
    assert set(recorder.values) == {
        *(f"embedding.{name}" for name in ("token", "positions", "segments", "output")),
        *(f"layer.0.attention.{name}" for name in ("query", "key", "value", "weights", "mixed", "output")),
        "layer.0.residual_attention",
        "layer.0.feed_forward.hidden",
        "layer.0.feed_forward.output",
        "layer.0.residual",
        "final_norm",
        "logits",
    }


@torch.inference_mode()
def test_where_tokens_stand_can_be_seen_and_changed() -> None:
    """Turned as if all stood at one place, or not made to pay for distance, a bidirectional text has no order."""
    text, order = ids(), torch.randperm(20)
    for positions, step, seen in (
        (RotaryPositions(), "places", list(range(20))),
        (ALiBiPositions(), "slopes", [0.25, 0.0625, 0.015625, 0.00390625]),
    ):
        model = build(decoder(positions=positions, causal=False))
        recorder = Recorder([step])
        model(text, tap=recorder)
        assert recorder[step].tolist() == seen
        off = Editor({step: torch.zeros_like})
        assert (model(text[:, order], tap=off) - model(text, tap=off)[:, order]).abs().max() <= 1e-5
        assert (model(text[:, order]) - model(text)[:, order]).abs().max() > 1e-2


@torch.inference_mode()
def test_the_residual_stream_adds_up() -> None:
    model = build(decoder(block(attention(RotaryPositions()))))
    seen = Recorder()
    model(ids(), tap=seen)
    x = seen["embedding.output"]
    for layer in range(3):
        x = x + seen[f"layer.{layer}.attention.output"]
        assert torch.allclose(x, seen[f"layer.{layer}.residual_attention"])
        x = x + seen[f"layer.{layer}.feed_forward.output"]
        assert torch.allclose(x, seen[f"layer.{layer}.residual"])


def without_head(mixed: torch.Tensor) -> torch.Tensor:
    return torch.cat((mixed[:, :2], torch.zeros_like(mixed[:, 2:3]), mixed[:, 3:]), dim=1)


@torch.inference_mode()
def test_a_head_silenced_is_a_head_without_output_rows() -> None:
    config = decoder(block(attention(RotaryPositions(), num_kv_heads=2)))
    model, edited = build(config), build(config)
    edited.decoder.layers[1].attention.output.weight[:, 12:18] = 0.0  # type: ignore[union-attr, index]
    text = ids()
    silent = Editor({"layer.1.attention.mixed": without_head})
    assert (model(text, tap=silent) - edited(text)).abs().max() <= 1e-6
    assert (model(text) - edited(text)).abs().max() > 1e-2
    by_weights = Editor({"layer.1.attention.weights": without_head})
    assert (model(text, tap=by_weights) - edited(text)).abs().max() <= 2e-6


@torch.inference_mode()
def test_tap_under_caching_and_batching() -> None:
    model = build(decoder(block(attention(RotaryPositions(), span=SlidingSpan(4), num_kv_heads=2))))
    text, mask = ids(), padding()
    whole, pieces = Recorder(("layer.*.residual", "logits")), Recorder(("layer.*.residual", "logits"))
    edit = Editor({"layer.1.attention.mixed": without_head})
    expected = model(text, mask=mask, tap=Chain(edit, whole))
    cache = Cache.empty(model.config, 2)
    for piece, real in zip(text.split([9, 1, 1, 9], dim=1), mask.split([9, 1, 1, 9], dim=1), strict=True):
        model(piece, mask=real, cache=cache, tap=Chain(edit, pieces))
    for name, values in pieces.values.items():
        assert len(values) == 4
        assert (torch.cat(values, dim=1) - whole[name])[mask].abs().max() <= 1e-5, name
    assert (model(text, mask=mask) - expected)[mask].abs().max() > 1e-2
    alone = model(text[1:, 6:], tap=edit)
    assert (expected[1, 6:] - alone[0]).abs().max() <= 1e-5


@torch.inference_mode()
def test_the_first_tap_of_a_chain_comes_first() -> None:
    model = build(decoder(layers=1))
    before, after = Recorder(("logits",)), Recorder(("logits",))
    out = model(ids(), tap=Chain(before, Editor({"logits": lambda x: x * 2}), after))
    assert torch.equal(before["logits"] * 2, after["logits"])
    assert torch.equal(out, after["logits"])


def test_an_edit_may_not_change_the_shape() -> None:
    model = build(decoder(layers=1))
    with pytest.raises(AssertionError, match=r"the edit of final_norm changed"):
        model(ids(), tap=Editor({"final_norm": lambda x: x[:, :1]}))


def test_no_tap_wants_nothing() -> None:
    x = torch.ones(1)
    assert NO_TAP("logits", x) is x
    assert NO_TAP.at("layer.0") is NO_TAP
    assert not NO_TAP.wants("weights")
    assert not Recorder(("logits",)).at("layer.0.attention").wants("weights")
    assert Chain(Recorder(("logits",)), Recorder(("*.weights",))).at("layer.0.attention").wants("weights")


@torch.inference_mode()
def test_a_recorder_may_keep_less() -> None:
    model = build(decoder(layers=2))
    recorder = Recorder(("layer.*.residual",), keep=lambda value: value[:, -1].norm(dim=-1))
    model(ids(), tap=recorder)
    assert recorder["layer.1.residual"].shape == (2,)
