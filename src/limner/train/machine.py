"""What the machine can do: cores for this process, bfloat16, and the speed of a matrix product."""

from __future__ import annotations

import ctypes
import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from limner.models import bfloat16_helps as bfloat16_helps
from limner.models import keep_memory, read_device

if TYPE_CHECKING:
    from collections.abc import Iterator

    from limner.train.settings import TrainSettings

_PAUSE_SOFT = 1  # omp_pause_soft of OpenMP 5.0


def physical_cores() -> int:
    """Processor cores that this process may use: its CPU set, hyper-threads counted once, cgroup limit kept."""
    if not hasattr(os, "sched_getaffinity"):
        return max(1, (os.cpu_count() or 2) // 2 if os.name == "nt" else os.cpu_count() or 1)
    cpus = os.sched_getaffinity(0)
    cores = set()
    for cpu in cpus:
        topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
        try:
            package, core = ((topology / name).read_text().strip() for name in ("physical_package_id", "core_id"))
        except OSError:
            package, core = "", str(cpu)
        cores.add((package, core))
    return max(1, min(len(cores), _cgroup_cores() or len(cores)))


def _cgroup_cores() -> int | None:
    """Cores that the control group grants, rounded up; None without a limit."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else -(-int(quota) // int(period))


def matmul_peak(device: torch.device, dtype: torch.dtype, size: int = 1024, seconds: float = 0.15) -> float:
    """Floating-point operations a second that a large square matrix product reaches, the best of a short trial."""
    a = torch.randn(size, size, dtype=dtype, device=device)
    b = torch.randn(size, size, dtype=dtype, device=device)
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until or best == float("inf"):
        start = time.perf_counter()
        _ = a @ b
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2.0 * size**3 / best


def resolve_device(name: str) -> torch.device:
    """``auto`` is a GPU where there is one, else the processor.

    Raises:
        ConfigError: this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return read_device(name)


def choose_precision(device: torch.device) -> Literal["float32", "bfloat16"]:
    """What ``precision=auto`` means here."""
    return "bfloat16" if bfloat16_helps(device) else "float32"


def prepare(settings: TrainSettings) -> None:
    """Set the number of threads, and keep memory."""
    torch.set_num_threads(settings.threads)
    keep_memory()


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Let numbers too small to matter be 0 for a while, in every thread; they would slow a processor down."""
    before = float(torch.tensor(1e-40) * 0.5) == 0.0
    _flush_denormals(True)
    try:
        yield
    finally:
        _flush_denormals(before)


def _flush_denormals(on: bool) -> None:
    """Torch sets this for the calling thread, and a new thread takes it from the one that starts it.

    Threads that are there already would go on as they are, and the last bits would depend on what the process did
    before; so OpenMP lets them go, and starts others when it needs them.
    """
    torch.set_flush_denormal(on)
    with suppress(OSError, AttributeError, TypeError):  # another system, or threads that are not OpenMP's
        ctypes.CDLL(None).omp_pause_resource_all(_PAUSE_SOFT)
