"""What goes wrong while picture models are trained, measured and opened: one sentence, exit code 2, nothing lost.

What `limner paint` is asked for is in test_paint.py, the autoencoder in test_train_pictures.py.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from limner.picture.images import read_settings
from limner.tokens import Tokenizer
from limner.weights.files import file_digest
from tests.cli.test_mishaps import everything, limner, refused, spoil

SETTINGS = (
    "dim=32", "num_layers=1", "num_heads=2", "sample_steps=2", "evaluate_pictures=8", "batch_size=8", "threads=1",
    "precision=float32", "compile=off", "evaluations=2", "checkpoints=4", "keep=4",
)  # fmt: skip
QUICK = [word for value in SETTINGS for word in ("--set", value)]


def picture(seed: int, size: tuple[int, int] = (20, 20)) -> Image.Image:
    chance = random.Random(seed)
    image = Image.new("RGB", size, tuple(chance.randrange(256) for _ in range(3)))
    image.paste(
        tuple(chance.randrange(256) for _ in range(3)), (size[0] // 4, size[1] // 4, size[0] // 2, size[1] // 2)
    )
    return image


def bomb(side: int) -> bytes:
    """A PNG whose header promises side² pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 good pictures, one of them 30,000 pixels wide, and four that are none."""
    folder = tmp_path_factory.mktemp("data") / "album"
    folder.mkdir()
    for number in range(39):
        picture(number).save(folder / f"{number}.jpg")
        (folder / f"{number}.txt").write_text(f"a fox with hat {number % 7} in the snow")
    picture(39, (30_000, 20)).save(folder / "wide.png")
    (folder / "wide.txt").write_text("a very wide fox")
    (folder / "broken.jpg").write_bytes((folder / "3.jpg").read_bytes()[:200])
    (folder / "bomb.png").write_bytes(bomb(60_000))
    for name in ("broken", "bomb", "alone"):
        (folder / f"{name}.txt").write_text("a fox")
    picture(40).save(folder / "silent.png")
    return folder


@pytest.fixture(scope="module")
def trained(album: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 4 steps with checkpoints of all of them."""
    run = tmp_path_factory.mktemp("runs") / "run"
    done = limner("train", "picture", "--data", album, "--pixels", 16, "--steps", 4, "--out", run, *QUICK)
    assert done.exit_code == 0, done.output
    (run.parent / "said.txt").write_text(done.stderr)
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """One that may be spoilt."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ── data ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_cannot_be_read_is_skipped_and_counted(trained: Path) -> None:
    said = (trained.parent / "said.txt").read_text()
    assert "40 pictures with 40 captions" in said
    assert "38 pictures to train on, 2 held back" in said
    for told in ("bomb.png", "60,000 × 60,000 pixels", "broken.jpg", "silent.png", "alone.txt"):
        assert told in said
    samples = sorted((trained / "samples").iterdir())
    assert samples, "held-back captions are painted as it learns"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere", "nowhere does not exist"),
        ("empty", "the data has 0 readable pictures with captions (no files)"),
        ("silent", "the data has 0 readable pictures with captions (2 no caption)"),
        ("blind", "the data has 0 readable pictures with captions (2 no picture)"),
        ("broken", "the data has 0 readable pictures with captions (1 broken picture)"),
    ],
)
def test_nothing_to_learn_from(here: Path, name: str, says: str) -> None:
    for folder in ("empty", "silent", "blind", "broken"):
        (here / folder).mkdir()
    for number in range(2):
        picture(number).save(here / "silent" / f"{number}.png")
        (here / "blind" / f"{number}.txt").write_text("a fox")
    (here / "broken" / "1.png").write_bytes(bomb(20)[:60])
    (here / "broken" / "1.txt").write_text("a fox")
    refused("train", "picture", "--data", name, "--steps", 1, "--out", "out", says=says)
    assert not (here / "out").exists()


# ── what is asked ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--pixels", 16], "the drawings are to be 16 pixels a side, but are drawn from 32 to 1024"),
        (["--pixels", 0], "pixels is 0"),
        (["--steps", 0], "steps is 0"),
        (["--size", "5Q"], "size is '5Q'"),
        (["--seed", -1], "seed is -1"),
        (["--seed", 2**64], f"seed is {2**64}"),
        (["--buckets", 3], "--buckets is 3 beside drawings"),
        (["--validation", 0.5], "Write --set drawn.validation=COUNT."),
        (["--captions", "folder"], "--captions is folder beside drawings"),
        (["--column", "text"], "--column is text beside drawings"),
        (["--set", "drawn.cuont=3"], "Did you mean 'count'?"),
        (["--set", "dranw.count=3"], "Did you mean 'drawn.count'?"),
        (["--set", "btach_size=3"], "Did you mean 'batch_size'?"),
        (["--set", "batch_size"], "must look like name=value"),
        (["--set", "drawn.validation=0"], "drawn.validation is 0, but it must be at least 1"),
        (["--set", "drawn.two=3"], "drawn.two is 3, but it is a share"),
        (["--set", "guidance=900"], "guidance is 900"),
        (["--set", "sample_steps=9000"], "sample_steps is 9,000"),
        (["--set", "time_deviation=-2"], "the deviation of the times is -2"),
        (["--set", "min_snr=0"], "min_snr is 0"),
        (["--set", "shift=-1"], "shift is -1"),
        (["--set", "patch=-4"], "patch is -4"),
        (["--set", "dim=-32"], "dim is -32"),
        (["--set", "predict=xx"], "Did you mean 'x'?"),
        (["--autoencoder", "nowhere"], "nowhere is no folder"),
        (["--out", "file"], "the run folder is file, which is a file"),
        (["--out", "file/run"], "file is a file. Choose another with --out."),
    ],
    ids=str,
)  # fmt: skip
def test_a_run_that_cannot_be_is_refused_before_anything_is_drawn(here: Path, words: list[Any], says: str) -> None:
    (here / "file").write_text("")
    given = {"--drawings": 8, "--pixels": 32, "--steps": 1, "--out": "out", "--cache": "cache"}
    rest = [word for name, value in given.items() if name not in words for word in (name, value)]
    refused("train", "picture", *rest, *words, says=says)
    assert sorted(path.name for path in here.iterdir()) == ["file"]


def test_prompts_are_as_long_as_the_model_reads(album: Path, here: Path) -> None:
    """Captions held back may be longer than those learned from; what a person gives is refused before training."""
    words = ["train", "picture", "--data", album, "--pixels", 16, "--steps", 1, *QUICK]
    said = refused(*words, "--prompt", "zorblax " * 30, "--out", "long", says="tokens, but this model is to read")
    assert "context_length=" in said
    assert not (here / "long").exists()
    done = limner(*words, "--set", "context_length=2", "--out", "short")
    assert done.exit_code == 0, done.output
    assert json.loads((here / "short" / "run.json").read_text())["plan"]["prompts"] == []
    assert "painted to nearest" not in done.stderr, "there is no caption that it could read"
    assert 'limner paint "a picture"' in done.stderr


# ── the run ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_killed_and_resumed_is_as_never_killed(album: Path, trained: Path, tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from limner.cli.app import main\n"
        "from limner.train.checkpoint import CheckpointFolder\n"
        "save = CheckpointFolder.save\n"
        "def fatal(self, step, *rest):\n"
        "    path = save(self, step, *rest)\n"
        "    return os.kill(os.getpid(), signal.SIGKILL) if step == 2 else path\n"
        "CheckpointFolder.save = fatal\n"
        "sys.argv = ['limner', *sys.argv[1:]]\n"
        "main()"
    )
    out = tmp_path / "out"
    words = ["train", "picture", "--data", album, "--pixels", 16, "--steps", 4, "--out", out, *QUICK]
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    again = limner("train", "picture", "--resume", out)
    assert again.exit_code == 0, again.output
    assert everything(out / "model")["model.safetensors"] == everything(trained / "model")["model.safetensors"]


def test_a_damaged_checkpoint_is_passed_over(run: Path) -> None:
    spoil(run / "checkpoints" / "step-00000004" / "state.safetensors")
    done = limner("train", "picture", "--resume", run, "--steps", 5)
    assert done.exit_code == 0, done.output
    assert "Going back to the one before." in done.stderr


def test_a_full_disk_while_saving(run: Path) -> None:
    """A limit on the size of files, which the system answers as it does a full disk, in a process of its own."""
    before = everything(run)
    code = (
        "import resource, sys; from limner.cli.app import main; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)); "
        f"sys.argv = ['limner', 'train', 'picture', '--resume', {str(run)!r}, '--steps', '6']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "cannot be written: File too large" in done.stderr.splitlines()[-1]
    after = everything(run)
    kept = [
        name for name in before if name.startswith(("model/", "checkpoints/step-00000004/"))
    ]  # older ones make room
    assert len(kept) == 6
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert limner("train", "picture", "--resume", run).exit_code == 0
    assert (run / "checkpoints" / "step-00000006").is_dir()


def test_what_cannot_change_any_more(run: Path) -> None:
    before = everything(run)
    for words, says in (
        (["--pixels", 32], "--pixels is given beside --resume"),
        (["--set", "dim=64"], "--set dim is given beside --resume"),
        (["--steps", 3], "steps is 3, but the run has done 4 already"),
        (["--set", "stepps=9"], "Did you mean 'steps'?"),
    ):
        refused("train", "picture", "--resume", run, *words, says=says)
    refused("train", "picture", "--resume", run / "model", says="has no run.json")
    assert everything(run) == before


# ── models ──────────────────────────────────────────────────────────────────────────────────────────────────


def paint(run: Path, *words: object) -> Any:
    return limner("paint", "a fox in the snow", "--steps", 1, "--model", run, *words)


def describe(folder: Path, **changes: object) -> None:
    """Change a model's config.json; the keys are paths with two underscores for each step down."""
    values = json.loads((folder / "config.json").read_text())
    for path, value in changes.items():
        *above, last = path.split("__")
        place = values
        for name in above:
            place = place[name]
        place[last] = value
    (folder / "config.json").write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"picture__size": [16]}, "size is [16], but it is a height and a width"),
        ({"picture__size": []}, "size is [], but"),
        ({"picture__size": [16, 16, 16]}, "size is [16, 16, 16], but"),
        ({"picture__size": [-16, 16]}, "size is [-16, 16], but"),
        ({"picture__size": "16"}, "picture.size is '16'"),
        ({"picture__sise": [16, 16]}, "Did you mean 'size'?"),
        ({"picture": [1]}, "has a picture that is [1], but an object is needed"),
        ({"card": "mine"}, "has a card that is 'mine', but an object is needed"),
        ({"picture__denoiser__patch": 4}, "weights must fit the description"),
        ({"version": 99}, "has version 99"),
        ({"sha256": "0" * 64}, "has checksum"),
    ],
    ids=str,
)
def test_a_description_that_cannot_be(run: Path, here: Path, changes: dict[str, object], says: str) -> None:
    describe(run / "model", **changes)
    refused("paint", "a fox", "--model", run, says=says)
    assert limner("models", run).exit_code == 0, "a list shows also what cannot be opened"
    assert [path.name for path in here.iterdir()] == ["run"]


def test_words_that_are_none_cost_only_the_note(run: Path, here: Path) -> None:
    assert "“zorblax”" in paint(run, "--negative", "zorblax").stderr
    describe(run / "model", card__words=5)
    done = paint(run, "--negative", "zorblax")
    assert (done.exit_code, done.stderr) == (0, "")


def test_files_of_a_model_that_are_missing_or_cut_off(run: Path, here: Path) -> None:
    model = run / "model"
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        content = (model / name).read_bytes()
        for damage in (content[:1000], b"", None):
            (model / name).unlink() if damage is None else (model / name).write_bytes(damage)
            done = paint(run)
            assert done.exit_code == 2, (name, done.output)
            assert name in done.stderr
            assert "Traceback" not in done.output
        (model / name).write_bytes(content)
    assert paint(run).exit_code == 0


def test_a_model_is_found_where_a_killed_process_left_it(run: Path, here: Path) -> None:
    (run / "model").rename(run / ".model.previous")
    assert paint(run).exit_code == 0
    done = limner("eval", "picture", run, "--pictures", 6)
    assert "pictures is 6" in done.stderr, "it was opened"


def test_painting_while_the_training_saves_a_better_model(
    run: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is exchanged after the description was read: what is painted is the new model's."""
    from limner.picture import folder

    better = folder.load_picture_model(run / "model")
    tokenizer = Tokenizer.load(run / "model")
    with torch.no_grad():
        better.model.denoiser.output.bias += 0.5
    read, times = folder.read_config, 0

    def exchange(path: Path) -> dict[str, Any]:
        nonlocal times
        values, times = read(path), times + 1
        if times == 1:
            folder.save_picture_model(run / "model", better.model, tokenizer, {"name": "better"})
        return values

    monkeypatch.setattr(folder, "read_config", exchange)
    assert paint(run, "-o", "fox.png").exit_code == 0
    assert read_settings(here / "fox.png")["sha256"] == file_digest(run / "model" / "model.safetensors")
    assert read_settings(here / "fox.png")["model"] == "better"


def test_again_with_a_model_that_has_learned_more(run: Path, here: Path) -> None:
    assert paint(run, "-o", "fox.png").exit_code == 0
    assert limner("train", "picture", "--resume", run, "--steps", 5, "--set", "learning_rate=0.1").exit_code == 0
    refused("paint", "--again", "fox.png", says="the picture was painted by run with weights")
    assert read_settings(here / "fox.png")["steps"] == 1
    assert not (here / "fox-again.png").exists()


# ── measuring and drawing ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--pictures", 0], "pictures is 0"),
        (["--pictures", 10**9], "pictures is 1,000,000,000"),
        (["--seed", 10**6], "seed 1000000, but at most"),
        (["--steps", 0], "steps is 0, but a picture takes 1 to 1,000"),
        (["--guidance", 500], "guidance is 500"),
        (["--threads", 0], "threads is 0"),
        (["--out", "."], "out is '.', but a sheet is written as PNG"),
        (["--out", "sheet.jpg"], "out is 'sheet.jpg', but a sheet is written as PNG"),
        (["--out", "nowhere/sheet.png"], "there is no such folder to write into"),
    ],
    ids=str,
)
def test_what_cannot_be_measured(trained: Path, here: Path, words: list[Any], says: str) -> None:
    refused("eval", "picture", trained, *words, says=says)
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["photo.png", "--show"], "photo.png is there already, but nothing is overwritten"),
        (["sheet", "--show"], "sheet is to be a sheet, but that is written as PNG"),
        (["sheet.png", "--show", "--count", 10**6], "count is 1,000,000, but a sheet shows at most 1,000"),
        (["sheet.png", "--show", "--masks"], "--masks is given beside --show"),
        (["sheet.png", "--show", "--format", "parquet"], "--format is given beside --show"),
        (["album"], "album is there already"),
        (["photo.png/album"], "album cannot be made"),
    ],
    ids=str,
)
def test_drawings_replace_nothing(here: Path, words: list[Any], says: str) -> None:
    picture(0).save(here / "photo.png")
    (here / "album").mkdir()
    (here / "album" / "mine.txt").write_text("mine")
    before = everything(here)
    refused("data", "picturebook", *words, says=says)
    assert everything(here) == before
