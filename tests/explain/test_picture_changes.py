"""A change does what it says and nothing else: each is compared with the same thing done by hand."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import limner
from limner.core.errors import ConfigError, DataError
from limner.core.tap import Recorder
from limner.explain.picture_causal import picture_causal_map
from limner.explain.picture_changes import (
    PictureAttentionOff,
    PictureChange,
    PictureFeedForwardOff,
    PictureHeadOff,
    RemoveWord,
    ReplaceWord,
    WeighWord,
    change_prompt,
    compare_pictures,
    paint_changed,
    read_changes,
    region_mask,
)
from limner.picture.generator import PictureGenerator
from limner.picture.painting import Picture
from tests.picture.conftest import SIDE
from tests.picture.conftest import painter as painter
from tests.picture.conftest import tokenizer as tokenizer

PROMPT = "a fox with a green hat"
GREEN = 4
EVERY: tuple[PictureChange, ...] = (
    WeighWord(GREEN, 2.5, (0, 2)),
    RemoveWord(0),
    ReplaceWord(5, "blue wizard hat"),
    PictureHeadOff(1, 0),
    PictureHeadOff(0, 1, "attention", (1,)),
    PictureAttentionOff(1, "attention"),
    PictureFeedForwardOff(0),
)


def painted(painter: PictureGenerator, prompt: str = PROMPT, **values: Any) -> Picture:
    return painter.generate(prompt, **({"seed": 1, "steps": 3} | values))[0]


def changed(painter: PictureGenerator, *changes: PictureChange, **values: Any) -> Picture:
    return paint_changed(painter, PROMPT, changes, **({"seed": 1, "steps": 3} | values))


# ── words ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_weight_of_1_leaves_every_bit(painter: PictureGenerator) -> None:
    plain, same = painted(painter), changed(painter, WeighWord(GREEN, 1.0))
    assert same.image.tobytes() == plain.image.tobytes()
    assert all(torch.equal(one.seen, other.seen) for one, other in zip(same.looks, plain.looks, strict=True))


@pytest.mark.parametrize("weight", [0.0, 0.5, 3.0])
def test_a_word_gets_as_much_more_or_less_as_it_is_weighed(painter: PictureGenerator, weight: float) -> None:
    def shares(*changes: PictureChange) -> np.ndarray[Any, Any]:
        trace = painter.trace(PROMPT, seed=1, steps=1, changes=changes)
        return trace["words.layer_head"][0, 0]  # in the first layer nothing else has changed yet

    before, after = shares(), shares(WeighWord(GREEN, weight))
    green = before[:, GREEN]
    whole = 1 + (weight - 1) * green
    np.testing.assert_allclose(after[:, GREEN], weight * green / whole, atol=0.01)
    np.testing.assert_allclose(after[:, 1], before[:, 1] / whole, atol=0.01)


def test_only_the_prompts_row_is_weighed(painter: PictureGenerator) -> None:
    def rows(*changes: PictureChange) -> torch.Tensor:
        recorder = Recorder(["look.0.prediction"])
        changed(painter, *changes, tap=recorder)
        return recorder["look.0.prediction"]

    before, after = rows(), rows(WeighWord(GREEN, 5.0))
    torch.testing.assert_close(before[1], after[1], rtol=1e-5, atol=1e-5)
    assert (before[0] - after[0]).abs().max() > 1e-3


def test_a_word_of_several_pieces_is_weighed_as_one(painter: PictureGenerator) -> None:
    trace = painter.trace("a zorblax hat", seed=1, steps=1, changes=[WeighWord(1, 0.0)])
    assert len(trace.about["words"][1]["places"]) > 1
    assert trace["words"][:, 1].max() == 0.0
    assert trace["words"][:, 2].max() > 0.0


@pytest.mark.parametrize(
    ("change", "prompt"),
    [
        (RemoveWord(GREEN), "a fox with a hat"),
        (ReplaceWord(GREEN, "blue"), "a fox with a blue hat"),
        (ReplaceWord(1, "black cat"), "a black cat with a green hat"),
    ],
)
def test_another_word_is_another_prompt(painter: PictureGenerator, change: PictureChange, prompt: str) -> None:
    picture = changed(painter, change)
    other = painted(painter, prompt)
    assert picture.image.tobytes() == other.image.tobytes()
    assert picture.settings == other.settings
    assert painter.again(picture.settings)[0].image.tobytes() == other.image.tobytes()


def test_words_are_counted_in_the_prompt_that_was_given() -> None:
    changes = [ReplaceWord(1, "black cat"), WeighWord(GREEN, 2.0), RemoveWord(0), WeighWord(2, 0.5)]
    prompt, rest = change_prompt("A fox, with a GREEN  hat", changes)
    assert prompt == "black cat, with a green hat"
    assert rest == (WeighWord(4, 2.0), WeighWord(2, 0.5))
    assert [re.findall(r"\w+", prompt)[change.word] for change in rest if isinstance(change, WeighWord)] == [
        "green", "with",
    ]  # fmt: skip
    assert change_prompt("A  Fox", [WeighWord(1, 2.0)])[0] == "A  Fox", "what is not changed stays as it was written"
    assert change_prompt("A Fox", [RemoveWord(0)], lower_case=False)[0] == "Fox"


# ── parts ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("where", ["cross_attention", "attention"])
def test_a_head_that_is_off_is_one_whose_output_counts_nothing(painter: PictureGenerator, where: Any) -> None:
    picture = changed(painter, PictureHeadOff(1, 1, where))
    assert picture.image.tobytes() != painted(painter).image.tobytes()
    attention = getattr(painter.model.denoiser.stack.layers[1], where)
    with torch.no_grad():
        attention.output.weight[:, attention.config.head_dim :] = 0
    by_hand = painted(painter)
    for one, other in zip(picture.looks, by_hand.looks, strict=True):
        torch.testing.assert_close(one.seen, other.seen, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (PictureAttentionOff(0), "cross_attention.output"),
        (PictureAttentionOff(0, "attention"), "attention.output"),
        (PictureFeedForwardOff(0), "feed_forward.down"),
    ],
)
def test_a_part_that_is_off_adds_nothing(painter: PictureGenerator, change: PictureChange, part: str) -> None:
    picture = changed(painter, change)
    assert picture.image.tobytes() != painted(painter).image.tobytes()
    module = painter.model.denoiser.stack.layers[0].get_submodule(part)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    by_hand = painted(painter)
    for one, other in zip(picture.looks, by_hand.looks, strict=True):
        torch.testing.assert_close(one.seen, other.seen, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "change", [WeighWord(1, 9.0, (1,)), PictureHeadOff(0, 0, "attention", (1,)), PictureFeedForwardOff(1, (1,))]
)
def test_a_change_of_some_looks_leaves_the_others(painter: PictureGenerator, change: PictureChange) -> None:
    plain, picture = painted(painter), changed(painter, change)
    same = [torch.equal(one.seen, other.seen) for one, other in zip(plain.looks, picture.looks, strict=True)]
    assert same == [True, False, False], "the third is given something else, but not changed itself"
    last = painter.look_again(plain.settings, picture.looks[2:])[0]
    torch.testing.assert_close(last, picture.looks[2].seen.float(), rtol=0, atol=0.02)


def test_changes_together_are_not_each_alone(painter: PictureGenerator) -> None:
    one, other = WeighWord(1, 3.0), WeighWord(GREEN, 3.0)
    made = {changed(painter, *some).image.tobytes() for some in ((), (one,), (other,), (one, other))}
    assert len(made) == 4


# ── as JSON ────────────────────────────────────────────────────────────────────────────────────────────────


def test_changes_come_back_from_json(painter: PictureGenerator) -> None:
    plain = json.loads(json.dumps([change.to_dict() for change in EVERY]))
    assert read_changes(plain) == EVERY
    assert plain[0] == {"kind": "weigh_word", "word": 4, "weight": 2.5, "looks": [0, 2]}
    assert plain[3] == {"kind": "head_off", "layer": 1, "head": 0, "where": "cross_attention"}
    by_json = paint_changed(painter, PROMPT, plain, seed=1, steps=3)
    assert by_json.image.tobytes() == changed(painter, *EVERY).image.tobytes()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([{"kind": "head_of", "layer": 0, "head": 0}], r"changes\[0\]\.kind is 'head_of'.*Did you mean 'head_off'"),
        ([{"layer": 0}], r"changes\[0\]\.kind is None"),
        ([PictureHeadOff(0, 0), {"kind": "head_off", "layer": 0}], r"changes\[1\]\.head is missing"),
        ([{"kind": "head_off", "layer": 0, "head": "1"}], r"changes\[0\]\.head is '1'"),
        ([{"kind": "head_off", "layer": 0, "head": 0, "where": "feed"}], r"changes\[0\]\.where is 'feed'"),
        ([{"kind": "remove_word", "word": 0, "weight": 1}], r"changes\[0\]\.weight is set"),
        ([{"kind": "weigh_word", "word": 0, "weight": -1}], "weight is -1"),
        ([{"kind": "weigh_word", "word": 0, "weight": 1.0, "looks": 3}], r"changes\[0\]\.looks is 3"),
        (["head_off"], r"changes\[0\] is 'head_off'"),
        ({"kind": "head_off"}, "a list of changes"),
        ("head_off", "a list of changes"),
    ],
)
def test_what_is_no_change_is_refused(values: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_changes(values)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (WeighWord(6, 2.0), "word is 6, but the prompt has 6 words"),
        (RemoveWord(-1), "word is -1"),
        (PictureHeadOff(2, 0), r"layer is 2, but the model has 2 layers\. Choose from 0 to 1"),
        (PictureHeadOff(0, 2), "head is 2, but layer 0 has 2 heads"),
        (PictureAttentionOff(9), "layer is 9"),
        (PictureFeedForwardOff(-1), "layer is -1"),
        (WeighWord(0, 2.0, (3,)), "look is 3, but the picture has 3 looks"),
    ],
)
def test_what_is_not_there_cannot_be_changed(painter: PictureGenerator, change: PictureChange, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        changed(painter, change)


def test_changes_that_cannot_be_are_refused(painter: PictureGenerator) -> None:
    with pytest.raises(DataError, match="guidance is 0"):
        changed(painter, WeighWord(0, 2.0), guidance=0.0)
    with pytest.raises(ConfigError, match="word 1 is changed twice"):
        changed(painter, RemoveWord(1), ReplaceWord(1, "cat"))
    with pytest.raises(ConfigError, match="word 1 is weighed and removed"):
        changed(painter, RemoveWord(1), WeighWord(1, 2.0))
    with pytest.raises(ConfigError, match="seed is given beside a picture"):
        paint_changed(painter, painted(painter), [], seed=3)
    with pytest.raises(DataError, match="blend"):
        paint_changed(painter, painter.blend("a fox", "a cat", frames=2, seed=1, steps=2)[0], [])


def test_a_changed_picture_says_so_and_is_not_repeated_as_if_it_were_none(painter: PictureGenerator) -> None:
    picture = changed(painter, PictureHeadOff(0, 0), WeighWord(GREEN, 2.0))
    assert picture.settings["changes"] == [PictureHeadOff(0, 0).to_dict(), WeighWord(GREEN, 2.0).to_dict()]
    with pytest.raises(DataError, match=r"painted with changes.*limner\.paint_changed"):
        painter.again(picture.settings)
    assert paint_changed(painter, picture, []).image.tobytes() == picture.image.tobytes()
    more = paint_changed(painter, picture, [PictureFeedForwardOff(1)])
    assert len(more.settings["changes"]) == 3
    assert (
        more.image.tobytes()
        == changed(painter, PictureHeadOff(0, 0), WeighWord(GREEN, 2.0), PictureFeedForwardOff(1)).image.tobytes()
    )


# ── before and after ───────────────────────────────────────────────────────────────────────────────────────


def test_before_and_after_and_where_they_differ(painter: PictureGenerator) -> None:
    picture = painted(painter)
    found = limner.compare_pictures(painter, picture, [PictureAttentionOff(1)])
    assert found.before is picture
    assert found.after.seed == picture.seed
    by_hand = np.abs(np.asarray(picture.image).astype(float) - np.asarray(found.after.image)).mean(axis=-1) / 255
    np.testing.assert_allclose(found.difference, by_hand, atol=1e-6)
    assert found.changed() == pytest.approx(by_hand.mean(), abs=1e-6)
    assert found.changed((0, 4, 8, 16)) == pytest.approx(by_hand[4:16, 0:8].mean(), abs=1e-6)
    page = found._repr_html_()
    assert page.count("data:image/png;base64,") == 3
    assert "attention_off" in page
    asked = compare_pictures(painter, PROMPT, [PictureAttentionOff(1)], seed=1, steps=3)
    assert asked.before.image.tobytes() == picture.image.tobytes()
    assert asked.after.image.tobytes() == found.after.image.tobytes()
    assert compare_pictures(painter, picture, []).changed() == 0.0
    unseeded = compare_pictures(painter, PROMPT, [WeighWord(GREEN, 1.0)], steps=2)
    assert unseeded.changed() == 0.0, "both have the same new seed"


def test_a_part_of_the_picture_that_stays_is_not_different(painter: PictureGenerator) -> None:
    start = Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8))
    mask = Image.new("RGB", (SIDE, SIDE), "black")
    mask.paste("white", (0, 0, SIDE // 2, SIDE))
    found = compare_pictures(painter, PROMPT, [PictureAttentionOff(0)], seed=1, steps=3, start=start, mask=mask)
    assert found.changed((0, 0, SIDE // 2, SIDE)) > 0.001
    assert found.changed((SIDE // 2, 0, SIDE, SIDE)) == 0.0


def test_regions_lie_within_the_picture() -> None:
    assert region_mask((1, 2, 3, 5), (8, 8)).sum() == 6
    inside = np.zeros((8, 8), bool)
    inside[2, 3] = True
    assert region_mask(inside, (8, 8))[2, 3]
    for region, said in (
        ((0, 0, 9, 8), r"region is \(0, 0, 9, 8\)"), ((4, 0, 4, 8), "region is"), (inside[:4], r"shape \(4, 8\)"),
        (np.zeros((8, 8), bool), "region is empty"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            region_mask(region, (8, 8))


@pytest.mark.parametrize("look", [None, 1])
def test_the_causal_map_finds_the_head_that_does_nothing(painter: PictureGenerator, look: int | None) -> None:
    attention = painter.model.denoiser.stack.layers[1].cross_attention
    head_dim = attention.config.head_dim
    with torch.no_grad():
        attention.value.weight[:head_dim] = 0
        if attention.value.bias is not None:
            attention.value.bias[:head_dim] = 0
    done: list[tuple[int, int]] = []
    picture = painted(painter)
    found = picture_causal_map(painter, picture, look=look, region=(0, 0, 8, 8), progress=lambda *now: done.append(now))
    assert found.change.shape == (2, 2)
    assert found.change[1, 0] == pytest.approx(0.0, abs=1e-6)
    assert (np.delete(found.change.flatten(), 2) > 1e-4).all()
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert found.within is not None
    assert found.strongest() == tuple(np.argwhere(found.within == found.within.max())[0])
    if look is None:
        by_hand = compare_pictures(painter, picture, [PictureHeadOff(0, 1)])
        assert found.change[0, 1] == pytest.approx(by_hand.changed(), abs=1e-6)
        assert found.within[0, 1] == pytest.approx(by_hand.changed((0, 0, 8, 8)), abs=1e-6)


def test_what_a_causal_map_needs_is_said(painter: PictureGenerator) -> None:
    picture = painted(painter)
    with pytest.raises(ConfigError, match="look is 3, but the picture has 3"):
        limner.picture_causal_map(painter, picture, look=3)
    with pytest.raises(DataError, match="no looks"):
        limner.picture_causal_map(painter, next(painter.stream(PROMPT, seed=1, steps=2, record=False)), look=0)
    with pytest.raises(ConfigError, match="region is"):
        limner.picture_causal_map(painter, picture, region=(0, 0, 99, 99))
