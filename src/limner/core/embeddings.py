"""Chapter 1: from ids to vectors."""

from __future__ import annotations

from typing import Any, assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.core.config import (
    EmbeddingConfig,
    LayerNorm,
    LearnedPositions,
    NoPositions,
    Norm,
    RMSNorm,
    SinusoidalPositions,
)
from limner.core.errors import ContextError
from limner.core.positions import sinusoidal
from limner.core.tap import NO_TAP, Tap


class RootMeanSquareNorm(nn.RMSNorm):
    """Torch's own RMSNorm, but trained on a processor it takes a third of the time there and back."""

    def forward(self, x: Tensor) -> Tensor:
        trained = (
            x.requires_grad and torch.is_grad_enabled() and x.device.type == "cpu" and x.dtype == self.weight.dtype
        )
        if trained and not torch.compiler.is_compiling():
            out: Tensor = _Normalize.apply(x, self.weight, self.eps)  # type: ignore[no-untyped-call]
            return out
        return super().forward(x)


class _Normalize(torch.autograd.Function):
    """``x / rms(x) · weight``; torch takes its way back apart into many passes over memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
        inverse = size.square_().div_(x.shape[-1]).add_(eps).rsqrt_().to(x.dtype)
        unit = x * inverse
        ctx.save_for_backward(unit, weight, inverse)
        out: Tensor = unit * weight
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        unit, weight, inverse = ctx.saved_tensors
        along = gradient * unit
        to_weight = along.flatten(0, -2).sum(dim=0)
        share = (along @ weight.unsqueeze(-1)).div_(unit.shape[-1])
        return torch.addcmul(gradient * weight, unit, share, value=-1.0).mul_(inverse), to_weight, None


def make_norm(spec: Norm, dim: int) -> nn.Module:
    """The norm that a spec describes, over the last ``dim`` channels."""
    match spec:
        case LayerNorm(eps=eps, bias=bias):
            return nn.LayerNorm(dim, eps=eps, bias=bias)
        case RMSNorm(eps=eps):
            return RootMeanSquareNorm(dim, eps=eps)
        case _:
            assert_never(spec)


def drop(x: Tensor, share: float, training: bool) -> Tensor:
    """Set a random share of the values to 0 and scale the rest so that the sum is expected to stay (dropout).

    On a processor torch draws one value at a time, an eighth of a whole training step; here 64 random bits
    decide about four values.

    Args:
        x: any shape.
        share: from 0 up to, not including, 1; kept to 1/65536.
        training: False: x is returned as it is.
    Source: Srivastava et al. 2014.
    """
    if not training or share == 0.0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, share)
    keep: Tensor = torch.ops.limner.keep(x.detach(), share) if torch.compiler.is_compiling() else _keep(x, share)
    return x * keep


def _keep(x: Tensor, share: float) -> Tensor:
    """What ``drop`` multiplies by: 0 or the factor that makes up for the zeros, shape and dtype of x."""
    dropped = round(share * 65536)
    bits = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device).random_(-(2**63), None)
    draw = bits.view(torch.int16)[: x.numel()].view(x.shape)
    kept = torch.ge(draw, dropped - 32768, out=torch.empty(x.shape, dtype=x.dtype))
    return kept.mul_(65536 / (65536 - dropped))


# A compiled step calls it as it is, once and not again on the way back: a compiler's own generator is slower.
if not hasattr(torch.ops.limner, "keep"):
    _library: Any = torch.library.Library("limner", "FRAGMENT")  # type: ignore[no-untyped-call]
    _library.define("keep(Tensor x, float share) -> Tensor", tags=(torch.Tag.nondeterministic_seeded,))
    _library.impl("keep", _keep, "CPU")
    _library.impl("keep", lambda x, share: torch.empty(x.shape, dtype=x.dtype, device="meta"), "Meta")


class Embedding(nn.Module):
    """Each id's trained vector, plus where it stands, plus which segment it is of."""

    def __init__(self, config: EmbeddingConfig, vocab_size: int, dim: int, context_length: int) -> None:
        super().__init__()
        self.config = config
        self.context_length = context_length
        self.token = nn.Embedding(vocab_size, dim)
        learned = isinstance(config.positions, LearnedPositions)
        self.position = nn.Embedding(context_length, dim) if learned else None
        self.segment = nn.Embedding(config.segments, dim) if config.segments else None
        self.norm = make_norm(config.norm, dim) if config.norm else None

    def forward(
        self, ids: Tensor, positions: Tensor, last: int, *, segments: Tensor | None = None, tap: Tap = NO_TAP
    ) -> Tensor:
        """Look the ids up.

        Args:
            ids: shape (batch, time).
            positions: integers, shape (time,) or (batch, time).
            last: the number of positions that may be asked for, known without looking at the tensor.
            segments: integers, shape (batch, time); None: all 0.
        Returns:
            Shape (batch, time, dim).
        Raises:
            ContextError: more positions than there are trained vectors for.
        """
        x = tap("token", self.token(ids))
        if self.config.scale != 1.0:
            x = x * self.config.scale
        match self.config.positions:
            case NoPositions():
                pass
            case LearnedPositions():
                if last > self.context_length:
                    raise ContextError(
                        f"The text is {last} tokens long, but the model has positions for {self.context_length}. "
                        "Shorten the text."
                    )
                assert self.position is not None
                x = x + tap("positions", self.position(positions))
            case SinusoidalPositions(base=base):
                x = x + tap("positions", sinusoidal(positions, x.shape[-1], base).to(x.dtype))
            case _:
                assert_never(self.config.positions)
        if self.segment is not None:
            x = x + tap("segments", self.segment(ids.new_zeros(ids.shape) if segments is None else segments))
        if self.norm is not None:
            x = self.norm(x)
        return tap("output", drop(x, self.config.dropout, self.training))
