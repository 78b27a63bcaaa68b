"""The fast way to take a step gives what the plain way gives, and steps aside where it cannot."""

from __future__ import annotations

import ctypes
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from limner.core.cache import Cache
from limner.core.config import (
    ALiBiPositions,
    AttentionConfig,
    BlockConfig,
    DynamicScaling,
    EmbeddingConfig,
    FeedForwardConfig,
    HeadConfig,
    LayerNorm,
    LearnedPositions,
    ModelConfig,
    NoPositions,
    RMSNorm,
    RotaryPositions,
    SinusoidalPositions,
    SlidingSpan,
    StackConfig,
    YarnScaling,
)
from limner.core.errors import ContextError
from limner.core.transformer import Transformer
from limner.text import fast_decode
from limner.text.decode import Decoder
from limner.text.fast_decode import FastModel, fits

VOCAB, PROMPT, CAPACITY = 101, 9, 30

LLAMA = AttentionConfig(4, 2, 16, positions=RotaryPositions())
GPT2 = AttentionConfig(4, 4, 16, bias=True, output_bias=True)
SWIGLU = FeedForwardConfig(96)


def model_config(*blocks: BlockConfig, **parts: Any) -> ModelConfig:
    final = parts.pop("final", RMSNorm())
    return ModelConfig(VOCAB, 64, 64, StackConfig(max(2, len(blocks)), blocks, True, final), **parts)


CONFIGS = {
    "llama": model_config(BlockConfig(LLAMA, SWIGLU)),
    "gpt2": model_config(
        BlockConfig(GPT2, FeedForwardConfig(96, "gelu_tanh", gated=False, bias=True), norm=LayerNorm()),
        embedding=EmbeddingConfig(LearnedPositions()),
        final=LayerNorm(),
    ),
    "qwen, one key head": model_config(BlockConfig(replace(LLAMA, num_kv_heads=1, qk_norm=RMSNorm()), SWIGLU)),
    "sandwich, soft-capped, untied": model_config(
        BlockConfig(replace(LLAMA, softcap=5.0), SWIGLU, placement="sandwich", residual_scale=0.5),
        head=HeadConfig(tied=False, bias=True, softcap=9.0),
    ),
    "post, sinusoidal": model_config(
        BlockConfig(
            replace(GPT2, scale=0.3), FeedForwardConfig(96, "relu", gated=False), norm=LayerNorm(), placement="post"
        ),
        embedding=EmbeddingConfig(SinusoidalPositions(), scale=3.0, norm=LayerNorm(bias=False)),
        final=None,
    ),
    "ring and full": model_config(
        BlockConfig(replace(LLAMA, span=SlidingSpan(5)), FeedForwardConfig(96, "quick_gelu")),
        BlockConfig(LLAMA, FeedForwardConfig(96, "gelu")),
    ),
    "odd sizes": model_config(
        BlockConfig(
            AttentionConfig(4, 2, 10, positions=RotaryPositions(fraction=0.6, scaling=YarnScaling(4.0, 8))),
            FeedForwardConfig(51, "relu2"),
        )
    ),
}


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    if fast_decode.compiler() is None:
        pytest.skip("no C++ compiler")
    built = fast_decode.routine(build=True)
    assert built is not None
    return built


def test_loading_the_routine_counts_as_using_it(library: ctypes.CDLL) -> None:
    path = Path(library._name)
    os.utime(path, (0, 0))
    fast_decode.routine.cache_clear()
    try:
        assert fast_decode.routine() is not None
    finally:
        fast_decode.routine.cache_clear()
    assert path.stat().st_mtime > 0


def make(config: ModelConfig, dtype: torch.dtype = torch.float32) -> Transformer:
    model = Transformer(config)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            matrix = parameter.dim() > 1
            parameter.copy_(
                torch.randn(parameter.shape, generator=generator) * (0.15 if matrix else 0.2) + (not matrix)
            )
    return model.to(dtype).eval()


def prompt(batch: int, *, padded: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
    ids = torch.randint(0, VOCAB, (batch, PROMPT), generator=torch.Generator().manual_seed(batch))
    return ids, torch.arange(PROMPT) >= (torch.arange(batch) % 4)[:, None] if padded else None


def steps(model: Transformer, fast: FastModel | None, batch: int, *, padded: bool, count: int = 12) -> torch.Tensor:
    """The logits of ``count`` steps over given tokens, shape (count, batch, vocab)."""
    ids, mask = prompt(batch, padded=padded)
    forced = torch.randint(0, VOCAB, (count, batch), generator=torch.Generator().manual_seed(3))
    found = []
    with torch.inference_mode():
        cache = Cache.empty(model.config, batch, CAPACITY, dtype=model.embedding.token.weight.dtype)
        model.hidden(ids, mask=mask, cache=cache)
        for token in forced:
            logits = model(token[:, None], cache=cache)[:, -1] if fast is None else fast.step(token, cache)
            found.append(logits.float())
    return torch.stack(found)


@pytest.mark.parametrize("name", CONFIGS)
def test_float32_equals_the_plain_step(name: str, library: ctypes.CDLL) -> None:
    model = make(CONFIGS[name])
    fast = FastModel(model, library, CAPACITY)
    for batch, padded in ((1, False), (3, True), (18, False)):
        plain = steps(model, None, batch, padded=padded)
        assert plain.std() > 0.1
        torch.testing.assert_close(steps(model, fast, batch, padded=padded), plain, atol=5e-5, rtol=1e-4)


@pytest.mark.parametrize("tiles", [True, False])
@pytest.mark.parametrize("name", CONFIGS)
def test_bfloat16_is_no_further_from_float32_than_the_plain_step(name: str, tiles: bool, library: ctypes.CDLL) -> None:
    model = make(CONFIGS[name], torch.bfloat16)
    exact_model = make(CONFIGS[name], torch.bfloat16).float()
    fast = FastModel(model, library, CAPACITY, tiles=tiles)
    for batch, padded in ((1, False), (18, True)):
        exact = steps(exact_model, None, batch, padded=padded)
        plain_error = (steps(model, None, batch, padded=padded) - exact).pow(2).mean().sqrt()
        fast_error = (steps(model, fast, batch, padded=padded) - exact).pow(2).mean().sqrt()
        assert fast_error <= 1.1 * plain_error
        assert fast_error < 0.05 * exact.std()


def test_a_row_of_a_batch_is_the_same_text_alone(library: ctypes.CDLL) -> None:
    """Bit for bit in float32: sums are made in one order, whatever the batch."""
    model = make(CONFIGS["llama"])
    fast = FastModel(model, library, CAPACITY)
    generator = torch.Generator().manual_seed(5)
    cache = Cache.empty(model.config, 7, CAPACITY)
    for layer in cache.layers:
        layer.keys.normal_(generator=generator)
        layer.values.normal_(generator=generator)
    alone = Cache.empty(model.config, 1, CAPACITY)
    for one, many in zip(alone.layers, cache.layers, strict=True):
        one.keys, one.values = many.keys[4:5].clone(), many.values[4:5].clone()
    cache.length = alone.length = 11
    ids = torch.arange(7)
    with torch.inference_mode():
        assert torch.equal(fast.step(ids, cache)[4:5], fast.step(ids[4:5], alone))


def test_plain_and_fast_steps_take_turns_on_one_cache(library: ctypes.CDLL) -> None:
    model = make(CONFIGS["ring and full"])
    fast = FastModel(model, library, CAPACITY)
    ids, mask = prompt(3, padded=True)
    with torch.inference_mode():
        mixed, plain = (Cache.empty(model.config, 3, CAPACITY) for _ in range(2))
        for cache in (mixed, plain):
            model.hidden(ids, mask=mask, cache=cache)
        for turn in range(10):
            token = torch.full((3,), turn)
            expected = model(token[:, None], cache=plain)[:, -1]
            found = model(token[:, None], cache=mixed)[:, -1] if turn % 3 == 0 else fast.step(token, mixed)
            torch.testing.assert_close(found, expected, atol=5e-5, rtol=1e-4)
    assert mixed.mask is not None
    assert plain.mask is not None
    assert torch.equal(mixed.mask, plain.mask)


@pytest.mark.parametrize("padded", [False, True])
def test_the_decoder_writes_the_same_tokens_either_way(
    padded: bool, library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make(CONFIGS["qwen, one key head"])
    ids, mask = prompt(4, padded=padded)

    def greedy(expected_tokens: int) -> tuple[list[list[int]], bool]:
        decoder = Decoder(model, 4, CAPACITY, expected_tokens=expected_tokens)
        token, written = decoder.prefill(ids, mask).argmax(-1), []
        for turn in range(12):
            written.append(token.tolist())
            if turn == 5:
                decoder.take([2, 0, 0])
                token = token[[2, 0, 0]]
            token = decoder.step(token).argmax(-1)
        return written, decoder._fast is not None

    with torch.inference_mode():
        fast, plain = greedy(20), greedy(0)
    assert fast[1]
    assert not plain[1]
    assert fast[0] == plain[0]


def test_what_it_does_not_know_it_leaves_alone(library: ctypes.CDLL) -> None:
    good = make(CONFIGS["llama"])
    assert fits(good)
    assert not fits(good.train())
    hooked = make(CONFIGS["llama"])
    hooked.register_forward_hook(lambda *_: None)
    assert not fits(hooked)
    assert not fits(make(CONFIGS["llama"], torch.float16))
    alibi = replace(LLAMA, positions=ALiBiPositions())
    dynamic = replace(LLAMA, positions=RotaryPositions(scaling=DynamicScaling(2.0, 16)))
    for attention in (alibi, dynamic):
        assert not fits(make(model_config(BlockConfig(attention, SWIGLU))))
    bidirectional = replace(CONFIGS["llama"], decoder=StackConfig(2, (BlockConfig(LLAMA, SWIGLU),), False))
    assert not fits(make(bidirectional))
    assert FastModel.prepare(good.train(), CAPACITY, expected_tokens=100) is None
    assert FastModel.prepare(good.eval(), CAPACITY, expected_tokens=1) is None


def test_without_a_compiler_everything_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(fast_decode, "WORTH_BUILDING", 0)
    fast_decode._library_path.cache_clear()
    fast_decode.routine.cache_clear()
    try:
        model = make(CONFIGS["llama"])
        decoder = Decoder(model, 1, CAPACITY, expected_tokens=1000)
        assert decoder._fast is None
        with torch.inference_mode():
            decoder.prefill(torch.tensor([[1, 2, 3]]))
            assert decoder.step(torch.tensor([4])).shape == (1, VOCAB)
    finally:
        fast_decode._library_path.cache_clear()
        fast_decode.routine.cache_clear()


def test_a_short_text_is_not_worth_compiling_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path))
    fast_decode._library_path.cache_clear()
    fast_decode.routine.cache_clear()
    try:
        assert FastModel.prepare(make(CONFIGS["llama"]), CAPACITY, expected_tokens=200) is None
        assert not list(tmp_path.rglob("*.so"))
    finally:
        fast_decode._library_path.cache_clear()
        fast_decode.routine.cache_clear()


def test_no_room_and_unknown_ids_are_errors(library: ctypes.CDLL) -> None:
    model = make(CONFIGS["llama"])
    fast = FastModel(model, library, 4)
    cache = Cache.empty(model.config, 1, 4)
    with torch.inference_mode():
        model.hidden(torch.tensor([[1, 2, 3]]), cache=cache)
        with pytest.raises(IndexError, match="101"):
            fast.step(torch.tensor([VOCAB]), cache)
        fast.step(torch.tensor([1]), cache)
        with pytest.raises(ContextError, match=r"5 tokens.*room for 4"):
            fast.step(torch.tensor([1]), cache)


def test_position_numbers_without_added_positions() -> None:
    """A model whose attention has no positions at all is known too."""
    assert fits(make(model_config(BlockConfig(replace(LLAMA, positions=NoPositions()), SWIGLU))))
