"""Chapter 4: the feed-forward network, and the block that joins it to attention on the residual stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.core.attention import Attention, View
from limner.core.cache import ContiguousCache, KeysValues, RingCache
from limner.core.config import Activation, BlockConfig, FeedForwardConfig
from limner.core.embeddings import drop, make_norm
from limner.core.tap import NO_TAP, Tap


def activate(x: Tensor, kind: Activation) -> Tensor:
    """The non-linear step; ``relu2`` is ReLU squared (So et al. 2021, arXiv:2109.08668), ``quick_gelu`` CLIP's."""
    match kind:
        case "relu":
            return F.relu(x)
        case "relu2":
            return F.relu(x).square()
        case "gelu":
            return F.gelu(x)
        case "gelu_tanh":
            return F.gelu(x, approximate="tanh")
        case "quick_gelu":
            return x * torch.sigmoid(1.702 * x)
        case "silu":
            return F.silu(x)
        case _:
            assert_never(kind)


class FeedForward(nn.Module):
    """``down(act(up(x)))``, or gated, ``down(act(gate(x)) · up(x))`` (Shazeer 2020, arXiv:2002.05202)."""

    def __init__(self, config: FeedForwardConfig, dim: int) -> None:
        super().__init__()
        self.config = config
        self.gate = nn.Linear(dim, config.hidden_dim, bias=config.bias) if config.gated else None
        self.up = nn.Linear(dim, config.hidden_dim, bias=config.bias)
        self.down = nn.Linear(config.hidden_dim, dim, bias=config.bias)

    def forward(self, x: Tensor, *, tap: Tap = NO_TAP) -> Tensor:
        """Each token by itself: shape (batch, time, dim) in and out."""
        if self.gate is None:
            hidden = activate(self.up(x), self.config.activation)
        else:
            hidden = activate(self.gate(x), self.config.activation) * self.up(x)
        return tap("output", self.down(tap("hidden", hidden)))


@dataclass(frozen=True)
class Neighbours:
    """What a block needs besides the residual stream.

    Attributes:
        own, cross: what its two attentions may look at.
        cache: this layer's keys and values so far.
        memory: the encoder's keys and values for this layer, where it has cross-attention.
        condition: for conditioned blocks, shape (batch, 6, dim).
    """

    own: View
    cross: View = View()
    cache: ContiguousCache | RingCache | None = None
    memory: KeysValues | None = None
    condition: Tensor | None = None


class Block(nn.Module):
    """One layer. Each sub-layer reads the residual stream and adds to it.

    Conditioned, attention and feed-forward become ``x + (1 + gate) · f(norm(x) · (1 + scale) + shift)``; the six
    vectors (shift, scale, gate of each) are the condition, the same for all layers, plus this layer's own table
    (Chen et al. 2023, arXiv:2310.00426, section 2.3; our gates are 1 at the start, since f begins at 0).
    """

    def __init__(self, config: BlockConfig, dim: int) -> None:
        super().__init__()
        self.config = config
        after = config.placement == "sandwich"

        def norm(wanted: bool = True) -> nn.Module | None:
            return make_norm(config.norm, dim) if wanted else None

        crosses = config.cross_attention is not None
        self.attention = Attention(config.attention, dim)
        self.attention_norm = norm()
        self.attention_norm_after = norm(after)
        self.cross_attention = Attention(config.cross_attention, dim) if config.cross_attention else None
        self.cross_attention_norm = norm(crosses)
        self.cross_attention_norm_after = norm(crosses and after)
        self.feed_forward = FeedForward(config.feed_forward, dim)
        self.feed_forward_norm = norm()
        self.feed_forward_norm_after = norm(after)
        self.condition = nn.Parameter(torch.zeros(6, dim)) if config.conditioned else None

    def forward(self, x: Tensor, near: Neighbours, *, tap: Tap = NO_TAP) -> Tensor:
        """The residual stream through one layer: shape (batch, time, dim) in and out."""
        first, second = None, None
        if self.condition is not None:
            assert near.condition is not None
            first, second = tap("condition", near.condition + self.condition).chunk(2, dim=1)
        inner = tap.at("attention")
        out = self.attention(self._before(x, self.attention_norm, first), near.own, cache=near.cache, tap=inner)
        x = tap("residual_attention", self._add(x, out, self.attention_norm, self.attention_norm_after, first))
        if self.cross_attention is not None:
            assert near.memory is not None
            inner = tap.at("cross_attention")
            out = self.cross_attention.across(
                self._before(x, self.cross_attention_norm), near.memory, near.cross, tap=inner
            )
            x = self._add(x, out, self.cross_attention_norm, self.cross_attention_norm_after)
            x = tap("residual_cross_attention", x)
        out = self.feed_forward(self._before(x, self.feed_forward_norm, second), tap=tap.at("feed_forward"))
        return tap("residual", self._add(x, out, self.feed_forward_norm, self.feed_forward_norm_after, second))

    def _before(self, x: Tensor, norm: nn.Module | None, condition: Tensor | None = None) -> Tensor:
        assert norm is not None
        before: Tensor = x if self.config.placement == "post" else norm(x)
        return before if condition is None else torch.addcmul(condition[:, 0:1], before, condition[:, 1:2] + 1)

    def _add(
        self,
        x: Tensor,
        out: Tensor,
        norm: nn.Module | None,
        norm_after: nn.Module | None,
        condition: Tensor | None = None,
    ) -> Tensor:
        out = drop(out, self.config.dropout, self.training)
        if norm_after is not None:
            out = norm_after(out)
        if condition is not None:
            return torch.addcmul(x, out, condition[:, 2:3] + self.config.residual_scale)
        if self.config.residual_scale != 1.0:
            out = out * self.config.residual_scale
        x = x + out
        if self.config.placement == "post":
            assert norm is not None
            x = norm(x)
        return x
