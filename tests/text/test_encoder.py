"""An encoder-only model: vectors are the same in company as alone, blanks are filled with what the logits say."""

from __future__ import annotations

from typing import Any

import numpy as np
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
    StackConfig,
)
from limner.core.errors import ConfigError, ContextError, TokenizerError
from limner.core.tap import Recorder
from limner.core.transformer import Transformer
from limner.text.encoder import TextEncoder
from limner.text.generator import TextGenerator
from limner.tokens import Tokenizer, train_tokenizer
from tests.text.conftest import STORY, make_generator, randomize

TEXTS = ["Tom climbed", "The moon was round and bright", "", "She had a red ball and a blue kite"]


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    special = ["[PAD]", "[CLS]", "[SEP]", "[MASK]"]
    return train_tokenizer("wordpiece", [STORY] * 4, vocab_size=150, special=special)


@pytest.fixture(scope="module")
def encoder(words: Tokenizer) -> TextEncoder:
    """BERT's parts."""
    attention = AttentionConfig(2, 2, 16, bias=True, output_bias=True)
    feed_forward = FeedForwardConfig(48, activation="gelu", gated=False, bias=True)
    block = BlockConfig(attention, feed_forward, norm=LayerNorm(), placement="post")
    config = ModelConfig(
        words.vocab_size,
        32,
        24,
        encoder=StackConfig(3, (block,), causal=False, final_norm=None),
        embedding=EmbeddingConfig(positions=LearnedPositions(), segments=2, norm=LayerNorm()),
        head=HeadConfig(bias=True, transform="gelu"),
    )
    return TextEncoder(randomize(Transformer(config)), words, card={"name": "tiny"})


def test_texts_are_framed_as_bert_has_it(encoder: TextEncoder, words: Tokenizer) -> None:
    ids = encoder.read("Tom climbed")
    assert [words.piece(id) for id in (ids[0], ids[-1])] == ["[CLS]", "[SEP]"]
    assert ids[1:-1] == words.encode("Tom climbed")


@pytest.mark.parametrize("layer", [-1, 0, 1, 3, -4])
@pytest.mark.parametrize("pooling", ["mean", "first", "none"])
def test_vectors_are_the_models_own_alone_and_together(encoder: TextEncoder, pooling: Any, layer: int) -> None:
    together = encoder.encode(TEXTS, pooling=pooling, layer=layer)
    for text, vector in zip(TEXTS, together, strict=True):
        tap = Recorder()
        with torch.inference_mode():
            encoder.model.hidden(torch.tensor([encoder.read(text)]), tap=tap)
        number = layer % 4
        hidden = tap["embedding.output" if number == 0 else f"layer.{number - 1}.residual"][0].numpy()
        expected = {"mean": hidden.mean(axis=0), "first": hidden[0], "none": hidden}[pooling]
        np.testing.assert_allclose(vector, expected, atol=1e-5)
        np.testing.assert_allclose(encoder.encode(text, pooling=pooling, layer=layer), expected, atol=1e-5)


def test_normalized_vectors_have_length_1(encoder: TextEncoder) -> None:
    vectors = encoder.encode(TEXTS, normalize=True)
    assert vectors.shape == (4, 32)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_no_texts_give_no_vectors(encoder: TextEncoder) -> None:
    assert encoder.encode([]).shape == (0, 32)


def test_blanks_are_filled_with_the_likeliest_tokens(encoder: TextEncoder, words: Tokenizer) -> None:
    filled = encoder.fill_mask("Tom [MASK] a tall [MASK].", top=3)
    ids = encoder.read("Tom [MASK] a tall [MASK].", special=True)
    with torch.inference_mode():
        shares = encoder.model(torch.tensor([ids]))[0].softmax(dim=-1)
    places = [place for place, id in enumerate(ids) if id == words.mask_id]
    assert len(filled) == len(places) == 2
    for place, fillings in zip(places, filled, strict=True):
        assert [filling.id for filling in fillings] == shares[place].topk(3).indices.tolist()
        assert fillings[0].probability == pytest.approx(shares[place].max().item(), abs=1e-6)
        assert fillings[0].text


def test_what_cannot_be_done_is_said(encoder: TextEncoder, words: Tokenizer, tokenizer: Tokenizer) -> None:
    with pytest.raises(ConfigError, match="pooling is 'max'"):
        encoder.encode("Tom", pooling="max")  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="layer is 4"):
        encoder.encode("Tom", layer=4)
    with pytest.raises(ContextError, match=r"tokens long, .* holds 24\."):
        encoder.encode(STORY)
    with pytest.raises(TokenizerError, match=r"'Tom climbed', but it has no blank. Write \[MASK\]"):
        encoder.fill_mask("Tom climbed")
    with pytest.raises(ConfigError, match="top is 0"):
        encoder.fill_mask("[MASK]", top=0)
    with pytest.raises(ConfigError, match="has a decoder"):
        TextEncoder(make_generator(tokenizer).model, tokenizer)
    with pytest.raises(ConfigError, match="encoder-only"):
        TextGenerator(encoder.model, words)
    with pytest.raises(TokenizerError, match=f"tokenizer has {tokenizer.vocab_size} tokens"):
        TextEncoder(encoder.model, tokenizer)
