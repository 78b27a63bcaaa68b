"""From files and folders to documents, one at a time.

Every reader streams: what is in memory at once is one document and a buffer, whatever the size of the file.
A file that breaks off or stops making sense gives the documents that were whole before that point.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import re
import shutil
import tempfile
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.core.errors import DataError, MissingExtraError
from limner.data.report import ReadReport
from limner.data.split import cut_near
from limner.data.streams import CHUNK, BrokenFileError, open_bytes, open_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence

    Read = Callable[["Source", "ReadOptions", ReadReport], Iterator["Document"]]

END_OF_TEXT = "<|endoftext|>"
MAX_DOCUMENT = 2 << 20  # characters; a tokenizer takes some 50 times this in bytes while it works on one
MAX_RECORD = 64 << 20  # bytes of one line of JSON or one field of CSV; a longer one is damage, not text
_PEEKED_ROWS = 20


@dataclass(frozen=True)
class Document:
    """A text and where it came from: the file and the number of the line, row or part in it (from 1)."""

    text: str
    path: Path
    number: int

    @property
    def source(self) -> str:
        """``file:number``"""
        return f"{self.path}:{self.number}"


@dataclass(frozen=True)
class ReadOptions:
    """How files are read.

    Args:
        column: the column of .csv and .parquet files and the key of .jsonl records that holds the text; None takes
            ``text``, or else the only one that holds text.
        separator: a line that stands between two documents of a .txt or .md file, beside ``<|endoftext|>``
            (anywhere) and a line with nothing but a form feed.
        max_document: characters; longer documents are cut at paragraphs.
    """

    column: str | None = None
    separator: str | None = None
    max_document: int = MAX_DOCUMENT


@dataclass(frozen=True)
class Source:
    """A file to read; ``count`` is told how many bytes of it have been read from disk."""

    path: Path
    size: int
    kind: str
    count: Callable[[int], None] = lambda _: None


# ── finding files ──────────────────────────────────────────────────────────────────────────────────────────


def find_sources(
    paths: Iterable[Path | str],
    report: ReadReport,
    *,
    passing: Path | None = None,
    endings: Collection[str] | None = None,
) -> list[Source]:
    """The readable files among ``paths`` and in the folders among them, folders sorted, each file once.

    Files and folders whose names begin with a dot are passed over, as are links back to a folder already entered
    and the folder ``passing`` (a cache may lie among the data).

    Args:
        endings: of files that are readable; None takes those of texts.
    Raises:
        DataError: a path does not exist.
    """
    found: list[Source] = []
    seen: set[str] = set()
    endings = _READERS if endings is None else endings
    for given in paths:
        path = Path(given).expanduser()
        if not path.exists():
            raise DataError(f"{path} does not exist, but was given as data. Check the spelling of the path.")
        for file in _walk(path, passing) if path.is_dir() else [path]:
            real = os.path.realpath(file)
            if real in seen:
                continue
            seen.add(real)
            kind = _kind(file)
            if kind not in endings:
                known = ", ".join(sorted(endings))
                report.skip(file, "unsupported ending", f"has the ending {file.suffix or '(none)'}, not {known}")
                continue
            try:
                size = file.stat().st_size
            except OSError as error:
                report.skip(file, "cannot be opened", f"cannot be opened ({error.strerror})")
                continue
            if not file.is_file():
                report.skip(file, "not a file", "is not a file")
            elif size == 0:
                report.skip(file, "empty", "is empty")
            else:
                found.append(Source(file, size, kind))
    return found


def _walk(folder: Path, passing: Path | None) -> Iterator[Path]:
    entered: set[str] = set() if passing is None else {os.path.realpath(passing)}
    for here, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(here) / name


def _kind(path: Path) -> str:
    """``".jsonl"`` for ``stories.JSONL.gz``."""
    return Path(path.stem if path.suffix.lower() in {".gz", ".zst"} else path.name).suffix.lower()


# ── reading ────────────────────────────────────────────────────────────────────────────────────────────────


def read_documents(
    paths: Iterable[Path | str],
    *,
    column: str | None = None,
    report: ReadReport | None = None,
    separator: str | None = None,
    max_document: int = MAX_DOCUMENT,
) -> Iterator[Document]:
    """Read every .txt, .md, .jsonl, .csv and .parquet file (plain, .gz or .zst) at or under ``paths``.

    Args:
        paths: files and folders.
        column: the column or key with the text; None takes ``text``, or else the only one that holds text.
        report: filled in while reading with counts, and with what was skipped and why.
        separator: a line that stands between two documents of a .txt or .md file, beside ``<|endoftext|>`` and a
            line with nothing but a form feed.
        max_document: characters; longer documents are cut at paragraphs.
    Raises:
        DataError: a path does not exist; several columns might be the text; no file gave a document.
        MissingExtraError: a .parquet or .zst file without the libraries of the extra ``data``.
    """
    report = ReadReport() if report is None else report
    sources = find_sources(paths, report)
    options = ReadOptions(column, separator, max_document)
    before = report.documents
    yield from read_sources(sources, options, report)
    if report.documents == before:
        raise nothing_readable(report)


def nothing_readable(report: ReadReport) -> DataError:
    """The error for a corpus with no document in it."""
    reasons = dict(report.skip_counts) | ({"only spaces": report.empty} if report.empty else {})
    told = ", ".join(f"{count:,} {kind}" for kind, count in Counter(reasons).most_common())
    first = f" First: {report.skips[0]}." if report.skips else ""
    return DataError(
        f"the data has 0 readable documents ({told or 'no files'}), but at least 1 is needed.{first} "
        "Give files ending in .txt, .md, .jsonl, .csv or .parquet, or a folder that holds some."
    )


def read_sources(
    sources: Sequence[Source], options: ReadOptions, report: ReadReport
) -> Generator[Document, None, None]:
    """The documents of files that ``find_sources`` found; those of only spaces are dropped, long ones cut."""
    for source in sources:
        gave = False

        def count(size: int, told: Callable[[int], None] = source.count) -> None:
            report.disk_bytes += size
            told(size)

        try:
            counted = Source(source.path, source.size, source.kind, count)
            for document in _READERS[source.kind](counted, options, report):
                if not document.text.strip():
                    report.empty += 1
                    continue
                gave = True
                for part in _cut(document, options.max_document, report):
                    report.documents += 1
                    report.text_bytes += len(part.text) if part.text.isascii() else len(part.text.encode())
                    yield part
        except BrokenFileError as error:
            report.skip(source.path, error.kind, str(error))
        except OSError as error:
            report.skip(source.path, "cannot be read", f"cannot be read ({error.strerror or error})")
        report.files += gave


def _cut(document: Document, most: int, report: ReadReport) -> Iterator[Document]:
    if len(document.text) <= most:
        yield document
        return
    report.cut += 1
    for piece in paragraphs_up_to(document.text, most):
        if piece.strip():
            yield Document(piece, document.path, document.number)


def paragraphs_up_to(text: str, most: int) -> Iterator[str]:
    """Cut a text into pieces of at most ``most`` characters, at blank lines if it has them."""
    start = 0
    while len(text) - start > most:
        end = start + cut_near(text[start : start + most], most * 9 // 10)
        yield text[start:end]
        start = end
    yield text[start:]


# ── .txt and .md ───────────────────────────────────────────────────────────────────────────────────────────


def _read_text(source: Source, options: ReadOptions, report: ReadReport) -> Iterator[Document]:
    lines = "|".join(["\f", *([re.escape(options.separator)] if options.separator else [])])
    separator = re.compile(rf"{re.escape(END_OF_TEXT)}|(?:{lines})[ \t]*(?:\n|\Z)")
    number, buffer, cutting = 0, "", False
    with open_text(source.path, source.count) as stream:
        chunks = _decoded(stream)
        broken: BrokenFileError | None = None
        last = False
        while not last:
            try:
                chunk = next(chunks, None)
            except BrokenFileError as error:
                chunk, broken = None, error
            last = chunk is None
            buffer += chunk or ""
            start = 0
            for match in separator.finditer(buffer):
                # Checked here and not in the pattern, which is ten times as fast when it can look for first letters.
                at = match.start()
                if match[0] != END_OF_TEXT and at > start and not buffer.endswith("\n", start, at):
                    continue  # in the middle of a line
                if match.end() == len(buffer) and not last and not match[0].endswith(("\n", END_OF_TEXT)):
                    break  # the line may go on
                text = buffer[start:at].strip("\n")
                start, cutting = match.end(), False
                if text.strip():
                    number += 1
                    yield Document(text, source.path, number)
            buffer = buffer[start:]
            if not last and len(buffer) > options.max_document + CHUNK:
                *pieces, buffer = paragraphs_up_to(buffer, options.max_document)
                report.cut += not cutting
                cutting = True
                for piece in pieces:
                    number += 1
                    yield Document(piece, source.path, number)
        if broken:
            raise broken
        if buffer.strip():
            pieces = list(paragraphs_up_to(buffer, options.max_document)) if cutting else [buffer.strip("\n")]
            for piece in pieces if number else [buffer]:
                number += 1
                yield Document(piece, source.path, number)
        elif not number:
            report.skip(source.path, "empty", "holds nothing but spaces")


def _decoded(stream: io.BufferedReader) -> Iterator[str]:
    """The stream as text with ``\\n`` line ends; the text before a byte that is not UTF-8 comes before the error."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    at = 0
    while True:
        chunk = stream.read1(CHUNK)
        begun = len(decoder.getstate()[0])
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            yield newlines.decode(error.object[: error.start].decode(), final=True)
            bad = error.object[error.start]
            raise BrokenFileError(
                "not UTF-8", f"not UTF-8: byte 0x{bad:02X} at byte {at - begun + error.start:,}; save it as UTF-8"
            ) from None
        at += len(chunk)
        if (nul := text.find("\0")) >= 0:
            yield newlines.decode(text[:nul], final=True)
            raise BrokenFileError("binary", f"binary from about byte {at - len(chunk) - begun + nul:,}: a NUL byte")
        yield newlines.decode(text, final=not chunk)
        if not chunk:
            return


# ── .jsonl ─────────────────────────────────────────────────────────────────────────────────────────────────


class BadLines:
    """Counts the bad lines of one file by kind; one entry of the report for each kind, with the first line numbers."""

    def __init__(self, path: object, report: ReadReport) -> None:
        self._path, self._report = path, report
        self._bad: dict[str, tuple[str, list[int], int]] = {}

    def bad(self, kind: str, detail: str, number: int) -> None:
        first, numbers, count = self._bad.get(kind, (detail, [], 0))
        self._bad[kind] = (first, [*numbers, number] if len(numbers) < 5 else numbers, count + 1)

    def finish(self) -> None:
        for kind, (detail, numbers, count) in self._bad.items():
            where = f"line {numbers[0]}" if count == 1 else f"{count:,} lines ({', '.join(map(str, numbers))}"
            where += "" if count == 1 else ", …)" if count > len(numbers) else ")"
            self._report.skip(self._path, kind, f"{where}: {detail}", count)


def _read_jsonl(source: Source, options: ReadOptions, report: ReadReport) -> Iterator[Document]:
    lines = BadLines(source.path, report)
    column = options.column
    try:
        with open_text(source.path, source.count) as stream:
            for number, record in json_records(stream, lines):
                if column is None and isinstance(record, dict):
                    column = _choose(source, {key for key, value in record.items() if isinstance(value, str)}, record)
                text = record.get(column) if isinstance(record, dict) and column is not None else record
                if not isinstance(text, str):
                    lines.bad("missing column", f"no text under {column!r}", number)
                elif not whole_text(text):
                    lines.bad("not Unicode", "half of a surrogate pair", number)
                else:
                    yield Document(text, source.path, number)
    finally:
        lines.finish()


def json_records(stream: io.BufferedReader, lines: BadLines) -> Iterator[tuple[int, Any]]:
    """What the lines of JSON hold, with their numbers; ``lines`` is told of those that are not JSON."""
    for number, line in enumerate(_bounded_lines(stream), start=1):
        if line is None:
            lines.bad("line too long", f"longer than {MAX_RECORD >> 20} MB", number)
            continue
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode())
        except UnicodeDecodeError as error:
            lines.bad("not UTF-8", f"byte 0x{line[error.start]:02X} is not UTF-8", number)
            continue
        except json.JSONDecodeError as error:
            where = f"{error.msg.removesuffix(' starting at')} at character {error.pos + 1}"
            lines.bad("malformed JSON", f"not JSON ({where})", number)
            continue
        except (ValueError, RecursionError) as error:
            lines.bad("malformed JSON", f"not JSON ({str(error) or 'nested too deep'})", number)
            continue
        yield number, record


def _bounded_lines(stream: io.BufferedReader) -> Iterator[bytes | None]:
    """Lines of bytes; None for one longer than ``MAX_RECORD``, which is passed over without being held."""
    while line := stream.readline(MAX_RECORD):
        if len(line) < MAX_RECORD or line.endswith(b"\n"):
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(CHUNK)
        yield None


def whole_text(text: str) -> bool:
    """Whether it can be written as UTF-8: no half of a surrogate pair is in it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _choose(source: Source, textual: Iterable[str], every: Iterable[str]) -> str:
    """The column with the text when none was asked for."""
    candidates = sorted(textual)
    if "text" in every:
        return "text"
    if len(candidates) == 1:
        return candidates[0]
    names = ", ".join(map(str, every)) or "none"
    texts = f"{len(candidates)} of them hold" if candidates else "none of them holds"
    raise DataError(
        f"{source.path} has the columns {names}, but none is called text and {texts} text. "
        "Say which to read with column (on the command line, --column NAME)."
    )


# ── .csv ───────────────────────────────────────────────────────────────────────────────────────────────────


def _read_csv(source: Source, options: ReadOptions, report: ReadReport) -> Iterator[Document]:
    lines = BadLines(source.path, report)
    try:
        with open_text(source.path, source.count) as stream, closing(csv_rows(stream)) as rows:
            _, header = next(rows, (0, []))
            peeked: list[tuple[int, list[str]]] = []
            place: int | None = None
            broken: BrokenFileError | None = None
            try:
                for number, row in rows:
                    peeked.append((number, row))
                    if place is None and len(peeked) == _PEEKED_ROWS:
                        place = _csv_place(source, options, header, peeked)
                    if place is not None:
                        yield from _csv_texts(source, header[place], place, peeked, lines)
                        peeked.clear()
            except BrokenFileError as error:
                broken = error
            if peeked and place is None:
                place = _csv_place(source, options, header, peeked)
                yield from _csv_texts(source, header[place], place, peeked, lines)
            if broken:
                raise broken
    finally:
        lines.finish()


def csv_rows(stream: io.BufferedReader) -> Generator[tuple[int, list[str]], None, None]:
    """The rows with the numbers of their lines, the header first; bytes that are not UTF-8 come as half surrogates.

    To be closed before the stream is.

    Raises:
        BrokenFileError: where it is not CSV.
    """
    csv.field_size_limit(max(csv.field_size_limit(), MAX_RECORD))
    first = stream.peek(CHUNK).split(b"\n", 1)[0]
    delimiter = max(",;\t", key=lambda mark: first.count(mark.encode()))
    text = io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="")
    rows = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        for row in rows:
            yield rows.line_num, row
    except csv.Error as error:
        raise BrokenFileError("broken CSV", f"line {rows.line_num}: not CSV ({error})") from None
    finally:
        text.detach()


def _csv_place(source: Source, options: ReadOptions, header: list[str], rows: list[tuple[int, list[str]]]) -> int:
    if options.column is None:
        textual = [
            name
            for place, name in enumerate(header)
            if not all(_numeric(row[place]) for _, row in rows if place < len(row))
        ]
        return header.index(_choose(source, textual, header))
    if options.column not in header:
        raise BrokenFileError("missing column", f"no column {options.column!r} among {', '.join(header)}")
    return header.index(options.column)


def _csv_texts(
    source: Source, column: str, place: int, rows: list[tuple[int, list[str]]], lines: BadLines
) -> Iterator[Document]:
    for number, row in rows:
        if place >= len(row):
            if row:
                lines.bad("missing column", f"too short a row for the column {column!r}", number)
        elif not whole_text(row[place]):
            lines.bad("not UTF-8", "not UTF-8", number)
        else:
            yield Document(row[place], source.path, number)


def _numeric(value: str) -> bool:
    try:
        float(value or 0)
    except ValueError:
        return False
    return True


# ── .parquet ───────────────────────────────────────────────────────────────────────────────────────────────


def _read_parquet(source: Source, options: ReadOptions, report: ReadReport) -> Iterator[Document]:
    with unpacked_file(source) as path:
        counted = source if path == source.path else replace(source, size=0)
        yield from _parquet_rows(counted, path, options)


@contextmanager
def unpacked_file(source: Source) -> Iterator[Path]:
    """The file itself, or a copy that is not packed, for formats that are not read from their beginning."""
    if source.path.suffix.lower() not in {".gz", ".zst"}:
        yield source.path
        return
    with tempfile.NamedTemporaryFile(suffix=source.kind) as unpacked:
        with open_bytes(source.path, source.count) as stream:
            shutil.copyfileobj(stream, unpacked, CHUNK)
        unpacked.flush()
        yield Path(unpacked.name)


def _parquet_rows(source: Source, path: Path, options: ReadOptions) -> Iterator[Document]:
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise MissingExtraError("pyarrow", "data", f"reading {source.path.name}") from None
    number, told = 0, 0
    try:
        with parquet.ParquetFile(path, buffer_size=CHUNK) as file:
            schema = file.schema_arrow
            column = options.column
            if column is None:
                column = _choose(source, [one.name for one in schema if _is_text(one.type, arrow)], schema.names)
            kind = schema.field(column).type if column in schema.names else None
            if kind is None or not _is_text(kind, arrow):
                why = f"column {column!r} holds {kind}, not text" if kind else f"no column {column!r}"
                raise BrokenFileError("missing column", f"{why}; it has {', '.join(schema.names)}")
            rows = max(1, file.metadata.num_rows)
            for batch in file.iter_batches(batch_size=256, columns=[column]):
                for value in batch.column(0).to_pylist():
                    number += 1
                    yield Document(value or "", source.path, number)
                now = source.size * number // rows
                source.count(now - told)
                told = now
    except (arrow.ArrowException, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0]
        raise BrokenFileError("broken Parquet", f"not sound Parquet from row {number + 1} on ({reason})") from None


def _is_text(kind: Any, arrow: Any) -> bool:
    kind = kind.value_type if arrow.types.is_dictionary(kind) else kind
    return bool(arrow.types.is_string(kind) or arrow.types.is_large_string(kind) or arrow.types.is_string_view(kind))


_READERS: dict[str, Read] = {
    ".txt": _read_text,
    ".md": _read_text,
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
