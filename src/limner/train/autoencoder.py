"""Training the picture autoencoder: from pictures, which need no captions, to a model folder.

An ``AutoencoderPlan`` says what is wanted; the pictures are those that it names, or batches of one's own. ``start`` makes a
run folder and ``go_on`` opens one; both give an ``AutoencoderRun``, whose ``train`` is the loop with the step of an
autoencoder: there and back, and how far off. Beside what every run writes there are
``samples/step-….png``: held-back pictures in the upper of two rows, what became of them in the lower.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from limner.core.errors import ConfigError, DataError, TrainingError, suggest
from limner.data.picture_batches import PictureBatches
from limner.data.picture_shards import PictureSet
from limner.picture.autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    LossWeights,
    autoencoder_loss,
    peak_ratio,
    save_autoencoder,
    sharpness,
)
from limner.picture.images import from_bytes, grid, to_image
from limner.picture.world.prepare import DrawnPlan
from limner.train import machine
from limner.train.display import watchers_for
from limner.train.loop import Evaluation, Outcome, Training, Watcher, resolve
from limner.train.pictures import PictureCorpus, check_drawn, open_pictures, training_summary
from limner.train.resuming import changed_on_the_way, check_same, finished, open_run
from limner.train.run import RunFolder
from limner.train.settings import DEFAULT_MINUTES, TrainSettings, at_least, changed, split_assignment
from limner.weights.places import cache_folder

Batches = Callable[[int], Tensor]
Progress = Callable[[str, int, int], None]

SCALED_ON = 16  # batches by which the latents' scale is set
SHOWN = 8  # pictures of a sample
JUDGED_TOGETHER = 32  # held-back pictures


# ── what is wanted ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class AutoencoderPictures:
    """How pictures are read and drawn.

    Attributes:
        pixels: side of the square, or of the square of the same area where there are several buckets.
        buckets: shapes; 1: squares alone.
        flip: mirror every other picture, by chance.
        validation: share of the pictures that is held back; drawings have theirs beside them.
        evaluate_pictures: of those held back, by how many it is judged.
    """

    pixels: int = 64
    buckets: int = 1
    flip: bool = False
    validation: float = 0.05
    evaluate_pictures: int = 256

    def __post_init__(self) -> None:
        for name in ("pixels", "buckets", "evaluate_pictures"):
            at_least(name, getattr(self, name), 1)


@dataclass(frozen=True)
class AutoencoderPlan:
    """Everything that says what a run should do.

    Attributes:
        config: the shape of the model.
        weights: of the parts of the loss.
        train: settings that are given; the others are the loop's own.
        dtype: of the weights in the finished model's file.
        card: what the finished model says of itself: title, licence, what it was trained on.
        data: files and folders of pictures; captions are not looked at.
        drawn: or drawings of the picture-book world.
        pictures: how they are read.
    """

    config: AutoencoderConfig = AutoencoderConfig()
    weights: LossWeights = LossWeights()
    train: Mapping[str, Any] = field(default_factory=dict)
    dtype: Literal["float32", "bfloat16"] = "float32"
    card: Mapping[str, Any] = field(default_factory=dict)
    data: tuple[Path, ...] = ()
    drawn: DrawnPlan | None = None
    pictures: AutoencoderPictures = AutoencoderPictures()

    def override(self, assignments: Iterable[str]) -> AutoencoderPlan:
        """Apply ``name=value`` texts, as ``--set`` has them.

        Raises:
            ConfigError: an unknown name, with the nearest; or a value of the wrong type.
        """
        plan = self
        of_train = [f.name for f in fields(TrainSettings)]
        for assignment in sorted(
            assignments, key=lambda one: not one.startswith("encoder=")
        ):  # latent_channels hang on it
            name, value = split_assignment(assignment)
            if name in of_train:
                typed = getattr(changed(TrainSettings(), {name: value}), name)
                others = {"steps", "minutes"} - {name} if name in ("steps", "minutes") else set()
                plan = replace(plan, train={k: v for k, v in plan.train.items() if k not in others} | {name: typed})
            elif (new := plan.changed(name, value)) is not None:
                plan = new
            else:
                own = [f.name for part in (plan.config, plan.weights, plan.pictures) for f in fields(part)]
                known = [*of_train, *own, "dtype"]
                raise ConfigError(f"--set {name} is given, but there is no such setting. {suggest(name, known)}")
        return plan

    def changed(self, name: str, value: str) -> AutoencoderPlan | None:
        """The plan with one setting changed that is not the loop's; None: there is none of this name."""
        if name == "dtype":
            return changed(self, {name: value})
        if name.startswith("drawn.") and self.drawn is not None:
            return replace(self, drawn=changed(self.drawn, {name.removeprefix("drawn."): value}, "drawn."))
        values = {name: value}
        if name == "encoder" and value != self.config.encoder:
            values["latent_channels"] = str(
                self.config.channels if value == "average" else AutoencoderConfig.latent_channels
            )
        for part in ("config", "weights", "pictures"):
            if name in {f.name for f in fields(getattr(self, part))}:
                plan: AutoencoderPlan = replace(self, **{part: changed(getattr(self, part), values)})
                if name == "pixels" and plan.drawn is not None:
                    plan = replace(plan, drawn=replace(plan.drawn, size=plan.pictures.pixels))
                return plan
        return None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"config": self.config.to_dict(), "data": [str(path) for path in self.data]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AutoencoderPlan:
        """Read what ``to_dict`` wrote."""
        return cls(
            config=AutoencoderConfig.from_dict(values["config"]),
            weights=changed(LossWeights(), values["weights"]),
            train=values["train"],
            dtype=values["dtype"],
            card=values["card"],
            data=tuple(map(Path, values["data"])),
            drawn=None if values["drawn"] is None else changed(DrawnPlan(), values["drawn"]),
            pictures=changed(AutoencoderPictures(), values["pictures"]),
        )


@dataclass(frozen=True)
class AutoencoderChoice:
    """The settings without ``auto``, and what is expected of the model."""

    settings: TrainSettings
    parameters: int
    flops_per_picture: float


# ── the run ────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class AutoencoderRun:
    """One run, ready to be trained.

    Attributes:
        batches: the i-th training batch, uint8, (batch, 3, height, width), a pure function of i.
        held_back: batches of other pictures, by which it is judged.
        corpus: where both are from; None where they were given.
    """

    plan: AutoencoderPlan
    choice: AutoencoderChoice
    folder: RunFolder
    batches: Batches
    held_back: Sequence[Tensor]
    corpus: PictureCorpus | None = None
    resumed: bool = False

    def summary(self) -> str:
        """What will be done, in a few lines."""
        config = self.plan.config
        fewer = config.channels * config.factor**2 / config.latent_channels
        lines = [
            *([] if self.corpus is None else self.corpus.summary()),
            f"model: {self.choice.parameters / 1e6:.2g}M parameters",
            f"      {config.factor} × {config.factor} pixels become {config.latent_channels} numbers, {fewer:g} times fewer",
            *training_summary(self.choice.settings),
        ]
        return "\n".join(lines)

    def finished(self) -> Outcome | None:
        """How the run ended, if it came to its end; None: there is something left to do."""
        return finished(self.folder, self.choice.settings)

    def watchers(self) -> list[Watcher]:
        """What shows the run as it goes."""
        settings, flops = self.choice.settings, self.choice.flops_per_picture
        pictures = settings.batch_size * settings.accumulate
        return watchers_for(settings, self.folder, a_step=pictures, flops=flops, unit="pictures")

    def train(self, watchers: Sequence[Watcher] = ()) -> Outcome:
        """Train to the end, or until Ctrl-C; ``model/`` in the run folder is the best model so far."""
        settings, weights = self.choice.settings, self.plan.weights
        machine.prepare(settings)  # before the model, whose first sums start torch's threads
        device = torch.device(settings.device)
        torch.manual_seed(settings.seed)
        model = Autoencoder(self.plan.config).to(device)

        def step(pictures: Tensor) -> Tensor:
            pixels = from_bytes(pictures.to(device))
            noise = torch.randn(len(pixels), *model.latent_shape(*pixels.shape[2:]), device=device)
            return autoencoder_loss(model, pixels, noise, weights)[0]

        def evaluate() -> Evaluation:
            metrics = measure(model, self.held_back, weights)
            return Evaluation(metrics, pictures=(self._write_sample(model, training.clock.step),))

        with self.folder as folder:
            training = Training(
                model,
                step=step,
                batches=self.batches,
                settings=settings,
                folder=folder,
                evaluate=evaluate,
                export=self._export,
                watchers=watchers,
            )
            outcome = training.run(resumed=self.resumed)
            if outcome.reason == "finished":
                folder.event("result", step=outcome.step, **outcome.best)
            return outcome

    def _write_sample(self, model: Autoencoder, step: int) -> Image.Image:
        pixels = from_bytes(self.held_back[0][:SHOWN].to(model.mean.device))
        made = model.decode(model.encode(pixels).mean)
        sheet = grid([to_image(one) for one in (*pixels, *made)], len(pixels))
        path = self.folder.path / "samples" / f"step-{step:08d}.png"
        path.parent.mkdir(exist_ok=True)
        sheet.save(path)
        return sheet

    def _export(self, weights: dict[str, Tensor], step: int, metrics: dict[str, float]) -> None:
        settings = self.choice.settings
        device = torch.device(settings.device)
        model = Autoencoder(self.plan.config).to(device)
        model.load_state_dict(model.state_dict() | weights)  # all but the scale, which comes now
        with torch.no_grad():
            model.fit_scale(from_bytes(self.batches(index).to(device)) for index in range(SCALED_ON))
        names = ", ".join(sorted({path.name for path in self.plan.data}))
        trained_on = "drawings of the picture-book world" if self.plan.drawn else names
        card = {
            "name": self.folder.path.name,
            **({"trained_on": trained_on} if trained_on else {}),
            **self.plan.card,
            "parameters": self.choice.parameters,
            "training": {
                "steps": step,
                "pictures": step * settings.accumulate * settings.batch_size,
                "loss": asdict(self.plan.weights),
                "settings": settings.to_dict(),
                "date": time.strftime("%Y-%m-%d"),
            },
            "validation": dict(metrics),
        }
        dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[self.plan.dtype]
        save_autoencoder(self.folder.model, model, card, dtype=dtype)


@torch.no_grad()
def measure(model: Autoencoder, held_back: Sequence[Tensor], weights: LossWeights) -> dict[str, float]:
    """How far pictures are from themselves, in numbers that do not change from one time to the next.

    Args:
        model: in evaluation mode.
        held_back: batches of uint8 pictures.
    Returns:
        loss and its parts, psnr in decibels, sharpness, and noise: the latents' own uncertainty as a share of their
        deviation. psnr and sharpness are those of the latents' means.
    """
    device = model.mean.device
    generator = torch.Generator().manual_seed(0)
    sums: dict[str, float] = {}
    count = 0
    for pictures in held_back:
        pixels = from_bytes(pictures.to(device))
        noise = torch.randn(len(pixels), *model.latent_shape(*pixels.shape[2:]), generator=generator).to(device)
        loss, parts = autoencoder_loss(model, pixels, noise, weights)
        latents = model.encode(pixels)
        made = model.decode(latents.mean)
        spread = (latents.mean.var((0, 2, 3)) + latents.log_variance.exp().mean((0, 2, 3))).sqrt()
        found = {
            "loss": loss,
            **parts,
            "psnr": peak_ratio(made, pixels).mean(),
            "sharpness": sharpness(made, pixels),
            "noise": ((0.5 * latents.log_variance).exp().mean((0, 2, 3)) / spread).mean(),
        }
        for name, value in found.items():
            sums[name] = sums.get(name, 0.0) + float(value) * len(pixels)
        count += len(pixels)
    return {name: value / count for name, value in sums.items()}


# ── pictures ───────────────────────────────────────────────────────────────────────────────────────────────


def open_corpus(plan: AutoencoderPlan, cache: Path, progress: Progress | None = None) -> PictureCorpus:
    """The plan's pictures."""
    pictures = plan.pictures
    return open_pictures(
        plan.data,
        plan.drawn,
        cache,
        size=pictures.pixels,
        validation=pictures.validation,
        buckets=pictures.buckets,
        multiple=plan.config.factor,
        captions="none",
        progress=progress,
    )


def training_batches(corpus: PictureCorpus, settings: TrainSettings, flip: bool) -> Batches:
    """The i-th batch of the pictures to train on."""
    batches = PictureBatches(corpus.train, settings.batch_size, settings.seed, flip=flip)
    return lambda index: batches(index).images


def judged_by(pictures: PictureSet, count: int) -> list[Tensor]:
    """The first pictures of a set in batches of one shape each, uint8, (batch, 3, height, width); the largest first."""
    found: list[Tensor] = []
    for array, numbers in zip(pictures.arrays, pictures.numbers, strict=True):
        first = np.array(array[: int((numbers < count).sum())])
        if len(first):
            found += torch.split(torch.from_numpy(first).permute(0, 3, 1, 2).contiguous(), JUDGED_TOGETHER)
    return sorted(found, key=len, reverse=True)


# ── beginning, and going on ────────────────────────────────────────────────────────────────────────────────


def start(
    plan: AutoencoderPlan,
    out: Path,
    batches: Batches | None = None,
    held_back: Sequence[Tensor] = (),
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> AutoencoderRun:
    """Open the pictures and make the run folder.

    Args:
        plan: what is wanted.
        out: the run folder, new.
        batches: in place of the plan's pictures, the i-th training batch, uint8, (batch, 3, height, width), a pure
            function of i; their size is the caller's, not ``train``'s.
        held_back: batches of other pictures beside them, a few hundred in all.
        cache: where prepared pictures are kept; by default where those of picture models are.
        progress: called while pictures are read or drawn.
    Raises:
        DataError: pictures of another form, or none.
        ShapeError: their sides are no multiples of the factor.
        ConfigError: settings that cannot be used.
        TrainingError: the folder holds a run already or cannot be written.
    """
    RunFolder.check_new(out)
    given = dict(plan.train)
    corpus = None
    if batches is None:
        _check_plan(plan)
        cache = (cache or cache_folder("pictures")).absolute()
        plan = replace(plan, data=tuple(path.absolute() for path in plan.data))
        if given.get("steps") is None and given.get("minutes") is None:
            given["minutes"] = DEFAULT_MINUTES
        asked = resolve(changed(TrainSettings(), given))  # what cannot be used is refused before the data are read
        corpus = open_corpus(plan, cache, progress)
        given["batch_size"] = min(asked.batch_size, len(corpus.train))
    else:
        given["batch_size"] = len(batches(0))
    settings = resolve(changed(TrainSettings(), given))
    if corpus is not None:
        batches = training_batches(corpus, settings, plan.pictures.flip)
        held_back = judged_by(corpus.validation, plan.pictures.evaluate_pictures)
    assert batches is not None
    _check(plan.config, batches, held_back)
    choice = AutoencoderChoice(settings, *_costs(plan.config, held_back[0].shape[2:]))
    folder = RunFolder.create(
        out,
        {
            "kind": "autoencoder",
            "plan": plan.to_dict(),
            "train": settings.to_dict(),
            "parameters": choice.parameters,
            "flops_per_picture": choice.flops_per_picture,
            "cache": None if corpus is None else str(cache),
            "data": _identity(batches, held_back),
        },
        settings.keep,
    )
    return AutoencoderRun(plan, choice, folder, batches, held_back, corpus)


def go_on(
    run: Path,
    batches: Batches | None = None,
    held_back: Sequence[Tensor] = (),
    *,
    assignments: Sequence[str] = (),
    progress: Progress | None = None,
) -> AutoencoderRun:
    """Open a run folder to go on with its training.

    Args:
        run: the folder.
        batches, held_back: the same as in the beginning, if they were given then.
        assignments: ``name=value`` of ``TrainSettings`` that shall be other than before, such as a longer run.
        progress: as in ``start``.
    Raises:
        WeightsError: it is no run folder.
        ConfigError: a setting that cannot change any more.
        TrainingError: the pictures are others, or it is a run of another kind.
    """
    folder, stored = open_run(run, "autoencoder")
    plan = AutoencoderPlan.from_dict(stored["plan"])
    before = TrainSettings.from_dict(stored["train"])
    values = dict(split_assignment(assignment) for assignment in assignments)
    settings = changed_on_the_way(before, values, folder, partial(_same, plan, before))
    corpus = None
    if stored["cache"] is not None:
        corpus = open_corpus(plan, Path(stored["cache"]), progress)
        batches = training_batches(corpus, settings, plan.pictures.flip)
        held_back = judged_by(corpus.validation, plan.pictures.evaluate_pictures)
    elif batches is None:
        raise TrainingError(
            f"{run} began with batches of its caller's, but none are given. Go on in Python, with limner.train.autoencoder."
        )
    check_same(_identity(batches, held_back), stored["data"])
    if values:
        folder.write_plan({**stored, "train": settings.to_dict()})
    folder.checkpoints.keep = settings.keep
    choice = AutoencoderChoice(settings, stored["parameters"], stored["flops_per_picture"])
    return AutoencoderRun(plan, choice, folder, batches, held_back, corpus, resumed=True)


def _same(plan: AutoencoderPlan, settings: TrainSettings, name: str, value: str) -> bool | None:
    """Whether a setting that cannot change is as the run began with; None: it can, or there is none."""
    if name == "batch_size":
        return changed(settings, {name: value}) == settings
    new = plan.changed(name, value)
    return None if new is None else new == plan


def _check_plan(plan: AutoencoderPlan) -> None:
    """Check that there are pictures, of a size that the model takes."""
    if not plan.data and plan.drawn is None:
        raise DataError("the plan has neither data nor drawn, but there must be pictures to learn from. Give one.")
    pixels, factor = plan.pictures.pixels, plan.config.factor
    check_drawn(plan.drawn, pixels)
    if pixels % factor:
        near = max(1, round(pixels / factor)) * factor
        raise ConfigError(f"pixels is {pixels}, but must be a multiple of factor, {factor}. Choose {near}.")


def _costs(config: AutoencoderConfig, size: Sequence[int]) -> tuple[int, float]:
    """Parameters, and operations of a training step for each picture: three times those of the way there and back."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model = Autoencoder(config)
        model.decode(model.encode(torch.empty(1, config.channels, *size)).mean)
    return sum(p.numel() for p in model.parameters()), 3.0 * counter.get_total_flops()


def _check(config: AutoencoderConfig, batches: Batches, held_back: Sequence[Tensor]) -> None:
    """Check that the pictures are such as the model takes."""
    if not sum(map(len, held_back)):
        raise DataError("held_back has 0 pictures, but a model is judged by some. Hold back a few hundred.")
    model = Autoencoder(config)
    for name, pictures in (("the first batch", batches(0)), *(("a held-back batch", part) for part in held_back)):
        if pictures.dtype != torch.uint8 or pictures.dim() != 4 or pictures.shape[1] != config.channels:
            raise DataError(
                f"{name} is {str(pictures.dtype).removeprefix('torch.')} of shape {tuple(pictures.shape)}, but pictures "
                f"are uint8 of shape (batch, {config.channels}, height, width). Convert it first."
            )
        model.check_size(*pictures.shape[2:])


def _identity(batches: Batches, held_back: Sequence[Tensor]) -> dict[str, str]:
    """What must be the same for a run to go on."""

    def digest(parts: Sequence[Tensor]) -> str:
        whole = hashlib.sha256()
        for part in parts:
            whole.update(str(tuple(part.shape)).encode() + part.contiguous().numpy().tobytes())
        return whole.hexdigest()

    return {"first_batch": digest([batches(0)]), "held_back_part": digest(held_back)}
