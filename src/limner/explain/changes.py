"""What is done to a model while it reads or writes: switch parts off, patch, steer; and before and after side by side.

    changes = [HeadOff(layer=2, head=0), FeedForwardOff(layer=3)]
    seen = compare(model, "The curious cat", changes)
    print(seen.before[0].text, "->", seen.after[0].text)
    model.generate("The curious cat", tap=tap_for(changes, model), seed=1)

A change is a small frozen dataclass, and plain JSON both ways: ``to_dict`` and ``change_from_dict``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, assert_never

import torch
from torch import Tensor

from limner.core.config import BlockConfig
from limner.core.errors import ConfigError, suggest
from limner.core.tap import NO_TAP, Recorder, Tap
from limner.explain.change_kinds import Change, Kinds, nothing, silenced
from limner.explain.checks import check_number
from limner.explain.guess import Guess, best_guesses
from limner.explain.words import read_ids
from limner.text.encoder import TextEncoder

if TYPE_CHECKING:
    from limner.text.generator import TextGenerator
    from limner.text.record import Generation

# ── the changes ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class HeadOff(Change):
    """One head gives nothing: its mixed values are 0. Layers and heads count from 0."""

    layer: int
    head: int
    kind: ClassVar[str] = "head_off"


@dataclass(frozen=True)
class AttentionOff(Change):
    """A layer's attention adds nothing to the residual stream."""

    layer: int
    kind: ClassVar[str] = "attention_off"


@dataclass(frozen=True)
class FeedForwardOff(Change):
    """A layer's feed-forward adds nothing to the residual stream."""

    layer: int
    kind: ClassVar[str] = "feed_forward_off"


@dataclass(frozen=True)
class NeuronOff(Change):
    """One inner value of a layer's feed-forward is 0."""

    layer: int
    neuron: int
    kind: ClassVar[str] = "neuron_off"


@dataclass(frozen=True)
class Patch(Change):
    """A step's value at one token is that which another text has there.

    Attributes:
        name: of the step, as docs/taps.md has it: ``"layer.1.residual"``.
        source: the other text.
        place: the token that gets the value, counted from 0.
        from_: the token of the other text that gives it; ``"from"`` in JSON.
    """

    name: str
    source: str
    place: int
    from_: int
    kind: ClassVar[str] = "patch"


@dataclass(frozen=True)
class Steer(Change):
    """A direction is added to the residual stream after a layer, at every token.

    It leads from the mean of one text's vectors after that layer to the mean of another's; a token that opens texts does
    not count.

    Attributes:
        towards, away: the two texts.
        strength: how often it is added; negative ones lead the other way.
    Source: Turner et al. 2023, arXiv:2308.10248; Rimsky et al. 2023, arXiv:2312.06681 (means).
    """

    layer: int
    towards: str
    away: str
    strength: float
    kind: ClassVar[str] = "steer"

    def __post_init__(self) -> None:
        if not math.isfinite(self.strength):
            raise ConfigError(
                f"strength is {self.strength:g}, but a direction is added a finite number of times. Choose another number; 2 is usual."
            )


@dataclass(frozen=True)
class PositionsOff(Change):
    """Nothing says where a token stands: no position vectors, no rotation, no ALiBi; what is causal stays so."""

    kind: ClassVar[str] = "positions_off"


TextChange = HeadOff | AttentionOff | FeedForwardOff | NeuronOff | Patch | Steer | PositionsOff
KINDS: Kinds[TextChange] = Kinds(
    "a text", (HeadOff, AttentionOff, FeedForwardOff, NeuronOff, Patch, Steer, PositionsOff)
)


def change_from_dict(values: Mapping[str, Any]) -> TextChange:
    """Read what ``to_dict`` wrote; strict.

    Raises:
        ConfigError: no such kind; an unknown, missing or ill-typed entry.
    """
    return KINDS.read(values)


def read_changes(values: Iterable[TextChange | Mapping[str, Any]]) -> tuple[TextChange, ...]:
    """Changes from what ``to_dict`` gave; those that are changes already stay.

    Raises:
        ConfigError: one of them is none of a text.
    """
    return KINDS.read_all(values)


# ── what they do to a forward pass ─────────────────────────────────────────────────────────────────────────

Edit = Callable[[Tensor, "Moment"], Tensor]

PATCHED = (  # steps that have a vector for each token
    "embedding.token", "embedding.output", "final_norm",
    *(f"layer.{{}}.{step}" for step in (
        "attention.query", "attention.key", "attention.value", "attention.mixed", "attention.output",
        "residual_attention", "feed_forward.hidden", "feed_forward.output", "residual",
    )),
)  # fmt: skip


@dataclass
class Moment:
    """How far a text has been read.

    Attributes:
        passes: forward passes before this one.
        time: tokens of this pass.
    """

    passes: int = -1
    time: int = 0

    def next(self, time: int) -> None:
        """A new pass begins."""
        self.passes += 1
        self.time = time


class ChangeTap(Tap):
    """Changes a forward pass as ``tap_for`` was told; made for one text, or several of one length, read or written once."""

    def __init__(self, edits: Mapping[str, Sequence[Edit]], moment: Moment | None = None, path: str = "") -> None:
        self.edits, self.moment, self.path = edits, moment or Moment(), path

    def full(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def __call__(self, name: str, value: Tensor) -> Tensor:
        full = self.full(name)
        if full == "embedding.token":
            self.moment.next(value.shape[1])
        for edit in self.edits.get(full, ()):
            value = edit(value, self.moment)
        return value

    def at(self, name: str) -> Tap:
        return ChangeTap(self.edits, self.moment, self.full(name))

    def wants(self, name: str) -> bool:
        return self.full(name) in self.edits


def tap_for(changes: Iterable[TextChange | Mapping[str, Any]], model: TextGenerator | TextEncoder) -> Tap:
    """A tap that makes these changes, in their order; NO_TAP for none.

    It reads and writes one text: ``model.generate(prompt, tap=tap_for(changes, model))``. A patch is made while the
    prompt is read and at no token that is written; all others are made in every pass.

    Args:
        changes: as dataclasses or as their JSON.
    Raises:
        ConfigError: no such change, layer, head, neuron or step; a patch from a place that the other text does not have.
    """
    edits: dict[str, list[Edit]] = {}
    for change in read_changes(changes):
        for name, edit in _edits(change, model):
            edits.setdefault(name, []).append(edit)
    return ChangeTap(edits) if edits else NO_TAP


def _edits(change: TextChange, model: TextGenerator | TextEncoder) -> list[tuple[str, Edit]]:
    match change:
        case HeadOff(layer=layer, head=head):
            count = _block(change, layer, model).attention.num_heads
            check_number("head_off.head", head, count, "head", f"layer {layer}")
            return [(f"layer.{layer}.attention.mixed", lambda value, _: silenced(value, 1, head))]
        case AttentionOff(layer=layer):
            _block(change, layer, model)
            name = f"layer.{layer}.attention"
            return [(f"{name}.mixed", _nothing), (f"{name}.output", _nothing)]
        case FeedForwardOff(layer=layer):
            _block(change, layer, model)
            return [(f"layer.{layer}.feed_forward.{step}", _nothing) for step in ("hidden", "output")]
        case NeuronOff(layer=layer, neuron=neuron):
            count = _block(change, layer, model).feed_forward.hidden_dim
            check_number("neuron_off.neuron", neuron, count, "neuron", f"layer {layer}")
            return [(f"layer.{layer}.feed_forward.hidden", lambda value, _: silenced(value, 2, neuron))]
        case Patch():
            return [(change.name, _patch(change, model))]
        case Steer(layer=layer):
            _block(change, layer, model)
            direction = _direction(change, model)
            return [(f"layer.{layer}.residual", lambda value, _: value + direction.to(value.dtype))]
        case PositionsOff():
            return [(name, _nothing) for name in ("embedding.positions", "places", "slopes")]
        case _:
            assert_never(change)


def _nothing(value: Tensor, _: Moment) -> Tensor:
    return nothing(value)


def _block(change: TextChange, layer: int, model: TextGenerator | TextEncoder) -> BlockConfig:
    stack = model.model.config.stack
    check_number(f"{change.kind}.layer", layer, stack.num_layers, "layer")
    return stack.block(layer)


@torch.inference_mode()
def _seen(name: str, text: str, model: TextGenerator | TextEncoder) -> tuple[Tensor, list[int]]:
    """A step's value while a text is read, and the text's ids."""
    ids = read_ids(model, text)
    tap = Recorder([name])
    model.model.hidden(torch.tensor([ids], device=model.device), tap=tap)
    return tap[name][0], ids


def _patch(change: Patch, model: TextGenerator | TextEncoder) -> Edit:
    layers = model.model.config.stack.num_layers
    names = [name.format(layer) for name in PATCHED for layer in range(layers if "{}" in name else 1)]
    if change.name not in names:
        raise ConfigError(
            f"patch.name is {change.name!r}, but it is a step that has a vector for each token. "
            f"{suggest(change.name, names)}"
        )
    if change.place < 0:
        raise ConfigError(f"patch.place is {change.place}, but places count from 0. Choose 0 or more.")
    values, ids = _seen(change.name, change.source, model)
    check_number("patch.from", change.from_, len(ids), "token", "the source")
    given = values.select(values.dim() - 2, change.from_)

    def patch(value: Tensor, moment: Moment) -> Tensor:
        if moment.passes:
            return value
        check_number("patch.place", change.place, moment.time, "token", "the text")
        changed = value.clone()
        changed.select(value.dim() - 2, change.place).copy_(given)
        return changed

    return patch


def _direction(change: Steer, model: TextGenerator | TextEncoder) -> Tensor:
    means: list[Tensor] = []
    for text in (change.towards, change.away):
        values, ids = _seen(f"layer.{change.layer}.residual", text, model)
        own = [place for place, id in enumerate(ids) if not model.tokenizer.is_special(id)]
        if not own:
            raise ConfigError(
                f"steer.{'away' if means else 'towards'} is {text!r}, but a direction needs a text. Give a word or more."
            )
        means.append(values[own].float().mean(dim=0))
    return (means[0] - means[1]) * change.strength


# ── before and after ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Comparison:
    """One prompt, read and continued as the model is and as it was changed.

    Attributes:
        before, after: the likeliest next tokens, without and with the changes; each list has the tokens of its own.
        divergence: how far the second distribution is from the first, in bits (Kullback-Leibler).
        written_before, written_after: the continuations, from the same seed.
    """

    prompt: str
    changes: tuple[TextChange, ...]
    before: list[Guess]
    after: list[Guess]
    divergence: float
    written_before: Generation
    written_after: Generation

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""

        def listed(guesses: list[Guess]) -> dict[str, Any]:
            return {"candidates": [asdict(guess) for guess in guesses]}

        return {
            "prompt": self.prompt, "changes": [change.to_dict() for change in self.changes],
            "before": listed(self.before), "after": listed(self.after), "divergence": self.divergence,
            "continuation": {"before": self.written_before.to_dict(), "after": self.written_after.to_dict()},
        }  # fmt: skip


def compare(
    generator: TextGenerator,
    prompt: str | Sequence[int],
    changes: Iterable[TextChange | Mapping[str, Any]],
    *,
    count: int = 10,
    max_tokens: int = 40,
    seed: int = 0,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    window: Literal["error", "slide"] = "error",
) -> Comparison:
    """What a prompt leads to, without changes and with them.

    The continuation with changes is written under them from its first token to its last; patches are made in the prompt.

    Args:
        count: how many next tokens.
        max_tokens, seed, temperature, top_k, top_p, window: as for ``generate``; by default the likeliest token each time.
    Raises:
        ConfigError: a change that the model has no place for.
        ContextError: the prompt is longer than the context window.
    """
    if count < 1:
        raise ConfigError(f"count is {count}, but at least one token is shown. Choose 1 or more.")
    changes = read_changes(changes)
    ids = read_ids(generator, prompt)
    rows = torch.tensor([ids], device=generator.device)
    logs = []
    for tap in (NO_TAP, tap_for(changes, generator)):
        with torch.inference_mode():
            hidden = generator.model.hidden(rows, tap=tap)
            logits = generator.model.logits(hidden[:, -1:], tap=tap)[0, -1, : generator.tokenizer.vocab_size]
        logs.append(logits.float().log_softmax(dim=-1))
    texts = [
        generator.generate(
            ids, max_tokens=max_tokens, seed=seed, temperature=temperature, top_k=top_k, top_p=top_p, window=window, tap=tap
        )
        for tap in (NO_TAP, tap_for(changes, generator))
    ]  # fmt: skip
    bits = float((logs[0].exp() * (logs[0] - logs[1])).sum()) / torch.log(torch.tensor(2.0)).item()
    shown = prompt if isinstance(prompt, str) else generator.tokenizer.decode(ids)
    return Comparison(
        shown, changes, best_guesses(generator, logs[0], count), best_guesses(generator, logs[1], count), max(bits, 0.0),
        texts[0], texts[1],
    )  # fmt: skip
