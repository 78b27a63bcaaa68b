"""A run of one's own from Python."""

from __future__ import annotations

from pathlib import Path

import pytest

import limner

TINY = {
    "steps": 4,
    "size": "70K",
    "tokenizer": "bytes",
    "context_length": 32,
    "batch_size": 4,
    "compile": "off",
    "threads": 1,
}


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number}.txt").write_text(f"Tale {number}. " + "The cat sat on the wall and sang. " * 5)
    return folder


def test_a_model_is_trained_and_writes(texts: Path, tmp_path: Path) -> None:
    model = limner.train_text(texts, out=tmp_path / "run", settings=TINY, show=False)
    assert isinstance(model, limner.TextGenerator)
    assert model.generate("The cat", max_tokens=5, seed=1).text
    again = limner.load(tmp_path / "run")
    assert again.generate("The cat", max_tokens=5, seed=1).text == model.generate("The cat", max_tokens=5, seed=1).text


def test_a_run_can_be_made_longer(texts: Path, tmp_path: Path) -> None:
    limner.train_text(texts, out=tmp_path / "run", settings=TINY, show=False)
    with pytest.raises(limner.TrainingError, match="run"):
        limner.train_text(texts, out=tmp_path / "run", settings=TINY, show=False)
    limner.train_text(texts, out=tmp_path / "run", settings={"steps": 6}, resume=True, show=False)


def test_an_unknown_setting_suggests_the_nearest(texts: Path, tmp_path: Path) -> None:
    with pytest.raises(limner.ConfigError, match=r"learning_rte.*learning_rate"):
        limner.train_text(texts, out=tmp_path / "run", settings={"learning_rte": 1.0}, show=False)
