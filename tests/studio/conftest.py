"""A studio with small random models on its shelf, and a page that asks it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from limner.studio.app import make_app
from limner.studio.state import Studio
from tests.studio.shelf import save_models

OWN = "http://localhost:8410"


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a model that writes, ``tiny``, and one that paints, ``painter``."""
    return save_models(tmp_path_factory.mktemp("shelf"))


@pytest.fixture(autouse=True)
def _on_the_shelf(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_MODELS", str(shelf))


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path / "runs", examples=tmp_path / "examples", pages=tmp_path / "pages")


@pytest.fixture
def page(studio: Studio) -> Iterator[TestClient]:
    """A page of the studio's own."""
    with TestClient(make_app(studio), base_url=OWN) as client:
        yield client


def events(text: str) -> list[tuple[str, Any]]:
    """The events of a stream that came to its end."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


def refused(answer: Any, status: int, *says: str) -> str:
    """Check that an answer is a refusal in one sentence or two, with its remedy."""
    assert answer.status_code == status, answer.text
    said = str(answer.json()["error"])
    for part in says:
        assert part in said
    assert said.endswith((".", "?"))
    assert "Traceback" not in said
    return said
