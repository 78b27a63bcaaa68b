"""Models small enough to be looked at whole, one of each build, and the published encoder."""

from __future__ import annotations

from dataclasses import replace

import pytest

from limner.core.config import (
    ALiBiPositions,
    AttentionConfig,
    BlockConfig,
    EmbeddingConfig,
    FeedForwardConfig,
    HeadConfig,
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
from limner.text.generator import TextGenerator
from limner.tokens import Tokenizer, train_tokenizer
from tests.text.conftest import STORY, make_generator, randomize, tiny_config
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


KINDS = ("rotary", "learned", "sliding", "sandwich", "softcaps", "alibi", "sinusoidal")


def build(words: Tokenizer, kind: str) -> TextGenerator:
    """The kinds of tests/text, and some more: rarer parts that a reading has to get right as well."""
    if kind in ("rotary", "learned", "sliding"):
        return make_generator(words, kind=kind)
    config = tiny_config(words.vocab_size, kind="rotary" if kind in ("sandwich", "softcaps") else "learned")
    assert config.decoder is not None
    block = config.decoder.blocks[0]
    if kind == "sandwich":
        block = replace(block, placement="sandwich", residual_scale=0.7)
        config = replace(config, decoder=replace(config.decoder, blocks=(block,)))
    elif kind == "softcaps":
        block = replace(block, attention=replace(block.attention, softcap=2.0))
        config = replace(
            config, decoder=replace(config.decoder, blocks=(block,)), head=HeadConfig(tied=False, softcap=3.0)
        )
    elif kind == "alibi":
        block = replace(block, attention=replace(block.attention, positions=ALiBiPositions()))
        config = replace(config, decoder=replace(config.decoder, blocks=(block,)), embedding=EmbeddingConfig())
    elif kind == "sinusoidal":
        config = replace(config, embedding=EmbeddingConfig(positions=SinusoidalPositions()))
    elif kind == "post":
        block = replace(block, placement="post")
        config = replace(config, decoder=replace(config.decoder, blocks=(block,), final_norm=None))
    else:
        raise AssertionError(kind)
    return TextGenerator(randomize(Transformer(config)), words, card={"name": f"tiny-{kind}"})


@pytest.fixture(scope="session")
def words() -> Tokenizer:
    return train_tokenizer("byte-bpe", [STORY] * 4, vocab_size=320)


@pytest.fixture(scope="session", params=KINDS)
def model(request: pytest.FixtureRequest, words: Tokenizer) -> TextGenerator:
    return build(words, request.param)


@pytest.fixture(scope="session")
def rotary(words: Tokenizer) -> TextGenerator:
    return build(words, "rotary")


@pytest.fixture(scope="session")
def encoder() -> TextEncoder:
    """BERT's parts."""
    words = train_tokenizer("wordpiece", [STORY] * 4, vocab_size=150, special=["[PAD]", "[CLS]", "[SEP]", "[MASK]"])
    attention = AttentionConfig(2, 2, 16, bias=True, output_bias=True)
    feed_forward = FeedForwardConfig(48, activation="gelu", gated=False, bias=True)
    block = BlockConfig(attention, feed_forward, norm=LayerNorm(), placement="post")
    config = ModelConfig(
        words.vocab_size,
        32,
        24,
        encoder=StackConfig(3, (block,), causal=False, final_norm=None),
        embedding=EmbeddingConfig(positions=LearnedPositions(), segments=2, norm=LayerNorm()),
        head=None,
    )
    return TextEncoder(randomize(Transformer(config)), words, card={"name": "tiny"})
