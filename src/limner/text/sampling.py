"""From logits to the next token: what is taken out, and how one of the rest is drawn.

The order is that of transformers' ``generate``:

    logits → repetition penalty → temperature → top-k → top-p → min-p → draw

(llama.cpp by default applies the temperature last, so that its top-p sees the model's own probabilities.)
Each of the three filters keeps the most likely tokens down to some floor; tokens exactly as likely as the
last one kept are kept too, so that a text does not depend on how a sort breaks ties.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from limner.core.errors import ConfigError

SEEDS = 2**32  # torch's generator on the CPU (a Mersenne twister) tells no more seeds apart
RANKED = (64, 1024)  # candidates looked at before the whole vocabulary is sorted; nearly always enough
SMALLEST = torch.finfo(torch.float32).tiny  # smaller temperatures would be 0 in float32, and what is best 0 / 0
_GROUP = 64  # see top_candidates


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn.

    Attributes:
        temperature: above 1 more surprising, below 1 less; 0: always the most likely token.
        top_k: only the k most likely tokens; 0: no limit.
        top_p: only the smallest set of most likely tokens that holds this share of the probability; 1: all,
            0: the most likely one.
        min_p: only tokens at least this share as likely as the most likely one; 0: all.
        repetition_penalty: above 1 makes tokens less likely that the text has already; 1: no change.
    Raises:
        ConfigError: a value out of its range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature < math.inf:
            raise ConfigError(
                f"temperature is {self.temperature}, but it must be 0 or more. Choose 0 for the most likely token "
                "each time, about 0.8 for a story."
            )
        if isinstance(self.top_k, bool) or not isinstance(self.top_k, int) or self.top_k < 0:
            raise ConfigError(f"top_k is {self.top_k}, but it is a number of tokens. Choose 0 (no limit) or more.")
        if not 0.0 <= self.top_p <= 1.0:
            raise ConfigError(f"top_p is {self.top_p}, but it is a share of the probability. Choose from 0 to 1.")
        if not 0.0 <= self.min_p <= 1.0:
            raise ConfigError(f"min_p is {self.min_p}, but it is a share of the best probability. Choose from 0 to 1.")
        if not 0.0 < self.repetition_penalty < math.inf:
            raise ConfigError(
                f"repetition_penalty is {self.repetition_penalty}, but it divides logits and must be more than 0. "
                "Choose 1 (no change) or a little more."
            )

    @property
    def greedy(self) -> bool:
        """Whether nothing is left to chance."""
        return self.temperature == 0.0

    @property
    def filtered(self) -> bool:
        """Whether some tokens are taken out before the draw."""
        return self.top_k > 0 or self.top_p < 1.0 or self.min_p > 0.0


# ── before the draw ────────────────────────────────────────────────────────────────────────────────────


def penalize(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Make tokens that the text has already less likely: positive logits are divided, negative multiplied.

    Args:
        logits: shape (rows, vocab_size).
        seen: True for tokens in the row's text, the prompt included, shape (rows, vocab_size).
    Source: Keskar et al. 2019 (CTRL), arXiv:1909.05858, section 4.1.
    """
    if penalty == 1.0:
        return logits
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def temper(logits: Tensor, temperature: float) -> Tensor:
    """Divide by the temperature; if it is so small that this might overflow, the best logit becomes 0 first.

    Source: Ackley, Hinton & Sejnowski 1985, "A learning algorithm for Boltzmann machines".
    """
    if temperature < 1e-20:
        logits = logits - logits.amax(dim=-1, keepdim=True)
        temperature = max(temperature, SMALLEST)
    return logits if temperature == 1.0 else logits / temperature


def keep_top_k(ranked: Tensor, k: int) -> Tensor:
    """Keep the k most likely (0: all), and share their probability out anew.

    Args:
        ranked: log-probabilities, the highest first, shape (rows, candidates).
    Returns:
        The same with -inf for what is taken out.
    Source: Fan et al. 2018, arXiv:1805.04833.
    """
    if k == 0:
        return ranked
    floor = ranked[:, min(k, ranked.shape[-1]) - 1].unsqueeze(-1)
    return ranked.masked_fill(ranked < floor, -torch.inf).log_softmax(dim=-1)


def keep_top_p(ranked: Tensor, p: float) -> Tensor:
    """Keep the smallest set of the most likely that together have probability p or more (1: all).

    Args:
        ranked: log-probabilities, the highest first, shape (rows, candidates); what is not among the
            candidates has the rest.
    Returns:
        The same with -inf for what is taken out.
    Source: Holtzman et al. 2019, arXiv:1904.09751.
    """
    if p == 1.0:
        return ranked
    probability = ranked.exp()
    before = probability.cumsum(dim=-1, dtype=torch.float64) - probability  # of all that are more likely
    last = (before < p).sum(dim=-1, keepdim=True).clamp(min=1) - 1
    return ranked.masked_fill(ranked < ranked.gather(-1, last), -torch.inf)


def keep_min_p(ranked: Tensor, p: float) -> Tensor:
    """Keep what is at least p times as likely as the most likely (0: all).

    Args:
        ranked: log-probabilities, the highest first, shape (rows, candidates).
    Returns:
        The same with -inf for what is taken out.
    Source: Nguyen et al. 2024, arXiv:2407.01082.
    """
    if p == 0.0:
        return ranked
    return ranked.masked_fill(ranked < ranked[:, :1] + math.log(p), -torch.inf)


# ── the draw ───────────────────────────────────────────────────────────────────────────────────────────


def most_likely(scores: Tensor, ids: Tensor) -> Tensor:
    """The best of ranked candidates; of equal ones that with the lowest id, as argmax has it.

    Args:
        scores, ids: the highest score first, shape (rows, candidates).
    Returns:
        Shape (rows,).
    """
    return ids.masked_fill(scores < scores[:, :1], torch.iinfo(ids.dtype).max).amin(dim=-1)


def draw(log_probabilities: Tensor, chance: Tensor) -> Tensor:
    """The place at which the running sum of probabilities passes ``chance``.

    Args:
        log_probabilities: up to a constant, -inf for what cannot be drawn, shape (rows, candidates).
        chance: numbers from 0 up to, not including, 1, float64, shape (rows,).
    Returns:
        Places, shape (rows,).
    """
    passed = log_probabilities.softmax(dim=-1).cumsum(dim=-1, dtype=torch.float64)
    wanted = chance.clamp(max=1 - 2**-40).unsqueeze(-1) * passed[:, -1:]
    return torch.searchsorted(passed, wanted, right=True).squeeze(-1)


def sample(logits: Tensor, sampling: Sampling, chance: Tensor, ranking: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Draw one token a row, after the repetition penalty.

    Rows do not influence each other: a row's token depends on its logits and its chance alone.

    Args:
        logits: float32, shape (rows, vocab_size).
        chance: numbers from 0 up to, not including, 1, float64, shape (rows,).
        ranking: the highest logits and their ids, highest first, where they are known already.
    Returns:
        Ids, shape (rows,).
    """
    vocab_size = logits.shape[-1]
    if sampling.greedy:
        return most_likely(*(ranking or top_candidates(logits, 20)))
    if not sampling.filtered:
        return draw(temper(logits, sampling.temperature), chance)
    for width in (*(width for width in RANKED if width < vocab_size), vocab_size):
        if width <= sampling.top_k and width < vocab_size:
            continue
        best, ids = top_candidates(logits, width)
        if sampling.top_k > 0:  # the k will share all probability among them
            ranked = temper(best, sampling.temperature)
        else:
            ranked = temper(logits, sampling.temperature).log_softmax(dim=-1).gather(-1, ids)
        kept = keep_top_p(keep_top_k(ranked, sampling.top_k), sampling.top_p)
        kept = keep_min_p(kept, sampling.min_p)
        if width == vocab_size or bool((kept[:, -1] == -torch.inf).all()):
            break
    ids, order = ids.sort(dim=-1)  # by id, so that the draw does not depend on the order of near equals
    return ids.gather(-1, draw(kept.gather(-1, order), chance).unsqueeze(-1)).squeeze(-1)


def top_candidates(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """``logits.topk(count)``, faster for large vocabularies.

    The highest values lie in the groups with the highest maxima: so only those groups are ranked. Finding
    the maxima is one pass that the processor vectorises, which topk over everything is not (measured at a
    vocabulary of 50,257 on one core: 0.10 ms against 0.22).

    Args:
        logits: shape (rows, vocab_size).
    Returns:
        Values, highest first, and ids, each (rows, count or vocab_size if that is less).
    """
    rows, vocab_size = logits.shape
    count = min(count, vocab_size)
    groups = vocab_size // _GROUP
    if vocab_size < 16_384 or groups < count:
        values, ids = logits.topk(count)
        return values, ids
    whole = logits[:, : groups * _GROUP].reshape(rows, _GROUP, groups)  # group g: ids g, g + groups, g + 2 groups …
    best = whole.amax(dim=1).topk(count).indices
    steps = torch.arange(0, groups * _GROUP, groups, device=logits.device)
    rest = torch.arange(groups * _GROUP, vocab_size, device=logits.device).expand(rows, -1)
    ids = torch.cat(((best.unsqueeze(-1) + steps).flatten(1), rest), dim=1)
    values, places = logits.gather(1, ids).topk(count)
    return values, ids.gather(1, places)


# ── chance ─────────────────────────────────────────────────────────────────────────────────────────────


class Chance:
    """One sample's own stream of random numbers: the same whatever else is being made at the time."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(check_seed(seed))
        self.block: list[float] = []

    def next(self) -> float:
        """From 0 up to, not including, 1."""
        if not self.block:
            self.block = torch.rand(64, generator=self.generator, dtype=torch.float64).tolist()
            self.block.reverse()
        return self.block.pop()


def check_seed(seed: int) -> int:
    """The seed itself.

    Raises:
        ConfigError: it is not from 0 to 4294967295.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < SEEDS:
        raise ConfigError(f"seed is {seed!r}, but seeds are whole numbers from 0 to {SEEDS - 1}. Choose one of them.")
    return seed
