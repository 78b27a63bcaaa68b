"""Checkpoints that are damaged, cannot be written, or whose process was killed."""

from __future__ import annotations

import contextlib
import errno
import json
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from limner.core.errors import LimnerError, TrainingError, WeightsError
from limner.train import checkpoint as module
from limner.train.checkpoint import CheckpointFolder, read_checkpoint, write_checkpoint
from limner.train.run import RunFolder
from tests.train import toy

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.bfloat16)}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "step-00000003", TENSORS, {"step": 3, "best": None, "elapsed": 1.5})
    found = read_checkpoint(tmp_path / "step-00000003")
    assert found.step == 3
    assert found.note["elapsed"] == 1.5
    assert all(torch.equal(found.tensors[name], value) for name, value in TENSORS.items())


@pytest.mark.parametrize("file", ["state.safetensors", "checkpoint.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "empty"])
def test_damage_is_found_and_the_checkpoint_before_is_used(tmp_path: Path, file: str, damage: str) -> None:
    toy.run(tmp_path, steps=10, checkpoints=10)
    path = tmp_path / "checkpoints" / "step-00000010" / file
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) * 2 // 3] ^= 1
    path.write_bytes(b"" if damage == "empty" else bytes(data[: len(data) // 2]) if damage == "cut" else bytes(data))
    if damage == "gone":
        path.unlink()
    with pytest.raises(WeightsError, match=file):
        read_checkpoint(path.parent)
    said: list[str] = []
    run, outcome = toy.run(tmp_path, resume=True, said=said, steps=10, checkpoints=10)
    assert (outcome.reason, outcome.step) == ("finished", 10)
    assert "step-00000010" in said[0]
    assert "one before" in said[0]
    whole, _ = toy.run(tmp_path / "whole", steps=10)
    assert all(torch.equal(v, run.state()[0][k]) for k, v in whole.state()[0].items())


def test_no_good_checkpoint_left_is_said(tmp_path: Path) -> None:
    toy.run(tmp_path, steps=4, checkpoints=4)
    for path in (tmp_path / "checkpoints").glob("step-*/state.safetensors"):
        path.write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="has 2 checkpoints, but none is whole"):
        toy.run(tmp_path, resume=True, steps=4)


def test_another_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VERSION", 99)
    write_checkpoint(tmp_path / "step-00000001", TENSORS, {"step": 1})
    monkeypatch.undo()
    with pytest.raises(WeightsError, match="version 99"):
        read_checkpoint(tmp_path / "step-00000001")


class Trap:
    """What a pickle can do."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch sprung",)


@pytest.mark.parametrize("name", ["model.pt", "checkpoint.safetensors"])
def test_a_pickle_is_refused_and_never_opened(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(WeightsError, match="is a pickle"):
        RunFolder.open(path)
    with pytest.raises(WeightsError, match="is a pickle"):
        read_checkpoint(path)
    folder = tmp_path / "step-00000001"
    write_checkpoint(folder, TENSORS, {"step": 1})
    shutil.copy(path, folder / "state.safetensors")
    with pytest.raises(WeightsError, match=r"state\.safetensors is a pickle"):
        read_checkpoint(folder)
    assert not (tmp_path / "sprung").exists()


def test_a_full_disk_says_so_and_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.run(tmp_path, steps=10, checkpoints=2, watchers=())
    before = toy.weights(tmp_path)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "sync", full)
    with pytest.raises(TrainingError, match="No space left on device") as caught:
        toy.run(tmp_path, resume=True, steps=20, checkpoints=2)
    assert "step-000000" in str(caught.value)
    monkeypatch.undo()
    assert all(torch.equal(value, before[name]) for name, value in toy.weights(tmp_path).items())
    assert not list((tmp_path / "checkpoints").glob(".unfinished*"))


def test_room_is_made_by_removing_older_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = CheckpointFolder(tmp_path, keep=3)
    for step in (1, 2, 3):
        folder.save(step, TENSORS, {}, best=1)
    write, calls = module.write_checkpoint, []

    def sometimes(*given: Any) -> None:
        calls.append(given)
        if len(calls) == 1:
            raise TrainingError("the disk is full")
        write(*given)

    monkeypatch.setattr(module, "write_checkpoint", sometimes)
    folder.save(4, TENSORS, {}, best=1)
    assert folder.steps() == [1, 3, 4]


def test_a_limit_on_file_sizes_in_a_real_process(tmp_path: Path) -> None:
    code = (
        "import resource, sys; sys.argv[1:] = [sys.argv[1], '20', '--saves', '1']; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000)); "
        f"import runpy; runpy.run_path({str(Path(toy.__file__))!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "run")], capture_output=True, text=True, env=environment()
    )
    assert done.returncode != 0
    assert "File too large" in done.stderr
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no such rights here")
def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(TrainingError, match="Permission denied"):
        RunFolder.create(tmp_path / "run", {})


def test_a_place_that_cannot_be_written_is_told_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path)
    with pytest.raises(TrainingError, match=f"{tmp_path} may not be written to"):
        RunFolder.check_new(tmp_path / "runs" / "mine")


def test_resuming_in_a_read_only_folder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RunFolder.create(tmp_path / "run", {})
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(TrainingError, match="permission denied"):
        RunFolder.open(tmp_path / "run")


def test_a_run_is_not_started_over_another(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "run", {})
    with pytest.raises(TrainingError, match="holds a run already"):
        RunFolder.create(tmp_path / "run", {})
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="is a file"):
        RunFolder.create(tmp_path / "file", {})


def test_what_is_no_run_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no run\.json"):
        RunFolder.open(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(WeightsError, match="cannot be read"):
        RunFolder.open(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"format": "other"}))
    with pytest.raises(WeightsError, match="limner-run"):
        RunFolder.open(tmp_path)


def test_two_processes_cannot_train_in_one_folder(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    RunFolder.create(tmp_path, {})
    with RunFolder(tmp_path), pytest.raises(TrainingError, match="in use by another process"), RunFolder(tmp_path):
        pass


# ── real processes ──────────────────────────────────────────────────────────────────────────────────────


def environment() -> dict[str, str]:
    root = Path(toy.__file__).parent.parent.parent
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}


def child(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, toy.__file__, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_and_saves(tmp_path: Path, number: int) -> None:
    process = child(str(tmp_path), "100000", "--sleep", "0.01", "--saves", "1")
    assert process.stdout is not None
    while int(process.stdout.readline()) < 3:
        pass
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    step = int(out.split()[-1])
    assert out.split()[-2] == "interrupted"
    assert RunFolder(tmp_path).checkpoints.steps() == [step]


def wait_for(pipe: Any, step: int) -> None:
    """Until the process at the other end has done this step; one that ended before it, by a signal perhaps, fails."""
    told = 0
    with contextlib.suppress(EOFError):
        while told < step:
            told = pipe.recv()
    assert told == step, f"the run ended after step {told}, not {step}"


def test_twenty_kills_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    """Each process is killed at once, without warning; each next one goes on, and the end is as if nothing had been.

    The processes are forked from one that has loaded torch already, so that twenty of them start quickly.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.train.toy"])
    steps, kills, saved_before = 500, 0, 0  # twenty times at most 25 steps of 2 ms, and it is not at its end
    chance = random.Random(4)
    folder = RunFolder(tmp_path / "killed").checkpoints
    while True:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(
            target=toy.child, args=(theirs, tmp_path / "killed", steps, 1 if kills == 20 else steps)
        )
        process.start()
        theirs.close()
        assert ours.recv() == saved_before + 1, "it goes on after the last checkpoint, neither before nor later"
        if kills == 20:
            break
        time.sleep(chance.uniform(0.0, 0.05))
        process.kill()
        process.join()
        kills += 1
        for step in folder.steps():
            read_checkpoint(folder.folder(step))  # none is broken
        saved_before = (folder.steps() or [0])[-1]
    wait_for(ours, steps)
    process.join()
    assert process.exitcode == 0
    assert kills == 20
    assert saved_before < steps
    # The run to compare with is forked from the same process: the same code, whatever was edited since.
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=toy.child, args=(theirs, tmp_path / "whole", steps, 1))
    process.start()
    theirs.close()
    wait_for(ours, steps)
    process.join()
    whole, killed = toy.weights(tmp_path / "whole"), toy.weights(tmp_path / "killed")
    assert [name for name in whole if not torch.equal(whole[name], killed[name])] == []
    assert not list((tmp_path / "killed" / "checkpoints").glob(".unfinished*"))


def test_errors_are_ours(tmp_path: Path) -> None:
    """What the command line prints without a traceback."""
    for problem in (WeightsError, TrainingError):
        assert issubclass(problem, LimnerError)
