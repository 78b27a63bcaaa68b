"""One animal: body in its pose, tail, head, face and hat, from the data of ``animals``.

Lengths are in head units with the head's middle at (0, 0) and y downwards. Animals face the viewer; on all fours the
body goes off to the right, and the whole figure may be mirrored.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import cos, pi, sin
from typing import TYPE_CHECKING

from limner.picture.world.animals import ANIMALS_AS_DRAWN, INK, TONGUE, WHITE, Animal, Ears
from limner.picture.world.hats import draw_hat
from limner.picture.world.shapes import (
    Colour,
    Outline,
    Place,
    Points,
    Sheet,
    at,
    blobs,
    darker,
    ellipses,
    lighter,
    lines,
    mirrored,
    mix,
    moved,
    other_side,
    polygons,
)

if TYPE_CHECKING:
    from limner.picture.world.dice import Dice
    from limner.picture.world.scene import Figure

RIM = 0.085  # half the width of the line around an animal
BARK = (0.47, 0.33, 0.22)
LEAF = (0.33, 0.58, 0.27)


@dataclass(frozen=True)
class Light:
    """What the time of day does to an animal: a share of a colour over its own."""

    colour: Colour = (1.0, 1.0, 1.0)
    share: float = 0.0

    def on(self, colour: Colour) -> Colour:
        return mix(colour, self.colour, self.share)


@dataclass(frozen=True)
class Coat:
    """The colours of one animal of a kind: its own shade, in the light of the hour."""

    fur: Colour
    low: Colour  # the fur in the shade
    rim: Colour
    belly: Colour
    limbs: Colour
    socks: Colour
    saddle: Colour | None
    shoulders: Colour | None
    spots: Colour | None
    stripes: Colour | None


class FigureDrawer:
    """Draws one figure; the choices that have no word are the dice's.

    Args:
        parts: the numbers of the animal and of its hat.
        alone: no other figure is in the picture.
    Attributes:
        sheet: the animal and its hat.
        support: the trunk or the branch that it holds on to, which is behind it.
    """

    def __init__(self, figure: Figure, dice: Dice, light: Light, parts: tuple[int, int], *, alone: bool) -> None:
        self.figure, self.dice, self.alone = figure, dice, alone
        self.sheet, self.support = Sheet(), Sheet()
        self.animal = ANIMALS_AS_DRAWN[figure.animal]
        self.animal_part, self.hat_part = parts
        self.shade = dice.between(-0.09, 0.09)
        self.light = light
        self.coat = self._coat()

    def tone(self, colour: Colour) -> Colour:
        """A colour of the animal in its own shade and the hour's light."""
        shaded = lighter(colour, self.shade) if self.shade > 0 else darker(colour, -self.shade)
        return self.light.on(shaded)

    def _coat(self) -> Coat:
        animal, tone = self.animal, self.tone
        fur = tone(animal.fur)
        limbs = tone(animal.limbs) if animal.limbs else fur
        dark = sum(animal.fur) < 0.9
        return Coat(
            fur=fur,
            low=darker(fur, 0.1 if sum(animal.fur) > 2.5 else 0.16),
            rim=darker(fur, 0.7 if dark else 0.62),
            belly=tone(animal.belly) if animal.belly else fur,
            limbs=limbs,
            socks=tone(animal.socks) if animal.socks else limbs,
            saddle=tone(animal.saddle) if animal.saddle else None,
            shoulders=tone(animal.shoulders) if animal.shoulders else None,
            spots=tone(animal.spots) if animal.spots else None,
            stripes=tone(animal.stripes) if animal.stripes else None,
        )

    def draw(self) -> None:
        """Add everything."""
        self.sheet.part = self.animal_part
        match self.figure.pose:
            case "sitting":
                self._sitting()
            case "standing":
                self._standing(0.0)
            case "climbing a tree":
                self._climbing()
            case "scaling a branch":
                self._scaling()

    # ── bodies ───────────────────────────────────────────────────────────────────────────────────────────

    def _solid(self, outline: Outline, colour: Colour, below: Colour | None = None, rim: Colour | None = None) -> None:
        self.sheet.rim(outline, rim or self.coat.rim, RIM * 2)
        self.sheet.fill(outline, colour, below=below)

    def _sitting(self) -> None:
        coat, sheet, bulk = self.coat, self.sheet, self.animal.bulk
        plump = bulk * self.dice.between(0.95, 1.07)
        whole = sheet.place
        sheet.place = whole @ at(0, 0, wide=plump)
        self._tail(at(0.62, 1.95, turn=self.dice.between(-12, 12)))
        torso = mirrored(((0, 0.3), (0.46, 0.5), (0.66, 1.1), (0.9, 1.7), (0.8, 2.14), (0, 2.2)))
        feet = ellipses((-0.78, 2.1, 0.36, 0.17), (0.78, 2.1, 0.36, 0.17))
        body = blobs(torso)
        self._solid(body, coat.fur, coat.low)
        self._markings(body, upright=True)
        if self.animal.belly:
            chest = mirrored(((0, 0.5), (0.3, 0.7), (0.42, 1.3), (0.34, 2.0), (0, 2.14)))
            sheet.fill(blobs(chest), coat.belly, clip=body)
        self._solid(feet, coat.socks)
        leg = ((0.06, 1.0), (0.5, 1.0), (0.5, 1.6), (0.46, 2.1), (0.1, 2.1), (0.08, 1.6))
        legs = blobs(leg, other_side(leg))
        paws = ellipses((-0.29, 2.1, 0.27, 0.17), (0.29, 2.1, 0.27, 0.17))
        top = coat.limbs if self.animal.limbs else coat.belly if self.animal.belly else mix(coat.fur, coat.low, 0.5)
        edges = lines(
            ((0.08, 1.4), (0.07, 2.0)),
            ((0.5, 1.3), (0.5, 2.0)),
            ((-0.08, 1.4), (-0.07, 2.0)),
            ((-0.5, 1.3), (-0.5, 2.0)),
        )
        if self.animal.limbs:
            sheet.fill(legs, top)
        sheet.line(edges, coat.rim, RIM)
        self._solid(paws, coat.socks)
        sheet.line(_TOES_FRONT, coat.rim, RIM * 0.7, alpha=0.8)
        sheet.place = whole
        self._head(at(0, 0, turn=self._tilt()))

    def _standing(self, climb: float, step: float = 0.0) -> None:
        """On all fours; ``climb`` turns the head back upright when the body goes uphill."""
        coat, sheet, animal = self.coat, self.sheet, self.animal
        length = round(2.1 * animal.length * self.dice.pick((0.96, 0.98, 1.0, 1.02, 1.05)), 3)
        girth = 0.58 * animal.bulk
        middle = 1.0
        floor = standing_floor(animal)
        self._tail(at(length - 0.12, middle - 0.3, turn=self.dice.between(-14, 10)))
        reach = step * 0.32
        far = polygons_legs(((0.55 - reach * 1.6, -reach), (length - 0.72 + reach, 0.0)), middle, floor, animal.bulk)
        shade = darker(coat.limbs, 0.22)
        self._solid(far, shade)
        body = blobs(
            (
                (-0.42, middle - girth * 0.6), (0.3, middle - girth * 0.95), (length * 0.5, middle - girth * 0.9), (length - 0.2, middle - girth), (length + 0.08, middle - 0.1),
                (length - 0.05, middle + girth * 0.9), (length * 0.55, middle + girth * 0.86), (0.3, middle + girth * 1.06), (-0.36, middle + girth * 0.6),
            )
        )  # fmt: skip
        near = polygons_legs(((0.16 + reach, 0.0), (length - 0.3 - reach, 0.0)), middle, floor, animal.bulk)
        sheet.rim(near, coat.rim, RIM * 2)
        self._solid(body, coat.fur, coat.low)
        self._markings(body, upright=False, length=length, middle=middle)
        if animal.belly:
            sheet.fill(
                ellipses((length * 0.45, middle + girth * 1.2, length * 0.52, girth * 0.62)), coat.belly, clip=body
            )
        sheet.fill(near, coat.limbs, below=coat.socks if animal.socks else coat.limbs)
        if animal.socks:
            sheet.fill(_paws(((0.16 + reach, 0.0), (length - 0.3 - reach, 0.0)), floor, animal.bulk), coat.socks)
        self._head(at(0, 0.12, turn=self._tilt() - climb))

    def _scaling(self) -> None:
        """Uphill along a branch, to the left; the branch goes on beyond the frame."""
        slope = self.dice.between(12, 20)
        whole = self.sheet.place
        self.sheet.place = self.support.place = whole @ at(0, 0, turn=slope)
        self._branch(standing_floor(self.animal))
        self._standing(slope, step=1.0)
        self.sheet.place = whole

    def _branch(self, y: float) -> None:
        """A branch whose upper side is at this height, with twigs and leaves."""
        support = self.support
        support.place = support.place @ at(0, y)
        branch, twigs, leaves, veins = _LONG_BRANCH if self.alone else _SHORT_BRANCH
        wood = self.light.on(BARK)
        rim = darker(wood, 0.6)
        support.rim(twigs, rim, 0.28)
        support.rim(branch, rim, RIM * 2)
        support.line(twigs, wood, 0.14)
        support.fill(branch, lighter(wood, 0.14), below=darker(wood, 0.2))
        support.line(_BRANCH_LINES, darker(wood, 0.3), 0.06)
        leaf = self.light.on(LEAF)
        support.rim(leaves, darker(leaf, 0.5), 0.12)
        support.fill(leaves, leaf)
        support.line(veins, lighter(leaf, 0.3), 0.05)

    def _trunk(self) -> None:
        """A trunk from far below to far above, right of the animal's middle."""
        wood = self.light.on(BARK)
        self.support.rim(_TRUNK, darker(wood, 0.6), RIM * 2)
        self.support.fill(_TRUNK, wood)
        self.support.fill(_TRUNK_SHADE, darker(wood, 0.16))
        self.support.line(_BARK_LINES, darker(wood, 0.32), 0.09)

    def _climbing(self) -> None:
        """Hugging a trunk that stands to the right, the face turned to the viewer."""
        coat, sheet, animal, dice = self.coat, self.sheet, self.animal, self.dice
        bulk = animal.bulk
        self._trunk()
        self._tail(at(-0.42, 1.9, turn=dice.between(-10, 10), flip=True))
        arms = blobs(_limb(0.1, 0.98, 1.36, 0.5, 0.24 * bulk), _limb(0.2, 2.0, 1.2, 2.2, 0.26 * bulk))
        body = blobs(
            (
                (-0.1, 0.3),
                (0.42, 0.6),
                (0.62 * bulk, 1.2),
                (0.6 * bulk, 1.9),
                (0.2, 2.32),
                (-0.4 * bulk, 2.2),
                (-0.7 * bulk, 1.5),
                (-0.5 * bulk, 0.7),
            )
        )
        sheet.rim(arms, coat.rim, RIM * 2)
        self._solid(body, coat.fur, coat.low)
        self._markings(body, upright=True)
        if animal.belly:
            sheet.fill(ellipses((0.62 * bulk, 1.4, 0.3, 0.7)), coat.belly, clip=body)
        sheet.fill(arms, coat.limbs)
        paws = ellipses((1.36, 0.52, 0.26, 0.23), (1.22, 2.2, 0.28, 0.23))
        self._solid(paws, coat.socks)
        sheet.line(
            lines(
                ((1.32, 0.46), (1.5, 0.44)),
                ((1.32, 0.58), (1.5, 0.6)),
                ((1.2, 2.14), (1.38, 2.12)),
                ((1.2, 2.26), (1.38, 2.28)),
            ),
            coat.rim,
            RIM * 0.7,
        )
        self._head(at(-0.1, 0, turn=self._tilt()))

    def _tilt(self) -> float:
        return self.dice.between(-7, 7)

    def _markings(self, body: Outline, *, upright: bool, length: float = 0.0, middle: float = 0.0) -> None:
        """What the body wears by nature; drawn within its outline."""
        coat, sheet, dice = self.coat, self.sheet, self.dice
        if coat.saddle:
            if upright:
                sides = ((0.95, 0.3), (0.44, 0.6), (0.5, 1.2), (0.62, 1.8), (1.1, 1.9), (1.2, 1.0))
                sheet.fill(blobs(sides, other_side(sides)), coat.saddle, clip=body)
            else:
                sheet.fill(ellipses((length * 0.6, middle - 0.42, length * 0.5, 0.5)), coat.saddle, clip=body)
        if coat.shoulders:
            band = ellipses((0, 0.86, 1.2, 0.48)) if upright else ellipses((0.05, middle, 0.62, 1.2))
            sheet.fill(band, coat.shoulders, clip=body)
        if coat.spots:
            spots = _SPOTS_UPRIGHT if upright else _SPOTS_ALONG
            sheet.fill(spots[int(dice.random() * len(spots))], coat.spots, clip=body)
        if coat.stripes:
            stripes = _STRIPES_UPRIGHT if upright else _STRIPES_ALONG
            sheet.fill(stripes, coat.stripes, clip=body, place=at(0, 0, wide=1.0 if upright else self.animal.length))

    def _tail(self, where: Place) -> None:
        tail, coat, sheet = self.animal.tail, self.coat, self.sheet
        where = where @ at(0, 0, size=tail.size)
        outline = blobs(tail.outline)
        colour = self.tone(tail.colour) if tail.colour else coat.fur
        sheet.rim(outline, darker(colour, 0.62), RIM * 2 / tail.size, place=where)
        sheet.fill(outline, colour, below=darker(colour, 0.14), place=where)
        left, top, right, bottom = outline.box
        if tail.tip:
            tip = ellipses(
                ((left + right) / 2 + 0.1 * (right - left), top + 0.1, (right - left) * 0.62, (bottom - top) * 0.3)
            )
            sheet.fill(tip, self.tone(tail.tip), place=where, clip=outline)
        if tail.rings:
            sheet.fill(_RINGS, self.tone(tail.rings), place=where, clip=outline)

    # ── the head ─────────────────────────────────────────────────────────────────────────────────────────

    def _head(self, where: Place) -> None:
        animal, coat, sheet, dice = self.animal, self.coat, self.sheet, self.dice
        whole = sheet.place
        sheet.place = whole @ where @ at(0, 0, wide=dice.between(0.97, 1.04))
        turned = dice.between(-0.07, 0.07)  # the face looks a little to one side
        if not animal.ears.front:
            self._ears(animal.ears)
        outline = _curly(animal.head, 0.12) if animal.curls else blobs(mirrored(animal.head))
        if animal.curls:
            topknot = _curly(
                mirrored(((0, -1.3), (0.5, -1.16), (0.66, -0.76), (0.4, -0.4), (0, -0.3))), 0.2, whole=True
            )
            self._solid(topknot, coat.fur)
        self._solid(outline, lighter(coat.fur, 0.06), coat.low)
        for patch in animal.patches:
            points = (patch.outline, other_side(patch.outline)) if patch.both else (_filled(patch.outline),)
            sheet.fill(blobs(*points), self.tone(patch.colour), clip=outline)
        if coat.stripes:
            sheet.fill(_BROW_STRIPES, coat.stripes, clip=outline)
        face = sheet.place
        sheet.place = face @ at(turned, 0)
        self._face()
        sheet.place = face
        if animal.ears.front:
            self._ears(animal.ears)
        if self.figure.hat is not None and self.figure.colour is not None:
            sheet.part = self.hat_part
            y, width = animal.hat
            sheet.place = face @ at(turned * 0.6, y, turn=dice.between(-7, 7), size=width * dice.between(1.0, 1.1))
            if dice.chance(0.5):
                sheet.place = sheet.place @ at(0, 0, flip=True)
            draw_hat(sheet, self.figure.hat, self.figure.colour, dice)
            sheet.part = self.animal_part
        sheet.place = whole

    def _ears(self, ears: Ears) -> None:
        sheet, dice = self.sheet, self.dice
        colour = self.tone(ears.colour) if ears.colour else self.coat.fur
        outline = _curly(ears.outline, 0.16, whole=True) if self.animal.curls else blobs(ears.outline)
        inner = blobs(moved(ears.outline, 0, -0.02, 0.56, 0.66)) if ears.inner else None
        for flip in (False, True):
            lean = ears.lean + (dice.between(-7, 2) if ears.front else dice.between(-5, 5))
            side = at(-ears.x if flip else ears.x, ears.y) @ at(0, 0, flip=flip) @ at(0, 0, turn=lean, size=ears.size)
            sheet.rim(outline, darker(colour, 0.62), RIM * 2 / ears.size, place=side)
            sheet.fill(outline, colour, place=side)
            if ears.tip:
                top = outline.box[1]
                sheet.fill(ellipses((0, top, 0.4, -top * 0.5)), self.tone(ears.tip), place=side, clip=outline)
            if inner and ears.inner:
                sheet.fill(inner, self.tone(ears.inner), place=side)

    def _face(self) -> None:
        animal, sheet, dice = self.animal, self.sheet, self.dice
        muzzle, eyes = animal.muzzle, animal.eyes
        y, half, high = muzzle.nose
        sheet.fill(ellipses((0, muzzle.y, muzzle.wide, muzzle.high)), self.tone(muzzle.colour))
        if animal.cheeks:
            sheet.fill(ellipses((-0.66, 0.3, 0.16, 0.11), (0.66, 0.3, 0.16, 0.11)), animal.cheeks, alpha=0.75)
        mouth_y = y + high
        dark_face = sum(muzzle.colour) < 1.2
        ink = mix(INK, muzzle.colour, 0.25) if not dark_face else lighter(muzzle.colour, 0.3)
        low = mouth_y + 0.16
        if animal.tongue and dice.chance(0.6):
            sheet.fill(ellipses((0, low + 0.1, 0.13, 0.16)), TONGUE)
        sheet.line(_mouth(round(mouth_y, 3), round(low, 3)), ink, 0.06)
        if animal.teeth:
            sheet.fill(polygons(((-0.1, low + 0.0), (0.1, low + 0.0), (0.09, low + 0.17), (-0.09, low + 0.17))), WHITE)
        nose = blobs(
            (
                (-half, y - high * 0.5),
                (0, y - high),
                (half, y - high * 0.5),
                (half * 0.5, y + high * 0.6),
                (0, y + high),
                (-half * 0.5, y + high * 0.6),
            )
        )
        sheet.fill(nose, muzzle.nose_colour)
        sheet.fill(ellipses((-half * 0.25, y - high * 0.45, half * 0.35, high * 0.25)), (1, 1, 1), alpha=0.55)
        if animal.brows:
            sheet.fill(
                ellipses((-eyes.x * 0.9, eyes.y - 0.27, 0.11, 0.08), (eyes.x * 0.9, eyes.y - 0.27, 0.11, 0.08)),
                self.tone(animal.brows),
            )
        if animal.whiskers:
            sheet.line(_WHISKERS, animal.whiskers, 0.035, alpha=0.85, place=at(0, muzzle.y - 0.42))
        self._eyes()

    def _eyes(self) -> None:
        eyes, sheet, dice = self.animal.eyes, self.sheet, self.dice
        x, y, r = eyes.x, eyes.y, eyes.size
        look = dice.between(-0.2, 0.2) * r
        if eyes.rim:
            sheet.fill(ellipses((-x, y, r * 1.25, r * 1.35), (x, y, r * 1.25, r * 1.35)), eyes.rim)
        sheet.fill(ellipses((-x, y, r, r * 1.14), (x, y, r, r * 1.14)), INK)
        if eyes.iris:
            iris = ellipses((-x, y, r * 0.86, r), (x, y, r * 0.86, r))
            pupil = ellipses((-x, y, r * 0.5, r * 0.74), (x, y, r * 0.5, r * 0.74))
            sheet.fill(iris, eyes.iris)
            sheet.fill(pupil, INK, place=at(look, 0))
        sheet.fill(
            ellipses((-x - r * 0.3, y - r * 0.42, r * 0.34, r * 0.36), (x - r * 0.3, y - r * 0.42, r * 0.34, r * 0.36)),
            (1, 1, 1),
            place=at(look * 0.5, 0),
        )


# ── outlines of bodies ───────────────────────────────────────────────────────────────────────────────────


def standing_floor(animal: Animal) -> float:
    """The height of the ground below the head's middle when the animal stands."""
    return 1.5 + 0.85 * animal.legs


def polygons_legs(legs: tuple[tuple[float, float], ...], middle: float, floor: float, bulk: float) -> Outline:
    """Legs at these x, each ending this much above the floor."""
    half = 0.2 * bulk
    return blobs(
        *(
            ((x - half * 1.1, middle + 0.1), (x + half * 1.1, middle + 0.1), (x + half, floor - 0.4 + up), (x + half, floor - 0.02 + up), (x - half * 1.5, floor + up), (x - half * 1.5, floor - 0.2 + up), (x - half, floor - 0.4 + up))
            for x, up in legs
        )
    )  # fmt: skip


def _paws(legs: tuple[tuple[float, float], ...], floor: float, bulk: float) -> Outline:
    half = 0.2 * bulk
    return ellipses(*((x - half * 0.25, floor - 0.11 + up, half * 1.3, 0.15) for x, up in legs))


def _limb(x0: float, y0: float, x1: float, y1: float, half: float) -> Points:
    length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
    nx, ny = -(y1 - y0) / length * half, (x1 - x0) / length * half
    return ((x0 + nx, y0 + ny), (x0 - nx, y0 - ny), (x1 - nx * 0.8, y1 - ny * 0.8), (x1 + nx * 0.8, y1 + ny * 0.8))


@cache
def _filled(points: Points) -> Points:
    """A patch that begins and ends on the axis is mirrored; another is as it stands."""
    return mirrored(points) if points[0][0] == 0 and points[-1][0] == 0 else points


@cache
def _curly(points: Points, size: float, *, whole: bool = False) -> Outline:
    """A scalloped edge: balls along the outline, and the outline itself."""
    around = points if whole else mirrored(points)
    n, steps = len(around), 14
    balls = []
    for i in range(steps):
        t = i * n / steps
        a, b = around[int(t)], around[(int(t) + 1) % n]
        s = t - int(t)
        r = size + 0.02 * cos(5 * i)
        x, y = a[0] + (b[0] - a[0]) * s, a[1] + (b[1] - a[1]) * s
        balls.append(tuple((x + r * cos(k * pi / 3), y + r * sin(k * pi / 3)) for k in range(6)))
    return blobs(around, *balls)


@cache
def _mouth(top: float, low: float) -> Outline:
    return lines(
        ((0, top), (0, low)),
        ((-0.24, low - 0.06), (-0.13, low + 0.05), (0, low)),
        ((0.24, low - 0.06), (0.13, low + 0.05), (0, low)),
    )


def _circle(x: float, y: float, r: float) -> tuple[float, float, float, float]:
    return (x, y, r, r * 0.86)


_TOES_FRONT_POINTS = (
    ((-0.36, 2.08), (-0.37, 2.22)),
    ((-0.22, 2.08), (-0.21, 2.22)),
    ((0.36, 2.08), (0.37, 2.22)),
    ((0.22, 2.08), (0.21, 2.22)),
)
_TOES_FRONT = lines(*_TOES_FRONT_POINTS)
_WHISKERS = lines(
    ((0.3, 0.42), (1.2, 0.3)), ((0.3, 0.5), (1.22, 0.54)), ((-0.3, 0.42), (-1.2, 0.3)), ((-0.3, 0.5), (-1.22, 0.54))
)
_BROW_STRIPES = blobs(
    ((-0.07, -0.95), (0.07, -0.95), (0.04, -0.36), (-0.04, -0.36)),
    ((-0.34, -0.92), (-0.2, -0.95), (-0.2, -0.46), (-0.26, -0.44)),
    ((0.34, -0.92), (0.2, -0.95), (0.2, -0.46), (0.26, -0.44)),
    ((1.2, 0.02), (0.74, 0.12), (0.74, 0.18), (1.2, 0.16)),
    ((-1.2, 0.02), (-0.74, 0.12), (-0.74, 0.18), (-1.2, 0.16)),
    ((1.1, 0.34), (0.7, 0.38), (0.7, 0.44), (1.1, 0.5)),
    ((-1.1, 0.34), (-0.7, 0.38), (-0.7, 0.44), (-1.1, 0.5)),
)
_STRIPES_UPRIGHT = blobs(
    *(
        ((side * 1.1, y), (side * 0.56, y + 0.08), (side * 0.5, y + 0.14), (side * 1.1, y + 0.18))
        for side in (-1, 1)
        for y in (0.95, 1.3, 1.65)
    )
)
_STRIPES_ALONG = blobs(
    *(((x - 0.1, 0.2), (x + 0.1, 0.2), (x + 0.05, 1.0), (x - 0.02, 1.05)) for x in (0.6, 0.98, 1.36, 1.74))
)
_SPOTS_UPRIGHT = (
    ellipses(_circle(-0.5, 1.1, 0.12), _circle(0.44, 0.95, 0.1), _circle(0.66, 1.5, 0.14), _circle(-0.7, 1.7, 0.13), _circle(-0.1, 0.98, 0.09), _circle(0.16, 1.34, 0.1), _circle(-0.28, 1.5, 0.09), _circle(0.34, 1.8, 0.08), _circle(-0.24, 1.86, 0.07)),
    ellipses(_circle(-0.4, 0.98, 0.11), _circle(0.5, 1.12, 0.12), _circle(0.74, 1.74, 0.13), _circle(-0.6, 1.46, 0.13), _circle(0.08, 1.06, 0.1), _circle(-0.2, 1.28, 0.08), _circle(0.26, 1.56, 0.09), _circle(-0.34, 1.78, 0.08)),
)  # fmt: skip
_SPOTS_ALONG = (
    ellipses(_circle(0.5, 0.72, 0.12), _circle(0.92, 0.98, 0.14), _circle(1.3, 0.66, 0.11), _circle(1.62, 1.04, 0.13), _circle(1.92, 0.74, 0.12), _circle(0.52, 1.26, 0.1), _circle(1.2, 1.32, 0.1), _circle(2.0, 1.24, 0.1)),
    ellipses(_circle(0.66, 0.86, 0.13), _circle(1.06, 0.66, 0.1), _circle(1.4, 1.0, 0.14), _circle(1.76, 0.72, 0.12), _circle(2.02, 1.06, 0.1), _circle(0.9, 1.24, 0.11), _circle(1.7, 1.3, 0.1)),
)  # fmt: skip
_RINGS = blobs(
    ((0.1, -0.5), (0.6, -0.1), (0.7, -0.22), (0.2, -0.62)),
    ((0.2, -0.84), (1.1, -0.3), (1.2, -0.48), (0.3, -1.0)),
    ((0.2, -1.2), (1.2, -0.8), (1.2, -1.0), (0.3, -1.42)),
    ((0.1, 0.3), (0.3, -0.3), (0.42, -0.26), (0.3, 0.3)),
)
TRUNK_X = 0.93
_TRUNK = polygons(((0.36, -14), (1.5, -14), (1.62, 14), (0.24, 14)))
_TRUNK_SHADE = polygons(((1.14, -14), (1.5, -14), (1.62, 14), (1.2, 14)))
_BARK_LINES = lines(
    *(((x, y), (x + 0.03, y + 0.7)) for x, y in ((0.7, -6), (1.2, -4.6), (0.6, -3.4), (1.3, -2.2), (0.62, -1.4), (0.62, 2.7), (1.32, 2.9), (0.9, 3.9), (0.56, 5.0))),
    ((0.96, -3.0), (1.1, -2.86), (1.0, -2.7), (0.88, -2.84), (0.96, -3.0)),
)  # fmt: skip
_BRANCH_LINES = lines(
    ((-2.4, 0.16), (-1.4, 0.14)), ((0.2, 0.28), (1.6, 0.32)), ((2.4, 0.12), (3.6, 0.1)), ((4.4, 0.4), (5.6, 0.44))
)
_LEAF_SHAPE = ((0, 0), (0.3, -0.26), (0.78, -0.3), (0.56, 0.08), (0.2, 0.16))
_BRANCH_ROOT = ((2, -0.1), (6, -0.2), (10, -0.3), (10, 0.9), (6, 0.74), (2, 0.56))
_TWIGS = (((3.4, 0.3), (3.8, -0.3), (4.2, -0.5)), ((1.6, 0.5), (1.8, 0.9), (1.76, 1.2)))
_LEAF_SPOTS = ((4.1, -0.45, -30), (3.9, -0.3, -120), (1.76, 1.1, 110), (1.78, 0.95, 30))


def _branch(
    tip: Points, twigs: tuple[Points, ...], spots: tuple[tuple[float, float, float], ...]
) -> tuple[Outline, Outline, Outline, Outline]:
    """A branch that begins far on the right: its wood, twigs, leaves and their veins."""
    spots = (*_LEAF_SPOTS, *spots)
    return (
        blobs(tip + _BRANCH_ROOT),
        lines(*_TWIGS, *twigs),
        blobs(*(moved(_LEAF_SHAPE, x, y, turn=turn) for x, y, turn in spots)),
        lines(*(moved(((0.1, -0.02), (0.6, -0.18)), x, y, turn=turn) for x, y, turn in spots)),
    )


_LONG_BRANCH = _branch(
    ((-1.0, 0.42), (-3.0, 0.32), (-4.6, 0.12), (-3.0, 0.0), (-1.0, -0.04)),
    (((-1.2, 0.2), (-1.5, 0.7), (-1.46, 1.1)), ((-2.4, 0.1), (-2.7, -0.4), (-2.66, -0.8))),
    ((-1.46, 1.0, 100), (-1.5, 0.8, 20), (-2.66, -0.7, -60), (-2.7, -0.5, 200)),
)
_SHORT_BRANCH = _branch(
    ((-0.4, 0.4), (-1.2, 0.24), (-1.7, 0.12), (-1.2, 0.02), (-0.4, -0.04)),
    (((-0.6, 0.3), (-0.8, 0.7), (-0.76, 0.9)),),
    ((-0.78, 0.8, 100), (-1.6, 0.14, 150), (-0.8, 0.7, 20)),
)
