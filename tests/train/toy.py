"""A little regression with every kind of parameter, dropout, and nothing of text; runs as a process, too.

python tests/train/toy.py FOLDER STEPS [--saves N] [--sleep SECONDS] [--resume]
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch._dynamo
from torch import Tensor, nn
from torch.nn import functional as F

from limner.train.loop import Evaluation, Outcome, StepReport, Training, Watcher, resolve
from limner.train.run import RunFolder
from limner.train.settings import TrainSettings


class StopAfter(Watcher):
    """What a Ctrl-C in the middle does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def stepped(self, report: StepReport) -> None:
        if report.step == self.step:
            signal.raise_signal(signal.SIGINT)


class Toy(nn.Module):
    """An embedding, a layer with a matrix, a bias and a norm, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(16, 8)
        self.layers = nn.ModuleList([nn.Linear(8, 8)])
        self.norm = nn.RMSNorm(8)
        self.head = nn.Linear(8, 1)

    def forward(self, ids: Tensor) -> Tensor:
        x: Tensor = self.head(self.norm(torch.tanh(self.layers[0](F.dropout(self.embedding(ids), 0.2, self.training)))))
        return x[..., 0]


def batch(index: int) -> Tensor:
    return torch.randint(0, 16, (8, 4), generator=torch.Generator().manual_seed(index))


def training(
    folder: RunFolder,
    *,
    watchers: tuple[Watcher, ...] = (),
    losses: Any = None,
    poison: int | None = None,
    export: Any = None,
    **values: Any,
) -> Training[Tensor]:
    """A run of the toy; ``losses`` gives the validation losses, ``poison`` is the batch whose loss is no number."""
    torch.manual_seed(0)
    model = Toy()
    planned = iter(losses) if losses is not None else None

    def step(ids: Tensor) -> Tensor:
        loss = F.mse_loss(model(ids), torch.sin(ids.float()).to(next(model.parameters()).dtype))
        return loss * torch.nan if poison is not None and torch.equal(ids, batch(poison)) else loss

    def evaluate() -> Evaluation:
        if planned is not None:
            return Evaluation({"loss": float(next(planned))})
        return Evaluation({"loss": float(step(batch(10**6)))})

    settings = resolve(TrainSettings(**{"threads": 1, "precision": "float32", "compile": "off", "keep": 2, **values}))
    return Training(
        model,
        step=step,
        batches=batch,
        settings=settings,
        folder=folder,
        evaluate=evaluate,
        export=export,
        watchers=watchers,
    )


def run(
    path: Path, *, resume: bool = False, said: list[str] | None = None, **values: Any
) -> tuple[Training[Tensor], Outcome]:
    """Train in a folder, anew or further."""
    path.mkdir(exist_ok=True)
    with RunFolder(path, keep=2) as folder:
        made = training(folder, **values)
        if resume and (found := folder.checkpoints.latest((said if said is not None else []).append)) is not None:
            made.restore(found)
        return made, made.run()


def weights(path: Path) -> dict[str, Tensor]:
    """What the last checkpoint holds."""
    found = RunFolder(path).checkpoints.latest(print)
    assert found is not None
    return found.tensors


class Slow(Watcher):
    """Makes each step last, and says which was done."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def stepped(self, report: Any) -> None:
        print(report.step, flush=True)
        time.sleep(self.seconds)


class Tell(Watcher):
    """Sends the number of each step that was done, and is in no hurry."""

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe

    def stepped(self, report: Any) -> None:
        self.pipe.send(report.step)
        time.sleep(0.002)


def child(pipe: Any, path: Path, steps: int, checkpoints: int) -> None:
    """Go on in a folder; the target of a process that may be killed."""
    run(path, resume=True, steps=steps, checkpoints=checkpoints, ema=0.9, watchers=(Tell(pipe),))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("steps", type=int)
    parser.add_argument("--saves", type=int, default=20)
    parser.add_argument("--sleep", type=float, default=0.0)
    parser.add_argument("--resume", action="store_true")
    given = parser.parse_args()
    trained, outcome = run(
        given.folder,
        resume=given.resume,
        steps=given.steps,
        checkpoints=given.saves,
        ema=0.9,
        watchers=(Slow(given.sleep),),
    )
    print(outcome.reason, outcome.step, flush=True)
    sys.exit(0 if outcome.reason == "finished" else 130)
