"""What a picture is made with, and what is kept of its making."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from torch import Tensor

from limner.core.errors import ConfigError, suggest
from limner.picture.config import PictureConfig
from limner.picture.images import save_png
from limner.picture.samplers import SAMPLERS

SEEDS = 2**32  # torch's generator on the CPU (a Mersenne twister) tells no more seeds apart
MOST_STEPS = 1000
MOST_GUIDANCE = 100.0
MOST_FRAMES = 1000
FROM_PICTURE = 0.6  # how much of the way from noise is gone again where a picture is refined and nothing else is said


@dataclass(frozen=True)
class PaintSettings:
    """How a picture is made. Together with prompt, seed and model it says every pixel.

    Attributes:
        steps: looks of the sampler (Heun takes two a step).
        guidance: how strongly the prompt pulls, up to 100; 1: not at all beyond itself, 0: the negative prompt, or the empty
            one, is painted alone.
        negative: what to lead away from.
        size: height and width in pixels; None: what the model was trained at.
        strength: with a picture to start from, how much of the way from noise is gone again: above 0, up to 1. None: 0.6
            with a picture, 1 within a mask and without a picture.
    """

    steps: int = 25
    guidance: float = 4.0
    negative: str = ""
    sampler: Literal["euler", "heun", "ddim", "dpm++", "ancestral"] = "euler"
    size: tuple[int, int] | None = None
    strength: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= MOST_STEPS:
            raise ConfigError(f"steps is {self.steps}, but a picture takes 1 to {MOST_STEPS:,}. 25 is usual.")
        if not 0.0 <= self.guidance <= MOST_GUIDANCE:
            try:
                told = f"{self.guidance:g}"
            except OverflowError:  # a whole number from a forged file
                told = "beyond all floats"
            raise ConfigError(
                f"guidance is {told}, but it goes from 0 (no prompt) over 1 (the prompt plainly) to {MOST_GUIDANCE:g}. "
                "4 is usual."
            )
        if self.sampler not in SAMPLERS:
            raise ConfigError(f"sampler is {self.sampler!r}, but there is none. {suggest(self.sampler, SAMPLERS)}")
        if self.strength is not None and not 0.0 < self.strength <= 1.0:
            raise ConfigError(f"strength is {self.strength:g}, but it is a share of the way. Choose above 0, up to 1.")

    def check_size(self, config: PictureConfig) -> tuple[int, int]:
        """Height and width for this model.

        Raises:
            ConfigError: a side is not a multiple that the model makes, or more than twice what it was trained at.
        """
        size = self.size or config.size
        for side, trained in zip(size, config.size, strict=True):
            if side % config.multiple or not 0 < side <= 2 * trained:
                (height, width), step = config.size, config.multiple
                raise ConfigError(
                    f"size is {size[1]} × {size[0]} (width × height), but this model makes multiples of {step}: {step} to "
                    f"{2 * width} wide and {step} to {2 * height} high. It is best at {width} × {height}."
                )
        return size


@dataclass(frozen=True)
class Given:
    """What the model was given at one look of the sampler.

    Attributes:
        number: from 0.
        time: 1 (noise) to 0.
        noisy: x_t, half precision, shape (channels, height, width), on the CPU.
    """

    number: int
    time: float
    noisy: Tensor


@dataclass(frozen=True)
class Look(Given):
    """One look of the sampler.

    Attributes:
        seen: the picture that the guided model saw in what it was given, like it in precision and shape.
    """

    seen: Tensor


@dataclass(frozen=True)
class Picture:
    """A painted picture and everything that made it.

    Attributes:
        settings: plain JSON values: prompt, seed, model, sampler, steps, …; they are saved in the PNG, and
            ``PictureGenerator.again`` makes the picture from them.
        looks: the record of its making; empty where none was kept.
        notes: what a person should know, such as words that the model has never seen.
    """

    image: Image.Image
    settings: dict[str, Any]
    looks: tuple[Look, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def seed(self) -> int:
        """What its noise was drawn from."""
        return int(self.settings["seed"])

    def save(self, path: Path | str) -> None:
        """Write a PNG that carries the settings.

        Raises:
            DataError: it cannot be written.
        """
        save_png(self.image, path, self.settings)

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows."""
        return self.image._repr_png_()


def looks_of(settings: PaintSettings) -> int:
    """How many looks a picture with these settings takes."""
    steps = max(1, round(settings.steps * (1.0 if settings.strength is None else settings.strength)))
    return 2 * steps - 1 if settings.sampler == "heun" else steps


def new_seed() -> int:
    """A seed that nobody chose."""
    return secrets.randbelow(2**31)
