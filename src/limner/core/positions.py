"""Chapter 2: where a token stands.

Three ways: a vector added to the embedding (sinusoidal, learned), a rotation of queries and keys (rotary),
a penalty on the score that grows with distance (ALiBi).
"""

from __future__ import annotations

import math
from typing import Any, assert_never

import torch
from torch import Tensor

from limner.core.config import DynamicScaling, LinearScaling, Llama3Scaling, RotaryPositions, YarnScaling
from limner.core.errors import ShapeError

Rotation = tuple[Tensor, Tensor]  # cosines and sines, each (…, time, rotary_dim / 2)


def sinusoidal(positions: Tensor, dim: int, base: float = 10_000.0) -> Tensor:
    """One fixed vector for each position: sines in even channels, cosines in odd ones, slower and slower.

    Args:
        positions: integers, any shape (…, time).
        dim: channels, even.
    Returns:
        Shape (…, time, dim), float32.
    Raises:
        ShapeError: dim is odd.
    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5.
    """
    if dim % 2:
        raise ShapeError(f"dim is {dim}, but sines and cosines come in pairs. Choose an even number.")
    exponents = torch.arange(0, dim, 2, device=positions.device, dtype=torch.float32) / dim
    angles = positions.float().unsqueeze(-1) * base**-exponents
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)


def rotary_frequencies(spec: RotaryPositions, rotary_dim: int, length: int) -> tuple[Tensor, float]:
    """Radians per position for each pair of channels, and the factor on the rotated result (1 but for YaRN).

    Args:
        rotary_dim: how many channels are turned, even.
        length: tokens so far; only dynamic scaling looks at it.
    Returns:
        Frequencies, shape (rotary_dim / 2,), float32 on the CPU; and the factor.
    Source: Su et al. 2021 (arXiv:2104.09864); linear: Chen et al. 2023 (2306.15595); dynamic: NTK-aware
        scaling as transformers has it; llama3: Llama 3.1's own; yarn: Peng et al. 2023 (2309.00071).
    """
    exponents = torch.arange(0, rotary_dim, 2, dtype=torch.int64, device="cpu").float() / rotary_dim
    frequencies = 1.0 / spec.base**exponents
    match spec.scaling:
        case None:
            return frequencies, 1.0
        case LinearScaling(factor=factor):
            return frequencies / factor, 1.0
        case DynamicScaling(factor=factor, original_length=original):
            longer = max(length, original)
            stretch = factor * longer / original - (factor - 1)
            base = spec.base * stretch ** (rotary_dim / (rotary_dim - 2))
            return 1.0 / base**exponents, 1.0
        case Llama3Scaling() as scaling:
            return _llama3(frequencies, scaling), 1.0
        case YarnScaling() as scaling:
            return _yarn(frequencies, scaling, spec.base, rotary_dim)
        case _:
            assert_never(spec.scaling)


def _llama3(frequencies: Tensor, scaling: Llama3Scaling) -> Tensor:
    turns = scaling.original_length * frequencies / (2 * math.pi)  # full turns within the original context
    blend = (turns - scaling.low_frequency) / (scaling.high_frequency - scaling.low_frequency)
    blend = blend.clamp(0.0, 1.0)
    return blend * frequencies + (1 - blend) * frequencies / scaling.factor


def _yarn(frequencies: Tensor, scaling: YarnScaling, base: float, rotary_dim: int) -> tuple[Tensor, float]:
    def channel(turns: float) -> float:
        """The channel pair that makes so many full turns within the original context."""
        return rotary_dim * math.log(scaling.original_length / (turns * 2 * math.pi)) / (2 * math.log(base))

    low, high = channel(scaling.beta_fast), channel(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, rotary_dim - 1)
    if low == high:
        high += 0.001  # no division by zero where the ramp is a step
    ramp = ((torch.arange(rotary_dim // 2, dtype=torch.float32, device="cpu") - low) / (high - low)).clamp(0, 1)
    blended = frequencies / scaling.factor * ramp + frequencies * (1 - ramp)
    magnitude = scaling.magnitude
    if magnitude is None:
        magnitude = 0.1 * math.log(scaling.factor) + 1.0 if scaling.factor > 1 else 1.0
    return blended, magnitude


def rotation(positions: Tensor, frequencies: Tensor, magnitude: float = 1.0, axes: int = 1) -> Rotation:
    """The cosines and sines by which ``rotate`` turns.

    Args:
        positions: shape (time,) or (batch, time); with several axes a last dimension more, of that size.
        frequencies: radians per position, shape (pairs / axes,).
        axes: each turns its share of the pairs, the first axis the first pairs.
    Returns:
        Two float32 tensors, shape (time, pairs) or (batch, 1, time, pairs): ready to meet the heads.
    """
    if torch.compiler.is_compiling() and not torch.compiler.is_exporting() and not frequencies.requires_grad:
        made: Rotation = _rotation_once(positions, frequencies, magnitude, axes)
        return made
    return _rotation(positions, frequencies, magnitude, axes)


def _rotation(positions: Tensor, frequencies: Tensor, magnitude: float, axes: int) -> Rotation:
    angles = positions.float().unsqueeze(-1) * frequencies.to(positions.device)
    if axes > 1:
        angles = angles.flatten(-2)
    if angles.dim() == 3:
        angles = angles.unsqueeze(1)
    return angles.cos() * magnitude, angles.sin() * magnitude


# Torch's compiler works out again what is cheap to work out, and takes cosines for cheap: each layer would have its own for
# every query and key of every head, forward and backward, which was a seventh of a training step of a picture model on a
# processor (docs/log.md). Into an operation of our own it does not look: the tables are made once and kept.
_rotation_once: Any = torch.library.custom_op(
    "limner::rotation",
    _rotation,
    mutates_args=(),
    schema="(Tensor positions, Tensor frequencies, float magnitude, int axes) -> (Tensor, Tensor)",
)
_rotation_once.register_fake(_rotation)


def rotate(x: Tensor, turn: Rotation) -> Tensor:
    """Turn each pair of channels by an angle that grows with position.

    A query·key product then depends only on the distance between the two.

    Args:
        x: vectors, shape (batch, heads, time, head_dim); pairs are (i, i + rotary_dim / 2), channels beyond
            rotary_dim pass unchanged.
        turn: from ``rotation``.
    Returns:
        Shape and dtype of x.
    Source: Su et al. 2021, arXiv:2104.09864; we pair halves, as Llama does, not neighbours.
    """
    cos, sin = turn[0].to(x.dtype), turn[1].to(x.dtype)
    pairs = cos.shape[-1]
    first, second = x[..., :pairs], x[..., pairs : 2 * pairs]
    turned = (first * cos - second * sin, second * cos + first * sin)
    return torch.cat((*turned, x[..., 2 * pairs :]) if x.shape[-1] > 2 * pairs else turned, dim=-1)


def alibi_slopes(num_heads: int) -> Tensor:
    """How steeply each head's scores fall with distance: 2^(-8/n), 2^(-16/n), …

    For a number of heads that is no power of two, the next lower power's slopes come first and every other
    slope of the next higher power fills the rest.

    Returns:
        Shape (num_heads,), float32.
    Source: Press et al. 2021, arXiv:2108.12409, and its published code for other numbers of heads.
    """
    power = 2 ** int(math.log2(num_heads))
    slopes = [2 ** (-8 * (i + 1) / power) for i in range(power)]
    slopes += [2 ** (-4 * (2 * i + 1) / power) for i in range(num_heads - power)]
    return torch.tensor(slopes)
