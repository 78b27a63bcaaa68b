"""Batches as a pure function of (seed, index): the step number is all that a resumed run needs to know.

Two ways to cut the row of tokens into windows of ``context_length`` inputs, each with its next token as target:

``align="stream"``    The row is a ring. Each epoch begins at another random place in it and cuts it into windows of
                      equal length; they come in random order. Every token is a target once an epoch, but for the
                      less than ``context_length`` left over, which are others each epoch.
``align="document"``  Best-fit packing (Ding et al. 2024, arXiv:2404.10830): documents longer than the window are cut
                      into windows, the rest are fitted whole into rows, the longest first, each into the fullest
                      row that has room. Every token is a target exactly once an epoch; what room is left is
                      filled up with targets ``IGNORE``. Unlike nanochat's packing, nothing is cropped away.
"""

from __future__ import annotations

import queue
import threading
from bisect import bisect_left, insort
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from limner.core.errors import ConfigError, DataError
from limner.data.shards import IGNORE, Shards

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Integers = NDArray[np.int64]

T = TypeVar("T")

_ROUNDS = 6  # of the Feistel network; four already give a pseudorandom permutation (Luby and Rackoff 1988)


class Batches:
    """Training batches of one part of a corpus.

    Args:
        shards: the tokens.
        batch_size: rows of a batch on this process.
        context_length: inputs of a row.
        seed: of the order.
        align: ``"stream"`` or ``"document"``, see the head of the module.
        rank: number of this process among ``world``; together they draw what one process with
            ``world * batch_size`` would.
    Attributes:
        windows_per_epoch: rows in which all tokens are seen once.
        filled: share of the targets that are tokens (1 but for the room left by ``align="document"``).
    Raises:
        DataError: there are not more tokens than ``context_length``.
        ConfigError: a size is not positive, ``rank`` is not below ``world``, or ``align`` is unknown.
    """

    def __init__(
        self,
        shards: Shards,
        batch_size: int,
        context_length: int,
        seed: int,
        *,
        align: Literal["stream", "document"] = "stream",
        rank: int = 0,
        world: int = 1,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("context_length", context_length), ("world", world)):
            if value < 1:
                raise ConfigError(f"{name} is {value}, but must be at least 1.")
        if not 0 <= rank < world:
            raise ConfigError(f"rank is {rank}, but must be from 0 to world - 1 = {world - 1}.")
        if align not in ("stream", "document"):
            raise ConfigError(f"align is {align!r}, but must be 'stream' or 'document'.")
        check_length(shards, context_length)
        self.shards = shards
        self.batch_size, self.context_length, self.seed = batch_size, context_length, seed
        self.rank, self.world = rank, world
        self._packing = Packing(shards, context_length) if align == "document" else None
        if self._packing:
            self.windows_per_epoch = self._packing.num_rows
            self.filled = shards.num_tokens / (self._packing.num_rows * context_length)
        else:
            self.windows_per_epoch = shards.num_tokens // context_length
            self.filled = 1.0

    def epoch_of(self, index: int) -> float:
        """How many epochs have been drawn before batch ``index``."""
        return index * self.world * self.batch_size / self.windows_per_epoch

    def batch(self, index: int) -> tuple[Integers, Integers]:
        """Inputs and targets of batch ``index``, each (batch, time), int64; the same whenever it is asked for."""
        inputs, targets, _ = self._batch(index, numbered=False)
        return inputs, targets

    def batch_with_documents(self, index: int) -> tuple[Integers, Integers, Integers]:
        """``batch``, and for each input the number of its document in the row, from 0, for keeping them apart."""
        return self._batch(index, numbered=True)

    def _batch(self, index: int, *, numbered: bool) -> tuple[Integers, Integers, Integers]:
        shape = (self.batch_size, self.context_length)
        inputs, targets, documents = (np.zeros(shape, np.int64) for _ in range(3))
        first = (index * self.world + self.rank) * self.batch_size
        epochs, places = np.divmod(np.arange(first, first + self.batch_size), self.windows_per_epoch)
        for epoch in np.unique(epochs):
            rows = np.flatnonzero(epochs == epoch)
            windows = permuted(places[rows], self.windows_per_epoch, key=mixed(self.seed, int(epoch)))
            for row, window in zip(rows.tolist(), windows.tolist(), strict=True):
                if self._packing:
                    self._packed_row(window, int(epoch), inputs[row], targets[row], documents[row])
                else:
                    self._stream_row(
                        window, int(epoch), inputs[row], targets[row], documents[row] if numbered else None
                    )
        return inputs, targets, documents

    def _stream_row(
        self, window: int, epoch: int, inputs: Integers, targets: Integers, documents: Integers | None
    ) -> None:
        total, time = self.shards.num_tokens, self.context_length
        start = (mixed(self.seed, epoch, 1) + window * time) % total
        tokens = self._ring(start, time + 1)
        inputs[:], targets[:] = tokens[:-1], tokens[1:]
        if documents is None:
            return
        places = np.arange(start, start + time)
        numbers = np.searchsorted(self.shards.document_starts, places % total, side="right")
        numbers += np.where(places >= total, self.shards.num_documents, 0)
        documents[:] = numbers - numbers[0]

    def _packed_row(self, row: int, epoch: int, inputs: Integers, targets: Integers, documents: Integers) -> None:
        assert self._packing is not None
        at = 0
        for number, (start, length) in enumerate(self._packing.row(row, mixed(self.seed, epoch, 2))):
            tokens = self._ring(start, length + 1)
            inputs[at : at + length], targets[at : at + length] = tokens[:-1], tokens[1:]
            documents[at : at + length] = number
            at += length
        targets[at:] = IGNORE
        documents[at:] = documents[at - 1] + 1

    def _ring(self, start: int, length: int) -> NDArray[np.integer]:
        end = start + length
        total = self.shards.num_tokens
        if end <= total:
            return self.shards.tokens[start:end]
        return np.concatenate([self.shards.tokens[start:], self.shards.tokens[: end - total]])

    def prefetch(
        self, start: int, stop: int | None = None, *, depth: int = 2, documents: bool = False
    ) -> Iterator[tuple[Integers, ...]]:
        """Batches ``start``, ``start + 1``, … (without end if ``stop`` is None), made ahead in a thread."""
        make: Callable[[int], tuple[Integers, ...]] = self.batch_with_documents if documents else self.batch
        return prefetched(make, start, stop, depth)


def check_length(shards: Shards, context_length: int) -> None:
    """Check that there is a window to be drawn.

    Raises:
        DataError: there are not more tokens than ``context_length``.
    """
    if shards.num_tokens <= context_length:
        raise DataError(
            f"the training part has {shards.num_tokens:,} tokens, but a context length of {context_length:,} needs at "
            f"least {context_length + 1:,}. Give more text, or a context length of at most {shards.num_tokens - 1:,}."
        )


class Packing:
    """Which pieces of which documents share a row: a plan made once from lengths, the same for all epochs.

    Each epoch another of the pieces of the same length takes the place in the plan, so that a document's
    companions in its row change.
    """

    def __init__(self, shards: Shards, context_length: int) -> None:
        starts = np.asarray(shards.document_starts)
        lengths = np.diff(starts, append=shards.num_tokens)
        counts = -(-lengths // context_length)  # windows of each document
        first = np.repeat(np.cumsum(counts) - counts, counts)
        within = np.arange(len(first)) - first
        begins = np.repeat(starts, counts) + within * context_length
        sizes = np.minimum(np.repeat(lengths, counts) - within * context_length, context_length)
        keep = sizes > 0
        begins, sizes = begins[keep], sizes[keep]
        order = np.argsort(-sizes, kind="stable")
        self._begins, self._sizes = begins[order], sizes[order]
        # The pieces of one length lie together: [class start, class start + class size).
        self._class_start = np.searchsorted(-self._sizes, -self._sizes, side="left")
        self._class_size = np.searchsorted(-self._sizes, -self._sizes, side="right") - self._class_start
        rows = _best_fit(self._sizes, context_length)
        self.num_rows = int(rows.max()) + 1
        self._by_row = np.argsort(rows, kind="stable")
        self._row_start = np.searchsorted(rows[self._by_row], np.arange(self.num_rows + 1))

    def row(self, number: int, key: int) -> Iterator[tuple[int, int]]:
        """(start, length) of the pieces of a row, the longest first."""
        for slot in self._by_row[self._row_start[number] : self._row_start[number + 1]].tolist():
            first, size = int(self._class_start[slot]), int(self._class_size[slot])
            turned = first + (slot - first + mixed(key, int(self._sizes[slot]))) % size
            yield int(self._begins[turned]), int(self._sizes[turned])


def _best_fit(sizes: Integers, room: int) -> NDArray[np.int64]:
    """The row of each piece: pieces come longest first, each goes into the fullest row that can take it."""
    rows = np.empty(len(sizes), np.int64)
    open_rows: dict[int, list[int]] = {}  # room left → rows with just that much
    rooms: list[int] = []  # the keys of open_rows, rising
    count = 0
    for piece, size in enumerate(sizes.tolist()):
        at = bisect_left(rooms, size)
        if at == len(rooms):
            row, left = count, room - size
            count += 1
        else:
            had = rooms[at]
            row, left = open_rows[had].pop(), had - size
            if not open_rows[had]:
                del open_rows[had], rooms[at]
        rows[piece] = row
        if left:
            if left not in open_rows:
                open_rows[left] = []
                insort(rooms, left)
            open_rows[left].append(row)
    return rows


# ── random order without holding it ────────────────────────────────────────────────────────────────────────


def permuted(places: Integers, size: int, *, key: int) -> Integers:
    """Where each of ``places`` (from 0 to size - 1) lands in the permutation of ``size`` that ``key`` names.

    A Feistel network over the next power of four, walked until it is below ``size``; so nothing is held in memory,
    whatever the size.
    Source: Black and Rogaway 2002, "Ciphers with arbitrary finite domains" (cycle walking).
    """
    half = max(1, (max(size - 1, 1).bit_length() + 1) // 2)
    mask = np.uint64((1 << half) - 1)
    shift = np.uint64(half)
    keys = [np.uint64(mixed(key, number)) for number in range(_ROUNDS)]
    result = places.astype(np.uint64)
    wandering = np.ones(result.shape, dtype=bool)
    while wandering.any():
        value = result[wandering]
        left, right = value >> shift, value & mask
        for round_key in keys:
            left, right = right, left ^ (_scrambled(right ^ round_key) & mask)
        result[wandering] = (left << shift) | right
        wandering = result >= size
    return result.astype(np.int64)


def _scrambled(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele et al. 2014); products wrap around on purpose."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def mixed(*values: int) -> int:
    """One 62-bit number out of several; ``_scrambled`` in plain numbers, which is quicker for one."""
    state = 0
    for value in values:
        state = (state + 0x9E3779B97F4A7C15 + value) % 2**64
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    return state >> 2


# ── making batches ahead ───────────────────────────────────────────────────────────────────────────────────


def prefetched(make: Callable[[int], T], start: int, stop: int | None = None, depth: int = 2) -> Iterator[T]:
    """``make(start)``, ``make(start + 1)``, … computed up to ``depth`` ahead in a thread; its errors are raised here."""
    ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(depth)
    ended = threading.Event()

    def work() -> None:
        index = start
        while not ended.is_set() and (stop is None or index < stop):
            item: tuple[T | None, BaseException | None]
            try:
                item = (make(index), None)
            except BaseException as error:
                item = (None, error)
            while not ended.is_set():
                try:
                    ready.put(item, timeout=0.1)
                    break
                except queue.Full:
                    continue
            if item[1] is not None:
                return
            index += 1

    thread = threading.Thread(target=work, name="limner-prefetch", daemon=True)
    thread.start()
    try:
        given = start
        while stop is None or given < stop:
            value, error = ready.get()
            if error is not None:
                raise error
            yield value  # type: ignore[misc]
            given += 1
    finally:
        ended.set()
        thread.join()
