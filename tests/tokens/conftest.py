from __future__ import annotations

import pytest

from limner.tokens import KINDS, Tokenizer, train_tokenizer

TEXTS = [
    'The curious cat climbed the tall tree. "What a view!" she said, singing and running.',
    "Once upon a time, there was a little dog who was running, jumping and singing all day long.",
    "It's 12 o'clock; the dog's bone isn't here.\n\nThey're sad.\tCafé naïve — 日本 🤖.",
] * 8


@pytest.fixture(scope="session")
def trained() -> dict[str, Tokenizer]:
    return {kind: train_tokenizer(kind, TEXTS, vocab_size=340) for kind in KINDS}
