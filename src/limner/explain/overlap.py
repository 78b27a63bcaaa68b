"""Do the maps of words lie on the right things? Measured where the truth is known, in the picture-book world.

A scene is drawn together with the masks of its animals and hats, noised to a few times, and shown to the denoiser with
its sentence. The words' cross-attention, mean of all layers and heads, as DAAM takes it (Tang et al. 2022,
arXiv:2210.04885), is then held against the masks: that of the animal's words against the animal, those of the hat's kind
and of its colour against the hat. Nothing is painted, so that what is measured is where the model looks, not how well it
paints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from limner.core.errors import ConfigError
from limner.core.tap import Recorder
from limner.picture.guidance import Guide
from limner.picture.images import from_bytes
from limner.picture.process import add_noise, levels
from limner.picture.words import WEIGHTS, add_words, by_look, of_prompt

if TYPE_CHECKING:
    from limner.picture.generator import PictureGenerator
    from limner.picture.world.draw import Drawing
    from limner.picture.world.scene import Scene

TIMES = (0.3, 0.5, 0.7, 0.9)  # of noise; what a sampler passes through
THRESHOLD = 0.4  # of a map's largest value: one threshold for all maps, chosen before any was seen
THRESHOLDS = tuple(at / 20 for at in range(1, 20))
OBJECTS = ("animal", "hat", "colour", "colour and hat")  # whose words; all but the first are held against the hat

Mask = NDArray[np.bool_]
Map = NDArray[np.float32]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Wanted:
    """Words of a sentence and what they stand for."""

    kind: str  # of OBJECTS
    figure: int
    words: tuple[int, ...]  # numbers of words in the sentence


@dataclass(frozen=True)
class MapScore:
    """How one map lies on its object.

    Attributes:
        iou: intersection over union of the object's pixels and those where the map has at least ``THRESHOLD`` of its most.
        best_iou: with the threshold that suits this map best, which nobody knows without the mask.
        ceiling: the same of a map that has in each patch the object's true share of it; finer no map of this model is.
        chance: the object's share of the picture, which is the IoU of a map without a threshold and what of the map would
            lie within by chance.
        mass: how much of the map lies within the object.
        pointed: whether its largest value is on the object or in a patch beside it.
        pointing_chance: the share of patches of which that is true.
        own: with two animals, what lies on the own one's of all that lies on either's; None: there is only one.
    """

    iou: float
    best_iou: float
    ceiling: float
    chance: float
    mass: float
    pointed: float
    pointing_chance: float
    own: float | None = None


@dataclass(frozen=True)
class Overlap:
    """Means over scenes.

    Attributes:
        scores: by whose words: mean, over the maps, of each value of ``MapScore``, and how many maps (``count``).
        shuffled: the same maps held against the masks of the next scene of as many animals: what comes of the middle of a picture alone.
        times: by the time of the noise, whose words, and value.
        heads: of each (layer, head), the mean of mass over chance, by whose words, shape (layers, heads).
    """

    scenes: int
    skipped: int
    grid: tuple[int, int]
    scores: dict[str, dict[str, float]]
    shuffled: dict[str, dict[str, float]]
    times: dict[str, dict[str, dict[str, float]]]
    heads: dict[str, NDArray[np.float32]] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "scenes": self.scenes,
            "skipped": self.skipped,
            "grid": list(self.grid),
            "scores": self.scores,
            "shuffled": self.shuffled,
            "times": self.times,
            "heads": {name: values.astype(float).round(3).tolist() for name, values in self.heads.items()},
        }


@torch.inference_mode()
def measure_overlap(
    painter: PictureGenerator,
    *,
    scenes: int = 200,
    two: float = 0.3,
    times: Sequence[float] = TIMES,
    seed: int = 0,
    progress: Progress | None = None,
) -> Overlap:
    """Hold the maps of animals' and hats' words against the true masks.

    Args:
        painter: a model that learned from the picture-book world.
        scenes: how many, of those that training may show; each animal wears a hat.
        two: the share of scenes with two animals.
        times: of the noise, each above 0 and below 1; a map is the mean over them.
        seed: of the scenes and of the noise.
        progress: called with how many scenes are done, and of how many.
    Raises:
        ConfigError: fewer than 2 scenes, or a time out of its range.
        MissingExtraError: the drawing library is not installed.
    """
    from limner.picture.world.captions import prompt
    from limner.picture.world.draw import draw

    if scenes < 2:
        raise ConfigError(f"scenes is {scenes}, but means are taken over at least 2. Choose more; 200 is usual.")
    for time in times:
        if not 0.0 < time < 1.0:
            raise ConfigError(
                f"time is {time:g}, but noise has a part in a picture above 0 and below 1. Choose between; 0.5 is the middle."
            )
    config = painter.config
    height, width = config.size
    if height != width:
        raise ConfigError(f"the model paints {width} × {height}, but drawings are square. Use one that paints squares.")
    grid = (height // config.multiple, width // config.multiple)
    seen: list[tuple[Drawing, list[Wanted], Tensor]] = []
    skipped = 0
    for scene in _scenes(scenes, two, seed):
        text = prompt(scene)
        wanted = words_of_scene(scene, [word for word, _ in painter.word_places(text)])
        drawing = draw(scene, height)
        if any(not mask.hat.any() or not mask.animal.any() for mask in drawing.masks):
            skipped += 1  # the other animal hides it
        else:
            seen.append((drawing, wanted, _maps(painter, text, drawing, times, scene.seed)))
        if progress is not None:
            progress(len(seen) + skipped, scenes)
    scores: dict[str, list[MapScore]] = {name: [] for name in OBJECTS}
    shuffled: dict[str, list[MapScore]] = {name: [] for name in OBJECTS}
    by_time: dict[float, dict[str, list[MapScore]]] = {time: {name: [] for name in OBJECTS} for time in times}
    lifts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in OBJECTS}
    for number, (drawing, wanted, maps) in enumerate(seen):
        others = [later for later, _, _ in seen[number + 1 :] + seen[:number] if _like(later, drawing)]
        for one in wanted:
            of_words = maps[list(one.words)].sum(dim=0).view(len(times), *maps.shape[2:4], *grid)
            found = _score(_mean(of_words), drawing, one)
            scores[one.kind].append(found)
            if others:
                shuffled[one.kind].append(_score(_mean(of_words), others[0], one))
            for at, time in enumerate(times):
                by_time[time][one.kind].append(_score(_mean(of_words[at : at + 1]), drawing, one))
            inside = torch.from_numpy(coarse(_mask(drawing, one), grid))
            mass = (of_words.mean(dim=0) * inside).sum(dim=(-2, -1)) / of_words.mean(dim=0).sum(dim=(-2, -1)).clamp(
                min=1e-9
            )
            lifts[one.kind].append((mass / max(found.chance, 1e-9)).numpy())
    return Overlap(
        len(seen),
        skipped,
        grid,
        {name: _summary(some) for name, some in scores.items()},
        {name: _summary(some) for name, some in shuffled.items()},
        {str(time): {name: _summary(some) for name, some in of.items()} for time, of in by_time.items()},
        {name: np.mean(some, axis=0) for name, some in lifts.items()},
    )


def words_of_scene(scene: Scene, words: Sequence[str]) -> list[Wanted]:
    """Which words of a scene's plain sentence stand for what.

    Args:
        words: of ``prompt(scene)``, as the model reads them.
    """
    from limner.picture.world.captions import ANIMAL_WORDS, HAT_WORDS, words_of

    found: list[Wanted] = []
    begin = 0

    def take(phrase: str, kind: str, figure: int) -> None:
        nonlocal begin
        parts = words_of(phrase.lower())
        lower = [word.lower() for word in words]
        at = next(at for at in range(begin, len(words)) if lower[at : at + len(parts)] == parts)
        begin = at + len(parts)
        found.append(Wanted(kind, figure, tuple(range(at, begin))))

    for number, figure in enumerate(scene.figures):
        take(ANIMAL_WORDS[figure.animal][0], "animal", number)
        if figure.hat is not None and figure.colour is not None:
            take(figure.colour, "colour", number)
            take(HAT_WORDS[figure.hat][0], "hat", number)
            found.append(Wanted("colour and hat", number, found[-2].words + found[-1].words))
    return found


def score_map(found: Map, mask: Mask, own: float | None = None) -> MapScore:
    """How a map lies on an object.

    Args:
        found: a share of attention for each patch, shape (rows, columns).
        mask: the object's pixels, shape (height, width), in which rows and columns go without a rest.
        own: as for ``MapScore``.
    """
    grid = found.shape
    truth = coarse(mask, grid)
    large, larger = _enlarged(found, mask.shape), _enlarged(truth, mask.shape)
    row, column = np.unravel_index(int(found.argmax()), grid)
    near = F.max_pool2d(torch.from_numpy(truth > 0)[None, None].float(), 3, 1, 1)[0, 0].numpy() > 0
    return MapScore(
        iou=iou(large >= THRESHOLD * large.max(), mask),
        best_iou=max(iou(large >= at * large.max(), mask) for at in THRESHOLDS),
        ceiling=max(iou(larger >= at * larger.max(), mask) for at in THRESHOLDS),
        chance=float(mask.mean()),
        mass=float((found * truth).sum() / max(float(found.sum()), 1e-9)),
        pointed=float(near[row, column]),
        pointing_chance=float(near.mean()),
        own=own,
    )


def iou(one: Mask, other: Mask) -> float:
    """Intersection over union; 0 where both are empty."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 0.0


def coarse(mask: Mask, grid: tuple[int, ...]) -> Map:
    """The share of each patch that a mask covers, shape (rows, columns), float32."""
    rows, columns = grid
    height, width = mask.shape
    shares: Map = mask.reshape(rows, height // rows, columns, width // columns).mean(axis=(1, 3)).astype(np.float32)
    return shares


def _scenes(count: int, two: float, seed: int) -> list[Scene]:
    """Scenes of training in which every animal wears a hat."""
    from limner.picture.world.scene import sample_scene

    found: list[Scene] = []
    number = seed * 1_000_003
    while len(found) < count:
        scene = sample_scene(number, two=two)
        number += 1
        if all(figure.hat is not None for figure in scene.figures):
            found.append(scene)
    return found


def _maps(painter: PictureGenerator, text: str, drawing: Drawing, times: Sequence[float], seed: int) -> Tensor:
    """Cross-attention of each word: shape (words, times, layers, heads, patches)."""
    places = [where for _, where in painter.word_places(text)]
    recorder = Recorder([WEIGHTS], keep=lambda weights: add_words(of_prompt(weights), places))
    guide = Guide(painter.model, painter.prompts([(text, 1.0)], "", 1.0), tap=recorder)
    pixels = from_bytes(torch.from_numpy(drawing.image.copy()).permute(2, 0, 1)[None]).to(painter.device)
    latent = painter.model.to_latent(pixels)
    generator = torch.Generator().manual_seed(seed)
    for time in times:
        noise = torch.randn(latent.shape, generator=generator).to(painter.device)
        alpha, sigma = levels(painter.config.diffusion.process, torch.tensor([time], device=painter.device))
        guide(add_noise(latent, noise, alpha, sigma), torch.tensor(time))
    looks = torch.stack([layers.transpose(0, 1) for layers in by_look(recorder).values()])  # times, words, layers, …
    return looks.transpose(0, 1)


def _mean(of_words: Tensor) -> Map:
    """The mean of times, layers and heads: shape (rows, columns)."""
    found: Map = of_words.mean(dim=(0, 1, 2)).numpy()
    return found


def _mask(drawing: Drawing, one: Wanted) -> Mask:
    masks = drawing.masks[one.figure]
    return masks.animal if one.kind == "animal" else masks.hat


def _score(found: Map, drawing: Drawing, one: Wanted) -> MapScore:
    own = None
    if len(drawing.masks) == 2:
        both = [
            coarse(_mask(drawing, Wanted(one.kind, figure, ())), found.shape) for figure in (one.figure, 1 - one.figure)
        ]
        density = [float((found * mask).sum() / mask.sum()) for mask in both]  # whoever is larger is not the likelier
        own = density[0] / max(sum(density), 1e-9)
    return score_map(found, _mask(drawing, one), own)


def _like(other: Drawing, drawing: Drawing) -> bool:
    return len(other.masks) == len(drawing.masks)


def _enlarged(found: Map, shape: tuple[int, ...]) -> Map:
    """A map in pixels, between the patches' middles in a straight line."""
    large = F.interpolate(torch.from_numpy(found)[None, None], size=shape, mode="bilinear", align_corners=False)
    pixels: Map = large[0, 0].numpy()
    return pixels


def _summary(scores: Sequence[MapScore]) -> dict[str, float]:
    """Means, without what no score has."""
    means: dict[str, float] = {"count": len(scores)}
    for name in MapScore.__dataclass_fields__:
        values = [value for value in (getattr(score, name) for score in scores) if value is not None]
        if values:
            means[name] = round(float(np.mean(values)), 4)
    return means
