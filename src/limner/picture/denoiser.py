"""The denoiser: a Transformer over the patches of a noisy picture, that reads time and prompt.

patches → vectors (+ where they stand) → [self-attention → cross-attention to the prompt → feed-forward] × N → patches
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.core.errors import ShapeError
from limner.core.positions import sinusoidal
from limner.core.tap import NO_TAP, Tap
from limner.core.transformer import Stack, Transformer
from limner.picture.autoencoder import Autoencoder
from limner.picture.config import DenoiserConfig, PictureConfig

FREQUENCIES = 128  # of the time's sines and cosines


def patchify(picture: Tensor, patch: int) -> Tensor:
    """Cut into squares, row by row: (batch, channels, height, width) → (batch, patches, channels · patch²)."""
    batch, channels, height, width = picture.shape
    squares = picture.view(batch, channels, height // patch, patch, width // patch, patch)
    return squares.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * patch**2)


def unpatchify(patches: Tensor, patch: int, height: int, width: int) -> Tensor:
    """Undo ``patchify``."""
    squares = patches.view(patches.shape[0], height // patch, width // patch, -1, patch, patch)
    return squares.permute(0, 3, 1, 4, 2, 5).reshape(patches.shape[0], -1, height, width)


def places(rows: int, columns: int, device: torch.device) -> Tensor:
    """The row and the column of each patch, shape (rows · columns, 2)."""
    return torch.cartesian_prod(torch.arange(rows, device=device), torch.arange(columns, device=device)).view(-1, 2)


class Denoiser(nn.Module):
    """Predicts what ``DiffusionConfig.predict`` says, from a noisy picture, the time, and the prompt's vectors."""

    def __init__(self, config: DenoiserConfig, prompt_dim: int) -> None:
        super().__init__()
        self.config = config
        dim, values = config.dim, config.channels * config.patch**2
        self.narrow = nn.Linear(values, config.bottleneck, bias=False) if config.bottleneck else None
        self.patch = nn.Linear(config.bottleneck or values, dim)
        self.time = nn.Linear(2 * FREQUENCIES, dim)
        self.condition = nn.Linear(dim, 6 * dim)
        self.prompt = nn.Linear(prompt_dim, dim, bias=False) if prompt_dim != dim else None
        self.stack = Stack(config.stack, dim)
        self.output = nn.Linear(dim, values)

    def forward(
        self,
        noisy: Tensor,
        time: Tensor,
        prompt: Tensor,
        *,
        prompt_mask: Tensor | None = None,
        tap: Tap = NO_TAP,
    ) -> Tensor:
        """One look at a noisy picture.

        Args:
            noisy: shape (batch, channels, height, width).
            time: 0 (picture) to 1 (noise), shape (batch,).
            prompt: the prompt encoder's output, shape (batch, words, prompt_dim).
            prompt_mask: True for real tokens, shape (batch, words).
        Returns:
            Shape of noisy.
        Raises:
            ShapeError: height or width is no multiple of the patch.
        """
        patch = self.config.patch
        height, width = noisy.shape[-2:]
        if height % patch or width % patch:
            raise ShapeError(f"the picture is {height} × {width}, but sides must be multiples of {patch}. Resize it.")
        rows, columns = height // patch, width // patch
        where = places(rows, columns, noisy.device)
        x = patchify(noisy, patch)
        x = self.patch(x if self.narrow is None else self.narrow(x))
        half = x.shape[-1] // 2
        spot = torch.cat((sinusoidal(where[:, 0], half), sinusoidal(where[:, 1], half)), dim=-1)
        x = tap("embedding", x + tap("positions", spot.to(x.dtype)))
        condition = self.condition(F.silu(self.time(_time_waves(time).to(x.dtype)))).unflatten(1, (6, -1))
        if self.prompt is not None:
            prompt = self.prompt(prompt)
        x = self.stack(
            x,
            positions=where,
            memory=tap("prompt", prompt),
            memory_mask=prompt_mask,
            condition=tap("condition", condition),
            tap=tap,
        )
        return tap("prediction", unpatchify(self.output(x), patch, height, width))


def _time_waves(time: Tensor) -> Tensor:
    """Sines and cosines of the time, slow to fast: shape (batch,) to (batch, 2 · FREQUENCIES), float32."""
    speeds = torch.exp(torch.linspace(0.0, math.log(1000.0), FREQUENCIES, device=time.device))
    angles = time.float()[:, None] * speeds
    return torch.cat((angles.cos(), angles.sin()), dim=-1)


class PictureModel(nn.Module):
    """Denoiser and prompt encoder, trained together; an autoencoder and a published prompt encoder stay as they are."""

    def __init__(self, config: PictureConfig) -> None:
        super().__init__()
        self.config = config
        self.prompt_encoder = Transformer(config.prompt).requires_grad_(not config.frozen_prompt)
        self.denoiser = Denoiser(config.denoiser, config.prompt.dim)
        initialize_denoiser(self.denoiser)
        self.autoencoder = None if config.autoencoder is None else Autoencoder(config.autoencoder).requires_grad_(False)

    @torch.no_grad()
    def to_latent(self, pixels: Tensor) -> Tensor:
        """What is refined, for pixels of shape (batch, 3, height, width) from −1 to 1: latents on the scale of noise."""
        if self.autoencoder is None:
            return pixels
        return self.autoencoder.normalise(self.autoencoder.encode(pixels).mean)

    @torch.no_grad()
    def to_pixels(self, latent: Tensor) -> Tensor:
        """The other way."""
        if self.autoencoder is None:
            return latent
        return self.autoencoder.decode(self.autoencoder.denormalise(latent))

    def read_prompt(self, ids: Tensor, mask: Tensor, *, tap: Tap = NO_TAP) -> Tensor:
        """The prompt's vectors: shape (batch, words) to (batch, words, prompt dim); vectors stay as they are."""
        if ids.is_floating_point():
            return ids
        vectors = self.prompt_encoder.hidden(ids, mask=mask, tap=tap.at("prompt"))
        return vectors.to(self.denoiser.patch.weight.dtype) if self.config.frozen_prompt else vectors

    def forward(self, noisy: Tensor, time: Tensor, ids: Tensor, mask: Tensor, *, tap: Tap = NO_TAP) -> Tensor:
        """Prediction for noisy pictures, shape (batch, channels, height, width), and their prompts' ids or vectors."""
        prompt = self.read_prompt(ids, mask, tap=tap)
        out: Tensor = self.denoiser(noisy, time, prompt, prompt_mask=mask, tap=tap)
        return out


def initialize_denoiser(denoiser: Denoiser) -> None:
    """Start values: as in core, each block begins as the identity; so does the condition, and 0 is predicted."""
    with torch.no_grad():
        for name, module in denoiser.named_modules():
            if isinstance(module, nn.Linear):
                zero = name.endswith((".output", ".down")) or name in ("output", "condition")
                module.weight.normal_(0.0, 0.0 if zero else module.in_features**-0.5)
                if module.bias is not None:
                    module.bias.zero_()
