"""What a person sees of a run while it trains."""

from __future__ import annotations

import math
import sys
import time
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
import torch

from limner.core.errors import counted
from limner.train import machine
from limner.train.loop import Evaluation, Outcome, StepReport, Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from rich.console import Console, RenderableType
    from rich.progress import TaskID

    from limner.train.run import RunFolder
    from limner.train.settings import TrainSettings


def duration(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


class Speed:
    """Tokens (or pictures) a second over the last steps, and the share of the machine's peak that they take.

    Args:
        a_step: tokens in one step.
        flops: operations of one training step for each token; 0: unknown.
        peak: operations a second of a large matrix product on this machine; 0: unknown.
        unit: what is counted.
    """

    def __init__(self, a_step: int, flops: float = 0.0, peak: float = 0.0, unit: str = "tokens") -> None:
        self.a_step, self.flops, self.peak, self.unit = a_step, flops, peak, unit
        self.seconds = 0.0

    def add(self, report: StepReport) -> None:
        """Take a step into account; the first, which starts things up, is forgotten at the second."""
        self.seconds = (
            report.seconds if self.seconds == 0.0 or report.step <= 2 else 0.9 * self.seconds + 0.1 * report.seconds
        )

    @property
    def per_second(self) -> float:
        """0 before the first step."""
        return self.a_step / self.seconds if self.seconds else 0.0

    @property
    def share_of_peak(self) -> float | None:
        """None where the peak is unknown."""
        return self.per_second * self.flops / self.peak if self.peak and self.flops else None


class Smoothed:
    """A moving average that forgets, and is a true average from the first value on.

    Args:
        keep: what is left of the past at each value.
    Source: the correction of Adam's moments, Kingma & Ba 2015, arXiv:1412.6980, section 3.
    """

    def __init__(self, keep: float = 0.95) -> None:
        self.keep, self.total, self.weight = keep, 0.0, 0.0

    def add(self, value: float) -> None:
        """Take one more value into account."""
        self.total = self.keep * self.total + (1.0 - self.keep) * value
        self.weight = self.keep * self.weight + (1.0 - self.keep)

    @property
    def value(self) -> float:
        """No number before the first."""
        return self.total / self.weight if self.weight else math.nan


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
        self.loss = Smoothed()

    def line(self, text: str) -> None:
        """Write one line."""
        self.out.write(text + "\n")
        self.out.flush()

    def started(self, *, step: int, settings: TrainSettings) -> None:
        if step:
            self.line(f"going on after step {step:,}")

    def stepped(self, report: StepReport) -> None:
        self.speed.add(report)
        self.loss.add(report.loss)
        if time.monotonic() - self.shown < self.every:
            return
        self.shown = time.monotonic()
        share = self.speed.share_of_peak
        left = "" if report.seconds_left is None else f"   {duration(report.seconds_left)} left"
        self.line(
            f"step {report.step:6,}  {report.progress:4.0%}  loss {self.loss.value:.4f}  {self.speed.per_second:7,.0f} {self.speed.unit}/s"
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
        self.line(f"{outcome.reason} after {counted(outcome.step, 'step')}, {duration(outcome.elapsed)}")


class Live(Watcher):
    """A panel on a terminal that changes as the run goes on."""

    def __init__(self, speed: Speed, console: Console) -> None:
        self.speed, self.console = speed, console
        self.loss = Smoothed()
        self.curve: list[float] = []
        self.report: StepReport | None = None
        self.metrics: dict[str, float] = {}
        self.probes: dict[str, tuple[float, float]] = {}
        self.sample = ""
        self.saved_step: int | None = None
        self.screen: Any = None

    def started(self, *, step: int, settings: TrainSettings) -> None:
        from rich.live import Live as Screen

        self.screen = Screen(console=self.console, refresh_per_second=4, get_renderable=self.render, transient=False)
        self.screen.start()

    def stepped(self, report: StepReport) -> None:
        self.speed.add(report)
        self.report = report
        self.loss.add(report.loss)
        if len(self.curve) < 60 * report.progress:
            self.curve.append(self.loss.value)

    def evaluated(self, step: int, evaluation: Evaluation) -> None:
        self.metrics, self.probes = evaluation.metrics, evaluation.probes
        if evaluation.samples:
            self.sample = evaluation.samples[len(self.curve) % len(evaluation.samples)]

    def saved(self, step: int) -> None:
        self.saved_step = step

    def said(self, text: str) -> None:
        self.console.print(text, style="yellow", markup=False)

    def ended(self, outcome: Outcome) -> None:
        if self.screen is not None:
            self.screen.stop()
            self.screen = None

    def render(self) -> RenderableType:
        """The panel as it is now."""
        from rich.columns import Columns
        from rich.console import Group
        from rich.padding import Padding
        from rich.panel import Panel
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        report = self.report
        if report is None:
            return Panel("starting …", title="limner train")
        share, left = self.speed.share_of_peak, report.seconds_left
        cells = [
            ("loss", f"{self.loss.value:.4f}"),
            *((f"validation {name}".replace("_", " "), f"{value:.4f}") for name, value in self.metrics.items()),
            (f"{self.speed.unit}/s", f"{self.speed.per_second:,.0f}"),
            *([] if share is None else [("share of peak", f"{share:.0%}")]),
            ("time left", "?" if left is None else duration(left)),
        ]
        told = (Text.assemble((name, "dim"), "\n", (value, "bold")) for name, value in cells)
        numbers = Columns(told, padding=(0, 3))  # as many rows as it takes
        parts: list[RenderableType] = [
            Padding(ProgressBar(total=1.0, completed=report.progress), 0),  # which ends the bar's line
            numbers,
            Text(sparkline(self.curve), "cyan"),
        ]
        if self.probes:
            probes = Table.grid(padding=(0, 2))
            for name, (right, wrong) in list(self.probes.items())[:6]:
                probes.add_row(Text(name, "dim"), Text(f"{right:.0%}", "green"), Text(f"{wrong:.0%}", "red"))
            parts.append(probes)
        if self.sample:
            parts.append(Text(" ".join(self.sample.split())[:600], "italic"))
        saved = "" if self.saved_step is None else f"saved at step {self.saved_step:,} · "
        parts.append(Text(f"{saved}Ctrl-C saves and stops", "dim"))
        return Panel(Group(*parts), title=f"step {report.step:,}", title_align="left")


def sparkline(values: Sequence[float]) -> str:
    """``▇▅▃▂▁``: the values from their lowest to their highest."""
    if not values:
        return ""
    low, high = min(values), max(values)
    marks = "▁▂▃▄▅▆▇█"
    return "".join(marks[round((value - low) / max(high - low, 1e-12) * (len(marks) - 1))] for value in values)


class TensorBoard(Watcher):
    """The run's curves for TensorBoard, in its folder.

    Args:
        folder: where the files go.
        speed: counts tokens; another watcher keeps it up to date.
    Raises:
        ImportError: tensorboard is not installed.
    """

    def __init__(self, folder: Path, speed: Speed) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.open = partial(SummaryWriter, str(folder))
        self.speed = speed
        self.written = -math.inf
        self.writer: Any = None

    def started(self, *, step: int, settings: TrainSettings) -> None:
        self.writer = self.open(purge_step=step + 1)

    def stepped(self, report: StepReport) -> None:
        if report.elapsed - self.written < 0.5:  # a curve needs no more, and a quick step should not wait for it
            return
        self.written = report.elapsed
        self.writer.add_scalar("loss/train", report.loss, report.step)
        self.writer.add_scalar("step/rate", report.rate, report.step)
        self.writer.add_scalar("step/gradient_norm", report.gradient_norm, report.step)
        self.writer.add_scalar(f"step/{self.speed.unit}_per_second", self.speed.per_second, report.step)

    def evaluated(self, step: int, evaluation: Evaluation) -> None:
        for name, value in evaluation.metrics.items():
            self.writer.add_scalar(f"{name}/validation", value, step)
        for name, (right, wrong) in evaluation.probes.items():
            self.writer.add_scalars(f"probes/{name}", {"right": right, "wrong": wrong}, step)
        for number, text in enumerate(evaluation.samples):
            self.writer.add_text(f"sample/{number}", text, step)
        for number, image in enumerate(evaluation.pictures):
            self.writer.add_image(f"sample/{number}", np.asarray(image), step, dataformats="HWC")

    def ended(self, outcome: Outcome) -> None:
        if self.writer is not None:
            self.writer.close()


# ── which display ──────────────────────────────────────────────────────────────────────────────────────


def watchers_for(
    settings: TrainSettings, folder: RunFolder, *, a_step: int, flops: float, unit: str = "tokens"
) -> list[Watcher]:
    """A display that suits where standard error goes, and TensorBoard's curves where it is installed.

    Args:
        a_step, flops, unit: as for ``Speed``.
    """
    from rich.console import Console

    device = torch.device(settings.device)
    dtype = torch.float32 if settings.precision == "float32" else torch.bfloat16
    machine.prepare(settings)
    speed = Speed(a_step, flops, machine.matmul_peak(device, dtype), unit)
    console = Console(stderr=True)
    watchers: list[Watcher] = [Live(speed, console) if console.is_terminal else Lines(speed)]
    with suppress(ImportError):
        watchers.append(TensorBoard(folder.path / "tensorboard", speed))
    return watchers


COUNTED = ("drawing pictures", "encoding pictures")  # what is not measured in bytes


@contextmanager
def reading_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Shows how far reading and tokenizing are: a bar on a terminal, else nothing."""
    from rich.console import Console
    from rich.filesize import decimal
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:  # rich would write an empty line
        yield lambda what, done, total: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[amount]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            amount = f"{done:,} of {total:,}" if what in COUNTED else f"{decimal(done)} of {decimal(total)}"
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total, amount=amount)
            bar.update(tasks[what], completed=done, total=total, amount=amount)

        yield show
