"""Sides of a benchmark that wait while another is measured: processes that make one step when they are asked to."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from bench import harness

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def serve(step: Callable[[], float], threads: int) -> None:
    """Be a side: a step for each line that comes in; the answer has its seconds and what it returned."""
    import torch

    torch.set_num_threads(threads)
    for _ in sys.stdin:
        start = time.perf_counter()
        value = step()
        harness.answer({"seconds": time.perf_counter() - start, "value": value})


class Side:
    """A process of ``python -m module --threads N --serve arguments``."""

    def __init__(self, module: str, arguments: Sequence[str], threads: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, "--threads", str(threads), "--serve", *arguments],
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def step(self) -> dict[str, Any]:
        """One step.

        Raises:
            SystemExit: the process ended.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith(harness.MARK):
                found: dict[str, Any] = json.loads(line.removeprefix(harness.MARK))
                return found
        raise SystemExit(f"a side ended with exit code {self.process.wait()}.")

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def in_turn(sides: Mapping[str, Side], turns: int, warm: int = 2) -> dict[str, dict[str, Any]]:
    """A step of each in turn, after ``warm`` that are not counted.

    Returns:
        For each side the median of its ``seconds`` and of its steps' ``value``, ``first_step_s``, and ``all`` its seconds.
    """
    firsts = {name: side.step()["seconds"] for name, side in sides.items()}
    for _ in range(warm - 1):
        for side in sides.values():
            side.step()
    steps: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for _ in range(turns):
        for name, side in sides.items():
            steps[name].append(side.step())
    for side in sides.values():
        side.close()
    return {
        name: {
            "seconds": statistics.median(step["seconds"] for step in each),
            "value": statistics.median(step["value"] for step in each),
            "first_step_s": firsts[name],
            "all": [step["seconds"] for step in each],
        }
        for name, each in steps.items()
    }


def times_as_fast(peer: Mapping[str, Any], row: Mapping[str, Any]) -> float:
    """How many times as fast a side of ``in_turn`` is as its peer: the median over the turns, so neighbours in time."""
    return statistics.median(theirs / ours for theirs, ours in zip(peer["all"], row["all"], strict=True))
