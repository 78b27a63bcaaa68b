"""The bundled example traces: small, readable, and what the bundled models make."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import limner
from limner.core.errors import ConfigError, DataError
from limner.explain.trace import load_trace
from limner.recipes import examples
from limner.recipes.examples import FOLDER, LIMITS, MAKERS, make_example


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.trace")), ids=lambda path: path.stem)
def test_a_bundled_example_is_small_and_of_the_bundled_model(path: Path) -> None:
    trace = load_trace(path)
    assert path.stem in [name for name, _ in MAKERS.values()]
    assert path.stat().st_size <= LIMITS[trace.kind]
    model = next(entry for entry in limner.catalogue() if entry.name == trace.about["model"]["name"])
    described = json.loads((Path(model.path) / "config.json").read_text())
    made_by = trace.about["model"]["sha256"]
    assert made_by == described["sha256"], "made by a model that was exchanged: python -m limner.recipes.examples"


def test_the_text_is_the_one_that_the_model_writes(tmp_path: Path) -> None:
    made = load_trace(make_example("text", tmp_path))
    bundled = load_trace(FOLDER / "curious-cat.trace")
    assert made.about["run"]["text"] == bundled.about["run"]["text"]
    assert made.about["run"]["text"].strip()
    assert bundled.about["replay"]["largest_difference"] < 0.01
    assert set(made) == set(bundled)


def test_what_is_too_large_or_unknown_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="'tune'"):
        make_example("tune", tmp_path)
    monkeypatch.setitem(examples.LIMITS, "text", 1000)
    with pytest.raises(DataError, match="a bundled text has 1,000"):
        make_example("text", tmp_path)
    assert not list(tmp_path.iterdir())
