"""`limner paint` as a person at a terminal meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner, Result

from limner.cli.app import app
from limner.cli.paint import read_size
from limner.cli.preview import HalfBlocks, can_show, shrunk
from limner.core.errors import ConfigError
from limner.explain.picture_trace import PictureTrace
from limner.models import load
from limner.picture.generator import PictureGenerator
from limner.picture.images import read_picture, read_settings, save_png
from tests.picture.conftest import LONGEST, SIDE
from tests.picture.conftest import painter_folder as painter_folder
from tests.picture.conftest import tokenizer as tokenizer
from tests.picture.test_generator import CAT, FOX, drawing, left_half
from tests.picture.test_images import bomb

Limner = Callable[..., Result]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands run."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def limner(painter_folder: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> Limner:
    monkeypatch.setenv("LIMNER_MODELS", str(painter_folder.parent))

    def run(*arguments: object, input: bytes | None = None) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], input=input)

    return run


@pytest.fixture
def paint(limner: Limner) -> Limner:
    """With the tiny model, and few steps."""

    def run(*arguments: object, input: bytes | None = None) -> Result:
        few = () if "--steps" in arguments or "--again" in arguments else ("--steps", 2)
        model = () if "--model" in arguments else ("--model", "tiny")
        return limner("paint", *arguments, *few, *model, input=input)

    return run


@pytest.fixture
def painter(painter_folder: Path) -> PictureGenerator:
    opened = load(painter_folder)
    assert isinstance(opened, PictureGenerator)
    return opened


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refused(result: Result, said: str) -> None:
    """One sentence, exit code 2, and nothing on standard output."""
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.output
    assert result.stdout == ""


# ── painting ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_picture_that_says_how_it_was_made(paint: Limner, here: Path, painter: PictureGenerator) -> None:
    result = paint(FOX, "--seed", 5, "-o", "fox.png")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "fox.png\n", "")
    (expected,) = painter.generate(FOX, seed=5, steps=2)
    assert read_picture(here / "fox.png").tobytes() == expected.image.tobytes()
    assert read_settings(here / "fox.png") == expected.settings | {"opened": "tiny"}
    assert names(here) == ["fox.png"]


def test_every_option_reaches_the_generator(paint: Limner, here: Path, painter: PictureGenerator) -> None:
    result = paint(
        CAT, "--seed", 2, "--n", 2, "--steps", 3, "--guidance", 2.5, "--negative", "snow", "--sampler", "dpm++",
        "--size", f"{2 * SIDE}x{SIDE}", "--dtype", "float32", "--json", "-o", "out",
    )  # fmt: skip
    expected = painter.generate(
        CAT, seed=2, n=2, steps=3, guidance=2.5, negative="snow", sampler="dpm++", size=(SIDE, 2 * SIDE)
    )
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["settings"] for line in lines] == [one.settings | {"opened": "tiny"} for one in expected]
    assert [line["seed"] for line in lines] == [2, 3]
    for line, one in zip(lines, expected, strict=True):
        assert Path(line["file"]).parent == Path("out")
        assert read_picture(line["file"]).tobytes() == one.image.tobytes()


def test_names_of_files(paint: Limner, here: Path) -> None:
    assert paint("A fox, with a GREEN hat!", "--seed", 7).stdout == "a-fox-with-a-green-hat-7.png\n"
    assert paint("???", "--seed", 7).stdout == "picture-7.png\n"
    long = paint("狐" * 200, "--seed", 7, "-o", "long")
    assert long.exit_code == 2, "too many tokens for this model"
    assert paint("𐐀" * 4, "--seed", 7, "-o", "old", "--steps", 1).exit_code == 0
    assert paint(FOX, "--seed", 7, "--n", 2, "-o", "new/folder").exit_code == 0
    assert names(here / "new" / "folder") == ["a-fox-with-a-green-hat-7.png", "a-fox-with-a-green-hat-8.png"]
    assert paint(FOX, "--n", 3, "-o", "fox.png").stdout == "fox-1.png\nfox-2.png\nfox-3.png\n"


def test_the_prompt_is_read_from_standard_input_when_piped(paint: Limner, here: Path) -> None:
    assert paint("--seed", 1, "-o", "fox.png", input=f"{FOX}\n".encode()).exit_code == 0
    assert read_settings(here / "fox.png")["prompt"] == FOX


def test_a_word_that_the_model_has_never_seen_is_told_and_painted(paint: Limner, here: Path) -> None:
    result = paint("a zorblax", "--n", 2, "--seed", 1, "--json")
    assert result.exit_code == 0
    assert result.stderr == "The model has never seen “zorblax”; it may ignore it.\n"
    assert json.loads(result.stdout.splitlines()[0])["notes"] == [result.stderr.strip()]


def test_nothing_is_overwritten_unless_asked(paint: Limner, here: Path) -> None:
    save_png(drawing(), here / "fox-2.png", {})
    before = (here / "fox-2.png").read_bytes()
    refused(paint(FOX, "--n", 3, "-o", "fox.png"), "fox-2.png is there already, but nothing is overwritten.")
    assert names(here) == ["fox-2.png"]
    assert (here / "fox-2.png").read_bytes() == before
    assert paint(FOX, "--n", 3, "-o", "fox.png", "--force").exit_code == 0
    assert (here / "fox-2.png").read_bytes() != before


# ── from pictures ────────────────────────────────────────────────────────────────────────────────────────


def test_from_a_picture_and_within_a_mask(paint: Limner, here: Path, painter: PictureGenerator) -> None:
    save_png(drawing(), here / "start.png", {})
    save_png(left_half(), here / "mask.png", {})
    result = paint(FOX, "--seed", 1, "--from", "start.png", "--mask", "mask.png", "-o", "fox.png")
    assert result.exit_code == 0
    made = np.asarray(read_picture(here / "fox.png"))
    assert (made[:, SIDE // 2 :] == np.asarray(drawing())[:, SIDE // 2 :]).all()
    assert paint(FOX, "--seed", 1, "--from", "start.png", "--strength", 0.5, "-o", "half.png").exit_code == 0
    (expected,) = painter.generate(FOX, seed=1, steps=2, start=drawing(), strength=0.5)
    assert read_picture(here / "half.png").tobytes() == expected.image.tobytes()
    assert read_settings(here / "half.png")["from"]["path"] == "start.png"


def test_a_transparent_mask_lets_the_picture_stay(paint: Limner, here: Path) -> None:
    save_png(drawing(), here / "start.png", {})
    layer = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))
    layer.paste((255, 255, 255, 255), (0, 0, SIDE // 2, SIDE))
    layer.save(here / "layer.png")
    save_png(left_half(), here / "mask.png", {})
    for mask in ("mask", "layer"):
        done = paint(FOX, "--seed", 1, "--from", "start.png", "--mask", f"{mask}.png", "-o", f"{mask}-fox.png")
        assert done.exit_code == 0
    assert read_picture(here / "mask-fox.png").tobytes() == read_picture(here / "layer-fox.png").tobytes()
    assert paint("--again", "layer-fox.png", "-o", "again.png").stderr == ""


def test_a_larger_picture_and_its_mask_are_fitted_alike(paint: Limner, here: Path) -> None:
    big = (5 * SIDE, 3 * SIDE)
    save_png(drawing(size=big), here / "start.png", {})
    mask = Image.new("L", big, 0)
    mask.paste(255, (0, 0, big[0] // 2, big[1]))
    mask.save(here / "mask.png")
    assert paint(FOX, "--seed", 1, "--from", "start.png", "--mask", "mask.png", "-o", "fox.png").exit_code == 0
    assert paint(FOX, "--seed", 2, "--from", "start.png", "--mask", "mask.png", "-o", "other.png").exit_code == 0
    one, other = (np.asarray(read_picture(here / name)) for name in ("fox.png", "other.png"))
    assert one.shape == (SIDE, SIDE, 3)
    assert (one[:, SIDE // 2 + 1 :] == other[:, SIDE // 2 + 1 :]).all()
    assert (one[:, : SIDE // 2 - 1] != other[:, : SIDE // 2 - 1]).any()


def test_variations_of_a_picture(paint: Limner, here: Path, painter: PictureGenerator) -> None:
    paint(FOX, "--seed", 1, "-o", "fox.png")
    result = paint("--variations", "fox.png", "--seed", 10, "-o", "like")
    assert len(result.stdout.splitlines()) == 4
    made = [read_settings(line) for line in result.stdout.splitlines()]
    assert [one["prompt"] for one in made] == [FOX] * 4, "its own words, where none are given"
    assert [one["strength"] for one in made] == [0.6] * 4
    assert [one["seed"] for one in made] == [10, 11, 12, 13]
    assert paint(CAT, "--variations", "fox.png", "--n", 1, "--strength", 0.3, "-o", "cat.png").exit_code == 0
    assert read_settings(here / "cat.png")["prompt"] == CAT
    drawing().save(here / "photo.png")
    refused(paint("--variations", "photo.png"), "Say what to paint")


# ── blends ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["way.png", "way.gif", "way.webp", "way.apng"])
def test_from_one_prompt_to_another(paint: Limner, here: Path, painter: PictureGenerator, name: str) -> None:
    result = paint(FOX, "--blend", CAT, "--frames", 4, "--seed", 1, "--other-seed", 9, "-o", name, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["frames"] == 4
    frames = painter.blend(FOX, CAT, frames=4, seed=1, other_seed=9, steps=2)
    if name == "way.png":
        strip = read_picture(here / name)
        for at, frame in enumerate(frames):
            left = at * (SIDE + 2)
            assert strip.crop((left, 0, left + SIDE, SIDE)).tobytes() == frame.image.tobytes()
    else:
        with Image.open(here / name) as film:
            assert film.n_frames == 6
            assert film.size == (SIDE, SIDE)


def test_from_one_seed_to_another(paint: Limner, here: Path, painter: PictureGenerator) -> None:
    assert paint(FOX, "--other-seed", 9, "--seed", 1).stdout == "a-fox-with-a-green-hat.png\n"
    strip = read_picture(here / "a-fox-with-a-green-hat.png")
    assert strip.size == (7 * SIDE + 6 * 2, SIDE)
    (last,) = painter.generate(FOX, seed=9, steps=2)
    assert strip.crop((6 * (SIDE + 2), 0, strip.width, SIDE)).tobytes() == last.image.tobytes()


# ── again ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "arguments",
    [
        ("--sampler", "ancestral", "--negative", "snow", "--guidance", "7"),
        ("--from", "start.png"),
        ("--from", "start.png", "--mask", "mask.png", "--sampler", "heun"),
        ("--blend", CAT, "--frames", "3"),
        ("--other-seed", "77", "--frames", "3"),
        ("--dtype", "bfloat16"),
    ],
)
def test_a_picture_is_repeated_exactly(paint: Limner, here: Path, arguments: tuple[str, ...]) -> None:
    drawing(size=(40, 30)).save(here / "start.png")
    Image.new("L", (40, 30), 255).save(here / "mask.png")
    assert paint(FOX, *arguments, "--seed", 3, "-o", "fox.png").exit_code == 0
    result = paint("--again", "fox.png")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "fox-again.png\n", "")
    assert read_picture(here / "fox-again.png").tobytes() == read_picture(here / "fox.png").tobytes()
    assert read_settings(here / "fox-again.png") == read_settings(here / "fox.png")
    assert (here / "fox-again.png").read_bytes() == (here / "fox.png").read_bytes()


def test_the_model_is_found_by_what_it_was_called_and_must_be_the_same(
    limner: Limner, paint: Limner, here: Path, painter_folder: Path, painter: PictureGenerator
) -> None:
    from limner.picture.folder import save_picture_model

    painter.generate(FOX, seed=1, steps=2)[0].save(here / "python.png")
    assert limner("paint", "--again", "python.png").exit_code == 0, "by the model's own name"
    paint(FOX, "--seed", 3, "-o", "fox.png", "--model", painter_folder)
    assert limner("paint", "--again", "fox.png", "-o", "same.png").exit_code == 0
    save_picture_model(here / "other", painter.model.bfloat16(), painter.tokenizer, {"name": "other"})
    refused(
        limner("paint", "--again", "fox.png", "--model", "other"),
        "the picture was painted by tiny",
    )
    settings = read_settings(here / "fox.png") | {"opened": "gone/away", "model": "lost"}
    save_png(read_picture(here / "fox.png"), here / "lost.png", settings)
    refused(limner("paint", "--again", "lost.png"), "lost.png was painted by the model 'lost', but it is not here")
    assert limner("paint", "--again", "lost.png", "--model", "tiny").exit_code == 0


def test_pictures_that_a_picture_was_made_from_must_be_there_and_the_same(paint: Limner, here: Path) -> None:
    drawing().save(here / "start.png")
    paint(FOX, "--from", "start.png", "--seed", 3, "-o", "made/fox.png")
    (here / "start.png").rename(here / "made" / "start.png")
    assert paint("--again", "made/fox.png", "-o", "a.png").exit_code == 0, "it may lie beside the picture too"
    drawing(1).save(here / "made" / "start.png")
    refused(paint("--again", "made/fox.png"), "a picture to start from (start.png) that had other pixels")
    (here / "made" / "start.png").unlink()
    refused(paint("--again", "made/fox.png"), "painted with --from start.png, but there is no such file any more")


def test_again_takes_no_other_settings(paint: Limner, here: Path) -> None:
    paint(FOX, "--seed", 3, "-o", "fox.png")
    refused(paint("--again", "fox.png", "--steps", 9), "--steps is given beside --again")
    refused(paint(FOX, "--again", "fox.png"), "a prompt is given beside --again")
    drawing().save(here / "photo.png")
    refused(paint("--again", "photo.png"), "photo.png carries no settings of limner")
    assert names(here) == ["fox.png", "photo.png"]


def test_a_picture_that_comes_out_differently_is_told(paint: Limner, here: Path) -> None:
    """As on another machine; here, because the file's pixels were changed."""
    paint(FOX, "--seed", 3, "-o", "fox.png")
    save_png(drawing(), here / "fox.png", read_settings(here / "fox.png"))
    result = paint("--again", "fox.png")
    assert result.exit_code == 0
    assert "fox-again.png is not quite the picture of fox.png" in result.stderr


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_a_picture_that_was_cut_off_is_refused_before_it_is_painted(paint: Limner, here: Path, share: float) -> None:
    paint(FOX, "--seed", 3, "-o", "fox.png")
    data = (here / "fox.png").read_bytes()
    (here / "cut.png").write_bytes(data[: int(share * (len(data) - 12))])  # the last 12 bytes only say that it ends
    refused(paint("--again", "cut.png"), "cut.png is no picture that can be used: cannot be decoded")
    assert names(here) == ["cut.png", "fox.png"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": "many"}, "steps 'many', but"),
        ({"height": "x"}, "height 'x', but"),
        ({"guidance": None}, "guidance None, but"),
        ({"guidance": 10**400}, "guidance is beyond all floats, but it goes from 0"),
        ({"prompt": None}, "prompt None, but"),
        ({"seed": True}, "seed True, but"),
        ({"from": 3}, "from 3, but"),
        ({"blend": CAT, "frames": "x"}, "frames 'x', but"),
        ({"blend": CAT, "share": "x"}, "share 'x', but"),
        ({"blend": CAT, "share": 7}, "share 7, but"),
        ({"steps": 10**9}, "steps is 1000000000, but"),
        ({"height": SIDE + 1}, f"size is {SIDE} × {SIDE + 1}"),
    ],
    ids=str,
)
def test_settings_that_were_changed_are_refused(
    paint: Limner, here: Path, changes: dict[str, object], said: str
) -> None:
    paint(FOX, "--seed", 3, "-o", "fox.png")
    save_png(drawing(), here / "other.png", read_settings(here / "fox.png") | changes)
    refused(paint("--again", "other.png"), said)
    assert names(here) == ["fox.png", "other.png"]


# ── the filmstrip ────────────────────────────────────────────────────────────────────────────────────────


def test_a_filmstrip_that_cannot_be_written_costs_no_picture(paint: Limner, here: Path) -> None:
    (here / "taken").write_text("a file")
    result = paint(FOX, "--seed", 3, "-o", "fox.png", "--filmstrip", "taken/film.png")
    assert result.exit_code == 2
    assert result.stdout.strip() == "fox.png", "it is there, and named"
    assert "taken/film.png cannot be written: taken is no folder" in result.stderr
    assert (here / "fox.png").is_file()


def test_a_filmstrip_beside_each_picture(paint: Limner, here: Path) -> None:
    result = paint(FOX, "--n", 2, "--seed", 3, "-o", "fox.png", "--filmstrip", "film.png", "--json")
    assert [json.loads(line)["filmstrip"] for line in result.stdout.splitlines()] == ["film-1.png", "film-2.png"]
    assert names(here) == ["film-1.png", "film-2.png", "fox-1.png", "fox-2.png"]
    assert (here / "film-1.png").read_bytes() != (here / "film-2.png").read_bytes()
    assert read_settings(here / "film-1.png")["filmstrip"] == read_settings(here / "fox-1.png")
    paint(FOX, "--seed", 3, "-o", "plain.png")
    assert read_picture(here / "plain.png").tobytes() == read_picture(here / "fox-1.png").tobytes()
    refused(paint("--again", "film-1.png"), "lack")


# ── traces ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_trace_beside_each_picture(paint: Limner, here: Path, painter: PictureGenerator) -> None:
    result = paint(
        FOX, "--n", 2, "--seed", 3, "-o", "fox.png", "--trace", "way.trace", "--filmstrip", "film.png", "--json"
    )
    assert [json.loads(line)["trace"] for line in result.stdout.splitlines()] == ["way-1.trace", "way-2.trace"]
    assert len(names(here)) == 6
    for number in (1, 2):
        trace = PictureTrace.load(here / f"way-{number}.trace")
        assert trace.image.tobytes() == read_picture(here / f"fox-{number}.png").tobytes()
        assert trace.about["settings"] == read_settings(here / f"fox-{number}.png")
        plain = painter.trace(FOX, seed=2 + number, steps=2)
        for name in plain:
            np.testing.assert_array_equal(trace.arrays[name], plain.arrays[name])
    refused(paint(FOX, "-o", "other.png", "--trace", "way-1.trace"), "way-1.trace is there already")
    refused(paint("--again", "fox-1.png", "--trace", "again.trace"), "--trace is given beside --again")
    refused(paint("--again", "fox-1.png", "--report", "again.html"), "--report is given beside --again")


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((FOX, "--steps", "0"), "ConfigError: steps is 0, but a picture takes 1 to 1,000. 25 is usual."),
        ((FOX, "--steps", "10000"), "ConfigError: steps is 10000"),
        ((FOX, "--guidance", "-1"), "ConfigError: guidance is -1, but it goes from 0 (no prompt) over 1"),
        ((FOX, "--guidance", "101"), "ConfigError: guidance is 101"),
        ((FOX, "--guidance", "0", "--filmstrip", "f.png"), "--filmstrip is given beside --guidance 0, but then no word"),
        ((FOX, "--guidance", "0", "--trace", "f.trace"), "--trace is given beside --guidance 0, but then no word"),
        ((FOX, "--blend", CAT, "--trace", "f.trace"), "ConfigError: --trace is given beside --blend"),
        ((FOX, "--trace", "f.png"), "ConfigError: --trace is f.png, but a trace is its own kind of file"),
        ((FOX, "--guidance", "0", "--report", "f.html"), "--report is given beside --guidance 0, but then no word"),
        ((FOX, "--report", "f.png"), "ConfigError: --report is f.png, but it is a page for a browser"),
        ((FOX, "--guidance", "nan"), "ConfigError: guidance is nan"),
        ((FOX, "--size", "17x16"), "multiples of 4: 4 to 32 wide and 4 to 32 high. It is best at 16 × 16."),
        ((FOX, "--size", "4000"), "ConfigError: size is 4000 × 4000"),
        ((FOX, "--size", "big"), "ConfigError: --size is 'big'"),
        ((FOX, "--n", "0"), "ConfigError: n is 0"),
        ((FOX, "--n", "1000000000"), "ConfigError: n is 1,000,000,000"),
        ((FOX, "--seed", str(2**70)), "ConfigError: seed is"),
        ((FOX, "--strength", "0.5"), "ConfigError: strength is 0.5, but there is no picture to start from"),
        ((FOX, "--mask", "mask.png"), "ConfigError: --mask is given without --from"),
        ((FOX, "--frames", "3"), "ConfigError: --frames is given without --blend"),
        ((FOX, "--blend", " "), "ConfigError: --blend is empty"),
        (("--variations", "missing.png"), "DataError: missing.png cannot be read"),
        ((FOX, "--blend", CAT, "--frames", "1"), "ConfigError: frames is 1"),
        ((FOX, "--blend", CAT, "--from", "start.png"), "ConfigError: --from is given beside --blend"),
        ((FOX, "--blend", CAT, "--strength", "0.5"), "ConfigError: --strength is given beside --blend"),
        ((FOX, "--variations", "start.png", "--mask", "mask.png"), "ConfigError: --mask is given beside --variations"),
        ((FOX, "--blend", CAT, "--filmstrip", "f.png"), "ConfigError: --filmstrip is given beside --blend"),
        ((FOX, "--variations", "start.png", "--from", "start.png"), "ConfigError: --from is given beside --variations"),
        ((FOX, "-o", "fox.jpg"), "ConfigError: -o is fox.jpg"),
        ((FOX, "--blend", CAT, "-o", "fox.mp4"), "ConfigError: -o is fox.mp4"),
        ((FOX, "-o", "fox.png", "--filmstrip", "fox.png"), "ConfigError: --filmstrip is fox.png, but the picture goes there"),
        ((FOX, "--filmstrip", "film.jpg"), "ConfigError: --filmstrip is film.jpg"),
        (("",), "DataError: the prompt is empty, but a picture"),
        (("  \n ",), "DataError: the prompt is nothing but white space"),
        ((), "DataError: the prompt is empty, but a picture"),
        (("zorblax " * 30,), f"tokens, but this model reads {LONGEST}"),
        ((FOX, "--from", "notes.txt"), "DataError: notes.txt is no picture that can be used"),
        ((FOX, "--from", "nothing.png"), "DataError: nothing.png is no picture that can be used: the file is empty."),
        ((FOX, "--from", "missing.png"), "DataError: missing.png cannot be read: No such file or directory"),
        ((FOX, "--from", "bomb.png"), "DataError: bomb.png is no picture that can be used: 60,000 × 60,000 pixels"),
        ((FOX, "--from", "start.png", "--mask", "small.png"), "small.png is 5 × 7 (width × height), but start.png is 16 × 16"),
        ((FOX, "--from", "start.png", "--mask", "black.png"), "DataError: the mask is black everywhere"),
        ((FOX, "--model", "nobody"), "WeightsError: the model is 'nobody'"),
        ((FOX, "--device", "gpu"), "ConfigError: device is 'gpu'"),
        ((FOX, "--dtype", "int8"), "ConfigError: dtype is 'int8'"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_one_sentence(paint: Limner, here: Path, arguments: tuple[str, ...], said: str) -> None:
    (here / "notes.txt").write_text("a fox")
    (here / "nothing.png").touch()
    (here / "bomb.png").write_bytes(bomb(60_000))
    drawing().save(here / "start.png")
    drawing(size=(5, 7)).save(here / "small.png")
    Image.new("L", (SIDE, SIDE)).save(here / "black.png")
    before = names(here)
    refused(paint(*arguments), said)
    assert names(here) == before


def test_from_no_guidance_to_very_much(paint: Limner, here: Path) -> None:
    none = paint(FOX, "--guidance", 0, "--seed", 1, "-o", "none.png")
    assert (none.exit_code, none.stdout) == (0, "none.png\n")
    assert none.stderr == "With guidance 0 the prompt has no part in the picture; 1 is the prompt plainly.\n"
    paint(CAT, "--guidance", 0, "--seed", 1, "-o", "cat.png")
    assert read_picture(here / "cat.png").tobytes() == read_picture(here / "none.png").tobytes()
    snow = paint(FOX, "--guidance", 0, "--negative", "snow", "--seed", 1, "-o", "snow.png")
    assert snow.exit_code == 0
    assert read_picture(here / "snow.png").tobytes() != read_picture(here / "none.png").tobytes()
    for guidance in (50, 100):
        assert paint(FOX, "--guidance", guidance, "--seed", 1, "-o", f"{guidance}.png").exit_code == 0
    assert read_picture(here / "50.png").getextrema() != ((0, 0),) * 3, "not black, as no numbers would be"


def test_without_a_bundled_model_it_says_how_to_come_by_one(limner: Limner, monkeypatch: pytest.MonkeyPatch) -> None:
    from limner import models

    monkeypatch.setattr(models, "BUNDLED", Path("nowhere"))
    refused(limner("paint", FOX), "Train one of your own with `limner train picture`")


def test_models_for_texts_do_not_paint_nor_do_painters_write(limner: Limner) -> None:
    refused(limner("paint", FOX, "--model", "story"), "the model is 'story', but that is for texts (`limner write`)")
    refused(
        limner("write", "A fox", "--model", "tiny"), "the model is 'tiny', but that makes pictures (`limner paint`)"
    )


FULL = """
import resource, sys, tempfile
from limner.cli.app import app
tempfile.tempdir = {spare!r}
resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))  # stands for a full disk: the writing fails in the middle
sys.argv = ["limner", *{arguments!r}]
app()
"""


def test_a_full_disk_loses_nothing(painter_folder: Path, here: Path) -> None:
    arguments = ["paint", FOX, "--model", str(painter_folder), "--steps", "2", "--seed", "41", "-o", "fox.png"]
    code = FULL.format(spare=str(here), arguments=arguments)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=here)
    assert done.returncode == 2
    assert done.stderr == (
        "DataError: fox.png cannot be written: File too large. Make room or choose another place. "
        "--seed 41 paints it again.\n"
    )
    assert done.stdout == ""
    assert not list(here.glob("*.png"))
    assert not list(here.glob(".*unfinished"))


def test_a_picture_that_cannot_be_written_there_goes_elsewhere(
    paint: Limner, here: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    spare = tmp_path_factory.mktemp("spare")
    monkeypatch.setattr(tempfile, "tempdir", str(spare))
    (here / "file").write_text("")
    result = paint(FOX, "--seed", 3, "-o", "file/fox.png")
    refused(result, "file/fox.png cannot be written: ")
    (saved,) = spare.rglob("fox.png")
    assert f"For now it is in {saved}." in result.stderr
    assert read_settings(saved)["seed"] == 3


# ── the terminal ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "size"), [("64", (64, 64)), ("96x64", (64, 96)), (" 96X64 ", (64, 96)), ("8×4", (4, 8))]
)
def test_sizes_are_width_by_height(text: str, size: tuple[int, int]) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "64x", "x64", "-4", "6.5", "64x64x64", "1e3"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="WIDTHxHEIGHT"):
        read_size(text)


def test_half_blocks_have_a_colour_for_each_pixel() -> None:
    image = drawing(size=(3, 4))
    console = Console(force_terminal=True, color_system="truecolor", width=20, no_color=False, _environ={})
    with console.capture() as capture:
        console.print(HalfBlocks(image))
    lines = capture.get().splitlines()
    assert len(lines) == 2
    assert [line.count("▀") for line in lines] == [3, 3]
    for x, y in ((0, 0), (2, 3)):
        ground = 48 if y % 2 else 38
        assert f"{ground};2;{';'.join(map(str, image.getpixel((x, y))))}" in lines[y // 2]


def test_a_preview_fits_into_the_terminal() -> None:
    assert shrunk(drawing(size=(64, 64)), 64, 32).size == (64, 64)
    assert shrunk(drawing(size=(64, 64)), 64, 20).size == (40, 40)
    assert shrunk(drawing(size=(256, 128)), 64, 40).size == (64, 32)
    assert shrunk(drawing(size=(300, 2)), 10, 40).size == (10, 2)


def test_pictures_are_shown_only_where_they_can_be() -> None:
    def console(**values: object) -> Console:
        settings: dict[str, object] = {"force_terminal": True, "color_system": "truecolor", "height": 30, "width": 80}
        return Console(**(settings | {"_environ": {}} | values))  # type: ignore[arg-type]

    assert can_show(console())
    assert not can_show(console(color_system="standard"))
    assert not can_show(console(force_terminal=False))
    assert not can_show(console(no_color=True))
    assert not can_show(console(height=5))


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")
@pytest.mark.parametrize("shown", [True, False])
def test_a_terminal_sees_bar_and_preview_and_a_pipe_the_file_names(
    painter_folder: Path, here: Path, shown: bool
) -> None:
    import pty

    master, slave = pty.openpty()
    environment = {**os.environ, "COLORTERM": "truecolor", "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "40"}
    environment.pop("NO_COLOR", None)
    command = [
        sys.executable, "-m", "limner", "paint", FOX, "--model", str(painter_folder), "--steps", "3", "--n", "2",
        "-o", "fox.png", *([] if shown else ["--no-preview"]),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=slave, cwd=here, env=environment)
    os.close(slave)
    screen = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        screen += part
    os.close(master)
    assert process.stdout is not None
    with process.stdout as pipe:
        assert pipe.read() == b"fox-1.png\nfox-2.png\n"
    assert process.wait() == 0
    assert b"pictures 1 to 2 of 2, step 3 of 3" in screen
    assert ("▀".encode() in screen) is shown
