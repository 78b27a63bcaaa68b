"""What was prepared once is kept in folders, each named after a fingerprint of everything it was made from.

A folder is built under another name and renamed when it is whole, so that a build that was killed is never taken for
one, and two processes that build the same one at once do not meet.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from limner.core.errors import DataError
from limner.data.split import DIGEST_BYTES
from limner.weights.places import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from limner.data.documents import Source

WHOLE_HASH = 16 << 20  # files up to this size are known by their content, larger ones by size, time and ends


# ── keeping ────────────────────────────────────────────────────────────────────────────────────────────────


def identity(source: Source) -> list[Any]:
    """What a file is known by: its content if that is quickly read, else its size, time and two ends."""
    hashed = hashlib.blake2b(digest_size=DIGEST_BYTES)
    known: list[Any] = [source.kind, source.path.suffix.lower(), source.size]
    try:
        with source.path.open("rb") as file:
            if source.size <= WHOLE_HASH:
                hashed.update(file.read())
            else:
                known.append(os.fstat(file.fileno()).st_mtime_ns)
                hashed.update(file.read(1 << 20))
                file.seek(-(1 << 20), os.SEEK_END)
                hashed.update(file.read())
    except OSError:
        return [*known, "unreadable"]  # the reader will say so
    return [*known, hashed.hexdigest()]


@contextmanager
def building(folder: Path, whole: Callable[[Path], bool], kept: str) -> Iterator[Path]:
    """A folder to build in, which takes the name ``folder`` if all goes well and is removed if not.

    Args:
        folder: the name that it takes; what has it and is not whole is replaced.
        whole: whether a folder of that name holds all that it should.
        kept: what is kept there, for errors, such as ``"the tokens are"``.
    Raises:
        DataError: the folder's parent cannot be written, or its disk is full.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder.parent)
        temporary = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    except OSError as error:
        raise unwritable(folder.parent, error, kept) from None
    lock = (temporary / "unlocked").open("w")
    try:
        with suppress(OSError):
            _lock(lock)
        (temporary / "unlocked").rename(temporary / "lock")  # whoever sees a lock sees it locked
        yield temporary
        if os.name == "nt":
            lock.close()
        (temporary / "lock").unlink()
        temporary.chmod(0o755)
        if folder.exists() and not whole(folder):
            _remove(folder)
        try:
            temporary.rename(folder)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            # Another process was quicker with the same input.
    except OSError as error:
        raise unwritable(folder.parent, error, kept) from None
    finally:
        lock.close()
        shutil.rmtree(temporary, ignore_errors=True)


def mark_used(folder: Path) -> None:
    """Say of what was found kept that it was used now; it may lie where nothing can be written."""
    with suppress(OSError):
        os.utime(folder)


def _remove(folder: Path) -> None:
    """Take a damaged folder out of the way, in one step; whoever has mapped its files keeps them."""
    aside = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    with suppress(OSError):
        folder.rename(aside / "old")
    shutil.rmtree(aside, ignore_errors=True)


def _remove_abandoned(cache: Path) -> None:
    """Remove what builds that were killed left behind: their folders are no longer locked."""
    for folder in cache.glob(".building-*"):
        try:
            with (folder / "lock").open("r+") as lock:
                _lock(lock)
                shutil.rmtree(folder, ignore_errors=True)
        except FileNotFoundError:  # just begun, just ended, or killed at that very moment, long ago
            with suppress(OSError):
                if time.time() - folder.stat().st_mtime > 86_400:
                    shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # locked: being built
            continue


def _lock(file: IO[str]) -> None:
    """Lock for this process, or OSError; where files cannot be locked so, every folder counts as in use."""
    try:
        import fcntl
    except ImportError:
        raise OSError("no file locks") from None
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def unwritable(folder: Path, error: OSError, kept: str) -> DataError:
    """The error for a folder in which something could not be kept; ``kept`` as in ``building``."""
    if error.errno == errno.ENOSPC:
        return DataError(f"the disk of {folder} is full, but {kept} kept there. Free some or give another cache.")
    return DataError(
        f"the cache {folder} cannot be written ({error.strerror or error}), but {kept} kept there. "
        "Give a folder that can be written."
    )


# ── what is kept ───────────────────────────────────────────────────────────────────────────────────────────

MARKS = {"text": ("manifest.json", "limner-corpus"), "pictures": ("train/pictures.json", "limner-pictures")}
NAME = re.compile(r"(drawn-)?[0-9a-f]{20}")  # of folders that are named after a fingerprint


@dataclass(frozen=True)
class Kept:
    """Something in a cache that is made again when it is missing.

    Attributes:
        what: ``text``, ``pictures``, ``latents`` (of those pictures), or ``routine``, compiled for this processor.
        path: a folder; of a routine, a file.
        bytes: on disk; pictures without their latents.
        used: when it was made or last found, in seconds since 1970.
    """

    what: str
    path: Path
    bytes: int
    used: float

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        used = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.used))
        return {"what": self.what, "path": str(self.path), "bytes": self.bytes, "used": used}


def list_kept(cache: Path | None = None) -> list[Kept]:
    """What limner made and kept in a folder given to ``--cache``, or in all of its own; the longest unused first.

    Anything else that lies there is passed over.
    """
    places = [cache] if cache is not None else [cache_folder("corpora"), cache_folder("pictures")]
    found = [one for place in places for folder in _children(place) for one in _kept(folder)]
    if cache is None:
        routines = (path for path in _children(cache_folder("native")) if path.suffix == ".so")
        found += [Kept("routine", path, (told := path.stat()).st_size, told.st_mtime) for path in routines]
    return sorted(found, key=lambda one: (one.used, one.path))


def remove_kept(one: Kept) -> None:
    """Remove it; a folder in one step, so that nobody finds half of it, and whoever has mapped its files keeps them.

    Raises:
        DataError: it is in use, or belongs to somebody else.
    """
    try:
        if one.path.is_dir():
            aside = Path(tempfile.mkdtemp(prefix=".building-", dir=one.path.parent))
            try:
                one.path.rename(aside / "old")
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        else:
            one.path.unlink(missing_ok=True)
    except FileNotFoundError:  # somebody else was quicker
        return
    except OSError as error:
        raise DataError(
            f"{one.path} cannot be removed ({error.strerror or error}), but that was asked for. Close what uses it, or let its "
            "owner remove it."
        ) from None


def _kept(folder: Path) -> Iterator[Kept]:
    """What a folder of a cache holds: itself, and the latents that lie in it; nothing where it is none of ours."""
    for what, (mark, expected) in MARKS.items() if NAME.fullmatch(folder.name) else ():
        try:
            told = json.loads((folder / mark).read_text(encoding="utf-8"))
            used = folder.stat().st_mtime
        except (OSError, ValueError):
            continue
        if not isinstance(told, dict) or told.get("format") != expected:
            continue
        latents = [Kept("latents", path, _bytes(path), path.stat().st_mtime) for path in folder.glob("*/latents-*")]
        yield from latents
        yield Kept(what, folder, _bytes(folder) - sum(one.bytes for one in latents), used)


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def _bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
