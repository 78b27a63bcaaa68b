"""The traces that can be fetched: bundled examples, and those that were made or brought in since the studio started."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.core.errors import DataError, LimnerError

if TYPE_CHECKING:
    from limner.studio.worker import Job

EXAMPLES = Path(__file__).parents[1] / "assets" / "examples"
MOST_BYTES = 512 << 20  # of traces kept in memory
MOST = 1000  # traces kept, those that nobody has asked for among them


@dataclass
class _Kept:
    make: Callable[[Job], bytes] | None
    content: bytes | None
    source: Any = None
    about: tuple[str, dict[str, Any]] | None = None  # its kind and what it says of itself, where that is known already


class Traces:
    """Traces by id. A trace is often made only when it is first fetched; the oldest are let go where room is needed.

    Args:
        examples: a directory of ``*.trace`` files, which need not be there.
    """

    def __init__(self, examples: Path = EXAMPLES) -> None:
        self.folder = examples
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def examples(self) -> list[dict[str, Any]]:
        """What comes with limner: id, title and kind of each that can be read."""
        from limner.explain.trace import read_about

        found = []
        for path in sorted(self.folder.glob("*.trace")):
            try:
                kind, about = read_about(path)
            except LimnerError:
                continue  # a page without an example is of more use than none
            said = (about.get("run") or {}).get("prompt") or about.get("settings", {}).get("prompt") or path.stem
            found.append({"id": path.stem, "title": str(said), "kind": kind, "bytes": path.stat().st_size})
        return found

    def made(self) -> list[dict[str, Any]]:
        """Those that were made or brought in here, the newest first: id, kind, title, model and seed of each."""
        with self._lock:
            kept = list(self._kept.items())
        said = [(id, _said(one)) for id, one in reversed(kept)]
        return [{"id": id, **what} for id, what in said if what is not None]

    def add(self, content: bytes) -> str:
        """Keep a trace that somebody brings; its id.

        Raises:
            DataError: it is none that this limner reads.
        """
        from limner.explain.trace import trace_of

        trace = trace_of(content, "the file")
        return self._add(_Kept(None, content, about=(trace.kind, trace.about)))

    def keep(self, content: bytes) -> str:
        """Keep a trace that was made here; its id."""
        from limner.explain.trace import trace_of

        trace = trace_of(content, "the trace")
        return self._add(_Kept(None, content, about=(trace.kind, trace.about)))

    def later(self, make: Callable[[Job], bytes], source: Any = None) -> str:
        """Keep what makes a trace when it is asked for, and what it is of; its id."""
        return self._add(_Kept(make, None, source))

    def source(self, id: str) -> Any:
        """What a trace is of: model and generation of a text that was written here.

        Raises:
            DataError: there is no such trace, or it was not written here.
        """
        self.at_hand(id)
        with self._lock:
            kept = self._kept.get(id)
        if kept is None or kept.source is None:
            raise DataError(
                f"the trace is {id!r:.60}, but that text was not written in this studio since it was started. "
                "Write it anew with its seed."
            )
        return kept.source

    def get(self, id: str, job: Job) -> bytes:
        """The trace file; made now if need be, so call this in the worker's thread.

        Raises:
            DataError: there is none of this id, or no longer.
        """
        if (content := self.at_hand(id)) is not None:
            return content
        with self._lock:
            kept = self._kept.get(id)
        assert kept is not None, "at_hand would have said that there is none"
        assert kept.make is not None
        content = kept.make(job)
        with self._lock:
            kept.content, kept.make = content, None
            self._make_room(id)
        return content

    def at_hand(self, id: str) -> bytes | None:
        """The trace file if it is made already.

        Raises:
            DataError: there is none of this id, or no longer.
        """
        path = self.folder / f"{id}.trace"
        if id.replace("-", "").replace("_", "").isalnum() and path.is_file():
            return path.read_bytes()
        with self._lock:
            if id not in self._kept:
                raise DataError(
                    f"the trace is {id!r:.60}, but the studio has none of that name; it forgets all when it is closed. "
                    "Make it anew, or open its file."
                )
            self._kept.move_to_end(id)
            return self._kept[id].content

    def _add(self, kept: _Kept) -> str:
        id = secrets.token_hex(8)
        with self._lock:
            self._kept[id] = kept
            self._make_room(id)
        return id

    def _make_room(self, keep: str) -> None:
        held = sum(len(one.content or b"") for one in self._kept.values())
        while len(self._kept) > 1 and (held > MOST_BYTES or len(self._kept) > MOST):
            oldest = next(iter(self._kept))
            if oldest == keep:
                return
            held -= len(self._kept.pop(oldest).content or b"")


def _said(kept: _Kept) -> dict[str, Any] | None:
    """What a list says of a trace: of a text that was written here by its source, else by what it says of itself."""
    if kept.source is not None:
        model, generation = kept.source
        return {
            "kind": "text",
            "title": _title(generation.prompt, generation.text),
            "model": model,
            "seed": generation.seed,
        }
    if kept.about is None:
        return None
    kind, about = kept.about
    run = _entries(about.get("settings" if kind == "picture" else "run"))  # a file may say anything
    tokens = about.get("tokens")
    read = [str(_entries(one).get("text", "")) for one in tokens] if isinstance(tokens, list) else []
    seed = run.get("seed")
    return {
        "kind": kind,
        "title": _title(str(run.get("prompt") or ""), "".join(read)),
        "model": str(_entries(about.get("model")).get("name", "")),
        "seed": seed if isinstance(seed, int) else None,
    }


def _title(*texts: str) -> str:
    """The first of them in which there is something to see."""
    return next((text for text in texts if text.strip()), "an empty text")


def _entries(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
