"""Captioned pictures by number, and what training and files are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from limner.picture.world.captions import caption
from limner.picture.world.draw import Drawing, draw
from limner.picture.world.scene import Scene, Which, sample_scene

SERIES = 10**9  # pictures of one seed, before those of the next begin


@dataclass(frozen=True)
class Example:
    """One captioned picture; it is drawn when ``drawing`` is first asked for."""

    scene: Scene
    text: str
    size: int

    @cached_property
    def drawing(self) -> Drawing:
        return draw(self.scene, self.size)


def example(seed: int, index: int, *, size: int = 64, which: Which = "train", two: float = 0.3) -> Example:
    """Picture ``index`` of a seed's endless series, whatever else is drawn.

    Args:
        seed: of the series.
        index: from 0; two series never share a picture.
        size: pixels a side.
        which: the split, as in ``sample_scene``.
        two: the share of pictures with two animals.
    """
    number = seed * SERIES + index
    scene = sample_scene(number, which=which, two=two)
    return Example(scene, caption(scene, number), size)
