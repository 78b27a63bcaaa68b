"""GPT-2 (Radford et al. 2019): learned positions, LayerNorm before, GELU, biases everywhere, matrices (in, out)."""

from __future__ import annotations

from typing import Any

from limner.core.config import (
    AttentionConfig,
    BlockConfig,
    EmbeddingConfig,
    FeedForwardConfig,
    HeadConfig,
    LayerNorm,
    LearnedPositions,
    ModelConfig,
    StackConfig,
)
from limner.weights.foreign import ACTIVATION_NAMES, Family, Fields
from limner.weights.keytable import Copy, Ignored, KeyTable, Row

_LAYER, _OURS = "transformer.h.{layer}", "decoder.layers.{layer}"


def _fused(kind: str) -> tuple[str, ...]:
    return tuple(f"{_OURS}.attention.{part}.{kind}" for part in ("query", "key", "value"))


TABLE = KeyTable(
    Row("transformer.wte.weight", "embedding.token.weight"),
    Row("transformer.wpe.weight", "embedding.position.weight"),
    Row(f"{_LAYER}.ln_1.weight", f"{_OURS}.attention_norm.weight"),
    Row(f"{_LAYER}.ln_1.bias", f"{_OURS}.attention_norm.bias"),
    Row(f"{_LAYER}.attn.c_attn.weight", _fused("weight"), transpose=True),
    Row(f"{_LAYER}.attn.c_attn.bias", _fused("bias")),
    Row(f"{_LAYER}.attn.c_proj.weight", f"{_OURS}.attention.output.weight", transpose=True),
    Row(f"{_LAYER}.attn.c_proj.bias", f"{_OURS}.attention.output.bias"),
    Row(f"{_LAYER}.ln_2.weight", f"{_OURS}.feed_forward_norm.weight"),
    Row(f"{_LAYER}.ln_2.bias", f"{_OURS}.feed_forward_norm.bias"),
    Row(f"{_LAYER}.mlp.c_fc.weight", f"{_OURS}.feed_forward.up.weight", transpose=True),
    Row(f"{_LAYER}.mlp.c_fc.bias", f"{_OURS}.feed_forward.up.bias"),
    Row(f"{_LAYER}.mlp.c_proj.weight", f"{_OURS}.feed_forward.down.weight", transpose=True),
    Row(f"{_LAYER}.mlp.c_proj.bias", f"{_OURS}.feed_forward.down.bias"),
    Row("transformer.ln_f.weight", "decoder.final_norm.weight"),
    Row("transformer.ln_f.bias", "decoder.final_norm.bias"),
    Row("lm_head.weight", "head.linear.weight"),
    Copy("lm_head.weight", of="transformer.wte.weight"),
    Ignored(f"{_LAYER}.attn.bias"),  # the causal mask, as older releases stored it
    Ignored(f"{_LAYER}.attn.masked_bias"),
    prefix="transformer.",
)


def read(fields: Fields, headed: bool) -> ModelConfig:
    """A config.json of GPT-2."""
    fields.only("scale_attn_by_inverse_layer_idx", False, "every layer scales its scores alike")
    fields.only("add_cross_attention", False, "this family has no encoder to attend to")
    dim, heads = fields("n_embd", int, 768), fields("n_head", int, 12)
    dropout = fields("resid_pdrop", float, 0.1)
    norm = LayerNorm(fields("layer_norm_epsilon", float, 1e-5))
    attention = AttentionConfig(
        num_heads=heads,
        num_kv_heads=heads,
        head_dim=fields.head_dim("n_embd", "n_head", dim, heads),
        bias=True,
        output_bias=True,
        scale=None if fields("scale_attn_weights", bool, True) else 1.0,
        dropout=fields("attn_pdrop", float, 0.1),
    )
    feed_forward = FeedForwardConfig(
        hidden_dim=fields("n_inner", int, 4 * dim),
        activation=fields.activation("activation_function", "gelu_new"),
        gated=False,
        bias=True,
    )
    block = BlockConfig(attention, feed_forward, norm=norm, dropout=dropout)
    return ModelConfig(
        vocab_size=fields("vocab_size", int, 50257),
        dim=dim,
        context_length=fields("n_positions", int, fields("n_ctx", int, 1024)),
        decoder=StackConfig(fields("n_layer", int, 12), (block,), causal=True, final_norm=norm),
        embedding=EmbeddingConfig(LearnedPositions(), dropout=fields("embd_pdrop", float, 0.1)),
        head=HeadConfig(tied=fields("tie_word_embeddings", bool, True)) if headed else None,
    )


def write(config: ModelConfig) -> dict[str, Any]:
    """A config.json as GPT-2 would have it."""
    block = config.stack.block(0)
    activation, hidden_dim = block.feed_forward.activation, block.feed_forward.hidden_dim
    return {
        "vocab_size": config.vocab_size,
        "n_positions": config.context_length,
        "n_embd": config.dim,
        "n_layer": config.stack.num_layers,
        "n_head": block.attention.num_heads,
        "n_inner": None if hidden_dim == 4 * config.dim else hidden_dim,
        "activation_function": "gelu_new" if activation == "gelu_tanh" else ACTIVATION_NAMES[activation],
        "layer_norm_epsilon": block.norm.eps,
        "scale_attn_weights": block.attention.scale != 1.0,
        "embd_pdrop": config.embedding.dropout,
        "attn_pdrop": block.attention.dropout,
        "resid_pdrop": block.dropout,
        "tie_word_embeddings": config.head is None or config.head.tied,
    }


FAMILY = Family("gpt2", "GPT2LMHeadModel", "GPT2Model", "AutoModelForCausalLM", TABLE, read, write)
