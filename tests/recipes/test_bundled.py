"""The bundled models: there, small enough, described, and as good as their cards say."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image
from torch import Tensor

from limner.data import Shards, bundled, prepare_corpus
from limner.models import catalogue, load
from limner.picture.generator import PictureGenerator
from limner.picture.prompts import pad
from limner.picture.world.prepare import DrawnPlan, prepare_drawn
from limner.recipes import RECIPES
from limner.recipes.bundle import LIMIT, MODELS, bundle
from limner.recipes.bundle_picture import GRID
from limner.text.evaluate import evaluate
from limner.text.generator import TextGenerator
from limner.train.picture import listening
from limner.weights.folder import load_model


def held_back(name: str, cache: Path, generator: TextGenerator) -> list[str]:
    """Texts that the model was not trained on, as the recipe's own split has them."""
    share = {"story": 0.05, "shakespeare": 0.1}[name]
    files = {"story": "stories", "shakespeare": "shakespeare"}[name]
    part = prepare_corpus(bundled(files), tokenizer=generator.tokenizer, cache=cache, validation=share).validation
    return texts_of(part, generator)


def texts_of(part: Shards, generator: TextGenerator) -> list[str]:
    starts = [*part.document_starts.tolist(), part.num_tokens]
    ids = [part.tokens[a:b].tolist() for a, b in pairwise(starts)]
    return [generator.tokenizer.decode(row)[:20_000] for row in ids[:: max(len(ids) // 40, 1)]]  # from all over


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_has_its_model_small_and_described(name: str) -> None:
    size = sum(file.stat().st_size for file in (MODELS / name).iterdir())
    assert size <= LIMIT
    entry = next(entry for entry in catalogue() if entry.name == name)
    assert entry.licence
    assert entry.trained_on
    card = (MODELS / name / "README.md").read_text(encoding="utf-8")
    for said in ("Licence", "Command", "Hardware", "Time", "Bits per byte", "seed 0:", "seed 7:"):
        assert said in card


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_bundled_model_predicts_what_was_held_back_as_its_card_says(name: str, tmp_path: Path) -> None:
    generator = load(name)
    assert isinstance(generator, TextGenerator)
    said = load_model(MODELS / name).card["validation"]["bits_per_byte"]
    found = evaluate(generator, held_back(name, tmp_path, generator)).bits_per_byte
    assert abs(found - said) < 0.06 * said + 0.02  # a part of what the card measures


def test_the_bundled_painter_is_small_and_described_with_unpicked_pictures() -> None:
    folder = MODELS / "picturebook"
    assert sum(file.stat().st_size for file in folder.iterdir()) <= LIMIT
    entry = next(entry for entry in catalogue() if entry.name == "picturebook")
    assert entry.licence
    assert entry.problem is None
    assert min(entry.pixels or (0, 0)) >= 128
    card = (folder / "README.md").read_text(encoding="utf-8")
    for said in ("Licence", "Command", "Hardware", "Time", "combinations that it never showed", "seeds 0 to 63"):
        assert said in card
    with Image.open(folder / GRID) as grid:
        assert grid.width >= 8 * 128


def test_the_bundled_painter_listens_on_pictures_that_it_has_never_seen(tmp_path: Path) -> None:
    painter = load("picturebook")
    assert isinstance(painter, PictureGenerator)
    fresh = prepare_drawn(DrawnPlan(count=1, size=128, validation=32, two=0.0), tmp_path, workers=1)
    length = painter.config.prompt.context_length

    def read(captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        return pad([painter.read_prompt(text) for text in captions], length)

    heard = listening(painter.model, fresh.validation, read, 32)
    assert heard["loss_other_captions"] > 1.3 * heard["loss"], "its own caption says what is in a picture"


def test_a_run_of_no_recipe_is_not_bundled(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=str(tmp_path)):
        bundle(tmp_path)
