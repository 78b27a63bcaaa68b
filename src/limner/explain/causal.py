"""Which parts a prediction rests on: each head, attention and feed-forward is switched off in turn.

All heads of a layer are tried in one batch, a row each, and only from their layer on: what lies below is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from limner.core.tap import Recorder, Tap
from limner.explain.ledger import stack_of
from limner.explain.words import resolve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limner.text.generator import TextGenerator

ROOM = 2**25  # inner values of one batch, 128 MB


@dataclass(frozen=True)
class CausalMap:
    """How a token's probability changes when a part is switched off; below 0: the part spoke for it.

    Attributes:
        place: the token after which the target would follow.
        target: the token whose probability it is.
        probability: as the model gives it, everything on.
        heads: without the head less with it, shape (layers, heads); not a number where a layer has fewer heads, or where
            the search was stopped before.
        attention, feed_forward: the same for a layer's whole attention and feed-forward, shape (layers,).
        finished: whether all were tried.
    """

    place: int
    target: int
    text: str
    probability: float
    heads: NDArray[np.float32]
    attention: NDArray[np.float32]
    feed_forward: NDArray[np.float32]
    finished: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; what was not tried is None."""

        def plain(values: NDArray[np.float32]) -> list[Any]:
            return np.where(np.isnan(values), None, values.astype(object)).tolist()  # type: ignore[no-any-return, call-overload]

        return {
            "place": self.place, "target": self.target, "text": self.text, "probability": self.probability,
            "change": plain(self.heads), "attention": plain(self.attention), "feed_forward": plain(self.feed_forward),
            "finished": self.finished,
        }  # fmt: skip


@torch.inference_mode()
def causal_map(
    generator: TextGenerator,
    source: str | Sequence[int],
    *,
    place: int = -1,
    target: int | str | None = None,
    on_progress: Callable[[int, int], object] | None = None,
) -> CausalMap:
    """Switch off every head, every attention and every feed-forward in turn.

    A part is off at all tokens of the text up to ``place``, as ``HeadOff``, ``AttentionOff`` and ``FeedForwardOff`` have
    it.

    Args:
        place: after which token; -1: the last.
        target: an id, or a text of one token; None: the token that really follows, of the last the likeliest.
        on_progress: called with how many layers are done and how many there are; if it returns False the search stops.
    Raises:
        ConfigError: no such place; the target is no single token.
    """
    ids, place, goal = resolve(generator, source, place, target)
    parts = each_part_off(generator, ids[: place + 1])
    shares = next(parts)[0]
    found = int(shares.argmax()) if goal is None else goal
    before = float(shares[found])
    blocks = generator.model.config.stack.blocks
    layers = generator.model.config.stack.num_layers
    most = max(block.attention.num_heads for block in blocks)
    heads = np.full((layers, most), np.nan, np.float32)
    whole = np.full((2, layers), np.nan, np.float32)
    finished = True
    for layer, off in enumerate(parts):
        changed = (off[:, found] - before).tolist()
        count = len(changed) - 2
        heads[layer, :count] = changed[:count]
        whole[:, layer] = changed[count:]
        if on_progress is not None and on_progress(layer + 1, layers) is False:
            finished = layer + 1 == layers
            break
    return CausalMap(place, found, generator.token_text(found), before, heads, whole[0], whole[1], finished)


@torch.inference_mode()
def each_part_off(generator: TextGenerator, ids: Sequence[int]) -> Iterator[Tensor]:
    """What would follow a text: first as the model is, shape (1, vocab_size), then for each layer with a part of it off.

    A layer's rows are its heads, then its attention, then its feed-forward; shape (heads + 2, vocab_size), probabilities.
    """
    model, stack = generator.model, stack_of(generator.model)
    rows = torch.tensor([list(ids)], device=generator.device)
    seen = Recorder(["embedding.output", "layer.*.residual"], keep=lambda value: value)
    yield _last(generator, model.hidden(rows, tap=seen))
    for layer in range(model.config.stack.num_layers):
        block = model.config.stack.block(layer)
        count = block.attention.num_heads
        x = seen["embedding.output" if layer == 0 else f"layer.{layer - 1}.residual"]
        widest = max(block.feed_forward.hidden_dim, model.config.dim)
        batch = max(1, ROOM // (widest * rows.shape[1]))
        made = []
        for start in range(0, count + 2, batch):
            parts = range(start, min(start + batch, count + 2))
            made.append(
                _last(generator, stack(x.expand(len(parts), -1, -1), first=layer, tap=_EachOff(layer, parts, count)))
            )
        yield torch.cat(made)


def _last(generator: TextGenerator, hidden: Tensor) -> Tensor:
    """Probabilities of what follows each row, shape (rows, vocab_size)."""
    logits = generator.model.logits(hidden[:, -1])[:, : generator.tokenizer.vocab_size]
    return logits.float().softmax(dim=-1)


class _EachOff(Tap):
    """In each row another part of one layer off: head 0, head 1, …, then the attention, then the feed-forward."""

    def __init__(self, layer: int, parts: range, heads: int, path: str = "") -> None:
        self.layer, self.parts, self.heads, self.path = layer, parts, heads, path

    def __call__(self, name: str, value: Tensor) -> Tensor:
        row_of = {part: row for row, part in enumerate(self.parts)}
        match f"{self.path}.{name}".removeprefix(f".layer.{self.layer}."):
            case "attention.mixed":
                off = [(row, part) for part, row in row_of.items() if part < self.heads]
                value = value.clone()
                for row, head in off:
                    value[row, head] = 0.0
            case "attention.output" if self.heads in row_of:
                value = value.clone()
                value[row_of[self.heads]] = 0.0
            case "feed_forward.output" if self.heads + 1 in row_of:
                value = value.clone()
                value[row_of[self.heads + 1]] = 0.0
            case _:
                pass
        return value

    def at(self, name: str) -> Tap:
        return _EachOff(self.layer, self.parts, self.heads, f"{self.path}.{name}")
