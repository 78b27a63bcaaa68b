from __future__ import annotations

import threading
from collections import Counter
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.core.errors import ConfigError, DataError
from limner.data import IGNORE, Batches, Shards, prefetched
from limner.data.batches import permuted
from limner.data.shards import TokenRow

LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=30)


def numbered(lengths: list[int]) -> Shards:
    """Documents whose tokens are 0, 1, 2, … so that a token says where it stands."""
    starts = np.cumsum([0, *lengths[:-1]])
    documents = np.stack([starts, np.array(lengths)], axis=1).astype(np.int64)
    return Shards(TokenRow([np.arange(sum(lengths), dtype=np.uint16)], np.uint16), documents)


class TestPermutation:
    @pytest.mark.parametrize("size", [*range(1, 70), 255, 256, 257, 1000])
    def test_is_one(self, size: int) -> None:
        places = permuted(np.arange(size), size, key=5)
        assert sorted(places.tolist()) == list(range(size))
        assert permuted(np.arange(size)[::-1], size, key=5).tolist() == places.tolist()[::-1]

    def test_differs_with_the_key_and_reaches_every_place_evenly(self) -> None:
        size, keys = 12, 1000
        seen = np.zeros((size, size))
        for key in range(keys):
            seen[np.arange(size), permuted(np.arange(size), size, key=key)] += 1
        expected = keys / size
        chi_squared = ((seen - expected) ** 2 / expected).sum()
        assert chi_squared < 190  # 121 degrees of freedom: 190 is beyond one in ten thousand
        neighbours = [permuted(np.arange(2), size, key=key) for key in range(keys)]
        assert 0.12 < np.mean([abs(a - b) == 1 for a, b in neighbours]) < 0.22  # 1/6 if independent

    def test_of_very_many_costs_nothing(self) -> None:
        places = permuted(np.array([0, 1, 10**12 - 1]), 10**12, key=1)
        assert len(set(places.tolist())) == 3
        assert all(0 <= place < 10**12 for place in places.tolist())


class TestStream:
    @settings(max_examples=30, deadline=None)
    @given(LENGTHS, st.integers(1, 12), st.integers(1, 5), st.integers(0, 3))
    def test_an_epoch_has_every_token_once_but_for_a_rest(
        self, lengths: list[int], context: int, batch: int, seed: int
    ) -> None:
        total = sum(lengths)
        if total <= context:
            return
        batches = Batches(numbered(lengths), batch, context, seed)
        rows = []
        for index in range(-(-3 * batches.windows_per_epoch // batch)):
            inputs, targets = batches.batch(index)
            assert inputs.shape == targets.shape == (batch, context)
            assert inputs.dtype == targets.dtype == np.int64
            assert ((inputs + 1) % total == targets).all()
            assert (inputs[:, 1:] == targets[:, :-1]).all()
            rows += targets.tolist()
        for epoch in range(3):
            seen = Counter(chain.from_iterable(rows[epoch * batches.windows_per_epoch :][: batches.windows_per_epoch]))
            assert set(seen.values()) == {1}
            assert total - len(seen) < context

    def test_epochs_differ_in_order_and_in_where_windows_begin(self) -> None:
        batches = Batches(numbered([1000]), 100, 10, 0)
        firsts = [batches.batch(index)[0][:, 0].tolist() for index in range(3)]
        assert len({first[0] % 10 for first in firsts} | {first[0] for first in firsts}) > 1
        assert firsts[0] != firsts[1] != firsts[2]
        assert firsts[0] != sorted(firsts[0])
        assert {start % 10 for start in firsts[0]} == {firsts[0][0] % 10}
        assert Batches(numbered([1000]), 100, 10, 1).batch(0)[0][:, 0].tolist() != firsts[0]


class TestPacked:
    @settings(max_examples=30, deadline=None)
    @given(LENGTHS, st.integers(1, 12), st.integers(0, 3))
    def test_an_epoch_has_every_token_once_and_documents_whole(
        self, lengths: list[int], context: int, seed: int
    ) -> None:
        total = sum(lengths)
        if total <= context:
            return
        shards = numbered(lengths)
        batches = Batches(shards, 1, context, seed, align="document")
        starts = set(shards.document_starts.tolist())
        for epoch in range(2):
            seen: Counter[int] = Counter()
            for index in range(batches.windows_per_epoch):
                inputs, targets, documents = (
                    part[0] for part in batches.batch_with_documents(epoch * batches.windows_per_epoch + index)
                )
                real = targets != IGNORE
                assert ((inputs[real] + 1) % total == targets[real]).all()
                assert not real[int(real.sum()) :].any()
                seen.update(inputs[real].tolist())
                for number in np.unique(documents[real]):
                    piece = inputs[real & (documents == number)]
                    assert np.array_equal(piece, np.arange(piece[0], piece[0] + len(piece)))
                    owner = max(start for start in starts if start <= piece[0])
                    assert (piece[0] - owner) % context == 0
                    end = min((start for start in starts if start > piece[0]), default=total)
                    assert len(piece) == min(end - piece[0], context)
                assert not set(documents[~real].tolist()) & set(documents[real].tolist())
            assert seen == Counter(range(total))

    def test_short_documents_fill_rows(self) -> None:
        lengths = np.random.default_rng(0).integers(2, 60, size=3000).tolist()
        assert Batches(numbered_wide(lengths), 1, 128, 0, align="document").filled > 0.99

    def test_companions_change(self) -> None:
        batches = Batches(numbered([3, 5] * 50), 50, 8, 0, align="document")
        rows = [{tuple(sorted(row.tolist())) for row in batches.batch(index)[0]} for index in range(2)]
        assert rows[0] != rows[1]


def numbered_wide(lengths: list[int]) -> Shards:
    starts = np.cumsum([0, *lengths[:-1]])
    documents = np.stack([starts, np.array(lengths)], axis=1).astype(np.int64)
    return Shards(TokenRow([np.arange(sum(lengths), dtype=np.uint32)], np.uint32), documents)


@pytest.mark.parametrize("align", ["stream", "document"])
class TestBoth:
    def test_a_batch_is_a_pure_function_of_its_number(self, align: str) -> None:
        make = lambda: Batches(numbered([7, 20, 3, 40]), 4, 6, 3, align=align)  # type: ignore[arg-type]  # noqa: E731
        batches = make()
        first = [batches.batch_with_documents(index) for index in range(20)]
        for index in (19, 3, 11):
            for one, other in zip(first[index], make().batch_with_documents(index), strict=True):
                assert np.array_equal(one, other)

    def test_processes_together_draw_what_one_would(self, align: str) -> None:
        shards = numbered([7, 20, 3, 40])
        whole = Batches(shards, 6, 6, 3, align=align)  # type: ignore[arg-type]
        parts = [Batches(shards, 2, 6, 3, align=align, rank=rank, world=3) for rank in range(3)]  # type: ignore[arg-type]
        for index in range(10):
            together = [np.concatenate(columns) for columns in zip(*(part.batch(index) for part in parts), strict=True)]
            for one, other in zip(whole.batch(index), together, strict=True):
                assert np.array_equal(one, other)
        assert parts[0].epoch_of(5) == whole.epoch_of(5) == 30 / whole.windows_per_epoch

    def test_document_numbers_change_where_documents_do(self, align: str) -> None:
        lengths = [7, 20, 3, 40]
        shards = numbered(lengths)
        owner = np.repeat(np.arange(4), lengths)
        batches = Batches(shards, 8, 16, 0, align=align)  # type: ignore[arg-type]
        for index in range(5):
            inputs, targets, documents = batches.batch_with_documents(index)
            assert (documents[:, 0] == 0).all()
            real = (targets != IGNORE)[:, 1:]
            changed = np.diff(documents) != 0
            begins = (np.diff(owner[inputs]) != 0) | (np.diff(inputs) != 1)
            assert np.array_equal(changed[real], begins[real])

    def test_prefetched_batches_are_the_same(self, align: str) -> None:
        batches = Batches(numbered([7, 20, 3, 40]), 4, 6, 3, align=align)  # type: ignore[arg-type]
        for index, made in enumerate(batches.prefetch(5, 12), start=5):
            assert all(np.array_equal(one, other) for one, other in zip(made, batches.batch(index), strict=True))
        assert index == 11
        assert len(next(batches.prefetch(0, documents=True))) == 3


class TestPrefetch:
    def test_errors_come_through_in_their_place(self) -> None:
        def make(index: int) -> int:
            if index == 3:
                raise DataError("the fourth")
            return index

        made = prefetched(make, 0)
        assert [next(made) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(DataError, match="the fourth"):
            next(made)

    def test_leaving_early_ends_the_thread(self) -> None:
        made = prefetched(lambda index: index, 0)
        next(made)
        made.close()  # type: ignore[attr-defined]
        assert not [thread for thread in threading.enumerate() if thread.name == "limner-prefetch"]


class TestRefusals:
    def test_too_few_tokens_names_both_numbers(self) -> None:
        with pytest.raises(DataError, match=r"has 8 tokens, but a context length of 8 needs at least 9.*at most 7"):
            Batches(numbered([8]), 1, 8, 0)
        Batches(numbered([9]), 1, 8, 0)

    @pytest.mark.parametrize(
        ("name", "value", "said"),
        [
            ("batch_size", 0, "batch_size is 0"), ("context_length", -1, "context_length is -1"), ("world", 0, "world is 0"),
            ("rank", 1, "rank is 1"), ("align", "words", "align is 'words'"),
        ],
    )  # fmt: skip
    def test_values_that_make_no_sense(self, name: str, value: object, said: str) -> None:
        options = {"batch_size": 1, "context_length": 4, "seed": 0} | {name: value}
        with pytest.raises(ConfigError, match=said):
            Batches(numbered([9]), **options)  # type: ignore[arg-type]
