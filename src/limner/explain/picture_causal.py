"""What each head does to a picture: every (layer, head) switched off in turn, and how much the picture changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner.core.errors import ConfigError, DataError
from limner.core.tap import NO_TAP, Chain, Tap
from limner.explain.picture_changes import (
    Part,
    Region,
    change_tap,
    difference,
    paint_changed,
    plan,
    region_mask,
)
from limner.explain.picture_interventions import all_heads

if TYPE_CHECKING:
    from PIL import Image

    from limner.picture.generator import PictureGenerator
    from limner.picture.painting import Picture

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class PictureCausalMap:
    """How much the picture changes without each head: mean difference of its pixels, 0 to 1.

    Attributes:
        change: shape (layers, heads), float32.
        within: the same within the region, where one was given.
        look: of which look what is seen was compared; None: the finished picture.
    """

    change: NDArray[np.float32]
    within: NDArray[np.float32] | None
    look: int | None
    where: Part

    def strongest(self) -> tuple[int, int]:
        """The layer and the head without which the picture (or, if one was given, the region) changes the most."""
        layer, head = np.unravel_index(
            int((self.change if self.within is None else self.within).argmax()), self.change.shape
        )
        return int(layer), int(head)


def picture_causal_map(
    painter: PictureGenerator,
    picture: Picture,
    *,
    look: int | None = None,
    region: Region | None = None,
    where: Part = "cross_attention",
    start: Image.Image | None = None,
    mask: Image.Image | None = None,
    progress: Progress | None = None,
) -> PictureCausalMap:
    """Switch each head off in turn.

    Args:
        picture: of this model.
        look: compare what is seen at this look, from what the model was given there: one look for each head. None: paint the
            whole picture once for each head.
        region: a box (left, top, right, bottom) in pixels, or a mask of shape (height, width).
        where: the heads that read the prompt, or those through which the picture reads itself.
        start, mask: what the picture was made from.
        progress: called with how many heads are done, and of how many.
    Raises:
        ConfigError: no such look, or a region that is not within the picture.
        DataError: a look is asked for, but the picture has none.
        WeightsError: another model painted the picture.
    """
    shape = (picture.image.height, picture.image.width)
    inside = None if region is None else region_mask(region, shape)
    heads = list(all_heads(painter, where))
    change = np.zeros((1 + max(off.layer for off in heads), 1 + max(off.head for off in heads)), np.float32)
    within = None if inside is None else np.zeros_like(change)
    made = plan(painter, picture, start=start, mask=mask)
    chosen = None
    if look is not None:
        if not picture.looks:
            raise DataError("the picture has no looks, but one of them is asked for. Paint it with record=True.")
        numbers = [one.number for one in picture.looks]
        if look not in numbers:
            raise ConfigError(
                f"look is {look}, but the picture has {len(numbers)}, counted from 0. Choose {numbers[0]} to {numbers[-1]}."
            )
        chosen = picture.looks[numbers.index(look)]

    def seen(tap: Tap) -> Tensor:
        assert chosen is not None
        (found,) = painter.look_again(picture.settings, [chosen], start=start, mask=mask, tap=tap)
        with torch.inference_mode():
            return painter.model.to_pixels(found[None].to(painter.device))[0].clamp(-1, 1).float().cpu()

    before = None if chosen is None else seen(made.tap)
    for done, off in enumerate(heads, start=1):
        if before is None:
            found = difference(picture.image, paint_changed(painter, picture, [off], start=start, mask=mask).image)
        else:
            tap = change_tap(painter, made.prompt, [off], looks=1, guidance=made.settings.guidance)
            changed = seen(tap if made.tap is NO_TAP else Chain(made.tap, tap))
            found = (changed - before).abs().mean(dim=0).div(2).numpy()
        change[off.layer, off.head] = found.mean()
        if within is not None:
            within[off.layer, off.head] = found[inside].mean()
        if progress is not None:
            progress(done, len(heads))
    return PictureCausalMap(change, within, look, where)
