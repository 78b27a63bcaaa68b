"""``limner cache``: what is kept is listed and removed, and nothing else is touched."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.data import PictureSetWriter, TokenizerPlan, prepare_corpus, prepare_pictures
from limner.data.cache import building, list_kept
from limner.picture.autoencoder import Autoencoder, AutoencoderConfig
from limner.picture.latents import latent_set
from limner.picture.world.prepare import DrawnPlan, prepare_drawn
from tests.cli.test_shell import invoke

DAY = 86_400


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's cache with a corpus, drawings with latents, and what somebody else put there."""
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path))
    text(tmp_path)
    prepare_drawn(DrawnPlan(count=2, size=32, validation=1), tmp_path / "pictures", workers=1)
    (drawn,) = (tmp_path / "pictures").iterdir()
    (drawn / "train" / "latents-01").mkdir()
    (drawn / "train" / "latents-01" / "bucket-8x8.bin").write_bytes(bytes(1000))
    (tmp_path / "native").mkdir()
    (tmp_path / "native" / "decode-1.so").write_bytes(bytes(10))
    for other in ("corpora/letters", "pictures/0123456789abcdef0123"):
        (tmp_path / other).mkdir()
        (tmp_path / other / "manifest.json").write_text("{}")
    return tmp_path


def text(cache: Path) -> bool:
    """Prepare a little text, or find it; whether it was found."""
    (cache / "fox.txt").write_text("The quick fox sat on the wall. " * 40)
    plan = TokenizerPlan("byte-bpe", 280)
    return prepare_corpus([cache / "fox.txt"], tokenizer=plan, cache=cache / "corpora", validation=0.1).reused


def listed(*arguments: str) -> dict[str, int]:
    kept = json.loads(invoke("cache", *arguments, "--json").out)["kept"]
    return {one["what"]: one["bytes"] for one in kept}


def test_what_is_kept_is_listed_with_its_size(cache: Path) -> None:
    sizes = listed()
    assert set(sizes) == {"text", "pictures", "latents", "routine"}
    assert (sizes["latents"], sizes["routine"]) == (1000, 10)
    assert sizes["pictures"] > 3 * 32 * 32 * 4, "pixels and parts of three drawings, without their latents"
    shown = invoke("cache")
    assert "latents-01" in shown.out
    assert "letters" not in shown.out
    assert "4 things" in shown.err
    assert set(listed(str(cache / "corpora"))) == {"text"}


def test_clearing_removes_what_is_listed_and_nothing_else(cache: Path) -> None:
    (corpus,) = (path for path in (cache / "corpora").iterdir() if path.name != "letters")
    old = time.time() - 40 * DAY
    os.utime(corpus, (old, old))
    assert set(listed("--unused", "30")) == {"text"}
    assert "Removed 1 thing" in invoke("cache", "--unused", "30", "--clear").err
    assert not corpus.exists()
    assert set(listed()) == {"pictures", "latents", "routine"}
    assert "Removed 3 things" in invoke("cache", "--clear").err
    assert sorted(path.name for path in cache.rglob("*") if path.is_file()) == [
        "fox.txt",
        "manifest.json",
        "manifest.json",
    ]
    assert "Nothing is kept" in invoke("cache").err
    assert not text(cache), "it is made again"


def test_finding_something_counts_as_using_it(cache: Path) -> None:
    for folder in [*(cache / "corpora").iterdir(), *(cache / "pictures").iterdir()]:
        os.utime(folder, (0, 0))
    assert set(listed("--unused", "1")) == {"text", "pictures"}
    assert text(cache)
    assert set(listed("--unused", "1")) == {"pictures"}
    prepare_drawn(DrawnPlan(count=2, size=32, validation=1), cache / "pictures", workers=1)
    assert listed("--unused", "1") == {}


def test_so_does_finding_a_persons_pictures_and_their_latents(tmp_path: Path) -> None:
    coder = Autoencoder(AutoencoderConfig(latent_channels=2, factor=4, width=8, multipliers=(1,)))
    (tmp_path / "mine").mkdir()
    for number in range(3):
        Image.new("RGB", (16, 16), (number * 80, 0, 0)).save(tmp_path / "mine" / f"{number}.png")

    def prepare() -> None:
        ready = prepare_pictures(
            [tmp_path / "mine"], size=16, cache=tmp_path / "cache", captions="none", validation=0.3, workers=1
        )
        latent_set(ready.train, coder)

    prepare()
    assert set(listed(str(tmp_path / "cache"))) == {"pictures", "latents"}
    for one in list_kept(tmp_path / "cache"):
        os.utime(one.path, (0, 0))
    assert set(listed(str(tmp_path / "cache"), "--unused", "1")) == {"pictures", "latents"}
    prepare()
    assert listed(str(tmp_path / "cache"), "--unused", "1") == {}


def test_what_somebody_builds_on_is_left_and_all_else_removed(cache: Path) -> None:
    (drawn,) = (path.parent for path in cache.glob("pictures/*/train"))
    with building(drawn / "train" / "latents-02", lambda _: True, "the latents are") as temporary:
        (temporary / "bucket-8x8.bin").write_bytes(b"half")
        refused = invoke("cache", "--clear", "--json")
        assert refused.code == 2
        assert f"{drawn} is in use: something is being made in it. Wait until that is done." in refused.err
        assert {one["what"] for one in json.loads(refused.out)["removed"]} == {"text", "latents", "routine"}
    assert (drawn / "train" / "latents-02" / "bucket-8x8.bin").read_bytes() == b"half"
    assert set(listed()) == {"pictures", "latents"}


def test_what_a_killed_process_left_is_listed_and_removed(cache: Path) -> None:
    for name, mark in (("dead", "lock"), ("just-begun", "unlocked")):
        (cache / "corpora" / f".building-{name}").mkdir()
        (cache / "corpora" / f".building-{name}" / mark).write_bytes(bytes(50))
    assert listed()["unfinished"] == 50
    assert "Removed 5 things" in invoke("cache", "--clear").err
    assert [path.name for path in (cache / "corpora").glob(".building-*")] == [".building-just-begun"]


def test_a_cache_may_be_named_whole(cache: Path) -> None:
    assert listed(str(cache)) == listed()


def test_what_vanishes_while_it_is_looked_at_is_passed_over(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: [*there(self, pattern), self / "gone"])
    assert set(listed()) == {"text", "pictures", "latents", "routine"}


def test_sets_that_a_person_wrote_are_not_the_caches(tmp_path: Path) -> None:
    with PictureSetWriter(tmp_path / "mine" / "train", [(8, 8)]) as writer:
        writer.add(0, np.zeros((8, 8, 3), np.uint8), ["a fox"])
    assert "Nothing of limner's" in invoke("cache", str(tmp_path), "--clear").err
    assert (tmp_path / "mine" / "train" / "pictures.json").is_file()


def test_what_is_no_folder_or_cannot_be_removed_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = invoke("cache", "nowhere")
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)
    assert "nowhere is no folder" in wrong.err

    def refuse(path: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as locked:
        locked.setattr(Path, "rename", refuse)
        refused = invoke("cache", "--clear")
    assert (refused.code, refused.err.count("\n")) == (2, 2)
    assert "Removed 1 thing" in refused.err, "the routine, which is a file and takes no renaming"
    assert "cannot be removed (Permission denied)" in refused.err
    assert "Nor could 2 more." in refused.err
    assert {"text", "pictures"} <= set(listed()), "nothing lost"
