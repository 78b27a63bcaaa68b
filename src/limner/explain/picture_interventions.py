"""A picture painted again and again, each time with one word removed or weighed: what a report shows of changes.

A report has no model, so that what can be changed in it is painted beforehand, small.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from limner.core.errors import ConfigError
from limner.explain.picture_changes import (
    PictureChange,
    RemoveWord,
    WeighWord,
    compare_pictures,
)
from limner.picture.data_url import picture_url

if TYPE_CHECKING:
    from limner.picture.generator import PictureGenerator
    from limner.picture.painting import Picture

WEIGHTS = (2.5,)  # beyond 4 the bundled model's pictures fall apart
MOST_PAINTED = 32  # pictures, each of which takes as long as the one that they are of
LONGEST_SIDE = 128  # pixels: thirty of them are some hundred kilobytes


def picture_interventions(
    painter: PictureGenerator,
    picture: Picture,
    *,
    weights: Sequence[float] = WEIGHTS,
    most: int = MOST_PAINTED,
    start: Image.Image | None = None,
    mask: Image.Image | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Each word removed, and weighed, with the seed kept; for ``write_report(…, extra=…)``.

    Args:
        picture: of this model.
        weights: with which each word is weighed.
        most: pictures that are painted. Where there are more words, removing them comes first, in their order.
        start, mask: what the picture was made from.
        progress: called with how many pictures are painted, and of how many.
    Returns:
        ``{"changes": […]}``, for each: ``change`` as JSON, the ``prompt`` that was painted, ``picture`` as a data URL of at
        most 128 pixels a side, ``changed``, the mean difference of all pixels, 0 to 1, and ``patches``, the same of each
        patch of the model, row after row.
    Raises:
        ConfigError: ``most`` is below 1, or a weight out of its range.
        DataError: guidance was 0, so that no word was read, or the picture is one of a blend.
        WeightsError: another model painted the picture.
    """
    if most < 1:
        raise ConfigError(f"most is {most}, but a report without changes needs no pictures. Choose 1 or more.")
    words = painter.word_places(str(picture.settings["prompt"]))
    wanted: list[PictureChange] = []
    if len(words) > 1:  # without its only word there is no prompt
        wanted += [RemoveWord(word) for word in range(len(words))]
    for weight in weights:
        wanted += [WeighWord(word, weight) for word in range(len(words))]
    side = painter.config.multiple
    found = []
    for number, change in enumerate(wanted[:most]):
        pair = compare_pictures(painter, picture, [change], start=start, mask=mask)
        apart = pair.difference
        rows, columns = apart.shape[0] // side, apart.shape[1] // side
        patches = apart.reshape(rows, side, columns, side).mean(axis=(1, 3))
        found.append({
            "change": change.to_dict(),
            "prompt": str(pair.after.settings["prompt"]),
            "picture": _small(pair.after.image),
            "changed": round(float(apart.mean()), 5),
            "patches": np.round(patches.ravel(), 4).astype(float).tolist(),
        })  # fmt: skip
        if progress is not None:
            progress(number + 1, len(wanted[:most]))
    return {"changes": found}


def _small(image: Image.Image) -> str:
    """A picture as a data URL."""
    image = image.convert("RGB")
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    return picture_url(image)
