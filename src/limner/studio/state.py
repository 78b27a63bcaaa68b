"""What one studio has: models, runs, traces, and the thread that computes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from limner.studio.events import EventsFile
from limner.studio.shelf import Shelf
from limner.studio.traces import EXAMPLES, Traces
from limner.studio.words import Words
from limner.studio.worker import Worker

PAGES = Path(__file__).parents[1] / "assets" / "web" / "studio"


class Studio:
    """What all endpoints share.

    Args:
        runs: a directory of run folders, which need not be there.
        device: where models compute.
        pages: the built pages.
        examples: a directory of traces.
    """

    def __init__(
        self, runs: Path = Path("runs"), *, device: str = "cpu", pages: Path = PAGES, examples: Path = EXAMPLES
    ) -> None:
        self.shelf = Shelf(runs, device=device)
        self.traces = Traces(examples)
        self.pages = pages
        self.worker = Worker(_open_the_workshop)
        self.words = Words()
        self.closing = asyncio.Event()  # set when the studio is being closed
        self._events: dict[Path, EventsFile] = {}

    def events(self, path: Path) -> EventsFile:
        """A run's events, of which it is known what was read before."""
        return self._events.setdefault(path, EventsFile(path))


def _open_the_workshop() -> None:
    """Load what computing needs while the first page is on its way: it takes seconds."""
    import limner.text.generator  # noqa: F401
