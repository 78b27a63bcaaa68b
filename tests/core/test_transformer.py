"""Every part that a description may ask for does what its formula says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from limner.core.config import (
    ALiBiPositions,
    AttentionConfig,
    EmbeddingConfig,
    FeedForwardConfig,
    HeadConfig,
    LayerNorm,
    LearnedPositions,
    ModelConfig,
    RMSNorm,
    RotaryPositions,
    SinusoidalPositions,
    SlidingSpan,
    StackConfig,
)
from limner.core.errors import ConfigError, ShapeError
from limner.core.layers import FeedForward, activate
from limner.core.output import IGNORED, next_token_loss
from limner.core.tap import Recorder
from limner.core.transformer import Transformer, initialize
from tests.core.conftest import VOCAB, attention, block, build, decoder, ids


def attend(x: Tensor, config: AttentionConfig, weights: Any, allowed: Tensor, bias: Tensor | float = 0.0) -> Tensor:
    """Attention as its paper writes it: one head after another, nothing fused."""
    heads = []
    for head in range(config.num_heads):
        shared = head * config.num_kv_heads // config.num_heads
        rows, kv_rows = (slice(i * config.head_dim, (i + 1) * config.head_dim) for i in (head, shared))
        q, k, v = (
            x @ weights.query.weight[rows].T,
            x @ weights.key.weight[kv_rows].T,
            x @ weights.value.weight[kv_rows].T,
        )
        scores = q @ k.transpose(-1, -2) * (config.scale or config.head_dim**-0.5)
        if config.softcap:
            scores = config.softcap * torch.tanh(scores / config.softcap)
        scores = scores + (bias[head] if isinstance(bias, Tensor) else bias)
        heads.append(scores.masked_fill(~allowed, -torch.inf).softmax(-1) @ v)
    return torch.cat(heads, dim=-1) @ weights.output.weight.T


DISTANCE = torch.arange(20)[:, None] - torch.arange(20)[None]
SLOPES = torch.tensor([2.0 ** (-2 * i) for i in range(1, 5)])


@pytest.mark.parametrize(
    ("options", "causal", "allowed", "bias"),
    [
        ({}, True, DISTANCE >= 0, 0.0),
        ({"num_kv_heads": 2}, True, DISTANCE >= 0, 0.0),
        ({"num_kv_heads": 1, "scale": 1.0}, True, DISTANCE >= 0, 0.0),
        ({"softcap": 0.5}, True, DISTANCE >= 0, 0.0),
        ({"softcap": 0.5, "num_kv_heads": 2}, False, DISTANCE > -20, 0.0),
        ({"span": SlidingSpan(4)}, True, (DISTANCE >= 0) & (DISTANCE < 4), 0.0),
        ({"span": SlidingSpan(4)}, False, DISTANCE.abs() < 4, 0.0),
        ({"positions": ALiBiPositions()}, True, DISTANCE >= 0, -SLOPES[:, None, None] * DISTANCE),
        ({"positions": ALiBiPositions()}, False, DISTANCE > -20, -SLOPES[:, None, None] * DISTANCE.abs()),
    ],
)
@torch.inference_mode()
def test_attention_as_its_formula(options: Any, causal: bool, allowed: Tensor, bias: Any) -> None:
    config = decoder(block(attention(**options)), layers=1, causal=causal)
    model = build(config)
    recorder = Recorder(("embedding.output", "layer.0.attention.output"))
    model(ids(), tap=recorder)
    layer: Any = model.decoder.layers[0]  # type: ignore[union-attr]
    x = layer.attention_norm(recorder["embedding.output"])
    expected = attend(x, config.stack.block(0).attention, layer.attention, allowed, bias)
    assert (recorder["layer.0.attention.output"] - expected).abs().max() <= 1e-5


@torch.inference_mode()
def test_placements_of_the_norm() -> None:
    for placement in ("pre", "post", "sandwich"):
        own = block(norm=LayerNorm(), placement=placement, residual_scale=0.7)
        model = build(decoder(own, layers=1))
        seen = Recorder()
        model(ids(), tap=seen)
        layer: Any = model.decoder.layers[0]  # type: ignore[union-attr]
        x, out = seen["embedding.output"], seen["layer.0.attention.output"]
        for name, expected_out in (("attention", out), ("feed_forward", seen["layer.0.feed_forward.output"])):
            norm = getattr(layer, f"{name}_norm")
            if placement == "sandwich":
                x = x + 0.7 * getattr(layer, f"{name}_norm_after")(expected_out)
            elif placement == "post":
                x = norm(x + 0.7 * expected_out)
            else:
                x = x + 0.7 * expected_out
            step = "residual_attention" if name == "attention" else "residual"
            assert torch.allclose(seen[f"layer.0.{step}"], x, atol=1e-6), (placement, name)
        before = seen["embedding.output"] if placement == "post" else layer.attention_norm(seen["embedding.output"])
        query = layer.attention.query(before).view(2, 20, 4, 6).transpose(1, 2)
        assert torch.allclose(seen["layer.0.attention.query"], query, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("relu", lambda x: x.clamp(min=0)),
        ("relu2", lambda x: x.clamp(min=0) ** 2),
        ("gelu", lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5))),
        ("gelu_tanh", lambda x: 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))),
        ("quick_gelu", lambda x: x / (1 + torch.exp(-1.702 * x))),
        ("silu", lambda x: x / (1 + torch.exp(-x))),
    ],
)
def test_feed_forward_as_its_formula(kind: Any, expected: Any) -> None:
    x = torch.randn(3, 24)
    assert torch.allclose(activate(x, kind), expected(x), atol=1e-6)
    for gated in (False, True):
        layer = FeedForward(FeedForwardConfig(40, kind, gated, bias=True), 24)
        up, down = layer.up(x), layer.down
        hidden = expected(layer.gate(x)) * up if layer.gate is not None else expected(up)
        assert torch.allclose(layer(x), down(hidden), atol=1e-5)


@torch.inference_mode()
def test_qk_norm_makes_every_query_as_long() -> None:
    model = build(decoder(block(attention(qk_norm=RMSNorm())), layers=1))
    for name in ("query_norm", "key_norm"):
        getattr(model.decoder.layers[0].attention, name).weight.fill_(1.0)  # type: ignore[union-attr]
    recorder = Recorder(("*.query", "*.key"))
    model(ids(), tap=recorder)
    for value in (recorder["layer.0.attention.query"], recorder["layer.0.attention.key"]):
        assert torch.allclose(value.pow(2).mean(-1), torch.ones(value.shape[:-1]), atol=1e-3)


@torch.inference_mode()
def test_embedding_scale_norm_segments_and_sines() -> None:
    embedding = EmbeddingConfig(SinusoidalPositions(), segments=2, scale=3.0, norm=LayerNorm())
    model = build(decoder(positions=SinusoidalPositions(), embedding=embedding))
    text, segments = ids(), torch.ones(2, 20, dtype=torch.long)
    seen = Recorder(("embedding.*",))
    model(text, segments=segments, tap=seen)
    own: Any = model.embedding
    summed = own.token.weight[text] * 3.0 + seen["embedding.positions"] + own.segment.weight[1]
    assert torch.allclose(seen["embedding.output"], own.norm(summed), atol=1e-5)
    model(text, tap=seen)
    assert torch.equal(seen["embedding.segments"], own.segment.weight[0].expand(2, 20, -1))


@torch.inference_mode()
def test_heads() -> None:
    text = ids()
    tied = build(decoder())
    x = tied.hidden(text)
    assert torch.allclose(tied(text), x @ tied.embedding.token.weight.T, atol=1e-5)
    head = HeadConfig(tied=False, bias=True, transform="gelu", transform_norm=LayerNorm(), softcap=2.0)
    model = build(decoder(head=head))
    own: Any = model.head
    x = own.transform_norm(F.gelu(own.transform(model.hidden(text))))
    expected = 2.0 * torch.tanh((x @ own.linear.weight.T + own.bias) / 2.0)
    assert torch.allclose(model(text), expected, atol=1e-5)
    assert torch.equal(model.logits(model.hidden(text)), model(text))
    with pytest.raises(ConfigError, match="head is None"):
        build(decoder(head=None))(text)


@pytest.mark.parametrize("positions", [RotaryPositions(), LearnedPositions()])
@torch.inference_mode()
def test_documents_do_not_see_each_other(positions: Any) -> None:
    """Packed texts are read as if alone but for where they stand; rotary positions do not mind where."""
    model = build(decoder(block(attention(positions)), positions=positions))
    first, second = ids(1, 8), ids(1, 12)
    documents = torch.tensor([[0] * 8 + [1] * 12])
    packed = model(torch.cat((first, second), dim=1), documents=documents)
    assert (packed[:, :8] - model(first)).abs().max() <= 1e-5
    if isinstance(positions, RotaryPositions):
        assert (packed[:, 8:] - model(second)).abs().max() <= 1e-5
    changed = model(torch.cat(((first + 1) % VOCAB, second), dim=1), documents=documents)
    assert torch.equal(packed[:, 8:], changed[:, 8:])
    assert not torch.equal(model(torch.cat((first, second), dim=1))[:, 8:], packed[:, 8:])


@torch.inference_mode()
def test_an_encoder_sees_both_ways_and_a_decoder_does_not() -> None:
    text = ids(1, 10)
    other = text.clone()
    other[0, -1] = (other[0, -1] + 1) % VOCAB
    causal, both = build(decoder()), build(decoder(causal=False))
    assert torch.equal(causal(text)[:, :-1], causal(other)[:, :-1])
    assert (both(text)[:, 0] - both(other)[:, 0]).abs().max() > 1e-3


def dropping() -> ModelConfig:
    own = block(attention(RotaryPositions(), dropout=0.3), dropout=0.3)
    return decoder(own, embedding=EmbeddingConfig(dropout=0.3))


def test_dropout_is_for_training_alone() -> None:
    model, text = build(dropping()), ids()
    assert torch.equal(model(text), model(text))
    assert torch.equal(model(text), build(decoder(block(attention(RotaryPositions()))))(text))
    model.train()
    assert not torch.equal(model(text), model(text))


@pytest.mark.parametrize("config", [dropping(), decoder(positions=LearnedPositions())])
def test_activation_checkpointing_changes_no_gradient(config: ModelConfig) -> None:
    text = ids()
    gradients = []
    for recompute in (False, True):
        model = build(config).train()
        assert model.decoder is not None
        model.decoder.recompute = recompute
        torch.manual_seed(5)
        next_token_loss(model(text[:, :-1]), text[:, 1:]).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True) if a is not None and b is not None)
    assert all(grad is not None and grad.abs().sum() > 0 for grad in gradients[1])


def test_the_first_guess_is_that_every_token_is_as_likely() -> None:
    model = Transformer(decoder(block(attention(RotaryPositions()))))
    text = ids()
    loss = next_token_loss(model(text[:, :-1]), text[:, 1:])
    assert loss.item() == pytest.approx(torch.tensor(float(VOCAB)).log().item(), abs=0.02)
    again = Transformer(model.config)
    for one in (model, again):
        initialize(one, torch.Generator().manual_seed(3))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_the_loss() -> None:
    logits, targets = torch.randn(2, 3, 7), torch.tensor([[1, 2, IGNORED], [6, IGNORED, 0]])
    each = next_token_loss(logits, targets, reduction="none")
    assert each.shape == (2, 3)
    assert each[0, 1].item() == pytest.approx(-logits[0, 1].log_softmax(-1)[2].item(), abs=1e-6)
    assert each[0, 2] == each[1, 1] == 0
    assert next_token_loss(logits, targets, reduction="sum").item() == pytest.approx(each.sum().item(), abs=1e-5)
    assert next_token_loss(logits, targets).item() == pytest.approx(each.sum().item() / 4, abs=1e-6)
    half = next_token_loss(logits.bfloat16(), targets)
    assert half.dtype == torch.float32


def test_what_does_not_fit_is_named() -> None:
    model = build(decoder())
    with pytest.raises(ShapeError, match=r"ids has shape \(5,\), but \(batch, time\)"):
        model(torch.arange(5))
    cross = block(attention(), cross_attention=attention())
    stack = StackConfig(1, (cross,), causal=True)
    translator = build(
        replace(decoder(), decoder=stack, encoder=StackConfig(1, (block(),), causal=False)),
    )
    with pytest.raises(ShapeError, match="memory is None"):
        translator(ids())
    assert translator(ids(), source=ids(2, 7)).shape == (2, 20, VOCAB)


@torch.inference_mode()
def test_an_encoder_decoder_names_both_stacks() -> None:
    cross = block(attention(), cross_attention=attention())
    config = replace(
        decoder(),
        decoder=StackConfig(1, (cross,), causal=True),
        encoder=StackConfig(1, (block(),), causal=False),
    )
    model, recorder = build(config), Recorder()
    text, source = ids(), ids(2, 7)
    assert torch.equal(model(text, source=source, tap=recorder), model(text, source=source))
    assert recorder["decoder.layer.0.cross_attention.weights"].shape == (2, 4, 20, 7)
    assert recorder["encoder.layer.0.attention.weights"].shape == (2, 4, 7, 7)
    assert "decoder.layer.0.residual_cross_attention" in recorder.values
    assert "encoder.final_norm" in recorder.values
    assert "logits" in recorder.values


def test_a_model_of_half_precision_keeps_its_angles() -> None:
    model = build(decoder(block(attention(RotaryPositions()))))
    text = ids()
    with torch.inference_mode():
        expected = model(text)
        half = model.bfloat16()(text)
    assert half.dtype == torch.bfloat16
    assert (half.float() - expected).abs().mean() < 0.05
