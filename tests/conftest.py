"""What every test shares: little models need few threads, and workers side by side need fewer still."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # `limner` is the one under test
os.environ.update(NO_COLOR="1", TERM="dumb", COLUMNS="120")  # what a command prints must not depend on the terminal

# Whoever works here gets new random cases with each run; what decides whether a change may land always gets the same.
settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("ci")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session", autouse=True)
def _own_cache() -> Iterator[None]:
    """Corpora that tests prepare are kept apart from the person's own, and thrown away."""
    with tempfile.TemporaryDirectory(prefix="limner-tests-") as folder:
        os.environ["LIMNER_CACHE"] = folder
        yield


@pytest.fixture(autouse=True)
def _same_seed() -> None:
    """Every test starts from the same random state, whatever ran before it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
