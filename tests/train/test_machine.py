"""What the machine is told before training."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
import torch

from limner.train import machine
from limner.train.settings import TrainSettings


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "omp_pause_resource_all"), reason="torch's threads are not OpenMP's here"
)
def test_small_numbers_become_0_in_threads_that_are_there_already() -> None:
    """Else the last bits of a run depend on whether anything was computed before it."""
    tiny = torch.from_numpy(np.full(1 << 20, 1e-40, dtype=np.float32))
    threads = torch.get_num_threads()
    try:
        torch.set_flush_denormal(False)
        torch.set_num_threads(3)
        torch.ones(1 << 20).mul_(2.0)  # starts the threads, which keep small numbers
        machine.prepare(TrainSettings(steps=1, threads=3))
        halves = (tiny * 0.5).view(torch.int32).numpy()
    finally:
        torch.set_num_threads(threads)
    assert np.count_nonzero(halves) == 0
