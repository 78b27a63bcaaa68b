"""Which document is training and which is held back, and which was already seen.

The choice hangs on the document's own bytes, so that it stays the same when files are added, renamed or read
in another order. A document is known by its digest: 16 bytes of BLAKE2b of its UTF-8 text.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from limner.core.errors import DataError, counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

DIGEST_BYTES = 16
EXPECTED_HELD_BACK = 10  # fewer drawn by hash would be too uneven a share, or none (once in 20,000 times at 10)
MIN_CORPUS_BYTES = 200  # less than this cannot be divided into two halves that mean anything

Part = Literal["train", "validation"]


def digest(data: bytes) -> bytes:
    """The 16 bytes that a document with these UTF-8 bytes is known by."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def held_back(key: bytes, share: float, seed: int) -> bool:
    """Whether the document with this digest belongs to the ``share`` that is kept for validation."""
    return _draw(key, seed) < share


def _draw(key: bytes, seed: int) -> float:
    """A number in [0, 1) that depends on nothing but the document and the seed."""
    drawn = hashlib.blake2b(key, digest_size=8, key=f"limner split {seed}".encode()).digest()
    return int.from_bytes(drawn, "big") / 2**64


class DigestSet:
    """A set of digests that costs about 30 bytes a document, where a Python set costs about 100.

    Most are in one sorted array, 16 bytes each; the newest eighth is in an ordinary set, merged when it is full.
    """

    _SMALLEST_MERGE = 1 << 16

    def __init__(self) -> None:
        self._sorted: NDArray[np.bytes_] = np.empty(0, dtype=f"S{DIGEST_BYTES}")
        self._recent: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._recent)

    def add(self, key: bytes) -> bool:
        """Take the digest in; False if it was there already."""
        if key in self._recent:
            return False
        if len(self._sorted):
            wanted = np.frombuffer(key, dtype=self._sorted.dtype)
            at = int(np.searchsorted(self._sorted, wanted)[0])
            if at < len(self._sorted) and self._sorted[at] == wanted[0]:
                return False
        self._recent.add(key)
        if len(self._recent) >= max(self._SMALLEST_MERGE, len(self._sorted) // 8):
            new = np.frombuffer(b"".join(self._recent), dtype=self._sorted.dtype)
            self._recent.clear()
            self._sorted = np.concatenate([self._sorted, new])
            self._sorted.sort()
        return True


@dataclass(frozen=True)
class SplitPlan:
    """How a corpus is divided. ``part`` says where a whole document goes; ``cuts`` are the documents cut in two.

    Args:
        share: of the documents, for validation.
        seed: of the draw.
        chosen: digests of the documents held back, when there are few; None draws each by its hash.
        cuts: digest → share of that document (in characters, from its end) to hold back.
    """

    share: float
    seed: int
    chosen: frozenset[bytes] | None = None
    cuts: dict[bytes, float] = field(default_factory=dict)
    note: str | None = None

    def part(self, key: bytes) -> Part:
        """The part that the document with this digest belongs to."""
        if self.chosen is None:
            return "validation" if held_back(key, self.share, self.seed) else "train"
        return "validation" if key in self.chosen else "train"


def plan_split(sizes: Iterable[tuple[bytes, int]], *, share: float, seed: int) -> SplitPlan:
    """Decide how a corpus is divided, after looking at no more than its first few documents.

    If there are so many that about ten or more are to be held back (200 at 5 %), each is drawn by its hash. With
    fewer, they are taken in the order of their hashes while they do not make the validation part more than twice
    as large as asked; if not even one can be taken, the end of the longest document is held back instead.

    Args:
        sizes: digest and size in bytes of each different document; not read further than is needed.
    Raises:
        DataError: all documents together are shorter than ``MIN_CORPUS_BYTES``.
    """
    few: dict[bytes, int] = {}
    enough = EXPECTED_HELD_BACK / share
    for key, size in sizes:
        few[key] = size
        if len(few) >= enough:
            return SplitPlan(share, seed)
    total = sum(few.values())
    if total < MIN_CORPUS_BYTES:
        raise DataError(
            f"the corpus is {counted(total, 'byte')} of text, but at least {MIN_CORPUS_BYTES} are needed to train on some and "
            "hold back the rest. Give more text."
        )
    target = share * total
    chosen: set[bytes] = set()
    taken = 0
    for key in sorted(few, key=lambda key: _draw(key, seed)):
        if taken < target and taken + few[key] <= 2 * target:
            chosen.add(key)
            taken += few[key]
    if chosen:
        note = f"Only {counted(len(few), 'document')}: {len(chosen)} of them ({counted(taken, 'byte')}) held back for validation."
        return SplitPlan(share, seed, frozenset(chosen), {}, note)
    longest = max(few, key=lambda key: (few[key], key))
    note = (
        f"Only {counted(len(few), 'document')}: the last {target:,.0f} bytes of the longest held back for validation."
    )
    return SplitPlan(share, seed, frozenset(), {longest: target / few[longest]}, note)


def plan_whole(keys: Iterable[bytes], *, share: float, seed: int) -> SplitPlan | None:
    """Decide how things that cannot be cut, such as pictures, are divided; None if there is not a single one.

    As ``plan_split`` does, by number and not by size: of few, the first in the order of their hashes are held back.

    Args:
        keys: digests; not read further than is needed.
    Raises:
        DataError: there is only one.
    """
    few: set[bytes] = set()
    for key in keys:
        few.add(key)
        if len(few) >= EXPECTED_HELD_BACK / share:
            return SplitPlan(share, seed)
    if not few:
        return None
    if len(few) == 1:
        raise DataError(
            "the data has 1 picture (copies not counted), but at least 2 are needed to train on some and hold back the rest. "
            "Give more."
        )
    chosen = sorted(few, key=lambda key: _draw(key, seed))[: max(1, round(share * len(few)))]
    note = f"Only {len(few)} different pictures: {len(chosen)} of them held back for validation."
    return SplitPlan(share, seed, frozenset(chosen), {}, note)


def cut_near(text: str, at: int) -> int:
    """The nearest place to cut a text near ``at``: after a blank line, else a line, else a word, else ``at`` itself."""
    slack = max(1, min(at, len(text) - at) // 4)
    low, high = max(1, at - slack), min(len(text) - 1, at + slack)
    for mark in ("\n\n", "\n", " "):
        before, after = text.rfind(mark, low, at), text.find(mark, at, high)
        cuts = [found + len(mark) for found in (before, after) if 0 <= found < len(text) - len(mark)]
        if cuts:
            return min(cuts, key=lambda cut: abs(cut - at))
    return max(1, min(at, len(text) - 1))
