"""Files as streams of bytes: plain, gzip or Zstandard, UTF-16 turned into UTF-8, never whole in memory."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from limner.core.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CHUNK = 1 << 20  # bytes read at a time
_ZST_INPUT = 1 << 13  # a Zstandard block of 4 bytes can unpack to 128 KiB, so little goes in at once


class BrokenFileError(Exception):
    """The bytes of a file do not make sense from some point on; readers turn it into a line of the report."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class _Counted(io.RawIOBase):
    """A raw file that says how many of its bytes have been read."""

    def __init__(self, raw: io.FileIO, count: Callable[[int], None]) -> None:
        self._raw, self._count = raw, count

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = self._raw.readinto(buffer) or 0
        self._count(size)
        return size


class _Produced(io.RawIOBase):
    """A raw file out of an iterator of byte strings."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._left = chunks, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            try:
                self._left = next(self._chunks)
            except StopIteration:
                return 0
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


def _gunzipped(raw: BinaryIO) -> Iterator[bytes]:
    unpacked = gzip.GzipFile(fileobj=raw, mode="rb")
    while True:
        try:
            chunk = unpacked.read1(CHUNK)
        except EOFError:
            raise BrokenFileError("broken gzip", "the gzip file ends too early, as a half-written one does") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise BrokenFileError("broken gzip", f"not a sound gzip file ({error})") from None
        if not chunk:
            return
        yield chunk


def _unzstd(raw: BinaryIO, path: Path) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError:
        raise MissingExtraError("zstandard", "data", f"reading {path.name}") from None
    decompressor = zstandard.ZstdDecompressor()
    frame = None
    while data := raw.read(_ZST_INPUT):
        while data:
            frame = frame or decompressor.decompressobj()
            try:
                chunk = frame.decompress(data)
            except zstandard.ZstdError as error:
                raise BrokenFileError("broken zst", f"not a sound Zstandard file ({error})") from None
            data = frame.unused_data if frame.eof else b""
            if frame.eof:
                frame = None
            if chunk:
                yield chunk
    if frame is not None:
        raise BrokenFileError("broken zst", "the Zstandard file ends too early, as a half-written one does")


def _to_utf8(stream: io.BufferedReader[Any]) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-16")()
    while True:
        chunk = stream.read(CHUNK)
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            raise BrokenFileError("not UTF-16", f"begins as UTF-16 but is not ({error.reason})") from None
        yield text.encode()
        if not chunk:
            return


@contextmanager
def open_bytes(path: Path, count: Callable[[int], None] = lambda _: None) -> Iterator[io.BufferedReader[Any]]:
    """Open a file for reading, unpacked if its name ends in .gz or .zst.

    Args:
        count: called with the number of bytes, as they lie on the disk, whenever some have been read.
    Raises:
        BrokenFileError: while reading, where the packed data makes no sense.
        MissingExtraError: the file is .zst and zstandard is not installed.
        OSError: the file cannot be opened.
    """
    with path.open("rb", buffering=0) as raw:
        counted: io.BufferedReader[Any] = io.BufferedReader(_Counted(raw, count), CHUNK)
        match path.suffix.lower():
            case ".gz":
                yield io.BufferedReader(_Produced(_gunzipped(counted)), CHUNK)
            case ".zst":
                yield io.BufferedReader(_Produced(_unzstd(counted, path)), CHUNK)
            case _:
                yield counted


@contextmanager
def open_text(path: Path, count: Callable[[int], None] = lambda _: None) -> Iterator[io.BufferedReader[Any]]:
    """Like ``open_bytes``, for text: a byte-order mark is taken off, UTF-16 that has one comes out as UTF-8.

    Raises:
        BrokenFileError: the file is binary (a NUL byte among its first 8 KiB).
    """
    with open_bytes(path, count) as stream:
        yield as_text(stream)


def as_text(stream: io.BufferedReader[Any]) -> io.BufferedReader[Any]:
    """The stream after its byte-order mark, as UTF-8 if it is UTF-16 with one.

    Raises:
        BrokenFileError: it is binary (a NUL byte among its first 8 KiB).
    """
    head = stream.peek(8192)[:8192]
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        stream = io.BufferedReader(_Produced(_to_utf8(stream)), CHUNK)
        head = stream.peek(8192)[:8192]
    elif head.startswith(codecs.BOM_UTF8):
        stream.read(len(codecs.BOM_UTF8))
    if (at := head.find(b"\0")) >= 0:
        raise BrokenFileError("binary", f"binary, not text: a NUL byte at byte {at}")
    return stream
