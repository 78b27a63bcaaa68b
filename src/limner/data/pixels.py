"""From the bytes of a picture file to RGB pixels of a given size, whatever people's pictures are.

What is held in memory is bounded: a JPEG is decoded at a half, a quarter or an eighth of its size where that is
enough, one that stays large is worked on alone, and what would be larger still is refused.
"""

from __future__ import annotations

import io
import math
import threading
import warnings
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import numpy as np

from limner.core.errors import ConfigError
from limner.data.streams import BrokenFileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

MAX_PIXELS = 200_000_000  # that a header may promise; a file that promises more is taken for a decompression bomb
MAX_HELD = 64_000_000  # pixels in memory while a picture is decoded, 4 bytes each and up to four copies
LARGE = 16_000_000  # pixels; pictures with more in memory are worked on one at a time
WIDEST = 2.0  # sides of the most elongated bucket, as the longer over the shorter
_STRIP = 1 << 20  # pixels
_ONE_LARGE = threading.Lock()
_ORIENTATION = 0x0112  # the EXIF tag
_SIXTEEN_BITS = {"I", "I;16", "I;16B", "I;16L", "I;16N"}


# ── decoding ───────────────────────────────────────────────────────────────────────────────────────────────


def open_picture(data: bytes, *, shortest: int | None = None) -> ImageFile:
    """Read the header of a PNG, JPEG or WebP, by its content and not by its name; nothing is decoded yet.

    Args:
        shortest: pixels that the shorter side must keep; decoders that can reduce a picture do. None asks for all,
            as far as it can be held.
    Raises:
        BrokenFileError: it is none of these, its header makes no sense, or there is too much of it.
    """
    from PIL import JpegImagePlugin, PngImagePlugin, WebPImagePlugin

    # The plugins are called by name, for Image.open would try all formats and warn of large pictures in its own way.
    with _decoding():
        match data[:4]:
            case b"\x89PNG":
                image: ImageFile = PngImagePlugin.PngImageFile(io.BytesIO(data))
            case _ if data[:3] == b"\xff\xd8\xff":
                image = JpegImagePlugin.jpeg_factory(io.BytesIO(data))
            case b"RIFF" if data[8:12] == b"WEBP":
                image = WebPImagePlugin.WebPImageFile(io.BytesIO(data))
            case b"":
                raise BrokenFileError("not a picture", "the file is empty")
            case begin:
                shown = repr(begin.decode()) if begin.isascii() and begin.decode().isprintable() else begin.hex(" ")
                raise BrokenFileError("not a picture", f"not a PNG, JPEG or WebP: it begins with {shown}")
    width, height = image.size
    size = f"{width:,} × {height:,} pixels"
    if width * height > MAX_PIXELS:
        raise BrokenFileError("too many pixels", f"{size}, more than {MAX_PIXELS / 1e6:.0f} million")
    if image.format in ("JPEG", "MPO") and not image.info.get("progressive"):
        for scale in (8, 4, 2):  # a progressive one must be held whole, whatever is made of it
            small = width * height / scale**2
            if (shortest is not None and min(width, height) >= scale * shortest) or small * 4 > MAX_HELD:
                image.draft(None, (max(1, width // scale), max(1, height // scale)))
                break
    if held(image) > MAX_HELD:
        raise BrokenFileError(
            "too large to decode",
            f"{size} as {_kind(image)}, of which {MAX_HELD / 1e6:.0f} million can be decoded at once; "
            "make it smaller, or save it as a baseline JPEG",
        )
    return image


def held(image: ImageFile) -> int:
    """Pixels in memory while it is decoded."""
    return image.size[0] * image.size[1]


def _kind(image: ImageFile) -> str:
    return f"{'progressive ' if image.info.get('progressive') else ''}{image.format}"


def one_at_a_time(image: ImageFile) -> AbstractContextManager[object]:
    """To be held while a picture is decoded and fitted: a lock if it is large, nothing if not."""
    return _ONE_LARGE if held(image) > LARGE else nullcontext()


def to_rgb(image: ImageFile, ground: str = "white") -> Image:
    """Decode: 8-bit RGB, turned as its EXIF says, on the ground's colour where it is transparent; the first frame of several.

    CMYK is converted by its numbers, without a colour profile.

    Raises:
        BrokenFileError: the file ends too early or makes no sense.
    """
    with _decoding():
        image.load()
        return opaque(_turned(image), ground)


def _turned(image: Image) -> Image:
    from PIL.Image import Transpose

    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # what is wrong with the EXIF data need not be wrong with the picture
        return image
    ways = {
        2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM, 5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_90,
    }  # fmt: skip
    return image.transpose(ways[orientation]) if orientation in ways else image


def _eight_bits(image: Image) -> Image:
    """The upper halves of 16-bit greys; of 16-bit colours Pillow itself keeps no more."""
    import PIL.Image

    if image.mode not in _SIXTEEN_BITS:
        return image
    values = np.asarray(image)
    if values.itemsize > 2:
        values = np.clip(values, 0, 65535)
    return PIL.Image.fromarray((values >> 8).astype(np.uint8))


def opaque(image: Image, ground: str = "white") -> Image:
    """8-bit RGB of whatever a picture holds, on the ground's colour where it is transparent."""
    import PIL.Image

    image = _eight_bits(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    whole = PIL.Image.new("RGB", image.size, ground)
    rows = max(1, _STRIP // image.width)
    for top in range(0, image.height, rows):  # in strips, for three copies of a large picture are too many
        strip = image.crop((0, top, image.width, min(top + rows, image.height))).convert("RGBA")
        whole.paste(strip, (0, top), strip.getchannel("A"))
    return whole


@contextmanager
def _decoding() -> Iterator[None]:
    """Whatever a decoder makes of bytes that it does not understand is a broken file, and no reason to stop."""
    try:
        yield
    except BrokenFileError:
        raise
    except MemoryError:
        raise BrokenFileError("out of memory", "does not fit into memory") from None
    except Exception as error:
        said = str(error).partition("\n")[0] or type(error).__name__
        raise BrokenFileError("broken picture", f"cannot be decoded ({said})") from None


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Keep Pillow's warnings (of EXIF data, say) from a person who gets our report instead."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)
        yield


# ── fitting ────────────────────────────────────────────────────────────────────────────────────────────────


def aspect_buckets(size: int, count: int, multiple: int) -> list[tuple[int, int]]:
    """The shapes that pictures are cut to: a square, and up to as many wide as tall ones of about the same area.

    Their proportions lie evenly, by ratio, from 1:2 to 2:1.

    Args:
        size: pixels; the side of the square.
        count: of buckets, at most; 1 is the square alone, an even number gives one less.
        multiple: of which all sides are multiples.
    Returns:
        (height, width) of each, from tall to wide, all different.
    Raises:
        ConfigError: a number is not positive, or ``size`` is no multiple of ``multiple``.
    Source: after the buckets of NovelAI (2022), whose sides we round to the nearest multiple.
    """
    for name, value in (("size", size), ("buckets", count), ("multiple", multiple)):
        if value < 1:
            raise ConfigError(f"{name} is {value}, but must be at least 1.")
    if size % multiple:
        near = max(multiple, size // multiple * multiple)
        raise ConfigError(
            f"size is {size}, but must be a multiple of {multiple}. Choose {near} or {near + multiple}, say."
        )
    half = (count - 1) // 2
    tall: list[tuple[int, int]] = []
    for step in range(half, 0, -1):
        root = math.sqrt(WIDEST ** (step / half))
        height, width = (max(1, round(side / multiple)) * multiple for side in (size * root, size / root))
        if (height, width) not in tall and height > width:
            tall.append((height, width))
    return [*tall, (size, size), *((width, height) for height, width in reversed(tall))]


def nearest_bucket(size: tuple[int, int], buckets: Sequence[tuple[int, int]]) -> int:
    """The bucket whose proportions are nearest, by ratio, to a picture of this (width, height)."""
    ratio = math.log(size[0] / size[1])
    return min(range(len(buckets)), key=lambda at: abs(math.log(buckets[at][1] / buckets[at][0]) - ratio))


def fitted(image: Image, height: int, width: int) -> NDArray[np.uint8]:
    """Scale an RGB picture until it just covers the shape, and cut off what stands out, the same on both sides.

    Returns:
        Shape (height, width, 3), uint8.
    """
    from PIL.Image import Resampling

    scale = min(image.width / width, image.height / height)
    left, top = (image.width - width * scale) / 2, (image.height - height * scale) / 2
    if scale != 1 or left % 1 or top % 1:
        # The box may stick out by a rounding error; Pillow first averages whole pixels (`reduce`), down to twice the size.
        box = (max(0.0, left), max(0.0, top), min(image.width, left + width * scale), min(image.height, top + height * scale))  # fmt: skip
        image = image.resize((width, height), Resampling.LANCZOS, box, reducing_gap=2.0)
        return np.asarray(image)
    return np.asarray(image)[int(top) : int(top) + height, int(left) : int(left) + width]
