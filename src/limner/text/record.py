"""What a generation leaves behind: its text, and enough to make it again and to look at how it came about."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from limner.text.sampling import Sampling

CANDIDATES = 20  # most likely tokens kept for each step
FinishReason = Literal["end", "stop", "length", "context"]
"""Why a text ended: a token that ends texts, a stop string, max_tokens, a full context window."""


@dataclass(frozen=True)
class Settings:
    """Everything but the prompt and the seed that a text depends on.

    Attributes:
        max_tokens: the most tokens to write.
        sampling: how each is drawn.
        stop: strings that end the text and are not part of it.
        window: what happens when the context window is full: ``"error"`` stops there (and refuses a prompt that
            is longer), ``"slide"`` lets the older half go and writes on.
    """

    max_tokens: int
    sampling: Sampling
    stop: tuple[str, ...]
    window: Literal["error", "slide"]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, in one level."""
        values = asdict(self)
        return {"max_tokens": self.max_tokens, **values["sampling"], "stop": list(self.stop), "window": self.window}


@dataclass(frozen=True)
class Candidate:
    """One of the most likely next tokens.

    Attributes:
        logprob: natural logarithm of its probability as the model gave it, before temperature and filters.
    """

    id: int
    logprob: float

    @property
    def probability(self) -> float:
        """Before temperature and filters."""
        return math.exp(self.logprob)


@dataclass(frozen=True)
class Record:
    """How likely each token was, and what else might have been written.

    Attributes:
        candidate_ids: the most likely tokens of each step, best first, int32, shape (tokens, candidates).
        candidate_logprobs: their log-probabilities, float32, shape (tokens, candidates).
        logsumexp: the logarithm of the sum of all exponentials of logits, float32, shape (tokens,): with it a
            replay can be held to the logits and not just to their differences.
    """

    candidate_ids: Tensor
    candidate_logprobs: Tensor
    logsumexp: Tensor

    def candidates(self, step: int) -> list[Candidate]:
        """The most likely tokens at one step, best first."""
        ids, logprobs = self.candidate_ids[step].tolist(), self.candidate_logprobs[step].tolist()
        return [Candidate(id, logprob) for id, logprob in zip(ids, logprobs, strict=True)]


@dataclass(frozen=True)
class Branch:
    """Where a text left another one, and how.

    Attributes:
        place: which of the written tokens was another, counted from 0.
        id: the token that was put there.
        instead_of: the token that the other text has there.
    """

    place: int
    id: int
    instead_of: int

    def to_dict(self) -> dict[str, int]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Generation:
    """One text that a model wrote.

    Attributes:
        text: what was written, without the prompt.
        prompt: what was to be continued; of a prompt given as ids, their text.
        prompt_ids: what the model read, its opening token included.
        ids: what it wrote, a token that ended the text included.
        logprobs: of each id, natural logarithms, as the model gave them, before temperature and filters.
        finish: why the text ended.
        seed: with the same prompt, settings and model this gives the same text.
        record: the other candidates; None when ``record=False``.
        branch: where it left another text, if it was made from one (``limner.branch``).
    """

    text: str
    prompt: str
    prompt_ids: list[int]
    ids: list[int]
    logprobs: list[float]
    finish: FinishReason
    seed: int
    settings: Settings
    model: str | None = None
    record: Record | None = field(default=None, compare=False)
    branch: Branch | None = None

    def __str__(self) -> str:
        return self.text

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        values: dict[str, Any] = {
            "text": self.text,
            "prompt": self.prompt,
            "prompt_ids": self.prompt_ids,
            "ids": self.ids,
            "logprobs": self.logprobs,
            "finish": self.finish,
            "seed": self.seed,
            "settings": self.settings.to_dict(),
            "model": self.model,
        }
        if self.branch is not None:
            values["branch"] = self.branch.to_dict()
        if self.record is not None:
            values["record"] = {
                "candidate_ids": self.record.candidate_ids.tolist(),
                "candidate_logprobs": self.record.candidate_logprobs.tolist(),
                "logsumexp": self.record.logsumexp.tolist(),
            }
        return values


@dataclass(frozen=True)
class Event:
    """One more token of one text.

    Attributes:
        sample: which text, counted from 0.
        text: what may be shown by now; empty while a character or a possible stop string is incomplete.
        id: the token.
        logprob: see ``Generation.logprobs``; None when ``record=False``.
        finish: why the text ended with this token; None: it goes on.
    """

    sample: int
    text: str
    id: int
    logprob: float | None
    finish: FinishReason | None
    _look: Callable[[], list[Candidate]] = field(repr=False, compare=False, default=list)

    @property
    def candidates(self) -> list[Candidate]:
        """The most likely tokens at this step, best first; empty when ``record=False``."""
        return self._look()


@dataclass(frozen=True)
class Step:
    """What one step leaves, for all rows: top logits and their ids, log-sum-exp, the chosen ones' log-probability.

    Shapes (rows, candidates) twice, (rows,) twice.
    """

    values: Tensor
    ids: Tensor
    logsumexp: Tensor
    logprobs: Tensor

    def candidates(self, row: int) -> list[Candidate]:
        """The most likely tokens of one row, best first."""
        logprobs = (self.values[row] - self.logsumexp[row]).tolist()
        return [Candidate(id, logprob) for id, logprob in zip(self.ids[row].tolist(), logprobs, strict=True)]


class Collector:
    """Collects the record of texts that are made together; tensors stay where they are until it is asked for."""

    def __init__(self) -> None:
        self._stretches: list[tuple[list[int], list[Step]]] = []  # steps made with the same texts
        self._whole: dict[int, Step] = {}  # by stretch: its steps as one, with an axis for them in front

    def add(self, samples: Sequence[int], step: Step) -> None:
        """One step of these samples, in the order of the rows."""
        if not self._stretches or self._stretches[-1][0] != list(samples):
            self._stretches.append((list(samples), []))
        self._stretches[-1][1].append(step)

    def of(self, sample: int) -> tuple[list[float], Record]:
        """The log-probabilities of what a finished sample wrote, and the rest of its record."""
        parts = []
        for number, (samples, _) in enumerate(self._stretches):
            if sample in samples:
                row, whole = samples.index(sample), self._as_one(number)
                parts.append([whole.values[:, row], whole.ids[:, row], whole.logsumexp[:, row], whole.logprobs[:, row]])
        values, ids, logsumexp, logprobs = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        return logprobs.tolist(), Record(ids, values - logsumexp[:, None], logsumexp)

    def _as_one(self, number: int) -> Step:
        steps = self._stretches[number][1]
        if number not in self._whole or len(self._whole[number].values) != len(steps):
            self._whole[number] = Step(
                torch.stack([step.values for step in steps]).cpu(),
                torch.stack([step.ids for step in steps]).int().cpu(),
                torch.stack([step.logsumexp for step in steps]).cpu(),
                torch.stack([step.logprobs for step in steps]).cpu(),
            )
        return self._whole[number]
