"""Pictures that were measured, to look at: the first ones as they came, and failures."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

    from limner.picture.composition import Case, Composition
    from limner.picture.reading import Reading

COLUMNS, SIDE, LINE, GAP, HEADING = 8, 128, 12, 6, 26  # pixels, but for the first
ASKED = 4  # lines of what was asked for


def contact_sheet(composition: Composition, count: int = 64) -> Image.Image:
    """The first pictures by number, none picked, and after them the first that the classifier found wrong.

    Under each stands what was asked for, and under failures what each judge saw.
    """
    cases = sorted(composition.cases, key=lambda case: case.number)
    wrong = [case for case in cases if not next(iter(case.verdicts.values()))["joint"]]
    parts = [
        _part(f"The first {min(count, len(cases))} of {len(cases)}, as they came", cases[:count], seen=False),
        _part(f"The first {min(count, len(wrong))} of {len(wrong)} failures", wrong[:count], seen=True),
    ]
    sheet = Image.new("RGB", (parts[0].width, sum(part.height for part in parts)), "white")
    top = 0
    for part in parts:
        sheet.paste(part, (0, top))
        top += part.height
    return sheet


def _part(heading: str, cases: Sequence[Case], *, seen: bool) -> Image.Image:
    texts = [_said(case, seen) for case in cases]
    lines = max((len(text) for text in texts), default=0)
    wide, high = SIDE + GAP, SIDE + lines * LINE + 2 * GAP
    part = Image.new("RGB", (COLUMNS * wide + GAP, HEADING + -(-len(cases) // COLUMNS) * high), "white")
    pen = ImageDraw.Draw(part)
    pen.text((GAP, GAP), heading, "black", ImageFont.load_default(14))
    small = ImageFont.load_default(9)
    for place, (case, text) in enumerate(zip(cases, texts, strict=True)):
        x, y = GAP + place % COLUMNS * wide, HEADING + place // COLUMNS * high
        part.paste(case.image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.NEAREST), (x, y))
        for number, line in enumerate(text):
            pen.text((x, y + SIDE + 2 + number * LINE), line, "black" if number < ASKED else "firebrick", small)
    return part


def _said(case: Case, seen: bool) -> list[str]:
    asked = _wrapped(case.prompt)[:ASKED]
    if not seen:
        return asked
    found = [f"{name}: {_in_words(reading)}" for name, reading in case.readings.items()]
    return asked + [""] * (ASKED - len(asked)) + [line for text in found for line in _wrapped(text)[:3]]


def _wrapped(text: str, width: int = 28) -> list[str]:
    return textwrap.wrap(text, width)


def _in_words(reading: Reading) -> str:
    between = " under " if reading.arrangement == "stacked" else " | "
    if not reading.figures:
        return "nothing"
    return between.join(
        seen.animal if seen.hat is None else f"{seen.animal} in {seen.colour} {seen.hat}" for seen in reading.figures
    )
