"""The recipe of the judge: right answers, mirrored rightly, and a run that makes a judge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from limner.core.errors import WeightsError
from limner.picture.judge import OF_FIGURE, WORDS, load_judge
from limner.picture.reading import ARRANGEMENTS, Reading, Seen
from limner.recipes.judge import (
    IGNORED,
    accuracy,
    batch_of,
    bundle_judge,
    draw_some,
    settings,
    spoilt,
    targets,
    train_judge,
)

TINY = replace(settings(), steps=2, batch_size=8, evaluations=1, checkpoints=0)


def test_targets_leave_out_what_has_no_answer() -> None:
    two = Reading("beside", (Seen("fox", "crown", "red"), Seen("bear")), "beach", "night")
    one = Reading("alone", (Seen("fox", "crown", "red"),), "desert", "noon")
    found = targets([two, one])
    fox, bear, crown, red = (
        WORDS[name].index(word)
        for name, word in (("animal", "fox"), ("animal", "bear"), ("hat", "crown"), ("colour", "red"))
    )
    assert found["animal"].tolist() == [[fox, bear], [fox, IGNORED]]
    assert found["hat"].tolist() == [[crown, 0], [crown, IGNORED]]
    assert found["colour"].tolist() == [[red, IGNORED], [red, IGNORED]]
    assert found["arrangement"].tolist() == [ARRANGEMENTS.index("beside"), 0]
    assert found["time"].tolist() == [WORDS["time"].index("night"), WORDS["time"].index("noon")]


def test_a_mirrored_picture_has_its_animals_the_other_way_round() -> None:
    drawn = draw_some(1, 24, 64)
    first, again = (batch_of(drawn, 0, 24, 0) for _ in range(2))
    assert np.array_equal(first[0], again[0])
    order = np.random.default_rng((0, 0)).permutation(24)
    for row, source in enumerate(order):
        beside = drawn[1]["arrangement"][source] == ARRANGEMENTS.index("beside")
        for name in OF_FIGURE:
            right = drawn[1][name][source]
            expected = right[::-1] if beside and row % 2 == 0 else right
            assert first[1][name][row].tolist() == expected.tolist()


def test_spoiling_keeps_the_picture_recognisable() -> None:
    pixels = draw_some(5, 1, 64)[0][0]
    for seed in range(12):
        changed = spoilt(pixels, np.random.default_rng(seed))
        assert changed.shape == pixels.shape
        assert changed.dtype == np.uint8
        assert abs(changed.astype(float).mean() - pixels.mean()) < 20


def test_accuracy_counts_what_has_an_answer() -> None:
    logits = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    assert accuracy(logits, torch.tensor([[1, IGNORED]])) == 1.0
    assert accuracy(logits, torch.tensor([[1, 1]])) == 0.5


def test_a_run_makes_a_judge_that_says_it_was_not_measured(tmp_path: Path) -> None:
    outcome = train_judge(tmp_path / "run", TINY, drawings=32, workers=1, validation=16)
    assert outcome.reason == "finished"
    judge = load_judge(tmp_path / "run" / "model")
    assert judge.ceiling(64) is None
    assert judge.card["pictures"] == 16


def test_a_run_that_is_not_finished_is_not_bundled(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text('{"event": "step"}\n')
    with pytest.raises(WeightsError, match="not finished"):
        bundle_judge(tmp_path, tmp_path / "out")
