"""A token that might come next: what a prediction is shown as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from limner.text.generator import TextGenerator


@dataclass(frozen=True)
class Guess:
    """A token that might come next, and how likely it is."""

    id: int
    text: str
    probability: float


def best_guesses(generator: TextGenerator, logits: Tensor, count: int) -> list[Guess]:
    """The likeliest tokens, best first; from logits of shape (vocab_size,) or more, for a model may have more than its tokenizer."""
    shares = logits[: generator.tokenizer.vocab_size].float().softmax(dim=-1)
    best = shares.topk(min(count, len(shares)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [Guess(id, generator.token_text(id), share) for id, share in pairs]
