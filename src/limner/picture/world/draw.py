"""A scene becomes a picture with its truth: what is where, to the pixel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from limner.core.errors import ConfigError
from limner.picture.world.animals import ANIMALS_AS_DRAWN
from limner.picture.world.dice import Dice
from limner.picture.world.figure import TRUNK_X, FigureDrawer
from limner.picture.world.scenery import draw_scenery, draw_treetop, light_of
from limner.picture.world.shapes import Place, Shape, Sheet, at, ellipses, render, render_parts
from limner.picture.world.vocabulary import POSES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limner.picture.world.scene import Scene

SIZES = (32, 1024)
ONE = (56.0, 80.0)  # of the frame's height, for one animal without its hat
TWO = (46.0, 60.0)
MARGIN = 2.0
GROUND = (87.0, 96.0)  # where feet are, in the frame
BRANCH = (78.0, 88.0)

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class FigureBoxes:
    """Left, top, right, bottom in pixels, right and bottom outside; None where nothing is seen."""

    animal: Box | None
    hat: Box | None


@dataclass(frozen=True, eq=False)
class FigureMasks:
    """What is seen of a figure: bool, (size, size)."""

    animal: NDArray[np.bool_]
    hat: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Drawing:
    """A picture and, when asked, its truth.

    Args:
        scene: what it shows.
        size: pixels a side.
        image: uint8, (size, size, 3), red, green and blue.
    """

    scene: Scene
    size: int
    image: NDArray[np.uint8]
    shapes: tuple[Shape, ...]

    @cached_property
    def parts(self) -> NDArray[np.uint8]:
        """What is seen where, (size, size): 1 and 2 the first animal and its hat, 3 and 4 the second's, 0 the rest."""
        return render_parts(self.shapes, self.size)

    @cached_property
    def masks(self) -> tuple[FigureMasks, ...]:
        """Of each figure, the pixels where it is seen; what covers it is left out."""
        numbers = (_parts(index) for index in range(len(self.scene.figures)))
        return tuple(FigureMasks(self.parts == animal, self.parts == hat) for animal, hat in numbers)

    @cached_property
    def boxes(self) -> tuple[FigureBoxes, ...]:
        """Of each figure, the boxes around what is seen of the animal and of its hat."""
        return tuple(FigureBoxes(_box(mask.animal), _box(mask.hat)) for mask in self.masks)


def draw(scene: Scene, size: int = 128) -> Drawing:
    """Draw a scene.

    The same scene is the same picture at every size, only sharper.

    Args:
        scene: what to show.
        size: pixels a side.
    Raises:
        ConfigError: ``size`` is below 32 or above 1024.
        MissingExtraError: the drawing library is not installed.
    """
    if not SIZES[0] <= size <= SIZES[1]:
        raise ConfigError(
            f"size is {size}, but pictures are {SIZES[0]} to {SIZES[1]} pixels a side. Choose one of these."
        )
    shapes = compose(scene)
    return Drawing(scene, size, render(shapes, size), shapes)


def compose(scene: Scene) -> tuple[Shape, ...]:
    """All shapes of a scene from back to front, in a frame 100 units wide."""
    sheet = Sheet()
    draw_scenery(sheet, scene.background, scene.time, Dice(scene.seed, "scenery"))
    dice = Dice(scene.seed, "layout")
    drawn = [_figure(scene, index) for index in range(len(scene.figures))]
    if scene.relation is None:
        places = [_one(drawn[0], scene.figures[0].pose, dice)]
    elif scene.relation == "on":
        places = _stacked(drawn, scene, dice)
    else:
        places = _side_by_side(drawn, scene, dice)
    poses = [figure.pose for figure in scene.figures]
    # Back to front: who carries before who is carried, and a branch before whoever is beside it.
    order = (1, 0) if scene.relation == "on" else sorted(range(len(drawn)), key=lambda i: poses[i] in POSES[:2])
    for index in order:
        figure, place = drawn[index], places[index]
        pose = poses[index]
        _add(sheet, figure.support, place)
        if pose == "climbing a tree":
            x, _ = place.apply(TRUNK_X, 0)
            draw_treetop(sheet, scene.time, x)
        elif pose != "scaling a branch" and not (scene.relation == "on" and index == 0):
            _shadow(sheet, figure, place)
        _add(sheet, figure.sheet, place)
    return tuple(sheet.shapes)


def _add(sheet: Sheet, part: Sheet, place: Place) -> None:
    for shape in part.shapes:
        shape.place = place @ shape.place
    sheet.shapes.extend(part.shapes)


def _parts(index: int) -> tuple[int, int]:
    return 1 + 2 * index, 2 + 2 * index


@dataclass(frozen=True, eq=False)
class _Drawn:
    """A figure that is drawn but not yet placed, with the boxes that its place hangs on."""

    sheet: Sheet
    support: Sheet
    alone: tuple[float, float, float, float]  # the animal
    whole: tuple[float, float, float, float]  # with its hat

    @property
    def height(self) -> float:
        return self.alone[3] - self.alone[1]


def _figure(scene: Scene, index: int) -> _Drawn:
    animal, hat = _parts(index)
    dice, light = Dice(scene.seed, f"figure {index}"), light_of(scene.time)
    alone_here = len(scene.figures) == 1
    drawer = FigureDrawer(scene.figures[index], dice, light, (animal, hat), alone=alone_here)
    drawer.draw()
    sheet = drawer.sheet
    alone, worn = sheet.box(animal), sheet.box(hat)
    assert alone is not None
    whole = (
        alone
        if worn is None
        else (min(alone[0], worn[0]), min(alone[1], worn[1]), max(alone[2], worn[2]), max(alone[3], worn[3]))
    )
    return _Drawn(sheet, drawer.support, alone, whole)


def _fit(drawn: _Drawn, height: float, room: tuple[float, float, float, float], flip: bool) -> tuple[float, Place]:
    """The scale and the place that put a figure at the lower end of a room (left, top, right, bottom)."""
    left, top, right, bottom = drawn.whole
    scale = min(height / drawn.height, (room[3] - room[1]) / (bottom - top), (room[2] - room[0]) / (right - left))
    x = (room[0] + room[2]) / 2
    return scale, at(x, room[3], size=scale, flip=flip) @ at(-(left + right) / 2, -bottom)


def _one(drawn: _Drawn, pose: str, dice: Dice) -> Place:
    room = (MARGIN, MARGIN, 100 - MARGIN, dice.between(*(BRANCH if pose == "scaling a branch" else GROUND)))
    scale, place = _fit(drawn, dice.between(*ONE), room, dice.chance(0.5))
    left, _, right, _ = drawn.whole
    slack = max(0.0, (100 - 2 * MARGIN - (right - left) * scale) / 2)
    return at(dice.between(-1, 1) * min(slack, 14.0), 0) @ place


def _side_by_side(drawn: list[_Drawn], scene: Scene, dice: Dice) -> list[Place]:
    first_left = scene.relation == "left of" or dice.chance(0.5)
    places = []
    for index, one in enumerate(drawn):
        left = first_left == (index == 0)
        room = (MARGIN, MARGIN, 49.5, 0.0) if left else (50.5, MARGIN, 100 - MARGIN, 0.0)
        low = dice.between(*(BRANCH if scene.figures[index].pose == "scaling a branch" else GROUND))
        # The tree is on the outer side, or it would stand between the two.
        flip = left if scene.figures[index].pose in ("climbing a tree", "scaling a branch") else dice.chance(0.5)
        _, place = _fit(one, dice.between(*TWO), (*room[:3], low), flip)
        places.append(place)
    return places


def _stacked(drawn: list[_Drawn], scene: Scene, dice: Dice) -> list[Place]:
    """The second stands; the first sits on its back, with its tail away from the other's face."""
    flip = dice.chance(0.5)
    scale, below = _fit(drawn[1], dice.between(46, 54), (4, 40, 96, dice.between(90, 97)), flip)
    length = ANIMALS_AS_DRAWN[scene.figures[1].animal].length
    size = min(dice.between(44, 50) / drawn[0].height, scale * (0.76 + 0.16 * min(length, 1.2)))
    along = max(1.5 * length, 0.72 + 1.0 * size / scale)  # far enough back for its feet not to cover the other's face
    x, y = below.apply(along, 0.66)
    left, top, right, bottom = drawn[0].whole
    size = min(size, (y - MARGIN) / -top)
    here = at(x, y, size=size, flip=flip) @ at(0, -bottom)
    ends = sorted((here.apply(left, 0)[0], here.apply(right, 0)[0]))
    shift = max(0.0, MARGIN - ends[0]) - max(0.0, ends[1] - (100 - MARGIN))
    return [at(shift, 0) @ here, at(shift, 0) @ below]


def _shadow(sheet: Sheet, drawn: _Drawn, place: Place) -> None:
    left, _, right, bottom = drawn.alone
    x, y = place.apply((left + right) / 2, bottom)
    half = abs(place.a) * (right - left) / 2
    sheet.fill(ellipses((0, 0, 1, 0.14)), (0.05, 0.05, 0.1), alpha=0.28, place=at(x, y - 0.8, size=half * 0.9))


def _box(mask: NDArray[np.bool_]) -> Box | None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
