"""What pages ask about texts: tokens, writing, traces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from limner.core.errors import ConfigError
from limner.studio.wire import Endpoint, candidate, prompt_of, token

if TYPE_CHECKING:
    from limner.explain.changes import TextChange
    from limner.models import Entry
    from limner.studio.state import Studio
    from limner.studio.worker import Job
    from limner.text.encoder import TextEncoder
    from limner.text.generator import TextGenerator
    from limner.text.record import Generation
    from limner.tokens import Tokenizer
    from limner.tokens.merges import MergeReplay

MOST_TOKENIZERS = 4
LONGEST_REPLAY = 1000  # characters; replaying takes time with the square of a word, and nobody watches more
MOST_TOKENS = 4000  # written at once
MOST_COMPARED = 200  # tokens of a continuation, which is not stopped when the browser leaves
MOST_ATTENTION = 128 << 20  # shares in one trace, each a byte
CANDIDATES = 20
SMALLEST = 1e-45  # a probability below it is none


# ── tokens ─────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class AskTokens:
    """Up to four models by name."""

    text: str
    models: tuple[str, ...]


def tokens(studio: Studio, ask: AskTokens, job: Job) -> dict[str, Any]:
    """One text through several tokenizers, with the merges of those that merge."""
    if not 1 <= len(ask.models) <= MOST_TOKENIZERS:
        raise ConfigError(
            f"{len(ask.models)} models are given, but 1 to {MOST_TOKENIZERS} stand side by side. Choose so many."
        )
    entries = studio.shelf.entries()
    return {"tokenizers": [_read_by(studio, name, ask.text, entries) for name in ask.models]}


def _read_by(studio: Studio, name: str, text: str, entries: Sequence[Entry]) -> dict[str, Any]:
    folder, _ = studio.shelf.place(name, entries)
    file = (folder if (folder / "tokenizer.json").exists() else folder / "model") / "tokenizer.json"
    if not file.is_file():
        raise ConfigError(f"the model is {name!r}, but it has no tokenizer. Choose one that reads texts or prompts.")
    tokenizer, replay = _tokenizer(file, file.stat().st_mtime_ns)
    listed = name.rpartition("@")[0] or name
    known = next((entry for entry in entries if entry.name == listed), None)
    return {
        "model": name,
        "kind": tokenizer.kind,
        "vocab_size": tokenizer.vocab_size,
        "context_length": known.context if known is not None else 0,
        "opening": [tokenizer.piece(id) for id in tokenizer.opening],
        "tokens": [
            {
                "id": piece.id,
                "text": piece.bytes.decode("utf-8", "backslashreplace"),
                "piece": piece.piece,
                "bytes": list(piece.bytes),
                "start": piece.start,
                "end": piece.end,
            }
            for piece in tokenizer.pieces(text)
        ],
        "merges": [] if len(text) > LONGEST_REPLAY else _merges(tokenizer, replay, text),
        "merges_left_out": len(text) > LONGEST_REPLAY,
    }


def _merges(tokenizer: Tokenizer, replay: MergeReplay, text: str) -> list[dict[str, Any]]:
    def shown(piece: str) -> str:
        id = tokenizer.piece_id(piece)
        return piece if id is None else tokenizer.token_bytes(id).decode("utf-8", "backslashreplace")

    return [
        {
            "start": word.start,
            "end": word.end,
            "pieces": [shown(piece) for piece in word.pieces],
            "steps": [{"rank": merge.rank, "at": merge.at, "piece": shown(merge.piece)} for merge in word.merges],
        }
        for word in replay.words(text)
    ]


@lru_cache(maxsize=8)
def _tokenizer(file: Path, changed: int) -> tuple[Tokenizer, MergeReplay]:
    """A tokenizer by its file, opened anew when that was changed."""
    from limner.tokens import Tokenizer
    from limner.tokens.merges import MergeReplay

    tokenizer = Tokenizer.load(file)
    return tokenizer, MergeReplay(tokenizer)


# ── writing ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class WriteSettings:
    """As ``TextGenerator.generate`` takes them."""

    max_tokens: int = 60
    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 0.95
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    greedy: bool = False
    stop: tuple[str, ...] = ()
    window: Literal["error", "slide"] = "error"


@dataclass(frozen=True)
class AskWrite:
    """A prompt as text or as ids: what is given as ids is read just so, and a branch is written on from them."""

    model: str
    prompt: str | None = None
    ids: tuple[int, ...] | None = None
    settings: WriteSettings = field(default_factory=WriteSettings)
    seed: int | None = None


def write(studio: Studio, ask: AskWrite, job: Job) -> dict[str, Any]:
    """Continue a text, token by token: ``start``, ``token`` …, ``done``."""
    settings = ask.settings
    if settings.max_tokens > MOST_TOKENS:
        raise ConfigError(
            f"max_tokens is {settings.max_tokens}, but the studio writes at most {MOST_TOKENS:,} at once. "
            "Choose fewer, and write on from there."
        )
    prompt = prompt_of(ask.prompt, ask.ids)
    generator = studio.shelf.text(ask.model)
    stream = generator.stream(
        prompt,
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        top_k=settings.top_k,
        top_p=settings.top_p,
        min_p=settings.min_p,
        repetition_penalty=settings.repetition_penalty,
        greedy=settings.greedy,
        stop=settings.stop,
        window=settings.window,
        seed=ask.seed,
    )
    read = generator.read_prompt(prompt, settings.window)
    job.emit("start", model=ask.model, seed=stream.seeds[0], tokens=[token(generator, id) for id in read])
    for event in stream:
        _tell(job, generator, event)
    (generation,) = stream.generations
    return _done(studio, ask.model, generation)


def _done(studio: Studio, model: str, generation: Generation) -> dict[str, Any]:
    """What is said of a text at its end; its trace is made when it is asked for."""

    def make(job: Job) -> bytes:
        generator = studio.shelf.text(model)
        job.check()
        return _trace(generator, generation, len(generation.prompt_ids) + len(generation.ids), ())

    plain = generation.to_dict()
    plain.pop("record", None)  # the page has had all candidates already
    return {"generation": plain, "trace": studio.traces.later(make, (model, generation))}


@dataclass(frozen=True)
class AskBranch:
    """Another token in a text that was written here.

    Attributes:
        trace: what ``done`` named; the text is known by it.
        place: which of the written tokens is another, counted from 0.
        max_tokens: of the whole text; None: as it was.
    """

    trace: str
    place: int
    id: int
    max_tokens: int | None = None


def branch(studio: Studio, ask: AskBranch, job: Job) -> dict[str, Any]:
    """Put another token in and write on with the same settings and the same chance: ``start``, ``token`` …, ``done``."""
    from limner.explain.branch import branch as make_branch

    model, generation = studio.traces.source(ask.trace)
    generator = studio.shelf.text(model)
    kept = [*generation.prompt_ids, *generation.ids[: ask.place]]
    begun = False

    def on_event(event: Any) -> None:
        nonlocal begun
        if not begun:
            begun = True
            tokens = [token(generator, id) for id in [*kept, ask.id]]
            job.emit("start", model=model, seed=generation.seed, tokens=tokens)
        _tell(job, generator, event)

    made = make_branch(generator, generation, ask.place, ask.id, max_tokens=ask.max_tokens, on_event=on_event)
    return _done(studio, model, made)


def _tell(job: Job, generator: TextGenerator, event: Any) -> None:
    job.emit(
        "token",
        **token(generator, event.id),
        shown=event.text,
        logprob=event.logprob,
        candidates=[candidate(generator, other.id, other.logprob) for other in event.candidates],
    )


# ── looking inside ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class AskTextTrace:
    """One of four: a text, ids, what ``done`` said of a text that was written, or the trace's id that it named."""

    model: str
    text: str | None = None
    ids: tuple[int, ...] | None = None
    generation: dict[str, Any] | None = None
    trace: str | None = None
    changes: tuple[dict[str, Any], ...] = ()


def trace_text(studio: Studio, ask: AskTextTrace, job: Job) -> bytes:
    """Read a text and keep what happened in it."""
    from limner.explain.changes import change_from_dict
    from limner.explain.words import read_ids

    given = [name for name in ("text", "ids", "generation", "trace") if getattr(ask, name) is not None]
    if len(given) != 1:
        raise ConfigError(
            f"{', '.join(given) or 'nothing'} is given, but it is one of text, ids, generation and trace that is read. "
            "Give one of them."
        )
    changes = tuple(change_from_dict(change) for change in ask.changes)
    model = studio.shelf.reader(ask.model)
    source: Any = ask.text if ask.text is not None else ask.ids
    if ask.generation is not None:
        source = generation_of(ask.generation)
    elif ask.trace is not None:
        name, source = studio.traces.source(ask.trace)
        if name != ask.model:
            raise ConfigError(f"the model is {ask.model!r}, but the text was written by {name!r}. Choose that model.")
    if isinstance(source, str):
        source = read_ids(model, source)
    written = isinstance(source, tuple | list)
    job.check()
    return _trace(model, source, len(source) if written else len(source.prompt_ids) + len(source.ids), changes)


def _trace(model: TextGenerator | TextEncoder, source: Any, time: int, changes: Sequence[TextChange]) -> bytes:
    """The trace file; of a long text without the attention, which grows with the square of its length."""
    from limner.explain.text_trace import groups_of, trace_text

    stack = model.model.config.stack
    heads = sum(stack.block(layer).attention.num_heads for layer in range(stack.num_layers))
    time = min(time, model.context_length)
    small = heads * time * time <= MOST_ATTENTION
    keep = groups_of(model) - (set() if small else {"attention", "rollout"})
    return trace_text(model, source, keep=keep, changes=changes).to_bytes()


def generation_of(values: dict[str, Any]) -> Generation:
    """A generation from what ``done`` said of it.

    Raises:
        ConfigError: an entry is missing or of another kind.
    """
    from limner.core.settings import read_settings
    from limner.text.record import Generation, Settings
    from limner.text.sampling import Sampling

    plain = read_settings(
        _PlainGeneration, {k: v for k, v in values.items() if k not in ("branch", "record")}, "generation"
    )
    settings = plain.settings
    sampling = Sampling(
        settings.temperature, settings.top_k, settings.top_p, settings.min_p, settings.repetition_penalty
    )
    return Generation(
        plain.text, plain.prompt, list(plain.prompt_ids), list(plain.ids), list(plain.logprobs), plain.finish, plain.seed,
        Settings(settings.max_tokens, sampling, settings.stop, settings.window), plain.model,
    )  # fmt: skip


@dataclass(frozen=True)
class _PlainGeneration:
    text: str
    prompt: str
    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    finish: Literal["end", "stop", "length", "context"]
    seed: int
    settings: WriteSettings
    logprobs: tuple[float, ...] = ()
    model: str | None = None


@dataclass(frozen=True)
class AskDistribution:
    """What follows a place, under these settings."""

    model: str
    ids: tuple[int, ...]
    place: int = -1
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0


def distribution(studio: Studio, ask: AskDistribution, job: Job) -> dict[str, Any]:
    """The likeliest next tokens, and how many could be drawn."""
    from limner.explain.next_token import next_token
    from limner.text.sampling import Sampling

    generator = studio.shelf.text(ask.model)
    found = next_token(
        generator,
        ask.ids,
        place=ask.place,
        count=CANDIDATES,
        sampling=Sampling(ask.temperature, ask.top_k, ask.top_p, ask.min_p),
    )
    return found.to_dict()


@dataclass(frozen=True)
class AskWhy:
    """Why a token follows a place; without a target, the one that does."""

    model: str
    ids: tuple[int, ...]
    place: int = -1
    method: Literal["gradient_x_input", "integrated_gradients", "leave_one_out"] = "gradient_x_input"
    target: int | None = None


def why(studio: Studio, ask: AskWhy, job: Job) -> dict[str, Any]:
    """How much each token speaks for the one in question."""
    from limner.explain.attribution import attribute

    generator = studio.shelf.text(ask.model)
    job.check()
    return attribute(generator, ask.ids, place=ask.place, target=ask.target, method=ask.method).to_dict()


@dataclass(frozen=True)
class AskCausal:
    """Which parts the probability of a token rests on."""

    model: str
    ids: tuple[int, ...]
    place: int = -1
    target: int | None = None


def causal(studio: Studio, ask: AskCausal, job: Job) -> dict[str, Any]:
    """Each head, attention and feed-forward off in turn: ``progress`` for each layer, then the map."""
    from limner.explain.causal import causal_map

    generator = studio.shelf.text(ask.model)

    def on_progress(done: int, of: int) -> None:
        job.emit("progress", done=done, of=of)

    found = causal_map(generator, ask.ids, place=ask.place, target=ask.target, on_progress=on_progress)
    return found.to_dict()


@dataclass(frozen=True)
class AskCompare:
    """A text with changes and without."""

    model: str
    text: str | None = None
    ids: tuple[int, ...] | None = None
    changes: tuple[dict[str, Any], ...] = ()
    max_tokens: int = 30
    seed: int = 0
    temperature: float = 0.0


def compare(studio: Studio, ask: AskCompare, job: Job) -> dict[str, Any]:
    """What a prompt leads to, without changes and with them."""
    from limner.explain.changes import change_from_dict
    from limner.explain.changes import compare as compare_texts

    if not 1 <= ask.max_tokens <= MOST_COMPARED:
        raise ConfigError(
            f"max_tokens is {ask.max_tokens}, but a comparison goes on for 1 to {MOST_COMPARED}. Choose so many."
        )
    changes = [change_from_dict(change) for change in ask.changes]
    generator = studio.shelf.text(ask.model)
    prompt = prompt_of(ask.text, ask.ids, "text")
    job.check()
    found = compare_texts(
        generator, prompt, changes, count=CANDIDATES, max_tokens=ask.max_tokens, seed=ask.seed, temperature=ask.temperature
    )  # fmt: skip

    def listed(guesses: Sequence[Any]) -> dict[str, Any]:
        return {
            "candidates": [
                candidate(generator, one.id, math.log(max(one.probability, SMALLEST)))
                | {"probability": one.probability}
                for one in guesses
            ]
        }

    return {
        "before": listed(found.before),
        "after": listed(found.after),
        "divergence": found.divergence,
        "continuation": {"before": found.written_before.text, "after": found.written_after.text},
        "ids": {"before": found.written_before.ids, "after": found.written_after.ids},
        "changes": [change.to_dict() for change in changes],
    }


ENDPOINTS = (
    Endpoint("POST", "/api/tokens", AskTokens, tokens, computes=False),
    Endpoint("POST", "/api/write", AskWrite, write, "events"),
    Endpoint("POST", "/api/branch", AskBranch, branch, "events"),
    Endpoint("POST", "/api/trace/text", AskTextTrace, trace_text, "bytes"),
    Endpoint("POST", "/api/distribution", AskDistribution, distribution),
    Endpoint("POST", "/api/why", AskWhy, why),
    Endpoint("POST", "/api/causal", AskCausal, causal, "events"),
    Endpoint("POST", "/api/compare", AskCompare, compare),
)
