"""What a notebook shows of a picture's trace and of a comparison: plain HTML with its pictures inside, and no script."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from limner.explain.trace import Array
from limner.picture.filmstrip import MOST_COLUMNS, heat, spread

if TYPE_CHECKING:
    from limner.explain.picture_changes import PictureComparison
    from limner.explain.picture_trace import PictureTrace

SIDE = 96  # pixels of a cell's longer side
CELL = 'style="padding:2px 4px;text-align:left;vertical-align:top;border:0"'


def trace_page(trace: PictureTrace) -> str:
    """The way from noise to picture, and a row of heat maps for each word; each word's share one scale."""
    kept = [trace.looks[at] for at in spread(len(trace.looks), MOST_COLUMNS)]
    about, settings = trace.about, trace.about["settings"]
    size = _cell(trace.image.size)
    replay = about["replay"]
    said = (
        f"“{settings['prompt']}”, seed {settings['seed']}, by {about['model']['name'] or 'a model'} "
        f"({about['model']['sha256'][:12]}); "
    )
    said += (
        "recorded while it was painted"
        if replay is None
        else f"{replay['looks']} looks were looked at again: what is seen is off by {replay['mean_difference']:.2g} in the "
        f"mean and {replay['largest_difference']:.2g} at most"
    )
    if about["changes"]:
        said += f"; changed: {', '.join(str(change.get('kind')) for change in about['changes'])}"
    rows = [_row("", [escape(f"look {number}") for number in kept] + ["picture, mean"])]
    for name, shown in (("given", trace.given), ("seen", trace.seen)):
        rows.append(_row(name, [_image(shown(number), size) for number in kept] + [_image(trace.image, size)]))
    for place, word in enumerate(trace.words):
        maps = trace["words"][:, place]
        brightest = max(float(maps.max(initial=0.0)), 1e-9)
        cells = [_heat(trace.word_map(place, look=number) / brightest, size) for number in kept]
        mean = trace.word_map(place)
        cells.append(_heat(mean / max(float(mean.max()), 1e-9), size))
        rows.append(_row(word, cells, f"{float(mean.mean()):.1%}"))
    return f"<div><p>{escape(said)}</p><table>{''.join(rows)}</table></div>"


def comparison_page(comparison: PictureComparison) -> str:
    """Before, after and where they differ, from black (nowhere) to bright (the most)."""
    size = tuple(2 * side for side in _cell(comparison.before.image.size))
    found = comparison.difference
    cells = [_image(comparison.before.image, size), _image(comparison.after.image, size)]
    cells.append(_heat(found / max(float(found.max()), 1e-9), size))
    kinds = ", ".join(str(change.to_dict()) for change in comparison.changes)
    said = f"Changed: {kinds or 'nothing'}. Mean difference {comparison.changed():.2%} of the way from black to white."
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
    held = io.BytesIO()
    image.save(held, "PNG")
    data = base64.b64encode(held.getvalue()).decode("ascii")
    return f'<img alt="" width="{size[0]}" height="{size[1]}" src="data:image/png;base64,{data}" style="image-rendering:pixelated">'
