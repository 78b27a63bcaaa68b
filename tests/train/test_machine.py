"""What the machine is told before training."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
import torch

from limner.train import machine
from tests.train import toy


def kept(tiny: torch.Tensor) -> int:
    """How many of these numbers are not flushed."""
    return int(np.count_nonzero((tiny * 0.5).view(torch.int32).numpy()))


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "omp_pause_resource_all"), reason="torch's threads are not OpenMP's here"
)
def test_small_numbers_become_0_in_threads_that_are_there_already() -> None:
    """Else the last bits of a run depend on whether anything was computed before it."""
    tiny = torch.from_numpy(np.full(1 << 20, 1e-40, dtype=np.float32))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        torch.ones(1 << 20).mul_(2.0)  # starts the threads, which keep small numbers
        with machine.denormals_flushed():
            assert kept(tiny) == 0
        assert kept(tiny) == len(tiny)
    finally:
        torch.set_num_threads(threads)


def test_training_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    """Sampling at a tiny temperature, for one, needs small numbers."""
    tiny = torch.full((8,), 1e-40)
    flushed = []

    class Look(toy.Watcher):
        def stepped(self, report: object) -> None:
            flushed.append(kept(tiny))

    toy.run(tmp_path, steps=2, watchers=(Look(),))
    assert flushed == [0, 0]
    assert kept(tiny) == 8
