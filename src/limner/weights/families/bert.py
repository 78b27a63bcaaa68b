"""BERT (Devlin et al. 2018): an encoder, learned positions, segments, LayerNorm after, a dense layer in the head."""

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
from limner.core.errors import ConfigError
from limner.weights.foreign import ACTIVATION_NAMES, Family, Fields
from limner.weights.keytable import Copy, Ignored, KeyTable, Row

_LAYER, _OURS = "bert.encoder.layer.{layer}", "encoder.layers.{layer}"
_BOTH = {  # modules with a weight and a bias
    "bert.embeddings.LayerNorm": "embedding.norm",
    f"{_LAYER}.attention.self.query": f"{_OURS}.attention.query",
    f"{_LAYER}.attention.self.key": f"{_OURS}.attention.key",
    f"{_LAYER}.attention.self.value": f"{_OURS}.attention.value",
    f"{_LAYER}.attention.output.dense": f"{_OURS}.attention.output",
    f"{_LAYER}.attention.output.LayerNorm": f"{_OURS}.attention_norm",
    f"{_LAYER}.intermediate.dense": f"{_OURS}.feed_forward.up",
    f"{_LAYER}.output.dense": f"{_OURS}.feed_forward.down",
    f"{_LAYER}.output.LayerNorm": f"{_OURS}.feed_forward_norm",
    "cls.predictions.transform.dense": "head.transform",
    "cls.predictions.transform.LayerNorm": "head.transform_norm",
}

TABLE = KeyTable(
    Row("bert.embeddings.word_embeddings.weight", "embedding.token.weight"),
    Row("bert.embeddings.position_embeddings.weight", "embedding.position.weight"),
    Row("bert.embeddings.token_type_embeddings.weight", "embedding.segment.weight"),
    *(Row(f"{theirs}.{kind}", f"{ours}.{kind}") for theirs, ours in _BOTH.items() for kind in ("weight", "bias")),
    Row("cls.predictions.bias", "head.bias"),
    Copy("cls.predictions.decoder.weight", of="bert.embeddings.word_embeddings.weight"),
    Copy("cls.predictions.decoder.bias", of="cls.predictions.bias"),
    Ignored("bert.embeddings.position_ids"),
    Ignored("bert.pooler.dense.weight"),  # whole-sentence parts: we read and fill in words
    Ignored("bert.pooler.dense.bias"),
    Ignored("cls.seq_relationship.weight"),
    Ignored("cls.seq_relationship.bias"),
    prefix="bert.",
    respelled={"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"},
)


def read(fields: Fields, headed: bool) -> ModelConfig:
    """A config.json of BERT."""
    fields.only("is_decoder", False, "this family looks both ways")
    fields.only("add_cross_attention", False, "this family has nothing else to attend to")
    fields.only("position_embedding_type", "absolute", "this family learns one vector a position")
    fields.only("tie_word_embeddings", True, "this family's head uses the token embedding")
    dim, heads = fields("hidden_size", int, 768), fields("num_attention_heads", int, 12)
    segments = fields("type_vocab_size", int, 2)
    if segments < 1:
        raise ConfigError(
            f"{fields.where}: type_vocab_size is {segments}, but this family adds a segment to every token."
        )
    dropout = fields("hidden_dropout_prob", float, 0.1)
    activation = fields.activation("hidden_act", "gelu")
    norm = LayerNorm(fields("layer_norm_eps", float, 1e-12))
    attention = AttentionConfig(
        num_heads=heads,
        num_kv_heads=heads,
        head_dim=fields.head_dim("hidden_size", "num_attention_heads", dim, heads),
        bias=True,
        output_bias=True,
        dropout=fields("attention_probs_dropout_prob", float, 0.1),
    )
    feed_forward = FeedForwardConfig(
        hidden_dim=fields("intermediate_size", int, 3072), activation=activation, gated=False, bias=True
    )
    block = BlockConfig(attention, feed_forward, norm=norm, placement="post", dropout=dropout)
    embedding = EmbeddingConfig(LearnedPositions(), segments=segments, norm=norm, dropout=dropout)
    return ModelConfig(
        vocab_size=fields("vocab_size", int, 30522),
        dim=dim,
        context_length=fields("max_position_embeddings", int, 512),
        encoder=StackConfig(fields("num_hidden_layers", int, 12), (block,), causal=False, final_norm=None),
        embedding=embedding,
        head=HeadConfig(bias=True, transform=activation, transform_norm=norm) if headed else None,
    )


def write(config: ModelConfig) -> dict[str, Any]:
    """A config.json as BERT would have it."""
    block = config.stack.block(0)
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.dim,
        "num_hidden_layers": config.stack.num_layers,
        "num_attention_heads": block.attention.num_heads,
        "intermediate_size": block.feed_forward.hidden_dim,
        "hidden_act": ACTIVATION_NAMES[block.feed_forward.activation],
        "hidden_dropout_prob": block.dropout,
        "attention_probs_dropout_prob": block.attention.dropout,
        "max_position_embeddings": config.context_length,
        "type_vocab_size": config.embedding.segments,
        "layer_norm_eps": block.norm.eps,
        "tie_word_embeddings": config.head is None or config.head.tied,
    }


FAMILY = Family(
    "bert", "BertForMaskedLM", "BertModel", "AutoModelForMaskedLM", TABLE, read, write,
    also_headed=("BertForPreTraining",),
)  # fmt: skip
