"""Models by name, by folder, by run: finding, listing, opening, on the command line too."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from torch import nn
from typer.testing import CliRunner

import limner
from limner import models
from limner.cli.app import app
from limner.core.errors import ConfigError, MissingExtraError, WeightsError
from limner.models import Packaged, catalogue, find, load
from limner.text.generator import TextGenerator
from tests.parity.conftest import randomise
from tests.parity.conftest import tokenizer as words
from tests.picture.conftest import painter_folder as painter_folder
from tests.picture.conftest import tokenizer as tokenizer
from tests.weights.test_families import BERT

Saved = tuple[Path, nn.Module]


@pytest.fixture
def shelf(saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of models with a good one, a run, a broken one, and something else."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    shutil.copytree(saved[0], shelf / "cat")
    run = shelf / "run-7"
    shutil.copytree(saved[0], run / "model")
    (run / "run.json").write_text("{}")
    shutil.copytree(saved[0], shelf / "torn")
    (shelf / "torn" / "model.safetensors").write_bytes(b"\x40\0\0\0\0\0\0\0{")
    (shelf / "fresh").mkdir()
    (shelf / "fresh" / "run.json").write_text("{}")
    (shelf / "notes").mkdir()
    monkeypatch.setenv("LIMNER_MODELS", str(shelf))
    return shelf


def test_load_by_name_and_by_path(shelf: Path, saved: Saved) -> None:
    ids = torch.arange(12)[None]
    for name in ("cat", "run-7", str(shelf / "cat"), shelf / "run-7", shelf / "run-7" / "model"):
        opened = load(name)
        assert isinstance(opened, TextGenerator)
        assert torch.equal(opened.model(ids), saved[1](ids))
        assert opened.card["licence"] == "CC0-1.0"
        assert opened.card["name"] == "cat"
        assert Path(opened.card["path"]).is_dir()
    assert limner.load is load
    assert limner.catalogue is catalogue


def test_dtypes_and_threads(shelf: Path) -> None:
    assert next(load("cat").model.parameters()).dtype == torch.float32
    assert next(load("cat", dtype="bfloat16").model.parameters()).dtype == torch.bfloat16
    assert next(load("cat", dtype=torch.float16).model.parameters()).dtype == torch.float16
    with pytest.raises(ConfigError, match=r"dtype is 'int8'.*bfloat16"):
        load("cat", dtype="int8")
    with pytest.raises(ConfigError, match=r"threads is 0"):
        load("cat", threads=0)
    before = torch.get_num_threads()
    try:
        load("cat", threads=before + 1)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("device", ["gpu", "", "cpu:x", "xla", f"cuda:{torch.cuda.device_count()}"])
def test_a_device_that_is_not_here(shelf: Path, device: str) -> None:
    with pytest.raises(ConfigError, match=rf"device is '{device}', but this machine has cpu"):
        load(shelf / "cat", device=device)
    result = CliRunner().invoke(app, ["write", "the", "--model", str(shelf / "cat"), "--device", device])
    assert result.exit_code == 2
    assert "Choose one that is there." in result.output


def test_what_cannot_be_found(shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match=r"model is 'cats', but no bundled.*Did you mean 'cat'"):
        load("cats")
    with pytest.raises(WeightsError, match=r"model is 'no/where', but there is no such folder"):
        load("no/where")
    with pytest.raises(WeightsError, match=r"fresh is a run that has no model yet"):
        load("fresh")
    with pytest.raises(WeightsError, match=r"notes/config.json is missing"):
        load(shelf / "notes")
    with pytest.raises(WeightsError, match=r"torn/model.safetensors is 9 bytes long|checksum"):
        load("torn")
    monkeypatch.setattr(models, "BUNDLED", tmp_path / "none")
    monkeypatch.setattr(models, "PACKAGED", {})
    monkeypatch.delenv("LIMNER_MODELS")
    with pytest.raises(WeightsError, match=r"'cat', but no bundled model.*Give the path"):
        find("cat")


@pytest.fixture
def package(saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package as pip leaves one, whose code says when it runs."""
    site = tmp_path / "site"
    shutil.copytree(saved[0], site / "some_cat" / "model")
    (site / "some_cat" / "__init__.py").write_text("raise SystemExit('the code of the package ran')")
    (site / "some_cat-1.0.dist-info").mkdir()
    (site / "some_cat-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: some-cat\nVersion: 1.0\n")
    monkeypatch.setattr(models, "PACKAGED", {"packed-cat": Packaged("some-cat", "some_cat/model", "cats")})
    return site


def test_a_model_of_a_package_is_opened_by_name_and_no_code_of_it_runs(
    package: Path, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(package)
    opened = load("packed-cat")
    assert torch.equal(opened.model(torch.arange(12)[None]), saved[1](torch.arange(12)[None]))
    assert opened.card["name"] == "packed-cat"
    (entry,) = (entry for entry in catalogue() if entry.name == "packed-cat")
    assert (entry.kind, entry.problem) == ("text generator", None)
    assert "some_cat" not in sys.modules


def test_a_package_that_is_not_installed_is_named_with_its_pip_command(package: Path) -> None:
    with pytest.raises(MissingExtraError, match=r"some-cat is not installed, .* pip install 'limner\[cats\]'"):
        load("packed-cat")
    assert "packed-cat" not in [entry.name for entry in catalogue()]
    result = CliRunner().invoke(app, ["explain", "the", "--model", "packed-cat"])
    assert result.exit_code == 2
    assert "limner[cats]" in result.output


def test_the_catalogue(shelf: Path, saved: Saved) -> None:
    found = {entry.name: entry for entry in catalogue() if entry.path.startswith(str(shelf))}
    assert set(found) == {"cat", "run-7", "torn", "fresh"}
    cat = found["cat"]
    assert cat.parameters == sum(p.numel() for p in saved[1].parameters())
    assert cat.bytes == sum(path.stat().st_size for path in (shelf / "cat").iterdir())
    assert (cat.kind, cat.context, cat.licence, cat.problem) == ("text generator", 64, "CC0-1.0", None)
    assert cat.trained_on == "two sentences"
    assert found["run-7"].path == str(shelf / "run-7" / "model")
    assert "no model yet" in str(found["fresh"].problem)
    assert found["torn"].problem
    given = [entry.name for entry in catalogue([shelf / "cat", shelf])]
    assert given[-5:] == ["cat", "cat", "fresh", "run-7", "torn"]
    with pytest.raises(WeightsError, match=r"'nowhere', but there is none"):
        catalogue(["nowhere"])


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("model.safetensors", None, "has no model.safetensors"),
        ("model.safetensors", b"", "model.safetensors is 0 bytes long, which is not what its header says"),
        ("model.safetensors", -1, "which is not what its header says: it is cut off"),
        ("model.safetensors", 300, "is 300 bytes long, which is not what its header says"),
        ("model.safetensors", b"hello, this is a letter", "is no safetensors file"),
        ("model.safetensors", b"\x80\x04\x95abcdefgh", "model.safetensors is a pickle"),
        ("config.json", b'{"format": "lim', "config.json cannot be read as JSON"),
    ],
)
def test_damaged_folders_are_listed_as_damaged(shelf: Path, file: str, content: bytes | int | None, said: str) -> None:
    path = shelf / "cat" / file
    if content is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:content] if isinstance(content, int) else content)
    (entry,) = (entry for entry in catalogue() if entry.name == "cat")
    assert str(entry.problem).startswith("damaged: ")
    assert said in str(entry.problem)
    with pytest.raises(WeightsError):
        load("cat")
    table = CliRunner().invoke(app, ["models"], env={"COLUMNS": "400"}).stdout
    assert "damaged: " in table


def test_a_vocabulary_that_is_too_large(shelf: Path) -> None:
    words().save_pretrained(shelf / "cat")
    path = shelf / "cat" / "tokenizer.json"
    tokens = json.loads(path.read_text())
    tokens["model"]["vocab"]["w999"] = 999
    path.write_text(json.dumps(tokens))
    settings = json.loads((shelf / "cat" / "config.json").read_text())
    settings.pop("tokenizer_sha256", None)  # as in a folder that was put together by hand
    (shelf / "cat" / "config.json").write_text(json.dumps(settings))
    with pytest.raises(WeightsError, match=r"tokenizer has 1000 tokens.*vocab_size is 300"):
        load("cat")


def test_bert_opens_as_an_encoder(tmp_path: Path) -> None:
    from limner.text.encoder import TextEncoder

    randomise(transformers.BertForMaskedLM(transformers.BertConfig(**BERT))).save_pretrained(tmp_path)
    words().save_pretrained(tmp_path)
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\ndatasets:\n- bookcorpus\n- wikipedia\n---\n# BERT\n")
    opened = load(tmp_path)
    assert isinstance(opened, TextEncoder)
    (entry,) = catalogue([tmp_path])[-1:]
    assert (entry.kind, entry.licence, entry.trained_on) == ("text encoder", "apache-2.0", "bookcorpus, wikipedia")


def test_the_command_models(shelf: Path) -> None:
    run = CliRunner().invoke(app, ["models", "--json"])
    assert run.exit_code == 0
    names = [entry["name"] for entry in json.loads(run.stdout)["models"]]
    assert {"cat", "run-7", "torn", "fresh"} <= set(names)
    table = CliRunner().invoke(app, ["models"], env={"COLUMNS": "200"}).stdout
    assert "two sentences" in table
    assert "cannot be loaded" in table
    wrong = CliRunner().invoke(app, ["models", "nowhere"])
    assert wrong.exit_code == 2
    assert "nowhere" in wrong.stderr


def test_a_picture_model_opens_as_a_painter_and_is_listed(
    painter_folder: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from limner.models import BFLOAT16_FROM
    from limner.picture.generator import PictureGenerator
    from limner.picture.images import to_tensor

    shutil.copytree(painter_folder, shelf / "brush")
    opened = load("brush")
    assert isinstance(opened, limner.PictureGenerator)
    assert isinstance(opened, PictureGenerator)
    assert opened.dtype == torch.float32
    assert to_tensor(opened.generate("a fox", seed=1, steps=1)[0].image).shape == (1, 3, 16, 16)
    assert opened.sha256 == json.loads((shelf / "brush" / "config.json").read_text())["sha256"]
    assert load("brush", dtype="bfloat16").dtype == torch.bfloat16  # type: ignore[union-attr]
    # "auto" is bfloat16 for a model that is wide enough, where the processor has units for it.
    monkeypatch.setattr(models, "bfloat16_helps", lambda device: True)
    assert load("brush", dtype="auto").dtype == torch.float32  # type: ignore[union-attr]
    monkeypatch.setattr(models, "BFLOAT16_FROM", opened.config.denoiser.dim)
    assert load("brush", dtype="auto").dtype == torch.bfloat16  # type: ignore[union-attr]
    monkeypatch.setattr(models, "bfloat16_helps", lambda device: False)
    assert load("brush", dtype="auto").dtype == torch.float32  # type: ignore[union-attr]
    assert opened.config.denoiser.dim < BFLOAT16_FROM

    (entry,) = [entry for entry in catalogue() if entry.path == str(shelf / "brush")]
    assert (entry.kind, entry.context, entry.pixels) == (
        "picture generator",
        opened.config.prompt.context_length,
        (16, 16),
    )
    assert entry.parameters == opened.parameters
    assert (entry.licence, entry.trained_on) == ("CC0-1.0", "nothing")
    assert "16 × 16" in CliRunner().invoke(app, ["models"], env={"COLUMNS": "250"}).stdout
    with pytest.raises(WeightsError, match="is a picture model, but a text model is needed"):
        models.export("brush", shelf / "out")


@pytest.mark.parametrize("broken", [{"size": "wide"}, {"prompt": {}}, {"prompt": None}])
def test_a_picture_model_whose_description_is_broken_is_listed_with_its_problem(
    painter_folder: Path, shelf: Path, broken: dict[str, object]
) -> None:
    shutil.copytree(painter_folder, shelf / "brush")
    path = shelf / "brush" / "config.json"
    values = json.loads(path.read_text())
    values["picture"] |= broken
    path.write_text(json.dumps(values))
    (entry,) = [entry for entry in catalogue() if entry.path == str(shelf / "brush")]
    assert entry.problem
    with pytest.raises(ConfigError):
        load("brush")


def test_listing_models_needs_no_torch(shelf: Path, painter_folder: Path) -> None:
    shutil.copytree(painter_folder, shelf / "brush")
    code = "import sys, limner; print(len(limner.catalogue())); assert 'torch' not in sys.modules"
    assert int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout) >= 4


def test_the_command_export(shelf: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = CliRunner().invoke(app, ["export", "cat", "--to", "hf", "-o", str(out), "--dtype", "bfloat16"])
    assert run.exit_code == 0, run.output
    assert f'AutoModelForCausalLM.from_pretrained("{out}")' in run.stdout
    assert json.loads((out / "config.json").read_text())["dtype"] == "bfloat16"
    again = CliRunner().invoke(app, ["export", "cat", "-o", str(out)])
    assert again.exit_code == 2
    assert again.stderr.startswith("WeightsError: ")
    assert "--force" in again.stderr
    assert CliRunner().invoke(app, ["export", "cat", "-o", str(out), "--force"]).exit_code == 0
    assert CliRunner().invoke(app, ["export", "cat", "--to", "onnx", "-o", str(tmp_path / "x")]).exit_code == 2
