"""What the benchmarks share: two sides in turn on the same cores, the ratio, and the last line of JSON.

A ratio is the median of the ratios of neighbours in A B A B …, so that what slows the machine for a while slows both.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MARK = "RESULT "  # begins the line with which a worker process answers


def parser(description: str, turns: int) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", action="store_true", help="end with one line of JSON")
    made.add_argument("--turns", type=int, default=turns, help="how often each side is measured")
    made.add_argument("--threads", type=int, default=min(2, cores()), help="threads of each side")
    return made


def cores() -> int:
    """Processors that this process, and so each side, may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker(module: str, arguments: Sequence[str], threads: int) -> dict[str, Any]:
    """Run ``python -m module arguments`` to its end; its answer, and ``wall``: seconds from start to exit.

    Raises:
        SystemExit: it failed or gave no answer.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    wall = time.perf_counter() - start
    answers = [line.removeprefix(MARK) for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode != 0 or not answers:
        raise SystemExit(f"{module} {' '.join(arguments)} ended with exit code {done.returncode} and no result.")
    answer: dict[str, Any] = json.loads(answers[-1])
    return {**answer, "wall": wall}


def answer(values: Mapping[str, Any]) -> None:
    """What a worker process found."""
    print(MARK + json.dumps(values), flush=True)


def in_turn(
    sides: Mapping[str, Callable[[], dict[str, Any]]], turns: int, show: Callable[[str, dict[str, Any]], None]
) -> dict[str, list[dict[str, Any]]]:
    """A B … A B …: each side's answers in order."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for _ in range(turns):
        for name, measure in sides.items():
            found[name].append(measure())
            show(name, found[name][-1])
    return found


def median(answers: Sequence[dict[str, Any]], key: str) -> float:
    """The middle one of a figure."""
    return float(statistics.median(one[key] for one in answers))


def ratio(above: Sequence[dict[str, Any]], below: Sequence[dict[str, Any]], key: str) -> float:
    """The median over the turns of one side's figure divided by the other's in the same turn."""
    return float(statistics.median(a[key] / b[key] for a, b in zip(above, below, strict=True)))


def finish(name: str, wanted: bool, threads: int, values: Mapping[str, Any]) -> None:
    """Say on what this was measured, and end with the JSON line if it is wanted."""
    versions = {"python": platform.python_version(), **{p: version(p) for p in ("torch", "transformers")}}
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(cores()))
    print(f"{threads} threads on cores {cpus}; {', '.join(' '.join(pair) for pair in versions.items())}")
    if wanted:
        print(json.dumps({"bench": name, **values, "threads": threads, "cores": cpus, "versions": versions}))
