"""The quick character model learns, and says when a text is too short."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import Any

import pytest
import torch

from limner.core.errors import DataError, TrainingError
from limner.recipes import quick


def test_it_learns_and_repeats_with_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = quick.quick_settings()
    monkeypatch.setattr(quick, "quick_settings", lambda: replace(settings, steps=12, batch_size=4, precision="float32"))
    text = "the cat sat on the mat, and the dog lay by the door. " * 60
    first = quick.characters_quick(text, seed=1, threads=1)
    again = quick.characters_quick(text, seed=1, threads=1)
    assert first.characters == "".join(sorted(set(text)))
    ids = first.validation[:65]
    assert "".join(first.characters[i] for i in ids[:20].tolist()) in text
    with torch.no_grad():
        loss = first.model.loss(ids[None, :-1], ids[None, 1:])
    assert loss < 0.8 * torch.tensor(float(len(first.characters))).log()
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name


def test_a_short_text_is_refused() -> None:
    with pytest.raises(DataError, match="1279 characters"):
        quick.characters_quick("a" * 1279)


def test_a_run_that_was_stopped_gives_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of a few steps would be taken for the recipe's, whose loss is another."""
    settings = quick.quick_settings()
    monkeypatch.setattr(quick, "quick_settings", lambda: replace(settings, steps=12, batch_size=4, precision="float32"))
    take = quick.Training.take_step

    def terminated(self: quick.Training[Any]) -> Any:
        if self.clock.step == 2:
            signal.raise_signal(signal.SIGTERM)
        return take(self)

    monkeypatch.setattr(quick.Training, "take_step", terminated)
    with pytest.raises(TrainingError, match="stopped after step 3 of 12"):
        quick.characters_quick("the cat sat on the mat. " * 60, threads=1)
