"""The default text model, for any size: Qwen3's parts in proportions that suit small models.

Rotary positions, RMSNorm before each sub-layer and on queries and keys, SwiGLU, grouped queries, a head tied to
the embedding, no biases.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from limner.core.config import (
    AttentionConfig,
    BlockConfig,
    EmbeddingConfig,
    FeedForwardConfig,
    HeadConfig,
    ModelConfig,
    RMSNorm,
    RotaryPositions,
    StackConfig,
)
from limner.core.errors import ConfigError


@dataclass(frozen=True)
class Shape:
    """The numbers that describe the default text model; ``config`` makes it."""

    dim: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    hidden_dim: int
    context_length: int
    dropout: float = 0.0
    rotary_base: float = 10_000.0
    tied: bool = True

    def config(self, vocab_size: int) -> ModelConfig:
        """The whole model for a vocabulary."""
        attention = AttentionConfig(
            num_heads=self.num_heads,
            num_kv_heads=self.num_kv_heads,
            head_dim=self.head_dim,
            positions=RotaryPositions(base=self.rotary_base),
            qk_norm=RMSNorm(),
        )
        block = BlockConfig(attention, FeedForwardConfig(self.hidden_dim), dropout=self.dropout)
        return ModelConfig(
            vocab_size=vocab_size,
            dim=self.dim,
            context_length=self.context_length,
            decoder=StackConfig(self.num_layers, (block,), causal=True),
            embedding=EmbeddingConfig(dropout=self.dropout),
            head=HeadConfig(tied=self.tied),
        )

    @property
    def layer_parameters(self) -> int:
        """Weights of the matrices of one layer."""
        attention = 2 * self.dim * (self.num_heads + self.num_kv_heads) * self.head_dim
        return attention + 3 * self.dim * self.hidden_dim

    def parameters(self, vocab_size: int) -> int:
        """Weights of the whole model, but for the few of the norms."""
        embeddings = vocab_size * self.dim * (1 if self.tied else 2)
        return self.num_layers * self.layer_parameters + embeddings

    def flops_per_token(self, vocab_size: int) -> float:
        """Operations of one training step for each token, backward included.

        Six for each weight that takes part in a matrix product, and the products of attention over half a window.
        """
        attention = 6 * self.num_layers * self.num_heads * self.head_dim * self.context_length
        return 6 * (self.num_layers * self.layer_parameters + vocab_size * self.dim) + attention


def shape(parameters: int, vocab_size: int, context_length: int = 256, dropout: float = 0.0) -> Shape:
    """The shape whose number of weights comes nearest to ``parameters``, about ``dim / 48`` layers deep.

    Args:
        parameters: how large the model should be, embeddings included.
        vocab_size: entries of the vocabulary.
        context_length: tokens in a window.
        dropout: share of activations set to 0 while training.
    Raises:
        ConfigError: too small for this vocabulary.
    """
    best: tuple[float, Shape] | None = None
    smallest = 0
    for dim in [*range(64, 1024, 64), *range(1024, 8193, 256)]:
        one = _of_width(dim, 1, context_length, dropout)
        smallest = smallest or one.parameters(vocab_size)
        ideal = max(2.0, dim / 48)
        fitting = round((parameters - one.parameters(vocab_size)) / one.layer_parameters) + 1
        for num_layers in {max(1, min(fitting + change, 128)) for change in (-1, 0, 1)}:
            candidate = _of_width(dim, num_layers, context_length, dropout)
            miss = abs(math.log(candidate.parameters(vocab_size) / parameters))
            cost = 4.0 * miss + abs(math.log(num_layers / ideal))
            if miss < 0.25 and (best is None or cost < best[0]):
                best = (cost, candidate)
    if best is None:
        raise ConfigError(
            f"size is {parameters:,} parameters, but with a vocabulary of {vocab_size:,} it must be from {smallest:,}. "
            "Choose a larger size or a smaller vocabulary."
        )
    return best[1]


def preset(parameters: int, vocab_size: int, context_length: int = 256, dropout: float = 0.0) -> ModelConfig:
    """The default text model of about so many parameters; arguments as for ``shape``."""
    return shape(parameters, vocab_size, context_length, dropout).config(vocab_size)


def _of_width(dim: int, num_layers: int, context_length: int, dropout: float) -> Shape:
    head_dim = 32 if dim < 512 else 64
    heads = dim // head_dim
    kv_heads = heads // 2 if heads % 2 == 0 else heads
    hidden = round(dim * 8 / 3 / 64) * 64
    return Shape(dim, num_layers, heads, kv_heads, head_dim, hidden, context_length, dropout)


def read_size(text: str) -> int:
    """``"10M"`` → 10,000,000.

    Raises:
        ConfigError: not a number with K, M or B.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmb]?)", text.strip().lower())
    number = float(found.group(1)) * {"": 1, "k": 1e3, "m": 1e6, "b": 1e9}[found.group(2)] if found else 0.0
    if number < 1:
        raise ConfigError(
            f"size is {text!r}, but a number of parameters is needed. Write auto, or for example 500K, 10M or 1B."
        )
    return round(number)
