"""The eight places and four hours: what is behind the animals, in a frame 100 units wide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from limner.picture.world.figure import Light
from limner.picture.world.shapes import (
    Colour,
    Sheet,
    at,
    blobs,
    darker,
    ellipses,
    lighter,
    loose_polygons,
    mix,
    polygons,
    rgb,
)

if TYPE_CHECKING:
    from limner.picture.world.dice import Dice
    from limner.picture.world.shapes import Outline, Points


@dataclass(frozen=True)
class Hour:
    """The light of a time of day; the scenery takes more of it than the animals, so that hats keep their colours."""

    sky: tuple[Colour, Colour]  # at the top and at the horizon
    tint: Colour
    scenery: float
    indoors: float
    animals: float
    sun: tuple[Colour, float, float]  # its colour, half width, and height above the horizon, 1 at the top

    def on(self, code: str) -> Colour:
        """A colour of the scenery in this light."""
        return mix(rgb(code), self.tint, self.scenery)

    def inside(self, code: str) -> Colour:
        """A colour of a room in this light."""
        return mix(rgb(code), self.tint, self.indoors)


HOURS = {
    "morning": Hour((rgb("#a9d6f2"), rgb("#fdeccb")), rgb("#ffe6bf"), 0.16, 0.03, 0.02, (rgb("#fff2b8"), 7.0, 0.3)),
    "noon": Hour((rgb("#5db5ef"), rgb("#cdeafa")), rgb("#ffffff"), 0.04, 0.03, 0.0, (rgb("#fff3a0"), 6.5, 0.8)),
    "sunset": Hour((rgb("#6a5a9c"), rgb("#ffab6b")), rgb("#e8703c"), 0.34, 0.14, 0.05, (rgb("#ff7a45"), 10.0, 0.12)),
    "night": Hour((rgb("#141a40"), rgb("#3a4a82")), rgb("#1b2350"), 0.6, 0.28, 0.1, (rgb("#fbf3cf"), 7.0, 0.76)),
}


def light_of(time: str) -> Light:
    """What the hour does to an animal."""
    hour = HOURS[time]
    return Light(hour.tint, hour.animals)


def draw_scenery(sheet: Sheet, background: str, time: str, dice: Dice) -> None:
    """Add the whole background."""
    place = _Place(sheet, time, dice)
    match background:
        case "meadow":
            place.meadow()
        case "beach":
            place.beach()
        case "city street":
            place.city_street()
        case "forest":
            place.forest()
        case "snowy mountains":
            place.snowy_mountains()
        case "desert":
            place.desert()
        case "living room":
            place.living_room()
        case "garden":
            place.garden()
        case _:
            raise AssertionError(background)


def draw_treetop(sheet: Sheet, time: str, x: float) -> None:
    """The lower edge of the leaves above a trunk that stands at x."""
    leaf = HOURS[time].on("#5a9a45")
    place = at(x, 0)
    sheet.rim(_TREETOP, darker(leaf, 0.5), 1.6, place=place)
    sheet.fill(_TREETOP, leaf, below=darker(leaf, 0.2), place=place)
    sheet.fill(_TREETOP_LIGHT, lighter(leaf, 0.16), place=place)


class _Place:
    """Draws one background at one hour."""

    def __init__(self, sheet: Sheet, time: str, dice: Dice) -> None:
        self.sheet, self.dice = sheet, dice
        self.hour, self.night = HOURS[time], time == "night"
        self.lamps = time in ("night", "sunset")

    # ── the eight ────────────────────────────────────────────────────────────────────────────────────────

    def meadow(self) -> None:
        self._sky(56)
        self._ground(56 + self.dice.between(-3, 3), "#8cc66a", 7)
        self._ground(68, "#6fb552", 4)
        self._flowers(_FLOWERS, ("#ffffff", "#f6d64a", "#e985b5"), 10, 4)

    def beach(self) -> None:
        sheet, hour, dice = self.sheet, self.hour, self.dice
        horizon = 46 + dice.between(-3, 3)
        self._sky(horizon)
        sheet.fill(_SEA, hour.on("#3aa3cf"), below=hour.on("#8fd6df"), place=at(0, horizon))
        boat = at(dice.between(10, 90), horizon + 2, size=dice.between(0.8, 1.2), flip=dice.chance(0.5))
        sheet.fill(_SAILS, hour.on("#ffffff"), place=boat)
        sheet.fill(_HULL, hour.on("#9c5a3c"), place=boat)
        sheet.fill(_FOAM, hour.on("#eef9f7"))
        self._ground(70, "#f2d9a0", 2)
        sheet.fill(_SHELLS, hour.on("#e58b6f"), place=at(dice.between(-6, 6), dice.between(-2, 2)))

    def city_street(self) -> None:
        sheet, hour, dice = self.sheet, self.hour, self.dice
        self._sky(50)
        left = -4.0
        windows: list[Points] = []
        for code in dice.shuffled(("#c98b76", "#8f9bb0", "#d8b48a", "#9c88a8", "#b7c0a0", "#c7a9a0", "#a8937c")):
            width, top = dice.between(15, 22), dice.between(12, 38)
            sheet.fill(loose_polygons(_box(left, top, left + width, 80)), hour.on(code))
            windows += (
                _box(x, y, x + width * 0.22, y + 6)
                for x in (left + width * 0.2, left + width * 0.6)
                for y in (top + 5, top + 16, top + 27, top + 38)
            )
            left += width + dice.between(0, 1.5)
        sheet.fill(loose_polygons(*windows), rgb("#ffdf85") if self.lamps else hour.on("#dcebf5"))
        sheet.fill(_PAVEMENT, hour.on("#c9c4bd"))
        sheet.fill(_STREET, hour.on("#7d7f88"))
        sheet.fill(_STREET_LINES, hour.on("#f4efe0"))

    def forest(self) -> None:
        self._sky(50)
        self.sheet.fill(_FAR_TREES, self.hour.on("#6c9d70"))
        self._ground(66, "#5d8a48", 2)
        for x in (4, 24, 48, 74, 97):
            self._pine(x + self.dice.between(-6, 6), self.dice.between(68, 76), self.dice.between(0.9, 1.35))

    def snowy_mountains(self) -> None:
        sheet, hour, dice = self.sheet, self.hour, self.dice
        self._sky(50)
        for low, high, size in ((12, 30, 1.0), (70, 92, 1.15), (42, 60, 0.8)):
            place = at(dice.between(low, high), 66, size=size)
            sheet.fill(_MOUNTAIN, hour.on("#8796ae"), below=hour.on("#6a7a96"), place=place)
            sheet.fill(_SNOWCAP, hour.on("#ffffff"), place=place)
        self._ground(64, "#f2f6fb", 4, shade=0.1)
        sheet.fill(_FLAKES, hour.on("#ffffff"), place=at(dice.between(-6, 6), dice.between(-6, 6)))

    def desert(self) -> None:
        dice = self.dice
        self._sky(54)
        self._ground(54 + dice.between(-2, 2), "#e3b26a", 6)
        self._ground(66, "#edc27d", 4)
        green = self.hour.on("#4f9a5b")
        for x in (dice.between(4, 22), dice.between(78, 96)):
            place = at(x, dice.between(66, 76), size=dice.between(0.8, 1.2), flip=dice.chance(0.5))
            self.sheet.fill(_CACTUS, green, below=darker(green, 0.25), place=place)

    def living_room(self) -> None:
        sheet, hour, dice = self.sheet, self.hour, self.dice
        wall = hour.inside(dice.pick(("#f3dcc0", "#cfe0dc", "#e9d3dc", "#dfe0c6")))
        sheet.fill(_ALL, wall, below=darker(wall, 0.1))
        left = dice.chance(0.5)
        frame = hour.inside("#fbf7ef")
        window = at(8 if left else 60, 8)
        sheet.fill(_WINDOW, frame, place=window)
        sheet.fill(_PANE, hour.sky[0], below=hour.sky[1], place=window)
        colour, size, height = hour.sun
        sheet.fill(_DISC, colour, place=window @ at(9 + 16 * dice.random(), 32 - 24 * height, size=size * 0.7))
        sheet.fill(_BARS, frame, place=window)
        sheet.fill(_FLOOR, hour.inside("#b98a5c"), below=hour.inside("#94673f"))
        sheet.fill(_SKIRTING, frame)
        sofa = hour.inside(dice.pick(("#7d93b8", "#a7788c", "#7fa08a")))
        place = at(78 if left else 22, 0)
        sheet.fill(_SOFA_BACK, sofa, place=place)
        sheet.fill(_SOFA_SEAT, lighter(sofa, 0.14), place=place)
        sheet.fill(_RUG, hour.inside(dice.pick(("#c76b5a", "#5f8fa8", "#d3a552"))))

    def garden(self) -> None:
        sheet, dice = self.sheet, self.dice
        self._sky(50)
        self._tree(dice.between(4, 24), "#4c8f3f")
        self._tree(dice.between(78, 98), "#5f9d4a")
        fence = self.hour.on("#fbf6ec")
        sheet.fill(_RAILS, darker(fence, 0.1))
        sheet.fill(_PALES, fence)
        self._ground(67, "#79bd58", 1)
        self._flowers(_BED, ("#e8556d", "#f7c948", "#b678d8"), 6, 3)

    # ── what several share ───────────────────────────────────────────────────────────────────────────────

    def _sky(self, horizon: float) -> None:
        sheet, dice, hour = self.sheet, self.dice, self.hour
        sheet.fill(_SKY, hour.sky[0], below=hour.sky[1])
        colour, size, height = hour.sun
        sun = at(dice.between(8, 92), horizon * (1 - height), size=size)
        if self.night:
            sheet.fill(_STARS, (1.0, 0.98, 0.85), place=at(dice.between(-8, 8), dice.between(-6, 6)))
            sheet.fill(_DISC, colour, place=sun)
            sheet.fill(_CRATERS, darker(colour, 0.1), place=sun)
            return
        sheet.fill(_DISC, lighter(colour, 0.3), alpha=0.35, place=sun @ at(0, 0, size=1.7))
        sheet.fill(_DISC, colour, place=sun)
        cloud = mix((1, 1, 1), hour.tint, hour.scenery * 0.6)
        x = dice.between(4, 46)
        for shift in (0, dice.between(40, 56)):
            sheet.fill(_CLOUD, cloud, alpha=0.88, place=at(x + shift, dice.between(6, 26), size=dice.between(0.7, 1.3)))

    def _ground(self, y: float, code: str, hills: float, shade: float = 0.18) -> None:
        colour = self.hour.on(code)
        self.sheet.fill(_ground(hills), colour, below=darker(colour, shade), place=at(0, y))

    def _flowers(self, at_first: tuple[tuple[float, float], ...], codes: tuple[str, ...], x: float, y: float) -> None:
        for index, code in enumerate(codes):
            place = at(self.dice.between(-x, x), self.dice.between(-y, y))
            spots = tuple((fx + 5 * index, fy, 1.4, 1.3) for fx, fy in at_first)
            self.sheet.fill(ellipses(*spots), self.hour.on(code), place=place)

    def _tree(self, x: float, code: str) -> None:
        place = at(x, 64, size=self.dice.between(1.0, 1.3))
        leaf = self.hour.on(code)
        self.sheet.fill(_SMALL_TRUNK, self.hour.on("#7a5438"), place=place)
        self.sheet.fill(_SMALL_CROWN, leaf, below=darker(leaf, 0.2), place=place)

    def _pine(self, x: float, y: float, size: float) -> None:
        place = at(x, y, size=size)
        green = self.hour.on("#2f6b45")
        self.sheet.fill(_PINE_TRUNK, self.hour.on("#6b4a33"), place=place)
        self.sheet.fill(_PINE, lighter(green, 0.12), below=green, place=place)


# ── outlines ─────────────────────────────────────────────────────────────────────────────────────────────


def _box(left: float, top: float, right: float, bottom: float) -> Points:
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def _ground(hills: float) -> Outline:
    return blobs(
        ((-4, 0), (20, -hills), (50, hills * 0.4), (80, -hills * 0.8), (104, 0), (110, 30), (104, 64), (-4, 64), (-10, 30))
    )  # fmt: skip


_ALL = polygons(_box(-2, -2, 102, 102))
_SKY = polygons(_box(-2, -2, 102, 70))
_DISC = ellipses((0, 0, 1, 1))
_CRATERS = ellipses((-0.3, -0.14, 0.2, 0.18), (0.3, 0.3, 0.26, 0.22))
_STARS = ellipses(
    *(((i * 61.8) % 106 - 3, (i * 27.3) % 52, 0.5 + 0.2 * (i % 3), 0.5 + 0.2 * (i % 3)) for i in range(18))
)
_CLOUD = ellipses((0, 0, 12, 4.4), (-5, -3, 6, 5), (4, -3.6, 7, 6))
_FLOWERS = tuple((-8 + (i * 31.7) % 118, 73 + (i * 7.9) % 25) for i in range(11))
_BED = tuple((-4 + i * 15, 72 + (i * 3) % 5) for i in range(8))
_SEA = polygons(_box(-2, 0, 102, 32))
_FOAM = blobs(((-4, 67), (20, 65), (50, 68), (80, 65), (104, 67), (104, 71), (50, 72), (-4, 71)))
_SAILS = polygons(((0.6, -13), (0.6, -2), (8, -2)), ((-0.6, -11), (-0.6, -2), (-6, -2)))
_HULL = polygons(((-7, -1), (9, -1), (6, 2.6), (-4.6, 2.6)))
_SHELLS = ellipses(*((6 + i * 23, 78 + (i * 7) % 17, 1.7, 1.2) for i in range(5)))
_PAVEMENT = polygons(_box(-2, 70, 102, 78))
_STREET = polygons(_box(-2, 78, 102, 102))
_STREET_LINES = polygons(*(_box(i, 88, i + 11, 90) for i in range(-5, 100, 22)))
_FAR_TREES = blobs(((-6, 40), (10, 26), (26, 36), (44, 22), (60, 34), (78, 24), (106, 36), (106, 80), (-6, 80)))
_PINE_TRUNK = polygons(((-1.6, 0), (1.6, 0), (1.4, -12), (-1.4, -12)))
_PINE = polygons(((-10, -8), (10, -8), (0, -26)), ((-8, -19), (8, -19), (0, -35)), ((-6, -29), (6, -29), (0, -43)))
_MOUNTAIN = polygons(((-34, 0), (0, -48), (34, 0)))
_SNOWCAP = polygons(((-13.5, -29), (0, -48), (13.5, -29), (8, -32), (4, -26), (-1, -32), (-6, -25), (-9, -31)))
_FLAKES = ellipses(*(((i * 23.7) % 100, (i * 41.3) % 96, 0.8, 0.8) for i in range(22)))
_CACTUS = blobs(
    ((-3, 0), (-3, -22), (0, -26), (3, -22), (3, 0)),
    ((-2, -8), (-9, -9), (-10, -17), (-8, -19), (-6.4, -17), (-6, -13), (-2, -12)),
    ((2, -5), (8, -6), (9.4, -14), (7.6, -16), (6, -14), (5.4, -10), (2, -9)),
)
_WINDOW = polygons(_box(0, 0, 32, 40))
_PANE = polygons(_box(2, 2, 30, 38))
_BARS = polygons(_box(15, 2, 17, 38), _box(2, 19, 30, 21))
_FLOOR = polygons(_box(-2, 72, 102, 102))
_SKIRTING = polygons(_box(-2, 70, 102, 73))
_SOFA_BACK = polygons(_box(-24, 48, 24, 78))
_SOFA_SEAT = blobs(_box(-28, 56, -20, 80), _box(20, 56, 28, 80), _box(-22, 66, 22, 80))
_RUG = ellipses((50, 92, 46, 9))
_SMALL_TRUNK = polygons(((-1.4, 0), (1.4, 0), (1, -14), (-1, -14)))
_SMALL_CROWN = ellipses((0, -20, 9, 9), (-6, -15, 6, 6), (6, -15, 6, 6))
_RAILS = polygons(_box(-2, 48, 102, 51), _box(-2, 60, 102, 63))
_PALES = polygons(*(((i, 44), (i + 2.5, 40.5), (i + 5, 44), (i + 5, 68), (i, 68)) for i in range(-3, 102, 8)))
_TREETOP = ellipses((-22, -4, 13, 12), (-8, -2, 14, 13), (8, -3, 14, 12), (22, -5, 13, 12))
_TREETOP_LIGHT = ellipses((-22, 0, 3, 1.6), (-10, 3, 3.4, 1.8), (9, 2, 3.2, 1.7), (24, -1, 2.8, 1.5))
