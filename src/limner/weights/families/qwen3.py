"""Qwen3 (Yang et al. 2025): as Llama, with a norm over each head's queries and keys, and sliding windows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from limner.core.config import (
    AttentionConfig,
    BlockConfig,
    FeedForwardConfig,
    FullSpan,
    HeadConfig,
    ModelConfig,
    RMSNorm,
    SlidingSpan,
    Span,
    StackConfig,
)
from limner.core.errors import ConfigError
from limner.weights.families import llama
from limner.weights.foreign import Family, Fields, shortest
from limner.weights.keytable import KeyTable, Row
from limner.weights.rope import read_rope

_LAYER, _OURS = "model.layers.{layer}.self_attn", "decoder.layers.{layer}.attention"

TABLE = KeyTable(
    *llama.ROWS,
    Row(f"{_LAYER}.q_norm.weight", f"{_OURS}.query_norm.weight"),
    Row(f"{_LAYER}.k_norm.weight", f"{_OURS}.key_norm.weight"),
    prefix="model.",
)


def read(fields: Fields, headed: bool) -> ModelConfig:
    """A config.json of Qwen3."""
    dim, heads, layers = (
        fields("hidden_size", int),
        fields("num_attention_heads", int),
        fields("num_hidden_layers", int),
    )
    context_length = fields("max_position_embeddings", int, 32768)
    bias = fields("attention_bias", bool, False)
    norm = RMSNorm(fields("rms_norm_eps", float, 1e-6))
    attention = AttentionConfig(
        num_heads=heads,
        num_kv_heads=fields("num_key_value_heads", int, heads),
        head_dim=fields("head_dim", int, 128),
        positions=read_rope(fields, context_length),
        bias=bias,
        output_bias=bias,
        qk_norm=norm,
        dropout=fields("attention_dropout", float, 0.0),
    )
    feed_forward = FeedForwardConfig(
        hidden_dim=fields("intermediate_size", int), activation=fields.activation("hidden_act", "silu")
    )
    blocks = tuple(
        BlockConfig(replace(attention, span=span), feed_forward, norm=norm) for span in _spans(fields, layers)
    )
    return ModelConfig(
        vocab_size=fields("vocab_size", int),
        dim=dim,
        context_length=context_length,
        decoder=StackConfig(layers, shortest(blocks), causal=True, final_norm=norm),
        head=HeadConfig(tied=fields("tie_word_embeddings", bool, False)) if headed else None,
    )


def _spans(fields: Fields, layers: int) -> list[Span]:
    """What each layer sees."""
    window = fields("sliding_window", int, None) if fields("use_sliding_window", bool, False) else None
    first = fields("max_window_layers", int, 28)
    usual = ["sliding_attention" if window and i >= first else "full_attention" for i in range(layers)]
    kinds = fields("layer_types", list, usual)
    if len(kinds) != layers:
        raise ConfigError(
            f"{fields.where}: layer_types has {len(kinds)} entries, but num_hidden_layers is {layers}. Make them equal."
        )
    spans: list[Span] = []
    for kind in kinds:
        if kind == "full_attention":
            spans.append(FullSpan())
        elif kind == "sliding_attention" and window:
            spans.append(SlidingSpan(window))
        else:
            raise ConfigError(
                f"{fields.where}: layer_types has {kind!r} with sliding_window {window}, but limner has "
                "full_attention, and sliding_attention where there is a window. Choose another model."
            )
    return spans


def write(config: ModelConfig) -> dict[str, Any]:
    """A config.json as Qwen3 would have it."""
    layers = config.stack.num_layers
    spans = [config.stack.block(i).attention.span for i in range(layers)]
    windows = [span.window for span in spans if isinstance(span, SlidingSpan)]
    first = next((i for i, span in enumerate(spans) if isinstance(span, SlidingSpan)), layers)
    fields = {
        **llama.shared(config),
        "use_sliding_window": bool(windows),
        "sliding_window": windows[0] if windows else None,
        "layer_types": ["sliding_attention" if isinstance(s, SlidingSpan) else "full_attention" for s in spans],
    }
    return fields | ({"max_window_layers": first} if windows else {})


FAMILY = Family("qwen3", "Qwen3ForCausalLM", "Qwen3Model", "AutoModelForCausalLM", TABLE, read, write)
