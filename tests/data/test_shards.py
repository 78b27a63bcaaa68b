from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.core.errors import ConfigError, DataError
from limner.data import Shards
from limner.data.shards import ShardWriter, TokenRow, frame, token_dtype
from tests.data.fakes import ByteTokenizer

TEXTS = st.lists(st.text("abc ", min_size=1, max_size=40), min_size=1, max_size=8)


def shards_of(texts: list[str]) -> Shards:
    return Shards.from_texts(texts, ByteTokenizer())


@settings(max_examples=50, deadline=None)
@given(texts=TEXTS, room=st.integers(1, 30))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, texts: list[str], room: int) -> None:
    folder = tmp_path_factory.mktemp("shards")
    tokenizer, dtype = ByteTokenizer(), token_dtype(257)
    with ShardWriter(folder, "train", dtype, shard_bytes=2 * room) as writer:
        for text in texts:
            writer.add(np.array([0, *tokenizer.encode_batch([text])[0]]), len(text.encode()))
    shards = Shards.open(folder, "train", writer.files, dtype.str)
    expected = shards_of(texts)
    assert np.array_equal(np.asarray(shards.tokens), np.asarray(expected.tokens))
    assert shards.document_starts.tolist() == expected.document_starts.tolist()
    assert shards.document_bytes.tolist() == [len(text.encode()) for text in texts]
    assert (shards.num_tokens, shards.num_documents) == (writer.num_tokens, writer.num_documents)
    assert shards.num_bytes == writer.num_bytes == sum(len(text.encode()) for text in texts)
    assert len(writer.files) == -(-shards.num_tokens // room)
    for start in range(0, shards.num_tokens, 5):
        assert np.array_equal(shards.tokens[start : start + 7], np.asarray(expected.tokens)[start : start + 7])
    assert shards.tokens[-1] == np.asarray(expected.tokens)[-1]


def test_width_of_tokens() -> None:
    assert token_dtype(65_536).itemsize == 2
    assert token_dtype(65_537).itemsize == 4


def test_token_row_like_a_list() -> None:
    row = TokenRow([np.arange(3), np.arange(3, 5), np.arange(5, 9)], np.int64)
    assert [row[place] for place in range(-9, 9)] == [*range(9), *range(9)]
    assert row[2:6].tolist() == [2, 3, 4, 5]
    assert row[8:100].tolist() == [8]
    assert row[5:2].tolist() == []
    with pytest.raises(IndexError):
        row[9]


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [(0, 0, ([0], [])), (1, 2, ([1], [2])), (None, 3, ([3], [])), (1, None, ([1], [])), (None, None, ([], []))],
)
def test_what_stands_around_a_document(
    begin: int | None, end: int | None, expected: tuple[list[int], list[int]]
) -> None:
    tokenizer = ByteTokenizer()
    tokenizer.begin_id, tokenizer.end_id = begin, end
    assert frame(tokenizer) == expected
    row = Shards.from_texts(["a"], tokenizer).tokens
    assert np.asarray(row).tolist() == [*expected[0], 98, *expected[1]]


def test_first_documents() -> None:
    shards = shards_of(["aaa", "bb", "c"])  # 4 + 3 + 2 tokens
    for asked, tokens, size in [(0, 4, 3), (4, 4, 3), (6, 4, 3), (7, 7, 5), (99, 9, 6)]:
        assert (shards.first(asked).num_tokens, shards.first(asked).num_bytes) == (tokens, size)


class TestWindows:
    @settings(max_examples=100, deadline=None)
    @given(
        texts=TEXTS, context=st.integers(1, 20), stride=st.integers(1, 20), apart=st.booleans(), batch=st.integers(1, 4)
    )
    def test_every_token_is_scored_once_with_enough_before_it(
        self, texts: list[str], context: int, stride: int, apart: bool, batch: int
    ) -> None:
        shards = shards_of(texts)
        stride = min(stride, context)
        row = np.asarray(shards.tokens).tolist()
        starts = shards.document_starts.tolist()
        scored: list[int] = []
        for inputs, targets, counts in shards.windows(context, stride, batch_size=batch, documents_apart=apart):
            assert inputs.shape == targets.shape == counts.shape
            assert inputs.shape[1] <= context
            for ins, outs, marks in zip(inputs, targets, counts, strict=True):
                places = np.flatnonzero(marks)
                assert len(places)
                for place in places.tolist():
                    target = len(scored) + 1
                    assert outs[place] == row[target]
                    assert ins[: place + 1].tolist() == row[target - place - 1 : target]
                    begin = max(start for start in starts if start < target) if apart else 0
                    assert place + 1 >= min(target - begin, context - stride + 1)
                    assert not apart or place + 1 <= target - begin
                    scored.append(int(outs[place]))
        assert scored == row[1:]

    def test_stride_must_fit(self) -> None:
        with pytest.raises(ConfigError, match="stride is 9, but must be from 1 to the context length 8"):
            next(shards_of(["abc"]).windows(8, 9))

    def test_one_token_cannot_be_scored(self) -> None:
        tokenizer = ByteTokenizer()
        tokenizer.begin_id = tokenizer.end_id = None
        with pytest.raises(DataError, match="has 1 token, but at least 2"):
            next(Shards.from_texts(["a"], tokenizer).windows(8))

    def test_no_token_at_all(self) -> None:
        with pytest.raises(DataError, match="has 0 tokens"):
            Shards.from_texts(["", ""], ByteTokenizer())
