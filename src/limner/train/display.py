"""What a person sees of a run while it trains."""

from __future__ import annotations

import math
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import torch

from limner.train import machine
from limner.train.loop import Evaluation, Outcome, StepReport, Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from limner.train.run import RunFolder
    from limner.train.settings import TrainSettings
    from limner.train.text import Choice


def duration(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


class Speed:
    """Tokens a second over the last steps, and the share of the machine's peak that they take.

    Args:
        tokens_a_step: tokens in one step.
        flops_per_token: operations of one training step for each token; 0: unknown.
        peak: operations a second of a large matrix product on this machine; 0: unknown.
    """

    def __init__(self, tokens_a_step: int, flops_per_token: float = 0.0, peak: float = 0.0) -> None:
        self.tokens_a_step, self.flops_per_token, self.peak = tokens_a_step, flops_per_token, peak
        self.seconds = 0.0

    def add(self, report: StepReport) -> None:
        """Take a step into account; the first, which starts things up, is forgotten at the second."""
        self.seconds = (
            report.seconds if self.seconds == 0.0 or report.step <= 2 else 0.9 * self.seconds + 0.1 * report.seconds
        )

    @property
    def tokens_per_second(self) -> float:
        """0 before the first step."""
        return self.tokens_a_step / self.seconds if self.seconds else 0.0

    @property
    def share_of_peak(self) -> float | None:
        """None where the peak is unknown."""
        return self.tokens_per_second * self.flops_per_token / self.peak if self.peak and self.flops_per_token else None


class Lines(Watcher):
    """Plain lines, for files and pipes: one now and then, and one at each evaluation.

    Args:
        speed: counts tokens.
        every: seconds between two lines on steps.
        out: where to write; standard error by default.
    """

    def __init__(self, speed: Speed, *, every: float = 10.0, out: TextIO | None = None) -> None:
        self.speed, self.every, self.out = speed, every, out or sys.stderr
        self.shown = -math.inf
        self.loss = math.nan

    def line(self, text: str) -> None:
        """Write one line."""
        self.out.write(text + "\n")
        self.out.flush()

    def started(self, *, step: int, settings: TrainSettings) -> None:
        if step:
            self.line(f"going on after step {step:,}")

    def stepped(self, report: StepReport) -> None:
        self.speed.add(report)
        self.loss = report.loss if math.isnan(self.loss) else 0.95 * self.loss + 0.05 * report.loss
        if time.monotonic() - self.shown < self.every:
            return
        self.shown = time.monotonic()
        share = self.speed.share_of_peak
        left = "" if report.seconds_left is None else f"   {duration(report.seconds_left)} left"
        self.line(
            f"step {report.step:6,}  {report.progress:4.0%}  loss {self.loss:.4f}  {self.speed.tokens_per_second:7,.0f} tokens/s"
            + ("" if share is None else f"  {share:.0%} of peak")
            + left
        )

    def evaluated(self, step: int, evaluation: Evaluation) -> None:
        numbers = "  ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in evaluation.metrics.items())
        self.line(f"step {step:6,}  validation: {numbers}")
        for text in evaluation.samples[:1]:
            self.line("    " + " ".join(text.split())[:300])

    def said(self, text: str) -> None:
        self.line(text)

    def ended(self, outcome: Outcome) -> None:
        self.line(f"{outcome.reason} after {outcome.step:,} steps, {duration(outcome.elapsed)}")


# ── which display ──────────────────────────────────────────────────────────────────────────────────────


def watchers_for(choice: Choice, folder: RunFolder) -> list[Watcher]:
    """A display that suits where standard error goes, and TensorBoard's curves where it is installed."""
    settings = choice.settings
    device = torch.device(settings.device)
    dtype = torch.float32 if settings.precision == "float32" else torch.bfloat16
    machine.prepare(settings)
    peak = machine.matmul_peak(device, dtype)
    speed = Speed(
        settings.batch_size * settings.accumulate * choice.config.context_length, choice.flops_per_token, peak
    )
    return [Lines(speed)]


@contextmanager
def reading_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Shows how far reading and tokenizing are: a bar on a terminal, else nothing."""
    yield lambda what, done, total: None
