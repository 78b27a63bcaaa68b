"""The one training loop. It is given ``step(batch) -> loss`` and knows nothing of what is trained.

Pretraining, fine-tuning and diffusion differ in the step; evaluation, samples and probes are callbacks. The state
of a run is its weights, its optimizers' moments, the number of steps and the time they took. Random numbers are
no state: before each step, every generator is seeded from the run's seed and the step's number, and the batches
are a function of that number as well. So a resumed run, and one that was evaluated more often, make the same weights.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random
import signal
import threading
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from limner.core.errors import TrainingError, WeightsError, counted
from limner.train import machine
from limner.train.checkpoint import Checkpoint, copy_into, expect_names
from limner.train.optimizers import Optimizers
from limner.train.schedule import Clock, rate_factor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from PIL.Image import Image

    from limner.train.run import RunFolder
    from limner.train.settings import TrainSettings

Batch = TypeVar("Batch")


# ── what the loop tells ────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class StepReport:
    """One step that was done."""

    step: int
    loss: float
    rate: float  # factor on the peak learning rates
    gradient_norm: float  # before clipping
    progress: float
    elapsed: float  # seconds of training so far
    seconds: float  # of this step
    seconds_left: float | None


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found: numbers, of which ``loss`` decides what is best, and texts or images to show.

    ``probes`` maps a probe's name to the probability of its right and its wrong continuation.
    """

    metrics: dict[str, float]
    samples: tuple[str, ...] = ()
    probes: dict[str, tuple[float, float]] = field(default_factory=dict)
    pictures: tuple[Image, ...] = ()


class Watcher:
    """Sees a run as it goes; what a display, TensorBoard, or a test extends."""

    def started(self, *, step: int, settings: TrainSettings) -> None:
        """Training is about to begin, or to go on, after ``step`` steps."""

    def stepped(self, report: StepReport) -> None:
        """One step was done."""

    def evaluated(self, step: int, evaluation: Evaluation) -> None:
        """The model was evaluated."""

    def saved(self, step: int) -> None:
        """A checkpoint was written."""

    def said(self, text: str) -> None:
        """Something a person should know."""

    def ended(self, outcome: Outcome) -> None:
        """The run is over or interrupted; also called, with ``failed``, when it stops with an error."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    reason: Literal["finished", "interrupted", "failed"]
    step: int
    elapsed: float
    loss: float  # mean of the last steps
    best_step: int | None
    best: dict[str, float]
    last: dict[str, float]


# ── settings named auto ────────────────────────────────────────────────────────────────────────────────

COMPILE_PAYS_AFTER = 15 * 60.0  # seconds; a compiled step is up to a third faster and takes about a minute to start


def resolve(settings: TrainSettings, expected_seconds: float | None = None) -> TrainSettings:
    """Replace every ``auto`` by what suits this machine and a run of this length.

    Args:
        settings: as the person gave them.
        expected_seconds: how long the run will take, where it is known.
    Raises:
        TrainingError: neither steps nor minutes is given.
    """
    if settings.steps is None and settings.minutes is None:
        raise TrainingError("steps and minutes are both missing, but a run needs a length. Give --steps or --minutes.")
    seconds = settings.minutes * 60.0 if settings.minutes is not None else expected_seconds
    device = machine.resolve_device(settings.device)
    return replace(
        settings,
        device=str(device),
        threads=settings.threads or machine.physical_cores(),
        precision=machine.choose_precision(device) if settings.precision == "auto" else settings.precision,
        compile=("on" if (seconds or 0.0) >= COMPILE_PAYS_AFTER else "off")
        if settings.compile == "auto"
        else settings.compile,
    )


EVALUATIONS = 20  # where the settings do not say
STEPS_BETWEEN = 20  # two such evaluations, at the least
EVALUATION_SHARE = 0.1  # of the time, about, that such evaluations may take in a run measured in minutes


# ── weights in two precisions ──────────────────────────────────────────────────────────────────────────


class Masters:
    """The float32 weights that the optimizers change; what is frozen is none of them.

    In float32 (and under autocast) they are the model's own parameters. In bfloat16 the model computes with a
    rounded copy: nothing is cast inside a step, and small updates are not lost.
    """

    def __init__(self, model: nn.Module, copy: bool) -> None:
        self.living = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.copied = copy
        if copy:
            self.parameters = {name: nn.Parameter(p.detach().float().clone()) for name, p in self.living.items()}
            for parameter in model.parameters():
                parameter.data = parameter.data.bfloat16()
        else:
            self.parameters = self.living

    def gather(self) -> None:
        """Bring the gradients from the computing copy."""
        if self.copied:
            for name, master in self.parameters.items():
                gradient = self.living[name].grad
                master.grad = None if gradient is None else gradient.float()
                self.living[name].grad = None

    @torch.no_grad()
    def publish(self, values: dict[str, Tensor] | None = None) -> None:
        """Let the model compute with these weights, by default the masters."""
        if values is None and self.copied:
            values = {name: p.detach() for name, p in self.parameters.items()}
        if values is not None:
            names = list(values)
            torch._foreach_copy_([self.living[n].data for n in names], [values[n].data for n in names])


# ── the loop ───────────────────────────────────────────────────────────────────────────────────────────


class Training(Generic[Batch]):
    """One run: ``Training(…).run()``.

    Args:
        model: what is trained; moved to the device already, in float32.
        step: a batch → its mean loss, a scalar tensor with a gradient.
        batches: the i-th batch, a pure function of i.
        settings: without ``auto`` (see ``resolve``).
        folder: where checkpoints and events go; entered already.
        evaluate: called with the model in evaluation mode, now and then.
        export: called when the model is the best so far, with name → float32 weights and the metrics.
        watchers: see the run as it goes.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        step: Callable[[Batch], Tensor],
        batches: Callable[[int], Batch],
        settings: TrainSettings,
        folder: RunFolder,
        evaluate: Callable[[], Evaluation] | None = None,
        export: Callable[[dict[str, Tensor], int, dict[str, float]], None] | None = None,
        watchers: Sequence[Watcher] = (),
    ) -> None:
        machine.prepare(settings)
        self.model, self.batches, self.settings, self.folder = model, batches, settings, folder
        self.evaluate, self.export, self.watchers = evaluate, export, list(watchers)
        self.plain_step = step
        self.step: Callable[[Batch], Tensor] = torch.compile(step, dynamic=False) if settings.compile == "on" else step
        self.device = torch.device(settings.device)
        self.masters = Masters(model, copy=settings.precision == "bfloat16")
        self.trained = list(self.masters.parameters.values())
        self.optimizers = Optimizers(self.masters.parameters, settings)
        self.average = (
            {name: p.detach().clone() for name, p in self.masters.parameters.items()} if settings.ema else None
        )
        self.clock = Clock.of(settings)
        self.best_step: int | None = None
        self.best: dict[str, float] = {}
        self.last: dict[str, float] = {}
        self.losses: list[float] = []  # of the steps since the last evaluation
        self.history: list[tuple[float, float]] = []  # (training loss, validation loss) at each evaluation
        self.warned = False
        self.evaluated_step: int | None = None
        self.evaluation_seconds, self.evaluated_at = 0.0, 0.0  # how long the last one took, and when it was over
        self.saved_step, self.saved_at = -1, time.monotonic()

    # ── to and from disk ────────────────────────────────────────────────────────────────────────────

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that a resumed run needs: tensors, and plain values."""
        tensors = {f"weights/{name}": p.detach() for name, p in self.masters.parameters.items()}
        tensors |= {f"optimizer/{name}": value for name, value in self.optimizers.tensors().items()}
        if self.average is not None:
            tensors |= {f"average/{name}": value for name, value in self.average.items()}
        note = {
            "elapsed": self.clock.elapsed,
            "step_seconds": self.clock.step_seconds,
            "best_metrics": self.best,
            "last_metrics": self.last,
            "losses": self.losses,
            "history": self.history,
            "warned": self.warned,
            "evaluated_step": self.evaluated_step,
        }
        return tensors, note

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to where a checkpoint was written.

        Raises:
            WeightsError: a tensor is missing, extra or of another shape.
        """
        groups: dict[str, dict[str, Tensor]] = {"weights": {}, "optimizer": {}, "average": {}}
        frozen = {name for name, p in self.model.named_parameters() if not p.requires_grad}
        for full, value in checkpoint.tensors.items():
            group, _, name = full.partition("/")
            if group in ("weights", "average") and name in frozen:
                continue  # once they were kept as well
            if group not in groups:
                raise WeightsError(
                    f"{checkpoint.path} has {full}, but a checkpoint has no such part. Use the run it belongs to."
                )
            groups[group][name] = value
        where = str(checkpoint.path)
        expect_names(groups["weights"], self.masters.parameters, where)
        expect_names(groups["average"], self.average or {}, where)
        for name, value in groups["weights"].items():
            copy_into(self.masters.parameters[name], value, f"{where}: {name}")
        for name, value in groups["average"].items():
            assert self.average is not None
            copy_into(self.average[name], value, f"{where}: {name}")
        if checkpoint.step and not groups["optimizer"]:
            raise WeightsError(
                f"{where} has no optimizer state, but after {counted(checkpoint.step, 'step')} there is some. Use an earlier "
                "checkpoint."
            )
        self.optimizers.load(groups["optimizer"])
        self.masters.publish()
        note = checkpoint.note
        self.clock.step, self.clock.elapsed = checkpoint.step, float(note["elapsed"])
        self.clock.step_seconds = float(note["step_seconds"])
        self.best_step, self.best, self.last = note["best"], dict(note["best_metrics"]), dict(note["last_metrics"])
        self.losses, self.warned = list(note["losses"]), bool(note["warned"])
        self.history = [(float(a), float(b)) for a, b in note["history"]]
        self.evaluated_step = note.get("evaluated_step")  # not yet there in limner 0.1.0
        self.saved_step = checkpoint.step

    def save(self) -> None:
        """Write a checkpoint of now, unless it is there already."""
        if self.saved_step == self.clock.step:
            return
        tensors, note = self.state()
        self.folder.checkpoints.save(self.clock.step, tensors, note, self.best_step)
        self.saved_step, self.saved_at = self.clock.step, time.monotonic()
        self.folder.event("checkpoint", step=self.clock.step)
        for watcher in self.watchers:
            watcher.saved(self.clock.step)

    def say(self, text: str) -> None:
        """Tell whoever watches."""
        self.folder.event("note", step=self.clock.step, text=text)
        for watcher in self.watchers:
            watcher.said(text)

    # ── one step ────────────────────────────────────────────────────────────────────────────────────

    def take_step(self) -> StepReport:
        """Gradients of ``accumulate`` batches, clipped, and one update.

        Raises:
            TrainingError: the loss or the gradients are not finite; the weights are as before.
        """
        start = time.perf_counter()
        number, count = self.clock.step, self.settings.accumulate
        seed_everything(self.settings.seed, number)
        total = 0.0
        for part in range(count):
            with self.autocast():
                loss = self.step(self.batches(number * count + part))
            (loss / count if count > 1 else loss).backward()  # type: ignore[no-untyped-call]
            total += loss.item() / count
        self.masters.gather()
        limit = self.settings.clip or math.inf
        norm = float(nn.utils.clip_grad_norm_(self.trained, limit))
        if not (math.isfinite(total) and math.isfinite(norm)):
            raise TrainingError(
                f"the loss is {total} and the gradient norm {norm} at step {number + 1}, but training needs finite numbers. "
                f"{self.last_good()} Resume with lower rates (--set learning_rate=… --set matrix_rate=…)."
            )
        factor = rate_factor(self.clock.progress(ahead=1), self.settings)
        self.optimizers.step(factor)
        for parameter in self.trained:
            parameter.grad = None
        self.masters.publish()
        self.update_average(number)
        seconds = time.perf_counter() - start
        return StepReport(number + 1, total, factor, norm, 0.0, 0.0, seconds, None)

    def warm_up(self) -> None:
        """Compile, before the clock starts: gradients of one batch, thrown away.

        Where the compiler fails, which for some shapes it does, the run goes on without it.
        """
        from torch._dynamo.exc import TorchDynamoException  # loads the compiler

        self.say("Compiling the step; this takes up to a minute or two.")
        seed_everything(self.settings.seed, self.clock.step)
        try:
            with self.autocast():
                loss = self.step(self.batches(self.clock.step * self.settings.accumulate))
            loss.backward()  # type: ignore[no-untyped-call]
        except TorchDynamoException as problem:
            first = str(getattr(problem, "inner_exception", problem)).strip().splitlines()[0]
            self.say(
                f"The step cannot be compiled here ({first}). Going on without; --set compile=off spares the attempt."
            )
            self.step = self.plain_step
        for parameter in self.masters.living.values():
            parameter.grad = None

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """The context of a forward pass."""
        if self.settings.precision != "autocast":
            yield
            return
        with warnings.catch_warnings(), torch.autocast(self.device.type, dtype=torch.bfloat16):
            warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight")  # norms stay float32
            yield

    @torch.no_grad()
    def update_average(self, number: int) -> None:
        """Move the average towards the weights; quickly at first, so that it forgets where they began."""
        if self.average is not None:
            decay = min(self.settings.ema, (1.0 + number) / (10.0 + number))
            names = list(self.average)
            torch._foreach_lerp_(
                [self.average[n] for n in names], [self.masters.parameters[n].data for n in names], 1.0 - decay
            )

    def last_good(self) -> str:
        """Where to go back to."""
        steps = self.folder.checkpoints.steps()
        if not steps:
            return "There is no checkpoint yet."
        return f"The last good checkpoint is {self.folder.checkpoints.folder(steps[-1])}."

    # ── evaluating ──────────────────────────────────────────────────────────────────────────────────

    def evaluation_due(self, before: float, after: float) -> bool:
        """Whether to evaluate between two progresses: as often as the settings say, or as is worth its time.

        Then the first and the last of the marks are kept, and others are passed over. In a run measured in steps that
        follows from their number alone, so that equal runs keep equal models.
        """
        settings, clock = self.settings, self.clock
        if not crossed(before, after, settings.evaluations or EVALUATIONS):
            return False
        if settings.evaluations or clock.done or self.evaluated_step is None:
            return True
        if clock.step - self.evaluated_step < STEPS_BETWEEN:
            return False
        rest = self.evaluation_seconds * (1.0 / EVALUATION_SHARE - 1.0)
        return clock.seconds is None or clock.elapsed - self.evaluated_at >= rest

    def run_evaluation(self) -> None:
        """Evaluate the weights (their average, where one is kept), and export them if they are the best."""
        if self.evaluate is None:
            return
        begun = time.perf_counter()
        kept = None
        if self.average is not None:
            if not self.masters.copied:
                kept = {name: p.detach().clone() for name, p in self.masters.parameters.items()}
            self.masters.publish(self.average)
        self.model.eval()
        try:
            with torch.no_grad(), self.autocast():
                evaluation = self.evaluate()
        finally:
            self.model.train()
            if self.average is not None:
                self.masters.publish(kept)
        mean = sum(self.losses) / len(self.losses) if self.losses else math.nan
        self.losses = []
        self.last = dict(evaluation.metrics)
        self.history.append((mean, evaluation.metrics["loss"]))
        self.folder.event(
            "evaluation",
            step=self.clock.step,
            elapsed=round(self.clock.elapsed, 3),
            training_loss=None if math.isnan(mean) else mean,
            **evaluation.metrics,
            samples=list(evaluation.samples),
            probes={name: list(pair) for name, pair in evaluation.probes.items()},
        )
        for watcher in self.watchers:
            watcher.evaluated(self.clock.step, evaluation)
        if not self.best or evaluation.metrics["loss"] < self.best["loss"]:
            self.best_step, self.best = self.clock.step, dict(evaluation.metrics)
            if self.export is not None:
                self.export(self.final_weights(), self.clock.step, self.best)
        self.notice_overfitting()
        self.evaluated_step, self.evaluation_seconds = self.clock.step, time.perf_counter() - begun
        self.evaluated_at = self.clock.elapsed + self.evaluation_seconds

    def final_weights(self) -> dict[str, Tensor]:
        """The float32 weights to keep: the average where there is one."""
        return self.average or {name: p.detach() for name, p in self.masters.parameters.items()}

    def notice_overfitting(self) -> None:
        """Say once when validation got worse several times in a row while training went on getting better."""
        count = self.settings.overfit_after
        recent = self.history[-count - 1 :]
        if self.warned or len(recent) <= count:
            return
        rising = all(later[1] > earlier[1] for earlier, later in itertools.pairwise(recent))
        if rising and recent[-1][0] < recent[0][0]:
            self.warned = True
            self.say(
                f"Overfitting: the validation loss rose {count} times in a row, from {recent[0][1]:.4f} to {recent[-1][1]:.4f}, while the "
                f"training loss fell from {recent[0][0]:.4f} to {recent[-1][0]:.4f}. The model of step {self.best_step} is kept as the "
                "best; more data, more dropout, a smaller model or fewer steps would help."
            )

    # ── the whole ───────────────────────────────────────────────────────────────────────────────────

    def run(self, *, resumed: bool = False) -> Outcome:
        """Train until the end, or until Ctrl-C or SIGTERM; the step in hand is finished and saved.

        Args:
            resumed: go on from the folder's newest whole checkpoint, if it has one.
        Raises:
            TrainingError: numbers that are not finite, or a checkpoint that cannot be written.
            WeightsError: the checkpoint is of another model.
        """
        if resumed and (checkpoint := self.folder.checkpoints.latest(self.say)) is not None:
            self.restore(checkpoint)
        self.model.train()
        self.folder.event("started", step=self.clock.step, settings=self.settings.to_dict())
        for watcher in self.watchers:
            watcher.started(step=self.clock.step, settings=self.settings)
        try:
            with stop_signals() as stop, machine.denormals_flushed():
                reason = self._run(stop)
        except BaseException as problem:
            self.folder.event("failed", step=self.clock.step, problem=str(problem) or type(problem).__name__)
            self._end("failed")
            raise
        return self._end(reason)

    def _run(self, stop: threading.Event) -> Literal["finished", "interrupted"]:
        settings, clock = self.settings, self.clock
        if settings.compile == "on" and not clock.done:
            self.warm_up()
        mark, logged = time.perf_counter(), 0.0
        recent: list[float] = []
        while not clock.done and not stop.is_set():
            before = clock.progress()
            report = self.take_step()
            now = time.perf_counter()
            clock.tick(now - mark)
            mark = now
            self.losses.append(report.loss)
            recent.append(report.loss)
            after = clock.progress()
            report = replace(report, progress=after, elapsed=clock.elapsed, seconds_left=clock.seconds_left())
            for watcher in self.watchers:
                watcher.stepped(report)
            if now - logged >= 1.0 or clock.done:
                self.folder.event(
                    "step",
                    step=report.step,
                    loss=sum(recent) / len(recent),
                    rate=report.rate,
                    gradient_norm=report.gradient_norm,
                    elapsed=round(clock.elapsed, 3),
                )
                recent, logged = [], now
            if self.evaluation_due(before, after):
                self.run_evaluation()
            overdue = time.monotonic() - self.saved_at > settings.save_minutes * 60.0
            if crossed(before, after, settings.checkpoints) or self.best_step == clock.step or overdue:
                self.save()
            now = time.perf_counter()
            clock.elapsed += now - mark  # what evaluating and saving took counts as well
            mark = now
        self.save()
        return "finished" if clock.done else "interrupted"

    def _end(self, reason: Literal["finished", "interrupted", "failed"]) -> Outcome:
        tail = self.losses or [self.history[-1][0]] if self.losses or self.history else [math.nan]
        outcome = Outcome(
            reason, self.clock.step, self.clock.elapsed, sum(tail) / len(tail), self.best_step, self.best, self.last
        )
        self.folder.event(
            "ended", step=outcome.step, reason=reason, elapsed=round(outcome.elapsed, 3), best_step=self.best_step
        )
        for watcher in self.watchers:
            watcher.ended(outcome)
        return outcome


def crossed(before: float, after: float, times: int) -> bool:
    """Whether one of ``times`` evenly spread marks (the last is the end) lies between two progresses."""
    return times > 0 and math.floor(before * times + 1e-9) != math.floor(after * times + 1e-9)


def seed_everything(seed: int, step: int) -> None:
    """Seed torch, numpy and Python for one step; different seeds and steps are unrelated."""
    mixed = int.from_bytes(hashlib.blake2b(f"{seed}/{step}".encode(), digest_size=8).digest(), "little")
    torch.manual_seed(mixed >> 1)
    np.random.seed(mixed & 0xFFFFFFFF)
    random.seed(mixed)


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets; the second Ctrl-C interrupts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    old = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
