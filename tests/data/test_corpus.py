from __future__ import annotations

import errno
import gzip
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.core.errors import ConfigError, DataError
from limner.data import Corpus, Shards, TokenizerPlan, bundled, cache, prepare_corpus
from limner.data import corpus as module
from limner.data.corpus import pieces_of
from limner.data.shards import ShardWriter
from limner.data.split import digest, held_back
from tests.data.fakes import ByteTokenizer

TEXTS = [f"Story number {number}. " + "The cat sat on the mat. " * (number % 7) for number in range(400)]


def write(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def prepare(folder: Path, *paths: Path, **options: Any) -> Corpus:
    options = {"tokenizer": ByteTokenizer(), "cache": folder / "cache"} | options
    return prepare_corpus(paths or [folder / "data.jsonl"], **options)


def documents(shards: Shards) -> list[str]:
    """The texts in the shards, read back through the document starts."""
    row = np.asarray(shards.tokens)
    ends = [*shards.document_starts[1:].tolist(), len(row)]
    for start in shards.document_starts:
        assert row[start] == 0
    return [
        ByteTokenizer().decode(row[start:end].tolist()) for start, end in zip(shards.document_starts, ends, strict=True)
    ]


class TestPrepared:
    def test_every_document_is_in_one_part_in_order(self, tmp_path: Path) -> None:
        write(tmp_path / "data.jsonl", TEXTS)
        corpus = prepare(tmp_path)
        chosen = {text for text in TEXTS if held_back(digest(text.encode()), 0.05, seed=0)}
        assert 8 <= len(chosen) <= 40
        assert documents(corpus.validation) == [text for text in TEXTS if text in chosen]
        assert documents(corpus.train) == [text for text in TEXTS if text not in chosen]
        assert corpus.train.num_bytes + corpus.validation.num_bytes == sum(map(len, TEXTS))
        assert (corpus.report.documents, corpus.report.files) == (400, 1)
        assert not corpus.reused

    def test_adding_files_moves_no_document(self, tmp_path: Path) -> None:
        write(tmp_path / "data.jsonl", TEXTS)
        before = set(documents(prepare(tmp_path).validation))
        write(tmp_path / "a.jsonl", [text + "More." for text in TEXTS])
        after = set(documents(prepare(tmp_path, tmp_path / "a.jsonl", tmp_path / "data.jsonl").validation))
        assert before == after & set(TEXTS)

    def test_exact_duplicates_are_dropped(self, tmp_path: Path) -> None:
        write(tmp_path / "data.jsonl", TEXTS + TEXTS[:50] + [TEXTS[0] + " "])
        corpus = prepare(tmp_path)
        assert corpus.report.duplicates == 50
        assert corpus.train.num_documents + corpus.validation.num_documents == 401
        assert "50 exact duplicates" in corpus.report.summary()

    def test_shards_do_not_depend_on_workers_or_batches(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(tmp_path / "data.jsonl", TEXTS)
        one = prepare(tmp_path, cache=tmp_path / "one", workers=1)
        monkeypatch.setattr(module, "BATCH_BYTES", 100)
        many = prepare(tmp_path, cache=tmp_path / "many", workers=5)
        assert np.array_equal(np.asarray(one.train.tokens), np.asarray(many.train.tokens))
        assert documents(one.validation) == documents(many.validation)

    def test_train_only_files_are_not_held_back(self, tmp_path: Path) -> None:
        write(tmp_path / "data.jsonl", TEXTS)
        more = write(tmp_path / "more.jsonl", [f"More {number}." for number in range(1000)] + TEXTS)
        corpus = prepare(tmp_path, train_only=[more])
        assert documents(corpus.validation) == documents(prepare(tmp_path).validation)
        assert corpus.report.duplicates == 400
        assert corpus.train.num_documents == 1400 - corpus.validation.num_documents

    def test_one_document_gives_its_end(self, tmp_path: Path) -> None:
        text = "".join(f"Line {number} of the play.\n" for number in range(1000))
        (tmp_path / "data.txt").write_text(text)
        corpus = prepare(tmp_path, tmp_path / "data.txt", validation=0.1)
        (train,), (end,) = documents(corpus.train), documents(corpus.validation)
        assert train + end == text
        assert train.endswith("\n")
        assert 0.09 < len(end) / len(text) < 0.11
        assert "Only 1 document: the last" in corpus.report.summary()

    def test_progress_ends_with_everything_read(self, tmp_path: Path) -> None:
        path = tmp_path / "data.jsonl.gz"
        path.write_bytes(gzip.compress("".join(json.dumps({"text": text}) + "\n" for text in TEXTS).encode()))
        told: list[tuple[str, int, int]] = []
        prepare(tmp_path, path, progress=lambda *now: told.append(now))
        size = path.stat().st_size
        assert told[-1] == ("tokenizing", size, size)
        assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)

    def test_wide_vocabulary(self, tmp_path: Path) -> None:
        write(tmp_path / "data.jsonl", TEXTS)
        tokenizer = ByteTokenizer("wide")
        tokenizer.vocab_size = 70_000
        assert prepare(tmp_path, tokenizer=tokenizer).train.tokens.dtype == np.uint32


class TestReuse:
    def test_unchanged_input_is_not_read_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write(tmp_path / "data.jsonl", TEXTS)
        (tmp_path / "notes.pdf").write_text("x")
        first = prepare(tmp_path, tmp_path)
        os.utime(path, (1, 1))
        monkeypatch.setattr(module._Job, "build", lambda *_: pytest.fail("built again"))
        again = prepare(tmp_path, tmp_path)
        assert again.reused
        assert again.report == first.report
        assert documents(again.train) == documents(first.train)

    @pytest.mark.parametrize(
        "change", ["content", "file", "share", "seed", "tokenizer", "column", "separator", "train_only", "plan"]
    )
    def test_whatever_changes_the_tokens_changes_the_corpus(self, tmp_path: Path, change: str) -> None:
        path = write(tmp_path / "data.jsonl", TEXTS)
        other = write(tmp_path / "other.jsonl", ["Another.", *TEXTS])
        before = prepare(tmp_path).folder
        options: dict[str, Any] = {}
        match change:
            case "content":
                path.write_text(path.read_text().replace("Story number 7", "Story number X"))
            case "file":
                assert prepare(tmp_path, path, other).folder != before
                return
            case "share":
                options["validation"] = 0.1
            case "seed":
                options["split_seed"] = 1
            case "tokenizer":
                options["tokenizer"] = ByteTokenizer("another")
            case "column":
                options["column"] = "text"
            case "separator":
                options["separator"] = "***"
            case "train_only":
                options["train_only"] = [other]
            case "plan":
                options["tokenizer"] = TokenizerPlan("bytes", None)
        after = prepare(tmp_path, **options)
        assert after.folder != before
        assert not after.reused

    def test_a_large_file_is_known_by_size_time_and_ends(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cache, "WHOLE_HASH", 10)
        path = tmp_path / "data.txt"
        path.write_text("word " * 1_000_000)
        first = prepare(tmp_path, path).folder
        assert prepare(tmp_path, path).reused
        os.utime(path, (1, 1))
        assert prepare(tmp_path, path).folder != first

    @pytest.mark.parametrize("damage", ["no manifest", "half manifest", "short tokens", "no documents"])
    def test_a_damaged_corpus_is_made_again(self, tmp_path: Path, damage: str) -> None:
        write(tmp_path / "data.jsonl", TEXTS)
        first = prepare(tmp_path)
        expected = documents(first.train)
        match damage:
            case "no manifest":
                (first.folder / "manifest.json").unlink()
            case "half manifest":
                (first.folder / "manifest.json").write_text('{"format"')
            case "short tokens":
                os.truncate(first.folder / "validation-00000.bin", 100)
            case "no documents":
                (first.folder / "train-documents.bin").unlink()
        again = prepare(tmp_path)
        assert not again.reused
        assert again.folder == first.folder
        assert documents(again.train) == expected


def slow_build(folder: str, ready: Any) -> None:
    writer = ShardWriter.add

    def slow(self: ShardWriter, ids: Any, size: int) -> None:
        ready.set()
        time.sleep(0.01)
        writer(self, ids, size)

    ShardWriter.add = slow  # type: ignore[method-assign]
    prepare(Path(folder))


class TestMishaps:
    def test_killed_in_the_middle_leaves_nothing_that_is_used(self, tmp_path: Path) -> None:
        write(tmp_path / "data.jsonl", TEXTS)
        context = multiprocessing.get_context("spawn")
        ready = context.Event()
        child = context.Process(target=slow_build, args=(str(tmp_path), ready))
        child.start()
        assert ready.wait(60)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        left = list((tmp_path / "cache").iterdir())
        assert [folder.name.startswith(".building-") for folder in left] == [True]
        corpus = prepare(tmp_path)
        assert not corpus.reused
        assert corpus.train.num_documents + corpus.validation.num_documents == 400
        assert list((tmp_path / "cache").iterdir()) == [corpus.folder]

    def test_a_file_that_is_written_to_meanwhile_is_told_of(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Otherwise the cache would give what came of the new content to whoever has the old."""
        file = write(tmp_path / "data.jsonl", TEXTS)
        add = ShardWriter.add

        def meanwhile(self: ShardWriter, ids: Any, size: int) -> None:
            write(file, TEXTS[:-1])
            add(self, ids, size)

        with monkeypatch.context() as patched:
            patched.setattr(ShardWriter, "add", meanwhile)
            with pytest.raises(DataError, match=r"data\.jsonl was changed while it was read"):
                prepare(tmp_path)
        assert not list((tmp_path / "cache").iterdir())
        corpus = prepare(tmp_path)
        assert corpus.train.num_documents + corpus.validation.num_documents == 399

    def test_two_processes_at_once(self, tmp_path: Path) -> None:
        write(tmp_path / "data.jsonl", TEXTS)
        context = multiprocessing.get_context("spawn")
        events = [context.Event(), context.Event()]
        children = [context.Process(target=slow_build, args=(str(tmp_path), event)) for event in events]
        for child in children:
            child.start()
        assert all(event.wait(60) for event in events)
        corpus = prepare(tmp_path)
        kept = documents(corpus.train)
        for child in children:
            child.join()
            assert child.exitcode == 0
        assert documents(corpus.train) == kept
        assert list((tmp_path / "cache").iterdir()) == [corpus.folder]
        assert prepare(tmp_path).reused

    def test_an_error_leaves_nothing_behind(self, tmp_path: Path) -> None:
        write(tmp_path / "data.jsonl", TEXTS)

        class Failing(ByteTokenizer):
            def encode_batch(self, texts: list[str]) -> list[list[int]]:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            prepare(tmp_path, tokenizer=Failing())
        assert list((tmp_path / "cache").iterdir()) == []

    def test_full_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(self: ShardWriter, ids: Any, size: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(ShardWriter, "add", full)
        write(tmp_path / "data.jsonl", TEXTS)
        with pytest.raises(DataError, match=r"cache is full.*Free some"):
            prepare(tmp_path)
        assert list((tmp_path / "cache").iterdir()) == []

    def test_a_cache_that_cannot_be_written(self, tmp_path: Path) -> None:
        write(tmp_path / "data.jsonl", TEXTS)
        (tmp_path / "cache").write_text("a file")
        with pytest.raises(DataError, match=r"cache cannot be written \(.*\)"):
            prepare(tmp_path)

    @pytest.mark.parametrize("share", [0, -1, 0.51, 5])
    def test_share_must_make_sense(self, tmp_path: Path, share: float) -> None:
        with pytest.raises(ConfigError, match=f"validation is {share}"):
            prepare(tmp_path, validation=share)

    def test_empty_folder_one_word_and_unknown_columns(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match=r"0 readable documents \(no files\)"):
            prepare(tmp_path, tmp_path / "empty")
        (tmp_path / "word.txt").write_text("word")
        with pytest.raises(DataError, match=r"is 4 bytes of text, but at least 200"):
            prepare(tmp_path, tmp_path / "word.txt")
        (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\xff")
        (tmp_path / "b.csv").write_text("title,body\nT,B\n")
        with pytest.raises(DataError, match=r"columns title, body"):
            prepare(tmp_path, tmp_path / "b.csv")
        (tmp_path / "c.txt").write_bytes(b"caf\xe9")
        with pytest.raises(DataError, match=r"0 readable documents \(1 not UTF-8\).*0xE9 at byte 3"):
            prepare(tmp_path, tmp_path / "c.txt")

    def test_a_tokenizer_that_makes_nothing(self, tmp_path: Path) -> None:
        class Silent(ByteTokenizer):
            def encode_batch(self, texts: list[str]) -> list[list[int]]:
                return [[] for _ in texts]

        write(tmp_path / "data.jsonl", TEXTS)
        with pytest.raises(DataError, match=r"the train part has 0 tokens of 400 documents"):
            prepare(tmp_path, tokenizer=Silent())


LONG = st.lists(
    st.sampled_from(["word", "Zürich", " ", "  ", "\n", "\n\n", "don't", "42", ", ", ".", "猫が", "\t"]), max_size=200
)


@pytest.mark.parametrize("kind", ["byte-bpe", "wordpiece", "unigram", "characters", "bytes"])
def test_long_texts_are_cut_where_no_token_changes(kind: str) -> None:
    from limner.tokens import train_tokenizer

    tokenizer = train_tokenizer(kind, [*TEXTS, "Zürich don't 猫が\n\n\t"], vocab_size=400)

    @settings(max_examples=30, deadline=None)
    @given(LONG.map("".join))
    def same(text: str) -> None:
        pieces = pieces_of(text + " and so it goes on " * 9, 40)
        assert "".join(pieces) == text + " and so it goes on " * 9
        if all(len(piece) < 80 and piece.startswith(" ") for piece in pieces[1:]):
            together = [id for ids in tokenizer.encode_batch(pieces) for id in ids]
            assert together == tokenizer.encode("".join(pieces))

    same()


def test_a_text_without_spaces_is_cut_too() -> None:
    assert pieces_of("猫" * 100, 40) == ["猫" * 40, "猫" * 60]
    assert pieces_of("猫" * 50 + "\n" + "猫" * 49, 40) == ["猫" * 50, "\n" + "猫" * 49]


class TestTrainedTokenizer:
    def test_is_trained_kept_and_opened_again(self, tmp_path: Path) -> None:
        write(tmp_path / "data.jsonl", TEXTS)
        plan = TokenizerPlan("byte-bpe", 300)
        first = prepare(tmp_path, tokenizer=plan)
        assert first.tokenizer.vocab_size <= 300
        again = prepare(tmp_path, tokenizer=plan)
        assert again.reused
        assert again.tokenizer.fingerprint() == first.tokenizer.fingerprint()
        row = np.asarray(first.train.tokens)
        begin = first.tokenizer.begin_id
        assert begin is not None
        assert (row[first.train.document_starts] == begin).all()
        assert (row == begin).sum() == first.train.num_documents
        text = first.tokenizer.decode(row[: int(first.train.document_starts[1])].tolist())
        assert text in TEXTS

    def test_sees_no_held_back_text_and_a_bounded_sample_of_every_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import limner.tokens

        seen: list[str] = []

        def train(kind: str, texts: Any, *, vocab_size: int | None) -> ByteTokenizer:
            seen.extend(texts)
            return ByteTokenizer()

        monkeypatch.setattr(limner.tokens, "train_tokenizer", train)
        monkeypatch.setattr(limner.tokens.Tokenizer, "load", lambda _: ByteTokenizer())
        write(tmp_path / "a.jsonl", TEXTS)
        write(tmp_path / "b.jsonl", ["B" + text for text in TEXTS])
        paths = (tmp_path / "a.jsonl", tmp_path / "b.jsonl")
        corpus = prepare(tmp_path, *paths, tokenizer=TokenizerPlan("bytes", None))
        assert sorted(seen) == sorted(documents(corpus.train))
        seen.clear()
        prepare(tmp_path, *paths, tokenizer=TokenizerPlan("bytes", None, sample_bytes=4000))
        assert sum(map(len, seen)) < 4400
        from_b = sum(len(text) for text in seen if text.startswith("B"))
        assert 0.4 < from_b / sum(map(len, seen)) < 0.6


def test_bundled_stories_with_their_own_tokenizer(tmp_path: Path) -> None:
    corpus = prepare(
        tmp_path, *bundled("stories"), train_only=bundled("stories_recased"), tokenizer=TokenizerPlan("bytes", None)
    )
    assert (corpus.train.num_documents, corpus.validation.num_documents) == (10_936 - 520 + 2_474, 520)
    assert corpus.validation.num_bytes == 437_322


MEASURE = """
import resource, sys
from pathlib import Path
from limner.data import prepare_corpus
from limner.tokens import Tokenizer
prepare_corpus([Path(sys.argv[1])], tokenizer=Tokenizer.load(Path(sys.argv[2])), cache=Path(sys.argv[3]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["txt", "jsonl"])
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path, kind: str) -> None:
    from limner.tokens import train_tokenizer

    train_tokenizer("byte-bpe", TEXTS, vocab_size=400).save(tmp_path / "tokenizer")
    paragraph = "The quick cat sat on the mat and looked at the little dog, who did not look back.\n\n"
    peaks = []
    for megabytes in (10, 50):
        path = tmp_path / f"{megabytes}.{kind}"
        with path.open("w") as file:
            for number in range(megabytes * 1_000_000 // 1000):
                text = f"Document {number}. " + paragraph * 12
                file.write(text if kind == "txt" else json.dumps({"text": text}) + "\n")
        command = [sys.executable, "-c", MEASURE, str(path), str(tmp_path / "tokenizer"), str(tmp_path / "cache")]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    assert peaks[1] - peaks[0] < 40, f"{peaks} MB at 10 and 50 MB of text"
