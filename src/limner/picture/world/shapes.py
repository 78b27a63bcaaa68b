"""Shapes, colours, and the canvas that turns them into pixels.

Everything is drawn from a flat list of ``Shape``s, each with its own place and the number of the part that it belongs
to; the picture and the masks are two renderings of one list. Outlines are made once and kept: two animals of a kind
differ by their places, sizes and colours, not by their points, which is what makes drawing fast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from limner.core.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Point = tuple[float, float]
Points = tuple[Point, ...]
Colour = tuple[float, float, float]  # red, green, blue in [0, 1]

SCENERY = 0
_IDS = 40  # grey levels between two parts in the picture of the parts


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
    return mix(colour, (1.0, 1.0, 1.0), share)


def darker(colour: Colour, share: float) -> Colour:
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


@dataclass(frozen=True, eq=False)
class Outline:
    """A path of the drawing library and the box that it surely lies in."""

    path: Any
    box: tuple[float, float, float, float]


def _outline(path: Any, points: Sequence[Point]) -> Outline:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return Outline(path, (min(xs), min(ys), max(xs), max(ys)))


def _add_smooth(path: Any, points: Points, closed: bool) -> None:
    """A Catmull-Rom spline through the points."""
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


@cache
def blobs(*parts: Points) -> Outline:
    """Closed smooth curves through points; where they overlap they are one shape."""
    path = _library().Path()
    for points in parts:
        _add_smooth(path, _clockwise(points), closed=True)
    return _outline(path, [point for points in parts for point in points])


@cache
def polygons(*parts: Points) -> Outline:
    """Closed shapes with straight sides."""
    path = _library().Path()
    for points in parts:
        points = _clockwise(points)
        path.move_to(*points[0])
        for point in points[1:]:
            path.line_to(*point)
        path.close()
    return _outline(path, [point for points in parts for point in points])


@cache
def lines(*parts: Points) -> Outline:
    """Open smooth curves, to be stroked."""
    path = _library().Path()
    for points in parts:
        _add_smooth(path, points, closed=False)
    return _outline(path, [point for points in parts for point in points])


@cache
def ellipses(*parts: tuple[float, float, float, float]) -> Outline:
    """Ellipses, each (x, y, half width, half height)."""
    path = _library().Path()
    for part in parts:
        path.ellipse(*part)
    return _outline(path, [p for x, y, w, h in parts for p in ((x - w, y - h), (x + w, y + h))])


@cache
def mirrored(points: Points) -> Points:
    """A whole outline from its right half, given from top to bottom; points with x = 0 are on the axis."""
    return points + tuple((-x, y) for x, y in reversed(points) if x != 0)


@cache
def other_side(points: Points) -> Points:
    return tuple((-x, y) for x, y in points)


@cache
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
    """

    outline: Outline
    place: Place
    colour: Colour
    width: float | None = None
    alpha: float = 1.0
    below: Colour | None = None
    part: int = SCENERY
    clip: Outline | None = None


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
        self, outline: Outline, colour: Colour, width: float, *, alpha: float = 1.0, place: Place | None = None
    ) -> None:
        where = self.place if place is None else self.place @ place
        self.shapes.append(Shape(outline, where, colour, width, alpha, None, self.part, None))

    def box(self, parts: Sequence[int]) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the shapes of these parts, lines' widths not counted."""
        xs: list[float] = []
        ys: list[float] = []
        for shape in self.shapes:
            if shape.part in parts:
                left, top, right, bottom = shape.outline.box
                for corner in ((left, top), (right, top), (left, bottom), (right, bottom)):
                    x, y = shape.place.apply(*corner)
                    xs.append(x)
                    ys.append(y)
        return min(xs), min(ys), max(xs), max(ys)


class _States:
    """The library's drawing states, which are dear to make and few."""

    def __init__(self) -> None:
        self._kept: dict[tuple[float | None, bool], Any] = {}

    def get(self, width: float | None, smooth: bool) -> Any:
        key = (width, smooth)
        state = self._kept.get(key)
        if state is None:
            agg = _library()
            if width is None:
                state = agg.GraphicsState(drawing_mode=agg.DrawingMode.DrawFill, anti_aliased=smooth)
            else:
                state = agg.GraphicsState(
                    drawing_mode=agg.DrawingMode.DrawStroke,
                    anti_aliased=smooth,
                    line_width=width,
                    line_join=agg.LineJoin.JoinRound,
                    line_cap=agg.LineCap.CapRound,
                )
            self._kept[key] = state
        return state


_STATES = _States()


def render(shapes: Sequence[Shape], size: int) -> NDArray[np.uint8]:
    """The picture: (size, size, 3), red, green and blue; the frame is 100 units wide."""
    agg = _library()
    pixels = np.zeros((size, size, 4), np.uint8)
    canvas = agg.CanvasRGBA32(pixels)
    scale = size / 100
    clipped: dict[int, Any] = {}
    for shape in shapes:
        place = _transform(shape.place, scale)
        colour, below = shape.colour, shape.below
        if below is None:
            paint = agg.SolidPaint(*colour, shape.alpha)
        else:
            stops = ((0.0, *colour, shape.alpha), (1.0, *below, shape.alpha))
            paint = agg.LinearGradientPaint(
                0, 0, 0, 1, stops, agg.GradientSpread.SpreadPad, agg.GradientUnits.ObjectBoundingBox
            )
        if shape.width is not None:
            canvas.draw_shape(shape.outline.path, place, _STATES.get(shape.width, True), stroke=paint)
        elif shape.clip is None:
            canvas.draw_shape(shape.outline.path, place, _STATES.get(None, True), fill=paint)
        else:
            canvas.draw_shape(
                shape.outline.path, place, _stencil(clipped, shape, place, size), fill=paint
            )
    return np.ascontiguousarray(pixels[:, :, :3])


def _stencil(kept: dict[int, Any], shape: Shape, place: Any, size: int) -> Any:
    """The drawing state that draws within the shape's clip; neighbours in the list mostly share it."""
    agg = _library()
    key = (id(shape.clip), shape.place)
    if kept.get(0) == key:
        return kept[1]
    mask = np.zeros((size, size), np.uint8)
    canvas = agg.CanvasG8(mask)
    assert shape.clip is not None
    canvas.draw_shape(shape.clip.path, place, _STATES.get(None, True), fill=agg.SolidPaint(1, 1, 1))
    state = agg.GraphicsState(
        drawing_mode=agg.DrawingMode.DrawFill, stencil=agg.Image(mask, agg.PixelFormat.Gray8)
    )
    kept[0], kept[1] = key, state
    return state


def render_parts(shapes: Sequence[Shape], size: int) -> NDArray[np.uint8]:
    """The number of the part that is seen at each pixel, (size, size)."""
    agg = _library()
    pixels = np.zeros((size, size), np.uint8)
    canvas = agg.CanvasG8(pixels)
    scale = size / 100
    for shape in shapes:
        if shape.clip is None and shape.alpha == 1:  # what is clipped lies on its own part, and shade hides nothing
            grey = shape.part * _IDS / 255
            paint = agg.SolidPaint(grey, grey, grey)
            state = _STATES.get(shape.width, False)
            how = {"fill": paint} if shape.width is None else {"stroke": paint}
            canvas.draw_shape(shape.outline.path, _transform(shape.place, scale), state, **how)
    return ((pixels.astype(np.uint16) + _IDS // 2) // _IDS).astype(np.uint8)


def _transform(place: Place, scale: float) -> Any:
    return _library().Transform(
        place.a * scale, place.b * scale, place.c * scale, place.d * scale, place.e * scale, place.f * scale
    )
