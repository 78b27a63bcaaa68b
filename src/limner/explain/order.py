"""The same words in two orders, read with positions and without: what a model knows of order, and from where."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from limner.core.errors import ConfigError
from limner.core.tap import NO_TAP, Tap
from limner.explain.guess import Guess, best_guesses
from limner.explain.positions import read_positions, without_positions
from limner.explain.words import Model, read_ids, token_name
from limner.text.generator import TextGenerator


@dataclass(frozen=True)
class Pair:
    """One token that both texts hold.

    Attributes:
        places: where it stands in the first and in the second.
        similarity: the cosine between its two vectors after the last layer.
    """

    token: str
    places: tuple[int, int]
    similarity: float


@dataclass(frozen=True)
class PairReading:
    """Both texts, read one way.

    Attributes:
        similarity: the cosine between the means of the texts' vectors: 1 is the same to the model.
        largest_difference: of any number between the vectors of a token in one text and the same token in the other; None
            where the texts do not have the same tokens.
        pairs: the tokens that both hold, in the first text's order.
        next: the likeliest next tokens after each text; empty for encoders.
    """

    similarity: float
    largest_difference: float | None
    pairs: list[Pair]
    next: list[list[Guess]]


@dataclass(frozen=True)
class Order:
    """Two texts with positions and without.

    Attributes:
        tokens: of both, as the model reads them.
        same_tokens: both have the same ones, as often: only their order differs. (Where capitals or spaces belong to
            tokens, the same words may be other tokens.)
        causal: no token sees what follows it, so that order tells something without positions, too.
        positions: how the model is told: see ``Positions.kind``.
    """

    texts: tuple[str, str]
    tokens: tuple[list[str], list[str]]
    same_tokens: bool
    causal: bool
    positions: str
    with_positions: PairReading
    without_positions: PairReading

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@torch.inference_mode()
def compare_order(model: Model, first: str, second: str, *, top: int = 5) -> Order:
    """Read two texts, such as "Cats chase mice" and "Mice chase cats", with positions and with them switched off.

    Args:
        top: how many next tokens, of models that write.
    Raises:
        ConfigError: ``top`` is not positive.
        ContextError: a text is longer than the context window.
        TokenizerError: a text is empty, and the model has nothing to begin with.
    """
    if top < 1:
        raise ConfigError(f"top is {top}, but at least one token is shown. Choose 1 or more.")
    one, two = rows = [read_ids(model, text) for text in (first, second)]
    names = tuple([token_name(model.tokenizer, id) for id in ids] for ids in rows)
    return Order(
        (first, second),
        (names[0], names[1]),
        same_tokens=Counter(one) == Counter(two),
        causal=model.model.config.stack.causal,
        positions=read_positions(model, 1).kind,
        with_positions=_read(model, one, two, NO_TAP, top),
        without_positions=_read(model, one, two, without_positions(), top),
    )


def _read(model: Model, one: list[int], two: list[int], tap: Tap, top: int) -> PairReading:
    hidden = [model.model.hidden(torch.tensor([ids], device=model.device), tap=tap)[0] for ids in (one, two)]
    following: list[list[Guess]] = []
    if isinstance(model, TextGenerator):
        following = [best_guesses(model, model.model.logits(vectors[-1]), top) for vectors in hidden]
    first, second = (vectors.float().cpu() for vectors in hidden)
    places = _matched(one, two)
    pairs = [
        Pair(token_name(model.tokenizer, one[here]), (here, there), _cosine(first[here], second[there]))
        for here, there in places
    ]
    whole = len(places) == len(one) == len(two)
    differences = [float((first[here] - second[there]).abs().max()) for here, there in places]
    return PairReading(
        _cosine(first.mean(dim=0), second.mean(dim=0)), max(differences) if whole else None, pairs, following
    )


def _matched(one: list[int], two: list[int]) -> list[tuple[int, int]]:
    """Places of the same tokens: of one that comes several times, the first with the first."""
    waiting: dict[int, list[int]] = {}
    for place, id in enumerate(two):
        waiting.setdefault(id, []).append(place)
    return [(place, waiting[id].pop(0)) for place, id in enumerate(one) if waiting.get(id)]


def _cosine(first: Tensor, second: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(first, second, dim=-1))
