"""A description is read strictly, written back equal, and refused with the value that is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from limner.core.config import (
    ALiBiPositions,
    AttentionConfig,
    BlockConfig,
    DynamicScaling,
    EmbeddingConfig,
    FeedForwardConfig,
    HeadConfig,
    LayerNorm,
    LearnedPositions,
    LinearScaling,
    Llama3Scaling,
    ModelConfig,
    RMSNorm,
    RotaryPositions,
    SinusoidalPositions,
    SlidingSpan,
    StackConfig,
    YarnScaling,
)
from limner.core.errors import ConfigError, LimnerError, MissingExtraError, suggest
from tests.core.conftest import attention, block, decoder

CROSS = block(attention(), cross_attention=attention())
MODELS: list[ModelConfig] = [
    decoder(),
    decoder(positions=LearnedPositions(), head=HeadConfig(tied=False, bias=True, transform="gelu", softcap=3.0)),
    decoder(positions=SinusoidalPositions(7.0), head=None),
    *(
        decoder(block(attention(RotaryPositions(5.0, 0.67, scaling), span=SlidingSpan(3), qk_norm=LayerNorm(1e-3, False))))
        for scaling in (
            None, LinearScaling(2.0), DynamicScaling(2.0, 8), Llama3Scaling(8.0, 1.0, 4.0, 16),
            YarnScaling(4.0, 8, magnitude=0.5, truncate=False),
        )
    ),
    decoder(block(attention(ALiBiPositions(), softcap=2.0, scale=0.3)), block(placement="sandwich", norm=LayerNorm())),
    ModelConfig(
        9, 8, 7, decoder=StackConfig(1, (CROSS,), causal=True), encoder=StackConfig(1, (block(),), causal=False, final_norm=None),
        embedding=EmbeddingConfig(segments=2, norm=RMSNorm()),
    ),
]  # fmt: skip


@pytest.mark.parametrize("config", MODELS)
def test_written_and_read_back_through_json(config: ModelConfig) -> None:
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def entry(values: Any, *path: str | int) -> Any:
    for step in path:
        values = values[step]
    return values


BLOCK = ("decoder", "blocks", 0)


@pytest.mark.parametrize(
    ("path", "name", "value", "message"),
    [
        ((), "vocab_sise", 3, "model.vocab_sise is set, but there is no such setting. Did you mean 'vocab_size'?"),
        ((), "vocab_size", "3", "model.vocab_size is '3', but it is a whole number"),
        ((), "vocab_size", 3.0, "model.vocab_size is 3.0, but it is a whole number"),
        ((), "vocab_size", True, "model.vocab_size is True, but it is a whole number"),
        ((), "decoder", 3, "model.decoder is 3, but a group of settings is needed"),
        (("decoder",), "blocks", {}, "model.decoder.blocks is {}, but a list is needed"),
        (("decoder",), "causal", 1, "model.decoder.causal is 1, but it is true or false"),
        (BLOCK, "placement", "before", "model.decoder.blocks[0].placement is 'before', but it is one of a few names"),
        (BLOCK, "dropout", "none", "model.decoder.blocks[0].dropout is 'none', but it is a number"),
        (
            (*BLOCK, "attention"),
            "positions",
            {"kind": "Rotary"},
            "positions.kind is 'Rotary', which is no such part. Choose one of: ALiBiPositions,",
        ),
        ((*BLOCK, "attention"), "positions", "rotary", "positions.kind is 'rotary', which is no such part"),
        ((*BLOCK, "attention"), "positions", {"kind": [1]}, "positions.kind is [1], which is no such part"),
        ((*BLOCK, "norm"), "epsilon", 1.0, "blocks[0].norm.epsilon is set, but there is no such setting"),
        ((*BLOCK, "feed_forward"), "activation", "mish", "feed_forward.activation is 'mish'"),
    ],
)
def test_what_is_not_understood_is_named(path: Any, name: str, value: Any, message: str) -> None:
    values = decoder().to_dict()
    entry(values, *path)[name] = value
    with pytest.raises(ConfigError) as found:
        ModelConfig.from_dict(values)
    assert message in str(found.value)


def test_what_is_missing_is_named() -> None:
    values = decoder().to_dict()
    del entry(values, *BLOCK, "attention")["head_dim"]
    with pytest.raises(ConfigError, match=r"model.decoder.blocks\[0\].attention.head_dim is missing"):
        ModelConfig.from_dict(values)
    values = decoder().to_dict()
    values["dim"] = 24
    del values["embedding"]  # has a default
    assert ModelConfig.from_dict(values).embedding == EmbeddingConfig()


def test_a_name_alone_is_that_part_as_it_is_usually() -> None:
    values = decoder().to_dict()
    entry(values, *BLOCK, "attention")["positions"] = "RotaryPositions"
    assert ModelConfig.from_dict(values).stack.block(0).attention.positions == RotaryPositions()


def test_a_whole_number_will_do_for_a_fraction() -> None:
    values = decoder().to_dict()
    entry(values, *BLOCK)["residual_scale"] = 2
    assert ModelConfig.from_dict(values).stack.block(0).residual_scale == 2.0


WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: AttentionConfig(0, 1, 8), "num_heads is 0, but it must be at least 1"),
    (lambda: AttentionConfig(1, -1, 8), "num_kv_heads is -1"),
    (lambda: AttentionConfig(1, 1, 0), "head_dim is 0"),
    (
        lambda: AttentionConfig(12, 5, 8),
        "num_kv_heads is 5, which does not divide num_heads 12. Choose one of 1, 2, 3, 4, 6, 12.",
    ),
    (lambda: AttentionConfig(4, 4, 7, RotaryPositions()), "head_dim is 7, but rotary positions turn channels in pairs"),
    (lambda: AttentionConfig(4, 4, 8, RotaryPositions(fraction=0.4)), "head_dim is 8, but rotary positions"),
    (lambda: AttentionConfig(4, 4, 8, span=SlidingSpan(0)), "window is 0"),
    (lambda: AttentionConfig(4, 4, 8, dropout=1.0), "attention dropout is 1.0, but it is a share"),
    (lambda: AttentionConfig(4, 4, 8, softcap=0.0), "softcap is 0.0, but scores stay below it"),
    (lambda: HeadConfig(softcap=-1.0), "softcap is -1.0"),
    (lambda: RotaryPositions(fraction=1.5), "fraction is 1.5, but it is the share"),
    (lambda: FeedForwardConfig(0), "hidden_dim is 0"),
    (lambda: BlockConfig(attention(), FeedForwardConfig(8), dropout=-0.1), "dropout is -0.1"),
    (lambda: EmbeddingConfig(dropout=1.5), "embedding dropout is 1.5"),
    (lambda: StackConfig(0, (block(),), causal=True), "num_layers is 0"),
    (lambda: StackConfig(2, (), causal=True), "blocks is empty"),
    (lambda: StackConfig(1, (block(), block()), causal=True), "blocks has 2 entries, but num_layers is 1"),
    (lambda: replace(decoder(), vocab_size=0), "vocab_size is 0"),
    (lambda: replace(decoder(), dim=-8), "dim is -8"),
    (lambda: replace(decoder(), context_length=0), "context_length is 0"),
    (lambda: replace(decoder(), decoder=None), "decoder and encoder are both missing"),
    (lambda: decoder(CROSS), "cross_attention is set, but there is no encoder"),
    (
        lambda: replace(decoder(), encoder=StackConfig(1, (block(),), causal=False)),
        "cross_attention is None, but the decoder has an encoder",
    ),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_what_cannot_be_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError) as found:
        make()
    assert message in str(found.value)


def test_errors_say_what_to_do() -> None:
    assert suggest("temperture", ["temperature", "top_k"]) == "Did you mean 'temperature'?"
    assert suggest("zzz", ["b", "a"]) == "Choose one of: a, b."
    missing = MissingExtraError("pyarrow", "data", "reading .parquet")
    assert "pip install 'limner[data]'" in str(missing)
    assert isinstance(missing, LimnerError)
    assert isinstance(missing, ImportError)
    assert isinstance(ConfigError("x"), ValueError)
