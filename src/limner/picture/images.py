"""Between tensors and image files, and the settings that a PNG carries."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

from limner.core.errors import DataError
from limner.data.pixels import fitted, opaque, open_picture, quiet_decoders, to_rgb
from limner.data.streams import BrokenFileError
from limner.weights.files import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from PIL.ImageFile import ImageFile

KEY = "limner"  # of the PNG text that holds the settings
MAX_BYTES = 1 << 30  # of a picture file that a person gives; what is larger is no picture of ours
MOVING = (".gif", ".webp", ".apng")  # file names of animations


# ── tensors ────────────────────────────────────────────────────────────────────────────────────────────


def to_tensor(image: Image.Image, ground: str = "white") -> Tensor:
    """Pixels from −1 to 1, shape (1, 3, height, width); on the ground's colour where it is transparent, as ``read_picture``."""
    return from_bytes(torch.from_numpy(np.array(opaque(image, ground))).permute(2, 0, 1)[None])


def from_bytes(pixels: Tensor) -> Tensor:
    """uint8 of any shape to float32 from −1 to 1."""
    return pixels.float().mul_(2 / 255).sub_(1)


def to_image(pixels: Tensor) -> Image.Image:
    """Shape (3, height, width), −1 to 1; what is beyond is cut, what is no number is black."""
    levels = pixels.detach().float().cpu().nan_to_num(-1.0).clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).contiguous().numpy())


def grid(images: Sequence[Image.Image], columns: int, *, gap: int = 2) -> Image.Image:
    """Pictures of one size side by side, row by row, on white."""
    width, height = images[0].size
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), "white")
    for place, image in enumerate(images):
        sheet.paste(image, (place % columns * (width + gap), place // columns * (height + gap)))
    return sheet


def pixel_digest(image: Image.Image) -> str:
    """SHA-256 of the RGB pixels and the size: the same picture in another file has the same."""
    return hashlib.sha256(f"{image.width} {image.height} ".encode() + image.convert("RGB").tobytes()).hexdigest()


# ── a person's pictures ────────────────────────────────────────────────────────────────────────────────


def read_picture(path: Path | str, ground: str = "white") -> Image.Image:
    """A person's picture as RGB, turned upright, in its own size.

    Args:
        ground: the colour behind what is transparent; black behind a mask, where that means that the picture stays.
    Raises:
        DataError: it is missing, no picture, broken or too large.
    """
    with _reading(Path(path)) as image:
        return to_rgb(image, ground)


def fit(image: Image.Image, height: int, width: int) -> Image.Image:
    """Scaled and cut from its middle to this size."""
    return Image.fromarray(fitted(image, height, width))


def read_image(path: Path | str, height: int, width: int) -> Image.Image:
    """``read_picture`` and ``fit`` in one."""
    return fit(read_picture(path), height, width)


@contextmanager
def _reading(path: Path, remedy: str = "Give a PNG, JPEG or WebP.") -> Iterator[ImageFile]:
    """A picture file whose header has been read; what goes wrong here or inside is told in one sentence."""
    try:
        if path.exists() and not path.is_file():
            what = "a folder" if path.is_dir() else "no ordinary file"
            raise DataError(f"{path} is {what}, but a picture is needed. {remedy}")
        if path.stat().st_size > MAX_BYTES:
            raise DataError(
                f"{path} has {path.stat().st_size:,} bytes, but a picture has at most {MAX_BYTES:,}. Give a smaller one."
            )
        with quiet_decoders():
            yield open_picture(path.read_bytes())
    except OSError as problem:
        raise DataError(f"{path} cannot be read: {problem.strerror or problem}. Correct the path.") from problem
    except BrokenFileError as problem:
        raise DataError(f"{path} is no picture that can be used: {problem}. {remedy}") from problem


# ── writing ────────────────────────────────────────────────────────────────────────────────────────────


def save_png(image: Image.Image, path: Path | str, settings: Mapping[str, Any]) -> None:
    """Write a PNG that carries its settings, as JSON in a text chunk.

    Raises:
        DataError: the file cannot be written.
    """
    save_frames([image], path, settings)


def save_frames(
    images: Sequence[Image.Image], path: Path | str, settings: Mapping[str, Any], *, seconds: float = 0.15
) -> None:
    """Write pictures as one file, by the ending of its name; whole or not at all.

    ``.gif``, ``.webp`` and ``.apng`` move, there and back again for ever; any other is a PNG with the pictures in a row.
    PNGs, moving ones too, carry the settings.

    Args:
        seconds: that each picture is shown.
    Raises:
        DataError: the file cannot be written.
    """
    path = Path(path)
    info = PngImagePlugin.PngInfo()
    info.add_itxt(KEY, json.dumps(settings, ensure_ascii=False))
    first, *others = [*images, *images[-2:0:-1]]
    moving: dict[str, Any] = {"save_all": True, "append_images": others, "duration": round(seconds * 1000), "loop": 0}
    with _written(path) as fresh:
        match path.suffix.lower():
            case ".gif":
                first.save(fresh, format="GIF", **moving)
            case ".webp":
                first.save(fresh, format="WEBP", lossless=True, **moving)
            case ".apng":
                first.save(fresh, format="PNG", pnginfo=info, **moving)
            case _:
                row = first if len(images) == 1 else grid(images, len(images))
                row.save(fresh, format="PNG", pnginfo=info)


@contextmanager
def _written(path: Path) -> Iterator[Path]:
    """``whole_file``, in a folder that is made where it is missing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as fresh:
            yield fresh
    except (FileExistsError, NotADirectoryError) as problem:
        raise DataError(f"{path} cannot be written: {path.parent} is no folder. Choose another place.") from problem
    except OSError as problem:
        raise DataError(
            f"{path} cannot be written: {problem.strerror or problem}. Make room or choose another place."
        ) from problem


# ── settings in a PNG ──────────────────────────────────────────────────────────────────────────────────


def read_settings(path: Path | str) -> dict[str, Any]:
    """The settings that ``save_png`` put into a PNG.

    Raises:
        DataError: it is no PNG, or carries none.
    """
    path = Path(path)
    with _reading(path, "Give a PNG as limner wrote it.") as image:
        if KEY not in image.info:
            to_rgb(image)  # text that stands behind the pixels is known once they have been read
        text = image.info.get(KEY)
    if not isinstance(text, str):
        raise DataError(
            f"{path} carries no settings of limner, but repeating needs them. Give a PNG as limner wrote it."
        )
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise DataError(f"{path} has settings that are no JSON: {problem}. Give a PNG as limner wrote it.") from problem
    if not isinstance(values, dict):
        raise DataError(f"{path} has settings that are no object. Give a PNG as limner wrote it.")
    return values
