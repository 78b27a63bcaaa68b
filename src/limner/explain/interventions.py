"""What a text leads to with each part of the model off, computed beforehand: so that a report can be asked offline.

write_report(trace, "cat.html", extra=interventions(model, trace))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from limner.core.errors import ConfigError
from limner.explain.attribution import attribute
from limner.explain.causal import each_part_off
from limner.explain.text_trace import TextTrace

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from limner.text.generator import TextGenerator

COUNT = 10  # next tokens of each intervention
MOST_GUESSES = 30_000  # of all interventions together, about a megabyte; where there are more parts, each has fewer
MOST_REASONS = 128  # tokens, the last of a text, that have their reasons computed: a pass there and back for each


def interventions(
    generator: TextGenerator,
    trace: TextTrace,
    *,
    count: int = COUNT,
    on_progress: Callable[[int, int], object] | None = None,
) -> dict[str, Any]:
    """For what follows a text: the likeliest tokens with each head, attention and feed-forward off in turn; and why.

    Args:
        trace: of a reading without changes.
        count: next tokens of each; fewer where a model has very many parts.
        on_progress: called with how many steps are done and how many there are.
    Returns:
        Plain JSON values. ``"interventions"``: ``place``, ``target``, ``probability``, ``before`` (pairs of id and
        probability, best first), ``layers`` (for each the pairs with each head off, then its attention, then its
        feed-forward), ``change`` (the same with the target's probability less what it was) and ``texts`` by id.
        ``"why"``: ``method``, ``first`` and ``scores``: for each token from place ``first`` on, and for the one that would
        come next, how much each token before it speaks for it, in logits.
    Raises:
        ConfigError: the trace is of a changed model, or of another one; fewer than 1 token is asked for.
    """
    if count < 1:
        raise ConfigError(f"count is {count}, but at least one token is kept. Choose 1 or more.")
    if trace.about["changes"]:
        raise ConfigError(
            f"the trace has {len(trace.about['changes'])} changes, but interventions are made in a model as it is. "
            "Trace it without changes."
        )
    ids = [int(id) for id in trace["ids"]]
    generator.check_ids(ids)
    stack = generator.model.config.stack
    parts = sum(stack.block(layer).attention.num_heads + 2 for layer in range(stack.num_layers))
    count = max(1, min(count, MOST_GUESSES // (parts + 1)))
    first = max(1, len(ids) + 1 - MOST_REASONS)
    steps = stack.num_layers + len(ids) + 1 - first
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if on_progress is not None:
            on_progress(done, steps)

    each = each_part_off(generator, ids)
    shares = next(each)[0]
    target = int(shares.argmax())
    probability = float(shares[target])
    before = _best(shares, count)
    layers: list[list[list[list[float]]]] = []
    change: list[list[float]] = []
    for off in each:
        layers.append([_best(row, count) for row in off])
        change.append([_short(float(row[target]) - probability) for row in off])
        step()
    why = []
    for place in range(first, len(ids) + 1):
        why.append([_short(score) for score in attribute(generator, ids, place=place - 1).scores.tolist()])
        step()
    named = {int(id) for id, _ in before} | {int(id) for layer in layers for part in layer for id, _ in part}
    return {
        "interventions": {
            "place": len(ids) - 1,
            "target": target,
            "text": generator.token_text(target),
            "probability": probability,
            "before": before,
            "layers": layers,
            "change": change,
            "texts": {str(id): generator.token_text(id) for id in sorted(named | {target})},
        },
        "why": {"method": "gradient_x_input", "first": first, "scores": why},
    }


def _best(shares: Tensor, count: int) -> list[list[float]]:
    best = torch.topk(shares, min(count, len(shares)))
    return [[id, _short(share)] for id, share in zip(best.indices.tolist(), best.values.tolist(), strict=True)]


def _short(value: float) -> float:
    """Five digits: what a page shows, at half the length."""
    return float(f"{value:.5g}")
