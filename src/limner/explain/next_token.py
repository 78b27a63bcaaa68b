"""The next token under any settings: what could be drawn, and how likely each is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from limner.core.errors import ConfigError
from limner.explain.checks import check_place
from limner.explain.guess import Guess
from limner.explain.words import read_ids
from limner.text.sampling import Sampling, keep_min_p, keep_top_k, keep_top_p, most_likely, temper

if TYPE_CHECKING:
    from limner.text.generator import TextGenerator


PLAIN = Sampling()


@dataclass(frozen=True)
class Likely(Guess):
    """A token that can be drawn.

    Attributes:
        probability: with which it is drawn, after temperature and filters.
        logprob: natural logarithm of its probability as the model gives it, before them.
    """

    logprob: float


@dataclass(frozen=True)
class NextToken:
    """What the next token is drawn from.

    Attributes:
        candidates: the likeliest first.
        kept: how many tokens can be drawn at all.
        rest: the probability of those that are kept but not listed.
    """

    candidates: list[Likely]
    kept: int
    rest: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"candidates": [vars(one) for one in self.candidates], "kept": self.kept, "rest": self.rest}


@torch.inference_mode()
def next_token(
    generator: TextGenerator,
    source: str | Sequence[int],
    *,
    place: int = -1,
    count: int = 20,
    sampling: Sampling = PLAIN,
) -> NextToken:
    """What would follow the token at ``place``; exact for every setting, for the whole vocabulary is looked at.

    Args:
        count: how many candidates to list.
        sampling: as it would be drawn, but for the repetition penalty.
    Raises:
        ConfigError: a repetition penalty; no such place; fewer than 1 candidate.
    """
    if sampling.repetition_penalty != 1.0:
        raise ConfigError(
            f"repetition_penalty is {sampling.repetition_penalty:g}, but what is likely here is told without one. Leave it out."
        )
    if count < 1:
        raise ConfigError(f"count is {count}, but at least one token is listed. Choose 1 or more.")
    ids = read_ids(generator, source)
    row = torch.tensor([ids[: check_place(place, len(ids)) + 1]], device=generator.device)
    logits = generator.model.logits(generator.model.hidden(row)[:, -1])[:, : generator.tokenizer.vocab_size].float()
    plain = logits.log_softmax(dim=-1)[0]
    ranked, order = logits.sort(dim=-1, descending=True, stable=True)
    if sampling.greedy:
        order, logs = most_likely(ranked, order)[:, None], torch.zeros(1, 1)
    else:
        logs = temper(ranked, sampling.temperature).log_softmax(dim=-1)
        logs = keep_min_p(keep_top_p(keep_top_k(logs, sampling.top_k), sampling.top_p), sampling.min_p)
    shares = logs.softmax(dim=-1)
    kept = int((logs > -torch.inf).sum())
    listed = min(count, kept)
    pairs = zip(order[0, :listed].tolist(), shares[0, :listed].tolist(), strict=True)
    found = [Likely(id, generator.token_text(id), share, float(plain[id])) for id, share in pairs]
    return NextToken(found, kept, max(0.0, 1.0 - sum(one.probability for one in found)))
