"""Chapter 3: attention. Each token asks (query), each offers (key, value), and takes what it asked for.

Two paths with equal results: the fused one, which never forms the weights, and the shown one, which does
when a tap wants them. Recording alone never changes a result: unless the tap edits the weights, the output
is the fused path's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.core.cache import ContiguousCache, KeysValues, RingCache
from limner.core.config import ALiBiPositions, AttentionConfig, FullSpan, SlidingSpan
from limner.core.embeddings import make_norm
from limner.core.positions import Rotation, alibi_slopes, rotate
from limner.core.tap import NO_TAP, Tap


@dataclass(frozen=True)
class View:
    """What a token may look at, and how it is told where things stand; the same for all layers of one kind.

    Attributes:
        rotation: cosines and sines for queries and keys; None: no rotation.
        mask: bool, True where a query may look, or float, added to the scores; shape
            (batch or 1, heads or 1, query, key); None: everything, or as ``causal`` says.
        causal: query i sees keys 0…i.
        start: how many tokens the cache holds already.
        ordered: no query sees a later key, whatever the mask says besides; a saving, not a rule.
    """

    rotation: Rotation | None = None
    mask: Tensor | None = None
    causal: bool = False
    start: int = 0
    ordered: bool = False


def visible(
    config: AttentionConfig,
    *,
    causal: bool,
    queries: Tensor,
    keys: Tensor,
    real: Tensor | None = None,
    documents: Tensor | None = None,
    tap: Tap = NO_TAP,
) -> tuple[Tensor | None, bool]:
    """The mask for ``View``, and whether the plain causal rule says it all.

    Args:
        queries, keys: where they stand, integers, shape (time,) and (keys,).
        real: which tokens are not padding, shape (batch, tokens so far), indexed by where they stand.
        documents: a number for each token, shape (batch, time); none looks into another document.
    Source: for ALiBi, Press et al. 2021 (arXiv:2108.12409); bidirectional, the distance counts both ways.
    """
    alibi = isinstance(config.positions, ALiBiPositions)
    window = config.span.window if isinstance(config.span, SlidingSpan) else None
    time, seen = queries.shape[0], keys.shape[0]
    wide = isinstance(config.span, FullSpan) or (window is not None and seen <= window)
    if real is None and documents is None and not alibi and wide:
        if not causal or time == 1:
            return None, False
        if time == seen:
            return None, True
    distance = queries[:, None] - keys[None, :]
    allowed = torch.ones_like(distance, dtype=torch.bool)
    if causal:
        allowed = distance >= 0
    if window is not None:
        allowed = allowed & (distance.abs() < window)
    allowed = allowed[None]
    if real is not None:
        allowed = allowed & real[:, keys][:, None, :]
    if documents is not None:
        allowed = allowed & (documents[:, :, None] == documents[:, None, :])
    # Padding has nothing to look at; it sees itself, so that no row of weights is 0/0.
    allowed = (allowed | (distance == 0)[None])[:, None]
    if not alibi:
        return allowed, False
    slopes = tap("slopes", alibi_slopes(config.num_heads).to(queries.device))
    bias = -slopes[:, None, None] * distance.abs()
    return bias[None].masked_fill(~allowed, -torch.inf), False


class Attention(nn.Module):
    """Multi-head, grouped-query or multi-query attention, to itself or to another sequence.

    ``softmax(q kᵀ · scale) v`` in each head (Vaswani et al. 2017); heads share keys and values in groups when
    num_kv_heads < num_heads (Shazeer 2019, Ainslie et al. 2023).
    """

    def __init__(self, config: AttentionConfig, dim: int) -> None:
        super().__init__()
        self.config = config
        wide, narrow = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
        self.query = nn.Linear(dim, wide, bias=config.bias)
        self.key = nn.Linear(dim, narrow, bias=config.bias)
        self.value = nn.Linear(dim, narrow, bias=config.bias)
        self.output = nn.Linear(wide, dim, bias=config.output_bias)
        self.query_norm = make_norm(config.qk_norm, config.head_dim) if config.qk_norm else None
        self.key_norm = make_norm(config.qk_norm, config.head_dim) if config.qk_norm else None

    def forward(
        self, x: Tensor, view: View, *, cache: ContiguousCache | RingCache | None = None, tap: Tap = NO_TAP
    ) -> Tensor:
        """Look within the same text.

        Args:
            x: shape (batch, time, dim).
        Returns:
            Shape (batch, time, dim).
        """
        q, k, v = self._query(x), self._key(x), self._split(self.value(x))
        if view.rotation is not None:
            q, k = rotate(q, view.rotation), rotate(k, view.rotation)
        q, k, v = tap("query", q), tap("key", k), tap("value", v)
        if cache is not None:
            k, v = cache.append(k, v, view.start)
        return self._join(mix(q, k, v, view, self.config, training=self.training, tap=tap), tap)

    def across(self, x: Tensor, memory: KeysValues, view: View, *, tap: Tap = NO_TAP) -> Tensor:
        """Look at another sequence, whose keys and values come from ``project``.

        Args:
            x: shape (batch, time, dim).
            memory: keys and values, each (batch, kv_heads, source time, head_dim).
        Returns:
            Shape (batch, time, dim).
        """
        q, k, v = tap("query", self._query(x)), tap("key", memory[0]), tap("value", memory[1])
        return self._join(mix(q, k, v, view, self.config, training=self.training, tap=tap), tap)

    def project(self, memory: Tensor) -> KeysValues:
        """The keys and values of another sequence, shape (batch, source time, dim), each (batch, kv_heads, …)."""
        return self._key(memory), self._split(self.value(memory))

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], -1, self.config.head_dim)

    def _split(self, x: Tensor) -> Tensor:
        return self._heads(x).transpose(1, 2)

    def _query(self, x: Tensor) -> Tensor:
        q = self._heads(self.query(x))
        return (q if self.query_norm is None else cast("Tensor", self.query_norm(q))).transpose(1, 2)

    def _key(self, x: Tensor) -> Tensor:
        k = self._heads(self.key(x))
        return (k if self.key_norm is None else cast("Tensor", self.key_norm(k))).transpose(1, 2)

    def _join(self, mixed: Tensor, tap: Tap) -> Tensor:
        return tap("output", self.output(tap("mixed", mixed).transpose(1, 2).flatten(2)))


def mix(
    q: Tensor, k: Tensor, v: Tensor, view: View, config: AttentionConfig, *, training: bool = False, tap: Tap = NO_TAP
) -> Tensor:
    """Weigh the values by how well their keys answer the queries.

    Args:
        q: shape (batch, heads, time, head_dim).
        k, v: shape (batch, kv_heads, keys, head_dim).
    Returns:
        Shape of q.
    """
    scale = config.head_dim**-0.5 if config.scale is None else config.scale
    dropout = config.dropout if training else 0.0
    if config.softcap is not None:
        weights = tap("weights", attention_weights(q, k, view, config, scale))
        return _weigh(F.dropout(weights, dropout) if dropout else weights, v)
    if tap.wants("weights"):
        weights = attention_weights(q, k, view, config, scale)
        shown = tap("weights", weights)
        if shown is not weights:
            return _weigh(F.dropout(shown, dropout) if dropout else shown, v)
    if _blocks_pay(q, k, view, dropout):
        mixed: Tensor = _BlockAttention.apply(q, k, v, view.mask, view.causal or view.ordered, scale)  # type: ignore[no-untyped-call]
        return mixed
    if q.shape[1] == k.shape[1]:
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=_cast(view.mask, q), dropout_p=dropout, is_causal=view.causal, scale=scale
        )
    if q.shape[2] == 1 and (view.mask is None or view.mask.shape[1] == 1):
        # One new token: the heads of a group stand in as its time steps, and no key is copied.
        grouped = q.view(q.shape[0], k.shape[1], -1, q.shape[-1])
        mask = _cast(view.mask, q)
        mixed = F.scaled_dot_product_attention(grouped, k, v, attn_mask=mask, dropout_p=dropout, scale=scale)
        return mixed.flatten(1, 2).unsqueeze(2)
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=_cast(view.mask, q), dropout_p=dropout, is_causal=view.causal, scale=scale, enable_gqa=True
    )


BLOCK = 128  # queries at a time: of 64, 128 and 256 the fastest at 256 and at 512 tokens (docs/log.md)
LONGEST = 1024  # tokens; the weights are kept for the way back and grow with the square


def _blocks_pay(q: Tensor, k: Tensor, view: View, dropout: float) -> bool:
    """Whether to train with ``_BlockAttention``: in bfloat16 on a processor, where torch's way back is slow."""
    return (
        q.dtype == torch.bfloat16
        and q.device.type == "cpu"
        and q.requires_grad
        and torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and dropout == 0.0
        and q.shape[2] <= LONGEST >= k.shape[2]
        and (q.shape[2] == k.shape[2] or not (view.causal or view.ordered))
        and (view.mask is None or (view.mask.dtype == torch.bool and view.mask.shape[1] == 1))
    )


class _BlockAttention(torch.autograd.Function):
    """Attention as plain matrix products, a block of queries at a time and no keys beyond it.

    What torch's fused attention computes. On processors with bfloat16 matrix units, forward and back together
    take 2 to 5 times less than there, whose way back does not use them well; the weights are kept meanwhile.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, ordered: bool, scale: float) -> Tensor:
        batch, kv_heads, length, head_dim = k.shape
        time = q.shape[2]
        grouped = q.reshape(batch * kv_heads, -1, time, head_dim)
        keys, values = k.reshape(-1, length, head_dim), v.reshape(-1, length, head_dim)
        if mask is not None:
            mask = mask.expand(-1, -1, time, -1)
        out, kept = torch.empty_like(grouped), []
        for start in range(0, time, BLOCK):
            end = min(start + BLOCK, time)
            seen = end if ordered else length
            scores = torch.bmm(_rows(grouped, start, end), keys[:, :seen].transpose(1, 2)).mul_(scale)
            split = scores.view(batch, -1, end - start, seen)
            if mask is not None:
                split += torch.zeros((), dtype=q.dtype).masked_fill(~mask[:, :, start:end, :seen], -torch.inf)
            elif ordered:
                split[..., start:] += torch.full((end - start, end - start), -torch.inf, dtype=q.dtype).triu(1)
            weights = scores.softmax(dim=-1)
            out[:, :, start:end] = torch.bmm(weights, values[:, :seen]).view(*grouped.shape[:2], -1, head_dim)
            kept.append(weights)
        ctx.save_for_backward(q, k, v, *kept)
        ctx.scale = scale
        return out.view_as(q)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, *kept = ctx.saved_tensors
        (length, head_dim), time = k.shape[2:], q.shape[2]
        grouped = q.reshape(k.shape[0] * k.shape[1], -1, time, head_dim)
        keys, values = k.reshape(-1, length, head_dim), v.reshape(-1, length, head_dim)
        gradient = gradient.reshape(grouped.shape)
        to_q, to_k, to_v = torch.empty_like(grouped), torch.zeros_like(keys), torch.zeros_like(values)
        for start, weights in zip(range(0, time, BLOCK), kept, strict=True):
            end, seen = min(start + BLOCK, time), weights.shape[-1]
            rows = _rows(gradient, start, end)
            to_v[:, :seen] += torch.bmm(weights.transpose(1, 2), rows)
            to_weights = torch.bmm(rows, values[:, :seen].transpose(1, 2))
            to_scores = torch._softmax_backward_data(to_weights, weights, -1, weights.dtype)
            to_q[:, :, start:end] = torch.bmm(to_scores, keys[:, :seen]).view(*grouped.shape[:2], -1, head_dim)
            to_k[:, :seen] += torch.bmm(to_scores.transpose(1, 2), _rows(grouped, start, end))
        return to_q.mul_(ctx.scale).view_as(q), to_k.mul_(ctx.scale).view_as(k), to_v.view_as(v), None, None, None


def _rows(x: Tensor, start: int, end: int) -> Tensor:
    """Some time steps of all the heads that share keys, one below the other."""
    return x[:, :, start:end].reshape(x.shape[0], -1, x.shape[-1])


def attention_weights(q: Tensor, k: Tensor, view: View, config: AttentionConfig, scale: float) -> Tensor:
    """The weights that the fused path never forms, each row summing to 1.

    Returns:
        Shape (batch, heads, time, keys), float32 inside and the dtype of q outside.
    """
    if (groups := q.shape[1] // k.shape[1]) > 1:
        k = k.repeat_interleave(groups, dim=1)
    time = q.shape[2]
    if not view.causal or view.mask is not None or time <= BLOCK:
        return _softmaxed(q, k, view, config, scale)
    weights = q.new_zeros(*q.shape[:3], k.shape[2])  # nothing is computed where no query may look
    for first in range(0, time, BLOCK):
        last = min(first + BLOCK, time)
        weights[:, :, first:last, :last] = _softmaxed(q[:, :, first:last], k[:, :, :last], view, config, scale)
    return weights


def _softmaxed(q: Tensor, k: Tensor, view: View, config: AttentionConfig, scale: float) -> Tensor:
    """``attention_weights`` of as many key heads as query heads; the last query is causally the last key's."""
    scores = (q @ k.transpose(-1, -2)).float().mul_(scale)
    if config.softcap is not None:
        scores = config.softcap * torch.tanh(scores / config.softcap)
    if view.causal:
        square = scores[..., scores.shape[-1] - scores.shape[-2] :]
        square.masked_fill_(torch.ones(square.shape[-2:], dtype=torch.bool, device=q.device).triu_(1), -torch.inf)
    if view.mask is not None:
        scores = scores.masked_fill(~view.mask, -torch.inf) if view.mask.dtype == torch.bool else scores + view.mask
    return scores.softmax(dim=-1).to(q.dtype)


def _weigh(weights: Tensor, v: Tensor) -> Tensor:
    return weights.to(v.dtype) @ v.repeat_interleave(weights.shape[1] // v.shape[1], dim=1)


def _cast(mask: Tensor | None, like: Tensor) -> Tensor | None:
    return mask if mask is None or mask.dtype == torch.bool else mask.to(like.dtype)
