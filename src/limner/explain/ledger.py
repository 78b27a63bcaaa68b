"""Who said it: what each sub-layer and each head gave to the residual stream, and through it to one token's logit.

The residual stream is a sum: the embedding, then what each attention and each feed-forward adds. The last norm and the
head turn that sum into a logit. Once the norm's scale is held where it is, they are linear, and so the logit is a sum as
well, with one entry for each part; what is the same whatever was read (the head's bias, the norm's shift) and what a
softcap bends stands in a last entry, the rest. That is direct logit attribution.

Where each sub-layer's sum is normalised before the next one reads it (``placement="post"``, the 2017 model, BERT) the
stream is no plain sum, and there is no such ledger.

Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits", transformer-circuits.pub.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from limner.core.transformer import Stack, Transformer

# ── norms whose scale is held ──────────────────────────────────────────────────────────────────────────────


def pull(norm: nn.Module | None, directions: Tensor) -> Tensor:
    """Directions behind a norm as they are in front of it, but for the scale: see ``scale``.

    ``norm(x) · direction = scale(norm, x) · (x · pull(norm, direction)) + shift · direction``

    Args:
        directions: shape (…, dim), float32.
    """
    if norm is None:
        return directions
    weight = cast("Tensor | None", norm.weight)
    pulled = directions if weight is None else directions * weight.float()
    return pulled - pulled.mean(dim=-1, keepdim=True) if isinstance(norm, nn.LayerNorm) else pulled


def scale(norm: nn.Module | None, x: Tensor) -> Tensor:
    """What a norm multiplies x by, shape (…, dim) to (…, 1), float32."""
    x = x.float()
    if norm is None:
        return torch.ones_like(x[..., :1])
    if isinstance(norm, nn.LayerNorm):
        return (x.var(dim=-1, correction=0, keepdim=True) + norm.eps).rsqrt()
    assert isinstance(norm, nn.RMSNorm)
    eps = torch.finfo(x.dtype).eps if norm.eps is None else norm.eps
    return (x.square().mean(dim=-1, keepdim=True) + eps).rsqrt()


def behind(norm: nn.Module | None, x: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix and the norm behind it as one matrix, the norm's scale held where it is at x; its shift is nobody's.

    ``a @ columns``, a part of x, is ``held * (a @ columns)`` behind the norm, with the matrix and the factor returned.

    Args:
        x: what the norm read, shape (time, dim).
        columns: shape (…, inner, dim), float32.
    Returns:
        The matrix, of the same shape, and held, shape (time, 1).
    """
    if norm is None:
        return columns, columns.new_ones(len(x), 1)
    if isinstance(norm, nn.LayerNorm):
        columns = columns - columns.mean(dim=-1, keepdim=True)
    weight = cast("Tensor | None", norm.weight)
    return columns if weight is None else columns * weight.float(), scale(norm, x)


# ── the ledger of one pass ─────────────────────────────────────────────────────────────────────────────────


def no_ledger(model: Transformer) -> str | None:
    """Why this model's logits are no sum of shares; None: they are."""
    if model.head is None:
        return "it has no head, and so no logits"
    if model.head.transform is not None:
        return "its head bends what it reads before it scores"
    if any(block.placement == "post" for block in model.config.stack.blocks):
        return "it normalises the stream after each sub-layer"
    return None


def head_matrix(model: Transformer) -> Tensor:
    """The head's matrix, shape (vocab_size, dim)."""
    assert model.head is not None
    return model.embedding.token.weight if model.head.linear is None else model.head.linear.weight


def stack_of(model: Transformer) -> Stack:
    """The only stack of a model that has one."""
    stack = model.decoder or model.encoder
    assert stack is not None
    return stack


class Book:
    """Keeps the ledger while a forward pass goes by; no sub-layer's contribution is held for longer than its turn.

    Args:
        targets: the tokens whose logits are shared out, one for each place, shape (time,); the last may be -1, which
            ``close`` is told.
    """

    def __init__(self, model: Transformer, targets: Tensor) -> None:
        self.model = model
        self.norm = stack_of(model).final_norm
        self.open = int(targets[-1]) < 0
        self.directions = self._directions(targets.clamp(min=0))
        self.parts: list[Tensor] = []  # (time,) each
        self.heads: list[Tensor] = []  # (heads, time) each
        self.ends: list[Tensor] = []  # contributions to the last place, (dim,) each
        self.head_ends: list[Tensor] = []

    def _directions(self, targets: Tensor) -> Tensor:
        return pull(self.norm, head_matrix(self.model)[targets].float())

    def add(self, contribution: Tensor) -> None:
        """The next part of the stream: the embedding, attention 0, feed-forward 0, …; shape (time, dim)."""
        self.parts.append(torch.linalg.vecdot(contribution, self.directions))
        if self.open:
            self.ends.append(contribution[-1].clone())

    def add_heads(self, mixed: Tensor, columns: Tensor, held: Tensor) -> None:
        """What each head of the next attention gives, ``held * (mixed @ columns)``, which is never formed.

        Args:
            mixed: shape (heads, time, head_dim).
            columns: shape (heads, head_dim, dim).
            held: shape (time, 1).
        """
        asked = self.directions @ columns.mT  # the directions in front of the matrix: (heads, time, head_dim)
        self.heads.append(torch.linalg.vecdot(mixed, asked) * held[:, 0])
        if self.open:
            self.head_ends.append(torch.bmm(mixed[:, -1:], columns)[:, 0] * held[-1])

    def close(self, x: Tensor, logits: Tensor, last: int) -> tuple[Tensor, Tensor]:
        """The ledger.

        Args:
            x: what the last norm read, shape (time, dim).
            logits: of the targets, shape (time,).
            last: the target of the last place, if it was not known before.
        Returns:
            Shares of embedding, attention 0, feed-forward 0, …, and the rest, shape (time, parts + 1), which sum to the
            logits; and of heads, shape (time, layers, heads).
        """
        parts = torch.stack(self.parts, dim=1)
        most = max((len(heads) for heads in self.heads), default=0)
        heads = parts.new_zeros(len(x), len(self.heads), most)
        for layer, shares in enumerate(self.heads):
            heads[:, layer, : len(shares)] = shares.T
        if self.open:
            direction = self._directions(torch.tensor([last], device=x.device))[0]
            parts[-1] = torch.stack(self.ends) @ direction
            for layer, ends in enumerate(self.head_ends):
                heads[-1, layer, : len(ends)] = ends @ direction
        held = scale(self.norm, x)
        parts, heads = parts * held, heads * held[..., None]
        rest = logits.float() - parts.sum(dim=1)
        return torch.cat((parts, rest[:, None]), dim=1), heads
