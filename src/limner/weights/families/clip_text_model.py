"""CLIP's text half (Radford et al. 2021): each token sees those before it, learned positions, LayerNorm before, no head.

What we give is the last layer's vectors after the last norm, one a token, which Stable Diffusion 1 and 2 read (2 from
folders that lack the last layer). The projection to the space that CLIP shares with pictures is left out.
"""

from __future__ import annotations

from typing import Any

from limner.core.config import (
    AttentionConfig,
    BlockConfig,
    EmbeddingConfig,
    FeedForwardConfig,
    LayerNorm,
    LearnedPositions,
    ModelConfig,
    StackConfig,
)
from limner.weights.foreign import ACTIVATION_NAMES, Family, Fields
from limner.weights.keytable import Ignored, KeyTable, Row

_LAYER, _OURS = "text_model.encoder.layers.{layer}", "encoder.layers.{layer}"
_BOTH = {  # modules with a weight and a bias
    f"{_LAYER}.layer_norm1": f"{_OURS}.attention_norm",
    f"{_LAYER}.self_attn.q_proj": f"{_OURS}.attention.query",
    f"{_LAYER}.self_attn.k_proj": f"{_OURS}.attention.key",
    f"{_LAYER}.self_attn.v_proj": f"{_OURS}.attention.value",
    f"{_LAYER}.self_attn.out_proj": f"{_OURS}.attention.output",
    f"{_LAYER}.layer_norm2": f"{_OURS}.feed_forward_norm",
    f"{_LAYER}.mlp.fc1": f"{_OURS}.feed_forward.up",
    f"{_LAYER}.mlp.fc2": f"{_OURS}.feed_forward.down",
    "text_model.final_layer_norm": "encoder.final_norm",
}

TABLE = KeyTable(
    Row("text_model.embeddings.token_embedding.weight", "embedding.token.weight"),
    Row("text_model.embeddings.position_embedding.weight", "embedding.position.weight"),
    *(Row(f"{theirs}.{kind}", f"{ours}.{kind}") for theirs, ours in _BOTH.items() for kind in ("weight", "bias")),
    Ignored("text_model.embeddings.position_ids"),
    Ignored("text_projection.weight"),
    Ignored("visual_projection.weight"),  # of a whole CLIP, and all that sees
    Ignored("vision_model.{rest}"),
    Ignored("logit_scale"),
    prefix="text_model.",
    stays=True,
)


def read(fields: Fields, headed: bool) -> ModelConfig:
    """A config.json of CLIP's text half; it has no head, whatever the class."""
    dim, heads = fields("hidden_size", int, 512), fields("num_attention_heads", int, 8)
    norm = LayerNorm(fields("layer_norm_eps", float, 1e-5))
    attention = AttentionConfig(
        num_heads=heads,
        num_kv_heads=heads,
        head_dim=fields.head_dim("hidden_size", "num_attention_heads", dim, heads),
        bias=True,
        output_bias=True,
        dropout=fields("attention_dropout", float, 0.0),
    )
    feed_forward = FeedForwardConfig(
        hidden_dim=fields("intermediate_size", int, 2048),
        activation=fields.activation("hidden_act", "quick_gelu"),
        gated=False,
        bias=True,
    )
    block = BlockConfig(attention, feed_forward, norm=norm)
    return ModelConfig(
        vocab_size=fields("vocab_size", int, 49408),
        dim=dim,
        context_length=fields("max_position_embeddings", int, 77),
        encoder=StackConfig(fields("num_hidden_layers", int, 12), (block,), causal=True, final_norm=norm),
        embedding=EmbeddingConfig(LearnedPositions()),
        head=None,
    )


def write(config: ModelConfig) -> dict[str, Any]:
    """A config.json as CLIP's text half would have it."""
    block = config.stack.block(0)
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.dim,
        "num_hidden_layers": config.stack.num_layers,
        "num_attention_heads": block.attention.num_heads,
        "intermediate_size": block.feed_forward.hidden_dim,
        "hidden_act": ACTIVATION_NAMES[block.feed_forward.activation],
        "attention_dropout": block.attention.dropout,
        "max_position_embeddings": config.context_length,
        "layer_norm_eps": block.norm.eps,
    }


FAMILY = Family(
    "clip_text_model", "CLIPTextModelWithProjection", "CLIPTextModel", "AutoModel", TABLE, read, write,
    also_headed=("CLIPModel",),
    within={"clip": "text_config"},
)  # fmt: skip
