from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.core.errors import ConfigError, DataError
from limner.data import PictureBatches, PictureSet, PictureSetWriter

SHAPES = [(2, 2), (1, 4), (4, 1)]
COUNTS = st.lists(st.integers(0, 9), min_size=3, max_size=3).filter(any)


def made(folder: Path, counts: list[int], captions: int = 1) -> PictureSet:
    """Picture n is filled with n, the corner with n + 100, and its captions are "n.0", "n.1", …"""
    with PictureSetWriter(folder, SHAPES) as writer:
        number = 0
        for turn in range(max(counts)):
            for bucket, count in enumerate(counts):
                if turn < count:
                    array = np.full((*SHAPES[bucket], 3), number, np.uint8)
                    array[0, 0] += 100
                    writer.add(bucket, array, [f"{number}.{choice}" for choice in range(captions)])
                    number += 1
    return PictureSet.open(folder)


@settings(max_examples=40, deadline=None)
@given(counts=COUNTS, batch=st.integers(1, 7), seed=st.integers(0, 5), world=st.integers(1, 3))
def test_the_order(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], batch: int, seed: int, world: int
) -> None:
    pictures = made(tmp_path_factory.mktemp("set"), counts, captions=3)
    batches = PictureBatches(pictures, batch * world, seed)
    parts = [PictureBatches(pictures, batch, seed, rank=rank, world=world) for rank in range(world)]
    owner = {int(number): bucket for bucket, numbers in enumerate(pictures.numbers) for number in numbers}
    streams: list[list[int]] = [[], [], []]
    total = -(-4 * len(pictures) // (batch * world)) + 3
    for index in range(total):
        one = batches(index)
        (bucket,) = {owner[number] for number in one.indices}
        assert one.images.shape == (batch * world, 3, *SHAPES[bucket])
        assert one.images.dtype == torch.uint8
        assert one.images.is_contiguous()
        assert one.images[:, :, 0, 0].tolist() == [[number + 100] * 3 for number in one.indices]
        assert one.images[:, :, -1, -1].tolist() == [[number] * 3 for number in one.indices]
        assert [caption.split(".")[0] for caption in one.captions] == [str(number) for number in one.indices]
        streams[bucket] += one.indices
        together = [part(index) for part in parts]
        assert torch.cat([part.images for part in together]).equal(one.images)
        assert [text for part in together for text in part.captions] == one.captions
    # Each bucket's pictures come once an epoch, and no bucket gets ahead of another by more than a batch.
    for bucket, stream in enumerate(streams):
        count = counts[bucket]
        for start in range(0, len(stream) - count + 1, count or 1):
            assert count == 0 or sorted(stream[start : start + count]) == pictures.numbers[bucket].tolist()
        expected = batches.epoch_of(total) * count
        assert abs(len(stream) - expected) <= batch * world * (2 + len(counts)) + count
    for index in (total - 1, 0, total // 2):  # asked for in any order, and of another object
        again = PictureBatches(pictures, batch * world, seed)(index)
        assert again.indices == batches(index).indices
        assert again.captions == batches(index).captions
        assert again.images.equal(batches(index).images)


def test_epochs_seeds_and_captions_differ(tmp_path: Path) -> None:
    pictures = made(tmp_path, [50, 0, 0], captions=4)
    batches = PictureBatches(pictures, 50, 0)
    first, second = batches(0), batches(1)
    assert sorted(first.indices) == sorted(second.indices) == list(range(50))
    assert first.indices != second.indices != list(range(50))
    assert PictureBatches(pictures, 50, 1)(0).indices != first.indices
    drawn = Counter(caption for index in range(200) for caption in batches(index).captions)
    assert len(drawn) == 200
    assert 20 < min(drawn.values()) < max(drawn.values()) < 90  # 50 on average
    by_picture = {int(text.split(".")[0]): text for text in first.captions}
    assert any(by_picture[int(text.split(".")[0])] != text for text in second.captions)


def test_flips_are_off_unless_asked_for(tmp_path: Path) -> None:
    pictures = made(tmp_path, [0, 40, 0])
    still, turned = PictureBatches(pictures, 40, 0), PictureBatches(pictures, 40, 0, flip=True)
    flips = 0
    for index in range(20):
        one, other = still(index), turned(index)
        assert one.captions == other.captions
        for row in range(40):
            flipped = not other.images[row].equal(one.images[row])
            assert other.images[row].equal(one.images[row].flip(-1) if flipped else one.images[row])
            flips += flipped
    assert 300 < flips < 500


def test_buckets_are_mixed_within_an_epoch(tmp_path: Path) -> None:
    pictures = made(tmp_path, [40, 40, 40])
    batches = PictureBatches(pictures, 4, 0)
    widths = [batches(index).images.shape[-1] for index in range(30)]
    assert Counter(widths) == {2: 10, 4: 10, 1: 10}
    assert sum(one != other for one, other in pairwise(widths)) > 10


def test_prefetched_batches_are_the_same(tmp_path: Path) -> None:
    batches = PictureBatches(made(tmp_path, [5, 3, 1]), 2, 0)
    for index, one in enumerate(batches.prefetch(5, 12), start=5):
        assert one.indices == batches(index).indices
    assert index == 11


def test_far_away_batches_cost_no_more(tmp_path: Path) -> None:
    batches = PictureBatches(made(tmp_path, [5, 3, 1]), 2, 0)
    assert len(batches(10**12).indices) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"world": 0}, "world is 0"),
        ({"rank": 2, "world": 2}, "rank is 2, but must be from 0 to world - 1 = 1"),
    ],
)
def test_values_that_make_no_sense(tmp_path: Path, options: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        PictureBatches(made(tmp_path, [1, 0, 0]), **({"batch_size": 1, "seed": 0} | options))  # type: ignore[arg-type]


def test_an_empty_set(tmp_path: Path) -> None:
    with PictureSetWriter(tmp_path, SHAPES):
        pass
    with pytest.raises(DataError, match="the set has 0 pictures"):
        PictureBatches(PictureSet.open(tmp_path), 1, 0)


def test_parts_are_those_of_the_pictures_and_mirrored_with_them(tmp_path: Path) -> None:
    with PictureSetWriter(tmp_path, [(2, 4)], parts=True) as writer:
        for number in range(12):
            parts = np.arange(8, dtype=np.uint8).reshape(2, 4) + number
            writer.add(0, np.repeat(parts[..., None], 3, axis=2), [str(number)], parts)
    mirrored = set()
    for index in range(8):
        batch = PictureBatches(PictureSet.open(tmp_path), 5, seed=1, flip=True, parts=True)(index)
        assert batch.parts is not None
        assert batch.parts.equal(batch.images[:, 0])
        mirrored |= {bool(one[0, 0] > one[0, 1]) for one in batch.parts}
    assert mirrored == {True, False}
    assert PictureBatches(PictureSet.open(tmp_path), 5, seed=1)(0).parts is None
