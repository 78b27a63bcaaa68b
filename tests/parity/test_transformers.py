"""The same numbers as transformers, for its GPT-2, Llama, Qwen3, BERT and CLIP, from the folders that it writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from limner.core.cache import Cache
from limner.core.transformer import Transformer
from limner.weights.folder import load_model
from tests.parity.conftest import VOCAB, near, padded, randomise

SIZE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
GROUPED: dict[str, Any] = {**SIZE, "num_key_value_heads": 2}
GPT2: dict[str, Any] = {"vocab_size": VOCAB, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64}


def rope(kind: str, **settings: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 5000.0, **settings}}


def gpt2(**options: Any) -> nn.Module:
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**{**GPT2, **options}))


def llama(**options: Any) -> nn.Module:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**GROUPED, **options}))


def qwen3(**options: Any) -> nn.Module:
    return transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**{**GROUPED, "head_dim": 12, **options}))


def bert(**options: Any) -> nn.Module:
    return transformers.BertForMaskedLM(transformers.BertConfig(**{**SIZE, **options}))


def clip(name: str = "CLIPTextModel", **options: Any) -> nn.Module:
    ends = {"bos_token_id": 1, "eos_token_id": 2}  # of which only the summary of a text depends
    return getattr(transformers, name)(transformers.CLIPTextConfig(**{**SIZE, **ends, **options}))


def whole_clip(**options: Any) -> nn.Module:
    """With the half that sees."""
    sees = {**SIZE, "image_size": 8, "patch_size": 4}
    reads = clip(**options).config.to_dict()
    return transformers.CLIPModel(transformers.CLIPConfig(text_config=reads, vision_config=sees))


YARN = {"factor": 4.0, "original_max_position_embeddings": 16}
DECODERS: dict[str, Callable[[], nn.Module]] = {
    "gpt2": gpt2,
    "gpt2-inner-relu-untied": lambda: gpt2(n_inner=40, activation_function="relu", tie_word_embeddings=False),
    "gpt2-unscaled": lambda: gpt2(scale_attn_weights=False, n_head=2),
    "llama": llama,
    "llama-biases-tied": lambda: llama(attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    "llama-one-key-head-dim": lambda: llama(num_key_value_heads=1, head_dim=6, rms_norm_eps=1e-4),
    "llama-linear": lambda: llama(**rope("linear", factor=3.0)),
    "llama-dynamic": lambda: llama(**rope("dynamic", factor=3.0)),
    "llama-llama3": lambda: llama(
        **rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)
    ),
    "llama-yarn": lambda: llama(**rope("yarn", **YARN)),
    "llama-yarn-mscale": lambda: llama(**rope("yarn", **YARN, mscale=0.7, mscale_all_dim=1.2, truncate=False)),
    "llama-yarn-factor": lambda: llama(**rope("yarn", **YARN, attention_factor=0.8, beta_fast=16.0, beta_slow=2.0)),
    "qwen3": qwen3,
    "qwen3-tied-biases": lambda: qwen3(tie_word_embeddings=True, attention_bias=True),
    "qwen3-sliding": lambda: qwen3(use_sliding_window=True, sliding_window=5, num_hidden_layers=4, max_window_layers=2),
    "qwen3-local-global": lambda: qwen3(
        use_sliding_window=True,
        sliding_window=7,
        num_hidden_layers=5,
        layer_types=["sliding_attention", "full_attention"] * 2 + ["sliding_attention"],
    ),
}


@pytest.fixture(params=DECODERS)
def pair(request: pytest.FixtureRequest, folder: Callable[..., Path]) -> tuple[nn.Module, Transformer]:
    theirs = randomise(DECODERS[request.param]())
    return theirs, load_model(folder(theirs)).model


@torch.inference_mode()
def test_decoder_whole_prompt(pair: tuple[nn.Module, Transformer]) -> None:
    theirs, ours = pair
    for time in (1, 7, 40):
        ids = torch.randint(0, VOCAB, (2, time))
        near(ours(ids), theirs(ids).logits, f"{time} tokens")


@torch.inference_mode()
def test_decoder_with_cache(pair: tuple[nn.Module, Transformer]) -> None:
    theirs, ours = pair
    ids = torch.randint(0, VOCAB, (2, 40))
    expected = theirs(ids).logits
    for pieces in ([40], [12] + [1] * 28, [3, 9, 1, 1, 14, 1, 11], [1] * 40):
        cache = Cache.empty(ours.config, 2)
        found = torch.cat([ours(piece, cache=cache) for piece in ids.split(pieces, dim=1)], dim=1)
        near(found, expected, f"pieces {pieces[:4]}")
        assert cache.length == 40


@pytest.mark.parametrize("side", ["left", "right"])
@torch.inference_mode()
def test_decoder_padded(pair: tuple[nn.Module, Transformer], side: str) -> None:
    theirs, ours = pair
    ids, mask, positions = padded((17, 5, 11), side)
    expected = theirs(ids, attention_mask=mask.long(), position_ids=positions).logits
    near(ours(ids, mask=mask)[mask], expected[mask], side)
    cache = Cache.empty(ours.config, 3)
    pieces = [9, 1, 1, 6]
    cached = [
        ours(piece, mask=real, cache=cache)
        for piece, real in zip(ids.split(pieces, dim=1), mask.split(pieces, dim=1), strict=True)
    ]
    near(torch.cat(cached, dim=1)[mask], expected[mask], f"{side} cached")


@torch.inference_mode()
def test_dynamic_scaling_beyond_the_context(folder: Callable[..., Path]) -> None:
    theirs = randomise(DECODERS["llama-dynamic"]())
    ours = load_model(folder(theirs)).model
    ids = torch.randint(0, VOCAB, (2, 100))
    near(ours(ids), theirs(ids).logits)


BERTS: dict[str, Callable[[], nn.Module]] = {
    "masked": bert,
    "masked-relu-segments": lambda: bert(hidden_act="relu", type_vocab_size=3),
    "pretraining": lambda: transformers.BertForPreTraining(transformers.BertConfig(**SIZE)),
    "bare": lambda: transformers.BertModel(transformers.BertConfig(**SIZE)),
}


@pytest.mark.parametrize("name", BERTS)
@pytest.mark.parametrize("side", ["left", "right"])
@torch.inference_mode()
def test_encoder(name: str, side: str, folder: Callable[..., Path]) -> None:
    theirs = randomise(BERTS[name]())
    ours = load_model(folder(theirs)).model
    ids, mask, positions = padded((17, 5, 11), side)
    segments = (torch.arange(17) > 8).long().expand(3, -1)
    out = theirs(ids, attention_mask=mask.long(), position_ids=positions, token_type_ids=segments)
    expected = out[0] if name != "pretraining" else out.prediction_logits
    run = ours.hidden if ours.head is None else ours
    near(run(ids, mask=mask, segments=segments)[mask], expected[mask], side)
    whole = theirs(ids)
    near(run(ids), whole[0] if name != "pretraining" else whole.prediction_logits, "whole")


CLIPS: dict[str, Callable[[], nn.Module]] = {
    "text": clip,
    "text-gelu": lambda: clip(hidden_act="gelu", layer_norm_eps=1e-4, max_position_embeddings=17),
    "projected": lambda: clip("CLIPTextModelWithProjection", projection_dim=24),
    "whole": whole_clip,
}


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize("side", ["left", "right"])
@torch.inference_mode()
def test_text_half_of_clip(name: str, side: str, folder: Callable[..., Path]) -> None:
    theirs = randomise(CLIPS[name]())
    assert all(bool(parameter.all()) for parameter in theirs.parameters())
    ours = load_model(folder(theirs)).model
    reader = getattr(theirs, "text_model", theirs)
    ids, mask, positions = padded((17, 5, 11), side)
    expected = reader(ids, attention_mask=mask.long(), position_ids=positions).last_hidden_state
    near(ours.hidden(ids, mask=mask)[mask], expected[mask], side)
    near(ours.hidden(ids), reader(ids).last_hidden_state, "whole")


@pytest.mark.parametrize("build", [gpt2, llama, qwen3, bert])
@torch.inference_mode()
def test_sharded_and_half_precision(build: Callable[[], nn.Module], folder: Callable[..., Path]) -> None:
    theirs = randomise(build())
    path = folder(theirs, max_shard_size="20KB")
    assert (path / "model.safetensors.index.json").exists()
    ids = torch.randint(0, VOCAB, (2, 9))
    near(load_model(path).model(ids), theirs(ids).logits)
    half = load_model(path, dtype=torch.bfloat16).model
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
    assert (half(ids).float() - theirs(ids).logits).abs().max() < 0.5
