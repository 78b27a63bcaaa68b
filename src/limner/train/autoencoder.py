"""Training the picture autoencoder: from batches of pictures to a model folder.

``start`` makes a run folder and ``go_on`` opens one; both give an ``AutoencoderRun``, whose ``train`` is the loop with
the step of an autoencoder: there and back, and how far off. Beside what every run writes there are
``samples/step-….png``: held-back pictures in the upper of two rows, what became of them in the lower.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from limner.core.errors import DataError, TrainingError
from limner.picture.autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    LossWeights,
    autoencoder_loss,
    peak_ratio,
    save_autoencoder,
    sharpness,
)
from limner.train.loop import Evaluation, Outcome, Training, Watcher, resolve
from limner.train.run import RunFolder
from limner.train.settings import TrainSettings, changed, split_assignment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    Batches = Callable[[int], Tensor]

SCALED_ON = 16  # batches by which the latents' scale is set
SHOWN = 8  # pictures of a sample


@dataclass(frozen=True)
class AutoencoderPlan:
    """Everything that says what a run should do.

    Attributes:
        config: the shape of the model.
        weights: of the parts of the loss.
        train: settings that are given; the others are the loop's own.
        dtype: of the weights in the finished model's file.
        card: what the finished model says of itself: title, licence, what it was trained on.
    """

    config: AutoencoderConfig = AutoencoderConfig()
    weights: LossWeights = LossWeights()
    train: Mapping[str, Any] = field(default_factory=dict)
    dtype: Literal["float32", "bfloat16"] = "float32"
    card: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"config": self.config.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AutoencoderPlan:
        """Read what ``to_dict`` wrote."""
        return cls(
            config=AutoencoderConfig.from_dict(values["config"]),
            weights=changed(LossWeights(), values["weights"]),
            train=values["train"],
            dtype=values["dtype"],
            card=values["card"],
        )


def to_pixels(pictures: Tensor, device: torch.device) -> Tensor:
    """uint8 → float32 from −1 to 1, on the device."""
    return pictures.to(device, non_blocking=True).float().div_(127.5).sub_(1.0)


def to_bytes(pixels: Tensor) -> Tensor:
    """The way back, rounded and cut off at black and white."""
    return pixels.detach().float().clamp(-1.0, 1.0).add(1.0).mul(127.5).round().to("cpu", torch.uint8)


@dataclass
class AutoencoderRun:
    """One run, ready to be trained.

    Attributes:
        batches: the i-th training batch, uint8, (batch, 3, height, width), a pure function of i.
        held_back: batches of other pictures, by which it is judged.
    """

    plan: AutoencoderPlan
    settings: TrainSettings
    folder: RunFolder
    batches: Batches
    held_back: Sequence[Tensor]
    resumed: bool = False

    def train(self, watchers: Sequence[Watcher] = ()) -> Outcome:
        """Train to the end, or until Ctrl-C; ``model/`` in the run folder is the best model so far."""
        settings, weights, device = self.settings, self.plan.weights, torch.device(self.settings.device)
        torch.manual_seed(settings.seed)
        model = Autoencoder(self.plan.config).to(device)

        def step(pictures: Tensor) -> Tensor:
            pixels = to_pixels(pictures, device)
            noise = torch.randn(len(pixels), *model.latent_shape(*pixels.shape[2:]), device=device)
            return autoencoder_loss(model, pixels, noise, weights)[0]

        def evaluate() -> Evaluation:
            metrics = measure(model, self.held_back, weights)
            self._write_sample(model, training.clock.step)
            return Evaluation(metrics)

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
            if self.resumed and (checkpoint := folder.checkpoints.latest(training.say)) is not None:
                training.restore(checkpoint)
            return training.run()

    def _write_sample(self, model: Autoencoder, step: int) -> None:
        device = model.mean.device
        pictures = self.held_back[0][:SHOWN]
        made = to_bytes(model.decode(model.encode(to_pixels(pictures, device)).mean))
        write_grid(self.folder.path / "samples" / f"step-{step:08d}.png", [pictures, made])

    def _export(self, weights: dict[str, Tensor], step: int, metrics: dict[str, float]) -> None:
        device = torch.device(self.settings.device)
        model = Autoencoder(self.plan.config).to(device)
        model.load_state_dict(model.state_dict() | weights)  # all but the scale, which comes now
        with torch.no_grad():
            model.fit_scale(to_pixels(self.batches(index), device) for index in range(SCALED_ON))
        card = {
            "name": self.folder.path.name,
            **self.plan.card,
            "parameters": sum(p.numel() for p in model.parameters()),
            "training": {
                "steps": step,
                "pictures": step * self.settings.accumulate * len(self.batches(0)),
                "loss": asdict(self.plan.weights),
                "settings": self.settings.to_dict(),
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
        pixels = to_pixels(pictures, device)
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


def write_grid(path: Path, rows: Sequence[Tensor], gap: int = 2) -> None:
    """Write rows of pictures of one shape as a PNG.

    Args:
        rows: uint8, (number, 3, height, width) each.
        gap: white pixels between two.
    """
    from PIL import Image

    count, _, height, width = rows[0].shape
    grid = np.full((len(rows) * (height + gap) - gap, count * (width + gap) - gap, 3), 255, np.uint8)
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures.permute(0, 2, 3, 1).cpu().numpy()):
            top, left = row * (height + gap), column * (width + gap)
            grid[top : top + height, left : left + width] = picture
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grid).save(path)


# ── beginning, and going on ────────────────────────────────────────────────────────────────────────────────


def start(plan: AutoencoderPlan, out: Path, batches: Batches, held_back: Sequence[Tensor]) -> AutoencoderRun:
    """Make the run folder.

    Args:
        plan: what is wanted.
        out: the run folder, new.
        batches: the i-th training batch, uint8, (batch, 3, height, width), a pure function of i, such as
            ``lambda index: picture_batches(index).images``; their size is the caller's, not ``train``'s.
        held_back: batches of other pictures, a few hundred in all.
    Raises:
        DataError: pictures of another form, or none.
        ShapeError: their sides are no multiples of the factor.
        ConfigError: settings that cannot be used.
        TrainingError: the folder holds a run already or cannot be written.
    """
    RunFolder.check_new(out)
    settings = resolve(changed(TrainSettings(), {**plan.train, "batch_size": len(batches(0))}))
    _check(plan.config, batches, held_back)
    folder = RunFolder.create(
        out,
        {
            "kind": "autoencoder",
            "plan": plan.to_dict(),
            "train": settings.to_dict(),
            "data": _identity(batches, held_back),
        },
        settings.keep,
    )
    return AutoencoderRun(plan, settings, folder, batches, held_back)


def go_on(
    run: Path, batches: Batches, held_back: Sequence[Tensor], *, assignments: Sequence[str] = ()
) -> AutoencoderRun:
    """Open a run folder to go on with its training.

    Args:
        run: the folder.
        batches, held_back: the same as in the beginning.
        assignments: ``name=value`` of ``TrainSettings`` that shall be other than before, such as a longer run.
    Raises:
        WeightsError: it is no run folder.
        TrainingError: the pictures are others, or it is a run of another kind.
    """
    folder, stored = RunFolder.open(run)
    if stored.get("kind") != "autoencoder":
        raise TrainingError(
            f"{run} is a run of kind {stored.get('kind')!r}, but only that of an autoencoder can be resumed here. "
            "Use its own verb."
        )
    for name, digest in _identity(batches, held_back).items():
        if digest != stored["data"][name]:
            raise TrainingError(
                f"the {name.replace('_', ' ')} has the digest {digest[:12]}, but this run began with "
                f"{str(stored['data'][name])[:12]}. Restore the pictures, or start a new run."
            )
    settings = TrainSettings.from_dict(stored["train"])
    values = dict(split_assignment(assignment) for assignment in assignments)
    for one, other in (("steps", "minutes"), ("minutes", "steps")):
        if one in values and other not in values:
            settings = replace(settings, **{other: None})  # type: ignore[arg-type]
    if values:
        settings = changed(settings, values)
        folder.write_plan({**stored, "train": settings.to_dict()})
    folder.checkpoints.keep = settings.keep
    plan = AutoencoderPlan.from_dict(stored["plan"])
    return AutoencoderRun(plan, settings, folder, batches, held_back, resumed=True)


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
