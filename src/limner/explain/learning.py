"""One training step taken apart: the guess, the target, the loss, each part's gradient, and the guess afterwards."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from limner.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from limner.core.transformer import Transformer
    from limner.text.generator import TextGenerator

LARGEST_RATE = 10.0  # moving the weights farther than this says nothing of learning


@dataclass(frozen=True)
class Guessed:
    """What the model said at one place, and what it should have said.

    Attributes:
        place: of the token that was to be guessed, counted from 0 among those that the model reads.
        guess: the likeliest token.
        probability: of the guess.
        target_probability: of what really follows.
        loss: minus the natural logarithm of that.
        new_guess, new_probability, new_target_probability: the same after the step.
    """

    place: int
    target: int
    target_text: str
    guess: int
    guess_text: str
    probability: float
    target_probability: float
    loss: float
    new_guess: int
    new_guess_text: str
    new_probability: float
    new_target_probability: float


@dataclass(frozen=True)
class PartGradient:
    """How strongly one part of the model is pulled.

    Attributes:
        name: ``embedding``, ``layer.0.attention``, ``layer.0.feed_forward``, ``layer.0.norm``, …, ``final_norm``, ``head``.
        gradient: length of its gradient.
        weights: length of its weights.
        moved: length of what was added to them.
    """

    name: str
    parameters: int
    gradient: float
    weights: float
    moved: float


@dataclass(frozen=True)
class LearningStep:
    """One step.

    Attributes:
        loss, new_loss: mean over the text, before and after.
        expected: what ``new_loss`` would be if the loss were a plane: loss − rate · gradient.
        gradient: length of the whole gradient.
        guesses: one for each token but the first.
    """

    rate: float
    loss: float
    new_loss: float
    expected: float
    gradient: float
    guesses: list[Guessed]
    parts: list[PartGradient]


def take_apart(generator: TextGenerator, text: str, *, rate: float = 0.1) -> LearningStep:
    """Take one step of gradient descent on one text, on a copy of the model; the model itself stays as it is.

    The weights are moved against the gradient by a distance of ``rate``, whatever the gradient's length: plain stochastic
    gradient descent with the gradient clipped to 1 from both sides, so that the same rate suits small and large models.

    Raises:
        ConfigError: a rate that is not above 0, or too large.
        ContextError: the text is longer than the context window.
        DataError: the text is one token, of which nothing can be learned; the model cannot say how it should change.
    """
    if not (math.isfinite(rate) and 0.0 < rate <= LARGEST_RATE):
        raise ConfigError(
            f"rate is {rate:g}, but it goes from above 0 to {LARGEST_RATE:g}. Choose such a one; 0.1 is usual."
        )
    ids = generator.read_prompt(text, window=None)
    if len(ids) < 2:
        raise DataError("the text is 1 token long, but learning is guessing the next one. Give a word or two.")
    with torch.inference_mode(False), torch.enable_grad():
        model = copy.deepcopy(generator.model).float()
        for parameter in model.parameters():
            parameter.requires_grad_(True)
            parameter.grad = None
        inputs = torch.tensor([ids], device=generator.device)
        before = _scores(model, inputs)
        loss = -before.gather(1, inputs[0, 1:, None]).mean()
        loss.backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        named = {name: (p.data, p.grad) for name, p in model.named_parameters() if p.grad is not None}
        norm = math.sqrt(sum(_square(gradient) for _, gradient in named.values()))
        if not (math.isfinite(norm) and norm > 0.0):
            raise DataError(
                f"the gradient's length is {norm:g}, but a step needs a direction. Choose another text or another model."
            )
        parts = _parts(named, rate / norm)
        for weights, gradient in named.values():
            weights.sub_(gradient, alpha=rate / norm)
        after = _scores(model, inputs)
    old_loss = float(loss.detach())
    new_loss = float(-after.gather(1, inputs[0, 1:, None]).mean())
    return LearningStep(
        rate,
        old_loss,
        new_loss,
        old_loss - rate * norm,
        norm,
        _guesses(generator, ids, before.detach(), after),
        parts,
    )


def _scores(model: Transformer, ids: Tensor) -> Tensor:
    """Log-probabilities of what follows each token but the last, float32, shape (tokens − 1, vocab_size)."""
    logits: Tensor = model(ids)
    return logits[0, :-1].float().log_softmax(dim=-1)


def _square(values: Tensor) -> float:
    return float(values.square().sum())


def _guesses(generator: TextGenerator, ids: list[int], before: Tensor, after: Tensor) -> list[Guessed]:
    found = []
    for place, target in enumerate(ids[1:]):
        old, new = before[place], after[place]
        guess, new_guess = int(old.argmax()), int(new.argmax())
        found.append(
            Guessed(
                place + 1,
                target,
                generator.token_text(target),
                guess,
                generator.token_text(guess),
                math.exp(float(old[guess])),
                math.exp(float(old[target])),
                -float(old[target]),
                new_guess,
                generator.token_text(new_guess),
                math.exp(float(new[new_guess])),
                math.exp(float(new[target])),
            )
        )
    return found


def _parts(named: dict[str, tuple[Tensor, Tensor]], factor: float) -> list[PartGradient]:
    """Weights and gradients put together as a person would, in the order in which data pass them."""
    groups: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for name, pair in named.items():
        groups.setdefault(part_of(name), []).append(pair)
    parts = []
    for name, group in groups.items():
        length = math.sqrt(sum(_square(gradient) for _, gradient in group))
        own = math.sqrt(sum(_square(weights) for weights, _ in group))
        parts.append(PartGradient(name, sum(w.numel() for w, _ in group), length, own, factor * length))
    return parts


def part_of(name: str) -> str:
    """The part that a parameter belongs to, in the words of docs/taps.md."""
    steps = name.split(".")
    if "layers" not in steps:
        return next((part for part in ("embedding", "head", "final_norm") if part in steps), steps[0])
    at = steps.index("layers")
    layer, inner = steps[at + 1], steps[at + 2]
    kind = inner if inner in ("attention", "cross_attention", "feed_forward") else "norm"
    return f"layer.{layer}.{kind}"
