"""Chapter 4: the feed-forward network, and the block that joins it to attention on the residual stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from torch import Tensor, nn
from torch.nn import functional as F

from limner.core.attention import Attention, View
from limner.core.cache import ContiguousCache, KeysValues, RingCache
from limner.core.config import Activation, BlockConfig, FeedForwardConfig
from limner.core.embeddings import drop, make_norm
from limner.core.tap import NO_TAP, Tap


def activate(x: Tensor, kind: Activation) -> Tensor:
    """The non-linear step; ``relu2`` is ReLU squared (So et al. 2021, arXiv:2109.08668)."""
    match kind:
        case "relu":
            return F.relu(x)
        case "relu2":
            return F.relu(x).square()
        case "gelu":
            return F.gelu(x)
        case "gelu_tanh":
            return F.gelu(x, approximate="tanh")
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
    """

    own: View
    cross: View = View()
    cache: ContiguousCache | RingCache | None = None
    memory: KeysValues | None = None


class Block(nn.Module):
    """One layer. Each sub-layer reads the residual stream and adds to it."""

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

    def forward(self, x: Tensor, near: Neighbours, *, tap: Tap = NO_TAP) -> Tensor:
        """The residual stream through one layer: shape (batch, time, dim) in and out."""
        inner = tap.at("attention")
        out = self.attention(self._before(x, self.attention_norm), near.own, cache=near.cache, tap=inner)
        x = tap("residual_attention", self._add(x, out, self.attention_norm, self.attention_norm_after))
        if self.cross_attention is not None:
            assert near.memory is not None
            inner = tap.at("cross_attention")
            out = self.cross_attention.across(
                self._before(x, self.cross_attention_norm), near.memory, near.cross, tap=inner
            )
            x = self._add(x, out, self.cross_attention_norm, self.cross_attention_norm_after)
            x = tap("residual_cross_attention", x)
        out = self.feed_forward(self._before(x, self.feed_forward_norm), tap=tap.at("feed_forward"))
        return tap("residual", self._add(x, out, self.feed_forward_norm, self.feed_forward_norm_after))

    def _before(self, x: Tensor, norm: nn.Module | None) -> Tensor:
        assert norm is not None
        before: Tensor = x if self.config.placement == "post" else norm(x)
        return before

    def _add(self, x: Tensor, out: Tensor, norm: nn.Module | None, norm_after: nn.Module | None) -> Tensor:
        out = drop(out, self.config.dropout, self.training)
        if norm_after is not None:
            out = norm_after(out)
        if self.config.residual_scale != 1.0:
            out = out * self.config.residual_scale
        x = x + out
        if self.config.placement == "post":
            assert norm is not None
            x = norm(x)
        return x
