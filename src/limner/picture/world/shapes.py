"""Shapes, colours, and the canvas that turns them into pixels.

Everything is drawn from a flat list of ``Shape``s, each with its own place and the number of the part that it belongs
to; the picture and the masks are two renderings of one list. Outlines are made once and kept: two animals of a kind
differ by their places, sizes and colours, not by their points, which is what makes drawing fast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from limner.core.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

Point = tuple[float, float]
Points = tuple[Point, ...]
Colour = tuple[float, float, float]  # red, green, blue in [0, 1]

SCENERY = 0
KEPT = 4096  # outlines; those of all animals, hats and places are about a thousand
_keep = lru_cache(maxsize=KEPT)
_STEP = 40  # grey levels between two parts in the picture of the parts


@cache
def _library() -> Any:
    try:
        import celiagg
    except ImportError as problem:
        raise MissingExtraError("celiagg", "pictures", "drawing the picture-book world") from problem
    return celiagg


# ── colours ──────────────────────────────────────────────────────────────────────────────────────────────


@cache
def rgb(code: str) -> Colour:
    """``#e63946`` as three numbers."""
    return int(code[1:3], 16) / 255, int(code[3:5], 16) / 255, int(code[5:7], 16) / 255


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """``a`` with a share of ``b``."""
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share


def lighter(colour: Colour, share: float) -> Colour:
    """The colour with a share of white."""
    return mix(colour, (1.0, 1.0, 1.0), share)


def darker(colour: Colour, share: float) -> Colour:
    """The colour with a share of ink."""
    return mix(colour, (0.08, 0.05, 0.08), share)


# ── places ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Place:
    """An affine map: x' = a·x + c·y + e, y' = b·x + d·y + f; y grows downwards."""

    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    d: float = 1.0
    e: float = 0.0
    f: float = 0.0

    def __matmul__(self, inner: Place) -> Place:
        """First ``inner``, then this one."""
        return Place(
            self.a * inner.a + self.c * inner.b,
            self.b * inner.a + self.d * inner.b,
            self.a * inner.c + self.c * inner.d,
            self.b * inner.c + self.d * inner.d,
            self.a * inner.e + self.c * inner.f + self.e,
            self.b * inner.e + self.d * inner.f + self.f,
        )

    def apply(self, x: float, y: float) -> Point:
        return self.a * x + self.c * y + self.e, self.b * x + self.d * y + self.f


def at(x: float, y: float, *, turn: float = 0.0, size: float = 1.0, wide: float = 1.0, flip: bool = False) -> Place:
    """Scale (``size``, and ``wide`` more across), mirror, turn by degrees clockwise, then move to (x, y)."""
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    across = -size * wide if flip else size * wide
    return Place(cos * across, sin * across, -sin * size, cos * size, x, y)


# ── outlines ─────────────────────────────────────────────────────────────────────────────────────────────


Box = tuple[float, float, float, float]  # left, top, right, bottom


class Outline:
    """Points that become a path of the drawing library, and the box that they lie in.

    The library makes straight lines of curves before it places them, each about four units long; so a path is kept
    larger than it was given, and one is made for every size of picture that is asked for.
    """

    def __init__(self, add: Callable[[Any, float], None], box: Box) -> None:
        self._add = add
        self.box = box
        self._across = max(box[2] - box[0], box[3] - box[1])
        self._kept: dict[int, tuple[Any, float]] = {}

    def path(self, units: int) -> tuple[Any, float]:
        """The path, about ``units`` across, and how many times as large as given it is."""
        kept = self._kept.get(units)
        if kept is None:
            scale = units / self._across
            path = _library().Path()
            self._add(path, scale)
            kept = self._kept[units] = path, scale
        return kept


def _around(points: Iterable[Point]) -> Box:
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _add_straight(path: Any, points: Points, scale: float) -> None:
    path.move_to(points[0][0] * scale, points[0][1] * scale)
    for x, y in points[1:]:
        path.line_to(x * scale, y * scale)
    path.close()


def _add_smooth(path: Any, points: Points, scale: float, *, closed: bool) -> None:
    """A Catmull-Rom spline through the points."""
    points = tuple((x * scale, y * scale) for x, y in points)
    n = len(points)
    path.move_to(*points[0])
    for i in range(n if closed else n - 1):
        p1, p2 = points[i], points[(i + 1) % n]
        p0 = points[i - 1] if closed or i > 0 else p1
        p3 = points[(i + 2) % n] if closed or i + 2 < n else p2
        path.cubic_to(
            p1[0] + (p2[0] - p0[0]) / 6,
            p1[1] + (p2[1] - p0[1]) / 6,
            p2[0] - (p3[0] - p1[0]) / 6,
            p2[1] - (p3[1] - p1[1]) / 6,
            *p2,
        )
    if closed:
        path.close()


def _clockwise(points: Points) -> Points:
    """One direction for all: parts of one outline must add up where they overlap."""
    area = sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(points, (*points[1:], points[0]), strict=True))
    return points if area > 0 else points[::-1]


@_keep
def blobs(*parts: Points) -> Outline:
    """Closed smooth curves through points; where they overlap they are one shape."""

    def add(path: Any, scale: float) -> None:
        for points in parts:
            _add_smooth(path, _clockwise(points), scale, closed=True)

    return Outline(add, _around(chain(*parts)))


def loose_polygons(*parts: Points) -> Outline:
    """Closed shapes with straight sides."""

    def add(path: Any, scale: float) -> None:
        for points in parts:
            _add_straight(path, _clockwise(points), scale)

    return Outline(add, _around(chain(*parts)))


polygons = _keep(loose_polygons)  # for those that are the same in many pictures


@_keep
def lines(*parts: Points) -> Outline:
    """Open smooth curves, to be stroked."""

    def add(path: Any, scale: float) -> None:
        for points in parts:
            _add_smooth(path, points, scale, closed=False)

    return Outline(add, _around(chain(*parts)))


@_keep
def ellipses(*parts: tuple[float, float, float, float]) -> Outline:
    """Ellipses, each (x, y, half width, half height)."""

    def add(path: Any, scale: float) -> None:
        for part in parts:
            path.ellipse(*(length * scale for length in part))

    return Outline(add, _around(p for x, y, w, h in parts for p in ((x - w, y - h), (x + w, y + h))))


@_keep
def mirrored(points: Points) -> Points:
    """A whole outline from its right half, given from top to bottom; points with x = 0 are on the axis."""
    return points + tuple((-x, y) for x, y in reversed(points) if x != 0)


@_keep
def other_side(points: Points) -> Points:
    """The same on the left."""
    return tuple((-x, y) for x, y in points)


@_keep
def moved(points: Points, x: float, y: float, wide: float = 1.0, high: float = 1.0, turn: float = 0.0) -> Points:
    """Scaled, turned by degrees, then shifted."""
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    return tuple(
        (round(px * wide * cos - py * high * sin + x, 6), round(px * wide * sin + py * high * cos + y, 6))
        for px, py in points
    )


# ── drawing ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Shape:
    """One stroke or filling.

    Args:
        outline: what.
        place: where.
        colour: of the filling, or of the line where there is a ``width``.
        width: of the line, in the outline's own units; None fills.
        alpha: 1 covers.
        below: the colour at the lower end of a shading that begins with ``colour`` at the upper.
        part: number of the part that it belongs to.
        clip: an outline (at the same place) beyond which nothing is drawn.
        under: a line whose inner half a filling will cover; it is made bolder by what fillings grow.
    """

    outline: Outline
    place: Place
    colour: Colour
    width: float | None = None
    alpha: float = 1.0
    below: Colour | None = None
    part: int = SCENERY
    clip: Outline | None = None
    under: bool = False


@dataclass
class Sheet:
    """A list of shapes in the making; ``place`` and ``part`` are those of what is added next."""

    shapes: list[Shape] = field(default_factory=list)
    place: Place = field(default_factory=Place)
    part: int = SCENERY

    def fill(
        self,
        outline: Outline,
        colour: Colour,
        *,
        below: Colour | None = None,
        alpha: float = 1.0,
        place: Place | None = None,
        clip: Outline | None = None,
    ) -> None:
        where = self.place if place is None else self.place @ place
        self.shapes.append(Shape(outline, where, colour, None, alpha, below, self.part, clip))

    def line(
        self,
        outline: Outline,
        colour: Colour,
        width: float,
        *,
        alpha: float = 1.0,
        place: Place | None = None,
        under: bool = False,
    ) -> None:
        where = self.place if place is None else self.place @ place
        self.shapes.append(Shape(outline, where, colour, width, alpha, None, self.part, None, under))

    def rim(self, outline: Outline, colour: Colour, width: float, *, place: Place | None = None) -> None:
        """The line around what is filled next; half its width will be seen."""
        self.line(outline, colour, width, place=place, under=True)

    def box(self, part: int) -> Box | None:
        """Left, top, right and bottom of what is filled in a part, or None where there is nothing."""
        left = top = math.inf
        right = bottom = -math.inf
        for shape in self.shapes:
            if shape.part == part and shape.width is None and shape.clip is None:
                x0, y0, x1, y1 = shape.outline.box
                place = shape.place
                x, y = place.apply((x0 + x1) / 2, (y0 + y1) / 2)
                wide = (abs(place.a) * (x1 - x0) + abs(place.c) * (y1 - y0)) / 2
                high = (abs(place.b) * (x1 - x0) + abs(place.d) * (y1 - y0)) / 2
                left, right = min(left, x - wide), max(right, x + wide)
                top, bottom = min(top, y - high), max(bottom, y + high)
        return (left, top, right, bottom) if left < right else None


GROWTH = 0.5  # of the pixel that the library adds to the width of what it fills; with all of it 32 pixels look sooty


@cache
def _filling(smooth: bool) -> Any:
    agg = _library()
    return agg.GraphicsState(drawing_mode=agg.DrawingMode.DrawFill, anti_aliased=smooth)


@cache
def _stroking(smooth: bool) -> Any:
    """A state is dear to make, so this one is changed for every line."""
    agg = _library()
    return agg.GraphicsState(
        drawing_mode=agg.DrawingMode.DrawStroke,
        anti_aliased=smooth,
        line_join=agg.LineJoin.JoinRound,
        line_cap=agg.LineCap.CapRound,
    )


def _line(shape: Shape, scale: float, size: int, smooth: bool) -> Any:
    """The state that draws a line of the shape's width, whose path is ``scale`` times as large as its outline."""
    assert shape.width is not None
    state, width, place = _stroking(smooth), shape.width, shape.place
    if shape.under:
        width += GROWTH / (abs(place.a * place.d - place.b * place.c) ** 0.5 * size / 100)
    state.line_width = width * scale
    return state


def render(shapes: Sequence[Shape], size: int) -> NDArray[np.uint8]:
    """The picture: (size, size, 3), red, green and blue; the frame is 100 units wide."""
    agg = _library()
    pixels = np.zeros((size, size, 4), np.uint8)
    canvas = agg.CanvasRGBA32(pixels)
    stencil = _Stencil(size)
    fill = _filling(True)
    for shape in shapes:
        path, place, scale = _placed(shape.outline, shape.place, size)
        if shape.below is None:
            paint = agg.SolidPaint(*shape.colour, shape.alpha)
        else:
            paint = _shading((*shape.colour, shape.alpha), (*shape.below, shape.alpha))
        if shape.width is not None:
            canvas.draw_shape(path, place, _line(shape, scale, size, True), stroke=paint)
        else:
            canvas.draw_shape(path, place, fill if shape.clip is None else stencil.state(shape), fill=paint)
    return np.ascontiguousarray(pixels[:, :, :3])


def render_parts(shapes: Sequence[Shape], size: int) -> NDArray[np.uint8]:
    """The number of the part that is seen at each pixel, (size, size)."""
    agg = _library()
    pixels = np.zeros((size, size), np.uint8)
    canvas = agg.CanvasG8(pixels)
    for shape in shapes:
        if shape.clip is not None or shape.alpha < 1:
            continue  # what is clipped lies on its own part, and what shines through hides nothing
        path, place, scale = _placed(shape.outline, shape.place, size)
        grey = shape.part * _STEP / 255
        paint = agg.SolidPaint(grey, grey, grey)
        if shape.width is None:
            canvas.draw_shape(path, place, _filling(False), fill=paint)
        else:
            canvas.draw_shape(path, place, _line(shape, scale, size, False), stroke=paint)
    return ((pixels.astype(np.uint16) + _STEP // 2) // _STEP).astype(np.uint8)


class _Stencil:
    """The drawing state that draws within a clip; neighbours in the list mostly share it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._of: tuple[Outline | None, Place | None] = (None, None)
        self._state: Any = None

    def state(self, shape: Shape) -> Any:
        if self._of != (shape.clip, shape.place):
            assert shape.clip is not None
            agg = _library()
            mask = np.zeros((self.size, self.size), np.uint8)
            path, place, _ = _placed(shape.clip, shape.place, self.size)
            agg.CanvasG8(mask).draw_shape(path, place, _filling(True), fill=agg.SolidPaint(1, 1, 1))
            stencil = agg.Image(mask, agg.PixelFormat.Gray8)
            self._state = agg.GraphicsState(drawing_mode=agg.DrawingMode.DrawFill, stencil=stencil)
            self._of = (shape.clip, shape.place)
        return self._state


def _placed(outline: Outline, place: Place, size: int) -> tuple[Any, Any, float]:
    """The path, where it goes in pixels, and how many units of the path are one of the outline."""
    path, scale = outline.path(max(32, 1 << (size // 2 - 1).bit_length()))
    pixels = size / 100
    own = pixels / scale
    where = _library().Transform(
        place.a * own, place.b * own, place.c * own, place.d * own, place.e * pixels, place.f * pixels
    )
    return path, where, scale


def _shading(top: tuple[float, ...], low: tuple[float, ...]) -> Any:
    agg = _library()
    stops = ((0.0, *top), (1.0, *low))
    units = agg.GradientUnits.ObjectBoundingBox
    return agg.LinearGradientPaint(0, 0, 0, 1, stops, agg.GradientSpread.SpreadPad, units)
