"""Chapter 6: from vectors to logits, and how wrong they are."""

from __future__ import annotations

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
