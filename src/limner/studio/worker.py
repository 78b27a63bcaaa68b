"""One thread that computes, one job at a time; people take turns, and whoever leaves is computed for no longer."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, Literal

Message = tuple[Literal["event", "result", "failed"], Any]
THREAD = "limner-worker"
CALM = 0.7  # seconds without a question before anything is prepared that nobody has asked for
Work = Callable[["Job"], Any]


class GoneError(Exception):
    """Nobody waits for the answer any more."""


class Job:
    """Something to be computed for somebody.

    Args:
        visitor: who asked; jobs of different visitors take turns.
        work: called in the worker's thread; what it returns is the result.
        tell: is given every message, in any thread: ``("event", (name, values))`` as often as the work wants, then once
            ``("result", …)`` or ``("failed", error)``.
    """

    def __init__(self, visitor: str, work: Work, tell: Callable[[Message], None]) -> None:
        self.visitor, self.work, self.tell = visitor, work, tell
        self._gone = threading.Event()
        self.ahead = 0  # what was said last of how many are computed before

    def emit(self, name: str, **values: Any) -> None:
        """Send an event to the browser.

        Raises:
            GoneError: nobody waits any more.
        """
        self.check()
        self.tell(("event", (name, values)))

    def check(self) -> None:
        """Called now and then by work that takes long.

        Raises:
            GoneError: nobody waits any more.
        """
        if self._gone.is_set():
            raise GoneError

    def leave(self) -> None:
        """Nobody waits any more."""
        self._gone.set()

    @property
    def gone(self) -> bool:
        """Whether nobody waits any more."""
        return self._gone.is_set()


class Worker:
    """The thread, and the queue in front of it.

    Args:
        prepare: called in the thread before the first job, or when nothing was asked for a moment: it may take seconds of the
            processor, which the first page needs first.
    """

    def __init__(self, prepare: Callable[[], None] = lambda: None) -> None:
        self._prepare = prepare
        self._changed = threading.Condition()
        self._waiting: OrderedDict[str, deque[Job]] = OrderedDict()  # by visitor; whose turn it is comes first
        self._running: Job | None = None
        self._closed = False
        self._thread: threading.Thread | None = None
        self._touched = 0.0

    def touch(self) -> None:
        """Something was asked that needs no computing, and has to be answered first."""
        self._touched = time.monotonic()

    def start(self) -> None:
        """Begin."""
        self.touch()
        self._thread = threading.Thread(target=self._run, name=THREAD, daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Put a job at the end of its visitor's own; it is told how many are computed before it."""
        with self._changed:
            if self._closed:
                job.leave()
            else:
                self._waiting.setdefault(job.visitor, deque()).append(job)
                self._tell_waiting()
                self._changed.notify()
                return
        job.tell(("failed", GoneError()))

    def leave(self, job: Job) -> None:
        """Nobody waits for this job any more: it is not begun, or ends where it next checks."""
        job.leave()
        with self._changed:
            mine = self._waiting.get(job.visitor)
            if mine is not None and job in mine:
                mine.remove(job)
                if not mine:
                    del self._waiting[job.visitor]
                self._tell_waiting()

    def cancel(self) -> None:
        """Drop all jobs and take no more."""
        with self._changed:
            self._closed = True
            dropped = [job for jobs in self._waiting.values() for job in jobs]
            self._waiting.clear()
            if self._running is not None:
                self._running.leave()
            self._changed.notify()
        for job in dropped:
            job.leave()
            job.tell(("failed", GoneError()))

    def close(self, seconds: float = 0.5) -> bool:
        """Drop all jobs and end the thread; whether it ended within so many seconds."""
        self.cancel()
        if self._thread is None:
            return True
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def order(self) -> list[Job]:
        """The waiting jobs in the order in which they will be computed if nobody else comes: a job of each in turn."""
        queues = [list(jobs) for jobs in self._waiting.values()]
        longest = max(map(len, queues), default=0)
        return [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]

    def _tell_waiting(self) -> None:
        running = int(self._running is not None)
        for place, job in enumerate(self.order()):
            ahead = place + running
            if ahead != job.ahead:
                job.ahead = ahead
                job.tell(("event", ("waiting", {"ahead": ahead})))

    def _run(self) -> None:
        with self._changed:
            while not (self._waiting or self._closed) and (left := self._touched + CALM - time.monotonic()) > 0:
                self._changed.wait(left)
            if self._closed:
                return
        with contextlib.suppress(Exception):  # a job that needs what is missing says so
            self._prepare()
        while (job := self._next()) is not None:
            try:
                job.check()
                message: Message = ("result", job.work(job))
            except BaseException as problem:
                message = ("failed", problem)
            with self._changed:  # before it is told, or whoever then asks again would seem to wait for himself
                self._running = None
                self._tell_waiting()
            job.tell(message)
            del job, message  # a result may be large, and the next job may be long in coming

    def _next(self) -> Job | None:
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            visitor, jobs = self._waiting.popitem(last=False)
            job = jobs.popleft()
            if jobs:
                self._waiting[visitor] = jobs  # behind everybody else
            self._running = job
            self._tell_waiting()
            return job
