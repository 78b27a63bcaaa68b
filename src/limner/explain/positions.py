"""How a model tells where a token stands: vectors that are added, angles by which it turns, penalties on distance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, assert_never

import numpy as np
import torch
from numpy.typing import NDArray

from limner.core.config import (
    ALiBiPositions,
    AttentionConfig,
    LearnedPositions,
    NoPositions,
    RotaryPositions,
    SinusoidalPositions,
)
from limner.core.errors import ConfigError
from limner.core.positions import alibi_slopes, rotary_frequencies, rotate, rotation, sinusoidal
from limner.core.tap import Editor
from limner.explain.vectors import Model

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Added:
    """Vectors that are added to the tokens' own.

    Attributes:
        vectors: shape (positions, dim).
        similarity: cosines between them, shape (positions, positions).
        share: how long they are beside the tokens' own vectors, on average: 1 is as long.
    """

    kind: Literal["learned", "sinusoidal"]
    vectors: Floats = field(repr=False)
    similarity: Floats = field(repr=False)
    share: float


@dataclass(frozen=True, eq=False)
class Turned:
    """Angles by which queries and keys are turned.

    Attributes:
        layers: in which.
        channels: how many of a head's are turned, two by two: (i, i + channels / 2).
        angles: radians, shape (positions, pairs); a full turn is 2π, and they are not cut to it.
        turn: positions until a pair has turned once around, shape (pairs,).
        score: query · key of one fixed vector of length 1, equally long in each pair, when the key stands so many positions
            before the query, shape (positions,): 1 where they stand together.
    """

    kind: Literal["rotary"]
    layers: list[int]
    channels: int
    angles: Floats = field(repr=False)
    turn: Floats = field(repr=False)
    score: Floats = field(repr=False)


@dataclass(frozen=True, eq=False)
class Penalized:
    """What is taken from attention scores for distance.

    Attributes:
        layers: in which.
        slopes: of each head, shape (heads,).
        bias: what is added to a score at each distance, shape (heads, positions): 0 and below.
    """

    kind: Literal["alibi"]
    layers: list[int]
    slopes: Floats
    bias: Floats = field(repr=False)


@dataclass(frozen=True, eq=False)
class Positions:
    """All ways in which a model tells where tokens stand; none of them: only a causal mask can.

    Attributes:
        kind: the first of them: ``"learned"``, ``"sinusoidal"``, ``"rotary"``, ``"alibi"`` or ``"none"``.
        count: positions that were looked at, from 0.
        context_length: the most tokens that the model reads at once.
        causal: no token sees what follows it, which tells something of order even without positions.
        added: what is added to the embeddings, if anything.
        within: what attention does, one entry for each way; layers that do the same share one.
    """

    kind: str
    count: int
    context_length: int
    causal: bool
    added: Added | None
    within: list[Turned | Penalized]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "kind": self.kind,
            "count": self.count,
            "context_length": self.context_length,
            "causal": self.causal,
            "added": None if self.added is None else _plain(self.added),
            "within": [_plain(way) for way in self.within],
        }


@torch.inference_mode()
def read_positions(model: Model, count: int = 64) -> Positions:
    """The numbers with which a model tells positions apart, ready to be drawn.

    Args:
        count: how many positions; no more than the model has.
    Raises:
        ConfigError: ``count`` is not positive, or the model has no vectors for so many.
    """
    config = model.model.config
    if count < 1:
        raise ConfigError(f"count is {count}, but at least one position is shown. Choose 1 or more.")
    if isinstance(config.embedding.positions, LearnedPositions) and count > config.context_length:
        raise ConfigError(
            f"count is {count}, but the model has learned vectors for {config.context_length} positions. Choose fewer."
        )
    within: dict[AttentionConfig, list[int]] = {}
    for layer in range(config.stack.num_layers):
        within.setdefault(config.stack.block(layer).attention, []).append(layer)
    by_way: dict[tuple[Any, ...], tuple[AttentionConfig, list[int]]] = {}
    for attention, layers in within.items():  # layers that differ in their span alone turn alike
        _, shared = by_way.setdefault((attention.positions, attention.rotary_dim, attention.num_heads), (attention, []))
        shared += layers
    ways = [way for attention, layers in by_way.values() if (way := _within(attention, sorted(layers), count))]
    added = _added(model, count)
    kind = added.kind if added is not None else ways[0].kind if ways else "none"
    return Positions(kind, count, config.context_length, config.stack.causal, added, ways)


def without_positions() -> Editor:
    """A tap under which the model is not told where tokens stand: nothing added, nothing turned, no penalty.

    With it an encoder reads a text as a bag of words. A causal model still sees what came before each token, and so
    something of their order. Models were not trained so: what they say then shows what they need positions for.
    """
    return Editor(dict.fromkeys(("embedding.positions", "places", "slopes"), torch.zeros_like))


def _added(model: Model, count: int) -> Added | None:
    embedding, dim = model.model.embedding, model.model.config.dim
    match embedding.config.positions:
        case NoPositions():
            return None
        case LearnedPositions():
            assert embedding.position is not None
            kind: Literal["learned", "sinusoidal"] = "learned"
            vectors = embedding.position.weight.detach()[:count].float().cpu()
        case SinusoidalPositions(base=base):
            kind, vectors = "sinusoidal", sinusoidal(torch.arange(count), dim, base)
        case _:
            assert_never(embedding.config.positions)
    unit = torch.nn.functional.normalize(vectors, dim=-1)
    tokens = embedding.token.weight.detach().float().norm(dim=-1).mean().item() * abs(embedding.config.scale)
    share = vectors.norm(dim=-1).mean().item() / tokens if tokens else 0.0
    return Added(kind, vectors.numpy(), (unit @ unit.T).numpy(), share)


def _within(attention: AttentionConfig, layers: list[int], count: int) -> Turned | Penalized | None:
    match attention.positions:
        case NoPositions():
            return None
        case RotaryPositions() as spec:
            frequencies, _ = rotary_frequencies(spec, attention.rotary_dim // spec.axes, count)
            places = torch.arange(count)
            pairs = len(frequencies)
            # Through the core's own rotation, so that what is drawn is what the model does.
            vector = torch.full((1, 1, count, 2 * pairs), (2 * pairs) ** -0.5)
            turned = rotate(vector, rotation(places, frequencies))[0, 0]
            score = turned.flip(0)[:1] @ turned.flip(0).T  # the last position asks those before it
            angles = places.float().unsqueeze(-1) * frequencies
            turn = 2 * torch.pi / frequencies
            return Turned("rotary", layers, 2 * pairs, angles.numpy(), turn.numpy(), score[0].numpy())
        case ALiBiPositions():
            slopes = alibi_slopes(attention.num_heads)
            bias = -slopes[:, None] * torch.arange(count)
            return Penalized("alibi", layers, slopes.numpy(), bias.numpy())
        case _:
            assert_never(attention.positions)


def _plain(way: Added | Turned | Penalized) -> dict[str, Any]:
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(way).items()}
