"""Our own model folders: what is written is read, and nothing broken or dangerous is."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from limner.core.errors import ConfigError, WeightsError
from limner.core.transformer import Transformer
from limner.tokens import Tokenizer, train_tokenizer
from limner.weights import files
from limner.weights.files import EXCHANGES, previous, read_unchanged
from limner.weights.folder import load_model, save_model
from limner.weights.tensors import TensorFiles, write_tensors
from tests.weights.conftest import build, config

Saved = tuple[Path, Transformer]


def edit(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def edit_tensors(folder: Path, **tensors: torch.Tensor | None) -> None:
    """Change the weights as somebody would who knows to change the checksum too."""
    state = {name: value.clone() for name, value in load_file(folder / "model.safetensors").items()}
    for name, value in tensors.items():
        state.pop(name, None)
        if value is not None:
            state[name] = value
    save_file(state, folder / "model.safetensors")
    edit(folder, sha256=files.file_digest(folder / "model.safetensors"))


@torch.inference_mode()
def test_what_is_saved_is_loaded(saved: Saved) -> None:
    folder, model = saved
    again, found, card = load_model(folder)
    assert found == model.config
    assert card == {"name": "cat", "licence": "CC0-1.0", "trained_on": "two sentences"}
    assert not again.training
    ids = torch.arange(20)[None]
    assert torch.equal(again(ids), model(ids))
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    assert sorted(path.name for path in folder.parent.iterdir()) == ["cat"]


def test_a_loaded_model_can_be_trained_without_touching_its_file(saved: Saved) -> None:
    folder, _ = saved
    digest = files.file_digest(folder / "model.safetensors")
    model = load_model(folder).model.train()
    model(torch.arange(20)[None]).sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter -= parameter.grad
    assert files.file_digest(folder / "model.safetensors") == digest


def test_dtypes_on_disk_and_in_memory(saved: Saved, tmp_path: Path) -> None:
    folder, model = saved
    small = tmp_path / "small"
    save_model(small, model, None, dtype=torch.bfloat16)
    assert (small / "model.safetensors").stat().st_size < 0.6 * (folder / "model.safetensors").stat().st_size
    assert next(load_model(small).model.parameters()).dtype == torch.bfloat16
    wide = load_model(small, dtype=torch.float32).model
    assert {p.dtype for p in wide.parameters()} == {torch.float32}
    assert torch.equal(wide.embedding.token.weight, model.embedding.token.weight.bfloat16().float())


def test_loading_does_not_double_the_memory(tmp_path: Path) -> None:
    model = Transformer(config(200_000))
    save_model(tmp_path / "large", model, None)
    code = (
        "import resource, sys, torch\n"
        "from limner.weights.folder import load_model\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "model, config, card = load_model(sys.argv[1], verify=False)\n"
        "total = sum(p.double().sum().item() for p in model.parameters() if p.numel() < 1e6)\n"
        "total += sum(float(part.sum()) for part in model.embedding.token.weight.split(10_000))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "large")], capture_output=True, text=True, check=True
    )
    size = (tmp_path / "large" / "model.safetensors").stat().st_size / 1024
    assert int(run.stdout) < 1.5 * size


def test_saving_again_replaces_the_whole_folder(saved: Saved) -> None:
    folder, _ = saved
    other = build(config(), seed=1)
    save_model(folder, other, None, {"name": "other"})
    assert load_model(folder).card == {"name": "other"}
    assert not (folder / "tokenizer.json").exists()


@pytest.mark.parametrize("moment", ["write_tensors", "write_json", "file_digest"])
def test_a_save_that_fails_leaves_the_old_model(saved: Saved, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, model = saved

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"limner.weights.folder.{moment}", full)
    with pytest.raises(WeightsError, match=r"cat cannot be written: No space left on device.*Make room"):
        save_model(folder, build(config(), seed=1), None)
    monkeypatch.undo()
    assert [path.name for path in folder.parent.iterdir()] == ["cat"]
    assert torch.equal(load_model(folder).model.embedding.token.weight, model.embedding.token.weight)


def test_killed_between_the_two_renames(saved: Saved) -> None:
    folder, model = saved
    folder.rename(previous(folder))
    assert torch.equal(load_model(folder).model.embedding.token.weight, model.embedding.token.weight)
    (folder.parent / ".cat.unfinished-1").mkdir()
    save_model(folder, build(config(), seed=1), None, {"name": "new"})
    assert load_model(folder).card["name"] == "new"
    assert [path.name for path in folder.parent.iterdir()] == ["cat"]


def test_a_folder_that_is_exchanged_while_it_is_read_is_read_again(
    saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a training saves a better model between the description and the weights."""
    folder, _ = saved
    better = build(config(), seed=1)
    from limner.weights import folder as module

    read, calls = module.read_config, 0

    def slow(path: Path) -> dict[str, object]:
        nonlocal calls
        values, calls = read(path), calls + 1
        if calls == 1:
            save_model(folder, better, None, {"name": "better"})
        return values

    monkeypatch.setattr(module, "read_config", slow)
    model, _, card = load_model(folder)
    assert calls == 2
    assert card["name"] == "better"
    assert torch.equal(model.embedding.token.weight, better.embedding.token.weight)


def test_what_is_read_is_all_of_one_folder(saved: Saved) -> None:
    """Also where nothing fails: a description of the old folder and a tokenizer of the new one do not belong together."""
    folder, _ = saved
    seen = []

    def read(place: Path) -> tuple[str, str]:
        first = str(files.read_json(place / "config.json")["card"]["name"])
        if len(seen) < 3:
            save_model(folder, build(config()), None, {"name": f"number {len(seen)}"})
        seen.append(first)
        return first, str(files.read_json(place / "config.json")["card"]["name"])

    assert read_unchanged(folder, read) == ("number 2", "number 2")
    assert seen == ["cat", "number 0", "number 1", "number 2"]


def test_a_folder_that_stays_damaged_is_read_once(saved: Saved) -> None:
    folder, _ = saved
    calls = 0

    def read(place: Path) -> None:
        nonlocal calls
        calls += 1
        raise WeightsError(f"{place} is damaged")

    with pytest.raises(WeightsError, match="is damaged"):
        read_unchanged(folder, read)
    assert calls == 1 < EXCHANGES


def test_a_folder_with_other_things_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(WeightsError, match=f"{tmp_path.name} holds something else than a model"):
        save_model(tmp_path, build(config()), None)
    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(WeightsError, match=r"cannot be written: Permission denied"):
        save_model(tmp_path / "new", build(config()), None)


def test_a_wrong_checksum(saved: Saved) -> None:
    folder, _ = saved
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"has checksum {files.file_digest(path)[:12]}.*damaged"):
        load_model(folder)
    load_model(folder, verify=False)


def test_cut_off_files(saved: Saved) -> None:
    folder, _ = saved
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 200, 8, 3, 0):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match=rf"is {length:,} bytes? long.*cut off"):
            load_model(folder, verify=False)
    path.write_bytes(b"hello, this is a letter and no model at all")
    with pytest.raises(WeightsError, match=r"model.safetensors is no safetensors file"):
        load_model(folder, verify=False)


class Trap:
    """Makes a folder when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.path),))


def test_a_pickle_is_refused_and_never_opened(saved: Saved, tmp_path: Path) -> None:
    folder, _ = saved
    path, sprung = folder / "model.safetensors", tmp_path / "sprung"
    bomb = pickle.dumps(Trap(sprung))
    path.write_bytes(bomb)
    for verify in (False, True):  # its checksum is another, too, but that would not say what it is
        with pytest.raises(WeightsError, match=r"model.safetensors is a pickle.*never opens"):
            load_model(folder, verify=verify)
    with zipfile.ZipFile(path, "w") as archive:  # as torch.save writes
        archive.writestr("data.pkl", bomb)
    with pytest.raises(WeightsError, match=r"model.safetensors is a pickle"):
        load_model(folder, verify=False)
    path.unlink()
    for name in ("pytorch_model.bin", "model.pt", "model.pth", "model.ckpt"):
        (folder / name).write_bytes(bomb)
        with pytest.raises(WeightsError, match=rf"{name} is a pickle"):
            load_model(folder, verify=False)
        with pytest.raises(WeightsError, match=rf"{name} is a pickle"):
            load_model(folder / name)
        (folder / name).unlink()
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "pytorch_model.bin").write_bytes(bomb)
    with pytest.raises(WeightsError, match=r"pytorch_model.bin is a pickle"):
        load_model(tmp_path / "bare")
    assert not sprung.exists()


@pytest.mark.parametrize("length", [0x80, 0x0280, 0x0480, 0x04034B50])
def test_a_header_length_that_looks_like_a_pickle(length: int, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b"{" + b" " * 60)
    files.refuse_pickle(path)


def test_tensors_that_do_not_fit(saved: Saved) -> None:
    folder, model = saved
    name = "decoder.layers.0.attention.query.weight"
    edit_tensors(folder, **{name: None})
    with pytest.raises(WeightsError, match=rf"lacks {name}, but weights must fit"):
        load_model(folder)
    edit_tensors(folder, **{name: torch.zeros(3, 5), "extra.weight": torch.zeros(2)})
    expected = (
        r"has extra.weight that the model does not use and has .*query.weight of shape \(3, 5\) instead of \(32, 32\)"
    )
    with pytest.raises(WeightsError, match=expected):
        load_model(folder)
    edit_tensors(folder, **dict.fromkeys(model.state_dict(), None))
    with pytest.raises(WeightsError, match=r"lacks decoder.final_norm.weight, .* and \d+ more"):
        load_model(folder)


def test_vocabulary_and_model_that_disagree(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=rf"tokenizer has {tokenizer.vocab_size} tokens.*vocab_size is 100"):
        save_model(tmp_path / "new", build(config(100)), tokenizer)


def test_what_is_no_model_folder(saved: Saved, tmp_path: Path) -> None:
    folder, _ = saved
    with pytest.raises(WeightsError, match=r"nowhere is no folder"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(WeightsError, match=r"tokenizer.json is a file, but a model is a folder"):
        load_model(folder / "tokenizer.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match=r"config.json is missing"):
        load_model(tmp_path / "empty")
    edit(folder, format="other")
    with pytest.raises(WeightsError, match=r"neither format 'limner' nor a model_type"):
        load_model(folder)
    edit(folder, format="limner", version=2)
    with pytest.raises(WeightsError, match=r"version 2, but this limner reads 1"):
        load_model(folder)
    edit(folder, version=1, model={"vocab_sise": 3})
    with pytest.raises(ConfigError, match=r"model.vocab_sise is set.*'vocab_size'"):
        load_model(folder)
    for broken, message in (('{"format": "lim', "cannot be read as JSON"), ("[1]", "holds list, but an object")):
        (folder / "config.json").write_text(broken)
        with pytest.raises(WeightsError, match=message):
            load_model(folder)
    (folder / "config.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WeightsError, match="cannot be read as JSON"):
        load_model(folder)


def test_no_weights_at_all(saved: Saved) -> None:
    folder, _ = saved
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"cat has no model.safetensors"):
        load_model(folder)


def test_shards(tmp_path: Path) -> None:
    tensors = {f"t{i}": torch.randn(10, 10) for i in range(7)}
    write_tensors(tmp_path, tensors, shard_bytes=900)
    assert len(list(tmp_path.glob("model-*-of-00004.safetensors"))) == 4
    read = TensorFiles(tmp_path)
    assert read.names == sorted(tensors)
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)
    (tmp_path / "model-00002-of-00004.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"model-00002-of-00004.safetensors is missing"):
        TensorFiles(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"t0": "../elsewhere.safetensors"}}))
    with pytest.raises(WeightsError, match=r"'../elsewhere.safetensors', but shards lie beside"):
        TensorFiles(tmp_path)
    index.write_text("{}")
    with pytest.raises(WeightsError, match=r"weight_map None"):
        TensorFiles(tmp_path)


def test_a_tokenizer_of_another_model(tmp_path: Path, tokenizer: Tokenizer) -> None:
    save_model(tmp_path / "m", build(config()), tokenizer)
    load_model(tmp_path / "m")
    other = train_tokenizer("byte-bpe", ["zebras graze"] * 4, vocab_size=280)  # fewer tokens: every one has its vector
    other.save(tmp_path / "m")
    digest = files.file_digest(tmp_path / "m" / "tokenizer.json")
    with pytest.raises(WeightsError, match=rf"tokenizer\.json has checksum {digest[:12]}.*not the tokenizer"):
        load_model(tmp_path / "m")
