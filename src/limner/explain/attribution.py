"""Why this token: how much each token of the text speaks for the one that follows.

Three answers, from the quickest to the plainest: the gradient at the text as it stands (times the token's vector), the
gradient along the way from a text that says nothing (integrated gradients, which add up to the whole difference), and the
text really read without the token (leave one out).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, assert_never, get_args

import numpy as np
import torch
from torch import Tensor

from limner.core.errors import ConfigError, suggest
from limner.core.tap import Editor
from limner.explain.words import resolve, token_id

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limner.text.generator import TextGenerator

Method = Literal["gradient_x_input", "integrated_gradients", "leave_one_out"]

FIRST_STEPS, MOST_STEPS = 16, 512  # points along the way
CLOSE = 0.01  # of the difference: the way is fine enough when the scores miss it by no more
ROOM = 2**22  # numbers of the residual stream in one batch, 16 MB a layer


@dataclass(frozen=True)
class Attribution:
    """How much each token of a text speaks for one that follows.

    Attributes:
        method: how it was found.
        ids: the tokens up to and with ``place``.
        scores: of each of these, in logits of the target; above 0: it speaks for it. float32, shape (tokens,).
        place: the token after which the target would follow.
        target: the token in question.
        logit: the target's.
        difference: the logit less that of the baseline; what integrated gradients should add up to. None for others.
        steps: points along the way of integrated gradients; 0 for others.
    """

    method: Method
    ids: list[int]
    scores: NDArray[np.float32]
    place: int
    target: int
    text: str
    logit: float
    difference: float | None = None
    steps: int = 0

    @property
    def sum(self) -> float:
        """Of all scores."""
        return float(self.scores.sum(dtype=np.float64))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "method": self.method, "ids": self.ids, "scores": self.scores.tolist(), "place": self.place,
            "target": self.target, "text": self.text, "logit": self.logit, "sum": self.sum,
            "difference": self.difference, "steps": self.steps,
        }  # fmt: skip


def attribute(
    generator: TextGenerator,
    source: str | Sequence[int],
    *,
    place: int = -1,
    target: int | str | None = None,
    method: Method = "gradient_x_input",
    baseline: int | str = "mean",
    steps: int | None = None,
) -> Attribution:
    """Why a token is likely after ``place``.

    Args:
        place: after which token; -1: the last.
        target: an id, or a text of one token; None: the token that really follows, of the last the likeliest.
        method: ``"gradient_x_input"``: one pass there and back. ``"integrated_gradients"``: dozens.
            ``"leave_one_out"``: a pass a token, each without it; the text closes up where it was.
        baseline: what integrated gradients start from in place of each token's vector: the mean of the vocabulary's, or a
            token's, an id or a text. Positions stay. (Not zero: a norm in front of the first layer makes of vectors that
            are nearly zero whatever direction they have, and no number of points would add up.)
        steps: points of integrated gradients; None: twice as many, and again, until the scores add up to within 1 % of the
            difference, or there are 512.
    Raises:
        ConfigError: no such place or method; the target is no single token; fewer than 1 step; a text of one token, of
            which none can be left out.
    Source: Shrikumar et al. 2016, arXiv:1605.01713 (gradient × input); Sundararajan et al. 2017, arXiv:1703.01365
        (integrated gradients; here at Gauss-Legendre points); Li et al. 2016, arXiv:1612.08220 (erasure).
    """
    if method not in get_args(Method):
        raise ConfigError(
            f"method is {method!r}, but it is one of a few names. {suggest(str(method), get_args(Method))}"
        )
    if steps is not None and steps < 1:
        raise ConfigError(f"steps is {steps}, but there is at least one point on the way. Choose 1 or more.")
    ids, place, goal = resolve(generator, source, place, target)
    ids = ids[: place + 1]
    with torch.inference_mode():
        logits = _logits(generator, torch.tensor([ids], device=generator.device))[0]
    found = int(logits.argmax()) if goal is None else goal
    logit = float(logits[found])
    difference, points = None, 0
    match method:
        case "gradient_x_input":
            scores = _gradient_x_input(generator, ids, found)
        case "integrated_gradients":
            scores, difference, points = _integrated_gradients(
                generator, ids, found, _baseline(generator, baseline), steps
            )
        case "leave_one_out":
            scores = _leave_one_out(generator, ids, found, logit)
        case _:
            assert_never(method)
    made = scores.float().cpu().numpy()
    return Attribution(method, ids, made, place, found, generator.token_text(found), logit, difference, points)


def _logits(generator: TextGenerator, rows: Tensor, vectors: Tensor | None = None) -> Tensor:
    """What follows each row, float32, shape (rows, vocab_size); with other vectors in place of the tokens' own."""
    if vectors is None:
        hidden = generator.model.hidden(rows)
    else:
        hidden = generator.model.hidden(rows, tap=Editor({"embedding.token": lambda _: vectors}))
    return generator.model.logits(hidden[:, -1])[:, : generator.tokenizer.vocab_size].float()


def _vectors(generator: TextGenerator, ids: Sequence[int]) -> Tensor:
    """The tokens' own vectors, shape (time, dim), cut off from the weights."""
    return generator.model.embedding.token.weight.detach()[torch.tensor(list(ids), device=generator.device)]


def _baseline(generator: TextGenerator, wanted: int | str) -> Tensor:
    """The vector that stands for a token that says nothing, float32, shape (dim,)."""
    vocabulary = generator.model.embedding.token.weight.detach()[: generator.tokenizer.vocab_size].float()
    if wanted == "mean":
        return vocabulary.mean(dim=0)
    return vocabulary[token_id(generator, wanted, "the baseline")]


def _gradient(generator: TextGenerator, ids: Sequence[int], vectors: Tensor, target: int) -> tuple[Tensor, Tensor]:
    """The target's logit for each row of vectors, shape (rows, time, dim), and its gradient, of their shape."""
    rows = torch.tensor([list(ids)], device=generator.device).expand(len(vectors), -1)
    with torch.enable_grad():
        leaves = vectors.detach().clone().requires_grad_()
        logits = _logits(generator, rows, leaves)[:, target]
        (gradient,) = torch.autograd.grad(logits.sum(), leaves)
    return logits.detach(), gradient.float()


def _gradient_x_input(generator: TextGenerator, ids: Sequence[int], target: int) -> Tensor:
    vectors = _vectors(generator, ids)
    _, gradient = _gradient(generator, ids, vectors[None], target)
    return (gradient[0] * vectors.float()).sum(dim=-1)


def _integrated_gradients(
    generator: TextGenerator, ids: Sequence[int], target: int, baseline: Tensor, steps: int | None
) -> tuple[Tensor, float, int]:
    """Scores, the difference that they should add up to, and how many points it took."""
    vectors = _vectors(generator, ids)
    start = baseline.to(vectors.dtype).expand_as(vectors)
    way = (vectors - start).float()
    rows = torch.tensor([list(ids)] * 2, device=generator.device)
    with torch.inference_mode():
        ends = _logits(generator, rows, torch.stack((start, vectors)))[:, target]
    difference = float(ends[1] - ends[0])
    count = FIRST_STEPS if steps is None else steps
    while True:
        scores = _along(generator, ids, target, start, way, count)
        miss = abs(float(scores.double().sum()) - difference)
        if steps is not None or count >= MOST_STEPS or miss <= CLOSE * abs(difference):
            return scores, difference, count
        count *= 2


def _along(generator: TextGenerator, ids: Sequence[int], target: int, start: Tensor, way: Tensor, count: int) -> Tensor:
    """The way times the mean gradient along it."""
    points, weights = np.polynomial.legendre.leggauss(count)  # from -1 to 1
    total = torch.zeros_like(way, dtype=torch.float64)
    batch = max(1, min(count, ROOM // max(1, way.numel())))
    for first in range(0, count, batch):
        part = slice(first, first + batch)
        far = torch.tensor((points[part] + 1) / 2, dtype=torch.float32, device=way.device)
        share = torch.tensor(weights[part] / 2, device=way.device)
        rows = (start.float() + far[:, None, None] * way).to(start.dtype)
        _, gradient = _gradient(generator, ids, rows, target)
        total += torch.einsum("s,std->td", share, gradient.double())
    return (total * way).sum(dim=-1)


@torch.inference_mode()
def _leave_one_out(generator: TextGenerator, ids: Sequence[int], target: int, logit: float) -> Tensor:
    if len(ids) == 1:
        raise ConfigError("the text is one token long, but one is left out and others must remain. Give a longer text.")
    rows = torch.tensor([[*ids[:place], *ids[place + 1 :]] for place in range(len(ids))], device=generator.device)
    batch = max(1, ROOM // (rows.shape[1] * generator.model.config.dim))
    without = [_logits(generator, rows[start : start + batch])[:, target] for start in range(0, len(rows), batch)]
    return logit - torch.cat(without)
