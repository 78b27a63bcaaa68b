"""How the learning rates rise and fall over a run, and how far a run is.

Everything is a function of ``progress``, the share of the run that is done, so that a run measured in minutes
and one measured in steps have the same shape.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

if TYPE_CHECKING:
    from limner.train.settings import TrainSettings


def rate_factor(progress: float, settings: TrainSettings) -> float:
    """What the peak rates are multiplied by, from 0 to 1.

    Rises in a straight line over ``warmup``, then follows the schedule down to ``final_rate``.

    Args:
        progress: share of the run that is done when the step ends, 0 to 1.
        settings: ``schedule``, ``warmup``, ``decay`` and ``final_rate`` are read.
    Source: warmup-stable-decay is Hu et al. 2024, arXiv:2404.06395.
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < settings.warmup:
        return progress / settings.warmup
    rest = (progress - settings.warmup) / max(1.0 - settings.warmup, 1e-9)
    match settings.schedule:
        case "linear":
            fall = rest
        case "cosine":
            fall = (1.0 - math.cos(math.pi * rest)) / 2.0
        case "warmup-stable-decay":
            fall = max(0.0, progress - (1.0 - settings.decay)) / max(settings.decay, 1e-9)
        case "constant":
            fall = 0.0
        case _:
            assert_never(settings.schedule)
    return 1.0 - (1.0 - settings.final_rate) * min(fall, 1.0)


@dataclass
class Clock:
    """How far a run is, by steps or by time.

    By steps, progress is exact and a resumed run repeats it bit for bit. By minutes, it follows the clock:
    a step is planned to end one average step after now.
    """

    steps: int | None
    seconds: float | None
    step: int = 0
    elapsed: float = 0.0  # seconds of training, those before a resume included
    step_seconds: float = 0.0  # moving average

    @classmethod
    def of(cls, settings: TrainSettings) -> Clock:
        """A clock at the beginning of the run that the settings ask for."""
        assert (settings.steps is None) != (settings.minutes is None), "one of steps and minutes is set by now"
        return cls(settings.steps, None if settings.minutes is None else settings.minutes * 60.0)

    def tick(self, seconds: float) -> None:
        """A step is done, and all of it took so many seconds."""
        self.step += 1
        self.elapsed += seconds
        self.step_seconds = seconds if self.step_seconds == 0.0 else 0.9 * self.step_seconds + 0.1 * seconds

    @property
    def done(self) -> bool:
        """Whether the run has reached its length."""
        if self.steps is not None:
            return self.step >= self.steps
        assert self.seconds is not None
        return self.elapsed >= self.seconds

    def progress(self, ahead: int = 0) -> float:
        """Share of the run done after ``ahead`` more steps."""
        if self.steps is not None:
            return min(1.0, (self.step + ahead) / self.steps)
        assert self.seconds is not None
        return min(1.0, (self.elapsed + ahead * self.step_seconds) / self.seconds)

    def seconds_left(self) -> float | None:
        """How long the rest will take; None before anything was measured."""
        if self.seconds is not None:
            return max(0.0, self.seconds - self.elapsed)
        assert self.steps is not None
        return (self.steps - self.step) * self.elapsed / self.step if self.step else None
