"""What was prepared once is kept in folders, each named after a fingerprint of everything it was made from.

A folder is built under another name and renamed when it is whole, so that a build that was killed is never taken for
one, and two processes that build the same one at once do not meet.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from limner.core.errors import DataError
from limner.data.split import DIGEST_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from limner.data.documents import Source

WHOLE_HASH = 16 << 20  # files up to this size are known by their content, larger ones by size, time and ends


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
