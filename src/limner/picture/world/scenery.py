"""The eight places and four hours: what is behind the animals, drawn in a frame 100 units wide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from limner.picture.world.figure import Light
from limner.picture.world.shapes import Colour, Sheet, blobs, darker, ellipses, lighter, loose_polygons, mix, polygons, rgb

if TYPE_CHECKING:
    from collections.abc import Callable

    from limner.picture.world.dice import Dice


@dataclass(frozen=True)
class Hour:
    """The light of a time of day; the scenery takes more of it than the animals, so that hats keep their colours."""

    top: Colour
    low: Colour
    tint: Colour
    scenery: float
    animals: float

    def on(self, code: str, dim: float = 0.0) -> Colour:
        """A colour of the scenery in this light."""
        return mix(rgb(code), self.tint, min(1.0, self.scenery + dim))


HOURS = {
    "morning": Hour(rgb("#a9d6f2"), rgb("#fdeccb"), rgb("#ffe6bf"), 0.16, 0.02),
    "noon": Hour(rgb("#5db5ef"), rgb("#cdeafa"), rgb("#ffffff"), 0.04, 0.0),
    "sunset": Hour(rgb("#6a5a9c"), rgb("#ffab6b"), rgb("#e8703c"), 0.34, 0.05),
    "night": Hour(rgb("#141a40"), rgb("#3a4a82"), rgb("#1b2350"), 0.6, 0.1),
}

WHOLE = ((-2, -2), (102, -2), (102, 102), (-2, 102))


def light_of(time: str) -> Light:
    """What the hour does to an animal."""
    hour = HOURS[time]
    return Light(hour.tint, hour.animals)


def draw_scenery(sheet: Sheet, background: str, time: str, dice: Dice) -> None:
    """Add the whole background."""
    hour = HOURS[time]
    _PLACES[background](sheet, hour, dice, time)


def _sky(sheet: Sheet, hour: Hour, dice: Dice, time: str, horizon: float) -> None:
    sheet.fill(polygons(((-2, -2), (102, -2), (102, 70), (-2, 70))), hour.top, below=hour.low)
    x = dice.between(8, 92)
    _sun(sheet, time, x, {"morning": 0.7, "noon": 0.2, "sunset": 0.88, "night": 0.24}[time] * horizon, dice)
    if time == "night":
        return
    from limner.picture.world.shapes import at

    cloud = mix((1, 1, 1), hour.tint, hour.scenery * 0.6)
    for _ in range(2):
        sheet.fill(_cloud(), cloud, alpha=0.85, place=at(dice.between(0, 100), dice.between(6, 26), size=dice.between(0.7, 1.3)))


def _cloud():  # type: ignore[no-untyped-def]
    return ellipses((0, 0, 12, 4.4), (-5, -3, 6, 5), (4, -3.6, 7, 6))


def _sun(sheet: Sheet, time: str, x: float, y: float, dice: Dice) -> None:
    if time == "night":
        from limner.picture.world.shapes import at

        sheet.fill(_STARS(), (1.0, 0.98, 0.85), place=at(dice.between(-8, 8), dice.between(-6, 6)))
        sheet.fill(ellipses((x, y, 7, 7)), rgb("#fbf3cf"))
        sheet.fill(ellipses((x - 2, y - 1, 1.4, 1.3), (x + 2, y + 2, 1.8, 1.6)), rgb("#e9dfb2"))
        return
    colour = {"morning": rgb("#fff2b8"), "noon": rgb("#fff3a0"), "sunset": rgb("#ff7a45")}[time]
    size = {"morning": 7.0, "noon": 6.5, "sunset": 10.0}[time]
    sheet.fill(ellipses((x, y, size * 1.7, size * 1.7)), lighter(colour, 0.3), alpha=0.35)
    sheet.fill(ellipses((x, y, size, size)), colour)


def _STARS():  # type: ignore[no-untyped-def]  # noqa: N802
    return ellipses(*((7 + 13.7 * i % 90, 6 + (i * 29) % 44, 0.6 + 0.25 * (i % 3), 0.6 + 0.25 * (i % 3)) for i in range(16)))


def _ground(sheet: Sheet, y: float, colour: Colour, wave: float = 0.0) -> None:
    points = ((-4, y), (20, y - wave), (50, y + wave * 0.4), (80, y - wave * 0.8), (104, y), (104, 104), (-4, 104))
    sheet.fill(blobs(points) if wave else polygons(points), colour, below=darker(colour, 0.18))


def _tree(sheet: Sheet, hour: Hour, x: float, y: float, size: float, code: str = "#4c8f3f") -> None:
    from limner.picture.world.shapes import at

    place = at(x, y, size=size)
    sheet.fill(polygons(((-1.4, 0), (1.4, 0), (1, -14), (-1, -14))), hour.on("#7a5438"), place=place)
    sheet.fill(ellipses((0, -20, 9, 9), (-6, -15, 6, 6), (6, -15, 6, 6)), hour.on(code), below=darker(hour.on(code), 0.2), place=place)


def _meadow(sheet: Sheet, hour: Hour, dice: Dice, time: str) -> None:
    _sky(sheet, hour, dice, time, 56)
    _ground(sheet, 56 + dice.between(-3, 3), hour.on("#8cc66a"), 7)
    _ground(sheet, 68, hour.on("#6fb552"), 4)
    from limner.picture.world.shapes import at

    for code in ("#ffffff", "#f6d64a", "#e985b5"):
        sheet.fill(_flowers(), hour.on(code), place=at(dice.between(-10, 10), dice.between(-4, 4), flip=dice.chance(0.5)) @ at(0, 0))


def _flowers():  # type: ignore[no-untyped-def]
    return ellipses(*((-100 + i * 17.3, 74 + (i * 37) % 25, 1.1, 1.0) for i in range(13)))


def _beach(sheet: Sheet, hour: Hour, dice: Dice, time: str) -> None:
    _sky(sheet, hour, dice, time, 50)
    y = 46 + dice.between(-3, 3)
    sheet.fill(polygons(((-2, y), (102, y), (102, 76), (-2, 76))), hour.on("#3aa3cf"), below=hour.on("#8fd6df"))
    sheet.fill(blobs(((-4, 67), (20, 65), (50, 68), (80, 65), (104, 67), (104, 71), (50, 72), (-4, 71))), hour.on("#eef9f7"))
    _ground(sheet, 70, hour.on("#f2d9a0"), 2)


def _city(sheet: Sheet, hour: Hour, dice: Dice, time: str) -> None:
    _sky(sheet, hour, dice, time, 50)
    x = -4.0
    codes = ("#c98b76", "#8f9bb0", "#d8b48a", "#9c88a8", "#b7c0a0", "#c7a9a0")
    lit = rgb("#ffdf85") if time in ("night", "sunset") else hour.on("#dcebf5")
    at_code = int(dice.random() * 6)
    windows = []
    while x < 100:
        width, top = dice.between(14, 22), dice.between(12, 38)
        sheet.fill(loose_polygons(((x, top), (x + width, top), (x + width, 80), (x, 80))), hour.on(codes[at_code % 6]))
        for row in range(4):
            for column in (0.2, 0.6):
                wx, wy = x + width * column, top + 5 + row * 11
                windows.append(((wx, wy), (wx + width * 0.22, wy), (wx + width * 0.22, wy + 6), (wx, wy + 6)))
        x += width + dice.between(0, 1.5)
        at_code += 1
    _fill_once(sheet, tuple(windows), lit)
    sheet.fill(polygons(((-2, 70), (102, 70), (102, 78), (-2, 78))), hour.on("#c9c4bd"))
    sheet.fill(polygons(((-2, 78), (102, 78), (102, 102), (-2, 102))), hour.on("#7d7f88"))
    sheet.fill(polygons(*(((i, 88), (i + 11, 88), (i + 11, 90), (i, 90)) for i in range(-5, 100, 22))), hour.on("#f4efe0"))


def _fill_once(sheet: Sheet, parts, colour: Colour) -> None:  # type: ignore[no-untyped-def]
    """Outlines that are different in every picture are not kept."""
    sheet.fill(loose_polygons(*parts), colour)


def _forest(sheet: Sheet, hour: Hour, dice: Dice, time: str) -> None:
    _sky(sheet, hour, dice, time, 50)
    sheet.fill(blobs(((-6, 40), (10, 26), (26, 36), (44, 22), (60, 34), (78, 24), (106, 36), (106, 80), (-6, 80))), hour.on("#6c9d70"))
    _ground(sheet, 66, hour.on("#5d8a48"), 2)
    for x in (4, 24, 48, 74, 97):
        _pine(sheet, hour, x + dice.between(-6, 6), dice.between(68, 76), dice.between(0.9, 1.35))


def _pine(sheet: Sheet, hour: Hour, x: float, y: float, size: float) -> None:
    from limner.picture.world.shapes import at

    place = at(x, y, size=size)
    sheet.fill(polygons(((-1.6, 0), (1.6, 0), (1.4, -12), (-1.4, -12))), hour.on("#6b4a33"), place=place)
    green = hour.on("#2f6b45")
    sheet.fill(polygons(((-10, -8), (10, -8), (0, -26)), ((-8, -19), (8, -19), (0, -35)), ((-6, -29), (6, -29), (0, -43))), lighter(green, 0.12), below=green, place=place)


def _mountains(sheet: Sheet, hour: Hour, dice: Dice, time: str) -> None:
    _sky(sheet, hour, dice, time, 40)
    from limner.picture.world.shapes import at

    for x, size in ((dice.between(12, 30), 1.0), (dice.between(70, 92), 1.15), (dice.between(42, 60), 0.8)):
        place = at(x, 66, size=size)
        sheet.fill(polygons(((-34, 0), (0, -48), (34, 0))), hour.on("#8796ae"), below=hour.on("#6a7a96"), place=place)
        sheet.fill(polygons(((-13.5, -29), (0, -48), (13.5, -29), (8, -32), (4, -26), (-1, -32), (-6, -25), (-9, -31))), hour.on("#ffffff"), place=place)
    _ground(sheet, 64, hour.on("#eef3f8"), 4)
    sheet.fill(_flakes(), hour.on("#ffffff"), place=at(dice.between(-6, 6), dice.between(-6, 6)))


def _flakes():  # type: ignore[no-untyped-def]
    return ellipses(*(((i * 23.7) % 100, (i * 41.3) % 96, 0.8, 0.8) for i in range(22)))


def _desert(sheet: Sheet, hour: Hour, dice: Dice, time: str) -> None:
    _sky(sheet, hour, dice, time, 52)
    _ground(sheet, 54 + dice.between(-2, 2), hour.on("#e3b26a"), 6)
    _ground(sheet, 66, hour.on("#edc27d"), 4)
    from limner.picture.world.shapes import at

    for x in (dice.between(4, 22), dice.between(78, 96)):
        place = at(x, dice.between(66, 76), size=dice.between(0.8, 1.2), flip=dice.chance(0.5))
        sheet.fill(_cactus(), hour.on("#4f9a5b"), below=darker(hour.on("#4f9a5b"), 0.25), place=place)


def _cactus():  # type: ignore[no-untyped-def]
    return blobs(
        ((-3, 0), (-3, -22), (0, -26), (3, -22), (3, 0)),
        ((-2, -8), (-9, -9), (-10, -17), (-8, -19), (-6.4, -17), (-6, -13), (-2, -12)),
        ((2, -5), (8, -6), (9.4, -14), (7.6, -16), (6, -14), (5.4, -10), (2, -9)),
    )


def _room(sheet: Sheet, hour: Hour, dice: Dice, time: str) -> None:
    wall = {"night": 0.25, "sunset": 0.14}.get(time, 0.03)
    paint = mix(rgb(dice.pick(("#f3dcc0", "#cfe0dc", "#e9d3dc", "#dfe0c6"))), HOURS[time].tint, wall)
    sheet.fill(polygons(WHOLE), paint, below=darker(paint, 0.1))
    x = dice.pick((10.0, 62.0))
    frame = mix(rgb("#fbf7ef"), HOURS[time].tint, wall)
    sheet.fill(polygons(((x - 2, 8), (x + 30, 8), (x + 30, 48), (x - 2, 48))), frame)
    sheet.fill(polygons(((x, 10), (x + 28, 10), (x + 28, 46), (x, 46))), hour.top, below=hour.low)
    _sun(sheet, time, x + dice.between(8, 20), {"morning": 38, "noon": 16, "sunset": 40, "night": 20}[time], dice) if time != "night" else sheet.fill(ellipses((x + 14, 22, 6, 6)), rgb("#fbf3cf"))
    sheet.fill(polygons(((x + 13, 10), (x + 15, 10), (x + 15, 46), (x + 13, 46)), ((x, 27), (x + 28, 27), (x + 28, 29), (x, 29))), frame)
    sheet.fill(polygons(((-2, 72), (102, 72), (102, 102), (-2, 102))), mix(rgb("#b98a5c"), HOURS[time].tint, wall), below=mix(rgb("#94673f"), HOURS[time].tint, wall))
    sheet.fill(polygons(((-2, 70), (102, 70), (102, 73), (-2, 73))), frame)
    sofa = mix(rgb(dice.pick(("#7d93b8", "#a7788c", "#7fa08a"))), HOURS[time].tint, wall)
    s = 78.0 if x < 50 else 22.0
    sheet.fill(polygons(((s - 24, 48), (s + 24, 48), (s + 24, 78), (s - 24, 78))), sofa)
    sheet.fill(blobs(((s - 28, 56), (s - 20, 56), (s - 20, 80), (s - 28, 80)), ((s + 20, 56), (s + 28, 56), (s + 28, 80), (s + 20, 80)), ((s - 22, 66), (s + 22, 66), (s + 22, 80), (s - 22, 80))), lighter(sofa, 0.14))
    sheet.fill(ellipses((50, 92, 46, 9)), mix(rgb(dice.pick(("#c76b5a", "#5f8fa8", "#d3a552"))), HOURS[time].tint, wall))


def _garden(sheet: Sheet, hour: Hour, dice: Dice, time: str) -> None:
    _sky(sheet, hour, dice, time, 50)
    _tree(sheet, hour, dice.between(4, 24), 64, dice.between(1.0, 1.3))
    _tree(sheet, hour, dice.between(78, 98), 64, dice.between(1.0, 1.3), "#5f9d4a")
    fence = hour.on("#fbf6ec")
    pales = tuple(((i, 44), (i + 2.5, 40.5), (i + 5, 44), (i + 5, 68), (i, 68)) for i in range(-3, 102, 8))
    sheet.fill(polygons(((-2, 48), (102, 48), (102, 51), (-2, 51)), ((-2, 60), (102, 60), (102, 63), (-2, 63))), darker(fence, 0.1))
    sheet.fill(polygons(*pales), fence)
    _ground(sheet, 67, hour.on("#79bd58"), 1)
    from limner.picture.world.shapes import at

    for code in ("#e8556d", "#f7c948", "#b678d8"):
        place = at(dice.between(-6, 6), dice.between(-2, 3))
        sheet.fill(_bed(0 if code == "#e8556d" else 5 if code == "#f7c948" else 10), hour.on(code), place=place)


def _bed(shift: float):  # type: ignore[no-untyped-def]
    return ellipses(*((-4 + shift + i * 15, 71 + (i * 3 + shift) % 5, 2.0, 1.9) for i in range(8)))


_PLACES: dict[str, Callable[[Sheet, Hour, Dice, str], None]] = {
    "meadow": _meadow,
    "beach": _beach,
    "city street": _city,
    "forest": _forest,
    "snowy mountains": _mountains,
    "desert": _desert,
    "living room": _room,
    "garden": _garden,
}
