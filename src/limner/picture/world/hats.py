"""The eight hats, in ten colours.

A hat rests on y = 0 and its brim or band reaches from x = -1 to 1; y grows downwards. Each has an outline of its own
and a rim that is dark on light hats and light on black ones, so that any hat is seen on any fur.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin
from typing import TYPE_CHECKING

from limner.picture.world.shapes import (
    Colour,
    Sheet,
    blobs,
    darker,
    ellipses,
    lighter,
    lines,
    mix,
    polygons,
    rgb,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from limner.picture.world.dice import Dice

COLOURS_AS_DRAWN = {
    "red": rgb("#d92531"),
    "orange": rgb("#f58518"),
    "yellow": rgb("#fbd927"),
    "green": rgb("#2f9e44"),
    "blue": rgb("#2563d8"),
    "purple": rgb("#7f3fb5"),
    "pink": rgb("#fb8fc0"),
    "brown": rgb("#7a4a26"),
    "black": rgb("#26262c"),
    "white": rgb("#f8f8f6"),
}
SHADE = 0.1  # how far a hat may be from its colour's own shade, towards white or ink


@dataclass(frozen=True)
class Cloth:
    """The colours that one hat is drawn in."""

    main: Colour
    low: Colour  # in the shade
    light: Colour  # of ornaments
    dark: Colour  # of bands
    rim: Colour


def cloth(colour: str, dice: Dice) -> Cloth:
    """A shade of the colour that no neighbour could be mistaken for."""
    shift = dice.between(-SHADE, SHADE)
    main = COLOURS_AS_DRAWN[colour]
    if colour == "white":
        main = darker(main, abs(shift) / 4)
        return Cloth(main, mix(main, rgb("#c9ccd6"), 0.5), rgb("#d4d8e2"), rgb("#c3c8d4"), rgb("#5d6270"))
    if colour == "black":
        main = lighter(main, abs(shift) / 2)
        return Cloth(main, darker(main, 0.4), rgb("#62656f"), rgb("#4a4c54"), rgb("#9a9ea9"))
    main = lighter(main, shift) if shift > 0 else darker(main, -shift)
    if colour == "yellow":  # in the usual shade it would be orange
        return Cloth(main, darker(main, 0.07), lighter(main, 0.62), darker(main, 0.14), darker(main, 0.58))
    return Cloth(main, darker(main, 0.16), lighter(main, 0.62), darker(main, 0.3), darker(main, 0.58))


RIM = 0.11


def _baseball_cap(sheet: Sheet, c: Cloth) -> None:
    dome = blobs(
        ((-0.84, 0.08), (-0.82, -0.4), (-0.5, -0.82), (0, -0.94), (0.5, -0.82), (0.82, -0.4), (0.84, 0.08), (0, 0.18))
    )
    peak = blobs(((-0.3, 0.1), (0.2, -0.14), (0.8, -0.22), (1.4, 0), (1.66, 0.28), (1.2, 0.3), (0.5, 0.24)))
    sheet.line(dome, c.rim, RIM * 2)
    sheet.fill(dome, c.main, below=c.low)
    sheet.line(
        lines(((-0.06, -0.92), (-0.34, -0.5), (-0.36, 0.08)), ((0.06, -0.92), (0.42, -0.5), (0.5, -0.1))), c.dark, 0.05
    )
    sheet.fill(ellipses((0, -0.95, 0.12, 0.08)), c.dark)
    sheet.line(peak, c.rim, RIM * 2)
    sheet.fill(peak, c.dark, below=c.main)


def _crown(sheet: Sheet, c: Cloth) -> None:
    body = polygons(
        ((-0.84, 0.12), (-1.0, -0.92), (-0.52, -0.42), (-0.0, -1.12), (0.52, -0.42), (1.0, -0.92), (0.84, 0.12), (0.4, 0.2), (0, 0.22), (-0.4, 0.2))
    )  # fmt: skip
    band = polygons(((-0.84, 0.12), (-0.88, -0.14), (0, -0.04), (0.88, -0.14), (0.84, 0.12), (0, 0.22)))
    knobs = ellipses((-1.0, -0.94, 0.13, 0.13), (0, -1.14, 0.14, 0.14), (1.0, -0.94, 0.13, 0.13))
    sheet.line(body, c.rim, RIM * 2)
    sheet.line(knobs, c.rim, RIM * 2)
    sheet.fill(body, c.main, below=c.low)
    sheet.fill(band, c.dark)
    sheet.fill(knobs, c.light)
    sheet.fill(ellipses((-0.5, 0.02, 0.1, 0.08), (0, 0.09, 0.11, 0.09), (0.5, 0.02, 0.1, 0.08)), c.light)


def _top_hat(sheet: Sheet, c: Cloth) -> None:
    brim = ellipses((0, 0.04, 1.12, 0.24))
    tube = polygons(
        ((-0.7, -1.34), (-0.5, -1.42), (0, -1.46), (0.5, -1.42), (0.7, -1.34), (0.62, 0), (0.3, 0.08), (0, 0.1), (-0.3, 0.08), (-0.62, 0))
    )  # fmt: skip
    band = polygons(((-0.62, -0.36), (0, -0.28), (0.62, -0.36), (0.63, -0.06), (0, 0.06), (-0.63, -0.06)))
    sheet.line(brim, c.rim, RIM * 2)
    sheet.line(tube, c.rim, RIM * 2)
    sheet.fill(brim, c.low)
    sheet.fill(tube, c.main, below=c.low)
    sheet.fill(band, c.dark)
    sheet.fill(ellipses((0, -1.34, 0.7, 0.12)), mix(c.main, c.light, 0.3))


def _beanie(sheet: Sheet, c: Cloth) -> None:
    dome = blobs(
        ((-0.86, 0), (-0.82, -0.5), (-0.5, -0.92), (0, -1.04), (0.5, -0.92), (0.82, -0.5), (0.86, 0), (0, 0.1))
    )
    cuff = blobs(
        (
            (-0.94, -0.12),
            (-0.6, -0.26),
            (0, -0.2),
            (0.6, -0.26),
            (0.94, -0.12),
            (0.92, 0.18),
            (0.5, 0.26),
            (0, 0.3),
            (-0.5, 0.26),
            (-0.92, 0.18),
        )
    )
    ball = ellipses((0, -1.16, 0.27, 0.26))
    sheet.line(dome, c.rim, RIM * 2)
    sheet.line(ball, c.rim, RIM * 2)
    sheet.fill(dome, c.main, below=c.low)
    sheet.line(
        lines(
            ((-0.2, -0.9), (-0.4, -0.24)),
            ((0.2, -0.9), (0.4, -0.24)),
            ((0, -0.96), (0, -0.2)),
            ((-0.46, -0.8), (-0.72, -0.3)),
            ((0.46, -0.8), (0.72, -0.3)),
        ),
        c.dark,
        0.06,
    )
    sheet.fill(ball, c.light)
    sheet.line(cuff, c.rim, RIM * 1.4)
    sheet.fill(cuff, mix(c.main, c.light, 0.32))


def _cowboy_hat(sheet: Sheet, c: Cloth) -> None:
    brim = blobs(
        ((-1.42, -0.42), (-1.0, -0.14), (-0.5, -0.06), (0, -0.04), (0.5, -0.06), (1.0, -0.14), (1.42, -0.42), (1.34, -0.02), (0.8, 0.24), (0, 0.32), (-0.8, 0.24), (-1.34, -0.02))
    )  # fmt: skip
    crown = blobs(
        (
            (-0.66, 0.08),
            (-0.64, -0.5),
            (-0.5, -0.94),
            (-0.26, -0.98),
            (0, -0.84),
            (0.26, -0.98),
            (0.5, -0.94),
            (0.64, -0.5),
            (0.66, 0.08),
            (0, 0.14),
        )
    )
    band = polygons(((-0.65, -0.24), (0, -0.16), (0.65, -0.24), (0.67, 0.02), (0, 0.12), (-0.67, 0.02)))
    sheet.line(crown, c.rim, RIM * 2)
    sheet.line(brim, c.rim, RIM * 2)
    sheet.fill(brim, c.low)
    sheet.fill(crown, c.main, below=c.low)
    sheet.fill(band, c.dark)
    sheet.fill(
        blobs(
            (
                (-1.42, -0.42),
                (-0.8, 0.02),
                (0, 0.1),
                (0.8, 0.02),
                (1.42, -0.42),
                (1.3, -0.02),
                (0.8, 0.22),
                (0, 0.3),
                (-0.8, 0.22),
                (-1.3, -0.02),
            )
        ),
        c.main,
    )


def _party_hat(sheet: Sheet, c: Cloth) -> None:
    cone = polygons(((0, -1.6), (0.66, 0.06), (0.36, 0.16), (0, 0.2), (-0.36, 0.16), (-0.66, 0.06)))
    ball = ellipses((0, -1.6, 0.22, 0.22))
    sheet.line(cone, c.rim, RIM * 2)
    sheet.line(ball, c.rim, RIM * 2)
    sheet.fill(cone, c.main, below=c.low)
    sheet.fill(
        ellipses(
            (-0.26, -0.14, 0.12, 0.12),
            (0.26, -0.2, 0.12, 0.12),
            (0, -0.5, 0.12, 0.12),
            (0.2, -0.8, 0.09, 0.09),
            (-0.2, -0.74, 0.1, 0.1),
            (0, -1.08, 0.09, 0.09),
        ),
        c.light,
    )
    sheet.fill(ball, c.light)


def _chef_hat(sheet: Sheet, c: Cloth) -> None:
    puff = blobs(
        ((-0.66, -0.3), (-1.06, -0.6), (-1.04, -1.02), (-0.62, -1.14), (-0.36, -1.42), (0, -1.34), (0.36, -1.42), (0.62, -1.14), (1.04, -1.02), (1.06, -0.6), (0.66, -0.3), (0, -0.2))
    )  # fmt: skip
    band = polygons(
        ((-0.68, -0.46), (0, -0.38), (0.68, -0.46), (0.7, 0.1), (0.36, 0.18), (0, 0.2), (-0.36, 0.18), (-0.7, 0.1))
    )
    sheet.line(puff, c.rim, RIM * 2)
    sheet.line(band, c.rim, RIM * 2)
    sheet.fill(puff, c.main, below=c.low)
    sheet.fill(band, c.main)
    sheet.line(
        lines(
            ((-0.38, -0.44), (-0.5, -0.84)),
            ((0.38, -0.44), (0.5, -0.84)),
            ((0, -0.4), (0, -0.86)),
            ((-0.68, -0.46), (0, -0.38), (0.68, -0.46)),
        ),
        c.dark,
        0.07,
    )


def _wizard_hat(sheet: Sheet, c: Cloth) -> None:
    brim = ellipses((0, 0.04, 1.3, 0.26))
    cone = blobs(
        (
            (-0.7, 0),
            (-0.46, -0.7),
            (-0.24, -1.3),
            (0.1, -1.72),
            (0.62, -1.66),
            (0.66, -1.5),
            (0.38, -1.42),
            (0.34, -1.1),
            (0.48, -0.6),
            (0.7, 0),
            (0, 0.12),
        )
    )
    star = polygons(_star(-0.04, -0.62, 0.27))
    sheet.line(brim, c.rim, RIM * 2)
    sheet.line(cone, c.rim, RIM * 2)
    sheet.fill(brim, c.low)
    sheet.fill(cone, c.main, below=c.low)
    sheet.fill(polygons(((-0.64, -0.2), (0, -0.12), (0.64, -0.2), (0.7, 0), (0, 0.12), (-0.7, 0))), c.dark)
    sheet.fill(star, c.light)
    sheet.fill(polygons(_star(0.14, -1.2, 0.13)), c.light)


def _star(x: float, y: float, r: float) -> tuple[tuple[float, float], ...]:
    return tuple(
        (x + (r if i % 2 == 0 else r * 0.45) * sin(i * pi / 5), y - (r if i % 2 == 0 else r * 0.45) * cos(i * pi / 5))
        for i in range(10)
    )


_HATS: dict[str, Callable[[Sheet, Cloth], None]] = {
    "baseball cap": _baseball_cap,
    "crown": _crown,
    "top hat": _top_hat,
    "beanie": _beanie,
    "cowboy hat": _cowboy_hat,
    "party hat": _party_hat,
    "chef hat": _chef_hat,
    "wizard hat": _wizard_hat,
}


def draw_hat(sheet: Sheet, hat: str, colour: str, dice: Dice) -> None:
    """Add a hat to the sheet, at its place."""
    _HATS[hat](sheet, cloth(colour, dice))
