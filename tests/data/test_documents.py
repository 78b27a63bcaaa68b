from __future__ import annotations

import csv
import gzip
import io
import json
import os
import sys
from pathlib import Path

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.core.errors import DataError, MissingExtraError
from limner.data import ReadReport, read_documents
from limner.data import documents as module
from limner.data.documents import paragraphs_up_to


def read(*paths: Path, **options: object) -> tuple[list[str], ReadReport]:
    report = ReadReport()
    return [document.text for document in read_documents(paths, report=report, **options)], report  # type: ignore[arg-type]


def packed(path: Path, data: bytes, ending: str) -> Path:
    match ending:
        case ".gz":
            data = gzip.compress(data, mtime=0)
        case ".zst":
            data = zstandard.ZstdCompressor().compress(data)
    path = path.with_name(path.name + ending)
    path.write_bytes(data)
    return path


def as_jsonl(texts: list[str]) -> bytes:
    return "".join(json.dumps({"id": n, "text": text}) + "\n" for n, text in enumerate(texts)).encode()


def as_csv(texts: list[str]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(["id", "text"])
    writer.writerows([n, text] for n, text in enumerate(texts))
    return out.getvalue().encode()


def as_parquet(texts: list[str]) -> bytes:
    out = io.BytesIO()
    parquet.write_table(arrow.table({"id": list(range(len(texts))), "text": texts}), out)
    return out.getvalue()


def as_text(texts: list[str]) -> bytes:
    return "".join(f"{text}\n<|endoftext|>\n" for text in texts).encode()


WRITERS = {"jsonl": as_jsonl, "csv": as_csv, "parquet": as_parquet}
# Any text with something in it that is not a space. The csv module ends a bare row at a lone carriage return.
ANY_TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1).filter(str.strip)
PACKING = ["", ".gz", ".zst"]


class TestRoundTrip:
    @pytest.mark.parametrize("ending", PACKING)
    @pytest.mark.parametrize("kind", WRITERS)
    @settings(max_examples=15, deadline=None)
    @given(texts=st.lists(ANY_TEXT, min_size=1, max_size=30))
    def test_any_text_comes_back_from_every_table_format(
        self, tmp_path_factory: pytest.TempPathFactory, kind: str, ending: str, texts: list[str]
    ) -> None:
        folder = tmp_path_factory.mktemp("round")
        path = packed(folder / f"data.{kind}", WRITERS[kind](texts), ending)
        found, report = read(path)
        assert found == texts
        assert (report.documents, report.files, report.skips) == (len(texts), 1, [])
        assert report.text_bytes == sum(len(text.encode()) for text in texts)

    @pytest.mark.parametrize("ending", PACKING)
    @settings(max_examples=30, deadline=None)
    @given(
        texts=st.lists(
            ANY_TEXT.map(lambda text: " ".join(text.split())).filter(lambda text: text and text != "<|endoftext|>"),
            min_size=1,
        )
    )
    def test_any_text_comes_back_from_separated_text(
        self, tmp_path_factory: pytest.TempPathFactory, ending: str, texts: list[str]
    ) -> None:
        path = packed(tmp_path_factory.mktemp("round") / "data.txt", as_text(texts), ending)
        assert read(path)[0] == texts

    @settings(max_examples=50, deadline=None)
    @given(text=ANY_TEXT.filter(lambda text: "\f" not in text and "\ufeff" not in text))
    def test_a_text_file_is_one_document_with_unix_line_ends(
        self, tmp_path_factory: pytest.TempPathFactory, text: str
    ) -> None:
        path = tmp_path_factory.mktemp("round") / "data.md"
        path.write_bytes(text.encode())
        assert read(path)[0] == [text.replace("\r\n", "\n").replace("\r", "\n")]

    @settings(max_examples=200)
    @given(text=st.text(st.sampled_from("ab \n"), max_size=200), most=st.integers(2, 50))
    def test_cut_pieces_join_to_the_text(self, text: str, most: int) -> None:
        pieces = list(paragraphs_up_to(text, most))
        assert "".join(pieces) == text
        assert all(len(piece) <= most for piece in pieces)
        assert all(pieces[:-1])

    @settings(max_examples=100, deadline=None)
    @given(
        parts=st.lists(st.sampled_from(["a b", "é", "\n", "\f", "\f\n", "<|endoftext|>", "---\n", "\r\n", "x\n\ny"])),
        chunk=st.integers(1, 7),
    )
    def test_text_does_not_depend_on_how_much_is_read_at_once(
        self, tmp_path_factory: pytest.TempPathFactory, parts: list[str], chunk: int
    ) -> None:
        path = tmp_path_factory.mktemp("chunks") / "data.txt"
        path.write_bytes(b"begin" + "".join(parts).encode())
        whole = read(path, separator="---")[0]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "CHUNK", chunk)
            assert read(path, separator="---")[0] == whole


class TestText:
    def test_separators(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        path.write_text("one\n\f\ntwo\n<|endoftext|>\nthree<|endoftext|>four\n***\nfive***\n\n<|endoftext|>\n\n")
        assert read(path)[0] == ["one", "two", "three", "four\n***\nfive***"]
        assert read(path, separator="***")[0] == ["one", "two", "three", "four", "five***"]

    def test_byte_order_marks_and_utf16(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_bytes("naïve".encode("utf-8-sig"))
        (tmp_path / "b.txt").write_bytes("naïve 🐱".encode("utf-16"))
        (tmp_path / "c.csv").write_bytes("text\nnaïve\n".encode("utf-8-sig"))
        (tmp_path / "d.csv").write_bytes("n;text\n1;naïve, yes\n".encode("utf-16"))
        assert read(tmp_path)[0] == ["naïve", "naïve 🐱", "naïve", "naïve, yes"]

    def test_not_utf8_names_the_byte_and_where(self, tmp_path: Path) -> None:
        (tmp_path / "bad.txt").write_bytes(b"kept\n<|endoftext|>\ncaf" + b"\xe9 au lait")
        found, report = read(tmp_path)
        assert found == ["kept"]
        assert "byte 0xE9 at byte 22" in report.skips[0].detail

    def test_not_utf8_far_into_a_file_counts_from_its_beginning(self, tmp_path: Path) -> None:
        data = ("é" * 700_000).encode() + b"\xff"
        (tmp_path / "bad.txt").write_bytes(b"kept<|endoftext|>a" + data)
        found, report = read(tmp_path)
        assert found == ["kept"]
        assert f"0xFF at byte {18 + 1_400_000:,}" in report.skips[0].detail

    @pytest.mark.parametrize("at", [4, 5_000_000])
    def test_binary(self, tmp_path: Path, at: int) -> None:
        (tmp_path / "bad.txt").write_bytes(b"a" * at + b"\0" + b"b" * 100)
        (tmp_path / "good.txt").write_text("good")
        found, report = read(tmp_path)
        assert found[-1] == "good"
        assert report.skips[0].kind == "binary"
        assert f"{at:,}" in report.skips[0].detail or f"byte {at}" in report.skips[0].detail

    def test_empty_and_blank(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").touch()
        (tmp_path / "b.txt").write_text(" \n\n ")
        (tmp_path / "c.txt").write_text("c")
        found, report = read(tmp_path)
        assert found == ["c"]
        assert [(Path(skip.path).name, skip.kind) for skip in report.skips] == [("a.txt", "empty"), ("b.txt", "empty")]

    def test_a_huge_text_is_cut_at_paragraphs(self, tmp_path: Path) -> None:
        paragraph = "A line of words.\nAnother line.\n\n"
        text = paragraph * 200_000
        (tmp_path / "a.txt").write_text(text)
        found, report = read(tmp_path)
        assert "".join(found) == text
        assert all(len(part) <= module.MAX_DOCUMENT and part.endswith("\n\n") for part in found)
        assert report.cut == 1
        assert len(found) == 4

    def test_a_huge_line_is_cut(self, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl").write_text(json.dumps({"text": "x" * 5_000_000}))
        found, report = read(tmp_path)
        assert [*map(len, found)][:2] == [module.MAX_DOCUMENT * 9 // 10] * 2
        assert sum(map(len, found)) == 5_000_000
        assert report.cut == 1


class TestFolders:
    def test_order_hidden_and_unsupported(self, tmp_path: Path) -> None:
        for name in ("b/2.txt", "b/1.md", "a.txt", ".hidden/x.txt", "c/.secret.txt", "picture.png", "noending"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(name)
        found, report = read(tmp_path)
        assert found == ["a.txt", "b/1.md", "b/2.txt"]
        assert report.skip_counts == {"unsupported ending": 2}
        assert "ending .png" in report.summary()

    def test_a_link_back_to_the_folder_does_not_loop(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "a.txt").write_text("a")
        (tmp_path / "in" / "back").symlink_to(tmp_path)
        (tmp_path / "link.txt").symlink_to(tmp_path / "in" / "a.txt")
        (tmp_path / "dead.txt").symlink_to(tmp_path / "nothing")
        found, report = read(tmp_path, tmp_path / "in" / "a.txt")
        assert found == ["a"]
        assert report.skip_counts == {"cannot be opened": 1}

    def test_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.txt")
        (tmp_path / "a.txt").write_text("a")
        found, report = read(tmp_path)
        assert found == ["a"]
        assert report.skip_counts == {"not a file": 1}

    def test_missing_path(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"nowhere does not exist"):
            read(tmp_path / "nowhere")

    def test_nothing_readable_says_why(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"0 readable documents \(no files\)"):
            read(tmp_path)
        (tmp_path / "a.docx").write_text("x")
        (tmp_path / "b.txt").write_bytes(b"\0\0")
        with pytest.raises(DataError, match=r"1 unsupported ending, 1 binary.*a\.docx"):
            read(tmp_path)


class TestJsonl:
    def test_bad_lines_are_counted_with_their_numbers(self, tmp_path: Path) -> None:
        lines = [
            b'{"text": "one"}', b'{"text": "two"', b"", b'{"text": 3}', b'"four"', b'{"text": "\xff"}',
            b'{"text": "\\ud800"}', b"[" * 100_000, b'{"other": "x"}', b'{"text": "  "}', b'{"text": "last"}',
        ]  # fmt: skip
        (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
        found, report = read(tmp_path)
        assert found == ["one", "four", "last"]
        assert report.empty == 1
        assert report.skip_counts == {"malformed JSON": 2, "missing column": 2, "not UTF-8": 1, "not Unicode": 1}
        assert "2 lines (2, 8): not JSON (Expecting ',' delimiter at character 16)" in report.skips[0].detail
        assert "0xFF" in report.summary()

    def test_a_line_that_is_too_long_is_passed_over(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "MAX_RECORD", 100)
        (tmp_path / "a.jsonl").write_bytes(as_jsonl(["one", "x" * 1000, "two"]))
        found, report = read(tmp_path)
        assert found == ["one", "two"]
        assert report.skip_counts == {"line too long": 1}

    def test_columns(self, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl").write_text('{"n": 1, "story": "a"}\n{"n": 2, "story": "b"}\n')
        (tmp_path / "b.jsonl").write_text('{"title": "T", "body": "B"}\n')
        assert read(tmp_path / "a.jsonl")[0] == ["a", "b"]
        assert read(tmp_path / "b.jsonl", column="body")[0] == ["B"]
        with pytest.raises(DataError, match=r"columns title, body, but none is called text and 2"):
            read(tmp_path / "b.jsonl")
        with pytest.raises(DataError, match=r"2 missing column.*2 lines \(1, 2\): no text under 'body'"):
            read(tmp_path / "a.jsonl", column="body")


class TestTables:
    def test_csv_columns(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("n,words\n1,one\n2,two\n")
        (tmp_path / "b.csv").write_text("title,body\nT,B\n")
        assert read(tmp_path / "a.csv")[0] == ["one", "two"]
        assert read(tmp_path / "b.csv", column="body")[0] == ["B"]
        with pytest.raises(DataError, match=r"columns title, body"):
            read(tmp_path / "b.csv")
        found, report = read(tmp_path, column="words")
        assert found == ["one", "two"]
        assert "no column 'words' among title, body" in report.summary()

    def test_broken_csv_keeps_the_rows_before(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_bytes(b'n,text\n1,one\n2\n3,caf\xe9\n4,"half')
        found, report = read(tmp_path)
        assert found == ["one"]
        assert report.skip_counts == {"missing column": 1, "not UTF-8": 1, "broken CSV": 1}

    def test_parquet_columns(self, tmp_path: Path) -> None:
        def write(name: str, **columns: list[object]) -> Path:
            parquet.write_table(arrow.table(columns), tmp_path / name)
            return tmp_path / name

        assert read(write("a.parquet", n=[1, 2], story=["a", None]))[0] == ["a"]
        with pytest.raises(DataError, match=r"columns title, body"):
            read(write("b.parquet", title=["T"], body=["B"]))
        with pytest.raises(DataError, match=r"column 'n' holds int64, not text"):
            read(tmp_path / "a.parquet", column="n")
        with pytest.raises(DataError, match=r"no column 'words'; it has title, body"):
            read(tmp_path / "b.parquet", column="words")
        encoded = arrow.table({"text": arrow.array(["x", "y", "x"]).dictionary_encode()})
        parquet.write_table(encoded, tmp_path / "c.parquet")
        assert read(tmp_path / "c.parquet")[0] == ["x", "y", "x"]

    @pytest.mark.parametrize(
        "name", ["a.jsonl.gz", "a.jsonl.zst", "a.txt.gz", "a.csv.zst", "a.parquet", "a.parquet.gz"]
    )
    @pytest.mark.parametrize("damage", ["half", "garbage"])
    def test_half_written_files(self, tmp_path: Path, name: str, damage: str) -> None:
        kind = name.split(".")[1]
        texts = [f"{n} " + os.urandom(500).hex() for n in range(2000)]
        data = (WRITERS | {"txt": as_text})[kind](texts)
        whole = packed(tmp_path / f"a.{kind}", data, name.removeprefix(f"a.{kind}"))
        raw = whole.read_bytes()
        whole.write_bytes(raw[: len(raw) // 2] if damage == "half" else b"garbage!" * 100)
        (tmp_path / "z.txt").write_text("good")
        found, report = read(tmp_path)
        assert found[-1] == "good"
        assert found[:-1] == texts[: len(found) - 1]
        assert len(report.skips) == 1
        assert report.skips[0].kind.startswith("broken")
        if damage == "half" and kind != "parquet":
            assert len(found) > 100

    @pytest.mark.parametrize(("name", "library"), [("a.parquet", "pyarrow"), ("a.txt.zst", "zstandard")])
    def test_missing_library(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, library: str) -> None:
        monkeypatch.setitem(sys.modules, library, None)
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(MissingExtraError, match=rf"{library} is not installed.*limner\[data\]"):
            read(tmp_path)


def test_report_survives_json() -> None:
    report = ReadReport(files=2, documents=3, duplicates=1, notes=["so"])
    report.skip("a.png", "unsupported ending", "has the ending .png")
    report.skip("b.jsonl", "malformed JSON", "line 2: not JSON", count=4)
    again = ReadReport.from_json(json.loads(json.dumps(report.to_json())))
    assert again == report
    assert "4 malformed JSON, 1 unsupported ending" in again.summary()


def test_the_report_of_a_million_bad_files_stays_small() -> None:
    report = ReadReport()
    for number in range(3000):
        report.skip(number, "binary", "binary")
    assert len(report.skips) == 1000
    assert report.skip_counts["binary"] == 3000
