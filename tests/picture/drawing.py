"""Painters that draw what they are asked for, or something else on purpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from PIL import Image

from limner.picture.composition import GROUPS, draw_again, scenes_of
from limner.picture.world.captions import prompt
from limner.picture.world.scene import Figure, Scene

SIDE = 64


def book(each: int, seed: int) -> dict[str, Scene]:
    """The scene that each prompt of a measure asks for."""
    return {
        prompt(scene, kind.style, background=kind.setting, time=kind.setting): scene
        for group, kind in GROUPS.items()
        for scene in scenes_of(group, each, seed)
    }


def drawer(
    each: int, seed: int, change: Callable[[Scene], Scene] = lambda scene: scene, side: int = SIDE
) -> Callable[[Sequence[str], int], list[Image.Image]]:
    """Draws the scene that is asked for, changed."""
    scenes = book(each, seed)
    return lambda prompts, first: [
        draw_again(change(scenes[text]), side, 10**12 + first + at) for at, text in enumerate(prompts)
    ]


def swapped(scene: Scene) -> Scene:
    """Each of two animals in the other's hat."""
    if len(scene.figures) == 1:
        return scene
    one, other = scene.figures
    return replace(scene, figures=(_wearing(one, other), _wearing(other, one)))


def _wearing(figure: Figure, other: Figure) -> Figure:
    return replace(figure, hat=other.hat, colour=other.colour)
