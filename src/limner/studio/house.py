"""What pages ask about the house itself: the machine, models, examples, trace files."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from limner import __version__
from limner.studio.wire import LONGEST_TEXT, TRACE_BYTES, Endpoint

if TYPE_CHECKING:
    from limner.studio.state import Studio
    from limner.studio.worker import Job


def about(studio: Studio, ask: None, job: Job) -> dict[str, Any]:
    """Which limner, on which machine."""
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = ""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on every system
        memory = 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "version": __version__,
        "machine": {
            "system": platform.system(),
            "processor": platform.machine(),
            "cores": cores,
            "memory": memory,
            "python": platform.python_version(),
            "torch": torch,
            "device": studio.shelf.device,
        },
        "limits": {"characters": LONGEST_TEXT, "trace_bytes": TRACE_BYTES},
        "runs": str(studio.shelf.runs),
    }


def models(studio: Studio, ask: None, job: Job) -> dict[str, Any]:
    """All models that can be opened, or cannot and why."""
    opened = set(studio.shelf.open_names)
    return {"models": [entry.to_dict() | {"open": entry.name in opened} for entry in studio.shelf.entries()]}


def examples(studio: Studio, ask: None, job: Job) -> dict[str, Any]:
    """Bundled traces."""
    return {"examples": studio.traces.examples()}


def traces(studio: Studio, ask: None, job: Job) -> dict[str, Any]:
    """Traces that were made or brought in since the studio was started."""
    return {"traces": studio.traces.made()}


@dataclass(frozen=True)
class AskTrace:
    """A trace by its id."""

    id: str


def trace(studio: Studio, ask: AskTrace, job: Job) -> bytes:
    """A trace file, made now if it was not asked for before."""
    return studio.traces.get(ask.id, job)


def trace_at_hand(studio: Studio, ask: AskTrace) -> bytes | None:
    """A trace file that is made already."""
    return studio.traces.at_hand(ask.id)


def keep_trace(studio: Studio, ask: bytes, job: Job) -> dict[str, Any]:
    """Take a trace file in."""
    return {"trace": studio.traces.add(ask)}


ENDPOINTS = (
    Endpoint("GET", "/api/about", None, about, computes=False),
    Endpoint("GET", "/api/models", None, models, computes=False),
    Endpoint("GET", "/api/examples", None, examples, computes=False),
    Endpoint("GET", "/api/traces", None, traces, computes=False),
    Endpoint("GET", "/api/traces/{id}", AskTrace, trace, "bytes", at_hand=trace_at_hand),
    Endpoint("POST", "/api/traces", bytes, keep_trace, computes=False),
)
