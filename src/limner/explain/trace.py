"""What was seen of one run: numbers by name and what they are about, in memory and in a file.

A trace file is a safetensors file: eight bytes with the length of a JSON header, the header, the numbers. What the
trace is about stands in the header's ``__metadata__``, as JSON under ``trace``. The studio and the report read the very
same bytes, so that whatever they show can be opened here again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_bytes
from safetensors.numpy import save as save_bytes

from limner.core.errors import DataError, suggest
from limner.weights.files import reason, refuse_pickle, whole_file

if TYPE_CHECKING:
    from torch import Tensor

FORMAT, VERSION = "limner-trace", 1
KINDS = ("text", "picture")
_CLASSES = {
    "text": ("limner.explain.text_trace", "TextTrace"),
    "picture": ("limner.explain.picture_trace", "PictureTrace"),
}  # by kind, where it has a class with more to it
MOST_BYTES = 1 << 30  # of a file; a trace is a few megabytes
TOGETHER = (
    2**15
)  # values made bytes at a time: they stay in the processor's cache, and torch shares them out to no threads
LONGEST_HEADER = 100_000_000  # bytes, the format's own limit
KEPT = ("bool", "uint8", "int32", "float16", "float32")  # of these a browser can make arrays without a library
WRONG = (ValueError, KeyError, TypeError, OverflowError, RecursionError)  # what reading any JSON as a header may raise

Array = NDArray[Any]


@dataclass(frozen=True)
class Trace(Mapping[str, Array]):
    """One run, as far as it was looked at. ``trace[name]`` is a number array; ``list(trace)`` names them.

    Attributes:
        kind: ``"text"`` or ``"picture"``.
        about: plain JSON values: the model, the run, how far the replay is from it. docs/traces.md lists them.
        arrays: as they are kept. Shares are bytes: what they stand for is ``byte / 255 · scales[name]``, and
            ``trace[name]`` gives that, float32.
        scales: of the arrays that are bytes for shares.
    """

    kind: str
    about: dict[str, Any]
    arrays: dict[str, Array] = field(repr=False)
    scales: dict[str, float] = field(default_factory=dict, repr=False)

    def __getitem__(self, name: str) -> Array:
        if name not in self.arrays:
            raise KeyError(f"the name is {name!r}, but the trace has no such array. {suggest(name, self.arrays)}")
        array = self.arrays[name]
        if name in self.scales:
            return array.astype(np.float32) * np.float32(self.scales[name] / 255)
        return array.astype(np.float32) if array.dtype == np.float16 else array

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    def to_bytes(self) -> bytes:
        """The file's content."""
        for name, array in self.arrays.items():
            assert array.dtype.name in KEPT, f"{name} is {array.dtype}, which a trace does not keep"
        said = {"kind": self.kind, "about": self.about, "scales": self.scales}
        text = json.dumps(said, ensure_ascii=False, allow_nan=False)
        plain = {name: np.ascontiguousarray(array) for name, array in self.arrays.items()}
        made: bytes = save_bytes(plain, metadata={"format": FORMAT, "version": str(VERSION), "trace": text})
        return made

    def save(self, path: Path | str) -> None:
        """Write the trace; the file is whole or not there.

        Raises:
            DataError: it cannot be written.
        """
        path = Path(path)
        try:
            with whole_file(path) as fresh:
                fresh.write_bytes(self.to_bytes())
        except OSError as problem:
            raise DataError(
                f"{path} cannot be written: {reason(problem)}, but a trace is saved as a file. Choose another place or free some space."
            ) from problem


def as_bytes(values: Tensor) -> tuple[NDArray[np.uint8], float]:
    """Values from 0 up as bytes, and the value that 255 stands for: an error of at most a 510th of the largest."""
    scale = float(values.max()) if values.numel() else 0.0
    if not scale > 0.0:
        return np.zeros(tuple(values.shape), np.uint8), 0.0
    made = np.empty(values.numel(), np.uint8)
    for first, part in zip(range(0, len(made), TOGETHER), values.flatten().split(TOGETHER), strict=True):  # type: ignore[no-untyped-call]
        part = (part.float() * (255 / scale)).round_().byte()
        made[first : first + len(part)] = part.cpu().numpy()
    return made.reshape(tuple(values.shape)), scale


def load_trace(path: Path | str) -> Trace:
    """Open a trace file.

    Raises:
        DataError: it is missing, cut off, of another version or no trace.
    """
    path = Path(path)
    try:
        refuse_pickle(path)
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise DataError(f"{path} is {size:,} bytes long, but a trace is at most {MOST_BYTES:,}. Give a trace file.")
        return trace_of(path.read_bytes(), str(path))
    except OSError as problem:
        raise DataError(
            f"{path} cannot be read: {reason(problem)}, but a trace is a file. Give one that Trace.save wrote."
        ) from problem


def trace_of(content: bytes, name: str = "the trace") -> Trace:
    """A trace from a file's content; ``name`` is what a message calls it.

    Raises:
        DataError: it is cut off, of another version or no trace.
    """
    noted = _noted(content, name)
    try:
        said = json.loads(noted["trace"])
        kind, about, scales = said["kind"], said["about"], said["scales"]
        arrays = load_bytes(content)
        fits = kind in KINDS and isinstance(about, dict) and isinstance(scales, dict) and set(scales) <= set(arrays)
        fits = fits and all(array.dtype.name in KEPT for array in arrays.values())
        fits = fits and all(isinstance(scale, (int, float)) and isfinite(scale) for scale in scales.values())
    except (*WRONG, SafetensorError):
        fits = False
    if not fits:
        raise DataError(
            f"{name} is damaged: its numbers are not what its header says, but they must be. Copy it again."
        )
    return _class_of(kind)(kind, about, dict(arrays), {name: float(scale) for name, scale in scales.items()})


def read_about(path: Path | str) -> tuple[str, dict[str, Any]]:
    """Kind and ``about`` of a trace file, from its header alone: no number is read, and nothing heavy loaded.

    Raises:
        DataError: it is missing, of another version or no trace.
    """
    path = Path(path)
    try:
        refuse_pickle(path)
        with path.open("rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            content = start + (file.read(length) if length <= LONGEST_HEADER else b"")
    except OSError as problem:
        raise DataError(
            f"{path} cannot be read: {reason(problem)}, but a trace is a file. Give one that Trace.save wrote."
        ) from problem
    try:
        said = json.loads(_noted(content, str(path))["trace"])
        kind, about = said["kind"], said["about"]
        fits = kind in KINDS and isinstance(about, dict)
    except WRONG as problem:
        if isinstance(problem, DataError):
            raise
        fits = False
    if not fits:
        raise DataError(f"{path} is damaged: its header is not what a trace has, but it must be. Copy it again.")
    return kind, about


def _noted(content: bytes, name: str) -> dict[str, Any]:
    """What a trace's header notes beside the numbers' places."""
    try:
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length]) if 0 < length <= len(content) - 8 else None
        noted = header["__metadata__"] if header is not None else None
    except WRONG:
        noted = None
    if not isinstance(noted, dict) or noted.get("format") != FORMAT:
        raise DataError(
            f"{name} is no trace: its header is cut off or of another format, but a trace is opened by it. "
            "Give a file that Trace.save wrote."
        )
    if noted.get("version") != str(VERSION):
        raise DataError(
            f"{name} is a trace of version {noted.get('version')!r:.20}, but this limner reads version {VERSION}. "
            "Make it anew, or open it with the limner that wrote it."
        )
    return noted


def _class_of(kind: str) -> type[Trace]:
    """What a trace of a kind is opened as; imported only now, for these classes build upon this file."""
    if kind not in _CLASSES:
        return Trace
    home, name = _CLASSES[kind]
    return cast("type[Trace]", getattr(import_module(home), name))
