"""The quick character model learns, and says when a text is too short."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from limner.core.errors import DataError
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
