"""What a judge reads in a picture, and what is truly in a drawing; judges and measures meet here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from limner.picture.world.draw import Drawing
    from limner.picture.world.scene import Figure

Arrangement = Literal["alone", "beside", "stacked"]
ARRANGEMENTS: tuple[Arrangement, ...] = ("alone", "beside", "stacked")


@dataclass(frozen=True)
class Seen:
    """One animal and what it wears; ``hat`` and ``colour`` are both None or both given."""

    animal: str
    hat: str | None = None
    colour: str | None = None

    @classmethod
    def of(cls, figure: Figure) -> Seen:
        """What there is to see of a figure of a scene."""
        return cls(figure.animal, figure.hat, figure.colour)


@dataclass(frozen=True)
class Reading:
    """What is in a picture.

    Attributes:
        arrangement: one animal, two side by side, or one on the other's back.
        figures: from left to right; of two that are stacked, the lower one first; none where no animal was found.
        background, time: None where the judge does not read them.
    """

    arrangement: Arrangement
    figures: tuple[Seen, ...]
    background: str | None = None
    time: str | None = None


def truth(drawing: Drawing) -> Reading:
    """The right reading of a drawing."""
    scene = drawing.scene
    seen = [Seen.of(figure) for figure in scene.figures]
    arrangement: Arrangement = "alone"
    if scene.relation == "on":
        arrangement, seen = "stacked", seen[::-1]
    elif scene.relation is not None:
        arrangement = "beside"
        if scene.relation == "next to" and _middle(drawing, 0) > _middle(drawing, 1):
            seen.reverse()
    return Reading(arrangement, tuple(seen), scene.background, scene.time)


def _middle(drawing: Drawing, figure: int) -> float:
    box = drawing.boxes[figure].animal
    assert box is not None
    return (box[0] + box[2]) / 2
