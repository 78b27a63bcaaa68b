"""From files and folders to captioned pictures, one at a time.

A picture may have its captions beside it (``cat.png`` and ``cat.txt``, a line each; or ``cat.json``), in a table that
names it (``metadata.jsonl`` or ``.csv``, as Hugging Face's image folders have), or in the same row of a Parquet file. A
tar is read as the folder that was packed, which is what WebDataset's shards are. Every reader streams: what is in
memory is one picture, and the captions of tables and of the tar that is being read.
"""

from __future__ import annotations

import io
import json
import os
import posixpath
import tarfile
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, Self

from limner.core.errors import ConfigError, DataError, MissingExtraError
from limner.data.documents import (
    BadLines,
    Source,
    csv_rows,
    find_sources,
    json_records,
    unpacked_file,
    whole_text,
)
from limner.data.pixels import open_picture, quiet_decoders, to_rgb
from limner.data.report import PictureReport
from limner.data.streams import CHUNK, BrokenFileError, as_text, open_bytes, open_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from PIL.Image import Image

PICTURES = (".jpeg", ".jpg", ".png", ".webp")
SIDECARS = (".json", ".txt")
TABLES = (".csv", ".jsonl")
ENDINGS = (*PICTURES, *SIDECARS, *TABLES, ".parquet", ".tar")
FILE_COLUMNS = ("file_name", "filename", "file", "image", "image_path", "path")
CAPTION_COLUMNS = ("text", "caption", "captions", "prompt", "description", "sentence", "sentences")
BESIDE = "_file_name"  # how columns end that name other files of a picture, as Hugging Face's image folders have them
IMAGE_COLUMNS = ("image", "img", "picture", "jpg", "png", "webp")
MAX_FILE = 256 << 20  # bytes of one picture
MAX_SIDECAR = 1 << 20  # bytes of captions of one picture
_ROWS = 16  # of a Parquet file in memory at once

Captions = Literal["auto", "folder", "none"]


@dataclass(frozen=True)
class CaptionedPicture:
    """A picture and what it shows.

    Args:
        name: where it came from: its path, or ``shard.tar/00001.jpg``, or ``rows.parquet:17``.
        image: 8-bit RGB, turned as its EXIF data says, on white where it was transparent.
        captions: one at the least, unless none were asked for.
    """

    name: str
    image: Image
    captions: tuple[str, ...]


@dataclass(frozen=True)
class PictureOptions:
    """How pictures and captions are read.

    Args:
        column: the column of tables, and the key of .json files, that holds captions; None takes the first of
            ``CAPTION_COLUMNS`` that is there, or else the only one that holds text.
        captions: ``"auto"`` finds them beside the pictures and in tables; ``"folder"`` makes one, "a picture of
            NAME", of the name of the folder that a picture lies in; ``"none"`` takes pictures as they are, whether or
            not they have some.
    """

    column: str | None = None
    captions: Captions = "auto"

    def __post_init__(self) -> None:
        if self.captions not in ("auto", "folder", "none"):
            raise ConfigError(f"captions is {self.captions!r}, but must be 'auto', 'folder' or 'none'.")


@dataclass(frozen=True)
class EncodedPicture:
    """A picture as it lies in its file, and its captions."""

    name: str
    content: bytes | Source
    captions: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.size

    def read(self) -> bytes:
        """The bytes of the picture.

        Raises:
            BrokenFileError: the file is too large or cannot be read.
        """
        if isinstance(self.content, bytes):
            return self.content
        if self.size > MAX_FILE:
            raise _too_long(self.size)
        try:
            return self.content.path.read_bytes()
        except OSError as error:
            raise BrokenFileError("cannot be read", f"cannot be read ({error.strerror or error})") from None


@dataclass
class PictureFiles:
    """What was found under the paths that were given.

    Args:
        sources: pictures, tars and Parquet files with pictures, in the order in which they are read.
        sidecars: files with captions, by the path of their picture without its ending.
        table: captions by the path of the picture.
        beside: tells which files tables name beside a picture; the same table where captions are asked for.
        others: the files of captions.
    """

    sources: list[Source] = field(default_factory=list)
    sidecars: dict[str, Source] = field(default_factory=dict)
    table: CaptionTable = field(default_factory=lambda: CaptionTable())
    beside: CaptionTable = field(default_factory=lambda: CaptionTable())
    others: list[Source] = field(default_factory=list)


def read_pictures(
    paths: Iterable[Path | str],
    report: PictureReport | None = None,
    *,
    column: str | None = None,
    captions: Captions = "auto",
) -> Iterator[CaptionedPicture]:
    """Read every captioned PNG, JPEG and WebP at or under ``paths``, in tars and in Parquet files too.

    Args:
        paths: files and folders.
        report: filled in while reading with counts, and with what was skipped and why.
        column, captions: see ``PictureOptions``.
    Raises:
        DataError: a path does not exist; several columns might hold the captions; no picture (with a caption) was found.
        MissingExtraError: a .parquet or .zst file without the libraries of the extra ``data``.
    """
    report = PictureReport() if report is None else report
    options = PictureOptions(column, captions)
    files = find_pictures(paths, options, report)
    before = report.pictures
    for picture in encoded_pictures(files, options, report):
        try:
            with quiet_decoders():
                image = to_rgb(open_picture(picture.read()))
        except BrokenFileError as error:
            report.skip(picture.name, error.kind, str(error))
            continue
        report.read(picture.captions)
        yield CaptionedPicture(picture.name, image, picture.captions)
    if report.pictures == before:
        raise no_pictures(report, captions)


def no_pictures(report: PictureReport, captions: Captions) -> DataError:
    """The error for data without a single picture, or without one that has a caption."""
    told = ", ".join(f"{count:,} {kind}" for kind, count in report.skip_counts.most_common())
    first = f" First: {report.skips[0]}." if report.skips else ""
    if report.skip_counts["no caption"]:
        remedy = (
            "Put a .txt of the same name beside each picture, or a metadata.jsonl or .csv with file_name and text in "
            'their folder; or have captions made of the folders\' names with captions="folder" (on the command line, '
            "--captions folder)."
        )
    else:
        remedy = "Give a folder of PNG, JPEG or WebP pictures, a .tar or a .parquet with some."
    what = "pictures" if captions == "none" else "pictures with captions"
    return DataError(
        f"the data has 0 readable {what} ({told or 'no files'}), but at least 1 is needed.{first} {remedy}"
    )


# ── finding files ──────────────────────────────────────────────────────────────────────────────────────────


def find_pictures(
    paths: Iterable[Path | str], options: PictureOptions, report: PictureReport, *, passing: Path | None = None
) -> PictureFiles:
    """Find the files and read the tables of captions; see ``limner.data.documents.find_sources``.

    Raises:
        DataError: a path does not exist, or several columns of a table might hold the captions.
    """
    files = PictureFiles()
    tables: list[Source] = []
    stems: set[str] = set()
    known: set[str] = set()
    for source in find_sources(paths, report, passing=passing, endings=ENDINGS):
        path = os.path.abspath(source.path)
        if source.kind in PICTURES:
            stems.add(os.path.splitext(path)[0])
            known.add(path)
            files.sources.append(source)
        elif source.kind == ".tar" or (source.kind == ".parquet" and not _is_table(source)):
            files.sources.append(source)
        elif source.kind not in SIDECARS:
            tables.append(source)
        elif options.captions == "auto":
            files.others.append(source)
            stem = os.path.splitext(path)[0]
            if stem not in files.sidecars or source.kind == ".txt":
                files.sidecars[stem] = source
    for source in files.others:
        if os.path.splitext(os.path.abspath(source.path))[0] not in stems:
            report.skip(source.path, "no picture", "has no picture of the same name beside it")
    if options.captions == "auto":
        files.others += tables
        files.beside = files.table
        for source in tables:
            with unpacked_file(source) as path_:
                _read_table(source, path_, options, files.table, report)
    else:  # tables are asked for one thing alone, and what else is wrong with them does not matter
        for source in tables:
            with suppress(BrokenFileError, MissingExtraError), unpacked_file(source) as path_:
                _read_table(source, path_, options, files.beside, PictureReport())
    named, files.sources = files.sources, []
    for source in named:
        if files.beside.is_beside(os.path.abspath(source.path)):
            _skip_beside(source.path, report)
        else:
            files.sources.append(source)
    for path in files.table.paths():  # pictures that lie elsewhere
        kind = os.path.splitext(path)[1].lower()
        if path not in known and kind in PICTURES and os.path.isfile(path) and (size := os.path.getsize(path)):
            files.sources.append(Source(Path(path), size, kind))
    return files


def _skip_beside(path: object, report: PictureReport) -> None:
    report.skip(path, "beside a picture", "is named beside a picture, as a mask is, so it is none to learn from")


# ── captions ───────────────────────────────────────────────────────────────────────────────────────────────


class CaptionTable:
    """Captions by the path of the picture, out of tables; it knows which were asked for."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[str, ...]] = {}
        self._beside: set[str] = set()
        self._tables: list[tuple[str, set[str]]] = []  # the paths that each table names

    def begin(self, name: str) -> None:
        """What follows comes from the table of this name."""
        self._tables.append((name, set()))

    def add(self, path: str, captions: tuple[str, ...]) -> None:
        self._tables[-1][1].add(path)
        self._rows[path] = tuple(dict.fromkeys((*self._rows.get(path, ()), *captions)))

    def add_beside(self, path: str) -> None:
        """A file that a row names beside its picture, such as a mask, is none to learn from."""
        self._beside.add(path)

    def is_beside(self, path: str) -> bool:
        """Whether a row names this file beside its picture, and none as its picture."""
        return path in self._beside and path not in self._rows

    def get(self, path: str) -> tuple[str, ...]:
        """The captions of the picture, none if no row names it."""
        return self._rows.get(path, ())

    def paths(self) -> Iterable[str]:
        return self._rows

    def report_unused(self, used: set[str], report: PictureReport) -> None:
        """Tell of rows whose picture is not there."""
        for name, paths in self._tables:
            missing = sorted(path for path in paths - used if not os.path.exists(path))
            if missing:
                rows = (
                    "a row names" if len(missing) == 1 else f"{len(missing):,} rows name pictures that are not there,"
                )
                such = f"{missing[0]}, which is not there" if len(missing) == 1 else f"such as {missing[0]}"
                report.skip(name, "no picture", f"{rows} {such}", len(missing))


def _clean(value: Any) -> tuple[str, ...]:
    """The captions in a value of a table: a text, or several in a list; none if it holds none."""
    values = value if isinstance(value, (list, tuple)) else [value]
    texts = (" ".join(one.split()) for one in values if isinstance(one, str) and whole_text(one))
    return tuple(dict.fromkeys(text for text in texts if text))


def _of_sidecar(data: bytes, kind: str, options: PictureOptions) -> tuple[str, ...]:
    """The captions in a .txt, one a line, or in a .json."""
    if len(data) > MAX_SIDECAR:
        raise BrokenFileError("caption too long", f"a caption of {len(data):,} bytes, more than {MAX_SIDECAR:,}")
    data = as_text(io.BufferedReader(io.BytesIO(data))).read()
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        bad = f"not UTF-8: byte 0x{data[error.start]:02X} at byte {error.start:,}; save it as UTF-8"
        raise BrokenFileError("caption not UTF-8", bad) from None
    if kind == ".txt":
        return _clean(text.splitlines())
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BrokenFileError("malformed JSON", f"not JSON ({str(error) or 'nested too deep'})") from None
    if isinstance(value, dict):
        columns = CAPTION_COLUMNS if options.column is None else (options.column,)
        return next((found for name in columns if (found := _clean(value.get(name)))), ())
    return _clean(value)


def _of_folder(path: str) -> tuple[str, ...]:
    name = os.path.basename(os.path.dirname(path)).replace("_", " ").replace("-", " ")
    return (f"a picture of {' '.join(name.split())}",)


def _caption_column(
    name: object, textual: Sequence[str], every: Sequence[str], options: PictureOptions, file_column: str | None
) -> str:
    """The column with the captions, chosen as that of texts is.

    Raises:
        BrokenFileError: there is none.
        DataError: there are several and none was asked for.
    """
    names = ", ".join(every) or "none"
    if options.column is not None:
        if options.column not in every:
            raise BrokenFileError("missing column", f"no column {options.column!r} among {names}")
        return options.column
    for known in CAPTION_COLUMNS:
        if known in every:
            return known
    candidates = [one for one in textual if one != file_column]
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise BrokenFileError("missing column", f"no column of captions among {names}")
    raise DataError(
        f"{name} has the columns {names}, but none is called text or caption and {len(candidates)} of them hold text. "
        "Say which to read with column (on the command line, --column NAME)."
    )


def _file_column(every: Iterable[str]) -> str:
    every = list(every)
    for known in FILE_COLUMNS:
        if known in every:
            return known
    raise BrokenFileError(
        "missing column", f"no column of file names ({', '.join(FILE_COLUMNS[:3])}) among {', '.join(every) or 'none'}"
    )


def _read_table(
    source: Source, path: Path, options: PictureOptions, table: CaptionTable, report: PictureReport
) -> None:
    """Take the rows of a table on disk in."""
    lines = BadLines(source.path, report)
    base = os.path.dirname(os.path.abspath(source.path))

    def place(name: str) -> str:
        return os.path.abspath(os.path.join(base, name))

    try:
        if source.kind == ".parquet":
            _take(_parquet_records(path), str(source.path), place, options, table, lines)
            return
        with open_text(path, source.count) as stream:
            _take_text(stream, source.kind, str(source.path), place, options, table, lines)
    except BrokenFileError as error:
        report.skip(source.path, error.kind, str(error))
    except OSError as error:
        report.skip(source.path, "cannot be read", f"cannot be read ({error.strerror or error})")
    finally:
        lines.finish()


def _take_text(
    stream: Any,
    kind: str,
    name: str,
    place: Callable[[str], str],
    options: PictureOptions,
    table: CaptionTable,
    lines: BadLines,
) -> None:
    if kind == ".jsonl":
        _take(json_records(stream, lines), name, place, options, table, lines)
        return
    with closing(csv_rows(stream)) as rows:
        _, header = next(rows, (0, []))
        records = ((number, dict(zip(header, row, strict=False))) for number, row in rows if row)
        _take(records, name, place, options, table, lines)


def _take(
    records: Iterator[tuple[int, Any]],
    name: str,
    place: Callable[[str], str],
    options: PictureOptions,
    table: CaptionTable,
    lines: BadLines,
) -> None:
    """Take rows in; the first decides on the columns. Where captions come from elsewhere, only what files are named."""
    columns: tuple[str, str | None] | None = None
    table.begin(name)
    for number, record in records:
        if not isinstance(record, dict):
            lines.bad("missing column", "not an object with a file name and a caption", number)
            continue
        if columns is None:
            every = [key for key in record if isinstance(key, str)]
            file, caption = _file_column(every), None
            if options.captions == "auto":
                textual = [key for key in every if _clean(record[key]) and not _is_number(record[key])]
                textual = [key for key in textual if not key.endswith(BESIDE)]
                caption = _caption_column(name, textual, every, options, file)
            columns = file, caption
        file, caption = columns
        for key, value in record.items():
            if isinstance(key, str) and key.endswith(BESIDE) and key != file and (other := _file_name(value)):
                table.add_beside(place(other))
        file_name, value = _file_name(record.get(file)), record.get(caption)
        if file_name is None:
            lines.bad("missing column", f"no file name under {file!r}", number)
        elif caption is None:
            table.add(place(file_name), ())
        elif isinstance(value, str) and not whole_text(value):
            lines.bad("caption not UTF-8", "not UTF-8", number)
        elif captions := _clean(value):
            table.add(place(file_name), captions)
        else:
            lines.bad("no caption", f"no caption under {caption!r}", number)


def _file_name(value: Any) -> str | None:
    """The name of a file in a table, with slashes; None where there is none."""
    return value.replace("\\", "/") if isinstance(value, str) and value.strip() and "\0" not in value else None


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


# ── reading ────────────────────────────────────────────────────────────────────────────────────────────────


def encoded_pictures(
    files: PictureFiles,
    options: PictureOptions,
    report: PictureReport,
    progress: Callable[[int], None] = lambda _: None,
) -> Iterator[EncodedPicture]:
    """The pictures that have captions, not decoded; what has none, and rows without a picture, go into the report.

    Where no captions were asked for, all pictures.

    Args:
        progress: told of bytes read from disk.
    """
    used: set[str] = set()

    def count(size: int) -> None:
        report.disk_bytes += size
        progress(size)

    if options.captions == "folder":
        example = next((source for source in files.sources if source.kind in PICTURES), None)
        such = f', such as "{_of_folder(os.path.abspath(example.path))[0]}"' if example else ""
        report.note(f"Captions are made of the names of the folders{such}.")
    for source in files.sources:
        counted = Source(source.path, source.size, source.kind, count)
        gave = False
        try:
            for picture in _READERS.get(source.kind, _loose)(counted, files, options, report, used):
                gave = True
                yield picture
        except BrokenFileError as error:
            report.skip(source.path, error.kind, str(error))
        except OSError as error:
            report.skip(source.path, "cannot be read", f"cannot be read ({error.strerror or error})")
        report.files += gave
    files.table.report_unused(used, report)


def _loose(
    source: Source, files: PictureFiles, options: PictureOptions, report: PictureReport, used: set[str]
) -> Iterator[EncodedPicture]:
    path = os.path.abspath(source.path)
    used.add(path)
    source.count(source.size)
    if options.captions == "folder":
        yield EncodedPicture(str(source.path), source, _of_folder(path))
        return
    if options.captions == "none":
        yield EncodedPicture(str(source.path), source, ())
        return
    captions: tuple[str, ...] = ()
    sidecar = files.sidecars.get(os.path.splitext(path)[0])
    if sidecar:
        try:
            with open_bytes(sidecar.path) as stream:
                captions = _of_sidecar(stream.read(MAX_SIDECAR + 1), sidecar.kind, options)
        except BrokenFileError as error:
            raise BrokenFileError(error.kind, f"its caption {sidecar.path.name} is {error}") from None
    captions = captions or files.table.get(path)
    if captions:
        yield EncodedPicture(str(source.path), source, captions)
    else:
        report.skip(source.path, "no caption", _expected(source.path.stem, empty=sidecar is not None))


def _expected(stem: str, *, empty: bool) -> str:
    if empty:
        return "has no caption: the file beside it holds none"
    return f"has no caption: expected {stem}.txt or a row in metadata.jsonl or metadata.csv"


# ── tar ────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class _Packed:
    """The captions in a tar, by member without its ending and by WebDataset's key, which ends at the first dot."""

    by_stem: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    by_key: dict[str, list[str]] = field(default_factory=dict)
    table: CaptionTable = field(default_factory=CaptionTable)

    def sidecar(self, member: str) -> tuple[str, bytes] | None:
        stem = posixpath.splitext(member)[0]
        if stem in self.by_stem:
            return self.by_stem[stem]
        alike = self.by_key.get(_key(member), [])
        best = [one for one in alike if self.by_stem[one][0] == ".txt"] or alike
        return self.by_stem[best[0]] if len(best) == 1 else None


def _key(member: str) -> str:
    folder, name = posixpath.split(member)
    return posixpath.join(folder, name.partition(".")[0])


class _Member(tarfile.TarInfo):
    """What a tar holds. ``tarfile`` takes a cut between two files and a broken header for the end; here they are errors."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if not buf:
                raise tarfile.ReadError("it ends without its end mark, so it may have been cut off") from None
            if any(buf):
                raise tarfile.ReadError(str(error)) from None
            raise  # zeros, which are the end mark


@contextmanager
def _open_tar(source: Source, count: Callable[[int], None]) -> Iterator[tarfile.TarFile]:
    if source.path.suffix.lower() not in {".gz", ".zst"}:
        with tarfile.open(source.path, mode="r:", tarinfo=_Member) as tar:
            yield tar
        return
    with (
        open_bytes(source.path, count) as stream,
        tarfile.open(fileobj=stream, mode="r|", bufsize=CHUNK, tarinfo=_Member) as tar,
    ):
        yield tar


def _members(source: Source, count: Callable[[int], None]) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo, str]]:
    """The files in a tar with their names, but for hidden ones."""
    number, plain = 0, source.path.suffix.lower() == ".tar"
    try:
        with _open_tar(source, count) as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # else it remembers every one
                number += 1
                name = posixpath.normpath(member.name.lstrip("/"))
                if member.isfile() and not any(part.startswith(".") for part in PurePosixPath(name).parts):
                    yield tar, member, name
                if plain:
                    count(member.size)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise BrokenFileError("broken tar", f"not a sound tar after {number:,} members ({error})") from None


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo, most: int) -> bytes:
    file = tar.extractfile(member)
    data = file.read(most) if file else b""
    if len(data) < min(member.size, most):
        raise BrokenFileError("broken tar", f"not a sound tar: it ends in the middle of {member.name}")
    return data


def _read_tar(
    source: Source, files: PictureFiles, options: PictureOptions, report: PictureReport, used: set[str]
) -> Iterator[EncodedPicture]:
    outside = os.path.dirname(os.path.abspath(source.path))
    packed, inside = _Packed(), set[str]()
    _packed_captions(source, options, packed, report if options.captions == "auto" else PictureReport())
    taken: set[str] = set()
    for tar, member, name in _members(source, source.count):
        shown = f"{source.path}/{name}"
        kind = posixpath.splitext(name)[1].lower()
        if kind not in PICTURES:
            if kind not in (*SIDECARS, *TABLES):
                report.skip(
                    shown, "unsupported ending", f"has the ending {kind or '(none)'}, not {', '.join(PICTURES)}"
                )
            continue
        place = os.path.abspath(os.path.join(outside, name))
        if packed.table.is_beside(name) or files.beside.is_beside(place):
            _skip_beside(shown, report)
            continue
        used.add(place)
        inside.add(name)
        taken.update((posixpath.splitext(name)[0], _key(name)))
        captions: tuple[str, ...] = ()
        sidecar = None
        if options.captions == "folder":
            captions = _of_folder(posixpath.join(source.path.name.partition(".")[0], name))
        elif options.captions == "auto":
            sidecar = packed.sidecar(name)
            if sidecar:
                try:
                    captions = _of_sidecar(sidecar[1], sidecar[0], options)
                except BrokenFileError as error:
                    report.skip(shown, error.kind, f"its caption is {error}")
                    continue
            captions = captions or packed.table.get(name) or files.table.get(place)
        if not captions and options.captions != "none":
            report.skip(shown, "no caption", _expected(PurePosixPath(name).stem, empty=sidecar is not None))
        elif member.size == 0:
            report.skip(shown, "empty", "is empty")
        elif member.size > MAX_FILE:
            report.skip(shown, *_reason(_too_long(member.size)))
        else:
            yield EncodedPicture(shown, _content(tar, member, member.size), captions)
    for stem in packed.by_stem:
        if stem not in taken and _key(stem) not in taken:
            report.skip(
                f"{source.path}/{stem}{packed.by_stem[stem][0]}", "no picture", "has no picture of the same name"
            )
    if options.captions == "auto":
        packed.table.report_unused(inside, report)


def _packed_captions(source: Source, options: PictureOptions, packed: _Packed, report: PictureReport) -> None:
    """Go through a tar for its captions and tables, which may stand behind their pictures."""
    try:
        for tar, member, name in _members(source, lambda _: None):
            stem, kind = posixpath.splitext(name)
            kind = kind.lower()
            if kind in SIDECARS and options.captions == "auto":
                if stem not in packed.by_stem or kind == ".txt":
                    packed.by_key.setdefault(_key(name), []).append(stem)
                    packed.by_stem[stem] = kind, _content(tar, member, MAX_SIDECAR + 1)
            elif kind in TABLES and member.size > MAX_FILE:
                report.skip(f"{source.path}/{name}", *_reason(_too_long(member.size)))
            elif kind in TABLES:
                shown = f"{source.path}/{name}"
                lines = BadLines(shown, report)
                folder, table = posixpath.dirname(name), io.BytesIO(_content(tar, member, member.size))
                try:
                    _take_text(
                        as_text(io.BufferedReader(table, CHUNK)), kind, shown,
                        lambda row, folder=folder: posixpath.normpath(posixpath.join(folder, row)),  # type: ignore[misc]
                        options, packed.table, lines,
                    )  # fmt: skip
                except BrokenFileError as error:
                    report.skip(shown, error.kind, str(error))
                finally:
                    lines.finish()
    except BrokenFileError:
        pass  # the second time through tells of it, after the pictures before the break


def _too_long(size: int) -> BrokenFileError:
    return BrokenFileError("too large a file", f"a file of {size:,} bytes, more than {MAX_FILE:,}")


def _reason(error: BrokenFileError) -> tuple[str, str]:
    return error.kind, str(error)


# ── .parquet ───────────────────────────────────────────────────────────────────────────────────────────────


def _arrow(source: Source) -> tuple[Any, Any]:
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise MissingExtraError("pyarrow", "data", f"reading {source.path.name}") from None
    return arrow, parquet


def _is_table(source: Source) -> bool:
    """Whether a Parquet file holds the names of pictures and not pictures."""
    arrow, parquet = _arrow(source)
    try:
        with unpacked_file(source) as path, parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
    except (arrow.ArrowException, OSError, BrokenFileError):
        return False  # whoever reads it will say so
    return _image_column(schema, arrow) is None and any(name in schema.names for name in FILE_COLUMNS)


def _image_column(schema: Any, arrow: Any) -> str | None:
    """The column with pictures: a struct with bytes, as Hugging Face writes it, or bytes."""
    types = arrow.types

    def is_bytes(kind: Any) -> bool:
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    found = [
        one.name
        for one in schema
        if is_bytes(one.type)
        or (
            types.is_struct(one.type) and (at := one.type.get_field_index("bytes")) >= 0 and is_bytes(one.type[at].type)
        )
    ]
    return next((name for name in IMAGE_COLUMNS if name in found), found[0] if found else None)


def _parquet_records(path: Path) -> Iterator[tuple[int, Any]]:
    arrow, parquet = _arrow(Source(path, 0, ".parquet"))
    number = 0
    try:
        with parquet.ParquetFile(path, buffer_size=CHUNK) as file:
            for batch in file.iter_batches(batch_size=256):
                for record in batch.to_pylist():
                    number += 1
                    yield number, record
    except (arrow.ArrowException, UnicodeDecodeError) as error:
        raise _broken_parquet(error, number) from None


def _broken_parquet(error: Exception, number: int) -> BrokenFileError:
    reason = str(error).partition("\n")[0]
    return BrokenFileError("broken Parquet", f"not sound Parquet from row {number + 1} on ({reason})")


def _read_parquet(
    source: Source, files: PictureFiles, options: PictureOptions, report: PictureReport, used: set[str]
) -> Iterator[EncodedPicture]:
    if options.captions == "folder":
        raise BrokenFileError("no folders", "a table, but captions were to be made of the names of folders")
    with unpacked_file(source) as path:
        packed = path != source.path
        yield from _parquet_pictures(source, path, options, report, (lambda _: None) if packed else source.count)


def _parquet_pictures(
    source: Source, path: Path, options: PictureOptions, report: PictureReport, count: Callable[[int], None]
) -> Iterator[EncodedPicture]:
    arrow, parquet = _arrow(source)
    number = told = 0
    try:
        with parquet.ParquetFile(path, buffer_size=CHUNK) as file:
            schema = file.schema_arrow
            image = _image_column(schema, arrow)
            if image is None:
                raise BrokenFileError("missing column", f"no column of pictures among {', '.join(schema.names)}")
            column = None
            if options.captions != "none":
                textual = [one.name for one in schema if _is_captions(one.type, arrow)]
                column = _caption_column(source.path, textual, schema.names, options, None)
            rows = max(1, file.metadata.num_rows)
            for batch in file.iter_batches(batch_size=_ROWS, columns=[image, column] if column else [image]):
                for record in batch.to_pylist():
                    number += 1
                    shown = f"{source.path}:{number}"
                    captions = _clean(record[column]) if column else ()
                    data = _row_bytes(record[image], source.path.parent)
                    if data is None:
                        report.skip(shown, "no picture", f"has no picture under {image!r}")
                    elif column and not captions:
                        report.skip(shown, "no caption", f"has no caption under {column!r}")
                    else:
                        yield EncodedPicture(shown, data, captions)
                now = source.size * number // rows
                count(now - told)
                told = now
    except (arrow.ArrowException, UnicodeDecodeError) as error:
        raise _broken_parquet(error, number) from None


def _is_captions(kind: Any, arrow: Any) -> bool:
    types = arrow.types
    kind = kind.value_type if types.is_list(kind) or types.is_large_list(kind) or types.is_dictionary(kind) else kind
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _row_bytes(value: Mapping[str, Any] | bytes | None, folder: Path) -> bytes | Source | None:
    """The picture of a row: its bytes, or the file that it names."""
    if isinstance(value, bytes):
        return value or None
    if not value:
        return None
    if value.get("bytes"):
        return bytes(value["bytes"])
    path = folder / value["path"] if isinstance(value.get("path"), str) else None
    if path is None or not path.is_file():
        return None
    return Source(path, path.stat().st_size, path.suffix.lower())


_READERS: dict[
    str, Callable[[Source, PictureFiles, PictureOptions, PictureReport, set[str]], Iterator[EncodedPicture]]
] = {".tar": _read_tar, ".parquet": _read_parquet}
