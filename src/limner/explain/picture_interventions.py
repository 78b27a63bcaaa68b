"""A picture painted again and again, each time with one word removed or weighed or one head off: what a report shows of changes.

A report has no model, so that what can be changed in it is painted beforehand, small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from limner.core.errors import ConfigError
from limner.explain.picture_changes import (
    Part,
    PictureChange,
    PictureHeadOff,
    RemoveWord,
    WeighWord,
    compare_pictures,
)
from limner.picture.data_url import picture_url

if TYPE_CHECKING:
    from limner.picture.generator import OnStep, PictureGenerator
    from limner.picture.painting import Picture

WEIGHTS = (2.5,)  # beyond 4 the bundled model's pictures fall apart
MOST_PAINTED = 32  # pictures, each of which takes as long as the one that they are of
MOST_HEADS = 32  # likewise, for heads
LONGEST_SIDE = 128  # pixels: thirty of them are some hundred kilobytes


def picture_interventions(
    painter: PictureGenerator,
    picture: Picture,
    *,
    weights: Sequence[float] = WEIGHTS,
    most: int = MOST_PAINTED,
    most_heads: int = MOST_HEADS,
    start: Image.Image | None = None,
    mask: Image.Image | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Each word removed, and weighed, and each head that reads it off, with the seed kept; for ``write_report(…, extra=…)``.

    Args:
        picture: of this model.
        weights: with which each word is weighed.
        most: pictures that are painted for words. Where there are more words, removing them comes first, in their order.
        most_heads: of a model that has more of them, none is switched off; 0: no head is.
        start, mask: what the picture was made from.
        progress: called with how many pictures are painted, and of how many.
    Returns:
        ``{"changes": […], "heads": […]}``, for each: ``change`` as JSON, the ``prompt`` that was painted, ``picture`` as a data
        URL of at most 128 pixels a side, ``changed``, the mean difference of all pixels, 0 to 1, and ``patches``, the same of
        each patch of the model, row after row.
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
    heads: list[PictureChange] = list(all_heads(painter))
    found = []
    wanted = wanted[:most]
    switched = heads if len(heads) <= most_heads else []
    for change in (*wanted, *switched):
        found.append(painted_with(painter, picture, change, start=start, mask=mask))
        if progress is not None:
            progress(len(found), len(wanted) + len(switched))
    return {"changes": found[: len(wanted)], "heads": found[len(wanted) :]}


def all_heads(painter: PictureGenerator, where: Part = "cross_attention") -> Iterator[PictureHeadOff]:
    """Each head switched off alone, layer after layer: those that read the prompt, or those with which a picture reads itself."""
    stack = painter.config.denoiser.stack
    for layer in range(stack.num_layers):
        block = stack.block(layer)
        kind = block.cross_attention if where == "cross_attention" else block.attention
        assert kind is not None
        yield from (PictureHeadOff(layer, head, where) for head in range(kind.num_heads))


def painted_with(
    painter: PictureGenerator,
    picture: Picture,
    change: PictureChange,
    *,
    start: Image.Image | None = None,
    mask: Image.Image | None = None,
    on_step: OnStep | None = None,
) -> dict[str, Any]:
    """The picture painted with one change: an entry of what ``picture_interventions`` returns, and as there."""
    side = painter.config.multiple
    pair = compare_pictures(painter, picture, [change], start=start, mask=mask, on_step=on_step)
    apart = pair.difference
    rows, columns = apart.shape[0] // side, apart.shape[1] // side
    patches = apart.reshape(rows, side, columns, side).mean(axis=(1, 3))
    return {
        "change": change.to_dict(),
        "prompt": str(pair.after.settings["prompt"]),
        "picture": _small(pair.after.image),
        "changed": round(float(apart.mean()), 5),
        "patches": np.round(patches.ravel(), 4).astype(float).tolist(),
    }


def _small(image: Image.Image) -> str:
    """A picture as a data URL."""
    image = image.convert("RGB")
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    return picture_url(image)
