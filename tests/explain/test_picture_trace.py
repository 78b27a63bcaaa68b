"""A picture's trace is what happened: the same picture with and without it, and numbers that can be worked out by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import limner
from limner.core.errors import ConfigError, DataError, WeightsError
from limner.core.tap import Recorder
from limner.explain import picture_trace
from limner.explain.picture_changes import PictureHeadOff, WeighWord
from limner.explain.picture_trace import PictureTrace, trace_picture
from limner.explain.trace import Trace
from limner.picture.autoencoder import AutoencoderConfig
from limner.picture.config import DiffusionConfig, VariancePreserving
from limner.picture.generator import PictureGenerator
from limner.picture.painting import Picture
from limner.picture.words import word_maps, word_recorder
from limner.tokens import Tokenizer
from tests.picture.conftest import SIDE, make_painter
from tests.picture.conftest import painter as painter
from tests.picture.conftest import tokenizer as tokenizer

PROMPT = "a fox with a zorblax hat"
WIDE = (SIDE, 2 * SIDE)


def painted(painter: PictureGenerator, **values: Any) -> Picture:
    return painter.generate(PROMPT, **({"seed": 1, "steps": 4} | values))[0]


def pixels(image: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(image).astype(int)


# ── the run and the replay ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("sampler", ["euler", "heun", "ancestral"])
def test_a_picture_is_the_same_whether_it_is_looked_at_or_not(painter: PictureGenerator, sampler: str) -> None:
    picture = painted(painter, sampler=sampler)
    trace = painter.trace(PROMPT, seed=1, steps=4, sampler=sampler, self_attention=True)
    assert trace.image.tobytes() == picture.image.tobytes()
    np.testing.assert_array_equal(trace.arrays["latents"], np.stack([look.noisy for look in picture.looks]))
    assert trace.about["replay"] is None, "it was recorded, so that there is no difference to speak of"
    assert trace.about["settings"] == picture.settings
    assert trace.looks == [look.number for look in picture.looks]


def test_looking_again_is_near_the_run_and_says_how_near(painter: PictureGenerator) -> None:
    picture = painted(painter)
    trace = painter.trace(picture)
    seen = painter.look_again(picture.settings, picture.looks)
    far = torch.stack([(one - look.seen.float()).abs() for one, look in zip(seen, picture.looks, strict=True)])
    assert trace.about["replay"]["largest_difference"] == float(far.max())
    assert trace.about["replay"]["mean_difference"] == pytest.approx(float(far.mean()), rel=1e-4)
    assert trace.about["replay"]["looks"] == 4
    assert 0 < far.max() < 0.02, "half precision takes a little from what was given"
    live = painter.trace(PROMPT, seed=1, steps=4)
    for name in ("words", "words.rest", "words.layer_head"):
        np.testing.assert_allclose(trace[name], live[name], atol=0.01)
    np.testing.assert_allclose(trace["guidance"], live["guidance"], rtol=0.02)
    assert np.abs(pixels(trace.with_prompt(3)) - pixels(live.with_prompt(3))).max() <= 3


def test_looking_again_is_exact_where_half_precision_took_nothing(painter: PictureGenerator) -> None:
    picture = painted(painter)
    exact = painter.look_again(picture.settings, picture.looks)
    assert all(
        torch.equal(one, other)
        for one, other in zip(exact, painter.look_again(picture.settings, picture.looks), strict=True)
    )
    looks = tuple(replace(look, seen=seen) for look, seen in zip(picture.looks, exact, strict=True))
    assert painter.trace(replace(picture, looks=looks)).about["replay"]["largest_difference"] == 0.0


def test_just_the_looks_that_are_asked_for_are_looked_at(painter: PictureGenerator) -> None:
    picture = painted(painter)
    whole = painter.trace(picture, detailed=[1, 3])
    passes: list[str] = []
    forward = painter.model.denoiser.forward
    painter.model.denoiser.forward = lambda *args, **kwargs: (passes.append(""), forward(*args, **kwargs))[1]  # type: ignore[method-assign]
    some = painter.trace(picture, looks=[3, 1], detailed=[3])
    assert len(passes) == 2
    assert some.looks == [1, 3]
    assert some.about["detailed"] == [3]
    assert [moment["number"] for moment in some.about["schedule"]] == [0, 1, 2, 3]
    for name in ("given", "seen", "latents", "guidance"):
        np.testing.assert_array_equal(some.arrays[name], whole.arrays[name][[1, 3]])
    np.testing.assert_allclose(some["words"], whole["words"][[1, 3]], atol=0.005)
    np.testing.assert_array_equal(some.arrays["with_prompt"], whole.arrays["with_prompt"][1:])


def test_what_is_shown_is_what_the_run_kept(painter: PictureGenerator) -> None:
    picture = painted(painter, size=WIDE)
    trace = painter.trace(picture)
    assert trace["picture"].shape == (*WIDE, 3)
    assert trace.about["grid"] == [4, 8]
    for look in picture.looks:
        assert trace.given(look.number).tobytes() == painter.show(look.noisy).tobytes()
        assert trace.seen(look.number).tobytes() == painter.show(look.seen).tobytes()
    first, last = trace.about["looks"][0], trace.about["looks"][-1]
    assert (first["time"], first["alpha"], first["sigma"]) == (1.0, 0.0, 1.0)
    assert last["alpha"] + last["sigma"] == pytest.approx(1.0)
    assert trace.about["model"] | {"parameters": 0} == {
        "name": "tiny", "sha256": "0" * 64, "checkpoint": None, "parameters": 0, "layers": 2, "heads": 2, "dim": 32, "size": [SIDE, SIDE],
        "latent": False, "multiple": 4, "predict": "x", "process": "flow", "dtype": "float32", "device": "cpu",
    }  # fmt: skip


@pytest.mark.parametrize(
    "diffusion",
    [
        DiffusionConfig(),
        DiffusionConfig(predict="noise", process=VariancePreserving("cosine")),
        DiffusionConfig(predict="v", process=VariancePreserving("linear")),
    ],
)
def test_with_guidance_1_what_is_seen_is_what_the_prompt_shows(
    tokenizer: Tokenizer, diffusion: DiffusionConfig
) -> None:
    painter = make_painter(tokenizer, diffusion)
    trace = painter.trace(painted(painter, guidance=1.0))
    for look in trace.about["detailed"]:
        assert np.abs(pixels(trace.with_prompt(look)) - pixels(trace.seen(look))).max() <= 1
    assert "without_prompt" not in trace, "what is led away from was not asked for"
    with pytest.raises(ConfigError, match=r"without_prompt is asked for, but the trace has none"):
        trace.without_prompt(trace.about["detailed"][0])
    assert "guidance" not in trace


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_nothing_need_be_kept_in_detail(painter: PictureGenerator, guidance: float, tmp_path: Path) -> None:
    trace = painter.trace(PROMPT, seed=1, steps=3, guidance=guidance, detailed=[], self_attention=True)
    assert trace.about["detailed"] == []
    assert not {"with_prompt", "without_prompt", "words.layer_head"} & set(trace)
    assert ("guidance" in trace) == (guidance > 1)
    trace.save(tmp_path / "fox.trace")
    assert sorted(PictureTrace.load(tmp_path / "fox.trace")) == sorted(trace)
    assert trace.word_map("fox").shape == (4, 4)
    assert "<table>" in trace._repr_html_()
    for ask in (lambda: trace.with_prompt(0), lambda: trace.word_map("fox", layer=0)):
        with pytest.raises(ConfigError, match="is asked for, but the trace has none"):
            ask()


def test_guidance_is_as_long_as_the_difference_that_it_makes(painter: PictureGenerator) -> None:
    recorder = Recorder(["look.*.prediction"])
    painted(painter, guidance=3.0, size=WIDE, tap=recorder)
    trace = painter.trace(PROMPT, seed=1, steps=4, guidance=3.0, size=WIDE)
    rows = recorder["look.2.prediction"]
    beyond = 3.0 * (rows[0] - rows[1])
    row, column = 2, 5
    by_hand = beyond[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].norm()
    assert trace["guidance"][2, row, column] == pytest.approx(float(by_hand), rel=1e-3)
    shown = pixels(trace.without_prompt(2))
    assert np.abs(shown - pixels(painter.show(rows[1]))).max() <= 1


def test_pictures_from_pictures_and_within_masks_are_looked_at_again(painter: PictureGenerator) -> None:
    start = Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8))
    mask = Image.new("RGB", (SIDE, SIDE), "black")
    mask.paste("white", (0, 0, SIDE // 2, SIDE))
    picture = painted(painter, start=start, mask=mask, strength=0.8)
    trace = painter.trace(picture, start=start, mask=mask)
    assert trace.about["replay"]["looks"] == 3
    assert trace.about["replay"]["largest_difference"] < 0.02
    with pytest.raises(DataError, match="none is given"):
        painter.trace(picture)


def test_latents_are_shown_as_pictures(tokenizer: Tokenizer) -> None:
    painter = make_painter(
        tokenizer, size=(32, 32), patch=2, autoencoder=AutoencoderConfig(latent_channels=4, factor=4, width=8)
    )
    trace = painter.trace(painted(painter))
    assert trace["latents"].shape == (4, 4, 8, 8)
    assert trace["seen"].shape == (4, 32, 32, 3)
    assert trace.about["grid"] == [4, 4]
    assert trace.about["model"]["latent"] is True


# ── words ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_shares_of_words_and_the_rest_add_up(painter: PictureGenerator, guidance: float) -> None:
    trace = painter.trace(PROMPT, seed=1, steps=3, guidance=guidance, size=WIDE)
    assert trace.words == PROMPT.split()
    assert trace["words"].shape == (3, 6, 4, 8)
    everything = trace["words"].sum(axis=1) + trace["words.rest"]
    np.testing.assert_allclose(everything, 1.0, atol=7 * max(trace.scales.values()) / 510 + 1e-3)
    detail = trace["words.layer_head"]
    assert detail.shape == (3, 2, 2, 6, 4, 8)
    np.testing.assert_allclose(detail.mean(axis=(1, 2)), trace["words"], atol=0.01)


def test_words_are_those_of_the_filmstrip(painter: PictureGenerator) -> None:
    recorder = word_recorder()
    picture = painted(painter, tap=recorder)
    trace = painter.trace(PROMPT, seed=1, steps=4)
    for number, (word, shares) in enumerate(word_maps(painter, picture, recorder)):
        assert trace.words[number] == word
        np.testing.assert_allclose(trace["words"][:, number], shares, atol=0.01)
        np.testing.assert_allclose(trace.word_map(number), shares.mean(dim=0), atol=0.01)
    np.testing.assert_array_equal(trace.word_map("fox", look=2), trace["words"][2, 1])
    one = trace.word_map("fox", look=2, layer=1, head=0)
    np.testing.assert_array_equal(one, trace["words.layer_head"][2, 1, 0, 1])
    ids = painter.read_prompt(PROMPT)
    assert [token["id"] for token in trace.about["tokens"]] == ids
    places = trace.about["words"][4]["places"]
    assert "".join(trace.about["tokens"][at]["text"] for at in places).strip() == "zorblax"
    assert len(places) > 1, "a word of several pieces is one"


def test_words_are_the_prompts_and_not_those_of_what_is_led_away_from(painter: PictureGenerator) -> None:
    one, other = (painter.trace(PROMPT, seed=1, steps=1, negative=text)["words"] for text in ("", "snow on the beach"))
    np.testing.assert_allclose(one, other, atol=0.005)


def test_how_patches_look_at_each_other_is_kept_only_when_asked_for(painter: PictureGenerator) -> None:
    assert not [name for name in painter.trace(PROMPT, seed=1, steps=2) if name.startswith("self_attention")]
    trace = painter.trace(PROMPT, seed=1, steps=3, detailed=[2], self_attention=True)
    names = [name for name in trace if name.startswith("self_attention")]
    assert names == ["self_attention.2.0", "self_attention.2.1"]
    assert trace[names[0]].shape == (2, 16, 16)
    np.testing.assert_allclose(trace[names[0]].sum(axis=-1), 1.0, atol=0.05)


def test_what_a_patch_looks_at_is_what_the_model_computed_for_the_prompt(painter: PictureGenerator) -> None:
    recorder = Recorder(["look.*.layer.*.attention.weights"])
    painted(painter, size=WIDE, tap=recorder)
    trace = painter.trace(PROMPT, seed=1, steps=4, size=WIDE, self_attention=True)
    model = {
        (look, layer): recorder[f"look.{look}.layer.{layer}.attention.weights"][0].numpy()  # the prompt's row
        for look in range(4)
        for layer in range(2)
    }
    byte = max(trace.scales[name] for name in trace if name.startswith("self_attention")) / 255
    one = trace.self_attention(look=2, layer=1, head=0)
    assert one.shape == (32, 32)
    np.testing.assert_allclose(one, model[2, 1][0], atol=byte)
    np.testing.assert_allclose(one.sum(axis=-1), 1.0, atol=32 * byte / 2 + 1e-3)
    mean = np.mean([weights.mean(axis=0) for weights in model.values()], axis=0)
    np.testing.assert_allclose(trace.self_attention(), mean, atol=byte)
    np.testing.assert_allclose(trace.self_attention().sum(axis=-1), 1.0, atol=32 * byte / 2 + 1e-3)
    row, column = 1, 6
    where = trace.patch_map(row, column, look=2)
    assert where.shape == (4, 8)
    by_hand = np.mean([model[2, layer].mean(axis=0)[8 * row + column] for layer in range(2)], axis=0)
    np.testing.assert_allclose(where.ravel(), by_hand, atol=byte)


def test_of_few_layers_just_those_are_kept(painter: PictureGenerator) -> None:
    trace = painter.trace(PROMPT, seed=1, steps=2, self_attention=[1])
    assert [name for name in trace if name.startswith("self")] == ["self_attention.0.1", "self_attention.1.1"]
    whole = painter.trace(PROMPT, seed=1, steps=2, self_attention=True)
    np.testing.assert_array_equal(trace.self_attention(look=1), whole.self_attention(look=1, layer=1))
    with pytest.raises(ConfigError, match=r"layer is 0, but of it .* Choose one of \[1\]"):
        trace.patch_map(0, 0, layer=0)
    with pytest.raises(ConfigError, match=r"look is 7, but of it .* Choose one of \[0, 1\]"):
        trace.self_attention(look=7)
    with pytest.raises(ConfigError, match="head is 2, but the trace has 2"):
        trace.self_attention(head=2)
    with pytest.raises(ConfigError, match="row is 4, but the trace has 4"):
        trace.patch_map(4, 0)
    with pytest.raises(ConfigError, match="column is -1"):
        trace.patch_map(0, -1)
    with pytest.raises(ConfigError, match="self_attention is asked for in layer 2, but the model has 2"):
        painter.trace(PROMPT, seed=1, steps=2, self_attention=[2])
    with pytest.raises(ConfigError, match="self_attention is asked for, but the trace has none"):
        painter.trace(PROMPT, seed=1, steps=2).patch_map(0, 0)


def test_a_trace_is_looked_at_again(painter: PictureGenerator, tmp_path: Path) -> None:
    live = painter.trace(PROMPT, seed=1, steps=4, size=WIDE, self_attention=True)
    painter.trace(PROMPT, seed=1, steps=4, size=WIDE).save(tmp_path / "fox.trace")
    kept = PictureTrace.load(tmp_path / "fox.trace")
    trace = painter.trace(kept, looks=[1, 3], detailed=[3], self_attention=True)
    assert trace.looks == [1, 3]
    assert trace.about["detailed"] == [3]
    assert [moment["number"] for moment in trace.about["schedule"]] == [0, 1, 2, 3]
    assert trace.about["settings"] == kept.about["settings"]
    assert trace.image.tobytes() == kept.image.tobytes()
    np.testing.assert_array_equal(trace.arrays["latents"], kept.arrays["latents"][[1, 3]])
    np.testing.assert_allclose(trace.self_attention(look=3), live.self_attention(look=3), atol=0.01)
    np.testing.assert_allclose(trace["words"], live["words"][[1, 3]], atol=0.01)
    apart = np.abs(pixels(trace.seen(3)) - pixels(kept.seen(3))).max() / 127.5
    assert apart <= trace.about["replay"]["largest_difference"] < 0.05
    assert trace.about["replay"]["looks"] == 2
    assert len(painter.trace(kept).looks) == 4, "all of them, where none is named"


def test_a_changed_trace_is_looked_at_with_its_changes(painter: PictureGenerator) -> None:
    changes = [PictureHeadOff(1, 0, "attention"), WeighWord(1, 3.0)]
    kept = painter.trace(PROMPT, seed=1, steps=3, changes=changes)
    again = painter.trace(kept, looks=[1])
    assert again.about["changes"] == [change.to_dict() for change in changes]
    np.testing.assert_allclose(again["words"][0], kept["words"][1], atol=0.01)
    assert np.abs(pixels(again.seen(1)) - pixels(kept.seen(1))).max() <= 3
    back = painter.trace(kept, changes=[PictureHeadOff(0, 1)])
    assert [change["layer"] for change in back.about["changes"] if "layer" in change] == [1, 0], "its own stay"


def test_a_trace_that_cannot_be_looked_at_again_says_why(painter: PictureGenerator, tokenizer: Tokenizer) -> None:
    kept = painter.trace(PROMPT, seed=1, steps=3)
    other = PictureGenerator(make_painter(tokenizer, seed=5).model, tokenizer, sha256="5" * 64)
    with pytest.raises(WeightsError, match=r"weights 0000.*this model's are 5555"):
        other.trace(kept, looks=[0])
    with pytest.raises(ConfigError, match="look 9 is asked for"):
        painter.trace(kept, looks=[9])
    some = painter.trace(kept, looks=[0, 2])
    with pytest.raises(ConfigError, match=r"look 1 is asked for, but what was given is known of 2 looks, 0, 2\."):
        painter.trace(some, looks=[1])
    with pytest.raises(ConfigError, match="seed is given beside a picture"):
        painter.trace(kept, seed=2)
    lost = {name: array for name, array in kept.arrays.items() if name != "latents"}
    cut = {**kept.arrays, "latents": kept.arrays["latents"][:, :, :4]}
    odd = [{**look, "time": "soon"} for look in kept.about["looks"]]
    for broken in (
        replace(kept, arrays=lost),
        replace(kept, arrays=cut),
        replace(kept, about={**kept.about, "looks": odd}),
    ):
        with pytest.raises(DataError, match="does not hold what the model was given"):
            painter.trace(broken, looks=[0])


def test_an_empty_prompt_has_no_words(painter: PictureGenerator, tmp_path: Path) -> None:
    trace = painter.trace("", seed=1, steps=2)
    assert trace.words == []
    trace.save(tmp_path / "empty.trace")
    assert PictureTrace.load(tmp_path / "empty.trace")["words"].shape == (2, 0, 4, 4)
    assert "<table>" in trace._repr_html_()


# ── changes ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_changed_picture_is_looked_at_with_its_changes(painter: PictureGenerator) -> None:
    changes = [PictureHeadOff(1, 0), WeighWord(1, 3.0)]
    picture = limner.paint_changed(painter, PROMPT, changes, seed=1, steps=4)
    trace = painter.trace(picture)
    assert trace.about["changes"] == [change.to_dict() for change in changes]
    assert trace.about["replay"]["largest_difference"] < 0.02
    plain = painted(painter)
    changed = painter.trace(plain, changes=changes)
    assert changed.image.tobytes() == picture.image.tobytes() != plain.image.tobytes()
    assert changed.about["replay"] is None, "it was painted anew"
    assert "recorded while it was painted" in changed._repr_html_()
    assert "4 looks were looked at again" in trace._repr_html_()
    assert "head_off, weigh_word" in changed._repr_html_()


def test_changes_that_come_one_by_one_are_made(painter: PictureGenerator) -> None:
    picture = painted(painter)
    change = PictureHeadOff(1, 0)
    for source in (picture, PROMPT):
        values = {} if source is picture else {"seed": 1, "steps": 4}
        trace = painter.trace(source, changes=iter([change]), **values)
        assert trace.about["changes"] == [change.to_dict()]
        assert trace.image.tobytes() != picture.image.tobytes()


# ── files and sizes ────────────────────────────────────────────────────────────────────────────────────────


def test_a_trace_comes_back_from_its_file(painter: PictureGenerator, tmp_path: Path) -> None:
    trace = painter.trace(PROMPT, seed=1, steps=3)
    trace.save(tmp_path / "fox.trace")
    back = PictureTrace.load(tmp_path / "fox.trace")
    assert back.about == trace.about
    assert back.scales == trace.scales
    for name in trace:
        np.testing.assert_array_equal(back.arrays[name], trace.arrays[name])
    assert back.image.tobytes() == trace.image.tobytes()
    Trace("text", {}, {"ids": np.zeros(1, np.int32)}).save(tmp_path / "text.trace")
    with pytest.raises(DataError, match="of a text"):
        PictureTrace.load(tmp_path / "text.trace")


def test_a_trace_of_the_bundled_model_is_at_most_8_megabytes() -> None:
    painter = limner.load("picturebook")
    assert isinstance(painter, PictureGenerator)
    trace = painter.trace("a German Shepherd with a red baseball cap climbing a tree in the forest at sunset", seed=1)
    assert len(trace.looks) == 25
    assert len(trace.to_bytes()) <= 8_000_000


def test_of_very_many_looks_as_many_are_kept_as_fit(painter: PictureGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_trace, "MOST_BYTES", 80_000)
    picture = painted(painter, steps=40)
    trace = painter.trace(picture)
    assert 60_000 < len(trace.to_bytes()) <= 80_000
    assert (trace.looks[0], trace.looks[-1]) == (0, 39)
    assert 2 < len(trace.looks) < 40
    assert len(painter.trace(picture, looks=range(40)).looks) == 40, "what is asked for is kept"


def test_a_notebook_shows_it_and_a_prompt_cannot_add_markup(tokenizer: Tokenizer) -> None:
    painter = make_painter(tokenizer, context_length=40)
    page = painter.trace("</script><b>fox</b> & 'hat'", seed=1, steps=2)._repr_html_()
    assert "<b>" not in page
    assert "<script" not in page
    assert "&lt;/script&gt;&lt;b&gt;fox" in page
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]*)"', page))


# ── what goes wrong ────────────────────────────────────────────────────────────────────────────────────────


def test_what_cannot_be_traced_is_said(painter: PictureGenerator, tokenizer: Tokenizer) -> None:
    picture = painted(painter)
    other = PictureGenerator(make_painter(tokenizer, seed=5).model, tokenizer, sha256="5" * 64)
    with pytest.raises(WeightsError, match=r"weights 0000.*this model's are 5555"):
        other.trace(picture)
    with pytest.raises(DataError, match="no looks"):
        painter.trace(next(painter.stream(PROMPT, seed=1, steps=2, record=False)))
    with pytest.raises(DataError, match="guidance is 0"):
        painter.trace(painted(painter, guidance=0.0))
    with pytest.raises(DataError, match="guidance is 0"):
        painter.trace(PROMPT, guidance=0.0)
    with pytest.raises(DataError, match="blend"):
        painter.trace(painter.blend(PROMPT, "a cat", frames=2, seed=1, steps=2)[0])
    with pytest.raises(ConfigError, match=r"look 4 is asked for, but what was given is known of looks 0 to 3\."):
        painter.trace(picture, looks=[4])
    with pytest.raises(ConfigError, match="looks is empty"):
        painter.trace(picture, looks=[])
    with pytest.raises(ConfigError, match=r"look 3 is asked for in detail, but the trace is of \[1\]"):
        painter.trace(picture, looks=[1], detailed=[3])
    with pytest.raises(ConfigError, match="seed is given beside a picture"):
        painter.trace(picture, seed=2)
    with pytest.raises(ConfigError, match="steps is given beside a picture"):
        trace_picture(painter, picture, steps=3)
    with pytest.raises(ConfigError, match="stepps is given, but painting has no such setting"):
        painter.trace(PROMPT, stepps=3)


def test_what_a_trace_does_not_hold_is_said(painter: PictureGenerator) -> None:
    trace = painter.trace(painted(painter), looks=[1, 2], detailed=[2])
    with pytest.raises(ConfigError, match="look is 0"):
        trace.seen(0)
    with pytest.raises(ConfigError, match="look is 1"):
        trace.with_prompt(1)
    with pytest.raises(ConfigError, match="word is 'dog', but that is not in the prompt"):
        trace.word_map("dog")
    with pytest.raises(ConfigError, match=r"word is 'a', but that stands in the prompt as words \[0, 3\]"):
        trace.word_map("a")
    with pytest.raises(ConfigError, match="word is 6, but the prompt has 6 words"):
        trace.word_map(6)
    with pytest.raises(ConfigError, match="layer is 2, but the trace has 2"):
        trace.word_map("fox", layer=2)
    with pytest.raises(ConfigError, match="head is -1"):
        trace.word_map("fox", head=-1)
    with pytest.raises(KeyError, match=r"name is 'attention\.0', but"):
        trace["attention.0"]
