"""The way from noise to picture on one sheet: the steps, and for each word where cross-attention put it."""

from __future__ import annotations

from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from limner.core.errors import DataError
from limner.picture.words import word_maps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from limner.core.tap import Recorder
    from limner.picture.generator import PictureGenerator
    from limner.picture.painting import Picture

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

MOST_COLUMNS = 8
CELL = 96  # pixels of a picture's longer side, at least
GAP, LABEL, TITLE = 6, 104, 18  # pixels between pictures, beside each row, above each column
# Fonts of systems, tried where Pillow's own, which is Latin without accents, has no sign for a letter.
FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "arial.ttf",
    "Arial Unicode.ttf",
    "msyh.ttc",
)
NO_LETTER = "\U0010ffff"  # never one
HEAT = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))  # from none to most


def filmstrip(generator: PictureGenerator, picture: Picture, recorder: Recorder) -> Image.Image:
    """One sheet: what the model was given at some of the steps, what it saw in it, and a row of heat maps for each word.

    A word's maps share one scale, from no attention (black) to the most that it got anywhere (bright), so that where
    and when a word counts can be seen; how much it got in all stands beside it.

    Args:
        picture: with its looks.
        recorder: of ``words.word_recorder``, through which this picture alone was painted.
    Raises:
        DataError: the picture has no looks, or the recorder does not fit.
    """
    if not picture.looks:
        raise DataError("the picture has no looks, but a filmstrip shows them. Paint it with record=True.")
    maps = word_maps(generator, picture, recorder)
    chosen = spread(len(picture.looks), MOST_COLUMNS)
    looks = [picture.looks[at] for at in chosen]
    width, height = picture.image.size
    factor = max(1, -(-CELL // max(width, height)))
    cell = (width * factor, height * factor)
    noisy = [generator.show(look.noisy) for look in looks]
    seen = [generator.show(look.seen) for look in looks]
    rows = [("given", "", [*noisy, picture.image]), ("seen", "", [*seen, picture.image])]
    for word, shares in maps:
        brightest = float(shares.max())
        heats = [heat(share / max(brightest, 1e-9), cell) for share in shares[chosen]]
        mean = heat(shares.mean(dim=0) / max(float(shares.mean(dim=0).max()), 1e-9), cell)
        rows.append((word, f"{float(shares.mean()):.1%}", [*heats, mean]))
    sheet = Image.new("RGB", (LABEL + len(rows[0][2]) * (cell[0] + GAP), TITLE + len(rows) * (cell[1] + GAP)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    unit = "look" if picture.settings["sampler"] == "heun" else "step"  # heun takes two looks a step
    titles = [f"{unit} {look.number + 1}" for look in looks]
    for column, title in enumerate([*titles, "picture, mean"]):
        draw.text((LABEL + column * (cell[0] + GAP), 2), title, fill="black", font=font)
    for row, (label, share, images) in enumerate(rows):
        top = TITLE + row * (cell[1] + GAP)
        of_word = font_for(label, 12)
        draw.text((4, top + 2), _shortened(label, draw, of_word), fill="black", font=of_word)
        draw.text((4, top + 18), share, fill="grey", font=font)
        for column, image in enumerate(images):
            sheet.paste(image.resize(cell, Image.Resampling.NEAREST), (LABEL + column * (cell[0] + GAP), top))
    return sheet


def spread(count: int, most: int) -> list[int]:
    """At most so many of 0 … count − 1, evenly, with the first and the last."""
    if count <= most:
        return list(range(count))
    return [round(at * (count - 1) / (most - 1)) for at in range(most)]


def heat(share: Tensor, size: tuple[int, int]) -> Image.Image:
    """Values from 0 to 1, shape (rows, columns), as colours from black over red to yellow; size is (width, height)."""
    grey = Image.fromarray((share.clamp(0, 1) * 255).round().to(torch.uint8).numpy())
    levels = np.asarray(grey.resize(size, Image.Resampling.BICUBIC)) / 255
    stops = np.linspace(0, 1, len(HEAT))
    colours = np.stack([np.interp(levels, stops, [stop[channel] for stop in HEAT]) for channel in range(3)], axis=-1)
    return Image.fromarray(colours.round().astype(np.uint8))


def font_for(text: str, size: int) -> Font:
    """Pillow's own font, or if that lacks a letter of the text, the first of the system's that has all of them."""
    own = ImageFont.load_default(size)
    for font in chain((own,), system_fonts(size)):
        missing = bytes(font.getmask(NO_LETTER))  # a box, most often
        if all(bytes(font.getmask(letter)) != missing for letter in set(text)):
            return font
    return own


def system_fonts(size: int) -> Iterator[Font]:
    """Those of FONTS that are installed."""
    for name in FONTS:
        with suppress(OSError):  # it is not there
            yield ImageFont.truetype(name, size)


def _shortened(text: str, draw: ImageDraw.ImageDraw, font: Font) -> str:
    """As much of it as has room beside a row."""
    cut = text
    while cut and draw.textlength(cut if cut == text else cut + "…", font=font) > LABEL - 8:
        cut = cut[:-1]
    return cut if cut == text else cut + "…"
