"""Reading with an encoder-only model (BERT): texts to vectors, and words for blanks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, overload

import torch
from torch import Tensor

from limner.core.errors import ConfigError, ContextError, TokenizerError
from limner.core.tap import NO_TAP, Recorder
from limner.core.transformer import Transformer
from limner.text.generator import check_vocabulary
from limner.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from limner import TextChange, TextTrace

POOLINGS = ("mean", "first", "none")
BATCH = 32  # texts in one pass


@dataclass(frozen=True)
class Filling:
    """One token for a blank.

    Attributes:
        text: the token as it would stand in the text.
        probability: as the model gives it.
    """

    id: int
    text: str
    probability: float


class TextEncoder:
    """A model that reads a whole text at once.

    Args:
        model: encoder-only; set to evaluation mode here.
        tokenizer: the one the model was trained with.
        card: what is known of the model, ``name`` and ``path`` among it.
    Raises:
        ConfigError: the model has a decoder.
        TokenizerError: the tokenizer has more tokens than the model.
    """

    def __init__(self, model: Transformer, tokenizer: Tokenizer, *, card: Mapping[str, Any] | None = None) -> None:
        if model.config.decoder is not None or model.config.encoder is None:
            raise ConfigError(
                "the model has a decoder, but only an encoder-only model is read so. Use TextGenerator for a decoder."
            )
        check_vocabulary(model, tokenizer)
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.card = dict(card or {})
        self.context_length = model.config.context_length
        self.device = model.embedding.token.weight.device
        self.opening = list(tokenizer.opening) or [id for id in [tokenizer.begin_id] if id is not None]
        self.closing = list(tokenizer.closing) or [id for id in [tokenizer.end_id] if id is not None]

    def __repr__(self) -> str:
        return f"TextEncoder({self.card.get('name', 'a model')}, context of {self.context_length} tokens)"

    @overload
    def encode(
        self,
        texts: str | Sequence[str],
        *,
        pooling: Literal["mean", "first"] = ...,
        layer: int = ...,
        normalize: bool = ...,
    ) -> NDArray[np.float32]: ...

    @overload
    def encode(  # type: ignore[overload-overlap]
        self, texts: str, *, pooling: Literal["none"], layer: int = ..., normalize: bool = ...
    ) -> NDArray[np.float32]: ...

    @overload
    def encode(
        self, texts: Sequence[str], *, pooling: Literal["none"], layer: int = ..., normalize: bool = ...
    ) -> list[NDArray[np.float32]]: ...

    @torch.inference_mode()
    def encode(
        self,
        texts: str | Sequence[str],
        *,
        pooling: Literal["mean", "first", "none"] = "mean",
        layer: int = -1,
        normalize: bool = False,
    ) -> NDArray[np.float32] | list[NDArray[np.float32]]:
        """Vectors for texts.

        Args:
            pooling: ``"mean"`` of all tokens' vectors, those that frame the text included; ``"first"``: that of
                the first token; ``"none"``: all of them.
            layer: 0: the embeddings; 1: after the first layer, and so on; -1: after the last, its norm included.
            normalize: make each vector's length 1.
        Returns:
            float32; for one text shape (dim,), for a list (texts, dim). Without pooling (tokens, dim), for a list
            a list of these.
        Raises:
            ConfigError: unknown pooling, or no such layer.
            ContextError: a text is longer than the context window.
        Source: mean pooling, Reimers & Gurevych 2019, arXiv:1908.10084.
        """
        import numpy as np

        if pooling not in POOLINGS:
            raise ConfigError(f"pooling is {pooling!r}, but it is one of {', '.join(POOLINGS)}. Choose one of them.")
        layers = self.model.config.stack.num_layers
        if not -layers - 1 <= layer <= layers:
            raise ConfigError(
                f"layer is {layer}, but the model has {layers}. Choose from 0 to {layers}, or -1 for the last."
            )
        rows = [self.read(text) for text in ([texts] if isinstance(texts, str) else texts)]
        vectors: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(rows)
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        for start in range(0, len(rows), BATCH):
            chosen = order[start : start + BATCH]
            hidden, mask = self._hidden([rows[index] for index in chosen], layer % (layers + 1))
            if pooling == "mean":
                hidden = (hidden * mask.unsqueeze(-1)).sum(dim=1) / mask.sum(dim=1, keepdim=True)
            elif pooling == "first":
                hidden = hidden[:, 0]
            if normalize:
                hidden = torch.nn.functional.normalize(hidden, dim=-1)
            for index, vector in zip(chosen, hidden.cpu().numpy(), strict=True):
                vectors[index] = vector[: len(rows[index])].copy() if pooling == "none" else vector
        if isinstance(texts, str):
            return vectors[0]
        if pooling == "none":
            return vectors
        return np.stack(vectors) if vectors else np.empty((0, self.model.config.dim), np.float32)

    @torch.inference_mode()
    def fill_mask(self, text: str, top: int = 5) -> list[list[Filling]]:
        """The likeliest tokens for each blank.

        Args:
            text: with the tokenizer's mask token (BERT's ``[MASK]``) where something is to be filled in.
        Returns:
            For each blank, in order, its ``top`` fillings, the likeliest first.
        Raises:
            ConfigError: ``top`` is not positive; the model has no head.
            TokenizerError: there is no mask token, or none in the text.
        """
        tokenizer = self.tokenizer
        if top < 1:
            raise ConfigError(f"top is {top}, but at least one filling is shown. Choose 1 or more.")
        if self.model.head is None:
            raise ConfigError("the model's head is None, but filling blanks needs one. Load the model with its head.")
        if tokenizer.mask_id is None:
            raise TokenizerError("mask_id is None, but blanks need a mask token. Use a model trained with one.")
        ids = self.read(text, special=True)
        blanks = [place for place, id in enumerate(ids) if id == tokenizer.mask_id]
        if not blanks:
            mask = tokenizer.piece(tokenizer.mask_id)
            raise TokenizerError(f"the text is {text[:60]!r}, but it has no blank. Write {mask} where one is wanted.")
        logits = self.model(torch.tensor([ids], device=self.device))[0, blanks, : tokenizer.vocab_size]
        best = logits.float().softmax(dim=-1).topk(min(top, tokenizer.vocab_size))
        return [
            [
                Filling(id, tokenizer.decode([id], skip_special=False), share)
                for share, id in zip(shares, found, strict=True)
            ]
            for shares, found in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]

    def read(self, text: str, *, special: bool = False) -> list[int]:
        """The ids that the model reads: the text's own, framed as it was trained (BERT: ``[CLS]`` … ``[SEP]``).

        Raises:
            ContextError: more than the context window holds.
            TokenizerError: there is nothing to read.
        """
        ids = [*self.opening, *self.tokenizer.encode(text, special=special), *self.closing]
        if len(ids) > self.context_length:
            raise self._too_long(len(ids))
        if not ids:
            raise TokenizerError(
                "the text is empty, but this tokenizer frames texts with nothing. Give a word or more."
            )
        return ids

    def check(self, ids: Sequence[int]) -> list[int]:
        """Ids that are read just as they are.

        Raises:
            ContextError: more than the context window holds.
            TokenizerError: there are none, or one is not the model's.
        """
        ids = [int(id) for id in ids]
        vocab_size = self.model.config.vocab_size
        wrong = [id for id in ids if not 0 <= id < vocab_size]
        if wrong or not ids:
            what = f"an id of the text is {wrong[0]}" if wrong else "the text's list of ids is empty"
            raise TokenizerError(f"{what}, but ids run from 0 to {vocab_size - 1}. Give ids of this model's tokenizer.")
        if len(ids) > self.context_length:
            raise self._too_long(len(ids))
        return ids

    def _too_long(self, tokens: int) -> ContextError:
        return ContextError(
            f"the text is {tokens} tokens long, but the context window of the model holds {self.context_length}. "
            "Shorten it or cut it into parts."
        )

    def token_text(self, id: int) -> str:
        """What a token stands for, with the signs by which its tokenizer joins words; of a special token its name."""
        return self.tokenizer.piece(id)

    def trace(
        self,
        source: str | Sequence[int],
        *,
        keep: str | Iterable[str] | None = None,
        changes: Iterable[TextChange | Mapping[str, Any]] = (),
    ) -> TextTrace:
        """Read a text and keep what happened: see ``limner.trace_text``."""
        from limner import trace_text

        return trace_text(self, source, keep=keep, changes=changes)

    def _hidden(self, rows: list[list[int]], layer: int) -> tuple[Tensor, Tensor]:
        """Vectors after a layer, float32, shape (rows, longest, dim), and the mask of real tokens."""
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        longest = int(lengths.max())
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=self.device)
        mask = torch.arange(longest, device=self.device) < lengths[:, None]
        last = layer == self.model.config.stack.num_layers
        name = "embedding.output" if layer == 0 else f"layer.{layer - 1}.residual"
        tap = NO_TAP if last else Recorder([name], keep=lambda value: value)
        hidden = self.model.hidden(ids, mask=None if bool(mask.all()) else mask, tap=tap)
        if isinstance(tap, Recorder):
            hidden = tap[name]
        return hidden.float(), mask
