"""Every error that limner raises for something a person can mend.

    LimnerError
    ├── ConfigError       a setting that cannot be used, or does not exist
    ├── ShapeError        a tensor whose shape does not fit
    ├── ContextError      more tokens than the context window holds
    ├── DataError         an input that cannot be read or has nothing in it
    ├── TokenizerError    a tokenizer that cannot be trained, read, or used with this model
    ├── WeightsError      a model folder or a checkpoint that is missing, damaged or does not fit
    ├── TrainingError     a training run that cannot start or go on
    └── MissingExtraError a library of an extra that is not installed

Messages read ``<what> is <value>, but <rule>. <remedy>.`` in one sentence or two, and the command line
prints them without a traceback and exits with 2. Broken invariants of our own are asserts.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class LimnerError(Exception):
    """Something a person can mend; the message says what, why and how."""


class ConfigError(LimnerError, ValueError):
    """A setting that cannot be used, or does not exist."""


class ShapeError(LimnerError, ValueError):
    """A tensor whose shape does not fit."""


class ContextError(LimnerError, ValueError):
    """More tokens than the context window holds."""


class DataError(LimnerError, ValueError):
    """An input that cannot be read or has nothing in it."""


class TokenizerError(LimnerError, ValueError):
    """A tokenizer that cannot be trained, read, or used with this model."""


class WeightsError(LimnerError, ValueError):
    """A model folder or a checkpoint that is missing, damaged or does not fit."""


class TrainingError(LimnerError, RuntimeError):
    """A training run that cannot start or go on."""


class MissingExtraError(LimnerError, ImportError):
    """A library that belongs to an extra is not installed."""

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        super().__init__(f"{library} is not installed, but {purpose} needs it. Run: pip install 'limner[{extra}]'.")


def counted(count: int, thing: str) -> str:
    """``1 step``, ``2,000 steps``."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def suggest(name: str, known: Iterable[str]) -> str:
    """``" Did you mean 'x'?"`` for the nearest known name, or a list of all of them."""
    choices = sorted(known)
    near = get_close_matches(name, choices, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]!r}?"
    return "Choose one of: " + ", ".join(choices) + "."
