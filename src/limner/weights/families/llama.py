"""Llama (Touvron et al. 2023; Llama 3, 2024): rotary positions, RMSNorm before, SwiGLU, grouped queries."""

from __future__ import annotations

from typing import Any

from limner.core.config import (
    AttentionConfig,
    BlockConfig,
    FeedForwardConfig,
    HeadConfig,
    ModelConfig,
    RMSNorm,
    StackConfig,
)
from limner.weights.foreign import ACTIVATION_NAMES, Family, Fields
from limner.weights.keytable import Copy, Ignored, KeyTable, Row
from limner.weights.rope import read_rope, write_rope

_LAYER, _OURS = "model.layers.{layer}", "decoder.layers.{layer}"
_LINEAR = {
    "self_attn.q_proj": "attention.query",
    "self_attn.k_proj": "attention.key",
    "self_attn.v_proj": "attention.value",
    "self_attn.o_proj": "attention.output",
    "mlp.gate_proj": "feed_forward.gate",
    "mlp.up_proj": "feed_forward.up",
    "mlp.down_proj": "feed_forward.down",
}

# Qwen3 is this and two norms more.
ROWS: tuple[Row | Copy | Ignored, ...] = (
    Row("model.embed_tokens.weight", "embedding.token.weight"),
    *(
        Row(f"{_LAYER}.{theirs}.{kind}", f"{_OURS}.{ours}.{kind}")
        for theirs, ours in _LINEAR.items()
        for kind in ("weight", "bias")
    ),
    Row(f"{_LAYER}.input_layernorm.weight", f"{_OURS}.attention_norm.weight"),
    Row(f"{_LAYER}.post_attention_layernorm.weight", f"{_OURS}.feed_forward_norm.weight"),
    Row("model.norm.weight", "decoder.final_norm.weight"),
    Row("lm_head.weight", "head.linear.weight"),
    Copy("lm_head.weight", of="model.embed_tokens.weight"),
    Ignored(f"{_LAYER}.self_attn.rotary_emb.inv_freq"),  # computed; older releases stored it
)

TABLE = KeyTable(*ROWS, prefix="model.")


def read(fields: Fields, headed: bool) -> ModelConfig:
    """A config.json of Llama."""
    dim, heads = fields("hidden_size", int), fields("num_attention_heads", int)
    context_length = fields("max_position_embeddings", int, 2048)
    bias = fields("attention_bias", bool, False)
    norm = RMSNorm(fields("rms_norm_eps", float, 1e-6))
    attention = AttentionConfig(
        num_heads=heads,
        num_kv_heads=fields("num_key_value_heads", int, heads),
        head_dim=fields("head_dim", int, fields.head_dim("hidden_size", "num_attention_heads", dim, heads)),
        positions=read_rope(fields, context_length),
        bias=bias,
        output_bias=bias,
        dropout=fields("attention_dropout", float, 0.0),
    )
    feed_forward = FeedForwardConfig(
        hidden_dim=fields("intermediate_size", int),
        activation=fields.activation("hidden_act", "silu"),
        bias=fields("mlp_bias", bool, False),
    )
    block = BlockConfig(attention, feed_forward, norm=norm)
    return ModelConfig(
        vocab_size=fields("vocab_size", int),
        dim=dim,
        context_length=context_length,
        decoder=StackConfig(fields("num_hidden_layers", int), (block,), causal=True, final_norm=norm),
        head=HeadConfig(tied=fields("tie_word_embeddings", bool, False)) if headed else None,
    )


def write(config: ModelConfig) -> dict[str, Any]:
    """A config.json as Llama would have it."""
    return {**shared(config), "mlp_bias": config.stack.block(0).feed_forward.bias}


def shared(config: ModelConfig) -> dict[str, Any]:
    """The fields that Llama and Qwen3 spell alike."""
    block = config.stack.block(0)
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.dim,
        "intermediate_size": block.feed_forward.hidden_dim,
        "num_hidden_layers": config.stack.num_layers,
        "num_attention_heads": block.attention.num_heads,
        "num_key_value_heads": block.attention.num_kv_heads,
        "head_dim": block.attention.head_dim,
        "hidden_act": ACTIVATION_NAMES[block.feed_forward.activation],
        "max_position_embeddings": config.context_length,
        "rms_norm_eps": block.norm.eps,
        "attention_bias": block.attention.bias,
        "attention_dropout": block.attention.dropout,
        "tie_word_embeddings": config.head is None or config.head.tied,
        **write_rope(block.attention.positions),
    }


FAMILY = Family("llama", "LlamaForCausalLM", "LlamaModel", "AutoModelForCausalLM", TABLE, read, write)
