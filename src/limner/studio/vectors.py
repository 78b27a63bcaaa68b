"""What pages ask about meaning and order: neighbours, analogies, the map, a word in two texts, positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from limner.core.errors import ConfigError
from limner.studio.wire import Endpoint
from limner.studio.words import Among

if TYPE_CHECKING:
    from limner.studio.state import Studio
    from limner.studio.worker import Job

MOST_FOUND = 200
MOST_LAID_OUT = (
    10_000  # words by neighbours, which takes seconds for thousands and is not stopped when the browser leaves
)


def _check_count(count: int) -> int:
    if not 1 <= count <= MOST_FOUND:
        raise ConfigError(f"count is {count}, but 1 to {MOST_FOUND} words are listed. Choose so many.")
    return count


@dataclass(frozen=True)
class AskNeighbours:
    """The words nearest to one."""

    model: str
    word: str
    count: int = 10
    among: Among = "table"


def neighbours(studio: Studio, ask: AskNeighbours, job: Job) -> dict[str, Any]:
    """Words that the model holds to be like one."""
    from limner.explain.vectors import neighbours as find

    _check_count(ask.count)
    model = studio.shelf.reader(ask.model)
    space = studio.words.of(model, ask.among)
    job.check()
    return find(model, ask.word, count=ask.count, among=space).to_dict()


@dataclass(frozen=True)
class AskAnalogy:
    """What ``a − b + c`` is nearest to."""

    model: str
    a: str
    b: str
    c: str
    count: int = 10
    among: Among = "table"


def analogy(studio: Studio, ask: AskAnalogy, job: Job) -> dict[str, Any]:
    """king − man + woman."""
    from limner.explain.vectors import analogy as find

    _check_count(ask.count)
    model = studio.shelf.reader(ask.model)
    space = studio.words.of(model, ask.among)
    job.check()
    return find(model, ask.a, ask.b, ask.c, count=ask.count, among=space).to_dict()


@dataclass(frozen=True)
class AskMap:
    """So many words on a plane."""

    model: str
    count: int = 2000
    layout: Literal["principal", "neighbours"] = "principal"
    seed: int = 0


def word_map(studio: Studio, ask: AskMap, job: Job) -> bytes:
    """A map in the layout of a trace file: ``words`` in what it is about, ``coordinates`` (words, 2) float32."""
    from limner.explain.trace import Trace
    from limner.explain.word_map import map_words

    if ask.layout == "neighbours" and ask.count > MOST_LAID_OUT:
        raise ConfigError(
            f"count is {ask.count:,}, but by neighbours the studio lays out at most {MOST_LAID_OUT:,} words. "
            "Choose fewer, or the layout principal."
        )
    model = studio.shelf.reader(ask.model)
    job.check()
    about = map_words(model, count=ask.count, layout=ask.layout, seed=ask.seed)
    said = about.to_dict()
    del said["coordinates"]
    return Trace("map", {"model": ask.model, **said}, {"coordinates": about.coordinates}).to_bytes()


@dataclass(frozen=True)
class AskDrift:
    """One word in two texts, beside other words."""

    model: str
    word: str
    first: str
    second: str
    references: tuple[str, ...] = ()


def drift(studio: Studio, ask: AskDrift, job: Job) -> dict[str, Any]:
    """How alike a word stays to itself, layer by layer."""
    from limner.explain.drift import drift as follow

    if len(ask.references) > MOST_FOUND:
        raise ConfigError(f"{len(ask.references)} references are given, but at most {MOST_FOUND} are. Give fewer.")
    model = studio.shelf.reader(ask.model)
    job.check()
    return follow(model, ask.word, ask.first, ask.second, references=ask.references).to_dict()


@dataclass(frozen=True)
class AskPositions:
    """The positions of a model; ``count`` as a text, for it stands in the address."""

    model: str
    count: str = "64"


def positions(studio: Studio, ask: AskPositions, job: Job) -> dict[str, Any]:
    """The numbers with which a model tells places apart."""
    from limner.explain.positions import read_positions

    if not ask.count.isdecimal() or len(ask.count) > 4 or not 1 <= int(ask.count) <= 1024:
        raise ConfigError(f"count is {ask.count!r:.20}, but 1 to 1,024 positions are shown. Choose so many.")
    model = studio.shelf.reader(ask.model)
    count = min(int(ask.count), model.context_length)
    return read_positions(model, count).to_dict()


@dataclass(frozen=True)
class AskOrder:
    """Two texts; ``positions`` is what the page shows, the answer has both."""

    model: str
    texts: tuple[str, ...]
    positions: bool = True


def order(studio: Studio, ask: AskOrder, job: Job) -> dict[str, Any]:
    """Two texts with positions and without."""
    from limner.explain.order import compare_order

    if len(ask.texts) != 2:
        raise ConfigError(f"{len(ask.texts)} texts are given, but two are compared. Give two.")
    model = studio.shelf.reader(ask.model)
    job.check()
    return compare_order(model, *ask.texts).to_dict()


ENDPOINTS = (
    Endpoint("POST", "/api/neighbours", AskNeighbours, neighbours),
    Endpoint("POST", "/api/analogy", AskAnalogy, analogy),
    Endpoint("POST", "/api/map", AskMap, word_map, "bytes"),
    Endpoint("POST", "/api/drift", AskDrift, drift),
    Endpoint("GET", "/api/positions", AskPositions, positions),
    Endpoint("POST", "/api/order", AskOrder, order),
)
