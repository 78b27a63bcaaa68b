"""Tokens on disk: one long row of numbers, cut into files, with the place where each document begins.

Layout of a part (``train`` or ``validation``) in its folder::

    train-00000.bin, train-00001.bin, …   the tokens, uint16 or uint32, little-endian, nothing else
    train-documents.bin                    (start, text bytes) of each document, two int64

The order is begin token, tokens of the document's text, begin token of the next, and so on (see ``frame``). A file
holds at most ``SHARD_BYTES``; documents may run over from one file into the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import numpy as np

from limner.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import BinaryIO, Protocol

    from numpy.typing import DTypeLike, NDArray

    class Encoder(Protocol):
        """What shards need of a tokenizer."""

        @property
        def vocab_size(self) -> int: ...
        @property
        def begin_id(self) -> int | None: ...
        @property
        def end_id(self) -> int | None: ...
        def encode_batch(self, texts: list[str], /) -> list[list[int]]: ...


SHARD_BYTES = 256 << 20
IGNORE = -100  # a target that is not scored; what torch's cross-entropy ignores by default


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """uint16 for up to 65,536 tokens, else uint32."""
    return np.dtype("<u2") if vocab_size <= 1 << 16 else np.dtype("<u4")


def frame(tokenizer: Encoder) -> tuple[list[int], list[int]]:
    """What stands before and after each document.

    The begin token before, which with most tokenizers also ends the document before. Where begin and end differ
    (Llama), both; where there is only an end token (Qwen), that one, before; else nothing.
    """
    begin, end = tokenizer.begin_id, tokenizer.end_id
    before = begin if begin is not None else end
    return [] if before is None else [before], [] if end is None or end == before else [end]


class TokenRow:
    """Tokens in several files, read as one array: ``row[i]``, ``row[a:b]``, ``len(row)``."""

    def __init__(self, files: Sequence[NDArray[Any]], dtype: DTypeLike) -> None:
        self._files = list(files)
        self._starts = np.concatenate([[0], np.cumsum([len(file) for file in files], dtype=np.int64)])
        self.dtype = np.dtype(dtype)

    def __len__(self) -> int:
        return int(self._starts[-1])

    @overload
    def __getitem__(self, place: int) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> NDArray[Any]: ...
    def __getitem__(self, place: int | slice) -> int | NDArray[Any]:
        if isinstance(place, slice):
            start, stop, step = place.indices(len(self))
            assert step == 1, "tokens are read in steps of one"
            return self._read(start, max(start, stop))
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        place %= len(self)
        return int(self._read(place, place + 1)[0])

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self._read(0, len(self)), dtype=dtype)

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        pieces = []
        for number in range(first, len(self._files)):
            begin = int(self._starts[number])
            if begin >= stop:
                break
            pieces.append(self._files[number][max(start - begin, 0) : stop - begin])
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate(pieces) if pieces else np.empty(0, self.dtype)


class Shards:
    """The tokens of one part of a corpus, memory-mapped.

    Attributes:
        tokens: all of them as one row (``TokenRow``).
        document_starts: place of each document's first token, shape (documents,), int64, rising.
        document_bytes: UTF-8 bytes of each document's text, shape (documents,).
        num_tokens, num_documents: how many.
        num_bytes: UTF-8 bytes of all the text, by which bits per byte are counted.
    """

    def __init__(self, tokens: TokenRow, documents: NDArray[np.int64]) -> None:
        self.tokens = tokens
        self._documents = documents
        self.num_bytes = int(documents[:, 1].sum()) if len(documents) else 0

    @property
    def document_starts(self) -> NDArray[np.int64]:
        return self._documents[:, 0]

    @property
    def document_bytes(self) -> NDArray[np.int64]:
        return self._documents[:, 1]

    @property
    def num_tokens(self) -> int:
        return len(self.tokens)

    @property
    def num_documents(self) -> int:
        return len(self._documents)

    @classmethod
    def open(cls, folder: Path, part: str, files: Sequence[str], dtype: str) -> Shards:
        """Map the files of a part; their sizes were checked by the caller."""
        # np.asarray: still the map, but slices of it cost a tenth of what slices of a np.memmap do.
        maps: list[NDArray[Any]] = [np.asarray(np.memmap(folder / name, dtype=dtype, mode="r")) for name in files]
        documents = np.asarray(np.memmap(folder / f"{part}-documents.bin", dtype="<i8", mode="r")).reshape(-1, 2)
        return cls(TokenRow(maps, dtype), documents)

    @classmethod
    def from_texts(cls, texts: Iterable[str], tokenizer: Encoder) -> Shards:
        """Tokenize a few documents in memory, such as a file to evaluate on.

        Raises:
            DataError: there is not a single token in them.
        """
        dtype = token_dtype(tokenizer.vocab_size)
        before, after = frame(tokenizer)
        pieces, documents, place, own = [], [], 0, 0
        for text in texts:
            ids = tokenizer.encode_batch([text])[0]
            own += len(ids)
            if ids:
                documents.append((place, len(text.encode())))
                pieces.append(np.array([*before, *ids, *after], dtype=dtype))
                place += len(pieces[-1])
        if not own:
            raise DataError("the text has 0 tokens, but at least 1 is needed. Give more.")
        return cls(TokenRow([np.concatenate(pieces)], dtype), np.array(documents, dtype=np.int64))

    def first(self, num_tokens: int) -> Shards:
        """The first documents, whole, up to ``num_tokens`` tokens in all; one document at the least."""
        ends = np.append(self.document_starts[1:], self.num_tokens)
        keep = max(1, int(np.searchsorted(ends, num_tokens, side="right")))
        return Shards(TokenRow([self.tokens[: int(ends[keep - 1])]], self.tokens.dtype), self._documents[:keep])

    def windows(
        self, context_length: int, stride: int | None = None, *, batch_size: int = 1, documents_apart: bool = False
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]]:
        """Overlapping windows in order, in which every token but the very first is scored exactly once.

        Each target is predicted from at least ``context_length - stride`` tokens before it, as far as there are any.

        Args:
            context_length: tokens a window holds.
            stride: how far a window lies from the one before; None is half the context length.
            batch_size: windows at a time.
            documents_apart: begin anew with each document, so that none sees the one before; its last target is
                the begin token of the next.
        Yields:
            Inputs and targets, int64, and which targets count, bool, all of shape (windows, time); shorter windows
            are filled up on the right with token 0, not counted.
        Raises:
            ConfigError: the stride is not between 1 and the context length.
            DataError: there are fewer than two tokens.
        """
        stride = max(1, context_length // 2) if stride is None else stride
        if not 1 <= stride <= context_length:
            raise ConfigError(f"stride is {stride}, but must be from 1 to the context length {context_length}.")
        if self.num_tokens < 2:
            raise DataError(
                f"the text has {self.num_tokens} token, but at least 2 are needed to predict one. Give more."
            )
        pending: list[tuple[int, int, int]] = []
        for window in self._window_places(context_length, stride, documents_apart):
            pending.append(window)
            if len(pending) == batch_size:
                yield self._window_batch(pending)
                pending = []
        if pending:
            yield self._window_batch(pending)

    def _window_places(self, context: int, stride: int, apart: bool) -> Iterator[tuple[int, int, int]]:
        """(first input, last input + 1, first target that counts) of each window."""
        last = self.num_tokens - 1  # inputs end before this place
        starts = self.document_starts if apart else self.document_starts[:1]
        for number, begin in enumerate(starts):
            end = min(int(starts[number + 1]), last) if number + 1 < len(starts) else last
            scored, start = int(begin), int(begin)
            while scored < end:
                stop = min(start + context, end)
                yield start, stop, scored
                scored = stop
                start = start + stride if stop < end else end

    def _window_batch(
        self, places: list[tuple[int, int, int]]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        width = max(stop - start for start, stop, _ in places)
        inputs = np.zeros((len(places), width), dtype=np.int64)
        targets = np.zeros_like(inputs)
        counts = np.zeros(inputs.shape, dtype=bool)
        for row, (start, stop, scored) in enumerate(places):
            tokens = self.tokens[start : stop + 1]
            inputs[row, : stop - start] = tokens[:-1]
            targets[row, : stop - start] = tokens[1:]
            counts[row, scored - start : stop - start] = True
        return inputs, targets, counts


class ShardWriter:
    """Writes the files of one part; use it as a context manager."""

    def __init__(self, folder: Path, part: str, dtype: np.dtype[Any], shard_bytes: int = SHARD_BYTES) -> None:
        self._folder, self._part, self._dtype = folder, part, dtype
        self._room = shard_bytes // dtype.itemsize
        self._documents = (folder / f"{part}-documents.bin").open("wb")
        self._file: BinaryIO | None = None
        self._in_file = 0
        self.files: list[str] = []
        self.num_tokens = self.num_documents = self.num_bytes = 0

    def add(self, ids: NDArray[Any], text_bytes: int) -> None:
        """Append one document, its begin token included."""
        self._documents.write(np.array([self.num_tokens, text_bytes], dtype="<i8").tobytes())
        self.num_tokens += len(ids)
        self.num_documents += 1
        self.num_bytes += text_bytes
        ids = ids.astype(self._dtype, copy=False)
        while len(ids):
            if self._file is None or self._in_file == self._room:
                self._close_file()
                name = f"{self._part}-{len(self.files):05d}.bin"
                self._file = (self._folder / name).open("wb")
                self.files.append(name)
                self._in_file = 0
            now = ids[: self._room - self._in_file]
            self._file.write(now.tobytes())
            self._in_file += len(now)
            ids = ids[len(now) :]

    def _close_file(self) -> None:
        if self._file is not None:
            _sync_and_close(self._file)
            self._file = None

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_file()
        _sync_and_close(self._documents)


def _sync_and_close(file: BinaryIO) -> None:
    import os

    with file:
        file.flush()
        os.fsync(file.fileno())
