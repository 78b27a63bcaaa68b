"""What goes wrong at the command line: one sentence with the value, the rule and the remedy, exit code 2, nothing lost.

Killed processes are in tests/train/test_checkpoint.py, prompts with too little or too much in them in test_write.py.
"""

from __future__ import annotations

import gzip
import json
import os
import pickle
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from limner.cli.app import app
from limner.tokens import train_tokenizer
from limner.train.checkpoint import read_checkpoint, write_checkpoint
from limner.weights.files import file_digest

SMALL = (
    "model.dim=32", "model.num_layers=1", "model.num_heads=2", "model.num_kv_heads=1", "model.head_dim=16",
    "model.hidden_dim=64", "context_length=32", "batch_size=4", "threads=1", "precision=float32", "compile=off",
    "vocab_size=300", "checkpoints=2",
)  # fmt: skip


def limner(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def refused(*words: object, says: str) -> str:
    """Run it and check that it ends as the contract says; what it said."""
    done = limner(*words)
    assert done.exit_code == 2, done.output
    last = str(done.stderr.splitlines()[-1])
    assert says in last, done.stderr
    assert last.endswith((".", "?")), "no remedy"
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return last


def everything(folder: Path) -> dict[str, str]:
    """Each file that matters and the digest of its content."""
    kept = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in ("events.jsonl", ".lock")]
    return {str(path.relative_to(folder)): file_digest(path) for path in kept if "tensorboard" not in path.parts}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chance = random.Random(0)
    path = tmp_path_factory.mktemp("corpus") / "stories.jsonl"
    words = ("cat", "dog", "bird", "fish", "girl", "boy")
    lines = (" ".join(f"The {chance.choice(words)} saw a {chance.choice(words)}." for _ in range(8)) for _ in range(80))
    path.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "run"
    words = [part for value in SMALL for part in ("--set", value)]
    done = limner("train", "text", "--data", corpus, "--steps", 8, "--out", run, *words)
    assert done.exit_code == 0, done.output
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A finished run of 8 steps, with checkpoints of steps 4 and 8, that may be spoilt."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


class Trap:
    """What a pickle can do."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("sprung",)


# ── data ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.txt", b"", "0 readable documents"),
        ("blank.txt", b"  \n\t\n", "0 readable documents"),
        ("word.txt", b"word", "the corpus is 4 bytes of text, but at least"),
        ("letter.txt", b"a", "the corpus is 1 byte of text, but at least"),
        ("picture.txt", b"\x89PNG\r\n\x1a\n\x00\x00" * 50, "0 readable documents"),
        ("half.txt.gz", gzip.compress(random.Random(0).randbytes(9000).hex().encode())[:40], "0 readable documents"),
        ("half.parquet", b"PAR1" + b"\x15\x00" * 90, "0 readable documents"),
        ("half.jsonl", b'{"text": "The cat sat on t', "0 readable documents"),
    ],
    ids=lambda value: value if isinstance(value, str) else "content",  # gzip writes the time into the bytes
)
def test_data_with_nothing_to_learn_from(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    out = tmp_path / "runs" / "mine"
    said = refused("train", "text", "--data", tmp_path / name, "--steps", 1, "--out", out, says=says)
    assert name in said or "bytes" in said or "byte" in said
    assert not out.exists()
    assert (tmp_path / name).read_bytes() == content


def test_a_broken_file_among_whole_ones_is_skipped_and_told(corpus: Path, tmp_path: Path) -> None:
    shutil.copy(corpus, tmp_path)
    (tmp_path / "half.txt.gz").write_bytes(gzip.compress(b"The cat. " * 999)[:40])
    words = [part for value in SMALL for part in ("--set", value)]
    done = limner("train", "text", "--data", tmp_path, "--steps", 1, "--out", tmp_path / "out", *words)
    assert done.exit_code == 0, done.output
    assert "half.txt.gz" in done.stderr
    assert "80 documents" in done.stderr


# ── words of the command ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", "text", "--sizze", "5M"], "--size"),
        (["train", "text", "--recipe", "stori"], "'story'"),
        (["train", "recipe", "stori"], "'story'"),
        (["train", "txt"], "text"),
        (["wrote"], "write"),
    ],
)
def test_unknown_options_recipes_and_verbs_name_the_nearest(words: list[str], says: str) -> None:
    done = limner(*words)
    assert done.exit_code == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


# ── checkpoints ─────────────────────────────────────────────────────────────────────────────────────────────


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)


def test_a_checkpoint_with_a_wrong_checksum_is_passed_over(run: Path) -> None:
    whole = everything(run / "checkpoints" / "step-00000008")
    spoil(run / "checkpoints" / "step-00000008" / "state.safetensors")
    (run / "events.jsonl").unlink()  # as if it had not come to its end
    done = limner("train", "text", "--resume", run)
    assert done.exit_code == 0, done.output
    assert "has checksum" in done.stderr
    assert "Going back to the one before." in done.stderr
    tensors = "state.safetensors"
    assert everything(run / "checkpoints" / "step-00000008")[tensors] == whole[tensors], "it learned something else"


def test_only_damaged_checkpoints(run: Path) -> None:
    for path in run.glob("checkpoints/*/state.safetensors"):
        spoil(path)
    model = everything(run / "model")
    says = "has 2 checkpoints, but none is whole. Start the run anew"
    refused("train", "text", "--resume", run, "--steps", 9, says=says)
    assert everything(run / "model") == model


@pytest.mark.parametrize("change", ["missing", "extra"])
def test_a_checkpoint_with_a_tensor_too_few_or_too_many(run: Path, change: str) -> None:
    path = run / "checkpoints" / "step-00000008"
    found = read_checkpoint(path)
    name = "weights/decoder.layers.0.attention.query.weight"
    tensors = {key: value for key, value in found.tensors.items() if key != name or change == "extra"}
    if change == "extra":
        tensors["weights/decoder.layers.7.up.weight"] = torch.zeros(2, 2)
    note = {k: v for k, v in found.note.items() if k not in ("format", "version", "sha256")}
    write_checkpoint(path, tensors, note)
    before = everything(run / "checkpoints")
    says = "lacks decoder.layers.0.attention.query.weight" if change == "missing" else "has decoder.layers.7.up.weight"
    refused("train", "text", "--resume", run, "--steps", 9, says=says)
    assert everything(run / "checkpoints") == before


def test_a_pickle_offered_as_a_checkpoint(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("model.pt", "run.ckpt", "checkpoint.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps(Trap()))
        for words in (["train", "text", "--resume"], ["write", "Tom", "--model"], ["eval", "--data", ".", "--"]):
            refused(*words, tmp_path / name, says=f"{name} is a pickle")
    (run / "model" / "model.safetensors").write_bytes(pickle.dumps(Trap()))
    refused("write", "Tom", "--model", run, says="model.safetensors is a pickle")
    for path in run.glob("checkpoints/*/state.safetensors"):
        path.write_bytes(pickle.dumps(Trap()))
    done = limner("train", "text", "--resume", run, "--steps", 9)
    assert done.exit_code == 2
    assert "state.safetensors is a pickle" in done.stderr
    assert not (tmp_path / "sprung").exists()


def test_a_full_disk_while_saving(run: Path) -> None:
    """A limit on the size of files, which the system answers as it does a full disk, in a process of its own."""
    before = everything(run)
    code = (
        "import resource, sys; from limner.cli.app import main; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000)); "
        f"sys.argv = ['limner', 'train', 'text', '--resume', {str(run)!r}, '--steps', '12']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "cannot be written: File too large" in done.stderr.splitlines()[-1]
    assert "Make room" in done.stderr.splitlines()[-1]
    after = everything(run)
    assert {name: digest for name, digest in after.items() if name != "run.json"} == {
        name: digest for name, digest in before.items() if name != "run.json"
    }
    again = limner("train", "text", "--resume", run)
    assert again.exit_code == 0, again.output
    assert (run / "checkpoints" / "step-00000012").is_dir()


def test_a_run_folder_that_is_read_only(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(run)
    monkeypatch.setattr(
        os, "access", lambda _, mode: mode == os.R_OK
    )  # whoever tests may be root, who may write anywhere
    refused("train", "text", "--resume", run, "--steps", 9, says=f"the run folder {run} cannot be written")
    assert everything(run) == before
    assert limner("write", "The cat", "--model", run, "--max-tokens", 2).exit_code == 0, "reading needs no such right"


# ── models ──────────────────────────────────────────────────────────────────────────────────────────────────


def edit(folder: Path, change: Any) -> None:
    """Change the weights of a model folder as somebody would who knows to change the checksum, too."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "sha256": file_digest(path)}))


def test_a_model_with_a_wrong_checksum_or_tensors_that_do_not_fit(run: Path) -> None:
    edit(run / "model", lambda tensors: tensors.pop("decoder.final_norm.weight"))
    refused("write", "Tom", "--model", run, says="lacks decoder.final_norm.weight")
    edit(run / "model", lambda tensors: tensors.update({"more": torch.zeros(2)}))
    refused("write", "Tom", "--model", run, says="has more that the model does not use")
    spoil(run / "model" / "model.safetensors")
    refused("write", "Tom", "--model", run, says="has checksum")


def test_a_vocabulary_that_is_not_the_models(run: Path) -> None:
    train_tokenizer("byte-bpe", ["the cat sat on a mat, and the dog lay by the door"] * 9, vocab_size=290).save(
        run / "model"
    )
    refused("write", "Tom", "--model", run, says="not the tokenizer that the model was trained with")
    config = json.loads((run / "model" / "config.json").read_text())
    config.pop("tokenizer_sha256")
    (run / "model" / "config.json").write_text(json.dumps(config))
    texts = [f"{random.Random(seed).randbytes(40).hex()} " * 3 for seed in range(300)]
    train_tokenizer("byte-bpe", texts, vocab_size=900).save(run / "model")
    refused("write", "Tom", "--model", run, says="but the model's vocab_size is")
