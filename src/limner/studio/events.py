"""What training wrote down of a run, one event a line: read as it grows, and summed up without reading it again."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

STEP = b'{"event": "step",'  # how most lines begin; of these a summary needs the last alone
REMEMBERED = 256  # bytes in front of those that are new, by which a file is known to be the same


@dataclass(frozen=True)
class Summary:
    """How far a run came.

    Attributes:
        begun: whether there is any event.
        step: of the last event that has one.
        loss: of the last evaluation; None: there was none.
        best: the least of any evaluation.
        end: ``"failed"``, or why it ended, such as ``"finished"``; None: it goes on, or was stopped by force.
    """

    begun: bool = False
    step: int = 0
    loss: float | None = None
    best: float | None = None
    end: str | None = None

    def after(self, event: dict[str, Any]) -> Summary:
        """The same with one more event."""
        step = event["step"] if isinstance(event.get("step"), int) else self.step
        loss, best, end = self.loss, self.best, self.end
        match event.get("event"):
            case "evaluation" if isinstance(event.get("loss"), int | float):
                loss = event["loss"]
                best = loss if best is None else min(best, loss)
            case "ended":
                end = str(event.get("reason", "finished"))
            case "failed":
                end = "failed"
            case "started":
                end = None
            case _:
                pass
        return replace(self, begun=True, step=step, loss=loss, best=best, end=end)


class EventsFile:
    """The events of one run, summed up; of a file that grew only what is new is read. Used in any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._place = 0
        self._last = b""
        self._summary = Summary()

    def summary(self) -> Summary:
        """As the file is now; a line that is still being written waits."""
        with self._lock:
            try:
                with self.path.open("rb") as file:
                    file.seek(self._place - len(self._last))
                    if file.read(len(self._last)) != self._last:  # somebody began the run anew
                        self._forget()
                        file.seek(0)
                    data = file.read()
            except OSError:
                self._forget()
                data = b""
            whole = data[: data.rfind(b"\n") + 1]
            self._place += len(whole)
            self._last = (self._last + whole)[-REMEMBERED:]
            for event in _telling(whole.splitlines()):
                self._summary = self._summary.after(event)
            return self._summary

    def _forget(self) -> None:
        self._place, self._last, self._summary = 0, b"", Summary()


def _telling(lines: Iterable[bytes]) -> list[dict[str, Any]]:
    """The events of these lines, without the steps before the last."""
    found: list[dict[str, Any]] = []
    stepped = False
    for line in reversed(list(lines)):
        if stepped and line.startswith(STEP):
            continue
        event = read_line(line)
        if event is not None:
            stepped = stepped or event.get("event") == "step"
            found.append(event)
    return found[::-1]


def read_line(line: bytes) -> dict[str, Any] | None:
    """An event; None: the line is none, such as half of one of a killed process."""
    try:
        event = json.loads(line, parse_constant=lambda name: None)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def read_new(path: Path, start: int) -> tuple[list[dict[str, Any]], int]:
    """The events of a file from a byte on, and the byte to go on from; a line that is still being written waits.

    Of a file that has become shorter, all events are read again.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size < start:
                start = 0
            file.seek(start)
            data = file.read()
    except OSError:
        return [], start
    whole = data.rfind(b"\n") + 1
    events = [event for line in data[:whole].splitlines() if (event := read_line(line)) is not None]
    return events, start + whole


def thinned(events: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """The events with at most so many steps, evenly chosen, the last among them; all others stay."""
    steps = [place for place, event in enumerate(events) if event.get("event") == "step"]
    every = -(-len(steps) // most) if steps else 1
    kept = set(steps[::-1][::every])
    dropped = set(steps) - kept
    return [event for place, event in enumerate(events) if place not in dropped]
