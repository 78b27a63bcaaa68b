"""Does a painter compose? Pictures are asked for whose right content is known, and two judges read what came.

After MOSAIC and GenEval, but nothing is guessed: which combinations a model has never seen is fixed by
``limner.picture.world.split``, and how well each judge reads is measured on drawings of the same scenes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from limner.core.errors import ConfigError
from limner.picture import painting
from limner.picture.judge import Judge, load_judge
from limner.picture.reading import Reading, Seen
from limner.picture.rule import Rule
from limner.picture.world.captions import Style, prompt
from limner.picture.world.draw import draw
from limner.picture.world.scene import Scene, Which, sample_scene
from limner.picture.world.vocabulary import ANIMALS, COLOURS, HATS

if TYPE_CHECKING:
    from limner.picture.generator import PictureGenerator

Painter = Callable[
    [Sequence[str], int], Sequence[Image.Image]
]  # prompts and the seed of the first; the others count on

SEEDS, DRAWN_SEEDS = 5_000_000_000, 6_000_000_000  # of scenes; neither painters nor judges were trained on them
LEAST_PICTURES, LEAST_SEEDS = 1000, 3  # for a claim
APART = 10_000_000  # the painters' seeds of two measures
MOST_PICTURES, MOST_SEED = 1_000_000, painting.SEEDS // APART - 1
TOGETHER = 16  # pictures asked for at once
CEILING_SEED = 977  # of the drawings that judges are measured on
CHANCE = 1 / (len(ANIMALS) * len(HATS) * len(COLOURS))  # that all three are right without reading the prompt
SINGLES = ("animal", "hat", "colour", "count")


@dataclass(frozen=True)
class Group:
    """Prompts of one kind.

    Attributes:
        which: the combinations, see ``sample_scene``.
        two: two animals, each in a hat, and not in the same; else one, in a hat.
        setting: say also where and when.
        like: ask for the scenes of that group, with its seeds.
    """

    which: Which
    two: bool = False
    style: Style = "plain"
    setting: bool = False
    like: str = ""


GROUPS = {
    "seen_triples": Group("train"),
    "heldout_triples": Group("triples"),
    "heldout_pairs": Group("pairs"),
    "paraphrases": Group("train", style="paraphrase", like="seen_triples"),
    "settings": Group("train", setting=True),
    "binding": Group("train", two=True),
    "heldout_binding": Group("triples", two=True),
}
OF_ONE = ("seen_triples", "heldout_triples", "heldout_pairs")
OF_TWO = ("binding", "heldout_binding")


@dataclass(frozen=True)
class Share:
    """So many right of so many."""

    right: int = 0
    asked: int = 0

    def __add__(self, other: Share) -> Share:
        return Share(self.right + other.right, self.asked + other.asked)

    def __str__(self) -> str:
        return f"{self.value:.1%}" if self.asked else "–"

    @property
    def value(self) -> float:
        """From 0 to 1; 0 where nothing was asked."""
        return self.right / max(1, self.asked)

    @property
    def known(self) -> float | None:
        """The value, or None where nothing was asked."""
        return self.value if self.asked else None

    @property
    def interval(self) -> tuple[float, float]:
        """Where the true share is in 95 of 100 cases (Wilson 1927)."""
        if not self.asked:
            return 0.0, 1.0
        z, n, p = 1.959964, self.asked, self.value
        middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        return max(0.0, middle - half) if self.right else 0.0, min(1.0, middle + half) if self.right < n else 1.0


Shares = dict[str, dict[str, Share]]  # group → what is asked of a picture → how often it is right


@dataclass(frozen=True, eq=False)
class Case:
    """One picture that was asked for.

    Attributes:
        number: its place in its group; pictures of one number share the painter's seed.
        readings, verdicts: by the judge's name.
    """

    group: str
    number: int
    scene: Scene
    prompt: str
    image: Image.Image
    readings: Mapping[str, Reading]
    verdicts: Mapping[str, Mapping[str, bool]]


@dataclass(frozen=True)
class Composition:
    """What was measured.

    Attributes:
        pictures, size, seed: how many, how large, and which prompts.
        judge_ceiling: share of drawings with held-back triples that the classifier reads rightly, from its card.
        shares, ceilings: by judge; ceilings are the same for drawings of the same scenes.
        shuffled: share that is right, joint, when each picture of one animal is held against the prompt of the next.
        agreement: share of pictures that both judges read alike.
        probe_fid: Fréchet distance on the classifier's features between these pictures and drawings of their scenes.
        probe_fid_floor: the same between two sets of drawings.
        made_with: what painted them, and how: plain JSON values.
    """

    pictures: int
    size: int
    seed: int
    judge_ceiling: float
    shares: Mapping[str, Shares]
    ceilings: Mapping[str, Shares]
    shuffled: Share
    agreement: Share
    probe_fid: float
    probe_fid_floor: float
    cases: tuple[Case, ...] = field(default=(), compare=False, repr=False)
    made_with: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; shares as fractions, the classifier's at the top; None of what was not asked."""
        judged = {name: summary(shares) for name, shares in self.shares.items()}
        main, *others = judged
        return {
            **{name: share.known for name, share in judged[main].items()},
            "product": product_of_singles(self.shares[main], OF_ONE),
            "chance": CHANCE,
            "judge_ceiling": self.judge_ceiling,
            "shuffled": self.shuffled.known,
            "agreement": self.agreement.known,
            "probe_fid": self.probe_fid,
            "probe_fid_floor": self.probe_fid_floor,
            "intervals": {name: list(share.interval) for name, share in judged[main].items()},
            **{judge: {name: share.known for name, share in judged[judge].items()} for judge in others},
            "ceilings": {
                judge: {name: share.known for name, share in summary(shares).items()}
                for judge, shares in self.ceilings.items()
            },
            "groups": {
                judge: {
                    group: {what: share.known for what, share in found.items()}
                    | {"product": product_of_singles(shares, (group,)), "pictures": found["joint"].asked}
                    for group, found in shares.items()
                }
                for judge, shares in self.shares.items()
            },
            "pictures": self.pictures,
            "size": self.size,
            "seed": self.seed,
            **self.made_with,
        }


def summary(shares: Shares) -> dict[str, Share]:
    """The named figures of one judge."""
    found = {group: values["joint"] for group, values in shares.items() if group != "settings"}
    found["relations"] = pooled(shares, OF_TWO, "relation")
    for name in ("left of", "next to", "on"):
        found[f"relation_{name.replace(' ', '_')}"] = pooled(shares, OF_TWO, name)
    found["bound_of_right_parts"] = pooled(shares, OF_TWO, "bound")
    found |= {name: pooled(shares, OF_ONE, name) for name in SINGLES}
    found |= {
        name: pooled(shares, ("settings",), name) for name in ("background", "time") if name in shares["settings"]
    }
    return found


def pooled(shares: Shares, groups: Sequence[str], what: str) -> Share:
    """One figure over several groups."""
    return sum((shares[group].get(what, Share()) for group in groups), Share())


def product_of_singles(shares: Shares, groups: Sequence[str]) -> float:
    """What the joint accuracy would be if the single ones had nothing to do with each other."""
    return math.prod(pooled(shares, groups, name).value for name in SINGLES)


# ── right or wrong ─────────────────────────────────────────────────────────────────────────────────────


def verdict(scene: Scene, reading: Reading, *, setting: bool = False) -> dict[str, bool]:
    """What of a scene is in a picture, as it was read.

    For one animal: ``animal``, ``hat`` and ``colour`` of the first figure read, the ``count``, and ``joint``, all of
    them. For two: the same as sets, ``joint`` if each animal has its own hat in its own colour, ``bound`` the same
    where both animals, both hats and both colours are there at all, and ``relation`` (and its name) if the animals
    stand as they should, whatever they wear. With ``setting`` also ``background`` and ``time``, if the judge reads them.
    """
    asked, found = [Seen.of(figure) for figure in scene.figures], list(reading.figures)
    right = {"count": len(asked) == len(found)}
    if len(asked) == 1:
        found = found[:1]
    for name in ("animal", "hat", "colour"):
        right[name] = Counter(getattr(one, name) for one in found) == Counter(getattr(one, name) for one in asked)
    right["joint"] = right["count"] and Counter(found) == Counter(asked)
    if scene.relation is not None:
        if all(right[name] for name in SINGLES):
            right["bound"] = right["joint"]
        right["relation"] = right[scene.relation] = _stands(scene, reading)
    if setting and reading.background is not None:
        right["background"] = reading.background == scene.background
        right["time"] = reading.time == scene.time
    return right


def _stands(scene: Scene, reading: Reading) -> bool:
    asked, found = [figure.animal for figure in scene.figures], [seen.animal for seen in reading.figures]
    match scene.relation:
        case "on":
            return reading.arrangement == "stacked" and found == asked[::-1]
        case "left of":
            return reading.arrangement == "beside" and found == asked
        case _:
            return reading.arrangement == "beside" and sorted(found) == sorted(asked)


def count_up(verdicts: Sequence[tuple[str, Mapping[str, bool]]]) -> Shares:
    """From (group, verdict) to shares."""
    shares: Shares = {}
    for group, right in verdicts:
        of_group = shares.setdefault(group, {})
        for name, value in right.items():
            of_group[name] = of_group.get(name, Share()) + Share(int(value), 1)
    return shares


# ── measuring ──────────────────────────────────────────────────────────────────────────────────────────


class Reader(Protocol):
    """What both judges do."""

    name: str

    def read(self, images: Sequence[Image.Image]) -> list[Reading]: ...


def scenes_of(group: str, count: int, seed: int) -> list[Scene]:
    """The scenes that a group asks for."""
    kind = GROUPS[group]
    place = list(GROUPS).index(kind.like or group)
    found: list[Scene] = []
    number = SEEDS + (seed * len(GROUPS) + place) * 10_000_000
    while len(found) < count:
        scene = sample_scene(number, which=kind.which, two=float(kind.two))
        number += 1
        worn = {(figure.hat, figure.colour) for figure in scene.figures}
        if (None, None) not in worn and len(worn) == len(scene.figures):
            found.append(scene)
    return found


def measure(
    painter: Painter,
    *,
    size: int,
    pictures: int = LEAST_PICTURES,
    seed: int = 0,
    judge: Judge | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Composition:
    """Measure a painter.

    Args:
        painter: paints prompts.
        size: pixels a side of its pictures.
        pictures: about how many; the groups share them evenly.
        seed: of the prompts and, counting on, of the pictures.
        judge: the classifier; None: the bundled one.
        progress: called with pictures painted and pictures to paint.
    Raises:
        ConfigError: too few pictures for one a group, or too many; no such seed; the classifier may not judge at this size.
        MissingExtraError: the drawing library is not installed.
    """
    if pictures < len(GROUPS):
        raise ConfigError(
            f"pictures is {pictures}, but there are {len(GROUPS)} groups of prompts. Ask for {len(GROUPS)} or more."
        )
    if pictures > MOST_PICTURES or not 0 <= seed <= MOST_SEED:
        raise ConfigError(
            f"pictures is {pictures:,} and seed {seed}, but at most {MOST_PICTURES:,} are painted and seeds go from 0 to "
            f"{MOST_SEED}. Choose smaller numbers."
        )
    judge = judge or load_judge()
    ceiling = judge.check(size)["triples"]
    readers: tuple[Reader, ...] = (judge, Rule())
    each = -(-pictures // len(GROUPS))
    asked = [
        (group, number, scene, prompt(scene, kind.style, background=kind.setting, time=kind.setting))
        for group, kind in GROUPS.items()
        for number, scene in enumerate(scenes_of(group, each, seed))
    ]
    images: list[Image.Image] = []
    for start in range(0, len(asked), TOGETHER):
        some = asked[start : start + TOGETHER]
        while some:  # seeds count on within a group
            run = [one for one in some if one[0] == some[0][0]]
            images.extend(painter([text for *_, text in run], seed * APART + run[0][1]))
            some = some[len(run) :]
        if progress is not None:
            progress(len(images), len(asked))
    scenes = [scene for _, _, scene, _ in asked]
    drawings = [draw_again(scene, size, DRAWN_SEEDS) for scene in scenes]
    readings = {reader.name: reader.read(images) for reader in readers}
    groups = [group for group, *_ in asked]

    def judged(found: Sequence[Reading]) -> list[dict[str, bool]]:
        each = zip(groups, scenes, found, strict=True)
        return [verdict(scene, reading, setting=GROUPS[group].setting) for group, scene, reading in each]

    verdicts = {name: judged(found) for name, found in readings.items()}
    of_drawings = {reader.name: judged(reader.read(drawings)) for reader in readers}
    features, drawn = judge.look(images)[1], judge.look(drawings)[1]
    others = judge.look([draw_again(scene, size, 2 * DRAWN_SEEDS) for scene in scenes])[1]
    of_one = [number for number, group in enumerate(groups) if group in OF_ONE]
    shifted = zip(of_one, of_one[1:] + of_one[:1], strict=True)
    return Composition(
        pictures=len(images),
        size=size,
        seed=seed,
        judge_ceiling=ceiling,
        shares={name: count_up(list(zip(groups, found, strict=True))) for name, found in verdicts.items()},
        ceilings={name: count_up(list(zip(groups, found, strict=True))) for name, found in of_drawings.items()},
        shuffled=sum(
            (Share(int(verdict(scenes[other], readings[judge.name][one])["joint"]), 1) for one, other in shifted),
            Share(),
        ),
        agreement=sum(
            (
                Share(int((a.arrangement, a.figures) == (b.arrangement, b.figures)), 1)
                for a, b in zip(*readings.values(), strict=True)
            ),
            Share(),
        ),
        probe_fid=frechet(features, drawn),
        probe_fid_floor=frechet(others, drawn),
        cases=tuple(
            Case(
                group,
                number,
                scene,
                text,
                image,
                {name: found[place] for name, found in readings.items()},
                {name: found[place] for name, found in verdicts.items()},
            )
            for place, ((group, number, scene, text), image) in enumerate(zip(asked, images, strict=True))
        ),
    )


def measure_generator(
    generator: PictureGenerator,
    *,
    steps: int,
    guidance: float,
    pictures: int = LEAST_PICTURES,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Composition:
    """Measure a picture model as it paints; all but these as for ``measure``.

    Args:
        steps, guidance: of each picture.
    Raises:
        ConfigError: it does not paint squares; and as ``measure`` and ``PaintSettings`` say.
    """
    height, width = generator.config.size
    if height != width:
        raise ConfigError(
            f"the model paints {width} × {height} pixels, but the judges read squares. Measure a model of squares."
        )

    def paint(prompts: Sequence[str], seed: int) -> list[Image.Image]:
        painted = generator.generate(list(prompts), seed=seed, steps=steps, guidance=guidance)
        return [one.image for one in painted]

    found = measure(paint, size=width, pictures=pictures, seed=seed, progress=progress)
    made_with = {
        "model": str(generator.card.get("name", "")),
        "sha256": generator.sha256,
        "dtype": str(generator.dtype).removeprefix("torch."),
        "steps": steps,
        "guidance": guidance,
    }
    return replace(found, made_with=made_with)


def ceiling_of(reader: Reader, size: int, count: int) -> dict[str, Share]:
    """How much of fresh drawings a judge reads rightly: ``triples``, ``pairs``, ``binding``, ``relations``, …

    Args:
        count: drawings of one animal with a held-back triple; of each other kind, half as many.
    """
    verdicts: list[tuple[str, Mapping[str, bool]]] = []
    for group, many in (("heldout_triples", count), ("heldout_pairs", count // 2), ("heldout_binding", count // 2)):
        scenes = scenes_of(group, many, CEILING_SEED)
        for start in range(0, many, 500):
            some = scenes[start : start + 500]
            found = reader.read([draw_again(scene, size, DRAWN_SEEDS) for scene in some])
            verdicts += [
                (group, verdict(scene, reading, setting=True)) for scene, reading in zip(some, found, strict=True)
            ]
    shares = count_up(verdicts)
    return {
        "triples": shares["heldout_triples"]["joint"],
        "pairs": shares["heldout_pairs"]["joint"],
        "binding": shares["heldout_binding"]["joint"],
        "relations": shares["heldout_binding"]["relation"],
        **{name: shares["heldout_triples"][name] for name in SINGLES},
        **{
            name: pooled(shares, tuple(shares), name)
            for name in ("background", "time")
            if name in shares["heldout_pairs"]
        },
    }


def draw_again(scene: Scene, size: int, away: int) -> Image.Image:
    """A drawing of the same words with other chances."""
    return Image.fromarray(draw(replace(scene, seed=scene.seed + away), size).image)


def frechet(a: Tensor, b: Tensor) -> float:
    """The Fréchet distance between two sets of features, (pictures, width), as if both were normal.

    |μa − μb|² + tr(Σa + Σb − 2·(Σa·Σb)^½). With few pictures it is too large, so that only distances between equally
    many can be compared.

    Source: Heusel et al. 2017, arXiv:1706.08500, there with the features of Inception.
    """
    a, b = a.double(), b.double()
    mean = (a.mean(dim=0) - b.mean(dim=0)).square().sum()
    first, second = a.T.cov(), b.T.cov()
    values, vectors = torch.linalg.eigh(first)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
    return float(mean + first.trace() + second.trace() - 2 * cross)
