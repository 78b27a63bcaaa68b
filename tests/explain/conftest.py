"""The published encoder, and small ones of every way to tell where tokens stand."""

from __future__ import annotations

import pytest

from limner.core.config import (
    ALiBiPositions,
    AttentionConfig,
    BlockConfig,
    EmbeddingConfig,
    FeedForwardConfig,
    LayerNorm,
    LearnedPositions,
    ModelConfig,
    RotaryPositions,
    SinusoidalPositions,
    StackConfig,
)
from limner.core.errors import MissingExtraError
from limner.core.transformer import Transformer
from limner.models import load
from limner.text.encoder import TextEncoder
from limner.tokens import Tokenizer, train_tokenizer
from tests.text.conftest import STORY, randomize
from tests.text.conftest import tokenizer as tokenizer

POSITIONS = {
    "learned": LearnedPositions(),
    "sinusoidal": SinusoidalPositions(),
    "rotary": RotaryPositions(),
    "alibi": ALiBiPositions(),
}


@pytest.fixture(scope="session")
def minilm() -> TextEncoder:
    """all-MiniLM-L6-v2, which the extra ``meaning`` brings."""
    try:
        model = load("all-minilm-l6-v2")
    except MissingExtraError as problem:
        pytest.skip(str(problem))
    assert isinstance(model, TextEncoder)
    return model


@pytest.fixture(scope="session")
def wordpiece() -> Tokenizer:
    return train_tokenizer("wordpiece", [STORY] * 4, vocab_size=220, special=["[PAD]", "[CLS]", "[SEP]"])


def small_encoder(tokenizer: Tokenizer, kind: str) -> TextEncoder:
    """An encoder with random weights that tells where tokens stand in this way, or in none."""
    positions = POSITIONS.get(kind)
    added = positions if isinstance(positions, LearnedPositions | SinusoidalPositions) else None
    within = {} if positions is None or added is not None else {"positions": positions}
    block = BlockConfig(AttentionConfig(4, 2, 8, **within), FeedForwardConfig(48), norm=LayerNorm())
    config = ModelConfig(
        tokenizer.vocab_size,
        32,
        24,
        encoder=StackConfig(3, (block,), causal=False),
        embedding=EmbeddingConfig(**({} if added is None else {"positions": added})),
        head=None,
    )
    return TextEncoder(randomize(Transformer(config)), tokenizer, card={"name": kind})
