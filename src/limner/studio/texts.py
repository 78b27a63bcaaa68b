"""What pages ask about texts: tokens, writing, traces."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from limner.core.errors import ConfigError
from limner.studio.wire import Endpoint, candidate, prompt_of, token

if TYPE_CHECKING:
    from limner.studio.state import Studio
    from limner.studio.worker import Job
    from limner.tokens import Tokenizer
    from limner.tokens.merges import MergeReplay

MOST_TOKENIZERS = 4
LONGEST_REPLAY = 1000  # characters; replaying takes time with the square of a word, and nobody watches more
MOST_TOKENS = 4000  # written at once


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
    entries = {entry.name: entry for entry in studio.shelf.entries()}
    return {"tokenizers": [_read_by(studio, name, ask.text, entries) for name in ask.models]}


def _read_by(studio: Studio, name: str, text: str, entries: dict[str, Any]) -> dict[str, Any]:
    folder, _ = studio.shelf.place(name)
    file = (folder if (folder / "tokenizer.json").exists() else folder / "model") / "tokenizer.json"
    tokenizer, replay = _tokenizer(file, file.stat().st_mtime_ns if file.exists() else 0)
    known = entries.get(name.rpartition("@")[0] or name)
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
        job.emit(
            "token",
            **token(generator, event.id),
            shown=event.text,
            logprob=event.logprob,
            candidates=[candidate(generator, other.id, other.logprob) for other in event.candidates],
        )
    (generation,) = stream.generations
    plain = generation.to_dict()
    plain.pop("record", None)  # the page has had all candidates already
    return {"generation": plain}


ENDPOINTS = (
    Endpoint("POST", "/api/tokens", AskTokens, tokens, computes=False),
    Endpoint("POST", "/api/write", AskWrite, write, "events"),
)
