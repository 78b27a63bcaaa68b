"""A picture model from captioned pictures to a model folder, on small coloured squares."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

from limner.core.errors import ConfigError, TrainingError, WeightsError
from limner.data import PictureBatches
from limner.picture import process
from limner.picture.autoencoder import Autoencoder, AutoencoderConfig, save_autoencoder
from limner.picture.config import LogitNormalTime
from limner.picture.denoiser import PictureModel
from limner.picture.folder import load_picture_model
from limner.picture.generator import PictureGenerator
from limner.picture.world.prepare import DrawnPlan
from limner.recipes import AUTOENCODER_RECIPES, any_recipe, autoencoder_recipe, picture_recipe
from limner.tokens import Tokenizer
from limner.train import picture
from limner.train.autoencoder import AutoencoderPictures, AutoencoderPlan
from limner.train.autoencoder import start as start_autoencoder
from limner.train.loop import Watcher
from limner.train.picture import (
    PicturePlan,
    PictureRun,
    PictureSettings,
    exchanged,
    go_on,
    listening,
    memorisation,
    start,
)
from tests.train import toy

COLOURS = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 220), "yellow": (240, 220, 40)}
SMALL = [
    "pixels=16",
    "patch=4",
    "dim=32",
    "num_layers=2",
    "num_heads=2",
    "prompt_layers=1",
    "batch_size=16",
    "evaluate_pictures=32",
    "sample_steps=4",
    "evaluations=2",
    "checkpoints=2",
    "threads=1",
    "device=cpu",
    "validation=0.2",
]


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A square of a colour on the left or on the right, with a sentence beside it."""
    folder = tmp_path_factory.mktemp("squares")
    rng = np.random.default_rng(0)
    for number in range(96):
        name = list(COLOURS)[number % 4]
        side = ("left", "right")[number // 4 % 2]
        pixels = np.full((20, 20, 3), 235, np.uint8)
        pixels += rng.integers(0, 12, pixels.shape, dtype=np.uint8)
        column = 2 if side == "left" else 11
        pixels[6:14, column : column + 7] = COLOURS[name]
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
        (folder / f"{number:03}.txt").write_text(f"a {name} square on the {side}")
    return folder


def begin(data: Path, out: Path, *changes: str) -> PictureRun:
    plan = PicturePlan(data=(data,), prompts=("a red square on the left", "a blue square on the right"))
    return start(plan.override([*SMALL, *changes]), out, cache=out.with_name("cache"))


def weights(run: Path) -> dict[str, torch.Tensor]:
    return dict(load_picture_model(run / "model").model.state_dict())


def test_it_learns_to_paint_what_it_is_told(squares: Path, tmp_path: Path) -> None:
    run = begin(squares, tmp_path / "run", "steps=240", "learning_rate=0.012", "matrix_rate=0.02", "ema=0.98")
    outcome = run.train()
    assert outcome.reason == "finished"
    assert outcome.best["loss_other_captions"] > 1.3 * outcome.best["loss"]
    loaded = load_picture_model(tmp_path / "run" / "model")
    painter = PictureGenerator(loaded.model, Tokenizer.load(tmp_path / "run" / "model"), card=loaded.card)
    right = 0
    for name, colour in COLOURS.items():
        for side, columns in (("left", slice(2, 8)), ("right", slice(8, 14))):
            (painted,) = painter.generate(f"a {name} square on the {side}", seed=3, steps=12, guidance=2.0)
            inside = np.asarray(painted.image)[5:11, columns].reshape(-1, 3).mean(axis=0)
            nearest = min(COLOURS, key=lambda other: float(np.abs(inside - COLOURS[other]).sum()))
            right += nearest == name and float(np.abs(inside - colour).sum()) < 200
    assert right >= 7  # of 8


def test_a_run_writes_what_happened(squares: Path, tmp_path: Path) -> None:
    run = begin(squares, tmp_path / "run", "steps=4")
    outcome = run.train()
    assert "patches of 4" in run.summary()
    assert len(list((tmp_path / "run" / "samples").glob("step-*.png"))) == 2
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    result = next(event for event in events if event["event"] == "result")
    assert result["held_back_to_nearest"] > 0
    assert set(outcome.best) >= {"loss", "loss_other_captions", "painted_to_nearest"}
    card = load_picture_model(tmp_path / "run" / "model").card
    assert "square" in card["words"]
    assert card["training"]["pictures"] == 64
    assert run.finished() is not None


def test_words_are_those_of_all_captions(squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of those that the tokenizer does not learn from: no word of them is told as never seen."""
    monkeypatch.setattr(picture, "CAPTIONS_READ", 1)
    run = begin(squares, tmp_path / "run", "steps=1", "vocab_size=300")
    assert {*COLOURS, "left", "right"} <= set(run.words)
    monkeypatch.setattr(picture, "WORDS_KEPT", 5)
    assert begin(squares, tmp_path / "other", "steps=1", "vocab_size=300").words == []


def test_a_resumed_run_makes_the_same_weights(squares: Path, tmp_path: Path) -> None:
    whole = begin(squares, tmp_path / "whole", "steps=8", "ema=0.9")
    whole.train()
    begin(squares, tmp_path / "parts", "steps=8", "ema=0.9", "evaluations=8", "checkpoints=8")

    class StopError(Exception):
        pass

    class Stopper(Watcher):
        def saved(self, step: int) -> None:
            if step == 5:
                raise StopError

    with pytest.raises(StopError):
        go_on(tmp_path / "parts").train([Stopper()])
    resumed = go_on(tmp_path / "parts")
    assert resumed.train().step == 8
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    last = go_on(tmp_path / "whole").finished()
    assert last is not None
    assert last.step == 8
    same_step = last.best_step == resumed.finished().best_step  # type: ignore[union-attr]
    assert same_step
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_of_another_kind_is_refused(squares: Path, tmp_path: Path) -> None:
    begin(squares, tmp_path / "run", "steps=2")
    from limner.train import text

    with pytest.raises(TrainingError, match="kind 'picture'"):
        text.go_on(tmp_path / "run")


def test_other_captions_or_pictures_are_not_gone_on_with(squares: Path, tmp_path: Path) -> None:
    data = shutil.copytree(squares, tmp_path / "data")
    begin(data, tmp_path / "run", "steps=2")
    plan = json.loads((tmp_path / "run" / "run.json").read_text())
    caption, picture = data / "050.txt", data / "000.png"
    was = caption.read_text()
    caption.write_text("something else")
    with pytest.raises(
        TrainingError, match=r"the data have (training|validation) fingerprint \w+, but this run began with"
    ):
        go_on(tmp_path / "run")
    caption.write_text(was)
    Image.new("RGB", (20, 20), "black").save(picture)
    with pytest.raises(TrainingError, match=r"fingerprint \w+, but this run began with"):
        go_on(tmp_path / "run")
    shutil.copy(squares / "000.png", picture)
    assert go_on(tmp_path / "run").resumed
    plan["corpus"] = {name: value for name, value in plan["corpus"].items() if "fingerprint" not in name}
    (tmp_path / "run" / "run.json").write_text(json.dumps(plan))
    assert go_on(tmp_path / "run").resumed, "a run of before it was kept"


def test_what_cannot_change_on_the_way(squares: Path, tmp_path: Path) -> None:
    begin(squares, tmp_path / "run", "steps=2")
    with pytest.raises(ConfigError, match=r"--set dim is given beside --resume"):
        go_on(tmp_path / "run", assignments=["dim=64"])
    with pytest.raises(ConfigError, match=r"Did you mean 'patch'"):
        PicturePlan(data=(squares,)).override(["pach=4"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("guidance=500", "guidance is 500"),
        ("sample_steps=5000", "sample_steps is 5,000"),
        ("min_snr=-5", "min_snr is -5"),
        ("time_deviation=0", "deviation of the times is 0"),
        ("time_mean_first=nan", "mean of the times is nan"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_data_are_read(change: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        PicturePlan().override([change])


@pytest.mark.parametrize(("dim", "heads"), [(64, 1), (192, 3), (200, 2), (256, 4), (188, 1), (332, 1), (4, 1), (30, 1)])
def test_heads_are_chosen_so_that_they_can_be_turned(dim: int, heads: int) -> None:
    assert picture.choose_heads(dim) == heads


def test_heads_that_cannot_be_turned_are_named(squares: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dim is 120 for num_heads 7, but .* Choose dim 112"):
        begin(squares, tmp_path / "run", "dim=120", "num_heads=7")
    with pytest.raises(ConfigError, match=r"dim is 30 for num_heads 1, but .* Choose dim 32"):
        begin(squares, tmp_path / "run", "dim=30", "num_heads=0")


def test_drawings_of_another_size_are_refused(tmp_path: Path) -> None:
    """Patch and shift would be those of the pixels, and not of the pictures."""
    plan = PicturePlan(drawn=DrawnPlan(count=8, size=32, validation=4))
    with pytest.raises(ConfigError, match=r"drawn\.size is 32, but pixels is 64"):
        start(plan.override([*SMALL[1:], "pixels=64", "drawn.size=32", "steps=1"]), tmp_path / "run", cache=tmp_path)


def test_shuffled_captions_say_nothing_to_a_new_model(squares: Path, tmp_path: Path) -> None:
    run = begin(squares, tmp_path / "run", "steps=1")
    torch.manual_seed(0)
    model = PictureModel(run.choice.config).eval()
    heard = listening(model, run.corpus.validation, run.read, 32)
    assert heard["loss"] == pytest.approx(heard["loss_other_captions"])  # it predicts 0, whatever it reads


def test_the_other_caption_is_another_one() -> None:
    assert exchanged(["a", "b", "c"], []) == ["b", "c", "a"]
    assert exchanged(["a", "a", "b"], []) == ["b", "b", "a"], "a neighbour with the same caption is passed over"
    assert exchanged(["a"], ["a", "b"]) == ["b"], "one held-back picture"
    assert exchanged(["a", "a"], ["a"]) is None


def test_a_few_pictures_and_one_caption_are_judged_as_far_as_they_can_be(squares: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for file in sorted(squares.iterdir())[:24]:
        (few / file.name).write_bytes(file.read_bytes())
    heard = begin(few, tmp_path / "run", "steps=12", "learning_rate=0.01", "context_length=24").train().best
    assert heard["loss_other_captions"] != heard["loss"], "of one held-back picture"
    for file in few.glob("*.txt"):
        file.write_text("a square")
    heard = begin(few, tmp_path / "same", "steps=1", "context_length=24").train().best
    assert "loss" in heard
    assert "loss_other_captions" not in heard


def test_captions_to_exchange_come_from_all_folders(tmp_path: Path) -> None:
    for number in range(160):
        folder = tmp_path / "data" / ("cat" if number < 80 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (number, 0, 0)).save(folder / f"{number:03}.png")
    run = begin(tmp_path / "data", tmp_path / "run", "steps=1", "captions=folder", "context_length=64")
    assert run.further_captions() == ["a picture of cat", "a picture of dog"]


def test_a_mean_of_some_pictures_is_not_set_beside_that_of_all(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(squares, tmp_path / "run", "steps=1")
    model = PictureModel(run.choice.config).eval()
    pictures, asked = run.corpus.train, list[Sequence[str]]()

    def some(captions: Sequence[str], further: Sequence[str]) -> list[str] | None:
        asked.append(captions)
        return list(captions) if len(asked) > 1 else None

    monkeypatch.setattr(picture, "exchanged", some)
    heard = listening(model, pictures, run.read, len(pictures))
    assert len(asked) > 1
    assert set(heard) == {"loss"}
    assert set(listening(model, pictures, run.read, len(pictures))) == {"loss", "loss_other_captions"}


def test_copies_of_training_pictures_are_counted(squares: Path, tmp_path: Path) -> None:
    run = begin(squares, tmp_path / "run", "steps=1")
    learned = run.corpus.train

    class Painter:
        """Paints training pictures again for half of its prompts, and noise for the others."""

        config, tokenizer = run.choice.config, run.tokenizer

        def generate(self, prompts: list[str], **_: Any) -> list[Any]:
            noise = np.random.default_rng(0).integers(0, 255, (len(prompts), 16, 16, 3), dtype=np.uint8)
            pixels = [learned.picture(at)[0] if at % 2 else noise[at] for at in range(len(prompts))]
            return [SimpleNamespace(image=Image.fromarray(one)) for one in pixels]

    found = memorisation(cast("Any", Painter()), run.corpus, run.plan.picture)
    painted = min(16, len(run.corpus.validation))
    assert found["painted_copies"] == pytest.approx((painted // 2) / painted)
    assert found["painted_to_nearest"] > 0.5 * found["held_back_to_nearest"], "which the mean does not say"


@pytest.mark.parametrize(
    "changes",
    [
        ("predict=v", "loss=v", "process=cosine", "min_snr=5"),
        ("predict=noise", "loss=noise", "process=linear", "time=uniform"),
        ("predict=flow",),
        ("precision=autocast",),
    ],
)
def test_every_prediction_trains(squares: Path, tmp_path: Path, changes: tuple[str, ...]) -> None:
    run = begin(squares, tmp_path / "run", "steps=30", "ema=0", "evaluations=1", *changes)
    torch.manual_seed(run.choice.settings.seed)
    new = listening(PictureModel(run.choice.config).eval(), run.corpus.validation, run.read, 19)
    assert run.train().best["loss"] < 0.9 * new["loss"]


def test_aspect_buckets_train_together(squares: Path, tmp_path: Path) -> None:
    for number in range(16):
        Image.new("RGB", (32, 16), (10 * number, 90, 200)).save(tmp_path / f"wide{number}.png")
        (tmp_path / f"wide{number}.txt").write_text("a wide picture")
    plan = PicturePlan(data=(squares, tmp_path), prompts=("a wide picture",))
    run = start(plan.override([*SMALL, "buckets=3", "steps=3"]), tmp_path / "run", cache=tmp_path / "cache")
    assert len(run.corpus.train.buckets) > 1
    assert run.train().reason == "finished"


def test_recipes_are_found_by_name() -> None:
    assert picture_recipe("picturebook").drawn is not None
    assert any_recipe("picturebook-mini").picture.pixels == 32  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="Did you mean 'picturebook'"):
        any_recipe("picturebok")
    coder, painter = autoencoder_recipe("picturebook-autoencoder"), picture_recipe("picturebook")
    assert coder.drawn == painter.drawn, "both learn from the same drawings, so that they are made once"
    assert Path(str(painter.picture.autoencoder)).name in AUTOENCODER_RECIPES


def test_plans_survive_json(squares: Path) -> None:
    plan = picture_recipe("picturebook-mini").override(["drawn.count=100", "pixels=64", "time_mean=0.5"])
    assert plan.drawn is not None
    assert plan.drawn.size == 64
    assert PicturePlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


def make_coder(folder: Path) -> Autoencoder:
    torch.manual_seed(0)
    coder = Autoencoder(AutoencoderConfig(latent_channels=4, factor=4, width=8, multipliers=(1,)))
    coder.fit_scale([torch.randn(8, 3, 16, 16)])
    save_autoencoder(folder, coder)
    return coder


def test_it_trains_on_latents(squares: Path, tmp_path: Path) -> None:
    coder = make_coder(tmp_path / "coder")
    given = (f"autoencoder={tmp_path / 'coder'}", "patch=1", "steps=6", "checkpoints=6", "dtype=bfloat16")
    run = begin(squares, tmp_path / "run", *given)
    assert run.choice.config.denoiser.channels == 4
    assert run.choice.config.multiple == 4
    (tmp_path / "coder" / "config.json").unlink()  # the run has its own
    run.train()
    loaded = load_picture_model(tmp_path / "run" / "model")
    kept = loaded.model.autoencoder
    assert kept is not None
    assert torch.equal(kept.deviation, coder.deviation), "the scale stays as exact as it was"
    assert torch.equal(kept.decoder.output.weight, coder.decoder.output.weight.bfloat16()), "it is not trained on"
    painter = PictureGenerator(loaded.model.float(), Tokenizer.load(tmp_path / "run" / "model"), card=loaded.card)
    (painted,) = painter.generate("a red square on the left", seed=1, steps=2)
    assert painted.image.size == (16, 16)
    (again,) = painter.generate("a red square on the left", seed=1, steps=2, start=painted.image, strength=0.5)
    assert again.image.size == (16, 16)


def test_latents_are_made_once_and_a_resumed_run_is_the_same(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_coder(tmp_path / "coder")
    given = (f"autoencoder={tmp_path / 'coder'}", "patch=1", "steps=6", "ema=0.9")
    seen: list[int] = []
    plan = PicturePlan(data=(squares,), prompts=("a red square on the left",)).override([*SMALL, *given])
    whole = start(plan, tmp_path / "whole", cache=tmp_path / "cache", progress=lambda what, *_: seen.append(len(what)))
    assert seen.count(len("encoding pictures")) >= 2  # both parts
    begin(squares, tmp_path / "parts", *given, "checkpoints=6")

    def never(*_: object) -> None:
        raise AssertionError("a picture was encoded again")

    with monkeypatch.context() as patch:
        patch.setattr(Autoencoder, "encode", never)
        one = whole.train()
        with pytest.raises(KeyboardInterrupt):
            go_on(tmp_path / "parts").train([StopAt(3)])
    for made in (tmp_path / "cache").rglob("latents-*"):
        shutil.rmtree(made)  # a cache may be emptied at any time
    resumed = go_on(tmp_path / "parts")
    other = resumed.train()
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert one.best == other.best


class StopAt(Watcher):
    def __init__(self, step: int) -> None:
        self.step = step

    def saved(self, step: int) -> None:
        if step == self.step:
            raise KeyboardInterrupt


def test_latents_are_not_mirrored(squares: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="flip is on, but latents are made once"):
        begin(squares, tmp_path / "run", f"autoencoder={tmp_path / 'coder'}", "flip=true")


def test_an_autoencoder_that_does_not_fit_is_refused(squares: Path, tmp_path: Path) -> None:
    save_autoencoder(tmp_path / "coder", Autoencoder(AutoencoderConfig(width=8)))
    with pytest.raises(ConfigError, match=r"pixels is 20, but this autoencoder takes multiples of 8"):
        begin(squares, tmp_path / "run", f"autoencoder={tmp_path / 'coder'}", "pixels=20")
    with pytest.raises(WeightsError, match="is no folder"):
        begin(squares, tmp_path / "run", f"autoencoder={tmp_path / 'nowhere'}")


def test_times_move_from_more_noise_to_less_over_a_run() -> None:
    settings = PictureSettings(pixels=128, time_mean=0.5, time_mean_first=2.0)
    begin, middle, end = (settings.diffusion_at(progress) for progress in (0.0, 0.5, 1.0))
    assert begin.time == LogitNormalTime(2.0, 1.0)
    assert middle.time == LogitNormalTime(1.25, 1.0)
    assert end == settings.diffusion()
    assert begin.shift == 4.0, "as many times more as the side is of 32"
    assert replace(settings, time_mean_first=None).diffusion_at(0.0) == end


DRAWN = DrawnPlan(count=24, size=32, validation=8, captions=1)


@pytest.mark.parametrize("patch", [8, 0])
def test_objects_count_more_at_first_and_the_same_in_the_end(tmp_path: Path, patch: int) -> None:
    changes = [*SMALL[1:], "pixels=32", f"patch={patch or 2}", "objects_first=0.5", "steps=3", "batch_size=4"]
    if not patch:
        torch.manual_seed(0)
        coder = Autoencoder(AutoencoderConfig(factor=4, latent_channels=4, width=8, multipliers=(1, 2)))
        save_autoencoder(tmp_path / "coder", coder, {})
        changes.append(f"autoencoder={tmp_path / 'coder'}")
    plan = PicturePlan(drawn=DRAWN, prompts=("a fox",)).override(changes)
    run = start(plan, tmp_path / "run", cache=tmp_path / "cache")
    side = 32 if patch else 8
    batch = PictureBatches(run.corpus.train, 4, seed=0, parts=True)(0)
    clean = torch.zeros(4, 3, side, side)
    assert batch.parts is not None
    first, middle, last = (run.weights(batch, clean, progress) for progress in (0.0, 0.25, 0.5))
    assert first is not None and middle is not None and last is not None
    assert first.shape == (4, 1, side, side)
    expected = process.object_weights(batch.parts, 1.0)[:, None]
    assert first.allclose(expected.unflatten(2, (side, -1)).unflatten(4, (side, -1)).mean(dim=(3, 5)))
    assert float(first.max()) > float(middle.max()) > 1
    assert last.equal(torch.ones(4, 1, side, side))
    assert run.train().reason == "finished"


def test_objects_must_be_known(squares: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it is known of drawings alone which pixels are an object"):
        begin(squares, tmp_path / "run", "objects_first=0.5", "steps=1")
    assert not (tmp_path / "cache").exists(), "it is told before the pictures are read"
    with pytest.raises(ConfigError, match=r"objects_first is 1\.5, but it is a share"):
        PictureSettings(objects_first=1.5)


def test_a_resumed_run_to_which_objects_count_first_makes_the_same_weights(tmp_path: Path) -> None:
    plan = PicturePlan(drawn=DRAWN, prompts=("a fox",))
    settings = [*SMALL[1:], "pixels=32", "patch=8", "objects_first=0.7", "batch_size=4", "steps=6", "checkpoints=3"]
    start(plan.override(settings), tmp_path / "whole", cache=tmp_path / "cache").train()

    run = start(plan.override(settings), tmp_path / "cut", cache=tmp_path / "cache")
    assert run.train([toy.StopAfter(step=3)]).reason == "interrupted"
    go_on(tmp_path / "cut").train()
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(value.equal(second[name]) for name, value in first.items())


def test_an_autoencoder_that_is_not_finished_is_refused(squares: Path, tmp_path: Path) -> None:
    drawn = DrawnPlan(count=8, size=32, validation=2, captions=1)
    config = AutoencoderConfig(encoder="average", latent_channels=3, factor=4, width=8, multipliers=(1, 2))
    train = {"steps": 2, "batch_size": 2, "threads": 1, "device": "cpu", "evaluations": 1}
    plan = AutoencoderPlan(config, train=train, drawn=drawn, pictures=AutoencoderPictures(pixels=32))

    coder = tmp_path / "coder"
    start_autoencoder(plan, coder, cache=tmp_path / "cache").train([toy.StopAfter(step=1)])
    with pytest.raises(TrainingError, match=r"coder is not at its end, but .*limner train autoencoder --resume"):
        begin(squares, tmp_path / "run", f"autoencoder={coder}", "steps=1")
