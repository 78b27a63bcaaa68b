"""Small models of our own, and a tokenizer that is large enough to be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from limner.core.config import (
    AttentionConfig,
    BlockConfig,
    FeedForwardConfig,
    HeadConfig,
    ModelConfig,
    RMSNorm,
    RotaryPositions,
    StackConfig,
)
from limner.core.transformer import Transformer
from limner.tokens import Tokenizer, train_tokenizer

TEXTS = ["the curious cat climbed the tall tree", "a little dog ran to the old house"] * 4


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return train_tokenizer("byte-bpe", TEXTS, vocab_size=300)


def config(vocab_size: int = 300, **options: object) -> ModelConfig:
    """What limner trains by default: Qwen3's parts, with dropout."""
    attention = AttentionConfig(4, 2, 8, RotaryPositions(), qk_norm=RMSNorm(), dropout=0.1)
    block = BlockConfig(attention, FeedForwardConfig(48), dropout=0.1)
    stack = StackConfig(2, (block,), causal=True)
    return ModelConfig(vocab_size, 32, 64, decoder=stack, head=HeadConfig(**options))  # type: ignore[arg-type]


def build(of: ModelConfig, seed: int = 0) -> Transformer:
    model = Transformer(of)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            centre = 1.0 if parameter.dim() == 1 and name.endswith("weight") else 0.0
            parameter.copy_(centre + 0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@pytest.fixture
def saved(tmp_path: Path, tokenizer: Tokenizer) -> tuple[Path, Transformer]:
    """A model folder, and the model in it."""
    from limner.weights.folder import save_model

    model = build(config())
    folder = tmp_path / "cat"
    save_model(folder, model, tokenizer, {"name": "cat", "licence": "CC0-1.0", "trained_on": "two sentences"})
    return folder, model
