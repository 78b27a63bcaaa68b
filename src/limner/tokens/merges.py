"""How byte-pair encoding came to its tokens: every merge of a text, in the order in which they are made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from tokenizers import PreTokenizedString
from tokenizers import Tokenizer as Backend

if TYPE_CHECKING:
    from limner.tokens.tokenizer import Tokenizer


@dataclass(frozen=True)
class Merge:
    """Two neighbours that become one.

    Attributes:
        rank: the place of this merge among all that the tokenizer learned; lower ranks are merged first.
        at: which piece of the word, counted from 0, is merged with the one behind it.
        piece: what they become, by its name in the vocabulary.
    """

    rank: int
    at: int
    piece: str


@dataclass(frozen=True)
class MergedWord:
    """One part of the text that no merge crosses.

    Attributes:
        start, end: where it stands, in characters of the text.
        pieces: what it begins as, by the names in the vocabulary.
    """

    start: int
    end: int
    pieces: list[str]
    merges: list[Merge]

    def result(self) -> list[str]:
        """The pieces that are left after all merges."""
        pieces = self.pieces.copy()
        for merge in self.merges:
            pieces[merge.at : merge.at + 2] = [merge.piece]
        return pieces


class MergeReplay:
    """Replays the merges of one tokenizer; of one that does not merge, ``words`` is always empty.

    Source: Sennrich et al. 2016, arXiv:1508.07909, section 3.2.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        text = tokenizer.to_json()
        model = json.loads(text)["model"]
        self._ranks: dict[tuple[str, str], int] = {}
        if model.get("type") == "BPE":
            pairs = (pair.split(" ", 1) if isinstance(pair, str) else pair for pair in model["merges"])
            self._ranks = {(left, right): rank for rank, (left, right) in enumerate(pairs)}
        self._vocabulary: dict[str, int] = model["vocab"] if self._ranks else {}
        self._prefix = model.get("continuing_subword_prefix") or ""
        self._suffix = model.get("end_of_word_suffix") or ""
        self._bytes = bool(model.get("byte_fallback"))
        self._whole_words = bool(model.get("ignore_merges"))
        self._unknown: str | None = model.get("unk_token")
        self._backend = Backend.from_str(text) if self._ranks else None

    def words(self, text: str) -> list[MergedWord]:
        """The words of a text with their merges.

        Time grows with the square of the longest word, and a tokenizer need not split a text into words at all.

        Returns:
            Empty where the tokenizer does not merge, and where the text has tokens that were added to the vocabulary and
            are found before any merge.
        """
        if self._backend is None:
            return []
        split = PreTokenizedString(text)
        normalizer, splitter = self._backend.normalizer, self._backend.pre_tokenizer
        if normalizer is not None:
            split.normalize(normalizer.normalize)
        if splitter is not None:
            splitter.pre_tokenize(split)
        words = [self._word(word, start, end) for word, (start, end), _ in split.get_splits("original", "char")]
        made = [piece for word in words for piece in word.result()]
        return words if made == [piece.piece for piece in self._tokenizer.pieces(text)] else []

    def _word(self, word: str, start: int, end: int) -> MergedWord:
        if self._whole_words and word in self._vocabulary:
            return MergedWord(start, end, [word], [])
        begin = [piece for place, character in enumerate(word) for piece in self._symbols(word, place, character)]
        pieces = begin.copy()
        merges: list[Merge] = []
        while True:
            ranked = [
                (rank, at) for at, pair in enumerate(pairwise(pieces)) if (rank := self._ranks.get(pair)) is not None
            ]
            if not ranked:
                return MergedWord(start, end, begin, merges)
            rank, at = min(ranked)
            joined = pieces[at] + pieces[at + 1].removeprefix(self._prefix)
            merges.append(Merge(rank, at, joined))
            pieces[at : at + 2] = [joined]

    def _symbols(self, word: str, place: int, character: str) -> list[str]:
        """What a character begins as."""
        symbol = (self._prefix if place else "") + character + (self._suffix if place == len(word) - 1 else "")
        if symbol in self._vocabulary:
            return [symbol]
        if self._bytes:
            return [f"<0x{byte:02X}>" for byte in character.encode()]
        return [] if self._unknown is None else [self._unknown]
