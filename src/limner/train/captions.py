"""Captions as a picture model is trained with them: which are too long, and the vectors of those that were read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from limner.core.errors import counted
from limner.picture.prompts import as_read, framing, pad

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from limner.picture.denoiser import PictureModel
    from limner.tokens import Tokenizer

KEPT_BYTES = 2**30  # of captions' vectors in memory; some 17,000 captions of 20 tokens at 768 float32 numbers


def caption_lengths(tokenizer: Tokenizer, captions: Sequence[str], lower_case: bool) -> list[int]:
    """How many tokens each caption has as a prompt, what frames it included."""
    before, after = framing(tokenizer)
    texts = [as_read(text, lower_case) for text in captions]
    return [len(before) + len(ids) + len(after) for ids in tokenizer.encode_batch(texts)]


def too_long(lengths: Sequence[int], window: int) -> str:
    """A sentence on the captions that do not fit the window; empty where all do."""
    beyond = [length for length in lengths if length > window]
    if not beyond:
        return ""
    return (
        f"{len(beyond):,} of {counted(len(lengths), 'caption')} {'is' if len(beyond) == 1 else 'are'} longer than the "
        f"{window} tokens that are read (the longest has {max(lengths)}); training sees their first {window}"
    )


class FrozenReader:
    """Captions → vectors of an encoder that is not trained, and so need not be asked twice.

    On a processor each caption is read once, alone, and its vectors are kept while there is room: whatever else is in
    its batch, and whether it was read before a run was resumed or after, they are the same bit for bit. Elsewhere a
    whole batch is read each time, which is the same for the same batch.

    Args:
        model: with the encoder's weights.
        rows: captions → ids that fit the window.
    """

    def __init__(self, model: PictureModel, rows: Callable[[Sequence[str]], list[list[int]]]) -> None:
        self.model, self.rows = model, rows
        self.window = model.config.prompt.context_length
        self.kept: dict[str, Tensor] = {}
        self.bytes = 0

    @torch.no_grad()
    def __call__(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Vectors, shape (batch, window, prompt dim), and which of them are real, shape (batch, window)."""
        device = self.model.denoiser.patch.weight.device
        rows = self.rows(captions)
        ids, mask = (part.to(device) for part in pad(rows, self.window))
        with torch.autocast(device.type, enabled=False):  # evaluating and training shall find the same
            if device.type != "cpu":
                return self.model.read_prompt(ids, mask), mask
            found = [self._alone(text, row) for text, row in zip(captions, rows, strict=True)]
        vectors = torch.zeros(*ids.shape, found[0].shape[-1], dtype=found[0].dtype)
        for number, one in enumerate(found):
            vectors[number, : len(one)] = one
        return vectors, mask

    def _alone(self, text: str, row: list[int]) -> Tensor:
        """One caption's vectors, shape (tokens, prompt dim)."""
        if text in self.kept:
            return self.kept[text]
        ids = torch.tensor([row])
        vectors = self.model.read_prompt(ids, torch.ones_like(ids, dtype=torch.bool))[0]
        if self.bytes + vectors.nbytes <= KEPT_BYTES:
            self.kept[text] = vectors.clone()
            self.bytes += vectors.nbytes
        return vectors
