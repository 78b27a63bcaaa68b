from __future__ import annotations

import errno
import io
import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from limner.cli.app import app
from limner.core.errors import ConfigError, DataError
from limner.picture.world.captions import caption
from limner.picture.world.draw import draw
from limner.picture.world.examples import SERIES, example
from limner.picture.world.scene import Scene
from limner.picture.world.split import held_back_triple
from limner.picture.world.write import write_pictures, write_sheet


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


def test_a_folder_holds_pictures_captions_and_truth(tmp_path: Path) -> None:
    done: list[int] = []
    write_pictures(tmp_path / "out", 6, 48, seed=2, masks=True, progress=done.append)
    assert done == [1, 2, 3, 4, 5, 6]
    assert len(list((tmp_path / "out").glob("*.png"))) == len(rows(tmp_path / "out")) == 6
    for index, row in enumerate(rows(tmp_path / "out")):
        scene = Scene.from_dict(row["scene"])
        drawing = draw(scene, 48)
        assert row["text"] == caption(scene, 2 * SERIES + index)
        assert np.array_equal(np.array(Image.open(tmp_path / "out" / row["file_name"])), drawing.image)
        assert np.array_equal(np.array(Image.open(tmp_path / "out" / row["mask_file_name"])), drawing.parts)
        boxes = [{"animal": b.animal and list(b.animal), "hat": b.hat and list(b.hat)} for b in drawing.boxes]
        assert row["boxes"] == boxes


def test_parquet_holds_the_same(tmp_path: Path) -> None:
    write_pictures(tmp_path / "a", 5, 32)
    write_pictures(tmp_path / "b", 5, 32, format="parquet")
    table = pq.read_table(tmp_path / "b" / "pictures.parquet")
    assert json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]["image"] == {"_type": "Image"}
    for row, column in zip(rows(tmp_path / "a"), table.to_pylist(), strict=True):
        assert column["text"] == row["text"]
        assert json.loads(column["scene"]) == row["scene"] and json.loads(column["boxes"]) == row["boxes"]
        image = np.array(Image.open(io.BytesIO(column["image"]["bytes"])))
        assert np.array_equal(image, np.array(Image.open(tmp_path / "a" / row["file_name"])))


def test_the_splits_are_written_as_asked(tmp_path: Path) -> None:
    write_pictures(tmp_path / "out", 10, 32, which="triples", two=0)
    for row in rows(tmp_path / "out"):
        (figure,) = row["scene"]["figures"]
        assert held_back_triple(figure["animal"], figure["hat"], figure["colour"])


def test_a_picture_does_not_depend_on_the_others() -> None:
    assert example(1, 7).scene == example(1, 7).scene != example(1, 8).scene
    assert example(0, 0).scene != example(1, 0).scene


def test_an_empty_folder_is_filled_and_another_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write_pictures(tmp_path / "out", 1, 32)
    with pytest.raises(DataError, match="out is there already and not empty"):
        write_pictures(tmp_path / "out", 1, 32)
    assert len(rows(tmp_path / "out")) == 1


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, written = Path.write_bytes, []

    def write_bytes(self: Path, data: bytes) -> int:
        written.append(self)
        if len(written) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(DataError, match="No space left on device"):
        write_pictures(tmp_path / "out", 5, 32)
    assert list(tmp_path.iterdir()) == []


def test_stopping_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pictures(tmp_path / "out", 5, 32, progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [({"count": 0}, "count is 0"), ({"size": 16}, "size is 16"), ({"format": "zip"}, "format is 'zip'")],
)
def test_what_cannot_be_written_is_refused_before_anything_is(tmp_path: Path, asked: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        write_pictures(tmp_path / "out", **{"count": 1, "size": 32} | asked)
    assert list(tmp_path.iterdir()) == []


def test_a_sheet_to_look_at(tmp_path: Path) -> None:
    write_sheet(tmp_path / "sheet.png", 5, 64)
    sheet = np.array(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape[0] > 2 * 256 and sheet.shape[1] > 2 * 256
    assert (sheet[12 + 256 + 4 : 12 + 256 + 24, 12:268] < 128).any()  # letters below the first picture
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_sheet(tmp_path / "file" / "sheet.png", 1, 64)


def test_the_command_line(tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        return CliRunner().invoke(app, ["data", "picturebook", *arguments], catch_exceptions=False).output

    out = str(tmp_path / "out")
    assert "3 pictures of 32 × 32" in run(out, "--count", "3", "--size", "32", "--which", "pairs")
    assert len(rows(tmp_path / "out")) == 3
    assert "2 pictures on one sheet" in run(str(tmp_path / "sheet.png"), "--show", "--count", "2", "--size", "32")
    with pytest.raises(DataError, match="not empty"):
        CliRunner().invoke(app, ["data", "picturebook", out], catch_exceptions=False, standalone_mode=False)
