"""What changes of texts and of pictures share: they are small frozen dataclasses, and plain JSON both ways."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from limner.core.errors import ConfigError, suggest
from limner.core.settings import read_settings

C = TypeVar("C", bound="Change")


class Change:
    """One change. A field whose name Python keeps for itself ends in ``_``, in JSON it does not."""

    kind: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without what is None; ``Kinds.read`` reads them back."""
        plain = {field.name.rstrip("_"): getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        listed = {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}
        return {"kind": self.kind, **{name: value for name, value in listed.items() if value is not None}}


@dataclass(frozen=True)
class Kinds(Generic[C]):
    """All changes that can be made to one thing.

    Attributes:
        whose: what they are made to, as messages call it: ``"a text"``.
        classes: the changes; each has another kind.
    """

    whose: str
    classes: tuple[type[C], ...]

    def read(self, value: C | Mapping[str, Any], path: str = "") -> C:
        """A change from what its ``to_dict`` gave; strict. One that is a change already stays.

        Args:
            path: what a message calls it.
        Raises:
            ConfigError: it is none of these; an unknown, missing or ill-typed entry.
        """
        if isinstance(value, self.classes):
            return value
        if not isinstance(value, Mapping):
            raise ConfigError(
                f"{path or 'a change'} is {value!r:.80}, but it is a change that can be made to {self.whose}. "
                f"Give one such as {self.classes[0].__name__}, or what its to_dict gave."
            )
        by_kind = {one.kind: one for one in self.classes}
        kind = value.get("kind")
        if not isinstance(kind, str) or kind not in by_kind:
            raise ConfigError(
                f"{path or 'change'}.kind is {kind!r:.60}, but no change of {self.whose} is called so. "
                f"{suggest(str(kind)[:60], by_kind)}"
            )
        expected = by_kind[kind]
        own = {field.name.rstrip("_"): field.name for field in fields(expected)}  # type: ignore[arg-type]
        named = {own.get(name, name): entry for name, entry in value.items() if name != "kind"}
        return read_settings(expected, named, path or kind)

    def read_all(self, values: Iterable[C | Mapping[str, Any]]) -> tuple[C, ...]:
        """Changes in their order.

        Raises:
            ConfigError: they are no list, or one is none of these.
        """
        if isinstance(values, Mapping | str) or not isinstance(values, Iterable):
            raise ConfigError(f"changes is {values!r:.80}, but it is a list of changes. Put them in brackets.")
        return tuple(self.read(value, f"changes[{number}]") for number, value in enumerate(values))


def silenced(value: Tensor, axis: int, number: int) -> Tensor:
    """The value with 0 at one number of an axis."""
    changed = value.clone()
    changed.select(axis, number).zero_()
    return changed


def nothing(value: Tensor) -> Tensor:
    """0 everywhere."""
    return torch.zeros_like(value)
