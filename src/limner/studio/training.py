"""What pages ask about training: runs and their curves, live; one step taken apart; probes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.core.errors import ConfigError, DataError, WeightsError
from limner.picture.data_url import data_url
from limner.studio.events import Summary, read_new, thinned
from limner.studio.wire import Endpoint, Event

if TYPE_CHECKING:
    from limner.studio.state import Studio
    from limner.studio.worker import Job

EVENTS, PLAN, SAMPLES = "events.jsonl", "run.json", "samples"
LOOK_AGAIN = 0.5  # seconds between two looks at a run's events
QUIET_LOOKS = 30  # without news, after which a sign of life is due
SILENT = 120.0  # seconds without an event after which a run is taken to have been stopped by force
MOST_STEPS = 2000  # points of a curve sent at first; a page has no more pixels


@dataclass(frozen=True)
class AskRun:
    """A run by its folder's name."""

    n: str


def runs(studio: Studio, ask: None, job: Job) -> dict[str, Any]:
    """All runs, the one that was changed last first."""
    found = [_run(studio, name) for name in studio.shelf.run_names()]
    return {"runs": sorted(found, key=lambda run: -run["changed"])}


def _run(studio: Studio, name: str) -> dict[str, Any]:
    folder = studio.shelf.runs / name
    plan = _plan(folder)
    settings = _part(plan, "train")
    summary = studio.events(folder / EVENTS).summary()
    changed = (folder / (EVENTS if (folder / EVENTS).is_file() else PLAN)).stat().st_mtime
    state = _state(summary, changed)
    return {
        "n": name,
        "name": name,
        "path": str(folder),
        "model": f"{studio.shelf.runs.absolute().name}/{name}" if (folder / "model").is_dir() else None,
        "kind": str(plan.get("kind", "text")),
        "state": state,
        "finished": state == "finished",
        "step": summary.step,
        "steps": settings.get("steps"),
        "minutes": settings.get("minutes"),
        "loss": summary.loss,
        "best": summary.best,
        "checkpoints": _steps_kept(folder),
        "changed": changed,
    }


def _plan(folder: Path) -> dict[str, Any]:
    try:
        plan = json.loads((folder / PLAN).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return plan if isinstance(plan, dict) else {}


def _part(plan: dict[str, Any], name: str) -> dict[str, Any]:
    part = plan.get(name)
    return part if isinstance(part, dict) else {}


def _state(summary: Summary, changed: float) -> str:
    """``running``, ``silent``, ``finished``, ``interrupted``, ``failed`` or ``waiting`` for the first event."""
    if not summary.begun:
        return "waiting"
    if summary.end is not None:
        return summary.end
    return "running" if time.time() - changed < SILENT else "silent"


def _steps_kept(folder: Path) -> list[int]:
    # As ``train.checkpoint`` names them; importing that would load torch for a list of runs.
    names = [path.name for path in (folder / "checkpoints").glob("step-*")]
    return sorted(int(name.removeprefix("step-")) for name in names if name.removeprefix("step-").isdigit())


# ── events, live ───────────────────────────────────────────────────────────────────────────────────────


def follow(studio: Studio, ask: AskRun, job: Job) -> AsyncIterator[Event | None]:
    """A run's events: ``history`` with all until now, then ``event`` for each new one, as long as somebody looks."""
    return _follow(studio.shelf.run(ask.n) / EVENTS)


async def _follow(path: Path) -> AsyncIterator[Event | None]:
    events, place = await asyncio.to_thread(read_new, path, 0)
    yield "history", {"events": thinned(events, MOST_STEPS)}
    quiet = 0
    while True:
        await asyncio.sleep(LOOK_AGAIN)
        before = place
        events, place = await asyncio.to_thread(read_new, path, place)
        if place < before:
            yield "history", {"events": thinned(events, MOST_STEPS)}
            continue
        for event in events:
            yield "event", event
        quiet = 0 if events else quiet + 1
        if quiet and quiet % QUIET_LOOKS == 0:
            yield None


# ── probes ─────────────────────────────────────────────────────────────────────────────────────────────


def probes(studio: Studio, ask: AskRun, job: Job) -> dict[str, Any]:
    """What the run said to its own probes at each evaluation."""
    folder = studio.shelf.run(ask.n)
    events, _ = read_new(folder / EVENTS, 0)
    found: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        if event.get("event") == "evaluation" and isinstance(event.get("step"), int):
            for name, (right, wrong) in (event.get("probes") or {}).items():
                found.setdefault(name, []).append({"step": event["step"], "right": right, "wrong": wrong})
    planned = {
        f"{probe['prompt']} →{probe['right']} /{probe['wrong']}": probe
        for probe in _part(_plan(folder), "plan").get("probes") or []
        if isinstance(probe, dict) and {"prompt", "right", "wrong"} <= set(probe)
    }
    told = [{"name": name, **planned.get(name, {}), "points": points} for name, points in found.items()]
    return {"probes": told, "checkpoints": _steps_kept(folder)}


@dataclass(frozen=True)
class AskProbe:
    """A new probe of a run: a prompt, what should follow, and what should not."""

    n: str
    prompt: str
    right: str
    wrong: str


def probe(studio: Studio, ask: AskProbe, job: Job) -> dict[str, Any]:
    """What each kept checkpoint of a run says to a probe: ``point`` as they are asked, then all of them."""
    from limner.core.errors import ContextError
    from limner.text.generator import TextGenerator
    from limner.train.looking_back import checkpoint_steps, open_at
    from limner.train.probes import Probe
    from limner.train.probes import ask as ask_probes

    if not (ask.right and ask.wrong):
        raise DataError(
            "right or wrong is empty, but a probe compares two continuations. Give both, with their spaces."
        )
    folder = studio.shelf.run(ask.n)
    asked = Probe(ask.prompt, ask.right, ask.wrong)
    steps = checkpoint_steps(folder)
    if not steps:
        raise WeightsError(f"{folder} has no checkpoint yet, but probes are asked of them. Wait for the first.")
    points = []
    for step in steps:
        job.check()
        model = open_at(folder, step, device=studio.shelf.device)
        if not isinstance(model, TextGenerator):
            raise ConfigError(f"the run is {ask.n!r}, but its model does not write. Choose a run of a text generator.")
        answers = ask_probes([asked], model.model, model.tokenizer)
        if asked.name not in answers:
            raise ContextError(
                f"the probe's prompt is {len(ask.prompt):,} characters long, but with its continuations it must fit into "
                f"{model.context_length} tokens. Shorten it."
            )
        right, wrong = answers[asked.name]
        points.append({"step": step, "right": right, "wrong": wrong})
        job.emit("point", **points[-1])
    return {"name": asked.name, "points": points}


# ── pictures on the way ────────────────────────────────────────────────────────────────────────────────


def samples(studio: Studio, ask: AskRun, job: Job) -> dict[str, Any]:
    """At which steps a run painted its prompts, and what they are."""
    folder = studio.shelf.run(ask.n)
    prompts = _part(_plan(folder), "plan").get("prompts") or []
    return {"steps": _steps_painted(folder), "prompts": [str(prompt) for prompt in prompts]}


@dataclass(frozen=True)
class AskSample:
    """A sheet of samples, by the run and the step."""

    n: str
    step: str


def sample(studio: Studio, ask: AskSample, job: Job) -> dict[str, Any]:
    """The sheet that a run painted at a step."""
    folder = studio.shelf.run(ask.n)
    known = _steps_painted(folder)
    step = int(ask.step) if ask.step.isascii() and ask.step.isdigit() else -1
    if step not in known:
        raise DataError(f"the step is {ask.step!r:.40}, but samples were painted at {known[:20]}. Choose one of these.")
    return {"step": step, "picture": data_url((folder / SAMPLES / f"step-{step:07}.png").read_bytes(), "png")}


def _steps_painted(folder: Path) -> list[int]:
    names = [path.stem for path in (folder / SAMPLES).glob("step-*.png")]
    return sorted(int(name.removeprefix("step-")) for name in names if name.removeprefix("step-").isdigit())


# ── one step taken apart ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class AskStep:
    """A text to learn from, and how far to go."""

    model: str
    text: str
    rate: float = 0.1


def step(studio: Studio, ask: AskStep, job: Job) -> dict[str, Any]:
    """One training step on one text, on a copy of the model."""
    from limner.explain.learning import take_apart

    generator = studio.shelf.text(ask.model)
    job.check()
    return {"model": ask.model, **asdict(take_apart(generator, ask.text, rate=ask.rate))}


ENDPOINTS = (
    Endpoint("GET", "/api/runs", None, runs, computes=False),
    Endpoint("GET", "/api/training/{n}/events", AskRun, follow, "events", computes=False),
    Endpoint("GET", "/api/probes/{n}", AskRun, probes, computes=False),
    Endpoint("POST", "/api/probes/{n}", AskProbe, probe, "events"),
    Endpoint("GET", "/api/samples/{n}", AskRun, samples, computes=False),
    Endpoint("GET", "/api/samples/{n}/{step}", AskSample, sample, computes=False),
    Endpoint("POST", "/api/step", AskStep, step),
)
