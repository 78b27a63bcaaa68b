"""Text as it is written: token by token, and never half a character."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limner.tokens.tokenizer import Tokenizer


class StreamDecoder:
    """Turns ids into text as they come.

        stream = tokenizer.stream()
        for id in ids:
            print(stream.push(id), end="")
        print(stream.finish())

    All that ``push`` and ``finish`` return, joined, is ``tokenizer.decode(ids)``. A token that stops in the
    middle of a character gives nothing until the character is whole; bytes that can no longer become one are
    shown as "�". (With byte fallback the library turns a whole run of bytes into "�" when any of it is wrong,
    seen only at its end; here the characters that were whole are kept.)
    """

    def __init__(self, tokenizer: Tokenizer, *, skip_special: bool = True) -> None:
        self._tokenizer = tokenizer
        self._skip_special = skip_special
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")
        self._before: list[int] = []  # the token before, which settles how the next one is joined to it

    def push(self, id: int) -> str:
        """The text that this token makes certain, often all its own, sometimes none."""
        tokenizer = self._tokenizer
        if tokenizer.is_special(id) and self._skip_special:
            return ""
        if tokenizer.adds_bytes(id):
            data = tokenizer.token_bytes(id, special=not self._skip_special)
            if tokenizer.byte_level:
                return self._bytes.decode(data)
            if not data.isascii():  # what is, goes on below, as a text's first space may be one to be stripped
                self._before = tokenizer.ascii_byte
                return self._bytes.decode(data)
        left = self._bytes.decode(b"", final=True)
        self._bytes.reset()
        already = self._decode(self._before)
        joined = self._decode([*self._before, id])
        if tokenizer.piece(id):
            self._before = [id]
        return left + (joined[len(already) :] if joined.startswith(already) else joined)

    def finish(self) -> str:
        """What was held back: "�" for a character that never became whole."""
        left = self._bytes.decode(b"", final=True)
        self._bytes.reset()
        self._before = []
        return left

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special=self._skip_special) if ids else ""
