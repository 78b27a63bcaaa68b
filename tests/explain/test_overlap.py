"""Maps are held against masks as they should be: a perfect map, one of nothing, and a model that knows nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from limner.core.errors import ConfigError
from limner.explain.overlap import OBJECTS, Wanted, coarse, iou, measure_overlap, score_map, words_of_scene
from limner.picture.world.captions import prompt, words_of
from limner.picture.world.draw import draw
from limner.picture.world.scene import Figure, Scene, sample_scene
from limner.tokens import Tokenizer, train_tokenizer
from tests.picture.conftest import make_painter

GRID = (8, 8)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer("byte-bpe", [prompt(sample_scene(seed)) for seed in range(200)], vocab_size=600)


def test_a_map_that_is_the_truth_scores_as_high_as_its_patches_allow() -> None:
    mask = draw(sample_scene(3), 64).masks[0].animal
    found = score_map(coarse(mask, GRID), mask)
    assert found.best_iou == found.ceiling > 0.6
    assert found.pointed == 1.0
    assert found.chance == pytest.approx(mask.mean())
    assert found.mass > 2 * found.chance


def test_a_map_of_everything_scores_by_chance() -> None:
    mask = np.zeros((64, 64), bool)
    mask[8:24, 16:32] = True
    found = score_map(np.ones(GRID, np.float32), mask)
    assert found.iou == found.best_iou == found.chance == found.mass == 1 / 16
    assert found.pointing_chance == 16 / 64, "two by two patches and their neighbours"
    wrong = np.zeros(GRID, np.float32)
    wrong[7, 7] = 1.0
    elsewhere = score_map(wrong, mask)
    assert (elsewhere.iou, elsewhere.mass, elsewhere.pointed) == (0.0, 0.0, 0.0)
    beside = np.zeros(GRID, np.float32)
    beside[3, 4] = 1.0
    assert score_map(beside, mask).pointed == 1.0, "a patch beside it will do"


def test_intersection_over_union() -> None:
    one, other = np.zeros((2, 4), bool), np.zeros((2, 4), bool)
    one[0], other[:, :2] = True, True
    assert iou(one, other) == 2 / 6
    assert iou(~one & one, ~one & one) == 0.0


def test_the_words_of_a_scene_are_found_though_they_stand_there_twice() -> None:
    scene = Scene(
        (Figure("black cat", "sitting", "top hat", "black"), Figure("fox", "standing", "party hat", "black")),
        "left of", "beach", "noon", 1,
    )  # fmt: skip
    words = words_of(prompt(scene).lower())
    found = {(one.kind, one.figure): [words[at] for at in one.words] for one in words_of_scene(scene, words)}
    assert found == {
        ("animal", 0): ["black", "cat"],
        ("colour", 0): ["black"],
        ("hat", 0): ["top", "hat"],
        ("colour and hat", 0): ["black", "top", "hat"],
        ("animal", 1): ["fox"],
        ("colour", 1): ["black"],
        ("hat", 1): ["party", "hat"],
        ("colour and hat", 1): ["black", "party", "hat"],
    }
    (second,) = (one for one in words_of_scene(scene, words) if one.kind == "hat" and one.figure == 1)
    assert second == Wanted("hat", 1, (len(words) - 2, len(words) - 1))


def test_every_scene_that_is_asked_has_its_words(tokenizer: Tokenizer) -> None:
    painter = make_painter(tokenizer, context_length=160)
    for seed in range(150):
        scene = sample_scene(seed, two=0.5)
        words = [word for word, _ in painter.word_places(prompt(scene))]
        hats = sum(figure.hat is not None for figure in scene.figures)
        assert len(words_of_scene(scene, words)) == len(scene.figures) + 3 * hats


def test_a_model_that_knows_nothing_is_at_chance(tokenizer: Tokenizer) -> None:
    painter = make_painter(tokenizer, size=(32, 32), context_length=160, vocab_size=600)
    done: list[int] = []
    found = measure_overlap(painter, scenes=8, two=0.5, times=(0.4, 0.8), progress=lambda now, of: done.append(now))
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert done == list(range(1, 9))
    assert values["scenes"] + values["skipped"] == 8
    assert sorted(values["times"]) == ["0.4", "0.8"]
    for kind in OBJECTS:
        score = values["scores"][kind]
        assert score["count"] >= values["scenes"]
        assert abs(score["mass"] - score["chance"]) < 0.5 * score["chance"]
        assert abs(score["own"] - 0.5) < 0.2
        assert score["best_iou"] <= score["ceiling"]
        assert np.array(values["heads"][kind]).shape == (2, 2)
    assert measure_overlap(painter, scenes=8, two=0.5, times=(0.4, 0.8)).to_dict() == values


def test_what_cannot_be_measured_is_said(tokenizer: Tokenizer) -> None:
    painter = make_painter(tokenizer, size=(32, 64), context_length=160, vocab_size=600)
    with pytest.raises(ConfigError, match="scenes is 1"):
        measure_overlap(painter, scenes=1)
    with pytest.raises(ConfigError, match=r"time is 1, but noise"):
        measure_overlap(painter, scenes=2, times=(0.5, 1.0))
    with pytest.raises(ConfigError, match="paints 64 × 32, but drawings are square"):
        measure_overlap(painter, scenes=2)
