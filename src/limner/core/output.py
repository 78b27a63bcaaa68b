"""Chapter 6: from vectors to logits, and how wrong they are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.core.config import HeadConfig
from limner.core.embeddings import make_norm
from limner.core.layers import activate
from limner.core.tap import NO_TAP, Tap

IGNORED = -100  # a target that is not scored, as torch has it


class Head(nn.Module):
    """One logit for each entry of the vocabulary: how well it fits as the next token."""

    def __init__(self, config: HeadConfig, dim: int, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.transform = nn.Linear(dim, dim) if config.transform else None
        self.transform_norm = make_norm(config.transform_norm, dim) if config.transform else None
        self.linear = None if config.tied else nn.Linear(dim, vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(vocab_size)) if config.bias else None

    def forward(self, x: Tensor, embedding: Tensor, *, tap: Tap = NO_TAP) -> Tensor:
        """Project.

        Args:
            x: shape (batch, time, dim).
            embedding: the token embedding's matrix, shape (vocab_size, dim), used when the head is tied.
        Returns:
            Logits, shape (batch, time, vocab_size).
        """
        if self.transform is not None:
            assert self.config.transform is not None
            assert self.transform_norm is not None
            x = self.transform_norm(activate(self.transform(x), self.config.transform))
        logits = F.linear(x, embedding if self.linear is None else self.linear.weight, self.bias)
        if self.config.softcap is not None:
            logits = self.config.softcap * torch.tanh(logits / self.config.softcap)
        return tap("logits", logits)


def next_token_loss(logits: Tensor, targets: Tensor, *, reduction: str = "mean") -> Tensor:
    """Cross-entropy of the logits against the tokens that came: ``-log softmax(logits)[target]``, in nats.

    Args:
        logits: shape (batch, time, vocab_size); computed in float32 whatever their dtype.
        targets: ids, shape (batch, time), already shifted by one; IGNORED where nothing is scored.
        reduction: ``"mean"`` over scored tokens, ``"sum"``, or ``"none"`` for shape (batch, time).
    """
    loss = F.cross_entropy(logits.float().flatten(0, -2), targets.flatten(), ignore_index=IGNORED, reduction=reduction)
    return loss.view(targets.shape) if reduction == "none" else loss


ROWS = 2**24  # logits held at a time, 64 MB in float32, but never fewer than 512 tokens' worth


def head_loss(head: Head, x: Tensor, embedding: Tensor, targets: Tensor) -> Tensor:
    """``next_token_loss(head(x, embedding), targets)``, its mean, without the logits of all tokens at once.

    When it trains on a processor, a few hundred tokens at a time go through the head, to their loss, and straight
    to the gradients, while their logits are still in the cache.

    Args:
        x: what the head reads, shape (batch, time, dim).
        embedding: as for ``Head.forward``.
        targets: as for ``next_token_loss``.
    """
    weight = embedding if head.linear is None else head.linear.weight
    plain = head.transform is None and head.bias is None and head.config.softcap is None
    trains = torch.is_grad_enabled() and x.requires_grad and weight.requires_grad
    if not (plain and trains and x.device.type == "cpu" and x.dtype == weight.dtype):
        return next_token_loss(head(x, embedding), targets)
    if torch.is_autocast_enabled("cpu"):
        return next_token_loss(head(x, embedding), targets)
    loss: Tensor = _HeadLoss.apply(x.flatten(0, -2), weight, targets.flatten())  # type: ignore[no-untyped-call]
    return loss


class _HeadLoss(torch.autograd.Function):
    """The mean loss, and on the same way its gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        rows = max(512, ROWS // weight.shape[0])
        scored = targets != IGNORED
        share = 1.0 / scored.sum().to(torch.float32)
        total = torch.zeros((), dtype=torch.float32)
        to_x, to_weight = torch.empty_like(x), None
        for start in range(0, x.shape[0], rows):
            part, kept = x[start : start + rows], scored[start : start + rows, None]
            wanted = targets[start : start + rows, None].clamp(min=0)
            logs = F.linear(part, weight).float().log_softmax(dim=-1)
            total -= (logs.gather(1, wanted) * kept).sum()
            away = logs.exp_()
            away.scatter_add_(1, wanted, -torch.ones_like(away[:, :1]))
            away = away.mul_(kept * share).to(x.dtype)
            to_x[start : start + rows] = away @ weight
            grown = away.t() @ part
            to_weight = grown if to_weight is None else to_weight.float().add_(grown)
        assert to_weight is not None
        ctx.save_for_backward(to_x, to_weight.to(weight.dtype))
        return total * share

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        to_x, to_weight = ctx.saved_tensors
        factor = gradient.to(to_x.dtype)
        return to_x * factor, to_weight * factor, None
