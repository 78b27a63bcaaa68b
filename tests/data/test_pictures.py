from __future__ import annotations

import csv
import io
import json
import struct
import sys
import tarfile
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from limner.core.errors import ConfigError, DataError, MissingExtraError
from limner.data import PictureReport, pictures, pixels, read_pictures
from limner.data.pixels import aspect_buckets, fitted, nearest_bucket, open_picture, to_rgb
from limner.data.streams import BrokenFileError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def plain(colour: object = RED, size: tuple[int, int] = (8, 6), mode: str = "RGB") -> Image.Image:
    return Image.new(mode, size, colour)  # type: ignore[arg-type]


def read(*paths: Path, **options: object) -> tuple[list[tuple[str, Image.Image, tuple[str, ...]]], PictureReport]:
    report = PictureReport()
    found = read_pictures(paths, report, **options)  # type: ignore[arg-type]
    return [(Path(one.name).name, one.image, one.captions) for one in found], report


def captions(*paths: Path, **options: object) -> dict[str, tuple[str, ...]]:
    return {name: texts for name, _, texts in read(*paths, **options)[0]}


def with_caption(folder: Path, name: str, data: bytes, text: str = "a thing") -> None:
    (folder / name).write_bytes(data)
    (folder / name).with_suffix(".txt").write_text(text)


def tar_of(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises much and holds almost nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def decoded(data: bytes) -> Image.Image:
    return to_rgb(open_picture(data))


class TestPixels:
    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_pictures_are_turned_as_their_exif_says(self, kind: str, orientation: int) -> None:
        upright = Image.new("RGB", (32, 48), WHITE)
        upright.paste(RED, (0, 0, 16, 16))
        upright.paste(BLUE, (16, 0, 32, 16))
        stored = {
            1: upright,
            2: upright.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
            3: upright.transpose(Image.Transpose.ROTATE_180),
            4: upright.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
            5: upright.transpose(Image.Transpose.TRANSPOSE),
            6: upright.transpose(Image.Transpose.ROTATE_90),
            7: upright.transpose(Image.Transpose.TRANSVERSE),
            8: upright.transpose(Image.Transpose.ROTATE_270),
        }[orientation]
        exif = Image.Exif()
        exif[0x0112] = orientation
        options: dict[str, object] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}.get(
            kind, {}
        )  # type: ignore[assignment]
        image = decoded(encoded(stored, kind, exif=exif, **options))
        assert image.size == (32, 48)
        assert np.abs(np.asarray(image).astype(int) - np.asarray(upright)).max() < 40

    @pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"])
    @pytest.mark.filterwarnings("ignore::UserWarning")
    def test_broken_exif_does_not_cost_the_picture(self, exif: bytes) -> None:
        assert decoded(encoded(plain(), "JPEG", exif=exif)).size == (8, 6)

    def test_every_mode_becomes_rgb(self) -> None:
        half = plain((0, 0, 255, 128), mode="RGBA")
        assert decoded(encoded(half)).getpixel((0, 0)) == (127, 127, 255)
        assert decoded(encoded(half, "WEBP", lossless=True)).getpixel((0, 0)) == (127, 127, 255)
        assert decoded(encoded(plain((0, 0), mode="LA"))).getpixel((0, 0)) == WHITE
        assert decoded(encoded(plain(100, mode="L"))).getpixel((0, 0)) == (100, 100, 100)
        assert decoded(encoded(plain(1, mode="1"))).getpixel((0, 0)) == WHITE
        assert decoded(encoded(plain(100, mode="L"), "JPEG")).getpixel((0, 0)) == (100, 100, 100)

    def test_cmyk_jpeg(self) -> None:
        red, green, blue = decoded(encoded(plain((0, 255, 255, 0), (32, 32), "CMYK"), "JPEG")).getpixel((4, 4))  # type: ignore[misc]
        assert red > 240
        assert green < 15
        assert blue < 15

    def test_sixteen_bits(self) -> None:
        ramp = np.array([[0, 257, 128 * 257, 65535]], dtype=np.uint16)
        grey = decoded(encoded(Image.fromarray(ramp)))
        assert np.asarray(grey)[0].tolist() == [[value] * 3 for value in (0, 1, 128, 255)]
        colours = struct.pack(">12H", *(value * 257 for value in (255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 99, 199)))

        def chunk(name: bytes, data: bytes) -> bytes:
            return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

        data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, 16, 2, 0, 0, 0))
        data += chunk(b"IDAT", zlib.compress(b"\0" + colours)) + chunk(b"IEND", b"")
        assert np.asarray(decoded(data))[0].tolist() == [[*RED], [*GREEN], [*BLUE], [9, 99, 199]]

    def test_palettes_with_and_without_transparency(self) -> None:
        image = plain(0, mode="P")
        image.putpalette([*RED, *BLUE])
        image.putpixel((0, 0), 1)
        assert decoded(encoded(image)).getpixel((0, 0)) == BLUE
        clear = decoded(encoded(image, transparency=1))
        assert (clear.getpixel((0, 0)), clear.getpixel((1, 0))) == (WHITE, RED)
        keyed = decoded(encoded(plain(RED), transparency=RED))
        assert keyed.getpixel((0, 0)) == WHITE

    def test_the_first_frame_of_several(self) -> None:
        frames = [plain(BLUE), plain(GREEN)]
        for kind, options in (("PNG", {}), ("WEBP", {"lossless": True})):
            data = encoded(plain(RED), kind, save_all=True, append_images=frames, **options)  # type: ignore[arg-type]
            assert decoded(data).getpixel((0, 0)) == RED

    @pytest.mark.parametrize(
        ("data", "kind", "said"),
        [
            (b"just a text", "not a picture", "begins with 'just'"),
            (encoded(plain(), "GIF"), "not a picture", "begins with 'GIF8'"),
            (b"\x00\x00\x01\x00", "not a picture", "begins with 00 00 01 00"),
            (png_header(50_000, 50_000), "too many pixels", "50,000 × 50,000 pixels, more than 200 million"),
            (png_header(30_000, 3_000), "too large to decode", "30,000 × 3,000 pixels as PNG, of which 64 million"),
            (png_header(3_000, 3_000), "broken picture", "cannot be decoded"),
            (png_header(0, 5), "broken picture", "cannot be decoded"),
            (b"\x89PNG\r\n\x1a\n", "broken picture", "cannot be decoded"),
            (b"\xff\xd8\xff", "broken picture", "cannot be decoded"),
            (b"RIFF\x10\0\0\0WEBPVP8 ", "broken picture", "cannot be decoded"),
        ],
    )
    def test_what_is_refused(self, data: bytes, kind: str, said: str) -> None:
        with pytest.raises(BrokenFileError, match=said) as caught:
            decoded(data)
        assert caught.value.kind == kind

    @settings(max_examples=150, deadline=None)
    @given(kind=st.sampled_from(["PNG", "JPEG", "WEBP"]), cut=st.floats(0, 0.95), noise=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8))  # fmt: skip
    @pytest.mark.filterwarnings("ignore")
    def test_damaged_pictures_are_decoded_or_reported(
        self, kind: str, cut: float, noise: list[tuple[float, int]]
    ) -> None:
        pixels_ = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
        data = bytearray(encoded(Image.fromarray(pixels_), kind))
        if not noise:
            with pytest.raises(BrokenFileError):
                decoded(bytes(data[: int(len(data) * cut)]))
            return
        for place, value in noise:
            data[int(place * (len(data) - 1))] = value
        with suppress(BrokenFileError):
            assert decoded(bytes(data)).mode == "RGB"

    def test_a_large_jpeg_is_decoded_small(self) -> None:
        data = encoded(Image.linear_gradient("L").resize((3000, 300)), "JPEG")
        assert open_picture(data).size == (3000, 300)
        assert open_picture(data, shortest=64).size == (750, 75)
        assert open_picture(data, shortest=200).size == (3000, 300)

    def test_what_cannot_be_held_is_reduced_or_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pixels, "MAX_HELD", 3000 * 300 - 1)
        image = Image.linear_gradient("L").resize((3000, 300))
        assert decoded(encoded(image, "JPEG")).size == (1500, 150)
        for kind, options, said in (
            ("JPEG", {"progressive": True}, "as progressive JPEG"),
            ("PNG", {}, "as PNG"),
            ("WEBP", {}, "as WEBP"),
        ):
            with pytest.raises(BrokenFileError, match=f"3,000 × 300 pixels {said}") as caught:
                decoded(encoded(image, kind, **options))  # type: ignore[arg-type]
            assert caught.value.kind == "too large to decode"


class TestFitting:
    @settings(max_examples=200)
    @given(st.integers(1, 40), st.integers(1, 20), st.sampled_from([1, 4, 8, 16, 64]))
    def test_buckets(self, units: int, count: int, multiple: int) -> None:
        size = units * multiple
        buckets = aspect_buckets(size, count, multiple)
        assert (size, size) in buckets
        assert 1 <= len(buckets) <= count
        assert len(set(buckets)) == len(buckets)
        assert {(width, height) for height, width in buckets} == set(buckets)
        ratios = [height / width for height, width in buckets]
        assert ratios == sorted(ratios, reverse=True)
        for height, width in buckets:
            assert not height % multiple
            assert not width % multiple
            assert abs(height - width) <= multiple or height / width <= 2 * (1 + multiple / size) ** 2
            assert abs(height * width - size**2) <= multiple * (height + width)

    def test_buckets_by_name(self) -> None:
        assert aspect_buckets(64, 1, 8) == [(64, 64)]
        assert aspect_buckets(64, 5, 8) == [(88, 48), (80, 56), (64, 64), (56, 80), (48, 88)]
        with pytest.raises(ConfigError, match=r"size is 28, but must be a multiple of 8\. Choose 24 or 32"):
            aspect_buckets(28, 1, 8)
        with pytest.raises(ConfigError, match="buckets is 0"):
            aspect_buckets(28, 0, 4)

    @settings(max_examples=100)
    @given(st.integers(1, 3000), st.integers(1, 3000))
    def test_the_nearest_bucket_cuts_off_least(self, width: int, height: int) -> None:
        buckets = aspect_buckets(64, 7, 8)

        def kept(bucket: tuple[int, int]) -> float:
            wanted, given_ = bucket[1] / bucket[0], width / height
            return min(wanted, given_) / max(wanted, given_)

        best = nearest_bucket((width, height), buckets)
        assert kept(buckets[best]) == pytest.approx(max(map(kept, buckets)))

    @settings(max_examples=60, deadline=None)
    @given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(1, 40))
    def test_any_picture_fits_any_shape(self, width: int, height: int, to_width: int, to_height: int) -> None:
        array = fitted(plain(RED, (width, height)), to_height, to_width)
        assert array.shape == (to_height, to_width, 3)
        assert array.dtype == np.uint8
        assert (array == RED).all()

    def test_the_middle_is_kept_and_nothing_is_changed_without_need(self) -> None:
        picture = np.random.default_rng(0).integers(0, 255, (10, 20, 3), dtype=np.uint8)
        image = Image.fromarray(picture)
        assert np.array_equal(fitted(image, 10, 20), picture)
        assert np.array_equal(fitted(image, 10, 10), picture[:, 5:15])
        striped = Image.new("RGB", (300, 100), RED)
        striped.paste(GREEN, (100, 0, 200, 100))
        assert (fitted(striped, 50, 50)[:, 4:-4] == GREEN).all()


class TestFolders:
    def test_captions_beside_pictures_are_a_line_each(self, tmp_path: Path) -> None:
        with_caption(tmp_path, "a.PNG", encoded(plain()), "a red thing\n\n  something   red \r\na red thing\n")
        with_caption(tmp_path, "b.c.jpg", encoded(plain(), "JPEG"), "the second")
        with_caption(tmp_path, "d.webp", encoded(plain(), "WEBP"))
        (tmp_path / "d.txt").write_bytes("\ufeffgrün".encode("utf-16-le"))
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "e.jpeg").write_bytes(encoded(plain(), "JPEG"))
        (tmp_path / "sub" / "e.json").write_text(json.dumps({"key": "e", "caption": ["one", "two"], "url": "x"}))
        assert captions(tmp_path) == {
            "a.PNG": ("a red thing", "something red"),
            "b.c.jpg": ("the second",),
            "d.webp": ("grün",),
            "e.jpeg": ("one", "two"),
        }

    def test_the_ending_does_not_decide_what_a_picture_is(self, tmp_path: Path) -> None:
        with_caption(tmp_path, "a.png", encoded(plain(), "JPEG", quality=95))
        assert len(read(tmp_path)[0]) == 1

    def test_odd_and_broken_ones_are_skipped_and_counted(self, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).integers(0, 255, (50, 50, 3), dtype=np.uint8)
        jpeg = encoded(Image.fromarray(noise), "JPEG")
        for number in range(20):
            with_caption(tmp_path, f"good{number:02}.jpg", jpeg, f"number {number}")
        with_caption(tmp_path, "half.jpg", jpeg[: len(jpeg) // 2])
        with_caption(tmp_path, "zero.jpg", b"")
        with_caption(tmp_path, "text.png", b"I am a text")
        with_caption(tmp_path, "bomb.png", png_header(60_000, 60_000))
        with_caption(tmp_path, "latin.png", encoded(plain()))
        (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
        with_caption(tmp_path, "blank.png", encoded(plain()), " \n ")
        (tmp_path / "silent.png").write_bytes(encoded(plain()))
        (tmp_path / "orphan.txt").write_text("no picture")
        (tmp_path / "old.gif").write_bytes(encoded(plain(), "GIF"))
        (tmp_path / ".hidden.png").write_bytes(b"x")
        found, report = read(tmp_path)
        assert [name for name, _, _ in found] == [f"good{number:02}.jpg" for number in range(20)]
        assert report.skip_counts == {
            "broken picture": 1, "empty": 1, "not a picture": 1, "too many pixels": 1, "caption not UTF-8": 1,
            "no caption": 2, "no picture": 2, "unsupported ending": 1,
        }  # fmt: skip
        told = report.summary(most=9)
        assert told.startswith("20 pictures with 20 captions from ")
        assert "skipped 10:" in told
        assert f"1 broken picture: {tmp_path}/half.jpg: cannot be decoded (" in told
        assert "latin.png: its caption latin.txt is not UTF-8: byte 0xE9 at byte 3; save it as UTF-8" in told
        assert f"2 no caption, such as {tmp_path}/blank.png: has no caption: the file beside it holds none" in told

    def test_pictures_without_captions_and_captions_without_pictures(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_bytes(encoded(plain()))
        with pytest.raises(DataError, match=r"(?s)0 readable pictures with captions \(1 no caption\).*a\.png: has no caption: expected a\.txt or a row.*--captions folder"):  # fmt: skip
            read(tmp_path)
        (tmp_path / "a.png").unlink()
        (tmp_path / "a.txt").write_text("a caption")
        with pytest.raises(DataError, match=r"\(1 no picture\).*a.txt: has no picture of the same name"):
            read(tmp_path)
        (tmp_path / "a.txt").unlink()
        with pytest.raises(DataError, match=r"\(no files\).*Give a folder of PNG, JPEG or WebP"):
            read(tmp_path)
        with pytest.raises(DataError, match="nowhere does not exist"):
            read(tmp_path / "nowhere")

    def test_names_of_folders_as_captions_only_when_asked_for(self, tmp_path: Path) -> None:
        for name in ("ankle_boot", "t-shirt"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "x.png").write_bytes(encoded(plain()))
        with pytest.raises(DataError, match='captions="folder"'):
            read(tmp_path)
        found, report = read(tmp_path, captions="folder")
        assert [texts for _, _, texts in found] == [("a picture of ankle boot",), ("a picture of t shirt",)]
        assert 'Captions are made of the names of the folders, such as "a picture of ankle boot".' in report.summary()
        with pytest.raises(ConfigError, match="captions is 'names'"):
            read(tmp_path, captions="names")

    def test_pictures_as_they_are_when_no_captions_are_asked_for(self, tmp_path: Path) -> None:
        (tmp_path / "bare.png").write_bytes(encoded(plain()))
        with_caption(tmp_path, "told.png", encoded(plain(BLUE)))
        (tmp_path / "latin.png").write_bytes(encoded(plain(GREEN)))
        (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
        (tmp_path / "names.jsonl").write_text("{broken\n")
        tar_of(tmp_path / "more.tar", {"1.png": encoded(plain()), "1.txt": b"one", "2.png": encoded(plain(BLUE))})
        parquet.write_table(arrow.table({"image": [encoded(plain())], "a": ["x"], "b": ["y"]}), tmp_path / "z.parquet")
        found, report = read(tmp_path, captions="none")
        assert [(name, texts) for name, _, texts in found] == [
            ("bare.png", ()), ("latin.png", ()), ("1.png", ()), ("2.png", ()), ("told.png", ()), ("z.parquet:1", ()),
        ]  # fmt: skip
        assert report.summary().startswith("6 pictures from 5 files (")
        assert not report.skips
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match=r"0 readable pictures \(no files\).*Give a folder of PNG"):
            read(tmp_path / "empty", captions="none")


class TestTables:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "images").mkdir()
        for name in ("a.png", "b.png", "images/c.png"):
            (tmp_path / name).write_bytes(encoded(plain()))
        return tmp_path

    def test_metadata_jsonl_as_hugging_face_has_it(self, folder: Path) -> None:
        rows: list[object] = [
            {"file_name": "a.png", "text": "one", "label": 3},
            {"file_name": "images/c.png", "text": ["two", "three"]},
            {"file_name": "images\\c.png", "text": "four"},
            {"file_name": "b.png", "text": None},
            {"file_name": "gone.png", "text": "five"},
            {"file_name": "../outside.png", "text": "six"},
            {"text": "seven"},
            ["eight"],
        ]
        (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n")
        found, report = read(folder)
        assert {name: texts for name, _, texts in found} == {"a.png": ("one",), "c.png": ("two", "three", "four")}
        assert report.skip_counts == {"no caption": 2, "missing column": 2, "malformed JSON": 1, "no picture": 2}
        assert "2 rows name pictures that are not there, such as" in report.summary()

    @pytest.mark.parametrize("ending", ["", ".gz"])
    def test_csv(self, folder: Path, ending: str) -> None:
        out = io.StringIO()
        csv.writer(out, delimiter=";").writerows(
            [["id", "file_name", "caption"], [1, "a.png", "one; two"], [2, "b.png", "drei\nvier"], [3, "c"]]
        )
        data = out.getvalue().encode() + b"4;images/c.png;caf\xe9\n"
        if ending:
            import gzip

            data = gzip.compress(data)
        (folder / f"metadata.csv{ending}").write_bytes(data)
        found, report = read(folder)
        assert {name: texts for name, _, texts in found} == {"a.png": ("one; two",), "b.png": ("drei vier",)}
        assert report.skip_counts == {"no caption": 2, "caption not UTF-8": 1}

    def test_columns(self, folder: Path) -> None:
        table = folder / "names.jsonl"
        table.write_text(json.dumps({"file": "a.png", "title": "T", "body": "B"}))
        with pytest.raises(DataError, match=r"names.jsonl has the columns file, title, body, but none.*--column NAME"):
            read(folder)
        assert captions(folder, column="body") == {"a.png": ("B",)}
        with pytest.raises(DataError, match="no column 'words' among file, title, body"):
            read(folder, column="words")
        table.write_text(json.dumps({"file": "a.png", "what": "W", "year": "1999"}))
        assert captions(folder) == {"a.png": ("W",)}
        table.write_text(json.dumps({"text": "no names"}))
        with pytest.raises(DataError, match=r"no column of file names \(file_name, filename, file\) among text"):
            read(folder)

    def test_a_table_given_alone_leads_to_its_pictures(self, folder: Path) -> None:
        (folder / "images" / "metadata.jsonl").write_text(json.dumps({"file_name": "../b.png", "text": "one"}))
        assert captions(folder / "images" / "metadata.jsonl") == {"b.png": ("one",)}

    def test_a_caption_beside_the_picture_comes_first(self, folder: Path) -> None:
        (folder / "metadata.jsonl").write_text(json.dumps({"file_name": "a.png", "text": "row"}))
        (folder / "a.txt").write_text("beside")
        assert captions(folder) == {"a.png": ("beside",)}

    def test_parquet_tables(self, folder: Path) -> None:
        parquet.write_table(arrow.table({"file_name": ["a.png"], "text": ["one"]}), folder / "metadata.parquet")
        assert captions(folder) == {"a.png": ("one",)}


class TestTars:
    RED, BLUE = encoded(plain(RED)), encoded(plain(BLUE), "JPEG")

    def test_webdataset(self, tmp_path: Path) -> None:
        tar_of(
            tmp_path / "00000.tar",
            {
                "000.png": self.RED, "000.txt": b"one\ntwo", "000.cls": b"3",
                "001.jpg": self.BLUE, "001.json": b'{"caption": "three", "width": 8}',
                "sub/002.image.png": self.RED, "sub/002.prompt.txt": b"four",
                "1.5 cm.png": self.RED, "1.7 cm.png": self.BLUE, "1.7 cm.txt": b"large", "1.5 cm.txt": b"small",
                "003.png": self.RED, "004.txt": b"alone", "005.png": b"", "005.txt": b"empty", "._000.png": b"junk",
                "006.png": b"text", "006.txt": b"six", "007.png": self.RED, "007.txt": b"caf\xe9",
            },
        )  # fmt: skip
        found, report = read(tmp_path)
        assert {name: texts for name, _, texts in found} == {
            "000.png": ("one", "two"), "001.jpg": ("three",), "002.image.png": ("four",),
            "1.5 cm.png": ("small",), "1.7 cm.png": ("large",),
        }  # fmt: skip
        assert report.skip_counts == {
            "unsupported ending": 1, "no caption": 1, "no picture": 1, "empty": 1, "not a picture": 1,
            "caption not UTF-8": 1,
        }  # fmt: skip
        assert report.files == 1
        assert "00000.tar/003.png: has no caption: expected 003.txt" in report.summary(most=9)

    @pytest.mark.parametrize("ending", [".gz", ".zst"])
    def test_packed(self, tmp_path: Path, ending: str) -> None:
        whole = tar_of(tmp_path / "a.tar", {"a.txt": b"one", "b.png": self.BLUE, "b.txt": b"two", "a.png": self.RED})
        import gzip

        data = whole.read_bytes()
        whole.unlink()
        packed = gzip.compress(data) if ending == ".gz" else zstandard.ZstdCompressor().compress(data)
        (tmp_path / f"a.tar{ending}").write_bytes(packed)
        assert captions(tmp_path) == {"b.png": ("two",), "a.png": ("one",)}

    def test_tables_inside_and_beside(self, tmp_path: Path) -> None:
        rows = json.dumps({"file_name": "x.png", "text": "inside"}) + "\n" + json.dumps({"file_name": "y", "text": "z"})
        tar_of(tmp_path / "a.tar", {"images/x.png": self.RED, "images/metadata.jsonl": rows.encode()})
        tar_of(tmp_path / "b.tar", {"1.png": self.RED, "2.png": self.BLUE})
        tar_of(tmp_path / "c.tar", {"1.png": self.BLUE})
        table = [{"file": f"{number}.png", "caption": f"number {number}"} for number in (1, 2, 3)]
        (tmp_path / "names.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table))
        found, report = read(tmp_path)
        assert [(name, texts[0]) for name, _, texts in found] == [
            ("x.png", "inside"), ("1.png", "number 1"), ("2.png", "number 2"), ("1.png", "number 1"),
        ]  # fmt: skip
        assert report.skip_counts == {"no picture": 2}

    def test_folders_inside(self, tmp_path: Path) -> None:
        tar_of(tmp_path / "boots.tar", {"red_ones/1.png": self.RED, "2.png": self.BLUE})
        found = captions(tmp_path, captions="folder")
        assert found == {"1.png": ("a picture of red ones",), "2.png": ("a picture of boots",)}

    @pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
    def test_half_written(self, tmp_path: Path, share: float) -> None:
        noise = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)))
        members = {
            f"{number:02}.{kind}": noise if kind == "png" else b"x" for number in range(20) for kind in ("png", "txt")
        }
        whole = tar_of(tmp_path / "a.tar", members)
        whole.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
        found, report = read(tmp_path)
        assert 20 * share - 3 < len(found) < 20 * share + 1
        assert report.skip_counts["broken tar"] == 1
        whole.write_bytes(b"garbage" * 500)
        with pytest.raises(DataError, match="1 broken tar"):
            read(tmp_path)

    @pytest.mark.parametrize("ending", ["", ".gz"])
    @pytest.mark.parametrize(("damage", "reason"), [("cut", "it ends without its end mark"), ("cut later", "truncated header"), ("changed", "bad checksum")])  # fmt: skip
    def test_cut_between_two_files_or_a_broken_header(
        self, tmp_path: Path, damage: str, reason: str, ending: str
    ) -> None:
        """Where the library that reads tars takes it for the end."""
        import gzip

        pack = gzip.compress if ending else bytes
        members = {"1.png": self.RED, "1.txt": b"red", "2.png": self.BLUE, "2.txt": b"blue"}
        data = tar_of(tmp_path / "plain", members).read_bytes()
        (tmp_path / "plain").unlink()
        (tmp_path / f"a.tar{ending}").write_bytes(pack(data))
        assert read(tmp_path)[1].skips == []
        at = data.index(b"2.png")
        damaged = {"cut": data[:at], "cut later": data[: at + 200], "changed": data[:at] + b"?" + data[at + 1 :]}
        (tmp_path / f"a.tar{ending}").write_bytes(pack(damaged[damage]))
        found, report = read(tmp_path)
        assert len(found) == 1
        assert f"a.tar{ending}: not a sound tar after 2 members ({reason}" in report.summary()


class TestBesidePictures:
    """Masks and the like, which are none to learn from; as ``limner data picturebook --masks`` writes them."""

    NAMES = ("a.png", "b.png", "masks/a.png", "masks/own.png")
    ROWS = (
        {"file_name": "b.png", "text": "a cat"},
        {"file_name": "a.png", "text": "a fox", "mask_file_name": "masks/a.png"},
        {"file_name": "masks/own.png", "text": "a mask"},
    )

    @pytest.mark.parametrize("place", ["folder", "tar", "beside a tar", "tar.gz"])
    @pytest.mark.parametrize("captions_are", ["auto", "folder", "none"])
    @pytest.mark.parametrize("ending", ["jsonl", "csv"])
    def test_of_every_source(self, tmp_path: Path, captions_are: str, ending: str, place: str) -> None:
        if ending == "csv":
            columns = ("file_name", "text", "mask_file_name")
            lines = [columns, *([row.get(name, "") for name in columns] for row in self.ROWS)]
            told = "".join(",".join(line) + "\n" for line in lines)
        else:
            told = "".join(json.dumps(row) + "\n" for row in self.ROWS)
        files = {name: encoded(plain()) for name in self.NAMES}
        table = {f"metadata.{ending}": told.encode()}
        if place != "beside a tar":
            files |= table
        if place == "folder":
            (tmp_path / "masks").mkdir()
            for name, data in files.items():
                (tmp_path / name).write_bytes(data)
        else:
            tar_of(tmp_path / "data.tar", files)
            if place == "beside a tar":
                (tmp_path / f"metadata.{ending}").write_text(told)
            elif place == "tar.gz":
                import gzip

                (tmp_path / "data.tar.gz").write_bytes(gzip.compress((tmp_path / "data.tar").read_bytes()))
                (tmp_path / "data.tar").unlink()
        found, report = read(tmp_path, captions=captions_are)
        assert sorted(name for name, *_ in found) == ["a.png", "b.png", "own.png"]
        assert report.skip_counts == {"beside a picture": 1}
        assert "masks/a.png: is named beside a picture, as a mask is" in report.summary()

    def test_no_column_of_captions_is_needed_to_know_them(self, tmp_path: Path) -> None:
        for name in ("a.png", "m.png"):
            (tmp_path / name).write_bytes(encoded(plain()))
        (tmp_path / "metadata.csv").write_text("file_name,title,note,mask_file_name\na.png,one,two,m.png\n")
        found, report = read(tmp_path, captions="none")
        assert [name for name, *_ in found] == ["a.png"]
        assert report.skip_counts == {"beside a picture": 1}
        with pytest.raises(DataError, match="2 of them hold text"):
            read(tmp_path)

    def test_their_names_are_no_captions(self, tmp_path: Path) -> None:
        for name in ("a.png", "m.png"):
            (tmp_path / name).write_bytes(encoded(plain()))
        (tmp_path / "metadata.csv").write_text("file_name,title,mask_file_name\na.png,one,m.png\n")
        assert captions(tmp_path) == {"a.png": ("one",)}
        (tmp_path / "metadata.csv").write_text("file_name,mask_file_name\na.png,m.png\n")
        with pytest.raises(DataError, match="no column of captions"):
            read(tmp_path)


def test_very_large_files_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_FILE", 1000)
    with_caption(tmp_path, "a.png", encoded(plain()) + bytes(1000))
    with_caption(tmp_path, "b.png", encoded(plain()))
    with_caption(tmp_path, "c.png", encoded(plain()), "word " * 300_000)
    tar_of(tmp_path / "d.tar", {"d.png": bytes(2000), "d.txt": b"x"})
    found, report = read(tmp_path)
    assert [name for name, _, _ in found] == ["b.png"]
    assert report.skip_counts == {"too large a file": 2, "caption too long": 1}
    assert "d.tar/d.png: a file of 2,000 bytes, more than 1,000" in [
        str(skip).removeprefix(f"{tmp_path}/") for skip in report.skips
    ]


class TestParquet:
    RED = encoded(plain(RED))

    def write(self, path: Path, **columns: object) -> Path:
        parquet.write_table(arrow.table(columns), path)
        return path

    def test_as_hugging_face_writes_it(self, tmp_path: Path) -> None:
        kind = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
        (tmp_path / "beside.png").write_bytes(encoded(plain(BLUE)))
        values = [{"bytes": self.RED, "path": "a.png"}, {"bytes": None, "path": "beside.png"}, None, {"bytes": self.RED, "path": None}]  # fmt: skip
        path = self.write(
            tmp_path / "train.parquet",
            image=arrow.array(values * 10, kind),
            label=list(range(40)),
            captions=[["one", "two"], ["three"], ["four"], []] * 10,
        )
        found, report = read(path)
        assert [texts for _, _, texts in found] == [("one", "two"), ("three",)] * 10
        assert [image.getpixel((0, 0)) for _, image, _ in found[:2]] == [RED, BLUE]
        assert found[2][0] == "train.parquet:5"
        assert report.skip_counts == {"no picture": 10, "no caption": 10}
        assert report.disk_bytes == path.stat().st_size

    def test_plain_bytes_and_columns(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "a.parquet", jpg=[self.RED], title=["T"], body=["B"])
        with pytest.raises(DataError, match="columns jpg, title, body"):
            read(path)
        assert captions(path, column="body") == {"a.parquet:1": ("B",)}
        path = self.write(tmp_path / "b.parquet", n=[1], text=["x"])
        with pytest.raises(DataError, match="no column of pictures among n, text"):
            read(path)

    def test_damage(self, tmp_path: Path) -> None:
        (tmp_path / "a.parquet").write_bytes(b"PAR1" * 100)
        with pytest.raises(DataError, match="1 broken Parquet"):
            read(tmp_path)

    def test_packed(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "a.parquet", image=[self.RED], text=["one"])
        (tmp_path / "a.parquet.zst").write_bytes(zstandard.ZstdCompressor().compress(path.read_bytes()))
        path.unlink()
        assert captions(tmp_path) == {"a.parquet.zst:1": ("one",)}

    def test_missing_library(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "a.parquet").write_bytes(b"x")
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(MissingExtraError, match=r"pyarrow is not installed.*limner\[data\]"):
            read(tmp_path)


def test_the_report_keeps_an_example_of_every_reason() -> None:
    report = PictureReport()
    for number in range(3000):
        report.skip(f"{number}.png", "no caption", "has no caption")
    report.skip("late.jpg", "broken picture", "cannot be decoded (x)")
    assert len(report.skips) == 1001
    report.read(["größe", "b"])
    report.duplicates, report.enlarged, report.files = 1, 2, 1
    again = PictureReport.from_json(json.loads(json.dumps(report.to_json())))
    assert again == report
    assert again.summary() == (
        "1 picture with 2 captions from 1 file (0 bytes read); dropped 1 exact duplicate\n"
        "2 pictures smaller than the size asked for, enlarged\n"
        "skipped 3,001:\n"
        "  3,000 no caption, such as 0.png: has no caption\n"
        "  1 broken picture: late.jpg: cannot be decoded (x)"
    )
