"""Files and folders that are whole or not there."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from safetensors import SafetensorError

from limner.core.errors import LimnerError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CONFIG = "config.json"
EXCHANGES = 20  # in a row while one model is read: more is no training
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")

T = TypeVar("T")


def sync(path: Path) -> None:
    """Force a file or a folder to the disk."""
    if os.name == "nt":  # neither folders nor files opened for reading can be synced there
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def reason(problem: BaseException) -> str:
    """``No space left on device`` out of an error of the system or of safetensors."""
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    found = re.search(r"([A-Z][^:\"{}]*?) \(os error \d+\)", str(problem))
    return found.group(1) if found else str(problem)


def write_json(path: Path, values: Any) -> None:
    """Write plain values as a person would want to read them."""
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A file beside this one, which takes its place once it is complete; otherwise the old one stays and nothing is left."""
    fresh = path.with_name(f".{path.name}.unfinished")
    try:
        yield fresh
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, Any]:
    """Read an object.

    Raises:
        WeightsError: the file is missing, cut off, or not an object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as problem:
        raise WeightsError(
            f"{path} is missing, but a model folder has one. Choose a folder that was saved whole."
        ) from problem
    except (OSError, ValueError) as problem:
        raise WeightsError(f"{path} cannot be read as JSON: {problem}. Copy the folder again.") from problem
    if not isinstance(values, dict):
        raise WeightsError(f"{path} holds {type(values).__name__}, but an object is needed. Copy the folder again.")
    return values


def refuse_pickle(path: Path) -> None:
    """Refuse a file that Python would have to run to read; it is told by its name and its first bytes alone.

    Raises:
        WeightsError: it is a pickle, or a zip that may hold one.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        start = file.read(9)
    # Safetensors begin with eight bytes of length, which may be any, and a brace.
    pickled = start[:1] == b"\x80" or start[:4] == b"PK\x03\x04"
    if path.suffix in PICKLES or (pickled and start[8:] != b"{"):
        raise WeightsError(
            f"{path} is a pickle, but reading a pickle can run any code, so limner never opens one. "
            "Convert it to safetensors where you trust it, and give that folder."
        )


def empty_or_forced(folder: Path, force: bool) -> None:
    """Check that nothing is lost by writing a folder.

    Raises:
        WeightsError: there is something already, and nobody said that it may go.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not force):
        raise WeightsError(
            f"{folder} is there already and not empty, but exporting writes a new folder. "
            "Choose another, or add --force to replace a model."
        )


def previous(folder: Path) -> Path:
    """Where the old folder waits for the moment in which the new one takes its place."""
    return folder.with_name(f".{folder.name}.previous")


def standing(folder: Path) -> Path:
    """The folder, or the old one where a process was killed, or is, between the two renames of ``replaced_folder``."""
    return previous(folder) if not folder.is_dir() and previous(folder).is_dir() else folder


def read_unchanged(folder: Path, read: Callable[[Path], T]) -> T:
    """What ``read`` makes of a model folder, all of it from one and the same.

    A training that saves a better model exchanges the folder, perhaps between two files that are read here. What was read
    then, or could not be, is read again.

    Args:
        read: called with the folder, or with the old one where it waits.
    Raises:
        Exception: whatever ``read`` raises of a folder that stayed the same.
    """
    for _ in range(EXCHANGES):
        before = _identity(folder)
        try:
            found = read(standing(folder))
        except (LimnerError, OSError):
            if _identity(folder) == before:
                raise
        else:
            if _identity(folder) == before:
                return found
    return read(standing(folder))


def _identity(folder: Path) -> tuple[int, ...] | None:
    """Tells a folder from the one that takes its place; None: there is none."""
    try:
        found = [(folder / CONFIG).stat(), folder.stat()]
    except OSError:
        return None
    return tuple(number for one in found for number in (one.st_dev, one.st_ino, one.st_mtime_ns))


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """A fresh folder to write into, which takes the place of ``folder`` when all went well.

    It is forced to the disk before it is renamed. A process killed at any moment leaves the old folder or the new
    one, whole; only between the last two renames does the old one stand under ``previous(folder)``.

    Raises:
        WeightsError: the disk is full or may not be written to, or the folder holds something else than a model; what
            was there before is untouched.
    """
    folder = folder.absolute()
    if folder.exists() and not (folder / CONFIG).is_file() and (folder.is_file() or any(folder.iterdir())):
        raise WeightsError(
            f"{folder} holds something else than a model, but saving would replace it. Choose a new or an empty folder."
        )
    fresh = folder.with_name(f".{folder.name}.unfinished-{os.getpid()}")
    old = previous(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for left in folder.parent.glob(f".{folder.name}.unfinished-*"):
            shutil.rmtree(left, ignore_errors=True)
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
        fresh.mkdir()
        yield fresh
        for path in fresh.iterdir():
            sync(path)
        sync(fresh)
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
        sync(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as problem:
        shutil.rmtree(fresh, ignore_errors=True)
        raise WeightsError(
            f"{folder} cannot be written: {reason(problem)}, but a model needs a place. "
            "Make room or choose another folder; what was there before is whole."
        ) from problem
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
