"""What is said between page and server: JSON in, JSON, trace files or events out; an error is one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from limner.core.errors import ConfigError, DataError, LimnerError
from limner.core.settings import read_settings

if TYPE_CHECKING:
    from limner.studio.state import Studio
    from limner.studio.worker import Job
    from limner.text.generator import TextGenerator

T = TypeVar("T")
Event = tuple[str, Any]
"""Its name and its values."""

LONGEST_TEXT = 20_000  # characters; more than any context window that a page can show
LONGEST_MESSAGE = 600  # characters of an error: a value that is named in it may be anything
MOST_IDS = 20_000
JSON_BYTES = 2 << 20  # of a request
TRACE_BYTES = 64 << 20  # of a trace file brought in


@dataclass(frozen=True)
class Endpoint:
    """One thing that a page can ask for.

    Attributes:
        method: with ``GET`` the request is read from path and query, all of it texts; with ``POST`` from a JSON object.
        asks: the dataclass that a request is read as; None: nothing is asked; ``bytes``: the body as it is.
        handle: called with the studio, the request and the job; what it returns is sent.
        answers: how.
        computes: in the worker's thread, one at a time; else at once, and what answers with events then returns them as an
            asynchronous iterator, with None for a sign of life.
        at_hand: asked first, at once; only where it gives None is anything computed.
    """

    method: Literal["GET", "POST"]
    path: str
    asks: type[Any] | None
    handle: Callable[[Studio, Any, Job], Any]
    answers: Literal["json", "bytes", "events"] = "json"
    computes: bool = True
    at_hand: Callable[[Studio, Any], Any] | None = None


def read_request(asks: type[T], values: Any) -> T:
    """A request as its dataclass.

    Raises:
        ConfigError: an entry is missing, unknown or of another kind.
        DataError: a text or a list of ids is far too long.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"the request is {values!r:.60}, but it must be an object. Write it in braces.")
    try:
        _check_lengths(values, "")
    except RecursionError:
        raise DataError("the request is nested too deep, but no question needs that. Send a flatter one.") from None
    return read_settings(asks, values, "request")


def _check_lengths(value: Any, path: str) -> None:
    """Refuse what no model could read before anything is done with it."""
    match value:
        case str() if len(value) > LONGEST_TEXT:
            raise DataError(
                f"{path} is {len(value):,} characters long, but the studio reads at most {LONGEST_TEXT:,}. Shorten it."
            )
        case str():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise DataError(
                    f"{path} holds half of a surrogate pair, but that is no character. Send text as UTF-8."
                ) from None
        case list() if len(value) > MOST_IDS:
            raise DataError(f"{path} has {len(value):,} entries, but at most {MOST_IDS:,} are read. Shorten it.")
        case list():
            for entry in value:
                _check_lengths(entry, path)
        case dict():
            for name, entry in value.items():
                _check_lengths(name, f"a name in {path or 'the request'}")
                _check_lengths(entry, f"{path}.{name}".lstrip("."))
        case _:
            pass


def parse_json(body: bytes) -> Any:
    """The JSON of a request.

    Raises:
        DataError: it is none, or holds NaN or infinity, which JSON does not have.
    """

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is no number of JSON")

    try:
        return json.loads(body, parse_constant=refuse)
    except (ValueError, RecursionError) as problem:
        raise DataError(
            f"the request cannot be read as JSON: {problem}, but a question is an object of it. Send an object in UTF-8."
        ) from None


def to_json(values: Any) -> bytes:
    """Values as JSON; NaN is a mistake of ours."""
    return json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def to_event(name: str, values: Any) -> bytes:
    """One server-sent event."""
    return b"event: " + name.encode() + b"\ndata: " + to_json(values) + b"\n\n"


def sentence(problem: BaseException) -> str | None:
    """What to tell the person at the page; None: it is a mistake of limner's own."""
    match problem:
        case LimnerError():
            said = str(problem)
            if len(said) <= LONGEST_MESSAGE:
                return said
            half = LONGEST_MESSAGE // 2
            return f"{said[:half]} … {said[-half:]}"
        case MemoryError():
            return "Memory ran out. Choose a smaller model or a shorter text."
        case _ if type(problem).__name__ == "OutOfMemoryError":  # torch's
            return "The accelerator's memory ran out. Choose a smaller model or a shorter text."
        case RuntimeError() if "can't allocate memory" in str(problem):
            return "Memory ran out. Choose a smaller model or a shorter text."
        case OSError() if problem.filename is not None and problem.strerror:
            return f"{problem.filename} cannot be used: {problem.strerror}. Check the path and its permissions."
        case _:
            return None


# ── pieces of answers ──────────────────────────────────────────────────────────────────────────────────


def token(model: TextGenerator, id: int) -> dict[str, Any]:
    """A token as a page shows it."""
    return {"id": id, "text": model.token_text(id), "special": model.tokenizer.is_special(id)}


def candidate(model: TextGenerator, id: int, logprob: float) -> dict[str, Any]:
    """A token that might come next."""
    return {"id": id, "text": model.token_text(id), "logprob": logprob}


def prompt_of(text: str | None, ids: Sequence[int] | None, name: str = "prompt") -> str | list[int]:
    """The one of two that was given.

    Raises:
        ConfigError: both or neither.
    """
    if (text is None) == (ids is None):
        given = "neither" if text is None else "both"
        raise ConfigError(f"{name} and ids are {given} given, but a text comes as one of them. Give one.")
    return text if text is not None else list(ids or ())
