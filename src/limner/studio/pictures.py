"""What pages ask about pictures: painting, look by look."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from limner.core.errors import ConfigError
from limner.picture.data_url import picture_url
from limner.studio.wire import Endpoint

if TYPE_CHECKING:
    from limner.picture.painting import Look
    from limner.studio.state import Studio
    from limner.studio.worker import Job

MOST_STEPS = 200  # of one picture


@dataclass(frozen=True)
class PaintSettings:
    """As ``PictureGenerator.generate`` takes them; width and height in pixels, None: what the model was trained at."""

    steps: int = 25
    guidance: float = 4.0
    negative: str = ""
    sampler: Literal["euler", "heun", "ddim", "dpm++", "ancestral"] = "euler"
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True)
class AskPaint:
    """A prompt, a seed, and how."""

    model: str
    prompt: str
    seed: int | None = None
    settings: PaintSettings = field(default_factory=PaintSettings)
    changes: tuple[dict[str, Any], ...] = ()


def paint(studio: Studio, ask: AskPaint, job: Job) -> dict[str, Any]:
    """Paint one picture and see inside while it is painted: a ``look`` for each look of the sampler, then ``done``."""
    from limner.explain.picture_trace import trace_picture

    wanted = ask.settings
    if wanted.steps > MOST_STEPS:
        raise ConfigError(
            f"steps is {wanted.steps}, but the studio takes at most {MOST_STEPS}. Choose fewer; 25 is usual."
        )
    if (wanted.width is None) != (wanted.height is None):
        raise ConfigError("only one of width and height is given, but a picture has both. Give both or neither.")
    size = None if wanted.width is None or wanted.height is None else (wanted.height, wanted.width)
    painter = studio.shelf.painter(ask.model)

    def on_step(number: int, total: int, look: Look) -> None:
        job.emit("look", number=look.number, of=total, time=look.time, seen=picture_url(painter.show(look.seen)))

    trace = trace_picture(
        painter,
        ask.prompt,
        seed=ask.seed,
        changes=ask.changes,
        on_step=on_step,
        steps=wanted.steps,
        guidance=wanted.guidance,
        negative=wanted.negative,
        sampler=wanted.sampler,
        size=size,
    )
    return {
        "trace": studio.traces.keep(trace.to_bytes()),
        "picture": picture_url(trace.image, exact=True),
        "settings": trace.about["settings"],
        "notes": trace.about["notes"],
    }


ENDPOINTS = (Endpoint("POST", "/api/paint", AskPaint, paint, "events"),)
