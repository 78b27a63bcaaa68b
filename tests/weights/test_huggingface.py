"""What limner exports, transformers opens, with the same logits and the same tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import nn

from limner import models
from limner.core.errors import ConfigError, WeightsError
from limner.text.generator import TextGenerator
from limner.tokens import Tokenizer
from limner.weights.folder import load_model, save_model
from limner.weights.huggingface import write_huggingface
from tests.parity.conftest import randomise
from tests.parity.conftest import tokenizer as words
from tests.weights.conftest import build, config
from tests.weights.test_families import BERT, CLIP, GPT2, LLAMA, QWEN3, changed

CLASSES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "gpt2": (transformers.GPT2LMHeadModel, transformers.GPT2Config, GPT2),
    "gpt2-bare": (transformers.GPT2Model, transformers.GPT2Config, GPT2),
    "llama": (transformers.LlamaForCausalLM, transformers.LlamaConfig, {**LLAMA, "num_key_value_heads": 2}),
    "qwen3": (transformers.Qwen3ForCausalLM, transformers.Qwen3Config, {**QWEN3, "num_key_value_heads": 2}),
    "bert": (transformers.BertForMaskedLM, transformers.BertConfig, BERT),
}


def logits(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        out = model.eval()(ids)
    return out.logits if hasattr(out, "logits") else out[0]


@pytest.mark.parametrize("name", CLASSES)
def test_there_and_back_tensor_for_tensor(name: str, tmp_path: Path) -> None:
    kind, settings, values = CLASSES[name]
    values = {key: value for key, value in values.items() if key not in ("architectures", "model_type")}
    original = randomise(kind(settings(**{**values, "vocab_size": 97, "bos_token_id": 3, "eos_token_id": 2})))
    first, second = tmp_path / "first", tmp_path / "second"
    original.save_pretrained(first)
    words().save_pretrained(first)
    models.export(first, second)
    before, after = load_file(first / "model.safetensors"), load_file(second / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert (first / "tokenizer.json").read_bytes() == (second / "tokenizer.json").read_bytes()
    again, report = kind.from_pretrained(second, output_loading_info=True)
    assert not any(report.values())
    ids = torch.randint(0, 97, (2, 12))
    assert torch.equal(logits(again, ids), logits(original, ids))
    ignored = {"transformers_version", "dtype", "_name_or_path", "architectures"}
    old, new = original.config.to_dict(), again.config.to_dict()
    assert {k: v for k, v in old.items() if k not in ignored} == {k: v for k, v in new.items() if k not in ignored}


@pytest.mark.parametrize("whole", [True, False])
def test_the_text_half_of_clip_is_written_as_a_folder_of_its_own(whole: bool, tmp_path: Path) -> None:
    sizes = {key: value for key, value in CLIP.items() if key not in ("architectures", "model_type")}
    settings = transformers.CLIPTextConfig(**sizes, bos_token_id=1, eos_token_id=2)
    original: nn.Module = transformers.CLIPTextModel(settings)
    if whole:
        sees = {**sizes, "image_size": 8, "patch_size": 4}
        original = transformers.CLIPModel(transformers.CLIPConfig(text_config=settings.to_dict(), vision_config=sees))
    randomise(original).save_pretrained(tmp_path / "first")
    words().save_pretrained(tmp_path / "first")
    assert models.export(tmp_path / "first", tmp_path / "second") == "AutoModel"
    assert all(name.startswith("text_model.") for name in load_file(tmp_path / "second" / "model.safetensors"))
    again, report = transformers.AutoModel.from_pretrained(tmp_path / "second", output_loading_info=True)
    assert not any(report.values())
    assert type(again) is transformers.CLIPTextModel
    ids = torch.randint(0, 97, (2, 12))
    reader = original.text_model if whole else original
    assert torch.equal(again.eval()(ids).last_hidden_state, reader(ids).last_hidden_state)


@pytest.mark.parametrize("tied", [True, False])
def test_our_own_model(tied: bool, tokenizer: Tokenizer, tmp_path: Path) -> None:
    model = build(config(tied=tied))
    save_model(tmp_path / "own", model, tokenizer, {"name": "own", "licence": "CC0-1.0"})
    assert models.export(tmp_path / "own", tmp_path / "out") == "AutoModelForCausalLM"
    theirs, report = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(report.values())
    assert type(theirs).__name__ == "Qwen3ForCausalLM"
    text = "the curious cat ran to the tree, été 🙂"
    opened = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    ids = tokenizer.encode(text)
    assert opened(text, add_special_tokens=False).input_ids == ids
    reader = models.load(tmp_path / "own")
    assert isinstance(reader, TextGenerator)
    for prompt in (text, "", "<|end|> typed"):
        assert opened(prompt, split_special_tokens=True).input_ids == reader.read_prompt(prompt), prompt
    read = torch.tensor([opened(text).input_ids])
    assert (logits(theirs, read) - model(read)).abs().max() <= 1e-5
    again = models.load(tmp_path / "out")
    assert isinstance(again, TextGenerator)
    assert again.read_prompt(text) == reader.read_prompt(text)
    assert again.tokenizer.decode(read[0].tolist()) == text
    assert opened.decode(ids) == text
    assert opened.eos_token_id == tokenizer.end_id == theirs.config.eos_token_id
    batch = torch.tensor([ids])
    assert (logits(theirs, batch) - model(batch)).abs().max() <= 1e-5
    made = theirs.generate(batch, max_new_tokens=5, do_sample=False, pad_token_id=0, eos_token_id=None)
    assert made.shape[1] == len(ids) + 5
    back = load_model(tmp_path / "out").model
    assert all(torch.equal(back.state_dict()[name], value) for name, value in model.state_dict().items())
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "license: cc0-1.0" in readme
    assert 'AutoModelForCausalLM.from_pretrained("FOLDER")' in readme


def test_dtype_and_shards(tmp_path: Path) -> None:
    model = build(config())
    write_huggingface(tmp_path / "out", model, dtype=torch.bfloat16, shard_bytes=20_000)
    assert (tmp_path / "out" / "model.safetensors.index.json").exists()
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert {p.dtype for p in theirs.parameters()} == {torch.bfloat16}
    back = load_model(tmp_path / "out", dtype=torch.float32).model
    assert torch.equal(back.embedding.token.weight, model.embedding.token.weight.bfloat16().float())


def test_a_bfloat16_folder_gives_our_logits_in_float32(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Ours loads in float32 by itself, transformers as the weights are stored; the documentation says so."""
    save_model(tmp_path / "own", build(config()), tokenizer)
    models.export(tmp_path / "own", tmp_path / "out", dtype="bfloat16")
    ids = torch.tensor([models.load(tmp_path / "own").tokenizer.encode("the curious cat")])
    ours = load_model(tmp_path / "out", dtype=torch.float32).model(ids)
    plain = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    asked = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    assert (logits(asked, ids) - ours).abs().max() <= 1e-5
    assert (logits(plain, ids).float() - ours).abs().max() > 1e-3


def test_to_our_own_format(tmp_path: Path) -> None:
    original = randomise(transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**LLAMA, "num_hidden_layers": 1})))
    original.save_pretrained(tmp_path / "first")
    words().save_pretrained(tmp_path / "first")
    assert models.export(tmp_path / "first", tmp_path / "own", to="limner", dtype="bfloat16") == "limner.load"
    assert json.loads((tmp_path / "own" / "config.json").read_text())["format"] == "limner"
    assert next(load_model(tmp_path / "own").model.parameters()).dtype == torch.bfloat16


def test_nothing_is_overwritten(saved: tuple[Path, nn.Module], tmp_path: Path) -> None:
    folder, _ = saved
    out = tmp_path / "out"
    out.mkdir()
    models.export(folder, out)  # empty
    with pytest.raises(WeightsError, match=r"out is there already and not empty.*--force"):
        models.export(folder, out)
    models.export(folder, out, force=True)
    (out / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"out holds something else than a model"):
        models.export(folder, out, force=True)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(WeightsError, match=r"notes.txt is there already"):
        models.export(folder, tmp_path / "notes.txt", force=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_model_that_no_family_has_is_not_exported(tokenizer: Tokenizer, tmp_path: Path) -> None:
    save_model(tmp_path / "own", build(changed(placement="sandwich")), tokenizer)
    with pytest.raises(ConfigError, match=r"placement is 'sandwich'"):
        models.export(tmp_path / "own", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def rename_old_spellings(name: str) -> str:
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


@pytest.mark.parametrize(
    ("name", "rename", "extra"),
    [
        ("gpt2", lambda n: n.removeprefix("transformer."), {"h.0.attn.bias": (1, 1, 4, 4), "h.1.attn.masked_bias": ()}),
        ("bert", rename_old_spellings, {"bert.embeddings.position_ids": (1, 64), "bert.pooler.dense.bias": (32,)}),
        ("llama", lambda n: n, {"model.layers.0.self_attn.rotary_emb.inv_freq": (4,)}),
    ],
)
def test_folders_of_older_releases(
    name: str, rename: Callable[[str], str], extra: dict[str, Any], tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    kind, settings, values = CLASSES[name]
    values = {key: value for key, value in values.items() if key not in ("architectures", "model_type")}
    original = randomise(kind(settings(**{**values, "vocab_size": 97})))
    original.save_pretrained(tmp_path / "old")
    path = tmp_path / "old" / "model.safetensors"
    tensors = {rename(key): value.clone() for key, value in load_file(path).items()}
    save_file(tensors | {key: torch.zeros(shape) for key, shape in extra.items()}, path)
    ids = torch.randint(0, 97, (2, 12))
    with torch.inference_mode():
        assert (load_model(tmp_path / "old").model(ids) - logits(original, ids)).abs().max() <= 1e-5
    save_file(tensors | {"h.0.attn.gate": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match=r"has h.0.attn.gate that the model does not use"):
        load_model(tmp_path / "old")
