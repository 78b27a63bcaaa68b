"""What a sampler looks through: the model, guided by a prompt and away from another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limner.core.tap import NO_TAP, Tap
from limner.picture.denoiser import PictureModel
from limner.picture.process import levels, read


@dataclass(frozen=True)
class Prompts:
    """Prompts that a picture is refined towards, each with its weight, and one that it is led away from.

    Attributes:
        ids, mask: shape (prompts, context length); the last row is the negative (or empty) prompt.
        weights: of all but the last row; they sum to 1.
        guidance: scale; 1: the prompts alone, 0: the last row alone.
    """

    ids: Tensor
    mask: Tensor
    weights: tuple[float, ...]
    guidance: float

    @property
    def rows(self) -> list[int]:
        """The rows that are needed at this scale."""
        last = len(self.weights)
        if self.guidance == 1.0:
            return list(range(last))
        return [last] if self.guidance == 0.0 else list(range(last + 1))


class Guide:
    """``look(x, t) -> (picture, noise)`` for one picture: all prompts in one pass of the network.

    Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598): negative + scale · (prompt − negative). What is
    seen is then cut to the range that pixels have, without which strong guidance leads step by step out of it (static
    thresholding, Saharia et al. 2022, arXiv:2205.11487, section 2.3).

    Args:
        limit: the largest value that a picture has, and minus the smallest; None: there is none, as in latents.
        keep: given the picture that the model sees, returns what sampling goes on with; inpainting uses it.
        on_look: called with the time, x, and what was seen.
        tap: sees the reading of the prompts under ``prompt``, and each look under ``look.0``, ``look.1``, …
    """

    def __init__(
        self,
        model: PictureModel,
        prompts: Prompts,
        *,
        limit: float | None = None,
        keep: Callable[[Tensor], Tensor] | None = None,
        on_look: Callable[[Tensor, Tensor, Tensor], None] | None = None,
        tap: Tap = NO_TAP,
    ) -> None:
        self.model, self.prompts, self.tap = model, prompts, tap
        self.limit, self.keep, self.on_look = limit, keep, on_look
        rows = prompts.rows
        self.mask = prompts.mask[rows]
        self.vectors = model.read_prompt(prompts.ids[rows], self.mask, tap=tap)
        self.looks = 0

    def __call__(self, x: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """What is seen at this time in x, shape (1, channels, height, width), both float32."""
        diffusion, denoiser = self.model.config.diffusion, self.model.denoiser
        count = len(self.vectors)
        dtype = denoiser.patch.weight.dtype
        predicted = denoiser(
            x.to(dtype).expand(count, -1, -1, -1),
            time.expand(count).to(x.device),
            self.vectors,
            prompt_mask=self.mask,
            tap=self.tap.at(f"look.{self.looks}"),
        ).float()
        alpha, sigma = (level.reshape(1).to(x.device) for level in levels(diffusion.process, time))
        # A picture worked out from noise is divided by α, which begins at 0; nothing else here is divided by something small.
        nearest = diffusion.nearest if diffusion.predict == "noise" else 0.0
        picture, noise = read(diffusion.predict, self.guide(predicted), x, alpha, sigma, nearest)
        if self.limit is not None:
            picture = picture.clamp(-self.limit, self.limit)
        if self.keep is not None:
            picture = self.keep(picture)
        if nearest or self.limit is not None or self.keep is not None:
            _, noise = read("x", picture, x, alpha, sigma)  # both add up to x again, or each step would move it
        self.looks += 1
        if self.on_look is not None:
            self.on_look(time, x, picture)
        return picture, noise

    def guide(self, predicted: Tensor) -> Tensor:
        """One prediction, shape (1, …), from one of each row."""
        guidance = self.prompts.guidance
        if guidance == 0.0:
            return predicted
        weights = torch.tensor(self.prompts.weights, device=predicted.device).view(-1, 1, 1, 1)
        wanted = (predicted[: len(weights)] * weights).sum(dim=0, keepdim=True)
        return wanted if guidance == 1.0 else torch.lerp(predicted[-1:], wanted, guidance)


def weigh(parts: Sequence[float]) -> tuple[float, ...]:
    """Weights that sum to 1."""
    total = sum(parts)
    return tuple(part / total for part in parts)
