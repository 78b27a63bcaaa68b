"""Probes: prompts with a right and a wrong continuation, asked at every evaluation.

Their probabilities over a run show when a prediction forms: ``The sky is`` → `` blue`` rather than `` green``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from limner.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from limner.core.transformer import Transformer
    from limner.tokens import Tokenizer


@dataclass(frozen=True)
class Probe:
    """A prompt, what should follow, and what should not; both begin with their space."""

    prompt: str
    right: str
    wrong: str

    @property
    def name(self) -> str:
        """How the probe is called in events and curves."""
        return f"{self.prompt} →{self.right} /{self.wrong}"


def read_probes(path: Path) -> tuple[Probe, ...]:
    """Read a JSON-lines file of ``{"prompt": …, "right": …, "wrong": …}``.

    Raises:
        DataError: it cannot be read, or a line is not of this form.
    """
    probes = []
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise DataError(f"the probes {path} cannot be read: {problem}. Give a file of JSON lines.") from problem
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            fields = {name: entry[name] for name in ("prompt", "right", "wrong")}
            if not all(isinstance(value, str) and value for value in fields.values()):
                raise TypeError
        except (ValueError, KeyError, TypeError) as problem:
            raise DataError(
                f'{path} line {number} is {line[:80]!r}, but a probe is {{"prompt": …, "right": …, "wrong": …}}. Correct it.'
            ) from problem
        probes.append(Probe(**fields))
    return tuple(probes)


@torch.no_grad()
def ask(probes: Sequence[Probe], model: Transformer, tokenizer: Tokenizer) -> dict[str, tuple[float, float]]:
    """The probability of each probe's right and wrong continuation, all its tokens together.

    Probes that do not fit into the context window are left out.
    """
    device = next(model.parameters()).device
    begin = [] if tokenizer.begin_id is None else [tokenizer.begin_id]
    answers = {}
    for probe in probes:
        prompt = begin + tokenizer.encode(probe.prompt)
        pair = []
        for text in (probe.right, probe.wrong):
            ids = tokenizer.encode(text)
            if not ids or not prompt or len(prompt) + len(ids) - 1 > model.config.context_length:
                break
            logits = model(torch.tensor([(prompt + ids)[:-1]], device=device))[0, len(prompt) - 1 :]
            chosen = logits.float().log_softmax(dim=-1).gather(1, torch.tensor(ids, device=device)[:, None])
            pair.append(float(chosen.sum().exp()))
        if len(pair) == 2:
            answers[probe.name] = (pair[0], pair[1])
    return answers
