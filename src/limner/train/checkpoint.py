"""Checkpoints: safetensors plus JSON, written whole or not at all, checked when read.

    checkpoints/step-00001200/state.safetensors     every tensor
                              checkpoint.json       step, time, and the SHA-256 of both files' content

A checkpoint is written into a folder of another name, forced to the disk, and renamed: a process that is killed
at any moment leaves whole checkpoints and perhaps an unfinished folder, which the next one removes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from limner.core.errors import TrainingError, WeightsError, counted
from limner.weights.files import file_digest, reason, refuse_pickle, sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from torch import Tensor

FORMAT = "limner-checkpoint"
VERSION = 1
TENSORS = "state.safetensors"
NOTE = "checkpoint.json"
_UNFINISHED = ".unfinished-"
_NAME = re.compile(r"step-(\d{8,})")


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint as read: its tensors by name, and what was noted beside them."""

    path: Path
    tensors: dict[str, Tensor]
    note: dict[str, Any]

    @property
    def step(self) -> int:
        """Steps that were done."""
        return int(self.note["step"])


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], note: Mapping[str, Any]) -> None:
    """Write one checkpoint folder atomically.

    Args:
        path: the folder to appear; one that is there already is replaced.
        tensors: any names; tensors that share memory are written separately.
        note: plain JSON values.
    Raises:
        TrainingError: the disk is full or cannot be written to; nothing is left behind.
    """
    unfinished = path.with_name(f"{_UNFINISHED}{path.name}-{os.getpid()}")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, unfinished / TENSORS)
        sync(unfinished / TENSORS)
        body = {"format": FORMAT, "version": VERSION, **note, "sha256": file_digest(unfinished / TENSORS)}
        text = json.dumps({**body, "digest": _digest(body)}, indent=1)
        write_synced(unfinished / NOTE, text)
        sync(unfinished)
        if path.exists():
            remove_checkpoint(path)
        unfinished.rename(path)
        sync(path.parent)
    except (OSError, SafetensorError) as problem:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise TrainingError(
            f"the checkpoint {path} cannot be written: {reason(problem)}, but a run must be able to save. Make room or "
            "choose another folder, then resume; earlier checkpoints are whole."
        ) from problem


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint folder: first its name, so that half of one is never taken for a whole one."""
    gone = path.with_name(f"{_UNFINISHED}gone-{path.name}-{os.getpid()}")
    with contextlib.suppress(OSError):
        path.rename(gone)
        shutil.rmtree(gone)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint folder and check it.

    Raises:
        WeightsError: it is not there, not ours, a pickle, or not what was written.
    """
    refuse_file(path)
    note_path, tensors_path = path / NOTE, path / TENSORS
    for needed in (note_path, tensors_path):
        if not needed.is_file():
            raise WeightsError(
                f"{needed} is missing, but a checkpoint has it. Choose a folder checkpoints/step-… of a run."
            )
    try:
        note = json.loads(note_path.read_text("utf-8"))
        claimed = note.pop("digest")
    except (ValueError, KeyError, AttributeError, TypeError) as problem:
        raise WeightsError(f"{note_path} is damaged: {problem}. Use an earlier checkpoint.") from problem
    if claimed != _digest(note):
        raise WeightsError(
            f"{note_path} has the digest {_digest(note)[:12]}, but {str(claimed)[:12]} was written. Use an earlier one."
        )
    if note.get("format") != FORMAT or note.get("version") != VERSION:
        raise WeightsError(
            f"{note_path} has format {note.get('format')!r} version {note.get('version')!r}, but {FORMAT!r} version {VERSION} "
            "is needed. Use the release of limner that wrote it."
        )
    refuse_pickle(tensors_path)
    found = file_digest(tensors_path)
    if found != note["sha256"]:
        raise WeightsError(
            f"{tensors_path} has checksum {found[:12]}, but {note['sha256'][:12]} was written. Use an earlier checkpoint."
        )
    try:
        return Checkpoint(path, load_file(tensors_path), note)
    except SafetensorError as problem:
        raise WeightsError(f"{tensors_path} cannot be read: {problem}. Use an earlier checkpoint.") from problem


class CheckpointFolder:
    """The checkpoints of one run: the last few and the best one are kept."""

    def __init__(self, path: Path, keep: int = 2) -> None:
        self.path = path
        self.keep = keep

    def folder(self, step: int) -> Path:
        """Where the checkpoint of a step is or would be."""
        return self.path / f"step-{step:08d}"

    def steps(self) -> list[int]:
        """Steps of the checkpoints that are there, in order."""
        if not self.path.is_dir():
            return []
        return sorted(int(m.group(1)) for entry in self.path.iterdir() if (m := _NAME.fullmatch(entry.name)))

    def save(self, step: int, tensors: Mapping[str, Tensor], note: Mapping[str, Any], best: int | None) -> Path:
        """Write a checkpoint, then remove the ones that are no longer kept.

        Raises:
            TrainingError: it cannot be written, even after older ones were removed.
        """
        try:
            write_checkpoint(self.folder(step), tensors, {**note, "step": step, "best": best})
        except TrainingError:
            if not self.prune(best, keep=1):
                raise
            write_checkpoint(self.folder(step), tensors, {**note, "step": step, "best": best})
        self.prune(best, self.keep)
        return self.folder(step)

    def prune(self, best: int | None, keep: int) -> bool:
        """Remove all but the last ``keep`` and the best; whether anything was removed."""
        gone = [step for step in self.steps()[:-keep] if step != best]
        for step in gone:
            remove_checkpoint(self.folder(step))
        return bool(gone)

    def reached(self) -> tuple[int, dict[str, Any]]:
        """The step of the last checkpoint and what was noted beside it, unchecked; 0 and nothing without one."""
        for step in reversed(self.steps()):
            with contextlib.suppress(OSError, ValueError):
                note = json.loads((self.folder(step) / NOTE).read_text("utf-8"))
                if isinstance(note, dict) and note.get("step") == step:
                    return step, note
        return 0, {}

    def clean(self) -> None:
        """Remove what a killed process left unfinished."""
        if self.path.is_dir():
            for entry in self.path.iterdir():
                if entry.name.startswith(_UNFINISHED):
                    shutil.rmtree(entry, ignore_errors=True)

    def latest(self, say: Callable[[str], None]) -> Checkpoint | None:
        """The last good checkpoint; damaged ones are told of and passed over. None: there never was one.

        Raises:
            WeightsError: there are checkpoints, but none is good.
        """
        problem: WeightsError | None = None
        for step in reversed(self.steps()):
            try:
                return read_checkpoint(self.folder(step))
            except WeightsError as found:
                problem = found
                say(f"{found} Going back to the one before.")
        if problem is not None:
            raise WeightsError(
                f"{self.path} has {counted(len(self.steps()), 'checkpoint')}, but none is whole. Start the run anew."
            ) from problem
        return None


def expect_names(found: Iterable[str], expected: Iterable[str], where: str) -> None:
    """Check that a checkpoint has the tensors that are needed and no others.

    Raises:
        WeightsError: one is missing or extra; the first is named.
    """
    have, need = set(found), set(expected)
    if missing := sorted(need - have):
        raise WeightsError(
            f"{where} lacks {missing[0]} ({len(missing)} missing), but this model needs it. Use the run it belongs to."
        )
    if extra := sorted(have - need):
        raise WeightsError(
            f"{where} has {extra[0]} ({len(extra)} extra), but this model has no such part. Use the run it belongs to."
        )


def copy_into(target: Tensor, value: Tensor, name: str) -> None:
    """Copy a stored tensor into a living one.

    Raises:
        WeightsError: another shape.
    """
    if target.shape != value.shape:
        raise WeightsError(
            f"{name} has shape {tuple(value.shape)}, but this model needs {tuple(target.shape)}. Use the run it belongs to."
        )
    with torch.no_grad():
        target.copy_(value)


def refuse_file(path: Path) -> None:
    """Refuse what is no folder; a pickle is named as such.

    Raises:
        WeightsError: the path is a file.
    """
    refuse_pickle(path)
    if path.is_file():
        raise WeightsError(
            f"{path} is a file, but a run and its checkpoints are folders. Give the folder that --out named."
        )


# ── files that are whole or not there ──────────────────────────────────────────────────────────────────


def _digest(note: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(note, sort_keys=True).encode()).hexdigest()


def write_synced(path: Path, text: str) -> None:
    """Write a text file and force it to the disk."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def replace_text(path: Path, text: str) -> None:
    """Replace a text file atomically."""
    unfinished = path.with_name(f"{_UNFINISHED}{path.name}-{os.getpid()}")
    try:
        write_synced(unfinished, text)
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    sync(path.parent)
