"""The two judges read fresh drawings rightly, say so themselves, and are refused where they do not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from limner.core.errors import ConfigError, WeightsError
from limner.picture.composition import ceiling_of, draw_again, scenes_of, verdict
from limner.picture.judge import BUNDLED, LEAST, Judge, JudgeConfig, JudgeNetwork, load_judge, save_judge
from limner.picture.reading import Seen, truth
from limner.picture.rule import Rule
from limner.picture.world.draw import draw
from limner.picture.world.scene import Figure, Scene

MOST_BYTES = 3_000_000


@pytest.fixture(scope="module")
def judge() -> Judge:
    return load_judge()


def test_the_bundled_judge_is_small_and_described(judge: Judge) -> None:
    assert sum(file.stat().st_size for file in BUNDLED.iterdir()) <= MOST_BYTES
    card = (BUNDLED / "README.md").read_text(encoding="utf-8")
    for said in ("Licence", "Command", "Hardware", "Time", "ceilings", f"{judge.ceiling(64)['triples']:.2%}"):  # type: ignore[index]
        assert said in card


def test_the_bundled_judge_reads_held_back_triples_as_its_card_says(judge: Judge) -> None:
    said = judge.check(64)
    assert said["triples"] >= LEAST
    found = ceiling_of(judge, 64, 200)
    assert found["triples"].right >= 196
    assert found["pairs"].right >= 97
    assert found["binding"].value >= said["binding"] - 0.05
    assert found["relations"].value >= said["relations"] - 0.05


def test_the_judge_says_where_and_when_too(judge: Judge) -> None:
    scenes = scenes_of("settings", 40, 6)
    found = judge.read([draw_again(scene, 64, 3) for scene in scenes])
    right = [
        (reading.background, reading.time) == (scene.background, scene.time)
        for reading, scene in zip(found, scenes, strict=True)
    ]
    assert sum(right) >= 38


def test_a_picture_is_read_as_it_is_alone(judge: Judge) -> None:
    images = [
        draw_again(scene, size, 3) for scene, size in zip(scenes_of("binding", 6, 6), (32, 48, 64) * 2, strict=True)
    ]
    readings, features = judge.look(images)
    assert readings == [judge.read([image])[0] for image in images]
    assert features.shape == (6, judge.network.config.widths[-1])
    assert judge.look([]) == ([], pytest.approx(torch.empty(0, features.shape[1])))


def test_a_judge_is_saved_and_opened(tmp_path: Path, judge: Judge) -> None:
    save_judge(tmp_path / "judge", judge, dtype=torch.bfloat16)
    again = load_judge(tmp_path / "judge")
    image = draw_again(scenes_of("binding", 1, 6)[0], 64, 3)
    assert torch.equal(again.look([image])[1], judge.look([image])[1])
    assert again.card == judge.card


def test_a_judge_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    words = tuple(line.replace("fox", "wolf") for line in JudgeConfig().words)
    save_judge(tmp_path / "other", Judge(JudgeNetwork(JudgeConfig(words=words))))
    with pytest.raises(WeightsError, match="other words"):
        load_judge(tmp_path / "other")


def test_another_kind_of_folder_is_refused() -> None:
    with pytest.raises(WeightsError, match="story is a text model, but a judge"):
        load_judge(BUNDLED.parent / "story")


def test_a_judge_may_not_judge_where_it_reads_badly(judge: Judge) -> None:
    with pytest.raises(ConfigError, match="37 pixels"):
        judge.check(37)
    with pytest.raises(ConfigError, match=r"ceiling is 99\.40%"):
        judge.check(64, {"triples": 0.994})


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="depths"):
        JudgeConfig(depths=(1, 2))
    with pytest.raises(ConfigError, match="size is 60"):
        JudgeConfig(size=60)


# ── the truth ──────────────────────────────────────────────────────────────────────────────────────────

FOX, BEAR = Figure("fox", "sitting", "crown", "red"), Figure("bear", "standing", "beanie", "blue")


def test_the_truth_is_in_the_order_of_the_picture() -> None:
    fox, bear = Seen.of(FOX), Seen.of(BEAR)
    one = truth(draw(Scene((FOX,), None, "beach", "noon", 4)))
    assert (one.arrangement, one.figures, one.background, one.time) == ("alone", (fox,), "beach", "noon")
    left = truth(draw(Scene((FOX, BEAR), "left of", "beach", "noon", 4)))
    assert (left.arrangement, left.figures) == ("beside", (fox, bear))
    on = truth(draw(Scene((FOX, BEAR), "on", "beach", "noon", 4)))
    assert (on.arrangement, on.figures) == ("stacked", (bear, fox))
    sides = {truth(draw(Scene((FOX, BEAR), "next to", "beach", "noon", seed))).figures for seed in range(8)}
    assert sides == {(fox, bear), (bear, fox)}


# ── the rule ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [64, 128])
def test_the_rule_reads_drawings(size: int) -> None:
    found = ceiling_of(Rule(), size, 40)
    assert found["triples"].right >= 34
    assert found["animal"].right >= 36
    assert found["colour"].right >= 36
    assert found["relations"].right >= 12


def test_the_rule_finds_no_animal_where_there_is_none() -> None:
    plain = Rule().read([Image.new("RGB", (64, 64), colour) for colour in ("white", "black", "green")])
    assert all(reading.figures == () for reading in plain)
    asked = Scene((FOX,), None, "beach", "noon", 4)
    assert not any(verdict(asked, plain[0]).values())
