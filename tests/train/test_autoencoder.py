"""Training the autoencoder through the one loop: it learns, is judged, stops, and goes on exactly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from limner.core.errors import ConfigError, DataError, ShapeError, TrainingError
from limner.picture.autoencoder import Autoencoder, AutoencoderConfig, LossWeights, load_autoencoder
from limner.picture.images import from_bytes, to_image
from limner.picture.world.prepare import DrawnPlan
from limner.train.autoencoder import (
    AutoencoderPlan,
    AutoencoderRun,
    go_on,
    measure,
    start,
)
from limner.train.loop import Outcome
from limner.train.run import RunFolder, read_events
from tests.train import toy

CONFIG = AutoencoderConfig(latent_channels=4, factor=4, width=8, multipliers=(1, 2), decoder_blocks=1)
SETTINGS: dict[str, Any] = {"steps": 12, "threads": 1, "precision": "float32", "evaluations": 3, "checkpoints": 3}


def pictures(index: int, count: int = 6, side: int = 16) -> Tensor:
    """Rectangles on a ground, uint8, as a function of the index alone."""
    random = np.random.default_rng(index)
    made = np.empty((count, 3, side, side), np.uint8)
    for picture in made:
        top, left = random.integers(0, side // 2, 2)
        picture[:] = random.integers(0, 256, (3, 1, 1))
        picture[:, top : top + side // 2, left : left + side // 2] = random.integers(0, 256, (3, 1, 1))
    return torch.from_numpy(made)


HELD_BACK = [pictures(1000, 8), pictures(1001, 4, 24)]


def plan(**train: Any) -> AutoencoderPlan:
    return AutoencoderPlan(CONFIG, train={**SETTINGS, **train})


def begun(path: Path, **train: Any) -> AutoencoderRun:
    return start(plan(**train), path, pictures, HELD_BACK)


def state(path: Path) -> dict[str, Tensor]:
    found = RunFolder(path).checkpoints.latest(print)
    assert found is not None
    return found.tensors


# ── a run ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_learns_and_leaves_a_model_samples_and_numbers(tmp_path: Path) -> None:
    weights = LossWeights(spectrum=1.0, divergence=1e-3)
    wide = AutoencoderPlan(replace(CONFIG, width=16), weights, {**SETTINGS, "steps": 90, "matrix_rate": 2e-2})
    outcome: Outcome = start(wide, tmp_path / "run", pictures, HELD_BACK).train()
    assert outcome.reason == "finished"
    events = [e for e in read_events(tmp_path / "run") if e["event"] == "evaluation"]
    assert events[-1]["loss"] < 0.9 * events[0]["loss"]
    assert events[-1]["psnr"] > events[0]["psnr"] + 0.5
    assert {"pixels", "spectrum", "divergence", "psnr", "sharpness", "noise"} <= set(events[-1])

    model, card = load_autoencoder(tmp_path / "run" / "model")
    assert isinstance(model, Autoencoder)
    assert card["validation"] == outcome.best
    again = measure(model, HELD_BACK, weights)
    assert again == pytest.approx(outcome.best, rel=1e-4)
    latents = torch.cat([model.encode(from_bytes(pictures(i))).mean for i in range(16)])
    every = model.normalise(latents).transpose(0, 1).flatten(1)
    assert every.mean(1).tolist() == pytest.approx([0.0] * 4, abs=1e-3)
    assert every.std(1).tolist() == pytest.approx([1.0] * 4, abs=0.05)

    samples = sorted((tmp_path / "run" / "samples").iterdir())
    assert [path.name for path in samples] == [f"step-{step:08d}.png" for step in (30, 60, 90)]
    with Image.open(samples[-1]) as grid:
        assert grid.size == (8 * 16 + 7 * 2, 2 * 16 + 2)
        shown = torch.from_numpy(np.array(grid)).permute(2, 0, 1)
    assert torch.equal(shown[:, :16, 18:34], HELD_BACK[0][1])
    made = np.array(to_image(model.decode(model.encode(from_bytes(HELD_BACK[0])).mean)[1]))
    assert (shown[:, 18:, 18:34].int() - torch.from_numpy(made).permute(2, 0, 1).int()).abs().max() <= 1


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_resumed_run_is_the_same_bit_for_bit(tmp_path: Path, precision: str) -> None:
    begun(tmp_path / "whole", precision=precision, ema=0.9).train()
    stopped = begun(tmp_path / "broken", precision=precision, ema=0.9).train([toy.StopAfter(5)])
    assert (stopped.reason, stopped.step) == ("interrupted", 5)
    outcome = go_on(tmp_path / "broken", pictures, HELD_BACK).train()
    assert outcome.step == 12
    whole, broken = state(tmp_path / "whole"), state(tmp_path / "broken")
    assert whole.keys() == broken.keys()
    for name, value in whole.items():
        assert torch.equal(value, broken[name]), name


def test_a_run_can_be_made_longer(tmp_path: Path) -> None:
    begun(tmp_path).train()
    assert go_on(tmp_path, pictures, HELD_BACK, assignments=["steps=15"]).train().step == 15


def test_a_model_can_be_saved_in_half_the_bytes(tmp_path: Path) -> None:
    start(replace(plan(), dtype="bfloat16"), tmp_path, pictures, HELD_BACK).train()
    model, _ = load_autoencoder(tmp_path / "model")
    assert next(model.parameters()).dtype == torch.bfloat16
    assert model.mean.dtype == torch.float32


def test_the_plan_comes_back_from_json() -> None:
    made = AutoencoderPlan(
        CONFIG, LossWeights(spectrum=0.5), {"steps": 3}, "bfloat16", {"title": "Discs"}, (Path("a"),)
    )
    made = replace(made, drawn=DrawnPlan(count=9)).override(
        ["pixels=32", "drawn.two=0", "minutes=2", "multipliers=1,1"]
    )
    assert made.drawn == DrawnPlan(count=9, size=32, two=0.0)
    assert (made.train, made.config.multipliers) == ({"minutes": 2.0}, (1, 1))
    assert AutoencoderPlan.from_dict(json.loads(json.dumps(made.to_dict()))) == made


# ── from a folder ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty pictures without captions, some of them wide."""
    (tmp_path / "data").mkdir()
    for number, picture in enumerate(pictures(7, 40, 20)):
        array = picture.permute(1, 2, 0).numpy()
        Image.fromarray(array if number % 4 else array[4:14]).save(tmp_path / "data" / f"{number}.png")
    return tmp_path / "data"


def from_folder(folder: Path, out: Path, *words: str) -> AutoencoderRun:
    small = replace(plan(batch_size=8, ema=0.9), data=(folder,))
    given = ("pixels=16", "buckets=3", "validation=0.3", "flip=true")
    return start(small.override([*given, *words]), out, cache=folder.with_name("cache"))


def test_a_folder_of_pictures_is_learned_and_gone_on_with(folder: Path, tmp_path: Path) -> None:
    whole = from_folder(folder, tmp_path / "whole")
    assert {tuple(whole.batches(index).shape) for index in range(9)} >= {(8, 3, 16, 16), (8, 3, 12, 24)}
    assert whole.train().reason == "finished"
    ended = whole.finished()
    assert ended is not None
    assert ended.step == 12
    _, card = load_autoencoder(tmp_path / "whole" / "model")
    assert (card["trained_on"], card["training"]["pictures"]) == ("data", ended.best_step * 8)  # type: ignore[operator]
    assert from_folder(folder, tmp_path / "broken").train([toy.StopAfter(5)]).reason == "interrupted"
    assert go_on(tmp_path / "broken").finished() is None
    assert go_on(tmp_path / "broken").train().step == 12
    one, other = state(tmp_path / "whole"), state(tmp_path / "broken")
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_it_is_judged_by_the_first_pictures_held_back(folder: Path, tmp_path: Path) -> None:
    run = from_folder(folder, tmp_path / "run", "evaluate_pictures=7")
    assert run.corpus is not None
    held_back = run.corpus.validation
    expected = sorted(held_back.picture(number)[0].tobytes() for number in range(7))
    found = sorted(x.permute(1, 2, 0).numpy().tobytes() for part in run.held_back for x in part)
    assert found == expected
    assert [len(part) for part in run.held_back] == sorted((len(part) for part in run.held_back), reverse=True)


def test_what_cannot_change_on_the_way(folder: Path, tmp_path: Path) -> None:
    from_folder(folder, tmp_path / "run")
    for change in ("batch_size=4", "seed=1", "pixels=32", "width=16", "spectrum=1", "dtype=bfloat16", "flip=false"):
        with pytest.raises(ConfigError, match=f"--set {change.partition('=')[0]} is given beside --resume"):
            go_on(tmp_path / "run", assignments=[change])
    go_on(tmp_path / "run", assignments=["batch_size=8", "width=8", "steps=20"])
    (folder / "1.png").unlink()
    with pytest.raises(TrainingError, match=r"the data have first batch .*Restore them"):
        go_on(tmp_path / "run")
    begun(tmp_path / "own")
    with pytest.raises(TrainingError, match="own began with batches of its caller's"):
        go_on(tmp_path / "own")
    with pytest.raises(DataError, match="the plan has neither data nor drawn"):
        start(plan(), tmp_path / "none")


# ── what cannot be trained ──────────────────────────────────────────────────────────────────────────────────


def test_pictures_that_do_not_fit_are_named(tmp_path: Path) -> None:
    def wrong(index: int) -> Tensor:
        return pictures(index).float()

    with pytest.raises(DataError, match=r"first batch is float32 of shape \(6, 3, 16, 16\)"):
        start(plan(), tmp_path / "a", wrong, HELD_BACK)
    with pytest.raises(DataError, match=r"held-back batch is uint8 of shape \(6, 1, 16, 16\)"):
        start(plan(), tmp_path / "b", pictures, [pictures(0)[:, :1]])
    with pytest.raises(DataError, match="held_back has 0 pictures"):
        start(plan(), tmp_path / "c", pictures, [])
    with pytest.raises(ShapeError, match="height is 18 pixels"):
        start(plan(), tmp_path / "d", lambda index: pictures(index, side=18), HELD_BACK)
    with pytest.raises(ConfigError, match="stepz"):
        start(plan(stepz=3), tmp_path / "e", pictures, HELD_BACK)
    assert not list(tmp_path.iterdir())


def test_going_on_with_other_pictures_is_refused(tmp_path: Path) -> None:
    begun(tmp_path)
    with pytest.raises(TrainingError, match="the data have first batch"):
        go_on(tmp_path, lambda index: pictures(index + 1), HELD_BACK)
    with pytest.raises(TrainingError, match="the data have held back part"):
        go_on(tmp_path, pictures, HELD_BACK[:1])
    with pytest.raises(TrainingError, match="holds a run already"):
        begun(tmp_path)


def test_a_run_of_another_kind_is_refused(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "text", {"kind": "text"})
    with pytest.raises(TrainingError, match="run of kind 'text'"):
        go_on(tmp_path / "text", pictures, HELD_BACK)
