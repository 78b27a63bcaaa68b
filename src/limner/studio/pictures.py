"""What pages ask about pictures: painting, look by look; looking again; what each head does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from limner.core.errors import ConfigError, DataError, counted
from limner.picture.data_url import picture_url
from limner.studio.wire import Endpoint

if TYPE_CHECKING:
    from limner.explain.picture_trace import PictureTrace
    from limner.picture.generator import PictureGenerator
    from limner.picture.painting import Look
    from limner.studio.state import Studio
    from limner.studio.worker import Job

MOST_STEPS = 200  # of one picture
MOST_SELF_ATTENTION = 8_000_000  # shares in one answer, each a byte


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


@dataclass(frozen=True)
class AskPictureTrace:
    """Some looks of a picture once more, closer.

    Attributes:
        trace: the id of the picture's trace, which holds what the model was given.
        looks: their numbers.
        layers: in which it is kept how patches look at each other; None: in all.
    """

    trace: str
    looks: tuple[int, ...]
    layers: tuple[int, ...] | None = None


def trace_picture_again(studio: Studio, ask: AskPictureTrace, job: Job) -> bytes:
    """A trace of these looks with how patches look at each other."""
    from limner.explain.picture_trace import self_attention_size

    kept = _picture_trace(studio, ask.trace, job)
    painter = _painter_of(studio, kept)
    settings = painter.settings_of(kept.about["settings"])
    layers = painter.config.denoiser.stack.num_layers if ask.layers is None else len(set(ask.layers))
    looks = len(set(ask.looks))
    size = looks * self_attention_size(painter, settings, layers)
    if size > MOST_SELF_ATTENTION:
        raise ConfigError(
            f"how patches look at each other in {counted(layers, 'layer')} at {counted(looks, 'look')} is {size:,} numbers, but "
            f"the studio sends at most {MOST_SELF_ATTENTION:,}. Ask for fewer layers, or one look."
        )
    job.check()
    again = painter.trace(kept, looks=ask.looks, self_attention=True if ask.layers is None else ask.layers)
    return again.to_bytes()


@dataclass(frozen=True)
class AskPictureCausal:
    """Which heads a picture rests on: those that read the prompt, or those with which the picture reads itself."""

    trace: str
    where: Literal["cross_attention", "attention"] = "cross_attention"


def causal_picture(studio: Studio, ask: AskPictureCausal, job: Job) -> dict[str, Any]:
    """Each head off in turn and the picture painted anew: a ``head`` for each, then ``done``.

    It is held against the picture as it is painted here, for another precision or machine alone changes it a little.
    """
    from limner.explain.picture_changes import paint_changed
    from limner.explain.picture_interventions import all_heads, painted_with
    from limner.picture.painting import Picture

    kept = _picture_trace(studio, ask.trace, job)
    painter = _painter_of(studio, kept)
    heads = list(all_heads(painter, ask.where))

    def on_step(*_: Any) -> None:
        job.check()

    before = paint_changed(painter, Picture(kept.image, kept.about["settings"]), [], on_step=on_step)
    for done, off in enumerate(heads, start=1):
        job.emit("head", done=done, of=len(heads), **painted_with(painter, before, off, on_step=on_step))
    return {"where": ask.where, "heads": len(heads)}


def _picture_trace(studio: Studio, id: str, job: Job) -> PictureTrace:
    from limner.explain.picture_trace import PictureTrace
    from limner.explain.trace import trace_of

    trace = PictureTrace.of(trace_of(studio.traces.get(id, job), "the trace"))
    about = trace.about
    try:
        sound = isinstance(about["settings"], dict) and isinstance(about["model"]["name"], str)
        sound = sound and isinstance(about["notes"], list) and trace.arrays["picture"].ndim == 3
    except (KeyError, TypeError):
        sound = False
    if not sound:
        raise DataError("the trace does not say how its picture was painted, but it is looked at again. Paint it anew.")
    return trace


def _painter_of(studio: Studio, trace: PictureTrace) -> PictureGenerator:
    return studio.shelf.painter(trace.about["model"]["name"])


ENDPOINTS = (
    Endpoint("POST", "/api/paint", AskPaint, paint, "events"),
    Endpoint("POST", "/api/trace/picture", AskPictureTrace, trace_picture_again, "bytes"),
    Endpoint("POST", "/api/causal/picture", AskPictureCausal, causal_picture, "events"),
)
