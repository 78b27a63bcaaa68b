"""Picture files: what is written is what was painted, PNGs carry their settings, and nothing half-written stays."""

from __future__ import annotations

import resource
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from limner.core.errors import DataError
from limner.picture.images import (
    fit,
    grid,
    pixel_digest,
    read_image,
    read_picture,
    read_settings,
    save_frames,
    save_png,
    to_image,
    to_tensor,
)

SETTINGS = {"prompt": "a fox “in” a hat 🦊", "seed": 7, "steps": 25, "guidance": 4.0, "size": [1, 2], "note": None}


def picture(seed: int = 0, size: tuple[int, int] = (12, 8)) -> Image.Image:
    levels = torch.randint(0, 256, (size[1], size[0], 3), generator=torch.Generator().manual_seed(seed))
    return Image.fromarray(levels.to(torch.uint8).numpy())


def test_what_is_transparent_is_white() -> None:
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    red, clear = to_tensor(image)[0, :, 0].T
    assert red.tolist() == [1, -1, -1]
    assert clear.tolist() == [1, 1, 1]


def test_pixels_to_tensors_and_back_are_the_same() -> None:
    every = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16).repeat(3).reshape(16, 16, 3))
    tensor = to_tensor(every)
    assert tensor.shape == (1, 3, 16, 16)
    assert (float(tensor.min()), float(tensor.max())) == (-1.0, 1.0)
    assert to_image(tensor[0]).tobytes() == every.tobytes()
    beyond = to_image(torch.tensor([-7.0, float("nan"), 9.0]).view(3, 1, 1))
    assert beyond.getpixel((0, 0)) == (0, 0, 255)


def test_a_grid_has_every_picture_in_its_place() -> None:
    pictures = [picture(seed) for seed in range(5)]
    sheet = grid(pictures, 3)
    assert sheet.size == (3 * 12 + 4, 2 * 8 + 2)
    for number, one in enumerate(pictures):
        left, top = number % 3 * 14, number // 3 * 10
        assert sheet.crop((left, top, left + 12, top + 8)).tobytes() == one.tobytes()


# ── settings ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_png_carries_its_settings(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "fox.png"
    save_png(picture(), path, SETTINGS)
    assert read_settings(path) == SETTINGS
    assert read_picture(path).tobytes() == picture().tobytes()
    assert [file.name for file in path.parent.iterdir()] == ["fox.png"]


def test_settings_behind_the_pixels_are_found_too(tmp_path: Path) -> None:
    """Where some programs put text when they save a PNG again."""
    path = tmp_path / "fox.png"
    save_png(picture(), path, SETTINGS)
    data = path.read_bytes()
    start = data.index(b"iTXt") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4])
    path.write_bytes(data[:start] + data[end:-12] + data[start:end] + data[-12:])
    assert read_settings(path) == SETTINGS


@pytest.mark.parametrize("text", ["{not json", "[1, 2]", "[" * 100_000])
def test_settings_that_make_no_sense(tmp_path: Path, text: str) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("limner", text)
    picture().save(tmp_path / "odd.png", pnginfo=info)
    with pytest.raises(DataError, match=r"odd\.png has settings that are no"):
        read_settings(tmp_path / "odd.png")


def test_no_settings(tmp_path: Path) -> None:
    picture().save(tmp_path / "plain.png")
    picture().save(tmp_path / "photo.jpg")
    for name in ("plain.png", "photo.jpg"):
        with pytest.raises(DataError, match=f"{name} carries no settings of limner"):
            read_settings(tmp_path / name)


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)


def bomb(side: int) -> bytes:
    """A PNG of a few bytes that promises side × side pixels."""
    header = side.to_bytes(4) * 2 + bytes([8, 2, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("read", [read_picture, read_settings])
def test_what_is_no_picture_is_told_in_one_sentence(tmp_path: Path, read: Any) -> None:
    (tmp_path / "notes.txt").write_text("a fox in a hat")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "bomb.png").write_bytes(bomb(60_000))
    save_png(picture(size=(64, 64)), tmp_path / "whole.png", {})
    (tmp_path / "torn.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    (tmp_path / "folder.png").mkdir()
    for name, said in (
        ("notes.txt", "no picture that can be used: not a PNG, JPEG or WebP: it begins with 'a fo'"),
        ("empty.png", "no picture"),
        ("bomb.png", r"60,000 × 60,000 pixels, more than 200 million"),
        ("torn.png", "cannot be decoded|cannot be read"),
        ("folder.png", "is a folder, but a picture is needed"),
        ("missing.png", "cannot be read: No such file or directory"),
    ):
        with pytest.raises(DataError, match=said) as caught:
            read(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="no ordinary file"):
        read("/dev/zero")


def test_pictures_are_upright_on_white_and_fitted(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10), "red").save(tmp_path / "turned.jpg", exif=exif)
    assert read_picture(tmp_path / "turned.jpg").size == (10, 20)
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "glass.png")
    assert read_picture(tmp_path / "glass.png").getpixel((0, 0)) == (255, 255, 255)
    assert read_image(tmp_path / "turned.jpg", 8, 16).size == (16, 8)
    assert fit(picture(), 8, 12).tobytes() == picture().tobytes(), "what fits already is left alone"


def test_a_digest_is_of_the_pixels_and_the_size() -> None:
    assert pixel_digest(picture()) == pixel_digest(picture().copy()) != pixel_digest(picture(1))
    assert pixel_digest(Image.new("RGB", (2, 8))) != pixel_digest(Image.new("RGB", (4, 4)))


# ── writing ──────────────────────────────────────────────────────────────────────────────────────────────


def test_several_pictures_in_a_file(tmp_path: Path) -> None:
    frames = [picture(seed) for seed in range(4)]
    for name in ("strip.png", "film.gif", "film.webp", "film.apng"):
        save_frames(frames, tmp_path / name, SETTINGS)
    assert read_picture(tmp_path / "strip.png").size == (4 * 12 + 3 * 2, 8)
    for name in ("strip.png", "film.apng"):
        assert read_settings(tmp_path / name) == SETTINGS
    for name in ("film.webp", "film.apng"):
        with Image.open(tmp_path / name) as film:
            assert film.n_frames == 6, "there and back again"
            shown = []
            for at in range(6):
                film.seek(at)
                shown.append(film.convert("RGB").tobytes())
            assert shown == [frames[at].tobytes() for at in (0, 1, 2, 3, 2, 1)]
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 6
        assert film.info["loop"] == 0


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    """A limit on file sizes stands for a full disk: the writing fails in the middle."""
    save_png(picture(), tmp_path / "fox.png", SETTINGS)
    before = (tmp_path / "fox.png").read_bytes()
    code = f"""
import resource
from limner.core.errors import DataError
from limner.picture.images import save_png
from tests.picture.test_images import picture
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    save_png(picture(size=(200, 200)), {str(tmp_path / "fox.png")!r}, {{}})
except DataError as problem:
    print(problem)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        f"{tmp_path / 'fox.png'} cannot be written: File too large. Make room or choose another place.\n"
    )
    assert [file.name for file in tmp_path.iterdir()] == ["fox.png"]
    assert (tmp_path / "fox.png").read_bytes() == before
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 2000


def test_a_place_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        save_png(picture(), tmp_path / "file" / "fox.png", {})
    with pytest.raises(DataError, match=r"cannot be written: File name too long"):
        save_png(picture(), tmp_path / f"{'x' * 300}.png", {})
