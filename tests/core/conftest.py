"""Small models with every parameter random."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from limner.core.config import (
    AttentionConfig,
    BlockConfig,
    EmbeddingConfig,
    FeedForwardConfig,
    HeadConfig,
    LearnedPositions,
    ModelConfig,
    SinusoidalPositions,
    StackConfig,
)
from limner.core.transformer import Transformer

VOCAB, DIM, CONTEXT = 50, 24, 48


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(11)


def attention(positions: Any = None, **options: Any) -> AttentionConfig:
    """Four heads of six channels; positions that are added to the embedding are left to ``decoder``."""
    added = positions is None or isinstance(positions, LearnedPositions | SinusoidalPositions)
    return AttentionConfig(
        4, options.pop("num_kv_heads", 4), 6, **({} if added else {"positions": positions}), **options
    )


def block(own: AttentionConfig | None = None, **options: Any) -> BlockConfig:
    return BlockConfig(own or attention(), options.pop("feed_forward", FeedForwardConfig(40)), **options)


def decoder(*blocks: BlockConfig, layers: int = 3, positions: Any = None, **options: Any) -> ModelConfig:
    added = isinstance(positions, LearnedPositions | SinusoidalPositions)
    embedding = options.pop("embedding", EmbeddingConfig())
    if added:
        embedding = replace(embedding, positions=positions)
    stack = StackConfig(layers, blocks or (block(attention(positions)),), causal=options.pop("causal", True))
    return ModelConfig(VOCAB, DIM, CONTEXT, decoder=stack, embedding=embedding, head=options.pop("head", HeadConfig()))


def build(config: ModelConfig, seed: int = 0) -> Transformer:
    """A model with every parameter random, in evaluation mode."""
    model = Transformer(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            centre = 1.0 if parameter.dim() == 1 and name.endswith("weight") else 0.0
            spread = 0.3 if parameter.dim() == 1 else 1.2 * parameter.shape[-1] ** -0.5
            parameter.copy_(centre + spread * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def ids(batch: int = 2, time: int = 20) -> torch.Tensor:
    return torch.randint(0, VOCAB, (batch, time))
