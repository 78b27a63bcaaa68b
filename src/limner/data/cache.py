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

BUILDING = ".building-"  # how the names of folders begin that something is built in
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
        temporary = Path(tempfile.mkdtemp(prefix=BUILDING, dir=folder.parent))
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
            with suppress(OSError):
                _take_away(folder)
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


def _take_away(folder: Path) -> None:
    """Remove a folder in one step, so that nobody finds half of it; whoever has mapped its files keeps them."""
    aside = Path(tempfile.mkdtemp(prefix=BUILDING, dir=folder.parent))
    try:
        folder.rename(aside / "old")
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _remove_abandoned(cache: Path) -> None:
    """Remove what builds that were killed left behind."""
    for folder in cache.glob(f"{BUILDING}*"):
        if _is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    """Whether nobody builds in this folder any more: it is no longer locked."""
    try:
        with (folder / "lock").open("r+") as lock:
            _lock(lock)
        return True
    except FileNotFoundError:  # just begun, just ended, or killed at that very moment, long ago
        try:
            return time.time() - folder.stat().st_mtime > 86_400
        except OSError:
            return False
    except OSError:  # locked: being built
        return False


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

KINDS = ("corpora", "pictures", "native")  # folders of a person's own cache
MARKS = {"text": ("manifest.json", "limner-corpus"), "pictures": ("train/pictures.json", "limner-pictures")}
NAME = re.compile(r"(drawn-)?[0-9a-f]{20}")  # of folders that are named after a fingerprint


@dataclass(frozen=True)
class Kept:
    """Something in a cache that is made again when it is missing.

    Attributes:
        what: ``text``, ``pictures``, ``latents`` (of those pictures), ``routine``, compiled for this processor, or
            ``unfinished``, which a process that was killed left behind.
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
    """What limner made and keeps; the longest unused first. Anything else that lies there is passed over.

    Args:
        cache: a folder that was given to ``--cache`` or as ``$LIMNER_CACHE``; by default the person's own.
    """
    own = [cache_folder(kind) for kind in KINDS]
    places = own if cache is None else [cache, *(cache / kind for kind in KINDS)]
    found = [one for place in places for path in _children(place) for one in _kept(path)]
    return sorted(found, key=lambda one: (one.used, one.path))


def remove_kept(one: Kept) -> None:
    """Remove it; who has opened it already keeps it.

    Raises:
        DataError: it belongs to somebody else, or something is being made in it.
    """
    try:
        if any(not _is_abandoned(folder) for folder in one.path.glob(f"*/{BUILDING}*")):
            raise DataError(f"{one.path} is in use: something is being made in it. Wait until that is done.")
        if one.path.is_dir():
            _take_away(one.path)
        else:
            one.path.unlink(missing_ok=True)
    except FileNotFoundError:  # somebody else was quicker
        return
    except OSError as error:
        raise DataError(
            f"{one.path} cannot be removed ({error.strerror or error}), but that was asked for. Close what uses it, or let its "
            "owner remove it."
        ) from None


def _kept(path: Path) -> Iterator[Kept]:
    """What something in a cache is: itself, and the latents that lie in it; nothing where it is none of ours."""
    try:
        told = path.stat()
        used = told.st_mtime
        if path.parent.name == "native" and path.match("decode-*.so"):
            yield Kept("routine", path, told.st_size, used)
        elif path.name.startswith(BUILDING) and (path / "lock").is_file() and _is_abandoned(path):
            yield Kept("unfinished", path, _bytes(path), used)
        for what, (mark, expected) in MARKS.items() if NAME.fullmatch(path.name) else ():
            if _format(path / mark) == expected:
                latents = [Kept("latents", one, _bytes(one), one.stat().st_mtime) for one in path.glob("*/latents-*")]
                yield from latents
                yield Kept(what, path, _bytes(path) - sum(one.bytes for one in latents), used)
    except FileNotFoundError:  # removed while it was looked at
        return


def _format(mark: Path) -> object:
    try:
        told = json.loads(mark.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told.get("format") if isinstance(told, dict) else None


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # built and renamed, or removed, meanwhile
            total += 0 if path.is_dir() else path.lstat().st_size
    return total
