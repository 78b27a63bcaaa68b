"""Batches of captioned pictures as a pure function of (seed, index), like those of text.

A batch has pictures of one bucket. Each bucket is a row in which its pictures come once an epoch, in another order each
time (``permuted``), and its batches are cut from that row, over the ends of epochs. In the time in which all pictures
together are drawn once, each bucket gives as many batches as it has pictures for, to within one; which bucket is when is
random. So a bucket with few pictures comes up seldom, and none of its pictures is drawn more often than any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from limner.core.errors import ConfigError, DataError
from limner.data.batches import mixed, permuted, prefetched

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from limner.data.picture_shards import PictureSet


@dataclass(frozen=True)
class PictureBatch:
    """Pictures of one shape.

    Args:
        images: shape (batch, 3, height, width), uint8; or what the set holds in their place.
        captions: one of each.
        indices: their numbers in the set.
        parts: which object each pixel shows, shape (batch, height, width) in pixels, uint8; None: not known or not wanted.
    """

    images: Tensor
    captions: list[str]
    indices: list[int]
    parts: Tensor | None = None


class PictureBatches:
    """Training batches of a set of pictures: ``batches(17)`` is the same whenever it is asked for.

    Args:
        pictures: the set.
        batch_size: pictures of a batch on this process.
        seed: of the order, of the captions drawn, and of the flips.
        flip: mirror every other picture, by chance. Off, for captions say left and right.
        parts: give each picture's parts too, where the set has them.
        rank: number of this process among ``world``; together they draw what one process with
            ``world * batch_size`` would.
    Raises:
        DataError: there is no picture.
        ConfigError: a size is not positive, or ``rank`` is not below ``world``.
    """

    def __init__(
        self,
        pictures: PictureSet,
        batch_size: int,
        seed: int,
        *,
        flip: bool = False,
        parts: bool = False,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("world", world)):
            if value < 1:
                raise ConfigError(f"{name} is {value}, but must be at least 1.")
        if not 0 <= rank < world:
            raise ConfigError(f"rank is {rank}, but must be from 0 to world - 1 = {world - 1}.")
        if not len(pictures):
            raise DataError("the set has 0 pictures, but at least 1 is needed. Give more.")
        self.pictures = pictures
        self.batch_size, self.seed, self.flip = batch_size, seed, flip
        self.parts = pictures.parts if parts else None
        self.rank, self.world = rank, world
        self._counts = np.array([len(numbers) for numbers in pictures.numbers])
        self._order = lru_cache(maxsize=2)(self._epoch_order)

    def epoch_of(self, index: int) -> float:
        """How many epochs have been drawn before batch ``index``."""
        return index * self.world * self.batch_size / len(self.pictures)

    def __call__(self, index: int) -> PictureBatch:
        return self.batch(index)

    def batch(self, index: int) -> PictureBatch:
        """Batch ``index``."""
        import torch

        bucket, first = self._place(index)
        together = self.world * self.batch_size
        own = first * together + self.rank * self.batch_size
        visits, places = np.divmod(np.arange(own, own + self.batch_size), self._counts[bucket])
        rows = np.empty(self.batch_size, np.int64)
        for visit in np.unique(visits):
            now = visits == visit
            rows[now] = permuted(places[now], int(self._counts[bucket]), key=mixed(self.seed, int(visit), bucket))
        images = torch.from_numpy(self.pictures.arrays[bucket][rows]).permute(0, 3, 1, 2).contiguous()
        parts = None if self.parts is None else torch.from_numpy(self.parts[bucket][rows])
        indices: list[int] = self.pictures.numbers[bucket][rows].tolist()
        captions = []
        for row, (number, visit) in enumerate(zip(indices, visits.tolist(), strict=True)):
            drawn = mixed(self.seed, visit, number, 1)
            captions.append(self.pictures.caption(number, drawn % self.pictures.num_captions_of(number)))
            if self.flip and mixed(drawn) % 2:
                images[row] = images[row].flip(-1)
                if parts is not None:
                    parts[row] = parts[row].flip(-1)
        return PictureBatch(images, captions, indices, parts)

    def prefetch(self, start: int, stop: int | None = None, *, depth: int = 2) -> Iterator[PictureBatch]:
        """Batches ``start``, ``start + 1``, … (without end if ``stop`` is None), made ahead in a thread."""
        return prefetched(self.batch, start, stop, depth)

    def _place(self, index: int) -> tuple[int, int]:
        """The bucket of a batch, and how many batches that bucket gave before."""
        low, high = 0, 1
        while self._before(high) <= index:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._before(middle) <= index else (low, middle)
        order, ranks = self._order(low)
        place = index - self._before(low)
        bucket = int(order[place])
        return bucket, int(self._given(low)[bucket]) + int(ranks[place])

    def _given(self, epoch: int) -> NDArray[np.int64]:
        """Batches that each bucket has given before an epoch."""
        return np.asarray(epoch * self._counts // (self.world * self.batch_size), dtype=np.int64)

    def _before(self, epoch: int) -> int:
        return int(self._given(epoch).sum())

    def _epoch_order(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The bucket of each batch of an epoch, and its number among those of the same bucket in this epoch."""
        counts = self._given(epoch + 1) - self._given(epoch)
        total = int(counts.sum())
        sorted_buckets = np.repeat(np.arange(len(counts)), counts)
        order = sorted_buckets[permuted(np.arange(total), total, key=mixed(self.seed, epoch, 2))]
        ranks = np.empty(total, np.int64)
        for bucket, count in enumerate(counts.tolist()):
            ranks[order == bucket] = np.arange(count)
        return order, ranks
