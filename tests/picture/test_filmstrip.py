"""The filmstrip: what cross-attention gave each word, and a sheet that shows it."""

from __future__ import annotations

import pytest
import torch
from PIL import ImageChops, ImageFont

from limner.core.errors import DataError
from limner.picture.filmstrip import CELL, GAP, LABEL, TITLE, filmstrip, font_for, heat, spread, system_fonts
from limner.picture.generator import PictureGenerator
from limner.picture.words import word_maps, word_recorder
from tests.picture.conftest import SIDE

PROMPT = "a fox with a zorblax hat"


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_shares_of_attention_add_up(painter: PictureGenerator, guidance: float) -> None:
    recorder = word_recorder()
    (picture,) = painter.generate(PROMPT, seed=1, steps=3, guidance=guidance, size=(SIDE, 2 * SIDE), tap=recorder)
    maps = word_maps(painter, picture, recorder)
    assert [word for word, _ in maps] == PROMPT.split()
    assert all(shares.shape == (3, SIDE // 4, 2 * SIDE // 4) for _, shares in maps)
    everything = torch.stack([shares for _, shares in maps]).sum(dim=0)
    # The beginning of the prompt and spaces of their own, which are no words, have the rest; padding has none.
    used = [at for _, places in painter.word_places(PROMPT) for at in places]
    others = [at for at in range(len(painter.read_prompt(PROMPT))) if at not in used]
    names = [[f"look.{look}.layer.{layer}.cross_attention.weights" for layer in range(2)] for look in range(3)]
    weights = torch.stack([torch.stack([recorder[name] for name in layers]).mean(dim=0) for layers in names])
    rest = weights[..., others].sum(dim=-1).view_as(everything)
    torch.testing.assert_close(everything + rest, torch.ones_like(everything), rtol=1e-4, atol=1e-4)


def test_it_is_the_prompts_attention_and_not_that_of_what_is_led_away_from(painter: PictureGenerator) -> None:
    found = []
    for negative in ("", "snow on the beach"):
        recorder = word_recorder()
        (picture,) = painter.generate(PROMPT, seed=1, steps=1, negative=negative, tap=recorder)
        found.append(torch.stack([shares for _, shares in word_maps(painter, picture, recorder)]))
    torch.testing.assert_close(found[0], found[1])


def test_a_word_is_written_in_a_font_that_has_its_letters() -> None:
    own = ImageFont.load_default(12)
    assert font_for("fox", 12).getname() == own.getname()
    found = font_for("Kätzchen", 12)
    assert (found.getname() == own.getname()) == (not list(system_fonts(12))), "where the system has none, boxes remain"
    if found.getname() != own.getname():
        assert bytes(found.getmask("ä")) != bytes(found.getmask("\U0010ffff"))


def test_the_sheet(painter: PictureGenerator) -> None:
    recorder = word_recorder()
    (picture,) = painter.generate(PROMPT, seed=1, steps=10, tap=recorder)
    sheet = filmstrip(painter, picture, recorder)
    assert sheet.size == (LABEL + 9 * (CELL + GAP), TITLE + 8 * (CELL + GAP))

    def cell(row: int, column: int):  # type: ignore[no-untyped-def]
        left, top = LABEL + column * (CELL + GAP), TITLE + row * (CELL + GAP)
        return sheet.crop((left, top, left + CELL, top + CELL))

    assert cell(0, 8).resize((SIDE, SIDE), 0).tobytes() == picture.image.tobytes()
    assert cell(0, 0).resize((SIDE, SIDE), 0).tobytes() == painter.show(picture.looks[0].noisy).tobytes()
    assert cell(1, 7).resize((SIDE, SIDE), 0).tobytes() == painter.show(picture.looks[9].seen).tobytes()
    assert ImageChops.difference(cell(3, 0), cell(6, 0)).getbbox(), "words have different maps"
    labels = sheet.crop((0, TITLE, LABEL, sheet.height))
    assert min(labels.convert("L").getextrema()) < 100, "the words stand beside their rows"


def test_a_filmstrip_needs_looks_and_one_picture(painter: PictureGenerator) -> None:
    recorder = word_recorder()
    (bare,) = painter.stream(PROMPT, seed=1, steps=2, record=False, tap=recorder)
    with pytest.raises(DataError, match="record=True"):
        filmstrip(painter, bare, recorder)
    with pytest.raises(DataError, match="no cross-attention"):
        word_maps(painter, bare, word_recorder())
    painter.generate(PROMPT, seed=2, steps=2, tap=recorder)
    with pytest.raises(DataError, match="several pictures"):
        word_maps(painter, bare, recorder)


def test_a_prompt_that_was_ignored_has_no_words_to_show(painter: PictureGenerator) -> None:
    """The one row of a pass is then that of what is led away from."""
    recorder = word_recorder()
    (picture,) = painter.generate(PROMPT, seed=1, steps=2, guidance=0.0, negative="snow on the beach", tap=recorder)
    with pytest.raises(DataError, match="guidance is 0"):
        word_maps(painter, picture, recorder)


def test_small_things() -> None:
    assert spread(3, 8) == [0, 1, 2]
    assert spread(25, 8) == [0, 3, 7, 10, 14, 17, 21, 24]
    shown = heat(torch.tensor([[0.0, 1.0]]), (2, 1))
    assert shown.getpixel((0, 0))[0] < 40
    assert shown.getpixel((1, 0))[0] > 200
