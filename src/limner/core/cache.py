"""Keys and values already computed, so that each new token costs one row and not the whole text.

A cache is made by the caller and passed in; modules hold nothing between calls. Layers that see everything
keep everything (``ContiguousCache``); layers that see a sliding window keep just the window (``RingCache``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from limner.core.config import ModelConfig, SlidingSpan
from limner.core.errors import ContextError

KeysValues = tuple[Tensor, Tensor]  # each (batch, kv_heads, time, head_dim)


class ContiguousCache:
    """One layer's keys and values, in order, in one block of memory.

    Args:
        keys, values: empty buffers, shape (batch, kv_heads, capacity, head_dim).
    """

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys, self.values = keys, values

    def slots(self, start: int, time: int) -> Tensor:
        """Where in the text the keys that ``append`` will return stand, shape (keys,)."""
        return torch.arange(start + time, device=self.keys.device)

    def append(self, keys: Tensor, values: Tensor, start: int) -> KeysValues:
        """Store what comes at ``start``, and return everything up to and with it."""
        end = start + keys.shape[2]
        self.keys[:, :, start:end] = keys
        self.values[:, :, start:end] = values
        return self.keys[:, :, :end], self.values[:, :, :end]


class RingCache:
    """One layer's last ``window`` keys and values; the newest overwrites the oldest.

    Args:
        keys, values: empty buffers, shape (batch, kv_heads, window, head_dim).
    """

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys, self.values = keys, values
        self.window = keys.shape[2]

    def slots(self, start: int, time: int) -> Tensor:
        """Where in the text the keys that ``append`` will return stand, shape (keys,)."""
        if time == 1:
            held = torch.arange(min(start + 1, self.window), device=self.keys.device)
            return start - (start - held) % self.window
        return torch.arange(start - min(start, self.window - 1), start + time, device=self.keys.device)

    def append(self, keys: Tensor, values: Tensor, start: int) -> KeysValues:
        """Store what comes at ``start``, and return what any of it may see.

        One token: the ring as it lies, in no order. Several: the window before them, in order, and themselves.
        """
        time = keys.shape[2]
        if time == 1:
            slot = start % self.window
            self.keys[:, :, slot : slot + 1] = keys
            self.values[:, :, slot : slot + 1] = values
            held = min(start + 1, self.window)
            return self.keys[:, :, :held], self.values[:, :, :held]
        device = self.keys.device
        before = torch.arange(start - min(start, self.window - 1), start, device=device) % self.window
        seen = (
            torch.cat((self.keys[:, :, before], keys), dim=2),
            torch.cat((self.values[:, :, before], values), dim=2),
        )
        kept = min(time, self.window)
        into = torch.arange(start + time - kept, start + time, device=device) % self.window
        self.keys[:, :, into] = keys[:, :, time - kept :]
        self.values[:, :, into] = values[:, :, time - kept :]
        return seen


@dataclass
class Cache:
    """All layers' keys and values of one batch of texts.

    Attributes:
        layers: one a layer.
        capacity: the most tokens it holds.
        length: tokens held, padding included.
        mask: which of them are real, shape (batch, length); None: all.
        cross: each layer's keys and values of the encoder's output, computed once.
    """

    layers: list[ContiguousCache | RingCache]
    capacity: int
    length: int = 0
    mask: Tensor | None = None
    cross: dict[int, KeysValues] = field(default_factory=dict)
    memory_mask: Tensor | None = None

    @classmethod
    def empty(
        cls,
        config: ModelConfig,
        batch: int,
        capacity: int | None = None,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Cache:
        """A cache for ``batch`` texts of up to ``capacity`` tokens (None: the context length)."""
        capacity = config.context_length if capacity is None else capacity
        layers: list[ContiguousCache | RingCache] = []
        for layer in range(config.stack.num_layers):
            attention = config.stack.block(layer).attention
            window = attention.span.window if isinstance(attention.span, SlidingSpan) else None
            size = capacity if window is None else min(window, capacity)
            shape = (batch, attention.num_kv_heads, size, attention.head_dim)
            kind = ContiguousCache if window is None else RingCache
            layers.append(
                kind(torch.zeros(shape, device=device, dtype=dtype), torch.zeros(shape, device=device, dtype=dtype))
            )
        return cls(layers, capacity)

    def extend(self, mask: Tensor | None, batch: int, time: int) -> Tensor | None:
        """Make room for ``time`` more tokens; returns the mask of all tokens with them, None if all are real.

        Raises:
            ContextError: no room.
        """
        if self.length + time > self.capacity:
            raise ContextError(
                f"The text is {self.length + time} tokens long, but the cache holds {self.capacity}. "
                "Make a larger cache or shorten the text."
            )
        if mask is None and self.mask is None:
            return None
        device = self.layers[0].keys.device
        old = torch.ones(batch, self.length, dtype=torch.bool, device=device) if self.mask is None else self.mask
        new = torch.ones(batch, time, dtype=torch.bool, device=device) if mask is None else mask.bool()
        return torch.cat((old, new), dim=1)
