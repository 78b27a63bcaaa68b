"""`limner eval picture` as a person at a terminal meets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from limner.cli.app import app
from limner.picture.composition import GROUPS, scenes_of
from limner.picture.config import make_config
from limner.picture.denoiser import PictureModel
from limner.picture.folder import save_picture_model
from limner.picture.world.captions import prompt
from limner.tokens import train_tokenizer

Limner = Callable[..., Result]
KEYS = {
    "seen_triples", "heldout_triples", "heldout_pairs", "binding", "relations", "paraphrases", "chance", "judge_ceiling",
    "animal", "hat", "colour", "heldout_binding", "product", "probe_fid", "agreement",
}  # fmt: skip


def make_folder(folder: Path, height: int, width: int) -> Path:
    captions = [prompt(scene, kind.style) for group, kind in GROUPS.items() for scene in scenes_of(group, 4, 0)]
    tokenizer = train_tokenizer("byte-bpe", captions, vocab_size=400)
    config = make_config(
        size=(height, width), patch=16, dim=32, num_layers=1, num_heads=1, vocab_size=400, context_length=64
    )
    torch.manual_seed(0)
    save_picture_model(folder, PictureModel(config), tokenizer, {"name": folder.name})
    return folder


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shelf = tmp_path_factory.mktemp("painters")
    make_folder(shelf / "square", 64, 64)
    make_folder(shelf / "wide", 64, 96)
    make_folder(shelf / "odd", 80, 80)
    return shelf


@pytest.fixture
def limner(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> Limner:
    monkeypatch.setenv("LIMNER_MODELS", str(shelf))
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_last_line_has_the_fractions(limner: Limner, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    result = limner("eval", "picture", "square", "--pictures", 7, "--steps", 1, "--json", "--out", sheet)
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout.splitlines()[-1])
    assert set(values) >= KEYS
    assert all(0 <= values[key] <= 1 for key in KEYS - {"probe_fid"})
    assert values["pictures"] == 7
    assert values["judge_ceiling"] >= 0.995
    assert values["rule"]["heldout_triples"] <= 1
    assert values["ceilings"]["classifier"]["heldout_triples"] == 1.0
    with Image.open(sheet) as image:
        assert image.width > 1000
    assert str(sheet) in result.stderr
    before = sheet.read_bytes()
    again = limner("eval", "picture", "square", "--pictures", 7, "--steps", 1, "--out", sheet)
    assert again.exit_code == 2
    assert f"{sheet} is there already" in again.stderr
    assert sheet.read_bytes() == before
    assert limner("eval", "picture", "square", "--pictures", 7, "--steps", 1, "--out", sheet, "--force").exit_code == 0


def test_a_table_says_the_same(limner: Limner) -> None:
    result = limner("eval", "picture", "square", "--pictures", 7, "--steps", 1)
    assert result.exit_code == 0, result.output
    for said in (
        "read by the classifier",
        "read by the rule",
        "held-back triples",
        "probe-FID",
        "chance 0.07%",
        "ceiling",
    ):
        assert said in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("wide",), "96 × 64"),
        (("odd",), "80 pixels"),
        (("square", "--pictures", 3), "pictures is 3"),
        (("square", "--steps", 0), "steps is 0"),
        (("story",), "that is for texts"),
        (("square", "--out", "/nowhere/sheet.png"), "/nowhere/sheet.png"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_sentence(
    limner: Limner, arguments: tuple[str | int, ...], said: str
) -> None:
    result = limner("eval", "picture", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
