"""Captioned pictures on disk: one memory-mapped array of bytes for each shape, and their captions.

Layout of a set in its folder::

    pictures.json          format, version, how many, and (height, width, count) of each bucket
    bucket-64x64.bin, …    the pictures of one shape, (count, height, width, 3) bytes, nothing else
    parts-64x64.bin, …     where it is known, what is seen in each of their pixels, (count, height, width) bytes
    index.bin              (bucket, place in it, captions up to and with it) of each picture, three int64
    captions.bin           all captions in UTF-8, one behind the other
    caption-ends.bin       where each caption ends in it, one int64

Pictures have the numbers in whose order they were added. ``prepare_pictures`` makes two sets, for training and for
validation, of whatever ``read_pictures`` reads; ``PictureSetWriter`` makes one of any arrays.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from limner.core.errors import ConfigError, DataError, ShapeError
from limner.data.cache import WHOLE_HASH, building, identity, unwritable
from limner.data.pictures import (
    EncodedPicture,
    PictureFiles,
    PictureOptions,
    encoded_pictures,
    find_pictures,
    no_pictures,
)
from limner.data.pixels import (
    aspect_buckets,
    fitted,
    nearest_bucket,
    one_at_a_time,
    open_picture,
    quiet_decoders,
    to_rgb,
)
from limner.data.report import PictureReport
from limner.data.split import DigestSet, Part, SplitPlan, digest, plan_whole
from limner.data.streams import BrokenFileError
from limner.weights.places import mark_used

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from types import TracebackType
    from typing import BinaryIO

    from numpy.typing import NDArray

    from limner.data.pictures import Captions

    Progress = Callable[[str, int, int], None]

FORMAT, VERSION = "limner-pictures", 1
MANIFEST = "pictures.json"
REPORT = "report.json"
TOGETHER = 64  # pictures that a thread decodes before it hands over; small ones are quicker than handing over is
TOGETHER_BYTES = 4 << 20  # and no more than this, of files or of what becomes of them
LOOKED_AT = 64  # pictures of each shape, spread over all of them, by which a set is known; all would take too long
_PARTS: tuple[Part, Part] = ("train", "validation")


class PictureSet:
    """Captioned pictures, memory-mapped.

    Attributes:
        folder: where the files lie.
        buckets: (height, width) of each shape.
        arrays: the pictures of each shape, (count, height, width, 3), uint8; or what is in their place (``holding``).
        numbers: the numbers of the pictures of each shape, rising, shape (count,), int64.
        num_captions: of all pictures.
        parts: of each shape, which object each pixel shows, (count, height, width), uint8, 0 none; None: not known.
    """

    def __init__(
        self,
        folder: Path,
        buckets: Sequence[tuple[int, int]],
        arrays: Sequence[NDArray[Any]],
        index: NDArray[np.int64],
        captions: NDArray[np.uint8],
        caption_ends: NDArray[np.int64],
        parts: Sequence[NDArray[np.uint8]] | None = None,
    ) -> None:
        self.folder = folder
        self.buckets = tuple(buckets)
        self.arrays = tuple(arrays)
        self.numbers = tuple(np.flatnonzero(index[:, 0] == bucket) for bucket in range(len(buckets)))
        self.num_captions = len(caption_ends)
        self.parts = None if parts is None else tuple(parts)
        self._index, self._captions, self._caption_ends = index, captions, caption_ends

    @classmethod
    def open(cls, folder: Path | str) -> PictureSet:
        """Map the files of a set.

        Raises:
            DataError: there is none in the folder, or a file is missing or has the wrong size.
        """
        folder = Path(folder)
        manifest = _manifest(folder)
        if manifest is None:
            raise DataError(
                f"{folder} is no set of pictures, but one was to be opened: {MANIFEST} or a file that it names is "
                "missing or has the wrong size. Make it anew."
            )
        shapes = [(height, width) for height, width, _ in manifest["buckets"]]
        arrays = [
            _mapped(folder / _bucket_file(height, width), "u1").reshape(-1, height, width, 3)
            for height, width in shapes
        ]
        parts = None
        if manifest.get("parts", False):
            parts = [_mapped(folder / _parts_file(*shape), "u1").reshape(-1, *shape) for shape in shapes]
        index, ends = (_mapped(folder / name, "<i8") for name in ("index.bin", "caption-ends.bin"))
        return cls(folder, shapes, arrays, index.reshape(-1, 3), _mapped(folder / "captions.bin", "u1"), ends, parts)

    def holding(self, arrays: Sequence[NDArray[Any]]) -> PictureSet:
        """The same set with something else in place of each picture, such as its latents.

        Args:
            arrays: one of each bucket, (count, height, width, channels), in the order of the pictures.
        """
        shapes = [(int(array.shape[1]), int(array.shape[2])) for array in arrays]
        return PictureSet(self.folder, shapes, arrays, self._index, self._captions, self._caption_ends, self.parts)

    def __len__(self) -> int:
        return len(self._index)

    def fingerprint(self) -> str:
        """Changes when a caption, the order or the number of pictures does, or one of the pictures that are looked at."""
        whole = hashlib.blake2b(json.dumps(self.buckets).encode(), digest_size=8)
        for part in (self._index, self._captions, self._caption_ends):
            whole.update(np.ascontiguousarray(part).data)
        for array in self.arrays:
            for place in np.linspace(0, len(array) - 1, min(len(array), LOOKED_AT)).astype(int):
                whole.update(np.ascontiguousarray(array[place]).data)
        return whole.hexdigest()

    def picture(self, number: int) -> tuple[NDArray[Any], tuple[str, ...]]:
        """A picture, (height, width, 3), read-only, and its captions."""
        bucket, place, _ = self._index[number].tolist()
        return self.arrays[bucket][place], self.captions(number)

    def captions(self, number: int) -> tuple[str, ...]:
        """The captions of a picture."""
        first, last = self._caption_range(number)
        return tuple(self._caption(place) for place in range(first, last))

    def num_captions_of(self, number: int) -> int:
        """How many captions a picture has."""
        first, last = self._caption_range(number)
        return last - first

    def caption(self, number: int, choice: int) -> str:
        """One of the captions of a picture, by its number from 0."""
        return self._caption(self._caption_range(number)[0] + choice)

    def _caption_range(self, number: int) -> tuple[int, int]:
        number = range(len(self))[number]
        return int(self._index[number - 1, 2]) if number else 0, int(self._index[number, 2])

    def _caption(self, place: int) -> str:
        begin = int(self._caption_ends[place - 1]) if place else 0
        return self._captions[begin : int(self._caption_ends[place])].tobytes().decode()


class PictureSetWriter:
    """Writes a set, picture by picture; as a context manager, it is closed only if all went well.

    Args:
        folder: made if it is not there; it is a set once the writer is closed.
        buckets: (height, width) of each shape, all different.
        parts: each picture comes with its parts.
    Raises:
        DataError: the folder cannot be written.
        ConfigError: there is no bucket, or the same twice.
    """

    def __init__(self, folder: Path | str, buckets: Sequence[tuple[int, int]], *, parts: bool = False) -> None:
        if not buckets or len(set(buckets)) < len(buckets) or min(min(bucket) for bucket in buckets) < 1:
            raise ConfigError(f"buckets is {list(buckets)}, but must be different pairs of a height and a width.")
        self.folder, self.buckets, self.with_parts = Path(folder), tuple(buckets), parts
        self.counts = [0] * len(buckets)
        self.num_captions = 0
        self._caption_bytes = 0
        self._files: list[BinaryIO] = []
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / MANIFEST).unlink(missing_ok=True)
            for name in (
                *(_bucket_file(*bucket) for bucket in buckets),
                "index.bin",
                "captions.bin",
                "caption-ends.bin",
                *(_parts_file(*bucket) for bucket in buckets if parts),
            ):
                self._files.append((self.folder / name).open("wb", buffering=1 << 18))
        except OSError as error:
            self._abandon()
            raise unwritable(self.folder, error, "the pictures are") from None
        self._arrays, rest = self._files[: len(buckets)], self._files[len(buckets) :]
        self._index, self._captions, self._ends, *self._parts = rest

    def __len__(self) -> int:
        return sum(self.counts)

    def add(
        self,
        bucket: int,
        array: NDArray[np.uint8],
        captions: Sequence[str],
        parts: NDArray[np.uint8] | None = None,
    ) -> None:
        """Append a picture.

        Args:
            bucket: its number among the buckets.
            array: shape (height, width, 3) of that bucket, uint8.
            captions: one at the least.
            parts: shape (height, width), uint8; given where the writer was told so, and only there.
        Raises:
            ShapeError: an array has another shape or dtype, or there are parts too many or too few.
            DataError: there is no caption; or the disk is full, which ends the set.
        """
        expected = (*self.buckets[bucket], 3)
        if array.shape != expected or array.dtype != np.uint8:
            raise ShapeError(
                f"the picture is {array.dtype} of shape {tuple(array.shape)}, but bucket {bucket} takes uint8 of shape "
                f"{expected}. Cut and convert it first."
            )
        if self.with_parts != (parts is not None):
            raise ShapeError(
                f"the picture comes with{'out' * self.with_parts} parts, but this set has {'them' if self.with_parts else 'none'}. "
                "Give the parts of all pictures, or of none."
            )
        if parts is not None and (parts.shape != self.buckets[bucket] or parts.dtype != np.uint8):
            raise ShapeError(
                f"the parts are {parts.dtype} of shape {tuple(parts.shape)}, but bucket {bucket} takes uint8 of shape "
                f"{self.buckets[bucket]}. Cut and convert them first."
            )
        if not captions:
            raise DataError("the picture has 0 captions, but needs at least 1. Give it one.")
        try:
            self._arrays[bucket].write(np.ascontiguousarray(array).data)
            if parts is not None:
                self._parts[bucket].write(np.ascontiguousarray(parts).data)
            for caption in captions:
                data = caption.encode()
                self._captions.write(data)
                self._caption_bytes += len(data)
                self._ends.write(self._caption_bytes.to_bytes(8, "little"))
            self.num_captions += len(captions)
            self._index.write(np.array([bucket, self.counts[bucket], self.num_captions], dtype="<i8").tobytes())
        except OSError as error:
            self._abandon()
            raise unwritable(self.folder, error, "the pictures are") from None
        self.counts[bucket] += 1

    def close(self) -> None:
        """Write what is left, and the manifest that makes the folder a set.

        Raises:
            DataError: the disk is full.
        """
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "num_pictures": len(self),
            "num_captions": self.num_captions,
            "caption_bytes": self._caption_bytes,
            "buckets": [(*shape, count) for shape, count in zip(self.buckets, self.counts, strict=True)],
            "parts": self.with_parts,
        }
        try:
            for file in self._files:
                file.flush()
                os.fsync(file.fileno())
                file.close()
            temporary = self.folder / f".{MANIFEST}"
            with temporary.open("w", encoding="utf-8") as text:
                json.dump(manifest, text)
                text.flush()
                os.fsync(text.fileno())
            temporary.replace(self.folder / MANIFEST)
        except OSError as error:
            self._abandon()
            raise unwritable(self.folder, error, "the pictures are") from None

    def _abandon(self) -> None:
        for file in self._files:
            try:
                file.close()
            except OSError:  # the disk is full; what was to be flushed is of no use
                continue

    def __enter__(self) -> PictureSetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._abandon()


def _bucket_file(height: int, width: int) -> str:
    return f"bucket-{height}x{width}.bin"


def _parts_file(height: int, width: int) -> str:
    return f"parts-{height}x{width}.bin"


def _mapped(path: Path, dtype: str) -> NDArray[Any]:
    if not path.stat().st_size:
        return np.empty(0, dtype)  # nothing cannot be mapped
    return np.asarray(np.memmap(path, dtype=dtype, mode="r"))


def _manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of the set in this folder, or None if a file is missing or has the wrong size."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if (manifest["format"], manifest["version"]) != (FORMAT, VERSION):
            return None
        sizes = {
            _bucket_file(height, width): height * width * 3 * count for height, width, count in manifest["buckets"]
        }
        if manifest.get("parts", False):
            sizes |= {
                _parts_file(height, width): height * width * count for height, width, count in manifest["buckets"]
            }
        sizes["index.bin"] = 24 * manifest["num_pictures"]
        sizes["captions.bin"] = manifest["caption_bytes"]
        sizes["caption-ends.bin"] = 8 * manifest["num_captions"]
        if any((folder / name).stat().st_size != size for name, size in sizes.items()):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return manifest


# ── preparing ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class PictureData:
    """Captioned pictures ready for training.

    Attributes:
        train, validation: the pictures of either part; no picture is in both.
        report: what was read, skipped and why.
        folder: where the files lie.
        reused: whether they were there already.
    """

    train: PictureSet
    validation: PictureSet
    report: PictureReport
    folder: Path
    reused: bool


def prepare_pictures(
    paths: Iterable[Path | str],
    *,
    size: int,
    cache: Path | str,
    validation: float = 0.05,
    buckets: int = 1,
    multiple: int = 8,
    column: str | None = None,
    captions: Captions = "auto",
    split_seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> PictureData:
    """Read, divide, scale and cut every captioned picture at or under ``paths``; or open what an earlier call made.

    With ``captions="none"`` every picture has one caption, the empty one.

    Args:
        paths: files and folders, see ``read_pictures``.
        size: pixels; the side of the square, or of a square of the area that all buckets have.
        cache: folder for prepared pictures; each takes 3 × ``size``² bytes.
        validation: share of the pictures to hold back.
        buckets: shapes, at most; 1 cuts a square out of the middle, more also keep tall and wide pictures whole, up to
            2:1 (see ``aspect_buckets``).
        multiple: of which all sides are multiples.
        column, captions: see ``PictureOptions``.
        split_seed: of the draw of the pictures held back.
        workers: threads that decode; None is one for each core.
        progress: called with (what is being done, bytes read, bytes to read).
    Raises:
        DataError: no picture with a caption, too few of them, or the cache cannot be written.
        ConfigError: a setting that makes no sense.
        MissingExtraError: a file needs a library of the extra ``data``.
    """
    if not 0 < validation <= 0.5:
        raise ConfigError(f"validation is {validation}, but must be above 0 and at most 0.5. The usual share is 0.05.")
    shapes = aspect_buckets(size, buckets, multiple)
    options = PictureOptions(column, captions)
    walked = PictureReport()
    cache = Path(cache).expanduser()
    files = find_pictures(paths, options, walked, passing=cache)
    if not files.sources:
        raise no_pictures(walked, captions)
    job = _Job(files, options, shapes, validation, split_seed, max(1, workers or _cores()), walked)
    folder = cache / job.fingerprint()[:20]
    reused = True
    while (ready := _open(folder, walked, reused=reused)) is None:
        with building(folder, _is_whole, "the pictures are") as temporary, quiet_decoders():
            job.build(temporary, progress or (lambda *_: None))
        reused = False
    mark_used(folder)
    return ready


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class _Fitted:
    """A picture out of a thread: its digest and pixels, or what is wrong with it."""

    picture: EncodedPicture
    key: bytes = b""
    bucket: int = 0
    array: NDArray[np.uint8] | None = None
    enlarged: bool = False
    error: BrokenFileError | None = None


@dataclass(frozen=True)
class _Job:
    files: PictureFiles
    options: PictureOptions
    shapes: list[tuple[int, int]]
    validation: float
    split_seed: int
    workers: int
    walked: PictureReport

    def fingerprint(self) -> str:
        """Changes when a file, its place, an option or the layout on disk does."""
        every = sorted(self.files.sources + self.files.others, key=lambda source: str(source.path))
        base = os.path.dirname(os.path.commonpath([os.path.abspath(source.path) for source in every]))
        small = sum(source.size for source in every) <= WHOLE_HASH * 16  # else a folder would take minutes to know
        known = [
            [os.path.relpath(source.path, base), *(identity(source) if small else _seen(source))] for source in every
        ]
        whole = [VERSION, known, asdict(self.options), self.shapes, self.validation, self.split_seed]
        return hashlib.sha256(json.dumps(whole).encode()).hexdigest()

    def build(self, folder: Path, progress: Progress) -> None:
        plan = self._divide()
        report = PictureReport()
        if plan.note:
            report.note(plan.note)
        total = sum(source.size for source in self.files.sources)
        done = 0

        def count(size: int) -> None:
            nonlocal done
            done += size
            progress("reading pictures", min(done, total), total)

        seen = DigestSet()
        writers: dict[Part, PictureSetWriter] = {}
        with (
            PictureSetWriter(folder / "train", self.shapes) as writers["train"],
            PictureSetWriter(folder / "validation", self.shapes) as writers["validation"],
        ):
            for one in self._fitted(encoded_pictures(self.files, self.options, report, count)):
                if one.error is not None:
                    report.skip(one.picture.name, one.error.kind, str(one.error))
                    continue
                assert one.array is not None
                report.read(one.picture.captions)
                if not seen.add(digest(one.key + "\n".join(one.picture.captions).encode())):
                    report.duplicates += 1  # the same with other captions is kept, and is in the same part
                    continue
                report.enlarged += one.enlarged
                writers[plan.part(one.key)].add(one.bucket, one.array, one.picture.captions or ("",))
        progress("reading pictures", total, total)
        for part, writer in writers.items():
            if not len(writer):
                raise DataError(
                    f"the {part} part has 0 of {report.pictures:,} pictures, but at least 1 is needed. "
                    "Give more pictures, or another share or split_seed."
                )
        with (folder / REPORT).open("w", encoding="utf-8") as file:
            json.dump(report.to_json(), file, indent=1)
            file.flush()
            os.fsync(file.fileno())

    def _divide(self) -> SplitPlan:
        """Look at the first pictures and decide how they are divided."""
        report = PictureReport()
        pictures = encoded_pictures(self.files, self.options, report)
        with closing(self._fitted(pictures, report)) as found:
            plan = plan_whole((one.key for one in found), share=self.validation, seed=self.split_seed)
        if plan is None:
            report.skips = self.walked.skips + report.skips
            report.skip_counts = self.walked.skip_counts + report.skip_counts
            raise no_pictures(report, self.options.captions)
        return plan

    def _fitted(
        self, pictures: Iterator[EncodedPicture], report: PictureReport | None = None
    ) -> Generator[_Fitted, None, None]:
        """Decode and fit in threads, in order, with few pictures in memory; with a report, broken ones go there.

        Threads, because Pillow decodes and scales outside Python's lock.
        """
        work = partial(_fit, self.shapes)
        with ThreadPoolExecutor(self.workers, thread_name_prefix="limner-pictures") as pool:
            waiting: deque[Any] = deque()
            try:
                for some in _in_batches(pictures, 3 * max(height * width for height, width in self.shapes)):
                    waiting.append(pool.submit(work, some))
                    if len(waiting) > self.workers:
                        yield from _sound(waiting.popleft().result(), report)
                while waiting:
                    yield from _sound(waiting.popleft().result(), report)
            finally:
                for future in waiting:
                    future.cancel()


def _in_batches(pictures: Iterator[EncodedPicture], each: int) -> Iterator[list[EncodedPicture]]:
    """Several small pictures, or one large; ``each`` is the bytes that one becomes."""
    batch: list[EncodedPicture] = []
    size = 0
    for picture in pictures:
        batch.append(picture)
        size += max(each, picture.size)
        if size >= TOGETHER_BYTES or len(batch) >= TOGETHER:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _sound(several: list[_Fitted], report: PictureReport | None) -> Iterator[_Fitted]:
    for one in several:
        if report is not None and one.error is not None:
            report.skip(one.picture.name, one.error.kind, str(one.error))
        else:
            yield one


def _fit(shapes: Sequence[tuple[int, int]], pictures: Sequence[EncodedPicture]) -> list[_Fitted]:
    return [_fit_one(shapes, picture) for picture in pictures]


def _fit_one(shapes: Sequence[tuple[int, int]], picture: EncodedPicture) -> _Fitted:
    kept = replace(picture, content=b"")  # the bytes are not needed any more
    shortest = 2 * max(min(shape) for shape in shapes)  # what is reduced while decoding is still scaled down by two
    try:
        data = picture.read()
        image = open_picture(data, shortest=shortest)
        with one_at_a_time(image):
            rgb = to_rgb(image)
            del image
            bucket = nearest_bucket(rgb.size, shapes)
            height, width = shapes[bucket]
            enlarged = rgb.width < width or rgb.height < height
            array = fitted(rgb, height, width)
            del rgb
        return _Fitted(kept, digest(data), bucket, array, enlarged)
    except BrokenFileError as error:
        return _Fitted(kept, error=error)


def _seen(source: Any) -> list[Any]:
    """What a picture among very many is known by: its size and time."""
    try:
        return [source.size, source.path.stat().st_mtime_ns]
    except OSError:
        return [source.size, "unreadable"]


def _is_whole(folder: Path) -> bool:
    return (folder / REPORT).is_file() and all(_manifest(folder / part) is not None for part in _PARTS)


def _open(folder: Path, walked: PictureReport, *, reused: bool) -> PictureData | None:
    """The pictures in this folder, or None if there are none that are whole."""
    if not _is_whole(folder):
        return None
    try:
        report = PictureReport.from_json(json.loads((folder / REPORT).read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError):
        (folder / REPORT).unlink()
        return None
    report.skips = walked.skips + report.skips
    report.skip_counts = walked.skip_counts + report.skip_counts
    train, validation = (PictureSet.open(folder / part) for part in _PARTS)
    return PictureData(train, validation, report, folder, reused)
