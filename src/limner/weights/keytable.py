"""One table a family of published models: their tensor names ↔ ours, in both directions.

    TABLE = KeyTable(
        Row("h.{layer}.mlp.c_fc.weight", "decoder.layers.{layer}.feed_forward.up.weight", transpose=True),
        Row("h.{layer}.attn.c_attn.bias", tuple(f"decoder.layers.{{layer}}.attention.{x}.bias" for x in QKV)),
        Ignored("h.{layer}.attn.bias"),
        prefix="transformer.",
    )

``gather`` reads with it, ``scatter`` writes; every parameter of the model must come from one row and every
foreign tensor must have one, so nothing is forgotten on either side.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from limner.core.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from torch import Tensor

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """One foreign tensor and the parameter it is; ``{layer}`` in both stands for every layer.

    Attributes:
        ours: one name, or several whose first axes lie one after another in the foreign tensor.
        transpose: the foreign matrix is stored (in, out), ours (out, in).

    A row is used where the model has its parameters: biases, norms or an untied head that a model does not have
    leave theirs unused.
    """

    theirs: str
    ours: str | tuple[str, ...]
    transpose: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """Our names, one or more."""
        return (self.ours,) if isinstance(self.ours, str) else self.ours


@dataclass(frozen=True)
class Ignored:
    """A foreign tensor that may be there and says nothing: a buffer, or a part that we do not have.

    ``{rest}`` stands for the rest of many names.
    """

    theirs: str


@dataclass(frozen=True)
class Copy:
    """A foreign tensor that may be there and must then equal another: a tied head, written out."""

    theirs: str
    of: str


class Tensors(Protocol):
    """Foreign tensors by name, shapes known without reading them."""

    @property
    def names(self) -> list[str]: ...

    def shape(self, name: str) -> Shape: ...

    def __getitem__(self, name: str) -> Tensor: ...


class KeyTable:
    """The rows of one family.

    Args:
        prefix: what the names of all but the head begin with; a folder of the body alone may leave it out.
        stays: that prefix is written for the body alone, too.
        respelled: older spellings inside names → today's.
    """

    def __init__(
        self,
        *rows: Row | Ignored | Copy,
        prefix: str = "",
        stays: bool = False,
        respelled: Mapping[str, str] | None = None,
    ) -> None:
        self.rows = [row for row in rows if isinstance(row, Row)]
        self.copies = [row for row in rows if isinstance(row, Copy)]
        self.ignored = [_pattern(row.theirs) for row in rows if isinstance(row, Ignored)]
        self.prefix, self.stays = prefix, stays
        self.respelled = dict(respelled or {})

    def gather(self, files: Tensors, needed: Mapping[str, Shape], where: Path | str) -> dict[str, Tensor]:
        """Read every parameter of a model.

        Args:
            needed: our names and shapes.
            where: what to call the place in messages.
        Raises:
            WeightsError: a tensor is missing, unused, of a wrong shape, or no true copy; it is named.
        """
        import torch  # not needed to know a family, and it takes a second

        rows = list(self._rows(needed))
        expected = {row.theirs: _foreign_shape(row, needed) for row in rows}
        found = self._recognise(files.names, expected)
        copies = {c.theirs: c.of for c in self.copies if c.theirs in found and c.theirs not in expected}
        shapes = {name: files.shape(stored) for name, stored in found.items() if name not in copies}
        expect_tensors(expected, shapes, where)
        for name, of in copies.items():
            if not torch.equal(files[found[name]], files[found[of]]):
                raise WeightsError(
                    f"{where} has {name}, which differs from {of}, but the description ties the two. "
                    "Set tie_word_embeddings to what the weights are."
                )
        ours: dict[str, Tensor] = {}
        for row in rows:
            value = files[found[row.theirs]]
            value = value.T.contiguous() if row.transpose else value
            pieces = torch.split(value, [needed[part][0] for part in row.parts])
            ours.update(zip(row.parts, pieces, strict=True))
        assert ours.keys() == needed.keys(), f"no row for {sorted(needed.keys() - ours.keys())}"
        return ours

    def scatter(self, ours: Mapping[str, Tensor], *, bare: bool = False) -> dict[str, Tensor]:
        """The foreign tensors of a model's parameters.

        Args:
            bare: leave the prefix out, as a model without a head is written.
        """
        import torch

        theirs: dict[str, Tensor] = {}
        used: set[str] = set()
        for row in self._rows({name: tuple(value.shape) for name, value in ours.items()}):
            parts = [ours[part] for part in row.parts]
            value = parts[0] if len(parts) == 1 else torch.cat(parts)
            name = row.theirs.removeprefix(self.prefix) if bare and not self.stays else row.theirs
            theirs[name] = value.T.contiguous() if row.transpose else value
            used.update(row.parts)
        assert used == set(ours), f"no row for {sorted(set(ours) - used)}"
        return theirs

    def _rows(self, needed: Mapping[str, Shape]) -> Iterator[Row]:
        """The rows that this model has parameters for, one for each layer."""
        indices = [int(found.group(1)) for name in needed if (found := re.search(r"layers\.(\d+)\.", name))]
        for row in self.rows:
            layered = "{layer}" in row.theirs
            for layer in range(max(indices, default=-1) + 1) if layered else range(1):
                at = str(layer)
                parts = tuple(part.replace("{layer}", at) for part in row.parts)
                if all(part in needed for part in parts):
                    yield Row(row.theirs.replace("{layer}", at), parts, row.transpose)

    def _recognise(self, stored: Iterable[str], expected: Mapping[str, Shape]) -> dict[str, str]:
        """Names as the table has them → names as the files have them, without what is ignored."""
        copies = {copy.theirs for copy in self.copies}
        found = {}
        for name in stored:
            spelled = name
            for old, new in self.respelled.items():
                spelled = spelled.replace(old, new)
            choices = (spelled, self.prefix + spelled)
            known = next((choice for choice in choices if choice in expected or choice in copies), None)
            if known is not None and known not in found:
                found[known] = name
            elif not any(pattern.fullmatch(choice) for pattern in self.ignored for choice in choices):
                found[name] = name
        return found


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(re.escape(name).replace(re.escape("{layer}"), r"\d+").replace(re.escape("{rest}"), ".*"))


def _foreign_shape(row: Row, needed: Mapping[str, Shape]) -> Shape:
    first = needed[row.parts[0]]
    shape = (sum(needed[part][0] for part in row.parts), *first[1:])
    return shape[::-1] if row.transpose else shape


def expect_tensors(needed: Mapping[str, Shape], found: Mapping[str, Shape], where: Path | str) -> None:
    """Check names and shapes.

    Raises:
        WeightsError: tensors are missing, extra or of another shape; the first few are named.
    """
    problems = []
    if missing := sorted(needed.keys() - found.keys()):
        problems.append(f"lacks {_few(missing)}")
    if extra := sorted(found.keys() - needed.keys()):
        problems.append(f"has {_few(extra)} that the model does not use")
    wrong = [
        f"{name} of shape {found[name]} instead of {needed[name]}"
        for name in sorted(needed.keys() & found.keys())
        if found[name] != needed[name]
    ]
    if wrong:
        problems.append(f"has {_few(wrong)}")
    if problems:
        raise WeightsError(
            f"{where} {' and '.join(problems)}, but weights must fit the description in config.json. "
            "Use the two files that belong together."
        )


def _few(names: list[str]) -> str:
    rest = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + rest
