"""``limner train autoencoder`` and ``limner train picture``: from plain pictures or drawings to a model that paints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from limner.cli.app import app
from limner.cli.train import judged
from limner.picture.autoencoder import load_autoencoder
from limner.picture.folder import load_picture_model
from limner.train.run import read_events

QUICK = (
    "width=8", "multipliers=1,2", "decoder_blocks=1", "batch_size=8", "threads=1", "precision=float32",
    "evaluations=1", "checkpoints=2",
)  # fmt: skip
PAINTER = ("dim=32", "num_layers=1", "num_heads=2", "sample_steps=2", "evaluate_pictures=8", *QUICK[3:])


def limner(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def sets(values: tuple[str, ...]) -> list[str]:
    return [word for value in values for word in ("--set", value)]


def refused(*words: object, says: str) -> None:
    done = limner(*words)
    assert done.exit_code == 2, done.output
    assert says in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Pictures without captions."""
    folder = tmp_path / "bare"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(40):
        pixels = np.full((20, 20, 3), random.integers(0, 256, 3), np.uint8)
        pixels[4:12, 6:16] = random.integers(0, 256, 3)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_from_drawings_to_a_model_that_paints(tmp_path: Path) -> None:
    coder, painter = tmp_path / "coder", tmp_path / "painter"
    drawings = ("--drawings", 24, "--pixels", 32, "--cache", tmp_path / "cache", "--set", "drawn.validation=8")
    words = ["--factor", 4, "--channels", 3, "--steps", 2, "--out", coder, *sets(QUICK)]
    done = limner("train", "autoencoder", *drawings, *words, "--json")
    assert done.exit_code == 0, done.output
    assert "24 pictures to train on, 8 held back" in done.stderr
    assert "4 × 4 pixels become 3 numbers, 16 times fewer" in done.stderr
    outcome = json.loads(done.stdout)
    assert (outcome["steps"], outcome["reason"]) == (2, "finished")
    assert {"psnr", "sharpness"} <= set(outcome)
    said = f"limner train picture --drawings 24 --pixels 32 --autoencoder {coder}"
    assert done.stderr.splitlines()[-1].strip() == said

    again = limner("train", "autoencoder", "--resume", coder)
    assert f"limner train autoencoder --resume {coder} --steps 4" in again.stderr
    assert limner("train", "autoencoder", "--resume", coder, "--steps", 3).exit_code == 0
    assert [event["step"] for event in read_events(coder) if event["event"] == "result"] == [2, 3]

    done = limner("train", *said.split()[2:], *drawings[4:], "--steps", 2, "--out", painter, *sets(PAINTER))
    assert done.exit_code == 0, done.output
    assert "24 pictures to train on, 8 held back (prepared before)" in done.stderr
    assert "patches of 1 of latents, each place 4 × 4 pixels" in done.stderr
    assert len(list((tmp_path / "cache").rglob("latents-*/bucket-8x8.bin"))) == 2
    done = limner("paint", "a fox", "--model", painter, "--steps", 2, "--out", tmp_path / "fox.png")
    assert done.exit_code == 0, done.output
    with Image.open(tmp_path / "fox.png") as painted:
        assert painted.size == (32, 32)

    listed = json.loads(limner("models", coder, "--json").stdout)["models"][-1]
    assert (listed["kind"], listed["trained_on"]) == ("picture autoencoder", "drawings of the picture-book world")
    assert (listed["problem"], listed["context"]) == (None, 0)
    refused("paint", "a fox", "--model", coder, says="is a picture autoencoder, but a model that writes or paints is")
    refused(
        "train", "picture", "--resume", painter, "--autoencoder", coder, says="--autoencoder is given beside --resume"
    )


def test_pictures_need_no_captions_but_those_that_are_painted_do(bare: Path, tmp_path: Path) -> None:
    out, cache = tmp_path / "run", tmp_path / "cache"
    words = ("--pixels", 16, "--steps", 1, "--cache", cache)
    done = limner("train", "autoencoder", "--data", bare, *words, "--out", out, "--minutes", 1)
    assert "--steps is 1 and --minutes 1" in done.stderr
    done = limner("train", "autoencoder", "--data", bare, *words, "--out", out, *sets(QUICK))
    assert done.exit_code == 0, done.output
    assert "data: 40 pictures from 40 files" in done.stderr
    assert f"limner train picture --data PATH --pixels 16 --autoencoder {out}" in done.stderr
    refused(
        "train", "picture", "--data", bare, *words, "--autoencoder", out, "--out", tmp_path / "painter",
        says="the data has 0 readable pictures with captions (40 no caption), but at least 1 is needed.",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({"loss": 1.0, "loss_other_captions": 1.5}, ["It listens to its prompt: with the captions of other pictures the loss is 1.5000."]),
        ({"loss": 1.0, "loss_other_captions": 1.01}, ["It does not listen to its prompt yet: "]),
        ({"loss": 1.0, "painted_to_nearest": 0.2, "held_back_to_nearest": 0.2, "painted_copies": 0.0}, ["Nothing that it painted to be judged is a copy"]),
        ({"loss": 1.0, "painted_to_nearest": 0.2, "held_back_to_nearest": 0.2, "painted_copies": 0.25}, ["25% of what it painted may be copies"]),
        ({"loss": 1.0, "painted_to_nearest": 0.0, "held_back_to_nearest": 0.0, "painted_copies": 0.0}, ["Whether it repeats pictures that it learned from cannot be told"]),
        ({"loss": 1.0}, []),
    ],
)  # fmt: skip
def test_what_is_said_of_a_painter_at_the_end(figures: dict[str, float], said: list[str]) -> None:
    found = list(judged(figures))
    assert len(found) == len(said)
    assert all(one.startswith(begins) for one, begins in zip(found, said, strict=True))


def test_what_cannot_be_asked_for(bare: Path, tmp_path: Path) -> None:
    def of(*words: object, says: str) -> None:
        refused("train", "autoencoder", *words, "--out", tmp_path / "run", "--cache", tmp_path / "cache", says=says)

    of(says="--data is missing, but there must be pictures to learn from")
    of("--data", bare, "--drawings", 5, says="--drawings is 5 beside --data")
    refused("train", "picture", "--data", bare, "--drawings", 5, says="--drawings is 5 beside --data")
    of("--data", bare, "--pixels", 30, says="pixels is 30, but must be a multiple of factor, 8. Choose 32.")
    of(
        "--data",
        bare,
        "--channels",
        10**5,
        says="latent_channels is 100,000, but a place of the latents stands for 192",
    )
    of("--drawings", 5, "--buckets", 3, says="--buckets is 3 beside drawings, but they are squares")
    of("--data", bare, "--factor", 5, says="factor is 5, but sides are divided by 4, 8 or 16")
    of(
        "--data",
        bare,
        "--set",
        "widht=8",
        says="--set widht is given, but there is no such setting. Did you mean 'width'",
    )
    of("--drawings", 5, "--set", "drawn.size=32", says="drawn.size is 32, but pixels is 64")
    of("--data", bare, "--set", "batch_size=0", says="batch_size is 0")
    of("--data", bare, "--set", "evaluate_pictures=0", says="evaluate_pictures is 0, but it must be at least 1")
    of("--data", tmp_path / "none", says="none does not exist")
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "cache").exists()


def test_the_bundled_painters_recipe_takes_its_autoencoder_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small = ("drawn.count=24", "drawn.validation=8", "pixels=32", "compile=off")
    words = ("train", "recipe", "picturebook", "--steps", 2, "--cache", "cache", *sets((*small, *PAINTER)))
    needs = "Make it first: limner train recipe picturebook-autoencoder --out runs/picturebook-autoencoder"
    refused(*words, says=needs)
    coder = ("train", "recipe", "picturebook-autoencoder", "--out", "runs/picturebook-autoencoder", "--steps", 2)
    done = limner(*coder, "--cache", "cache", *sets((*small[:3], *QUICK)))
    assert done.exit_code == 0, done.output
    done = limner(*words)
    assert done.exit_code == 0, done.output
    assert "each place 4 × 4 pixels" in done.stderr
    assert len(list((tmp_path / "cache").glob("drawn-*"))) == 1, "the drawings are made once for both"
    assert limner("paint", "a fox", "--model", "runs/picturebook", "--steps", 2, "--out", "fox.png").exit_code == 0
    with Image.open("fox.png") as painted:
        assert painted.size == (32, 32)


def test_a_recipe_takes_pictures_of_ones_own(bare: Path, tmp_path: Path) -> None:
    for picture in bare.glob("*.png"):
        picture.with_suffix(".txt").write_text("a square")
    words = (
        "--data",
        bare,
        "--steps",
        1,
        "--out",
        tmp_path / "run",
        "--cache",
        tmp_path / "cache",
        "--set",
        "compile=off",
    )
    done = limner("train", "picture", "--recipe", "picturebook-mini", *words, *sets((*PAINTER, "sample_steps=1")))
    assert done.exit_code == 0, done.output
    card = load_picture_model(tmp_path / "run" / "model").card
    assert card["trained_on"] == "bare"
    assert not {"recipe", "licence", "title"} & set(card), "those are of the recipe's own data"


def test_an_autoencoder_begins_with_a_recipe(bare: Path, tmp_path: Path) -> None:
    words = ("train", "autoencoder", "--recipe", "picturebook-autoencoder", "--cache", tmp_path / "cache", "--steps", 1)
    small = sets(("pixels=32", *QUICK))
    done = limner(*words, "--drawings", 4, "--out", tmp_path / "drawn", *small, "--set", "drawn.validation=2")
    assert done.exit_code == 0, done.output
    assert "4 × 4 pixels become 3 numbers" in done.stderr
    assert load_autoencoder(tmp_path / "drawn" / "model")[1]["recipe"] == "picturebook-autoencoder"
    done = limner(*words, "--data", bare, "--out", tmp_path / "own", *small)
    assert done.exit_code == 0, done.output
    card = load_autoencoder(tmp_path / "own" / "model")[1]
    assert card["trained_on"] == "bare"
    assert not {"recipe", "licence", "title"} & set(card)
    refused(*words[:3], "picturebok-autoencoder", says="Did you mean 'picturebook-autoencoder'")
    refused("train", "autoencoder", "--resume", tmp_path / "own", *words[2:4], says="--recipe is given beside --resume")


def test_the_kind_of_encoder_says_how_many_channels_there_are(tmp_path: Path) -> None:
    drawings = ("train", "autoencoder", "--drawings", 8, "--pixels", 32, "--cache", tmp_path / "cache", "--steps", 1)
    average = (*drawings, *sets(("drawn.validation=2", *QUICK)), "--set", "encoder=average", "--factor", 4)
    refused(
        *average,
        "--channels",
        16,
        "--out",
        tmp_path / "a",
        says="latent_channels is 16, but averages of pixels have as",
    )
    done = limner(*average, "--out", tmp_path / "a")
    assert done.exit_code == 0, done.output
    assert "4 × 4 pixels become 3 numbers" in done.stderr
    refused(*average[:-4], "--set", "encoder=avrage", says="encoder is 'avrage'")
