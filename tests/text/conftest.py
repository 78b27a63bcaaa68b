"""Small random models and small tokenizers: enough to write nonsense with, in milliseconds."""

from __future__ import annotations

import pytest
import torch

from limner.core.config import (
    AttentionConfig,
    BlockConfig,
    EmbeddingConfig,
    FeedForwardConfig,
    HeadConfig,
    LayerNorm,
    LearnedPositions,
    ModelConfig,
    RMSNorm,
    RotaryPositions,
    SlidingSpan,
    StackConfig,
)
from limner.core.transformer import Transformer
from limner.text.generator import TextGenerator
from limner.tokens import Tokenizer, train_tokenizer

STORY = (
    "Once upon a time, there was a curious cat named Tom. Tom climbed a tall tree to see the moon. "
    'The moon was round and bright. "Hello, moon!" said Tom. A little girl with a café au lait laughed. '
    "She had a red ball and a blue kite 🪁. They played until the sun went down, and then they went home."
)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return train_tokenizer("byte-bpe", [STORY] * 4, vocab_size=320)


def randomize(model: Transformer, seed: int = 0, scale: float = 0.15) -> Transformer:
    """Every parameter random and none zero, so that no layer is the identity."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(0.0, scale, generator=generator)
            if "norm" in name and name.endswith("weight"):
                parameter.add_(1.0)
    return model.eval()


def tiny_config(vocab_size: int, *, kind: str = "rotary", context_length: int = 48) -> ModelConfig:
    """rotary: Qwen3's parts; learned: GPT-2's; sliding: a short window in every other layer."""
    if kind == "learned":
        attention = AttentionConfig(2, 2, 16, bias=True, output_bias=True)
        feed_forward = FeedForwardConfig(48, activation="gelu_tanh", gated=False, bias=True)
        block = BlockConfig(attention, feed_forward, norm=LayerNorm())
        return ModelConfig(
            vocab_size,
            32,
            context_length,
            decoder=StackConfig(2, (block,), causal=True, final_norm=LayerNorm()),
            embedding=EmbeddingConfig(positions=LearnedPositions()),
            head=HeadConfig(bias=True),
        )
    full = BlockConfig(AttentionConfig(4, 2, 8, positions=RotaryPositions(), qk_norm=RMSNorm()), FeedForwardConfig(48))
    sliding = BlockConfig(
        AttentionConfig(4, 2, 8, positions=RotaryPositions(), span=SlidingSpan(8)), FeedForwardConfig(48)
    )
    blocks = (sliding, full) if kind == "sliding" else (full,)
    return ModelConfig(
        vocab_size, 32, context_length, decoder=StackConfig(2, blocks, causal=True), head=HeadConfig(bias=True)
    )


def make_generator(
    tokenizer: Tokenizer, *, kind: str = "rotary", context_length: int = 48, end_bias: float = 2.0
) -> TextGenerator:
    """A generator whose texts now and then end by themselves."""
    config = tiny_config(tokenizer.vocab_size, kind=kind, context_length=context_length)
    model = randomize(Transformer(config))
    assert model.head is not None
    assert model.head.bias is not None
    if tokenizer.end_id is not None:
        with torch.no_grad():
            model.head.bias[tokenizer.end_id] += end_bias
    return TextGenerator(model, tokenizer, card={"name": f"tiny-{kind}"})


@pytest.fixture(scope="session")
def generator(tokenizer: Tokenizer) -> TextGenerator:
    return make_generator(tokenizer)


@pytest.fixture(scope="session", params=["rotary", "learned", "sliding"])
def any_generator(request: pytest.FixtureRequest, tokenizer: Tokenizer) -> TextGenerator:
    return make_generator(tokenizer, kind=request.param)
