"""What each animal looks like: proportions, colours, markings, ears and tails, as data.

Lengths are in head units: the head is about 2 wide and 1.8 high, its middle is (0, 0), y grows downwards. Points of
symmetric outlines give the right half from top to bottom. Nothing here draws; ``limner.picture.world.figure`` does.
"""

from __future__ import annotations

from dataclasses import dataclass

from limner.picture.world.shapes import Colour, Points, rgb

INK = rgb("#2a2228")
WHITE = rgb("#fbf8f2")
TONGUE = rgb("#ef7f8e")


@dataclass(frozen=True)
class Ears:
    """A pair of ears.

    Args:
        outline: of the right one, its root at (0, 0).
        x: of the root, on the right.
        y: of the root.
        size: scale of the outline.
        lean: degrees outwards.
        colour: of the outside; None as the fur.
        inner: of the inside, which is the same outline, smaller; None where it is not seen.
        tip: of the upper end; None as the rest.
        front: drawn over the head, as hanging ears are.
    """

    outline: Points
    x: float
    y: float
    size: float = 1.0
    lean: float = 0.0
    colour: Colour | None = None
    inner: Colour | None = None
    tip: Colour | None = None
    front: bool = False


@dataclass(frozen=True)
class Eyes:
    """Where and how large; ``iris`` None is a plain dark eye."""

    x: float = 0.38
    y: float = -0.06
    size: float = 0.15
    iris: Colour | None = None
    rim: Colour | None = None


@dataclass(frozen=True)
class Muzzle:
    """The lighter part around nose and mouth, and both of these."""

    colour: Colour
    y: float = 0.42
    wide: float = 0.44
    high: float = 0.36
    nose: tuple[float, float, float] = (0.24, 0.16, 0.11)  # y, half width, half height
    nose_colour: Colour = INK
    long: bool = False  # seen from a little above, with the nose at its lower end


@dataclass(frozen=True)
class Patch:
    """A marking on the head; ``both`` draws it on either side."""

    outline: Points
    colour: Colour
    both: bool = False


@dataclass(frozen=True)
class Tail:
    """An outline with its root at (0, 0), pointing to the upper right."""

    outline: Points
    colour: Colour | None = None
    tip: Colour | None = None
    rings: Colour | None = None
    size: float = 1.0


@dataclass(frozen=True)
class Animal:
    """One kind of animal.

    Args:
        fur: the main colour.
        head: right half of its outline.
        belly: of the chest and belly; None as the fur.
        limbs: of the legs; None as the fur.
        socks: of the paws; None as the limbs.
        saddle: of the back; None as the fur.
        shoulders: of a band around the chest; None as the fur.
        spots: of spots all over; None where there are none.
        stripes: of stripes on back and brow; None where there are none.
        length: of the back, 1 is usual.
        legs: their length, 1 is usual.
        bulk: how broad the body is, 1 is usual.
        size: of the whole animal, 1 is usual.
        curls: drawn with a scalloped edge.
        hat: where a hat rests, and its half width.
    """

    fur: Colour
    head: Points
    ears: Ears
    muzzle: Muzzle
    tail: Tail
    eyes: Eyes = Eyes()
    patches: tuple[Patch, ...] = ()
    belly: Colour | None = None
    limbs: Colour | None = None
    socks: Colour | None = None
    saddle: Colour | None = None
    shoulders: Colour | None = None
    spots: Colour | None = None
    stripes: Colour | None = None
    length: float = 1.0
    legs: float = 1.0
    bulk: float = 1.0
    size: float = 1.0
    whiskers: Colour | None = None
    tongue: bool = False
    teeth: bool = False
    curls: bool = False
    cheeks: Colour | None = None
    brows: Colour | None = None
    hat: tuple[float, float] = (-0.64, 0.72)


# ── outlines that several share ──────────────────────────────────────────────────────────────────────────

ROUND = ((0, -0.9), (0.52, -0.82), (0.9, -0.42), (0.98, 0.08), (0.8, 0.52), (0.4, 0.8), (0, 0.86))
CANINE = ((0, -0.88), (0.48, -0.8), (0.82, -0.42), (0.86, 0.02), (0.7, 0.42), (0.46, 0.78), (0, 0.92))
FELINE = ((0, -0.8), (0.5, -0.76), (0.9, -0.38), (1.06, 0.14), (0.86, 0.56), (0.44, 0.8), (0, 0.84))
VULPINE = ((0, -0.8), (0.48, -0.74), (0.82, -0.34), (1.18, 0.3), (0.7, 0.52), (0.34, 0.84), (0, 0.94))

PRICKED = ((-0.34, 0.16), (-0.26, -0.3), (-0.04, -0.84), (0.04, -0.84), (0.26, -0.3), (0.36, 0.2))
TALL = ((-0.32, 0.2), (-0.3, -0.4), (-0.05, -1.06), (0.05, -1.06), (0.28, -0.4), (0.36, 0.24))
BROAD = ((-0.36, 0.2), (-0.4, -0.4), (-0.14, -0.96), (0.12, -0.96), (0.36, -0.4), (0.4, 0.24))
HALF_ROUND = ((-0.36, 0.1), (-0.36, -0.22), (0, -0.42), (0.36, -0.22), (0.36, 0.1), (0, 0.3))
HANGING = ((-0.22, -0.1), (0.12, -0.16), (0.4, 0.2), (0.44, 0.72), (0.2, 1.0), (-0.06, 0.78), (-0.14, 0.3))
LONG_HANGING = ((-0.22, -0.1), (0.12, -0.18), (0.42, 0.2), (0.54, 0.9), (0.26, 1.3), (-0.08, 1.0), (-0.14, 0.4))
RABBIT_EAR = ((-0.2, 0.2), (-0.32, -0.6), (-0.2, -1.3), (0, -1.56), (0.2, -1.3), (0.3, -0.6), (0.2, 0.2))
FLUFFY = ((-0.4, 0.36), (-0.6, 0), (-0.42, -0.46), (0.06, -0.6), (0.5, -0.4), (0.62, 0.04), (0.5, 0.4), (0.1, 0.56))
TUFTED = ((-0.24, 0.16), (-0.26, -0.3), (0.06, -0.96), (0.14, -0.6), (0.28, -0.2), (0.28, 0.2))

BRUSH = ((-0.1, 0.1), (0.3, 0.2), (0.78, -0.1), (1.02, -0.66), (0.86, -1.22), (0.5, -0.92), (0.3, -0.5), (0, -0.2))
CURLED = ((0, 0.1), (0.4, 0.06), (0.72, -0.36), (0.6, -0.9), (0.1, -1.06), (-0.22, -0.7), (-0.02, -0.44), (0.1, -0.3))
WHIP = (
    (-0.05, -0.08),
    (0.34, -0.1),
    (0.52, -0.5),
    (0.5, -0.96),
    (0.66, -1.26),
    (0.78, -1.0),
    (0.72, -0.4),
    (0.4, 0.14),
    (0, 0.14),
)
CARROT = ((0, -0.14), (0.4, -0.34), (0.9, -0.9), (1.02, -0.94), (0.98, -0.8), (0.6, -0.16), (0.1, 0.16))
PUFF = ((-0.26, 0), (-0.1, -0.26), (0.16, -0.28), (0.34, -0.04), (0.2, 0.24), (-0.1, 0.24))
POMPON = (
    (-0.05, -0.06), (0.3, -0.2), (0.46, -0.56), (0.3, -0.86), (0.46, -1.2), (0.82, -1.26), (1.04, -0.94), (0.9, -0.6), (0.6, -0.5), (0.46, -0.1), (0.04, 0.12),
)  # fmt: skip
PLUME = (
    (-0.2, 0.2), (0.3, 0.24), (0.86, 0.06), (1.16, -0.6), (1.2, -1.4), (0.84, -2.0), (0.3, -1.96), (0.12, -1.6), (0.4, -1.44), (0.56, -1.1), (0.36, -0.6), (0, -0.2),
)  # fmt: skip

BLAZE = ((0, -0.95), (0.13, -0.9), (0.12, -0.3), (0.3, 0.1), (0.56, 0.4), (0.5, 0.8), (0, 0.98))


def _dog_muzzle(colour: str, **more: float | tuple[float, float, float]) -> Muzzle:
    return Muzzle(rgb(colour), **more)  # type: ignore[arg-type]


ANIMALS_AS_DRAWN: dict[str, Animal] = {
    "German Shepherd": Animal(
        fur=rgb("#c68642"),
        head=CANINE,
        ears=Ears(TALL, 0.58, -0.58, 1.0, 14, colour=rgb("#4a3426"), inner=rgb("#c99a74")),
        muzzle=Muzzle(rgb("#2f2725"), y=0.46, wide=0.4, high=0.46, nose=(0.3, 0.17, 0.12), nose_colour=rgb("#0e0c0e")),
        tail=Tail(BRUSH, colour=rgb("#3a2d28")),
        patches=(
            Patch(((0, -0.95), (0.36, -0.84), (0.24, -0.44), (0.1, -0.16), (0, -0.1)), rgb("#4a3426")),
            Patch(((0.1, 0.1), (0.3, 0.06), (0.5, 0.3), (0.44, 0.7), (0.1, 0.96)), rgb("#2f2725"), both=True),
        ),
        saddle=rgb("#3a2d28"),
        belly=rgb("#dba968"),
        tongue=True,
        brows=rgb("#e6bd85"),
        hat=(-0.6, 0.66),
    ),
    "Dalmatian": Animal(
        fur=rgb("#f6f3ee"),
        head=CANINE,
        ears=Ears(HANGING, 0.78, -0.54, 0.95, -8, colour=rgb("#2b2629"), front=True),
        muzzle=Muzzle(rgb("#ffffff"), y=0.46, wide=0.44, high=0.38, nose=(0.28, 0.17, 0.12)),
        tail=Tail(WHIP),
        patches=(
            Patch(((0.3, -0.3), (0.44, -0.32), (0.46, -0.22), (0.34, -0.18)), rgb("#2b2629")),
            Patch(((-0.6, 0.22), (-0.48, 0.2), (-0.46, 0.34), (-0.6, 0.34)), rgb("#2b2629")),
            Patch(((0.5, 0.3), (0.62, 0.26), (0.64, 0.4), (0.54, 0.42)), rgb("#2b2629")),
            Patch(((-0.22, -0.5), (-0.06, -0.54), (-0.02, -0.4), (-0.18, -0.36)), rgb("#2b2629")),
            Patch(((-0.62, -0.2), (-0.4, -0.26), (-0.22, -0.06), (-0.32, 0.14), (-0.56, 0.12)), rgb("#2b2629")),
        ),
        spots=rgb("#2b2629"),
        tongue=True,
        eyes=Eyes(rim=rgb("#f6f3ee")),
    ),
    "Poodle": Animal(
        fur=rgb("#e9dfea"),
        head=((0, -0.86), (0.44, -0.8), (0.7, -0.42), (0.7, 0.06), (0.52, 0.46), (0.36, 0.84), (0, 0.98)),
        ears=Ears(
            ((-0.1, -0.3), (0.2, -0.3), (0.42, 0.1), (0.46, 0.6), (0.24, 0.9), (-0.04, 0.8), (-0.1, 0.3)),
            0.8, -0.3, 0.95, -8, colour=rgb("#d5c6d9"), front=True,
        ),
        muzzle=Muzzle(rgb("#f4edf4"), y=0.52, wide=0.34, high=0.4, nose=(0.36, 0.15, 0.11)),
        tail=Tail(POMPON),
        eyes=Eyes(x=0.32, size=0.14),
        curls=True,
        hat=(-0.66, 0.7),
    ),
    "Corgi": Animal(
        fur=rgb("#e39a4c"),
        head=((0, -0.84), (0.5, -0.78), (0.86, -0.4), (1.0, 0.1), (0.78, 0.5), (0.44, 0.8), (0, 0.88)),
        ears=Ears(BROAD, 0.66, -0.54, 1.02, 20, inner=rgb("#f6c9a6")),
        muzzle=Muzzle(WHITE, y=0.44, wide=0.46, high=0.38, nose=(0.24, 0.16, 0.11)),
        tail=Tail(PUFF),
        patches=(Patch(BLAZE, WHITE),),
        belly=WHITE,
        socks=WHITE,
        length=1.22,
        legs=0.5,
        tongue=True,
        hat=(-0.56, 0.66),
    ),
    "Husky": Animal(
        fur=rgb("#6b7380"),
        head=((0, -0.86), (0.5, -0.8), (0.86, -0.42), (0.98, 0.1), (0.74, 0.5), (0.42, 0.8), (0, 0.9)),
        ears=Ears(PRICKED, 0.58, -0.6, 1.0, 12, colour=rgb("#4b525e"), inner=rgb("#d9c6c6")),
        muzzle=Muzzle(WHITE, y=0.46, wide=0.4, high=0.38, nose=(0.28, 0.15, 0.11)),
        tail=Tail(CURLED, tip=WHITE),
        patches=(
            Patch(
                ((0.0, -0.02), (0.1, -0.2), (0.26, -0.44), (0.52, -0.42), (0.6, -0.16), (0.9, 0.02), (1.02, 0.4), (0.5, 0.9), (0, 0.98)),
                WHITE, both=True,
            ),
        ),
        belly=WHITE,
        socks=WHITE,
        eyes=Eyes(iris=rgb("#58b7ee"), size=0.16),
        hat=(-0.58, 0.66),
    ),
    "Beagle": Animal(
        fur=rgb("#b5713a"),
        head=CANINE,
        ears=Ears(LONG_HANGING, 0.77, -0.5, 0.9, -6, colour=rgb("#8a4f24"), front=True),
        muzzle=Muzzle(WHITE, y=0.48, wide=0.44, high=0.4, nose=(0.28, 0.17, 0.12)),
        tail=Tail(WHIP, colour=rgb("#37302f"), tip=WHITE),
        patches=(Patch(BLAZE, WHITE),),
        saddle=rgb("#37302f"),
        belly=WHITE,
        limbs=WHITE,
        legs=0.85,
    ),
    "Golden Retriever": Animal(
        fur=rgb("#e9bd72"),
        head=((0, -0.88), (0.52, -0.82), (0.88, -0.44), (0.92, 0.02), (0.76, 0.46), (0.46, 0.8), (0, 0.92)),
        ears=Ears(HANGING, 0.82, -0.48, 0.92, -10, colour=rgb("#cf9748"), front=True),
        muzzle=Muzzle(rgb("#f7dfae"), y=0.46, wide=0.44, high=0.38, nose=(0.26, 0.18, 0.12)),
        tail=Tail(BRUSH, colour=rgb("#dfa95a"), size=1.1),
        belly=rgb("#f8e4ba"),
        tongue=True,
        bulk=1.06,
    ),
    "Dachshund": Animal(
        fur=rgb("#6e3b22"),
        head=((0, -0.86), (0.44, -0.8), (0.74, -0.44), (0.76, 0), (0.52, 0.44), (0.36, 0.92), (0, 1.06)),
        ears=Ears(LONG_HANGING, 0.68, -0.52, 0.92, -10, colour=rgb("#4c2716"), front=True),
        muzzle=Muzzle(rgb("#b4713e"), y=0.58, wide=0.34, high=0.46, nose=(0.48, 0.17, 0.12)),
        tail=Tail(CARROT),
        belly=rgb("#b4713e"),
        socks=rgb("#b4713e"),
        length=1.6,
        legs=0.34,
        brows=rgb("#c98550"),
        eyes=Eyes(x=0.34, y=-0.1),
    ),
    "black cat": Animal(
        fur=rgb("#34323c"),
        head=FELINE,
        ears=Ears(PRICKED, 0.62, -0.5, 1.0, 16, inner=rgb("#8b6472")),
        muzzle=Muzzle(rgb("#403e49"), y=0.4, wide=0.36, high=0.24, nose=(0.26, 0.1, 0.07), nose_colour=rgb("#c77d8c")),
        tail=Tail(WHIP, size=1.15),
        eyes=Eyes(x=0.42, size=0.21, iris=rgb("#f2d64b")),
        whiskers=rgb("#d8d6df"),
        hat=(-0.54, 0.66),
    ),
    "ginger cat": Animal(
        fur=rgb("#ee9440"),
        head=FELINE,
        ears=Ears(PRICKED, 0.62, -0.5, 1.0, 16, inner=rgb("#f6bfae")),
        muzzle=Muzzle(rgb("#fdf0df"), y=0.44, wide=0.42, high=0.3, nose=(0.26, 0.1, 0.07), nose_colour=rgb("#e5788a")),
        tail=Tail(WHIP, rings=rgb("#c96a20"), size=1.15),
        belly=rgb("#fdf0df"),
        socks=rgb("#fdf0df"),
        stripes=rgb("#c96a20"),
        eyes=Eyes(x=0.42, size=0.19, iris=rgb("#86c25a")),
        whiskers=rgb("#ffffff"),
        hat=(-0.54, 0.66),
    ),
    "kitten": Animal(
        fur=rgb("#a9a8ac"),
        head=((0, -0.84), (0.56, -0.78), (1.0, -0.36), (1.14, 0.16), (0.9, 0.6), (0.44, 0.82), (0, 0.86)),
        ears=Ears(PRICKED, 0.7, -0.5, 0.94, 18, inner=rgb("#f4b8c0")),
        muzzle=Muzzle(rgb("#f3f1f0"), y=0.48, wide=0.36, high=0.24, nose=(0.36, 0.09, 0.06), nose_colour=rgb("#e5788a")),
        tail=Tail(WHIP, rings=rgb("#6f6e74"), size=0.85),
        belly=rgb("#f3f1f0"),
        socks=rgb("#f3f1f0"),
        stripes=rgb("#6f6e74"),
        eyes=Eyes(x=0.46, y=0.04, size=0.28, iris=rgb("#6fb6e0")),
        whiskers=rgb("#ffffff"),
        bulk=0.76,
        legs=0.72,
        length=0.74,
        size=0.86,
        hat=(-0.56, 0.7),
    ),
    "bear": Animal(
        fur=rgb("#8a5a35"),
        head=ROUND,
        ears=Ears(HALF_ROUND, 0.74, -0.62, 1.0, 32, inner=rgb("#c2946a")),
        muzzle=Muzzle(rgb("#d2a679"), y=0.38, wide=0.44, high=0.36, nose=(0.22, 0.18, 0.13)),
        tail=Tail(PUFF, size=0.7),
        belly=rgb("#a9764a"),
        bulk=1.2,
        legs=0.9,
        hat=(-0.62, 0.7),
    ),
    "panda": Animal(
        fur=rgb("#f8f6f1"),
        head=((0, -0.88), (0.56, -0.8), (0.98, -0.38), (1.08, 0.14), (0.88, 0.58), (0.44, 0.82), (0, 0.86)),
        ears=Ears(HALF_ROUND, 0.78, -0.62, 1.0, 34, colour=rgb("#2c2a2e")),
        muzzle=Muzzle(rgb("#ffffff"), y=0.42, wide=0.36, high=0.28, nose=(0.28, 0.15, 0.1)),
        tail=Tail(PUFF, size=0.6),
        patches=(
            Patch(((0.24, -0.26), (0.46, -0.32), (0.64, -0.1), (0.68, 0.22), (0.5, 0.34), (0.28, 0.16)), rgb("#2c2a2e"), both=True),
        ),
        eyes=Eyes(x=0.42, y=0.0, size=0.14, rim=rgb("#f8f6f1")),
        limbs=rgb("#2c2a2e"),
        shoulders=rgb("#2c2a2e"),
        bulk=1.18,
        legs=0.85,
        hat=(-0.62, 0.7),
    ),
    "fox": Animal(
        fur=rgb("#dc6a2a"),
        head=VULPINE,
        ears=Ears(TALL, 0.6, -0.5, 0.96, 16, tip=rgb("#33272a"), inner=rgb("#f3d9c6")),
        muzzle=Muzzle(WHITE, y=0.56, wide=0.26, high=0.34, nose=(0.56, 0.13, 0.1)),
        tail=Tail(BRUSH, tip=WHITE, size=1.35),
        patches=(
            Patch(((0.04, 0.5), (0.16, 0.16), (0.5, 0.1), (0.86, 0.08), (1.2, 0.3), (0.8, 0.7), (0.3, 0.98), (0, 1.0)), WHITE, both=True),
        ),
        belly=WHITE,
        socks=rgb("#33272a"),
        eyes=Eyes(x=0.38, y=-0.08, size=0.13),
        bulk=0.9,
        hat=(-0.54, 0.64),
    ),
    "rabbit": Animal(
        fur=rgb("#cdb8a2"),
        head=((0, -0.8), (0.46, -0.74), (0.78, -0.38), (0.94, 0.14), (0.78, 0.58), (0.4, 0.8), (0, 0.84)),
        ears=Ears(RABBIT_EAR, 0.58, -0.54, 1.0, 18, inner=rgb("#f0b3b5")),
        muzzle=Muzzle(rgb("#f5ece2"), y=0.44, wide=0.38, high=0.28, nose=(0.28, 0.1, 0.07), nose_colour=rgb("#e07f8f")),
        tail=Tail(PUFF, colour=WHITE, size=1.1),
        belly=rgb("#f5ece2"),
        eyes=Eyes(x=0.44, y=-0.06, size=0.17),
        whiskers=rgb("#ffffff"),
        teeth=True,
        cheeks=rgb("#eba7a4"),
        bulk=0.92,
        legs=0.62,
        length=0.84,
        hat=(-0.54, 0.58),
    ),
    "raccoon": Animal(
        fur=rgb("#8d8f96"),
        head=((0, -0.8), (0.5, -0.74), (0.88, -0.36), (1.16, 0.24), (0.74, 0.56), (0.36, 0.82), (0, 0.9)),
        ears=Ears(HALF_ROUND, 0.7, -0.56, 1.0, 26, inner=rgb("#e9e6e2"), colour=rgb("#6a6b72")),
        muzzle=Muzzle(rgb("#f6f3ef"), y=0.52, wide=0.3, high=0.3, nose=(0.44, 0.13, 0.1)),
        tail=Tail(BRUSH, rings=rgb("#3b3a42"), size=1.25),
        patches=(
            Patch(((0.06, -0.26), (0.5, -0.42), (0.9, -0.16), (1.1, 0.2), (0.9, 0.5), (0.4, 0.5), (0.06, 0.3)), rgb("#f0ede8"), both=True),
            Patch(((0.08, 0.02), (0.3, -0.22), (0.64, -0.16), (0.98, 0.14), (0.92, 0.34), (0.5, 0.26), (0.2, 0.3)), rgb("#34323a"), both=True),
        ),
        eyes=Eyes(x=0.42, y=0.02, size=0.13, rim=rgb("#f6f3ef")),
        socks=rgb("#3b3a42"),
        belly=rgb("#b7b8bd"),
        hat=(-0.56, 0.66),
    ),
    "koala": Animal(
        fur=rgb("#9aa3b0"),
        head=((0, -0.84), (0.54, -0.78), (0.94, -0.4), (1.02, 0.1), (0.84, 0.54), (0.42, 0.8), (0, 0.84)),
        ears=Ears(FLUFFY, 0.96, -0.42, 0.98, 10, inner=rgb("#f1d6da")),
        muzzle=Muzzle(rgb("#b3bbc6"), y=0.5, wide=0.32, high=0.24, nose=(0.2, 0.2, 0.32), nose_colour=rgb("#332f38")),
        tail=Tail(PUFF, size=0.4),
        belly=rgb("#eceef1"),
        eyes=Eyes(x=0.44, y=-0.04, size=0.13),
        cheeks=rgb("#e8a9b4"),
        bulk=1.08,
        legs=0.7,
        length=0.86,
        hat=(-0.6, 0.68),
    ),
    "squirrel": Animal(
        fur=rgb("#b5562b"),
        head=((0, -0.78), (0.46, -0.72), (0.78, -0.36), (0.96, 0.16), (0.8, 0.56), (0.4, 0.78), (0, 0.82)),
        ears=Ears(TUFTED, 0.56, -0.54, 0.9, 10, inner=rgb("#e8b08a")),
        muzzle=Muzzle(rgb("#f7e3cc"), y=0.44, wide=0.42, high=0.3, nose=(0.26, 0.1, 0.07), nose_colour=rgb("#5a2f25")),
        tail=Tail(PLUME, colour=rgb("#c8693a"), size=1.15),
        belly=rgb("#f7e3cc"),
        eyes=Eyes(x=0.42, y=-0.06, size=0.17),
        teeth=True,
        whiskers=rgb("#f7e3cc"),
        bulk=0.86,
        legs=0.6,
        length=0.78,
        hat=(-0.54, 0.6),
    ),
}  # fmt: skip
