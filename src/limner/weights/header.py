"""Which files hold a model's weights, and what is in them, from their headers alone: no torch, no weights read."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

from limner.core.errors import WeightsError, counted
from limner.weights.files import PICKLES, read_json, refuse_pickle

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
LONGEST = 100_000_000  # bytes of a header, the format's own limit


def weight_files(folder: Path) -> list[str]:
    """The names of the files that hold a model folder's weights.

    Raises:
        WeightsError: there are none, they are pickles, or one that the index names is missing.
    """
    if (folder / WHOLE).is_file():
        return [WHOLE]
    if (folder / INDEX).is_file():
        return _shards(folder, folder / INDEX)
    for path in sorted(folder.glob("*")):
        if path.suffix in PICKLES:
            refuse_pickle(path)
    raise WeightsError(f"{folder} has no {WHOLE}, but a model's weights are there. Copy the folder again.")


def _shards(folder: Path, index: Path) -> list[str]:
    where = read_json(index).get("weight_map")
    if not isinstance(where, dict) or not where:
        raise WeightsError(f"{index} has weight_map {where!r}, but it must name a file for each tensor. Copy it again.")
    names = sorted({str(name) for name in where.values()})
    for name in names:
        if Path(name).name != name:
            raise WeightsError(f"{index} names the file {name!r}, but shards lie beside it. Copy the folder again.")
        if not (folder / name).is_file():
            raise WeightsError(f"{folder / name} is missing, but {INDEX} names it. Copy the folder again.")
    return names


def read_header(path: Path) -> dict[str, Any]:
    """Tensor name → {"dtype", "shape", "data_offsets"} of one safetensors file, which must be as long as it says.

    Raises:
        WeightsError: it is a pickle, cut off, or something else.
    """
    refuse_pickle(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        length, start = int.from_bytes(file.read(8), "little"), file.read(1)
        looks_so = size < 8 or (start in (b"{", b"") and length < LONGEST)
        text = start + file.read(length - 1) if looks_so and 0 < length <= size else b""
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        end = max((int(entry["data_offsets"][1]) for entry in header.values()), default=0)
        whole = size == 8 + length + end and all(prod(entry["shape"]) >= 0 for entry in header.values())
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        whole = False
    if whole:
        return dict(header)
    if looks_so:
        raise WeightsError(
            f"{path} is {counted(size, 'byte')} long, which is not what its header says: it is cut off or damaged. "
            "Copy it again."
        )
    raise WeightsError(f"{path} is no safetensors file. Give a folder with {WHOLE}.")


def count_parameters(folder: Path) -> int:
    """Numbers in the weights of a model folder.

    Raises:
        WeightsError: they are missing, pickles, cut off, or something else.
    """
    return sum(prod(entry["shape"]) for name in weight_files(folder) for entry in read_header(folder / name).values())
