"""Captioned pictures as files that other tools read: an image folder, or parquet."""

from __future__ import annotations

import io
import json
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from limner.core.errors import ConfigError, DataError, MissingExtraError
from limner.picture.world.draw import SIZES
from limner.picture.world.examples import Example, example
from limner.weights.files import reason, sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from limner.picture.world.scene import Which

Format = Literal["folder", "parquet"]
FORMATS: tuple[Format, ...] = ("folder", "parquet")

METADATA = "metadata.jsonl"
PARQUET = "pictures.parquet"
ROWS = 500  # pictures in memory at a time while parquet is written
SHEET_WIDTH, SHEET_TEXT = 256, 14  # pixels: a picture of a contact sheet, and the height of its caption's letters
MOST_SHOWN = 1000  # pictures on a sheet


def write_pictures(
    out: Path,
    count: int,
    size: int = 128,
    seed: int = 0,
    which: Which = "train",
    format: Format = "folder",
    *,
    masks: bool = False,
    two: float = 0.3,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write the first pictures of a seed's series into a new folder.

    ``folder`` is what ``load_dataset("imagefolder")`` of Hugging Face reads: PNGs beside a ``metadata.jsonl`` of
    file_name, text, scene and boxes. ``parquet`` is one file with the same columns, where the pictures are bytes and
    scene and boxes JSON. Masks are one grey PNG a picture: 1 and 2 are the first animal and its hat, 3 and 4 the
    second's, 0 is the rest.

    Args:
        out: a folder that is new or empty; it is whole or not there.
        count: how many.
        size: pixels a side.
        seed: the same seed writes the same pictures.
        which: the split, as in ``sample_scene``.
        format: ``folder`` or ``parquet``.
        masks: write masks too.
        two: the share of pictures with two animals.
        progress: called with how many are done.
    Raises:
        ConfigError: ``count``, ``size`` or ``format`` cannot be used.
        DataError: the folder is not empty, or cannot be written to.
        MissingExtraError: a library is not installed.
    """
    check_request(count, size)
    if format not in FORMATS:
        raise ConfigError(f"format is {format!r}, but pictures are written as {' or '.join(FORMATS)}. Choose one.")
    save = _save_folder if format == "folder" else _save_parquet
    examples = (example(seed, index, size=size, which=which, two=two) for index in range(count))
    with _new_folder(out) as fresh:
        save(fresh, _counted(examples, progress), masks)


def write_sheet(
    path: Path, count: int, size: int = 128, seed: int = 0, which: Which = "train", two: float = 0.3
) -> None:
    """Write one PNG that shows pictures with their captions below, for people to look at.

    Raises:
        ConfigError: ``count`` or ``size`` cannot be used.
        DataError: something is there already, or the file cannot be written.
        MissingExtraError: a library is not installed.
    """
    check_request(count, size)
    if count > MOST_SHOWN:
        raise ConfigError(f"count is {count:,}, but a sheet shows at most {MOST_SHOWN:,}. Choose a smaller number.")
    if path.suffix.lower() != ".png":
        raise DataError(f"{path} is to be a sheet, but that is written as PNG. Name a .png file.")
    if path.exists():
        raise DataError(f"{path} is there already, but nothing is overwritten. Choose another name.")
    pillow = _pillow()
    from PIL import ImageDraw, ImageFont

    font = ImageFont.load_default(SHEET_TEXT)
    cell = max(size, SHEET_WIDTH)
    columns = max(1, round((count * 1.3) ** 0.5))
    examples = [example(seed, index, size=size, which=which, two=two) for index in range(count)]
    wrapped = [_wrapped(one.text, font, cell) for one in examples]
    below = (max(text.count("\n") for text in wrapped) + 1) * round(SHEET_TEXT * 1.4) + 14
    rows = -(-count // columns)
    sheet = pillow.new("RGB", (columns * (cell + 12) + 12, rows * (cell + below) + 12), "white")
    pen = ImageDraw.Draw(sheet)
    for index, (one, text) in enumerate(zip(examples, wrapped, strict=True)):
        x, y = 12 + index % columns * (cell + 12), 12 + index // columns * (cell + below)
        picture = pillow.fromarray(one.drawing.image)
        sheet.paste(picture.resize((cell, cell), pillow.Resampling.NEAREST) if size < cell else picture, (x, y))
        pen.multiline_text((x, y + cell + 4), text, fill="#222222", font=font, spacing=SHEET_TEXT * 0.3)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path, format="PNG")
    except OSError as problem:
        raise DataError(f"{path} cannot be written: {reason(problem)}. Choose another place.") from problem


def check_request(count: int, size: int) -> None:
    """Refuse what could not be drawn, before anything is."""
    if count < 1:
        raise ConfigError(f"count is {count}, but at least 1 picture must be asked for. Give a positive number.")
    if not SIZES[0] <= size <= SIZES[1]:
        raise ConfigError(
            f"size is {size}, but pictures are {SIZES[0]} to {SIZES[1]} pixels a side. Choose one of these."
        )


def row_of(one: Example) -> dict[str, Any]:
    """What is known of a picture, in plain values."""
    boxes = [{"animal": boxes.animal, "hat": boxes.hat} for boxes in one.drawing.boxes]
    return {"text": one.text, "scene": one.scene.to_dict(), "boxes": boxes}


def _save_folder(folder: Path, examples: Iterator[Example], masks: bool) -> None:
    if masks:
        (folder / "masks").mkdir()
    with (folder / METADATA).open("w", encoding="utf-8") as metadata:
        for index, one in enumerate(examples):
            name = f"{index:07d}.png"
            row = {"file_name": name} | row_of(one)
            (folder / name).write_bytes(_png(one.drawing.image))
            if masks:
                row["mask_file_name"] = f"masks/{name}"
                (folder / "masks" / name).write_bytes(_png(one.drawing.parts))
            metadata.write(json.dumps(row, ensure_ascii=False) + "\n")
        metadata.flush()
        os.fsync(metadata.fileno())


def _save_parquet(folder: Path, examples: Iterator[Example], masks: bool) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as problem:
        raise MissingExtraError("pyarrow", "data", "writing parquet") from problem
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = [("image", image), ("text", pa.string()), ("scene", pa.string()), ("boxes", pa.string())]
    columns += [("mask", image)] * masks
    kinds = {
        name: {"_type": "Image"} if kind is image else {"dtype": "string", "_type": "Value"} for name, kind in columns
    }
    schema = pa.schema(columns, metadata={"huggingface": json.dumps({"info": {"features": kinds}})})
    with pq.ParquetWriter(folder / PARQUET, schema) as file:
        rows: list[dict[str, Any]] = []
        for index, one in enumerate(examples):
            known, name = row_of(one), f"{index:07d}.png"
            row = {
                "image": {"bytes": _png(one.drawing.image), "path": name},
                "text": known["text"],
                "scene": json.dumps(known["scene"]),
                "boxes": json.dumps(known["boxes"]),
            }
            if masks:
                row["mask"] = {"bytes": _png(one.drawing.parts), "path": f"masks/{name}"}
            rows.append(row)
            if len(rows) == ROWS:
                file.write_table(pa.Table.from_pylist(rows, schema))
                rows = []
        if rows:
            file.write_table(pa.Table.from_pylist(rows, schema))
    sync(folder / PARQUET)


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder to write into that takes its name when all went well, and is gone when not.

    Raises:
        DataError: there is something already, or the disk is full or may not be written to.
    """
    out = out.absolute()
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise DataError(
                f"{out} is there already and not empty, but pictures are written into a new folder. Choose another."
            )
        fresh = out.with_name(f".{out.name}.unfinished-{os.getpid()}")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
    except OSError as problem:
        raise DataError(f"{out} cannot be made: {reason(problem)}. Choose another folder.") from problem
    try:
        yield fresh
        sync(fresh)
        if out.exists():
            out.rmdir()
        fresh.rename(out)
        sync(out.parent)
    except OSError as problem:
        raise DataError(
            f"{out} cannot be written: {reason(problem)}, but the pictures need a place. "
            "Make room or choose another folder; nothing was left behind."
        ) from problem
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _counted(examples: Iterator[Example], progress: Callable[[int], None] | None) -> Iterator[Example]:
    for done, one in enumerate(examples, start=1):
        yield one
        if progress is not None:
            progress(done)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    _pillow().fromarray(pixels).save(out, format="PNG", compress_level=4)
    return out.getvalue()


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as problem:
        raise MissingExtraError("pillow", "pictures", "writing pictures") from problem
    return Image


def _wrapped(text: str, font: Any, width: int) -> str:
    """The caption in lines that are no wider than its picture."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)
