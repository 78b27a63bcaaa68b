"""What a model folder's safetensors hold, from their headers alone: no torch, no weights read."""

from __future__ import annotations

import json
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def read_header(path: Path) -> dict[str, Any]:
    """Tensor name → {"dtype", "shape", "data_offsets"} of one safetensors file.

    Raises:
        ValueError: there is no such header.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > 100_000_000:  # the format's own limit
            raise ValueError(f"a header of {length} bytes")
        header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError(f"a header that is a {type(header).__name__}")
    header.pop("__metadata__", None)
    return header


def count_parameters(folder: Path) -> int:
    """Numbers in all ``*.safetensors`` of a folder.

    Raises:
        ValueError, OSError: one cannot be read.
    """
    files = sorted(folder.glob("*.safetensors"))
    return sum(prod(entry["shape"]) for path in files for entry in read_header(path).values())
