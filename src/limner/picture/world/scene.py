"""What a picture shows, before anything is drawn or said."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from limner.core.errors import ConfigError, suggest
from limner.picture.world.dice import Dice
from limner.picture.world.split import Triple, has_held_back_pair, held_back_pairs, held_back_triples, in_training
from limner.picture.world.vocabulary import ANIMALS, BACKGROUNDS, COLOURS, HATS, POSES, RELATIONS, TIMES

if TYPE_CHECKING:
    from collections.abc import Sequence

Which = Literal["train", "triples", "pairs", "any"]
WHICH: tuple[Which, ...] = ("train", "triples", "pairs", "any")
Relation = Literal["left of", "next to", "on"]

HATTED = (0.9, 0.6)  # the share of first and of second animals that wear a hat


@dataclass(frozen=True)
class Figure:
    """One animal, what it does and what it wears; ``hat`` and ``colour`` are both None or both given."""

    animal: str
    pose: str
    hat: str | None = None
    colour: str | None = None

    def __post_init__(self) -> None:
        _known("animal", self.animal, ANIMALS)
        _known("pose", self.pose, POSES)
        if self.hat is not None or self.colour is not None:
            _known("hat", self.hat, HATS)
            _known("colour", self.colour, COLOURS)


@dataclass(frozen=True)
class Scene:
    """One picture: one or two animals somewhere at some time.

    Args:
        figures: one or two; the first is what the picture is about.
        relation: of the first to the second: ``left of`` it, ``next to`` it (on either side), or ``on`` its back;
            None where there is only one.
        background: where.
        time: when.
        seed: of all that has no word: position, size, tilt, shape and shade.
    """

    figures: tuple[Figure, ...]
    relation: Relation | None
    background: str
    time: str
    seed: int

    def __post_init__(self) -> None:
        if len(self.figures) not in (1, 2):
            raise ConfigError(
                f"scene.figures has {len(self.figures)}, but a picture shows 1 or 2. Give 1 or 2 figures."
            )
        if len(self.figures) == 1:
            if self.relation is not None:
                raise ConfigError(
                    f"scene.relation is {self.relation!r}, but one figure has nothing to relate to. Leave it out."
                )
        else:
            _known("relation", self.relation, RELATIONS)
        _known("background", self.background, BACKGROUNDS)
        _known("time", self.time, TIMES)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as written beside a picture."""
        return asdict(self) | {"figures": [asdict(figure) for figure in self.figures]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Scene:
        """Back from ``to_dict``.

        Raises:
            ConfigError: a key is missing or unknown, or a word is not in the vocabulary.
        """
        try:
            return cls(**values | {"figures": tuple(Figure(**figure) for figure in values["figures"])})
        except (KeyError, TypeError) as problem:
            raise ConfigError(
                f"the scene has the keys {sorted(values)}, but it needs exactly figures, relation, background, time "
                "and seed. Give the values of Scene.to_dict."
            ) from problem


def sample_scene(seed: int, *, which: Which = "train", two: float = 0.3) -> Scene:
    """Draw a scene.

    Args:
        seed: the same seed gives the same scene.
        which: ``train`` shows nothing that is held back; in ``triples`` every animal wears a held-back triple, in
            ``pairs`` the first animal wears a held-back pair (and the second is as in training); ``any`` draws freely.
        two: the share of pictures with two animals.
    """
    if which not in WHICH:
        raise ConfigError(f"which is {which!r}, but the splits are {', '.join(WHICH)}. Choose one of them.")
    dice = Dice(seed, "scene")
    count = 2 if dice.chance(two) else 1
    relation: Relation | None = dice.pick(("left of", "next to", "on")) if count == 2 else None
    figures: list[Figure] = []
    for at in range(count):
        part: Which = "train" if at and which == "pairs" else which
        wears = _draw_wearing(dice, part, HATTED[at])
        while figures and wears[0] == figures[0].animal:  # two of a kind could not be told apart in words
            wears = _draw_wearing(dice, part, HATTED[at])
        animal, hat, colour = wears
        figures.append(Figure(animal, _draw_pose(dice, relation, at, figures), hat, colour))
    return Scene(tuple(figures), relation, dice.pick(BACKGROUNDS), dice.pick(TIMES), seed)


def _draw_wearing(dice: Dice, which: Which, hatted: float) -> tuple[str, str | None, str | None]:
    if which == "triples":
        return dice.pick(_sorted_triples())
    if which == "pairs":
        return dice.pick(_triples_with_pairs()[dice.pick(("animal hat", "hat colour", "animal colour"))])
    if not dice.chance(hatted):
        return dice.pick(ANIMALS), None, None
    while True:
        triple = (dice.pick(ANIMALS), dice.pick(HATS), dice.pick(COLOURS))
        if which == "any" or in_training(*triple):
            return triple


def _draw_pose(dice: Dice, relation: Relation | None, at: int, before: list[Figure]) -> str:
    """Who sits on another's back sits, who carries stands, and there is room for one tree at most."""
    if relation == "on":
        return ("sitting", "standing")[at]
    if before and before[0].pose not in ("sitting", "standing"):
        return dice.pick(("sitting", "standing"))
    return dice.pick(POSES)


@cache
def _sorted_triples() -> tuple[Triple, ...]:
    return tuple(sorted(held_back_triples()))


@cache
def _triples_with_pairs() -> dict[str, tuple[Triple, ...]]:
    """The triples that hold a held-back pair, by the kind of that pair."""
    free = [(animal, hat, colour) for animal in ANIMALS for hat in HATS for colour in COLOURS]
    found = [triple for triple in free if has_held_back_pair(*triple)]
    return {
        "animal hat": tuple(t for t in found if (t[0], t[1]) in held_back_pairs("animal hat")),
        "hat colour": tuple(t for t in found if (t[1], t[2]) in held_back_pairs("hat colour")),
        "animal colour": tuple(t for t in found if (t[0], t[2]) in held_back_pairs("animal colour")),
    }


def _known(what: str, value: str | None, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ConfigError(f"{what} is {value!r}, but the picture-book world has none. {suggest(str(value), choices)}")
