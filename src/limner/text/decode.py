"""The inner loop of writing: a prompt in one pass, then one token a row at a time.

Everything that knows how a model is run while it writes is here, behind three calls, so that a faster way
to do the same can take its place.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from limner.core.cache import Cache
from limner.core.tap import NO_TAP, Tap
from limner.core.transformer import Transformer
from limner.text.fast_decode import FastModel


class Decoder:
    """Runs a decoder-only model over rows of tokens that grow at the right.

    Call it under ``torch.inference_mode()``.

    Args:
        batch: how many rows ``prefill`` will bring.
        capacity: the most tokens a row may come to, padding included; memory for all is taken at once.
        expected_tokens: about how many steps will follow, so that preparing for them is done when it pays.
        dtype: of the cache; None: the model's.
        tap: sees every forward pass, and may change it.
    """

    def __init__(
        self,
        model: Transformer,
        batch: int,
        capacity: int,
        *,
        expected_tokens: int = 0,
        dtype: torch.dtype | None = None,
        tap: Tap = NO_TAP,
    ) -> None:
        self.model, self.tap = model, tap
        self.expected_tokens = expected_tokens
        weight = model.embedding.token.weight
        self.cache = Cache.empty(model.config, batch, capacity, device=weight.device, dtype=dtype or weight.dtype)
        plain = dtype in (None, weight.dtype) and tap is NO_TAP  # the fast way has nothing to look into
        self._fast = FastModel.prepare(model, capacity, expected_tokens=expected_tokens) if plain else None

    @property
    def full(self) -> bool:
        """Whether there is no room for another step."""
        return self.cache.length >= self.cache.capacity

    def prefill(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Read the rows so far, in one pass.

        Args:
            ids: shape (batch, time), padding at the left.
            mask: False for padding, shape (batch, time); None: there is none.
        Returns:
            Logits for what follows each row, shape (batch, vocab_size), in the model's dtype.
        """
        hidden = self.model.hidden(ids, mask=mask, cache=self.cache, tap=self.tap)
        return self.model.logits(hidden[:, -1:], tap=self.tap)[:, -1]

    def step(self, ids: Tensor) -> Tensor:
        """One token more in each row.

        Args:
            ids: shape (batch,).
        Returns:
            Logits for what follows, shape (batch, vocab_size), in the model's dtype or, the fast way, float32.
        """
        if self._fast is not None:
            return self._fast.step(ids, self.cache)
        logits: Tensor = self.model(ids[:, None], cache=self.cache, tap=self.tap)
        return logits[:, -1]

    def take(self, rows: Sequence[int]) -> None:
        """Go on with these rows, in this order; a row named twice is copied, one not named is dropped."""
        chosen = torch.tensor(rows, device=self.cache.layers[0].keys.device)
        for layer in self.cache.layers:
            layer.keys, layer.values = layer.keys[chosen], layer.values[chosen]
        if self.cache.mask is not None:
            self.cache.mask = self.cache.mask[chosen]
        if self._fast is not None:
            self._fast.restart()


def pad_left(rows: Sequence[Sequence[int]], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor | None]:
    """Rows of ids as one tensor, the shorter ones padded at the left so that all end in the same column.

    Returns:
        Ids, shape (rows, longest), and the mask that is False for padding, None where there is none.
    """
    longest = max(len(row) for row in rows)
    ids = torch.tensor([[0] * (longest - len(row)) + list(row) for row in rows], device=device)
    if all(len(row) == longest for row in rows):
        return ids, None
    starts = torch.tensor([longest - len(row) for row in rows], device=device)
    return ids, torch.arange(longest, device=device) >= starts[:, None]
