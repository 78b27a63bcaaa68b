"""Between tensors and image files, and the settings that a PNG carries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

from limner.core.errors import DataError
from limner.data.pixels import fitted, open_picture, to_rgb
from limner.data.streams import BrokenFileError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEY = "limner"  # of the PNG text that holds the settings


def to_tensor(image: Image.Image) -> Tensor:
    """Pixels from −1 to 1, shape (1, 3, height, width)."""
    return from_bytes(torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None])


def from_bytes(pixels: Tensor) -> Tensor:
    """uint8 of any shape to float32 from −1 to 1."""
    return pixels.float().mul_(2 / 255).sub_(1)


def to_image(pixels: Tensor) -> Image.Image:
    """Shape (3, height, width), −1 to 1; what is beyond is cut."""
    levels = pixels.detach().float().cpu().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).contiguous().numpy())


def grid(images: Sequence[Image.Image], columns: int, *, gap: int = 2) -> Image.Image:
    """Pictures of one size side by side, row by row, on white."""
    width, height = images[0].size
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), "white")
    for place, image in enumerate(images):
        sheet.paste(image, (place % columns * (width + gap), place // columns * (height + gap)))
    return sheet


def read_image(path: Path | str, height: int, width: int) -> Image.Image:
    """A person's picture, turned upright, scaled and cut from its middle to this size.

    Raises:
        DataError: it is missing, no picture, broken or too large.
    """
    path = Path(path)
    try:
        image = open_picture(path.read_bytes(), shortest=2 * min(height, width))
        return Image.fromarray(fitted(to_rgb(image), height, width))
    except OSError as problem:
        raise DataError(f"{path} cannot be read: {problem.strerror or problem}. Correct the path.") from problem
    except BrokenFileError as problem:
        raise DataError(f"{path} is no picture that can be used: {problem}. Give a PNG, JPEG or WebP.") from problem


def save_png(image: Image.Image, path: Path | str, settings: Mapping[str, Any]) -> None:
    """Write a PNG that carries its settings, as JSON in a text chunk.

    Raises:
        DataError: the file cannot be written.
    """
    path = Path(path)
    info = PngImagePlugin.PngInfo()
    info.add_itxt(KEY, json.dumps(settings, ensure_ascii=False))
    fresh = path.with_name(f".{path.name}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(fresh, format="PNG", pnginfo=info)
        fresh.replace(path)
    except OSError as problem:
        fresh.unlink(missing_ok=True)
        raise DataError(
            f"{path} cannot be written: {problem.strerror or problem}. Make room or choose another place with -o."
        ) from problem


def read_settings(path: Path | str) -> dict[str, Any]:
    """The settings that ``save_png`` put into a PNG.

    Raises:
        DataError: it is no PNG, or carries none.
    """
    path = Path(path)
    try:
        with Image.open(path) as image:
            image.load()
            text = getattr(image, "text", {}).get(KEY)
    except (OSError, ValueError, Image.DecompressionBombError) as problem:
        raise DataError(f"{path} cannot be read as a picture: {problem}. Give a PNG that limner painted.") from problem
    if text is None:
        raise DataError(
            f"{path} carries no settings of limner, but repeating needs them. Give a PNG as limner wrote it."
        )
    try:
        values = json.loads(text)
    except ValueError as problem:
        raise DataError(f"{path} has settings that are no JSON: {problem}. Give a PNG as limner wrote it.") from problem
    if not isinstance(values, dict):
        raise DataError(f"{path} has settings that are no object. Give a PNG as limner wrote it.")
    return values
