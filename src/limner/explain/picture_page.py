"""What a notebook shows of a picture's trace and of a comparison: plain HTML with its pictures inside, and no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import torch
from PIL import Image

from limner.explain.trace import Array
from limner.picture.data_url import picture_url
from limner.picture.filmstrip import heat

SIDE = 96  # pixels of a cell's longer side
CELL = 'style="padding:2px 4px;text-align:left;vertical-align:top;border:0"'


@dataclass(frozen=True)
class WordRow:
    """Where one word was.

    Attributes:
        maps: of each look shown, shares of attention of each patch.
        mean: over all looks.
        brightest: the share that is shown brightest in ``maps``; ``mean`` has a scale of its own.
    """

    word: str
    maps: Sequence[Array]
    mean: Array
    brightest: float


def trace_page(
    said: str,
    looks: Sequence[int],
    picture: Image.Image,
    shown: Mapping[str, Sequence[Image.Image]],
    words: Sequence[WordRow],
) -> str:
    """The way from noise to picture, and a row of heat maps for each word.

    Args:
        said: a line about the run.
        looks: numbers of the looks that are shown.
        shown: pictures of them, one a look, by what they are.
    """
    size = _cell(picture.size)
    rows = [_row("", [escape(f"look {number}") for number in looks] + ["picture, mean"])]
    for name, images in shown.items():
        rows.append(_row(name, [_image(image, size) for image in (*images, picture)]))
    for row in words:
        cells = [_heat(share / max(row.brightest, 1e-9), size) for share in row.maps]
        cells.append(_heat(row.mean / max(float(row.mean.max()), 1e-9), size))
        rows.append(_row(row.word, cells, f"{float(row.mean.mean()):.1%}"))
    return f"<div><p>{escape(said)}</p><table>{''.join(rows)}</table></div>"


def comparison_page(said: str, before: Image.Image, after: Image.Image, difference: Array) -> str:
    """Before, after and where they differ, from black (nowhere) to bright (the most)."""
    size = tuple(2 * side for side in _cell(before.size))
    cells = [_image(before, size), _image(after, size)]
    cells.append(_heat(difference / max(float(difference.max()), 1e-9), size))
    table = _row("", ["before", "after", "difference"]) + _row("", cells)
    return f"<div><p>{escape(said)}</p><table>{table}</table></div>"


def _cell(size: tuple[int, int]) -> tuple[int, int]:
    return round(size[0] * SIDE / max(size)), round(size[1] * SIDE / max(size))


def _row(label: str, cells: list[str], under: str = "") -> str:
    """One row; cells are HTML already, label and what stands under it are not."""
    head = f'<th scope="row" {CELL}>{escape(label)}<br><small>{escape(under)}</small></th>'
    return f"<tr>{head}{''.join(f'<td {CELL}>{cell}</td>' for cell in cells)}</tr>"


def _heat(share: Array, size: tuple[int, ...]) -> str:
    small = (-(-size[0] // 2), -(-size[1] // 2))  # a map is smooth; half the pixels show it as well
    return _image(heat(torch.from_numpy(np.ascontiguousarray(share, np.float32)), small), size)


def _image(image: Image.Image, size: tuple[int, ...]) -> str:
    address = picture_url(image, exact=True)
    return f'<img alt="" width="{size[0]}" height="{size[1]}" src="{address}" style="image-rendering:pixelated">'
