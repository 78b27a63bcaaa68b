"""What a sampler looks through: the model, guided by a prompt and away from another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from limner.core.tap import NO_TAP, Tap
from limner.picture.denoiser import PictureModel
from limner.picture.process import levels, read
from limner.picture.together import Apart


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
    """``look(x, t) -> (picture, noise)`` for pictures that are made together: all their prompts in one pass of the network.

    Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598): negative + scale · (prompt − negative). What is
    seen is then cut to the range that pixels have, without which strong guidance leads step by step out of it (static
    thresholding, Saharia et al. 2022, arXiv:2205.11487, section 2.3).

    Args:
        prompts: of each picture; all with as many prompts and the same guidance.
        limit: the largest value that a picture has, and minus the smallest; None: there is none, as in latents.
        keep: given the pictures that the model sees, returns what sampling goes on with; inpainting uses it.
        apart: weights that are multiplied a picture at a time; see ``together.weights_apart``.
        on_look: called with the time, x, and what was seen.
        tap: sees the reading of the prompts under ``prompt``, and each look under ``look.0``, ``look.1``, …
    """

    def __init__(
        self,
        model: PictureModel,
        *prompts: Prompts,
        limit: float | None = None,
        keep: Callable[[Tensor], Tensor] | None = None,
        apart: Collection[Tensor] = (),
        on_look: Callable[[Tensor, Tensor, Tensor], None] | None = None,
        tap: Tap = NO_TAP,
    ) -> None:
        self.model, self.prompts, self.tap = model, prompts, tap
        self.limit, self.keep, self.on_look = limit, keep, on_look
        rows = prompts[0].rows
        self.mask = torch.cat([one.mask[rows] for one in prompts])
        # Each picture's are read alone: so they are the same whatever is painted beside it.
        self.vectors = torch.cat([model.read_prompt(one.ids[rows], one.mask[rows], tap=tap) for one in prompts])
        self.apart = Apart(apart, len(rows)) if apart else nullcontext()
        self.looks = 0

    def __call__(self, x: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """What is seen at this time in x, shape (pictures, channels, height, width), both float32."""
        diffusion = self.model.config.diffusion
        predicted = self.guide(self.predict(x, time, tap=self.tap.at(f"look.{self.looks}")))
        alpha, sigma = (level.reshape(1).to(x.device) for level in levels(diffusion.process, time))
        # A picture worked out from noise is divided by α, which begins at 0; nothing else here is divided by something small.
        nearest = diffusion.nearest if diffusion.predict == "noise" else 0.0
        picture, noise = read(diffusion.predict, predicted, x, alpha, sigma, nearest)
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

    def predict(self, x: Tensor, time: Tensor, *, tap: Tap = NO_TAP) -> Tensor:
        """What the network predicts for each prompt: (pictures, …) to (pictures, rows, …), float32."""
        each = len(self.vectors) // len(self.prompts)
        denoiser = self.model.denoiser
        with self.apart:
            predicted: Tensor = denoiser(
                x.to(denoiser.patch.weight.dtype).repeat_interleave(each, dim=0),
                time.expand(len(self.vectors)).to(x.device),
                self.vectors,
                prompt_mask=self.mask,
                tap=tap,
            )
        return predicted.float().view(len(self.prompts), each, *x.shape[1:])

    def guide(self, predicted: Tensor) -> Tensor:
        """One prediction for each picture, shape (pictures, …), from one of each row."""
        guidance = self.prompts[0].guidance
        if guidance == 0.0:
            return predicted[:, 0]
        weights = torch.tensor([one.weights for one in self.prompts], device=predicted.device)[..., None, None, None]
        wanted = (predicted[:, : weights.shape[1]] * weights).sum(dim=1)
        return wanted if guidance == 1.0 else torch.lerp(predicted[:, -1], wanted, guidance)


def weigh(parts: Sequence[float]) -> tuple[float, ...]:
    """Weights that sum to 1."""
    total = sum(parts)
    return tuple(part / total for part in parts)
