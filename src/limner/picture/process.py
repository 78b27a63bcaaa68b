"""How a picture becomes noise, and what a network may predict about it.

    x_t = α(t)·x + σ(t)·ε,   t from 0 (picture) to 1 (noise)

Whatever is predicted, x, ε, v = α·ε − σ·x or the flow ε − x, together with x_t it says where the picture and where
the noise is; ``read`` works that out, and every sampler and loss is written in terms of it.
"""

from __future__ import annotations

import math
from typing import assert_never

import torch
from torch import Tensor

from limner.picture.config import (
    DiffusionConfig,
    Flow,
    LogitNormalTime,
    Process,
    Quantity,
    UniformTime,
    VariancePreserving,
)

BETA_FIRST, BETA_LAST = 0.1, 20.0  # of the linear schedule: Song et al. 2021, arXiv:2011.13456, appendix C
MOST_WEIGHT = 40.0  # of a pixel, of an object so small that its few pixels would be all that counts


def levels(process: Process, time: Tensor) -> tuple[Tensor, Tensor]:
    """α and σ at these times, shape of time, in its dtype."""
    match process:
        case Flow():
            return 1.0 - time, time
        case VariancePreserving(schedule="cosine"):
            return (time * (math.pi / 2)).cos(), (time * (math.pi / 2)).sin()
        case VariancePreserving():
            log_alpha = -0.25 * time**2 * (BETA_LAST - BETA_FIRST) - 0.5 * time * BETA_FIRST
            return log_alpha.exp(), (-torch.expm1(2 * log_alpha)).sqrt()
        case _:
            assert_never(process)


def slopes(process: Process, time: Tensor) -> tuple[Tensor, Tensor]:
    """How fast α and σ change with time."""
    match process:
        case Flow():
            return -torch.ones_like(time), torch.ones_like(time)
        case VariancePreserving(schedule="cosine"):
            half = math.pi / 2
            return -half * (time * half).sin(), half * (time * half).cos()
        case VariancePreserving():
            alpha, sigma = levels(process, time)
            rate = -0.5 * (BETA_FIRST + time * (BETA_LAST - BETA_FIRST))  # of log α
            return rate * alpha, -rate * alpha**2 / sigma.clamp(min=1e-4)
        case _:
            assert_never(process)


def add_noise(picture: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """x_t; alpha and sigma have one value a picture, shape (batch,)."""
    return _wide(alpha, picture) * picture + _wide(sigma, picture) * noise


def quantity(kind: Quantity, picture: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """What a perfect network would predict."""
    match kind:
        case "x":
            return picture
        case "noise":
            return noise
        case "v":
            return _wide(alpha, picture) * noise - _wide(sigma, picture) * picture
        case "flow":
            return noise - picture
        case _:
            assert_never(kind)


def read(
    kind: Quantity, predicted: Tensor, noisy: Tensor, alpha: Tensor, sigma: Tensor, nearest: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The picture and the noise that a prediction says are in x_t.

    Args:
        predicted, noisy: shape (batch, …).
        alpha, sigma: shape (batch,).
        nearest: α and σ are not taken smaller than this where something is divided by them.
    """
    a, s = _wide(alpha, noisy), _wide(sigma, noisy)
    match kind:
        case "x":
            return predicted, (noisy - a * predicted) / s.clamp(min=max(nearest, 1e-6))
        case "noise":
            return (noisy - s * predicted) / a.clamp(min=max(nearest, 1e-6)), predicted
        case "v":
            size = a**2 + s**2
            return (a * noisy - s * predicted) / size, (s * noisy + a * predicted) / size
        case "flow":
            return (noisy - s * predicted) / (a + s), (noisy + a * predicted) / (a + s)
        case _:
            assert_never(kind)


def draw_times(config: DiffusionConfig, count: int, generator: torch.Generator | None = None) -> Tensor:
    """Times at which to train, spread evenly over their distribution (one in each of count equal shares of it)."""
    share = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    share = share[torch.randperm(count, generator=generator)]
    match config.time:
        case UniformTime():
            times = share
        case LogitNormalTime(mean=mean, deviation=deviation):
            normal = torch.special.ndtri(share.double().clamp(1e-6, 1 - 1e-6)).float()
            times = torch.sigmoid(mean + deviation * normal)
        case _:
            assert_never(config.time)
    return shifted(times, config.shift)


def shifted(time: Tensor, shift: float) -> Tensor:
    """Times moved towards noise, as ``DiffusionConfig.shift`` says; 0 and 1 stay."""
    return time if shift == 1.0 else shift * time / (1 + (shift - 1) * time)


def loss(
    config: DiffusionConfig,
    predicted: Tensor,
    noisy: Tensor,
    picture: Tensor,
    noise: Tensor,
    time: Tensor,
    weights: Tensor | None = None,
) -> Tensor:
    """The mean squared error of ``config.loss``, as the network's prediction implies it; one number a picture.

    Args:
        predicted, noisy, picture, noise: shape (batch, channels, height, width).
        time: shape (batch,).
        weights: how much each place counts, shape (batch, 1, height, width); None: all the same.
    Source: the weighing by min(SNR, γ), Hang et al. 2023 (arXiv:2303.09556), there for x, noise and v; a loss of x
        under it is min(SNR, γ) times the error of x.
    """
    alpha, sigma = levels(config.process, time)
    if config.predict == config.loss:
        error = predicted - quantity(config.loss, picture, noise, alpha, sigma)
    else:  # an error of x is one of noise times −α/σ, and so on: no difference of large numbers is taken
        x, _ = read(config.predict, predicted, noisy, alpha, sigma, config.nearest)
        error = (x - picture) * _wide(_scale(config.loss, alpha, sigma, config.nearest), picture)
    squares = error.square() if weights is None else error.square() * weights
    each = squares.flatten(1).mean(dim=1)
    if config.min_snr is None:
        return each
    snr = (alpha / sigma.clamp(min=1e-4)) ** 2
    # What each error holds per error of x must be what it was scaled by above, or near the picture it would count too little.
    unit = _scale(config.loss, alpha, sigma, 1e-4 if config.predict == config.loss else config.nearest) ** 2
    return each * snr.clamp(max=config.min_snr) / unit.clamp(min=1e-8)


def object_weights(parts: Tensor, strength: float) -> Tensor:
    """How much each pixel counts so that each object, and the rest of the picture, counts the same however small it is.

    Args:
        parts: which object each pixel shows, 0 none, shape (batch, height, width), uint8.
        strength: 1: just so; 0: every pixel counts the same; between them the weights to this power.
    Returns:
        Shape of parts, float32; at strength 1 with a mean of 1 but where an object has less than 1 / ``MOST_WEIGHT`` of it.
    """
    flat = parts.flatten(1).long()
    count = torch.zeros(len(flat), 256, dtype=torch.long, device=parts.device)
    count.scatter_add_(1, flat, torch.ones_like(flat))
    area = count / flat.shape[1]
    objects = (count > 0).sum(dim=1, keepdim=True)
    weights = (1.0 / (objects * area.clamp(min=1e-9))).clamp(max=MOST_WEIGHT) ** strength
    return weights.gather(1, flat).view(parts.shape)


def _scale(kind: Quantity, alpha: Tensor, sigma: Tensor, nearest: float) -> Tensor:
    """How large an error of this quantity is when x is wrong by 1 and x_t is known."""
    s = sigma.clamp(min=nearest)
    match kind:
        case "x":
            return torch.ones_like(sigma)
        case "noise":
            return alpha / s
        case "v":
            return (alpha**2 + sigma**2) / s
        case "flow":
            return (alpha + sigma) / s
        case _:
            assert_never(kind)


def _wide(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.dtype).view(-1, *[1] * (like.dim() - 1))
