"""Chapter 5: the Transformer, from ids to logits, on one screen.

    ids → embedding (+ positions) → [norm → attention → + → norm → feed-forward → +] × N → norm → logits

Decoder-only (GPT-2, Llama, Qwen): a causal stack. Encoder-only (BERT): a bidirectional one. Encoder-decoder
(the 2017 model): both, the decoder's blocks with cross-attention to the encoder's output.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from limner.core.attention import View, visible
from limner.core.cache import Cache
from limner.core.config import DynamicScaling, ModelConfig, RotaryPositions, StackConfig
from limner.core.embeddings import Embedding, make_norm
from limner.core.errors import ConfigError, ShapeError
from limner.core.layers import Block, Neighbours
from limner.core.output import Head, head_loss
from limner.core.positions import rotary_frequencies, rotation
from limner.core.tap import NO_TAP, Tap


class Stack(nn.Module):
    """Layers in order, and a norm at the end. Works on vectors, whatever they stand for.

    Attributes:
        recompute: when training, keep only each layer's input and compute the rest again on the way back
            (activation checkpointing): less memory, about a third more time.
    """

    def __init__(self, config: StackConfig, dim: int) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(Block(config.block(i), dim) for i in range(config.num_layers))
        self.final_norm = make_norm(config.final_norm, dim) if config.final_norm else None
        self.recompute = False
        # One (frequencies, magnitude) a kind of block, no buffers: a model in bfloat16 still turns in float32.
        self.turns = [self._turn(kind, 0) for kind in range(self.kinds)]

    def forward(
        self,
        x: Tensor,
        *,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        documents: Tensor | None = None,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
        condition: Tensor | None = None,
        cache: Cache | None = None,
        first: int = 0,
        tap: Tap = NO_TAP,
    ) -> Tensor:
        """The residual stream through all layers.

        Args:
            x: shape (batch, time, dim).
            positions: where the tokens stand, shape (time,) or (batch, time), for rotary positions of several axes
                with one dimension more; None: 0, 1, 2, … after the cache.
            mask: True for real tokens, shape (batch, all tokens so far); None: all are.
            documents: shape (batch, time); no token looks into another document than its own.
            memory: the encoder's output, shape (batch, source time, dim), for blocks with cross-attention.
            memory_mask: True for its real tokens, shape (batch, source time).
            condition: what conditioned blocks are given, shape (batch, 6, dim).
            cache: keys and values so far; grows by x.
            first: the layer to begin with, where x is the stream in front of it.
        Returns:
            Shape of x, after the final norm.
        """
        start = 0 if cache is None else cache.length
        time = x.shape[1]
        if positions is None:
            positions = torch.arange(start, start + time, device=x.device)
        positions = tap("places", positions)
        views = [self._view(kind, positions, start, time, mask, documents, cache, tap) for kind in range(self.kinds)]
        cross_view = View(mask=None if memory_mask is None else memory_mask[:, None, None, :].bool())
        for index, module in list(enumerate(self.layers))[first:]:
            layer = cast("Block", module)
            near = Neighbours(
                views[index % self.kinds],
                cross_view,
                None if cache is None else cache.layers[index],
                None if layer.cross_attention is None else self._memory(index, layer, memory, cache),
                condition,
            )
            inner = tap.at(f"layer.{index}")
            if self.recompute and self.training and torch.is_grad_enabled():
                x = checkpoint(layer, x, near, use_reentrant=False, tap=inner)
            else:
                x = layer(x, near, tap=inner)
        if cache is not None:
            cache.length, cache.mask = start + time, mask
        if self.final_norm is not None:
            x = self.final_norm(x)
        return tap("final_norm", x)

    @property
    def kinds(self) -> int:
        """How many different blocks take turns."""
        return len(self.config.blocks)

    def _view(
        self,
        kind: int,
        positions: Tensor,
        start: int,
        time: int,
        mask: Tensor | None,
        documents: Tensor | None,
        cache: Cache | None,
        tap: Tap,
    ) -> View:
        attention = self.config.blocks[kind].attention
        queries = torch.arange(start, start + time, device=positions.device)
        keys = queries if cache is None else cache.layers[kind].slots(start, time)
        allowed, causal = visible(
            attention, causal=self.config.causal, queries=queries, keys=keys, real=mask, documents=documents, tap=tap
        )
        turn = None
        if isinstance(attention.positions, RotaryPositions):
            grows = isinstance(attention.positions.scaling, DynamicScaling)
            frequencies, magnitude = self._turn(kind, start + time) if grows else self.turns[kind]
            turn = rotation(tap("places", positions), frequencies, magnitude, attention.positions.axes)
        return View(turn, allowed, causal, start, ordered=self.config.causal and cache is None)

    def _turn(self, kind: int, length: int) -> tuple[Tensor, float]:
        attention = self.config.blocks[kind].attention
        if not isinstance(attention.positions, RotaryPositions):
            return torch.empty(0, device="cpu"), 1.0
        return rotary_frequencies(attention.positions, attention.rotary_dim // attention.positions.axes, length)

    def _memory(self, index: int, layer: Block, memory: Tensor | None, cache: Cache | None) -> tuple[Tensor, Tensor]:
        assert layer.cross_attention is not None
        if cache is not None and index in cache.cross:
            return cache.cross[index]
        if memory is None:
            raise ShapeError("memory is None, but the decoder has cross-attention. Give source or memory.")
        projected = layer.cross_attention.project(memory)
        if cache is not None:
            cache.cross[index] = projected
        return projected


class Transformer(nn.Module):
    """The whole machine, as its configuration describes it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config.embedding, config.vocab_size, config.dim, config.context_length)
        self.encoder = Stack(config.encoder, config.dim) if config.encoder else None
        self.decoder = Stack(config.decoder, config.dim) if config.decoder else None
        self.head = Head(config.head, config.dim, config.vocab_size) if config.head else None
        initialize(self)

    def forward(
        self,
        ids: Tensor,
        *,
        mask: Tensor | None = None,
        segments: Tensor | None = None,
        documents: Tensor | None = None,
        source: Tensor | None = None,
        source_mask: Tensor | None = None,
        memory: Tensor | None = None,
        cache: Cache | None = None,
        tap: Tap = NO_TAP,
    ) -> Tensor:
        """Logits for what follows each token (decoder) or stands at it (encoder).

        Args:
            ids: shape (batch, time).
            mask: True for real tokens, False for padding on either side, shape (batch, time).
            segments: BERT's token types, shape (batch, time).
            documents: a number a token, shape (batch, time); attention does not cross from one to another.
            source, source_mask: what the encoder reads, shape (batch, source time).
            memory: the encoder's output where it is known already, instead of source.
            cache: keys and values so far; grows by these ids.
        Returns:
            Shape (batch, time, vocab_size).
        Raises:
            ConfigError: the model has no head; use ``hidden``.
            ShapeError: ids is not two-dimensional.
            ContextError: more tokens than learned positions or than the cache holds.
        """
        if self.head is None:
            raise ConfigError("head is None, but logits need one. Use hidden() or a model that has a head.")
        x = self.hidden(
            ids, mask=mask, segments=segments, documents=documents, source=source, source_mask=source_mask,
            memory=memory, cache=cache, tap=tap,
        )  # fmt: skip
        return self.logits(x, tap=tap)

    def logits(self, x: Tensor, *, tap: Tap = NO_TAP) -> Tensor:
        """The head alone: shape (…, dim) to (…, vocab_size)."""
        assert self.head is not None
        scores: Tensor = self.head(x, self.embedding.token.weight, tap=tap)
        return scores

    def loss(self, ids: Tensor, targets: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """The mean of ``next_token_loss``, computed without all logits at once where that is faster.

        Args:
            ids, targets: shape (batch, time); IGNORED targets are not scored.
            documents: as for ``forward``.
        """
        if self.head is None:
            raise ConfigError("head is None, but a loss needs one. Use a model that has a head.")
        return head_loss(self.head, self.hidden(ids, documents=documents), self.embedding.token.weight, targets)

    def hidden(
        self,
        ids: Tensor,
        *,
        mask: Tensor | None = None,
        segments: Tensor | None = None,
        documents: Tensor | None = None,
        source: Tensor | None = None,
        source_mask: Tensor | None = None,
        memory: Tensor | None = None,
        cache: Cache | None = None,
        tap: Tap = NO_TAP,
    ) -> Tensor:
        """The residual stream after the last norm, before the head: shape (batch, time, dim)."""
        both = self.encoder is not None and self.decoder is not None
        if source is not None and memory is None:
            memory = self.encode(source, mask=source_mask, tap=tap)
        if cache is not None and both:
            cache.memory_mask = source_mask = source_mask if source_mask is not None else cache.memory_mask
        stack = self.decoder or self.encoder
        assert stack is not None
        inner = tap.at("decoder") if both else tap
        x, positions, mask = self._embed(ids, mask, segments, cache, inner)
        out: Tensor = stack(
            x, positions=positions, mask=mask, documents=documents, memory=memory, memory_mask=source_mask,
            cache=cache, tap=inner,
        )  # fmt: skip
        return out

    def encode(
        self, source: Tensor, *, mask: Tensor | None = None, segments: Tensor | None = None, tap: Tap = NO_TAP
    ) -> Tensor:
        """The encoder's output: ids of shape (batch, source time) to (batch, source time, dim)."""
        assert self.encoder is not None
        inner = tap.at("encoder") if self.decoder is not None else tap
        x, positions, mask = self._embed(source, mask, segments, None, inner)
        out: Tensor = self.encoder(x, positions=positions, mask=mask, tap=inner)
        return out

    def _embed(
        self, ids: Tensor, mask: Tensor | None, segments: Tensor | None, cache: Cache | None, tap: Tap
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The first vectors, where they stand (padding does not count), and the mask of all tokens so far."""
        if ids.dim() != 2:
            raise ShapeError(f"ids has shape {tuple(ids.shape)}, but (batch, time) is needed. Add the missing axis.")
        batch, time = ids.shape
        start = 0 if cache is None else cache.length
        mask = (None if mask is None else mask.bool()) if cache is None else cache.extend(mask, batch, time)
        if mask is None:
            positions = torch.arange(start, start + time, device=ids.device)
        else:
            positions = (mask.long().cumsum(dim=1) - 1).clamp(min=0)[:, start:]
        x = self.embedding(ids, positions, start + time, segments=segments, tap=tap.at("embedding"))
        return x, positions, mask


def initialize(model: nn.Module, generator: torch.Generator | None = None) -> None:
    """Start values: matrices normal with deviation 1/√(inputs), those that end a sub-layer 0, embeddings 0.02.

    A block then starts as the identity, and the first logits are near 0: every token equally likely.
    """
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear):
                ends = name.endswith((".output", ".down"))
                deviation = 0.0 if ends else module.in_features**-0.5
                module.weight.normal_(0.0, deviation, generator=generator)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.Embedding):
                module.weight.normal_(0.0, 0.02, generator=generator)
