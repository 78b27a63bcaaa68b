"""The one way to look inside a forward pass, or to reach into it.

Every forward takes ``tap: Tap = NO_TAP`` and passes each step through it by name:

    x = tap("output", self.output(mixed))

The tap returns the value, so the same line records it, edits it, or does nothing. ``tap.at("layer.3")``
extends the path, and ``tap.wants("weights")`` asks for work that is only done when somebody looks (the
attention weights, which the fused path never forms). ``NO_TAP`` leaves nothing in a compiled graph.
The names are public; docs/taps.md lists them.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch import Tensor


class Tap:
    """Sees nothing and changes nothing; what every other tap extends."""

    def __call__(self, name: str, value: Tensor) -> Tensor:
        """Pass one step through; the value returned is the one the model goes on with."""
        return value

    def at(self, name: str) -> Tap:
        """The same tap, one level down the path."""
        return self

    def wants(self, name: str) -> bool:
        """Whether anybody looks at this step: if not, it need not be computed."""
        return False


NO_TAP = Tap()


class _PathTap(Tap):
    """A tap that knows where in the model it stands."""

    def __init__(self, path: str = "") -> None:
        self.path = path

    def full(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name


class Recorder(_PathTap):
    """Keeps the values whose names match any of the patterns.

    Args:
        patterns: shell-style, matched against the whole name: ``"layer.*.attention.weights"``, ``"logits"``.
        keep: what to keep of a value; by default a detached copy.

    After a forward, ``recorder.values["layer.3.residual"]`` is a list with one tensor a forward pass (more
    than one when the pass was made in pieces through a cache), and ``recorder["layer.3.residual"]`` is the last.
    """

    def __init__(
        self,
        patterns: Iterable[str] = ("*",),
        keep: Callable[[Tensor], Tensor] = lambda value: value.detach().clone(),
    ) -> None:
        super().__init__()
        self.patterns = tuple(patterns)
        self.keep = keep
        self.values: dict[str, list[Tensor]] = {}

    def __call__(self, name: str, value: Tensor) -> Tensor:
        if self.wants(name):
            self.values.setdefault(self.full(name), []).append(self.keep(value))
        return value

    def at(self, name: str) -> Tap:
        below = Recorder(self.patterns, self.keep)
        below.path = self.full(name)
        below.values = self.values
        return below

    def wants(self, name: str) -> bool:
        full = self.full(name)
        return any(fnmatchcase(full, pattern) for pattern in self.patterns)

    def __getitem__(self, name: str) -> Tensor:
        return self.values[name][-1]


class Editor(_PathTap):
    """Replaces the values whose names match: ablate, patch, steer.

    Args:
        edits: pattern → function from the value to the value that the model goes on with, same shape.
    """

    def __init__(self, edits: Mapping[str, Callable[[Tensor], Tensor]]) -> None:
        super().__init__()
        self.edits = dict(edits)

    def __call__(self, name: str, value: Tensor) -> Tensor:
        full = self.full(name)
        for pattern, edit in self.edits.items():
            if fnmatchcase(full, pattern):
                edited = edit(value)
                assert edited.shape == value.shape, f"the edit of {full} changed {value.shape} to {edited.shape}"
                value = edited
        return value

    def at(self, name: str) -> Tap:
        below = Editor(self.edits)
        below.path = self.full(name)
        return below

    def wants(self, name: str) -> bool:
        full = self.full(name)
        return any(fnmatchcase(full, pattern) for pattern in self.edits)


class Chain(Tap):
    """Several taps in order; each sees what the one before it returned."""

    def __init__(self, *taps: Tap) -> None:
        self.taps = taps

    def __call__(self, name: str, value: Tensor) -> Tensor:
        for tap in self.taps:
            value = tap(name, value)
        return value

    def at(self, name: str) -> Tap:
        return Chain(*(tap.at(name) for tap in self.taps))

    def wants(self, name: str) -> bool:
        return any(tap.wants(name) for tap in self.taps)
