"""A picture model's card: measured, with pictures as they come."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from limner.core.errors import WeightsError
from limner.models import load
from limner.picture.folder import load_picture_model
from limner.picture.generator import PictureGenerator
from limner.recipes import autoencoder_recipe, picture_recipe
from limner.recipes import bundle_picture as bundling
from limner.train.autoencoder import start as start_autoencoder
from limner.train.picture import start

TINY = [
    "drawn.count=64",
    "drawn.two=0.5",
    "drawn.validation=8",
    "dim=64",
    "num_heads=1",
    "num_layers=1",
    "batch_size=8",
    "compile=off",
    "threads=1",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    plan = picture_recipe("picturebook-mini").override([*TINY, "steps=2", "evaluations=1", "sample_steps=1"])
    start(plan, folder / "run", cache=folder / "cache").train([])
    return folder / "run"


def test_a_bundled_painter_is_measured_and_shown_unpicked(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundling, "SEEDS", 4)
    monkeypatch.setattr(bundling, "STEPS", 2)
    target = bundling.bundle_picture(run, tmp_path / "painter", "Beside other work.", pictures=7)
    card = (target / "README.md").read_text(encoding="utf-8")
    for said in (
        "Licence",
        "Command",
        "Hardware",
        "Time",
        "2 steps, 16 pictures",
        "Beside other work.",
        "seeds 0 to 3",
    ):
        assert said in card
    stored = json.loads((target / "config.json").read_text(encoding="utf-8"))
    assert {"heldout_triples", "binding", "relations", "judge_ceiling"} <= stored["card"]["composition"].keys()
    assert load_picture_model(target).sha256 == load_picture_model(run / "model").sha256, (
        "the weights are the run's own"
    )

    painter = load(target)
    assert isinstance(painter, PictureGenerator)
    shown = Image.open(target / bundling.GRID)
    (second,) = painter.generate([bundling.PROMPT], seed=1, steps=2, guidance=bundling.GUIDANCE)
    side = second.image.width
    part = shown.convert("RGB").crop((side + 2, 0, 2 * side + 2, side))
    difference = [abs(a - b) for a, b in zip(part.tobytes(), second.image.convert("RGB").tobytes(), strict=True)]
    assert sum(difference) / len(difference) < 24, "seed 1 stands second, but for what WebP loses"


def test_the_card_of_a_painter_on_latents_says_how_its_autoencoder_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundling, "SEEDS", 1)
    monkeypatch.setattr(bundling, "STEPS", 1)
    monkeypatch.chdir(tmp_path)
    small = [
        "drawn.count=16",
        "drawn.validation=4",
        "pixels=32",
        "batch_size=4",
        "steps=2",
        "evaluations=1",
        "threads=1",
    ]
    coder = autoencoder_recipe("picturebook-autoencoder").override([*small, "width=8"])
    start_autoencoder(coder, Path("runs/picturebook-autoencoder"), cache=tmp_path / "cache").train([])
    plan = picture_recipe("picturebook").override([*TINY[3:], *small, "sample_steps=1"])
    start(plan, Path("run"), cache=tmp_path / "cache").train([])
    card = (bundling.bundle_picture(Path("run"), tmp_path / "painter", pictures=7) / "README.md").read_text("utf-8")
    assert "32 × 32, as latents of 8 × 8 × 3 in patches of 4" in card
    assert ", after 2 steps for its autoencoder, 2 steps" in card
    assert (
        "`limner train recipe picturebook-autoencoder --out runs/picturebook-autoencoder`, then `limner train" in card
    )


def test_a_run_that_was_stopped_is_not_bundled(run: Path, tmp_path: Path) -> None:
    events = (run / "events.jsonl").read_text(encoding="utf-8")
    try:
        kept = [line for line in events.splitlines() if json.loads(line)["event"] != "ended"]
        kept.append('{"event": "st')  # a killed process left it so
        (run / "events.jsonl").write_text("\n".join(kept), encoding="utf-8")
        with pytest.raises(WeightsError, match="not finished"):
            bundling.bundle_picture(run, tmp_path / "painter")
    finally:
        (run / "events.jsonl").write_text(events, encoding="utf-8")


def test_a_run_that_was_stopped_while_it_was_judged_is_not_bundled(run: Path, tmp_path: Path) -> None:
    events = (run / "events.jsonl").read_text(encoding="utf-8")
    kept = [line for line in events.splitlines() if json.loads(line)["event"] != "result"]
    try:
        (run / "events.jsonl").write_text("\n".join(kept) + "\n", encoding="utf-8")
        with pytest.raises(WeightsError, match="stopped while it was judged"):
            bundling.bundle_picture(run, tmp_path / "painter")
    finally:
        (run / "events.jsonl").write_text(events, encoding="utf-8")
