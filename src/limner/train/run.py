"""A run folder: what was asked for, what happened, and what came of it.

RUN/run.json        the plan: settings, model, data, in JSON
    events.jsonl    one line an event: step, evaluation, checkpoint, note, …
    tensorboard/    the same curves for TensorBoard
    checkpoints/    to go on from (see ``limner.train.checkpoint``)
    model/          the best model so far, ready to be loaded
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from limner.core.errors import TrainingError, WeightsError
from limner.train.checkpoint import CheckpointFolder, refuse_file, replace_text
from limner.weights.files import reason

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import TextIO

PLAN = "run.json"
EVENTS = "events.jsonl"
FORMAT = "limner-run"
VERSION = 1


class RunFolder:
    """One run on disk. Only one process may train in it at a time.

    Args:
        path: the folder; made if need be.
        keep: checkpoints that are kept beside the best.
    """

    def __init__(self, path: Path, keep: int = 2) -> None:
        self.path = path
        self.checkpoints = CheckpointFolder(path / "checkpoints", keep)
        self.model = path / "model"
        self._events: TextIO | None = None
        self._lock: TextIO | None = None

    # ── beginning ───────────────────────────────────────────────────────────────────────────────────

    @classmethod
    def create(cls, path: Path, plan: dict[str, Any], keep: int = 2) -> RunFolder:
        """Start a new run folder.

        Raises:
            TrainingError: the folder holds a run already, or cannot be written.
        """
        cls.check_new(path)
        run = cls(path, keep)
        try:
            path.mkdir(parents=True, exist_ok=True)
            run.write_plan(plan)
        except OSError as problem:
            raise TrainingError(
                f"the run folder {path} cannot be written: {reason(problem)}. Choose another with --out."
            ) from problem
        return run

    @staticmethod
    def check_new(path: Path) -> None:
        """Check that a run could be started here.

        Raises:
            TrainingError: it is a file, holds a run already, or cannot be made.
        """
        if path.exists() and not path.is_dir():
            raise TrainingError(f"the run folder is {path}, which is a file. Choose another with --out.")
        if (path / PLAN).exists():
            raise TrainingError(
                f"{path} holds a run already, and it would be lost. Go on with --resume {path}, or choose another --out."
            )
        above = next((place for place in (path, *path.absolute().parents) if place.exists()), path)
        if not above.is_dir():
            raise TrainingError(f"the run folder is {path}, but {above} is a file. Choose another with --out.")
        if not os.access(above, os.W_OK | os.X_OK):
            raise TrainingError(
                f"the run folder {path} cannot be written: {above} may not be written to. Choose another with --out."
            )

    @classmethod
    def open(cls, path: Path, keep: int = 2) -> tuple[RunFolder, dict[str, Any]]:
        """Open a run to go on with, and its plan.

        Raises:
            WeightsError: it is no run folder, or its plan is damaged; a pickle is named as such.
            TrainingError: it cannot be written.
        """
        refuse_file(path)
        try:
            plan = json.loads((path / PLAN).read_text("utf-8"))
        except FileNotFoundError as problem:
            raise WeightsError(
                f"{path} has no {PLAN}, but a run folder has one. Give the folder that --out named."
            ) from problem
        except (OSError, ValueError) as problem:
            raise WeightsError(f"{path / PLAN} cannot be read: {problem}. Start the run anew.") from problem
        if not isinstance(plan, dict) or plan.get("format") != FORMAT or plan.get("version") != VERSION:
            raise WeightsError(
                f"{path / PLAN} is not of the format {FORMAT!r} version {VERSION}. Use the limner that wrote it."
            )
        if not os.access(path, os.W_OK):
            raise TrainingError(
                f"the run folder {path} cannot be written: permission denied. Copy it, or change its rights."
            )
        return cls(path, keep), plan

    def write_plan(self, plan: dict[str, Any]) -> None:
        """Write or replace the plan."""
        replace_text(self.path / PLAN, json.dumps({"format": FORMAT, "version": VERSION, **plan}, indent=1) + "\n")

    # ── while it lasts ──────────────────────────────────────────────────────────────────────────────

    def __enter__(self) -> RunFolder:
        try:
            self._take_lock()
            self._events = self._open_events()
        except OSError as problem:
            raise TrainingError(
                f"the run folder {self.path} cannot be written: {reason(problem)}. Choose another with --out."
            ) from problem
        self.checkpoints.clean()
        return self

    def __exit__(self, *problem: object) -> None:
        for file in (self._events, self._lock):
            if file is not None:
                file.close()
        self._events = self._lock = None

    def event(self, kind: str, **values: Any) -> None:
        """Append one line to ``events.jsonl``; a full disk costs the line, not the run."""
        if self._events is None:
            return
        try:
            self._events.write(json.dumps({"event": kind, "time": round(time.time(), 3), **values}) + "\n")
            self._events.flush()
        except OSError:
            pass

    def _open_events(self) -> TextIO:
        """Open the event file to append, on a new line even if the last process died in the middle of one."""
        path = self.path / EVENTS
        broken = False
        if path.exists() and path.stat().st_size:
            with path.open("rb") as file:
                file.seek(-1, os.SEEK_END)
                broken = file.read(1) != b"\n"
        events = path.open("a", encoding="utf-8")
        if broken:
            events.write("\n")
        return events

    def _take_lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # no such locks on this system
            return
        self._lock = (self.path / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            self._lock.close()
            self._lock = None
            raise TrainingError(
                f"{self.path} is in use by another process, but only one can train in it. Wait, or choose another --out."
            ) from problem


def read_events(path: Path) -> list[dict[str, Any]]:
    """The events of a run, in order; lines that a killed process left half-written are passed over."""
    events: list[dict[str, Any]] = []
    if not (path / EVENTS).is_file():
        return events
    with (path / EVENTS).open(encoding="utf-8") as lines:
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                events.append(event)
    return events


def last_event(events: Sequence[dict[str, Any]], kind: str) -> dict[str, Any] | None:
    """The last of these events that is of a kind, such as ``"ended"``; None: there is none."""
    return next((event for event in reversed(events) if event["event"] == kind), None)
