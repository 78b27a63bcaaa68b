from __future__ import annotations

import errno
import io
import json
import multiprocessing
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from limner.core.errors import ConfigError, DataError, ShapeError
from limner.data import PictureBatches, PictureData, PictureSet, PictureSetWriter, pixels, prepare_pictures
from limner.data import picture_shards as module
from limner.data.split import digest, held_back

CAPTION = st.text(st.characters(exclude_categories=("Cs",)))


def png(number: int, size: tuple[int, int] = (12, 12)) -> bytes:
    pixels_ = np.random.default_rng(number).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels_).save(out, "PNG")
    return out.getvalue()


def fill(folder: Path, count: int, size: tuple[int, int] = (12, 12), first: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(first, first + count):
        (folder / f"{number:04}.png").write_bytes(png(number, size))
        (folder / f"{number:04}.txt").write_text(f"number {number}")
    return folder


def prepare(tmp_path: Path, *paths: Path, **options: Any) -> PictureData:
    return prepare_pictures(paths or [tmp_path / "data"], **({"size": 8, "cache": tmp_path / "cache"} | options))


def names(pictures: PictureSet) -> list[str]:
    return [pictures.captions(number)[0] for number in range(len(pictures))]


class TestSet:
    @settings(max_examples=40, deadline=None)
    @given(
        added=st.lists(st.tuples(st.integers(0, 2), st.lists(CAPTION, min_size=1, max_size=4)), max_size=20),
        seed=st.integers(0, 99),
    )
    def test_what_is_written_is_read(
        self, tmp_path_factory: pytest.TempPathFactory, added: list[tuple[int, list[str]]], seed: int
    ) -> None:
        folder = tmp_path_factory.mktemp("set") / "new"
        random = np.random.default_rng(seed)
        shapes = [(4, 4), (2, 8), (8, 2)]
        arrays = [random.integers(0, 255, (*shapes[bucket], 3), dtype=np.uint8) for bucket, _ in added]
        with PictureSetWriter(folder, shapes) as writer:
            for (bucket, captions), array in zip(added, arrays, strict=True):
                writer.add(bucket, array, captions)
        pictures = PictureSet.open(folder)
        assert len(pictures) == len(writer) == len(added)
        assert pictures.buckets == tuple(shapes)
        assert pictures.num_captions == sum(len(captions) for _, captions in added)
        for number, ((bucket, captions), array) in enumerate(zip(added, arrays, strict=True)):
            found, texts = pictures.picture(number)
            assert np.array_equal(found, array)
            assert texts == pictures.captions(number) == tuple(captions)
            assert pictures.num_captions_of(number) == len(captions)
            assert [pictures.caption(number, choice) for choice in range(len(captions))] == captions
            assert number in pictures.numbers[bucket]
        for bucket, (numbers, stored) in enumerate(zip(pictures.numbers, pictures.arrays, strict=True)):
            assert stored.shape == (len(numbers), *shapes[bucket], 3)
            for place, number in enumerate(numbers.tolist()):
                assert np.array_equal(stored[place], arrays[number])
        if added:
            assert pictures.captions(-1) == pictures.captions(len(added) - 1)
        with pytest.raises(IndexError):
            pictures.captions(len(added))

    def test_pictures_that_do_not_fit(self, tmp_path: Path) -> None:
        writer = PictureSetWriter(tmp_path, [(4, 6)])
        with pytest.raises(
            ShapeError, match=r"uint8 of shape \(6, 4, 3\), but bucket 0 takes uint8 of shape \(4, 6, 3\)"
        ):
            writer.add(0, np.zeros((6, 4, 3), np.uint8), ["x"])
        with pytest.raises(ShapeError, match="float64"):
            writer.add(0, np.zeros((4, 6, 3)), ["x"])
        with pytest.raises(DataError, match="has 0 captions"):
            writer.add(0, np.zeros((4, 6, 3), np.uint8), [])
        writer.close()
        for buckets in ([], [(4, 4), (4, 4)], [(0, 4)]):
            with pytest.raises(ConfigError, match="buckets is"):
                PictureSetWriter(tmp_path, buckets)

    def test_parts_come_with_all_pictures_or_none(self, tmp_path: Path) -> None:
        shapes = [(4, 6), (2, 2)]
        random = np.random.default_rng(0)
        with PictureSetWriter(tmp_path, shapes, parts=True) as writer:
            known = [random.integers(0, 5, shapes[bucket], dtype=np.uint8) for bucket in (1, 0, 1)]
            for bucket, parts in zip((1, 0, 1), known, strict=True):
                writer.add(bucket, np.zeros((*shapes[bucket], 3), np.uint8), ["x"], parts)
            with pytest.raises(ShapeError, match="without parts, but this set has them"):
                writer.add(0, np.zeros((4, 6, 3), np.uint8), ["x"])
            with pytest.raises(ShapeError, match=r"bucket 0 takes uint8 of shape \(4, 6\)"):
                writer.add(0, np.zeros((4, 6, 3), np.uint8), ["x"], np.zeros((6, 4), np.uint8))
        pictures = PictureSet.open(tmp_path)
        assert pictures.parts is not None
        assert np.array_equal(pictures.parts[0], known[1][None])
        assert np.array_equal(pictures.parts[1], np.stack([known[0], known[2]]))
        latents = [np.zeros((len(array), 2, 2, 8), np.float16) for array in pictures.arrays]
        assert pictures.holding(latents).parts is pictures.parts
        os.truncate(tmp_path / "parts-4x6.bin", 3)
        with pytest.raises(DataError, match="is no set of pictures"):
            PictureSet.open(tmp_path)
        with PictureSetWriter(tmp_path / "other", shapes) as writer, pytest.raises(ShapeError, match="set has none"):
            writer.add(0, np.zeros((4, 6, 3), np.uint8), ["x"], np.zeros((4, 6), np.uint8))

    @pytest.mark.parametrize("damage", ["interrupted", "no file", "short", "another format", "no folder"])
    def test_what_is_not_whole_is_not_opened(self, tmp_path: Path, damage: str) -> None:
        with suppress(KeyboardInterrupt), PictureSetWriter(tmp_path, [(4, 4)]) as writer:
            writer.add(0, np.zeros((4, 4, 3), np.uint8), ["x"])
            if damage == "interrupted":
                raise KeyboardInterrupt
        match damage:
            case "no file":
                (tmp_path / "captions.bin").unlink()
            case "short":
                os.truncate(tmp_path / "bucket-4x4.bin", 47)
            case "another format":
                (tmp_path / "pictures.json").write_text("{}")
        with pytest.raises(DataError, match="is no set of pictures"):
            PictureSet.open(tmp_path / "nowhere" if damage == "no folder" else tmp_path)

    def test_writing_anew_takes_the_old_set_away_first(self, tmp_path: Path) -> None:
        for count in (3, 1):
            with PictureSetWriter(tmp_path, [(4, 4)]) as writer:
                for _ in range(count):
                    writer.add(0, np.zeros((4, 4, 3), np.uint8), ["x"])
                assert not (tmp_path / "pictures.json").exists()
            assert len(PictureSet.open(tmp_path)) == count

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
    def test_full_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_bucket_file", lambda *_: "/dev/full")
        writer = PictureSetWriter(tmp_path, [(512, 512)])
        with pytest.raises(DataError, match=r"the disk of .* is full, but the pictures are kept there"):
            writer.add(0, np.zeros((512, 512, 3), np.uint8), ["x"])
        writer = PictureSetWriter(tmp_path, [(4, 4)])
        writer.add(0, np.zeros((4, 4, 3), np.uint8), ["x"])  # still in a buffer
        with pytest.raises(DataError, match="is full"):
            writer.close()


class TestPrepared:
    def test_every_picture_is_in_one_part_in_order(self, tmp_path: Path) -> None:
        fill(tmp_path / "data", 250)
        data = prepare(tmp_path, size=12, multiple=4)
        held = {f"number {n}" for n in range(250) if held_back(digest(png(n)), 0.05, seed=0)}
        assert 4 <= len(held) <= 25
        every = [f"number {n}" for n in range(250)]
        assert names(data.validation) == [name for name in every if name in held]
        assert names(data.train) == [name for name in every if name not in held]
        assert not data.reused
        for number in range(len(data.train)):
            array, (caption,) = data.train.picture(number)
            stored = Image.open(io.BytesIO(png(int(caption.split()[1]))))
            assert np.array_equal(array, np.asarray(stored))
        assert data.report.summary().startswith("250 pictures with 250 captions from 250 files (")

    def test_few_pictures_are_divided_too(self, tmp_path: Path) -> None:
        fill(tmp_path / "data", 30)
        (tmp_path / "data" / "0003.png").write_bytes(b"broken")
        data = prepare(tmp_path, validation=0.1)
        assert (len(data.train), len(data.validation)) == (26, 3)
        assert "Only 29 different pictures: 3 of them held back for validation." in data.report.summary()
        again = prepare(tmp_path, fill(tmp_path / "more", 4, first=30), tmp_path / "data", validation=0.1)
        assert len(set(names(data.validation)) & set(names(again.validation))) >= 2
        fill(tmp_path / "two", 2)
        two = prepare(tmp_path, tmp_path / "two")
        assert (len(two.train), len(two.validation)) == (1, 1)
        fill(tmp_path / "one", 1)
        with pytest.raises(DataError, match=r"the data has 1 picture \(copies not counted\), but at least 2"):
            prepare(tmp_path, tmp_path / "one")
        assert not list((tmp_path / "cache").glob(".building-*"))

    def test_duplicates(self, tmp_path: Path) -> None:
        folder = fill(tmp_path / "data", 60)
        for number in range(10):
            (folder / f"x{number}.png").write_bytes(png(number))
            (folder / f"x{number}.txt").write_text(f"number {number}" if number < 6 else "another caption")
        data = prepare(tmp_path, validation=0.3)
        assert data.report.duplicates == 6
        assert len(data.train) + len(data.validation) == 64
        found = {part: names(getattr(data, part)) for part in ("train", "validation")}
        for number in range(6, 10):
            (part,) = [part for part, texts in found.items() if f"number {number}" in texts]
            pictures = getattr(data, part)
            array = pictures.picture(found[part].index(f"number {number}"))[0]
            twins = [n for n, text in enumerate(found[part]) if text == "another caption"]
            assert any(np.array_equal(array, pictures.picture(twin)[0]) for twin in twins)

    def test_what_comes_out_does_not_depend_on_threads(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = fill(tmp_path / "data", 40)
        fill(folder, 20, (30, 10), first=40)
        (folder / "0007.png").write_bytes(b"broken")
        shapes = {"size": 16, "buckets": 3, "multiple": 4}
        one = prepare(tmp_path, cache=tmp_path / "one", workers=1, **shapes)
        monkeypatch.setattr(module, "TOGETHER", 3)
        many = prepare(tmp_path, cache=tmp_path / "many", workers=7, **shapes)
        assert one.report == many.report
        for part in ("train", "validation"):
            files = sorted((one.folder / part).iterdir())
            assert len(files) == 7
            for file in files:
                assert file.read_bytes() == (many.folder / part / file.name).read_bytes()

    def test_buckets(self, tmp_path: Path) -> None:
        folder = fill(tmp_path / "data", 10, (40, 20))
        fill(folder, 10, (20, 40), first=10)
        fill(folder, 10, (30, 30), first=20)
        data = prepare(tmp_path, size=16, buckets=3, multiple=4)
        assert data.train.buckets == ((24, 12), (16, 16), (12, 24))
        for pictures in (data.train, data.validation):
            for numbers, tens in zip(pictures.numbers, (1, 2, 0), strict=True):
                assert all(int(pictures.captions(number)[0].split()[1]) // 10 == tens for number in numbers.tolist())
        square = prepare(tmp_path, size=16)
        assert square.train.buckets == ((16, 16),)
        assert square.folder != data.folder

    def test_small_pictures_are_enlarged_and_counted(self, tmp_path: Path) -> None:
        fill(tmp_path / "data", 5, (12, 12))
        fill(tmp_path / "data", 7, (40, 12), first=5)
        report = prepare(tmp_path, size=16).report
        assert report.enlarged == 12
        assert "12 pictures smaller than the size asked for, enlarged" in report.summary()
        assert prepare(tmp_path, size=8).report.enlarged == 0

    def test_a_very_wide_picture_in_little_memory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = fill(tmp_path / "data", 3)
        wide = Image.new("RGB", (30_000, 3_000), "red")
        wide.save(folder / "wide.jpg", quality=30)
        wide.save(folder / "wide.png", compress_level=1)
        for name in ("wide.jpg", "wide.png"):
            (folder / name).with_suffix(".txt").write_text("very wide")
        seen = []
        held = pixels.held
        monkeypatch.setattr(pixels, "held", lambda image: seen.append(held(image)) or held(image))
        data = prepare(tmp_path, size=32)
        assert "very wide" in names(data.train) + names(data.validation)
        assert data.report.skip_counts == {"too large to decode": 1}
        assert f"{folder}/wide.png: 30,000 × 3,000 pixels as PNG" in data.report.summary()
        assert sorted(set(seen))[-2] == 30_000 * 3_000 / 64

    def test_progress_ends_with_everything_read(self, tmp_path: Path) -> None:
        folder = fill(tmp_path / "data", 30)
        told: list[tuple[str, int, int]] = []
        prepare(tmp_path, progress=lambda *now: told.append(now))
        size = sum(path.stat().st_size for path in folder.glob("*.png"))
        assert told[-1] == ("reading pictures", size, size)
        assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


class TestReuse:
    def test_unchanged_input_is_not_decoded_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = fill(tmp_path / "data", 30)
        (folder / "notes.pdf").write_text("x")
        first = prepare(tmp_path)
        os.utime(folder / "0001.png", (1, 1))
        monkeypatch.setattr(module._Job, "build", lambda *_: pytest.fail("built again"))
        again = prepare(tmp_path)
        assert again.reused
        assert again.report == first.report
        assert names(again.train) == names(first.train)
        folder.rename(tmp_path / "moved")
        (tmp_path / "moved").rename(folder)
        assert prepare(tmp_path).reused

    @pytest.mark.parametrize(
        "change",
        ["picture", "caption", "name", "size", "buckets", "multiple", "share", "seed", "column", "captions"],
    )
    def test_whatever_changes_the_pictures_changes_the_set(self, tmp_path: Path, change: str) -> None:
        folder = fill(tmp_path / "data", 30)
        before = prepare(tmp_path, size=16).folder
        options: dict[str, Any] = {"size": 16}
        match change:
            case "picture":
                data = (folder / "0001.png").read_bytes()
                (folder / "0001.png").write_bytes((folder / "0002.png").read_bytes())
                (folder / "0002.png").write_bytes(data)
            case "caption":
                (folder / "0001.txt").write_text("number X")
            case "name":
                (folder / "0001.txt").rename(folder / "x.txt")
            case "size":
                options["size"] = 8
            case "buckets":
                options["buckets"] = 3
            case "multiple":
                options |= {"multiple": 4, "buckets": 3}
            case "share":
                options["validation"] = 0.1
            case "seed":
                options["split_seed"] = 1
            case "column":
                options["column"] = "text"
            case "captions":
                options["captions"] = "folder"
        after = prepare(tmp_path, **options)
        assert after.folder != before
        assert not after.reused

    def test_very_many_are_known_by_size_and_time(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "WHOLE_HASH", 10)
        folder = fill(tmp_path / "data", 30)
        first = prepare(tmp_path).folder
        assert prepare(tmp_path).reused
        os.utime(folder / "0001.png", (1, 1))
        assert prepare(tmp_path).folder != first

    @pytest.mark.parametrize("damage", ["no manifest", "half report", "short", "no captions"])
    def test_a_damaged_set_is_made_again(self, tmp_path: Path, damage: str) -> None:
        fill(tmp_path / "data", 30)
        first = prepare(tmp_path)
        expected = names(first.train)
        match damage:
            case "no manifest":
                (first.folder / "train" / "pictures.json").unlink()
            case "half report":
                (first.folder / "report.json").write_text('{"files"')
            case "short":
                os.truncate(first.folder / "validation" / "bucket-8x8.bin", 10)
            case "no captions":
                (first.folder / "train" / "captions.bin").unlink()
        again = prepare(tmp_path)
        assert not again.reused
        assert again.folder == first.folder
        assert names(again.train) == expected


def slow_build(folder: str, ready: Any) -> None:
    add = PictureSetWriter.add

    def slow(*arguments: Any) -> None:
        ready.set()
        time.sleep(0.2)
        add(*arguments)

    PictureSetWriter.add = slow  # type: ignore[method-assign]
    prepare(Path(folder))


class TestMishaps:
    def test_killed_in_the_middle_leaves_nothing_that_is_used(self, tmp_path: Path) -> None:
        fill(tmp_path / "data", 30)
        context = multiprocessing.get_context("spawn")
        ready = context.Event()
        child = context.Process(target=slow_build, args=(str(tmp_path), ready))
        child.start()
        assert ready.wait(60)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        left = list((tmp_path / "cache").iterdir())
        assert [folder.name.startswith(".building-") for folder in left] == [True]
        data = prepare(tmp_path)
        assert not data.reused
        assert len(data.train) + len(data.validation) == 30
        assert list((tmp_path / "cache").iterdir()) == [data.folder]

    def test_full_disk_leaves_nothing_behind(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        fill(tmp_path / "data", 5)
        monkeypatch.setattr(module.os, "fsync", full)
        with pytest.raises(DataError, match=r"is full, but the pictures are kept there. Free some"):
            prepare(tmp_path)
        assert list((tmp_path / "cache").iterdir()) == []

    def test_settings_and_input_that_make_no_sense(self, tmp_path: Path) -> None:
        folder = fill(tmp_path / "data", 5)
        with pytest.raises(ConfigError, match=r"validation is 0\.7"):
            prepare(tmp_path, validation=0.7)
        with pytest.raises(ConfigError, match="size is 30, but must be a multiple of 8"):
            prepare(tmp_path, size=30)
        with pytest.raises(ConfigError, match="captions is 'x'"):
            prepare(tmp_path, captions="x")
        for path in folder.glob("*.txt"):
            path.unlink()
        (folder / "lone.txt").write_text("x")
        with pytest.raises(DataError, match=r"0 readable pictures with captions \(5 no caption, 1 no picture\)"):
            prepare(tmp_path)
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match=r"\(no files\)"):
            prepare(tmp_path, tmp_path / "empty")

    def test_pictures_without_captions_when_none_are_asked_for(self, tmp_path: Path) -> None:
        folder = fill(tmp_path / "data", 30)
        told = prepare(tmp_path)
        for path in folder.glob("00[01]*.txt"):
            path.unlink()
        bare = prepare(tmp_path, captions="none")
        assert set(names(bare.train)) == {""}
        assert bare.report.captions == 0
        for one, other in ((bare.train, told.train), (bare.validation, told.validation)):
            assert np.array_equal(one.arrays[0], other.arrays[0]), "the same pictures are held back"
        assert PictureBatches(bare.train, 4, seed=0)(3).captions == [""] * 4

    def test_the_cache_may_lie_among_the_data(self, tmp_path: Path) -> None:
        folder = fill(tmp_path / "data", 5)
        first = prepare(tmp_path, cache=folder / "cache")
        assert prepare(tmp_path, cache=folder / "cache").reused
        assert json.loads((first.folder / "report.json").read_text())["skips"] == []
