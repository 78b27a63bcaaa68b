"""config.json ↔ our description, both ways, and nothing that we cannot honour passes in silence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from limner.core.config import (
    ALiBiPositions,
    DynamicScaling,
    EmbeddingConfig,
    FullSpan,
    LayerNorm,
    LinearScaling,
    Llama3Scaling,
    ModelConfig,
    RotaryPositions,
    SlidingSpan,
    YarnScaling,
)
from limner.core.errors import ConfigError
from limner.weights.families import families, family
from limner.weights.huggingface import choose_family
from tests.weights.conftest import config

SIZE = {
    "vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 48,
    "max_position_embeddings": 64,
}  # fmt: skip
LLAMA: dict[str, Any] = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **SIZE}
QWEN3: dict[str, Any] = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "head_dim": 12, **SIZE}
CLIP: dict[str, Any] = {"architectures": ["CLIPTextModel"], "model_type": "clip_text_model", **SIZE}
WHOLE_CLIP: dict[str, Any] = {"architectures": ["CLIPModel"], "model_type": "clip", "text_config": SIZE}
BERT: dict[str, Any] = {"architectures": ["BertForMaskedLM"], "model_type": "bert", **SIZE}
GPT2: dict[str, Any] = {
    "architectures": ["GPT2LMHeadModel"],
    "model_type": "gpt2",
    "n_layer": 2,
    "n_embd": 32,
    "n_head": 4,
}


def read(values: dict[str, Any], **changes: Any) -> ModelConfig:
    values = {**values, **changes}
    return family(values["model_type"]).from_foreign(values)


def rotary(found: ModelConfig) -> RotaryPositions:
    positions = found.stack.block(0).attention.positions
    assert isinstance(positions, RotaryPositions)
    return positions


SCALINGS: list[tuple[dict[str, Any], Any]] = [
    ({"rope_type": "linear", "factor": 2}, LinearScaling(2.0)),
    ({"rope_type": "dynamic", "factor": 2.0}, DynamicScaling(2.0, 64)),
    (
        {
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
        },
        Llama3Scaling(8.0, 1.0, 4.0, 16),
    ),
    ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}, YarnScaling(4.0, 16)),
    (
        {
            "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "attention_factor": 0.9,
            "beta_fast": 8, "beta_slow": 2, "truncate": False,
        },
        YarnScaling(4.0, 16, 8.0, 2.0, 0.9, truncate=False),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), SCALINGS)
def test_rotary_scaling_in_both_spellings(given: dict[str, Any], expected: Any) -> None:
    old = read(LLAMA, rope_theta=5000, rope_scaling=given)
    new = read(LLAMA, rope_parameters={"rope_theta": 5000.0, **given})
    oldest = {("type" if key == "rope_type" else key): value for key, value in given.items()}
    assert old == new == read(LLAMA, rope_theta=5000.0, rope_scaling=oldest)
    assert rotary(old) == RotaryPositions(5000.0, scaling=expected)
    written = family("llama").to_foreign(old)
    alone = {k: v for k, v in written.items() if k not in ("rope_theta", "rope_scaling")}
    assert read(alone) == old
    assert read({k: v for k, v in written.items() if k != "rope_parameters"}) == old


def test_rotary_defaults() -> None:
    plain = RotaryPositions(10_000.0)
    assert rotary(read(LLAMA)) == rotary(read(LLAMA, rope_scaling=None)) == plain
    assert rotary(read(LLAMA, rope_parameters={"rope_type": "default", "rope_theta": 10000.0})) == plain


@pytest.mark.parametrize(
    "values",
    [
        GPT2,
        {**GPT2, "n_inner": 40, "activation_function": "relu", "tie_word_embeddings": False, "n_positions": 99},
        {**GPT2, "scale_attn_weights": False, "layer_norm_epsilon": 1e-6, "resid_pdrop": 0.0, "attn_pdrop": 0.3},
        {**GPT2, "architectures": ["GPT2Model"]},
        LLAMA,
        {**LLAMA, "num_key_value_heads": 2, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
        {**LLAMA, "head_dim": 6, "hidden_act": "gelu_pytorch_tanh", "rms_norm_eps": 1e-5, "attention_dropout": 0.2},
        {**LLAMA, "architectures": ["LlamaModel"]},
        QWEN3,
        {**QWEN3, "use_sliding_window": True, "sliding_window": 5, "max_window_layers": 2},
        {
            **QWEN3, "use_sliding_window": True, "sliding_window": 5,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
        },
        BERT,
        {**BERT, "hidden_act": "relu", "type_vocab_size": 3, "hidden_dropout_prob": 0.0, "layer_norm_eps": 1e-6},
        {**BERT, "architectures": ["BertModel"]},
        CLIP,
        {**CLIP, "hidden_act": "gelu", "layer_norm_eps": 1e-6, "attention_dropout": 0.2},
    ],
)  # fmt: skip
def test_every_description_comes_back(values: dict[str, Any]) -> None:
    found = read(values)
    known = family(values["model_type"])
    written = known.to_foreign(found)
    assert known.from_foreign(written) == found
    assert choose_family(found).from_foreign(written | {"model_type": values["model_type"]}) is not None
    spelled = {"gelu_new": "gelu_tanh"}
    for name, value in values.items():
        if name != "max_window_layers":
            assert spelled.get(str(written[name]), written[name]) == spelled.get(str(value), value), name


def test_a_part_of_a_larger_model_is_read_as_it_would_be_alone() -> None:
    assert read(WHOLE_CLIP) == read(CLIP)
    older = {**WHOLE_CLIP, "text_config": {**SIZE, "hidden_size": 64}, "text_config_dict": SIZE}
    assert read(older) == read(CLIP)


def test_sliding_windows() -> None:
    half = read(QWEN3, use_sliding_window=True, sliding_window=5, max_window_layers=2)
    spans = [half.stack.block(i).attention.span for i in range(4)]
    assert spans == [FullSpan(), FullSpan(), SlidingSpan(5), SlidingSpan(5)]
    turns = read(
        QWEN3, use_sliding_window=True, sliding_window=5, layer_types=["sliding_attention", "full_attention"] * 2
    )
    assert len(turns.stack.blocks) == 2
    assert len(read(QWEN3, sliding_window=5).stack.blocks) == 1  # use_sliding_window is not set
    assert len(read(QWEN3, use_sliding_window=True, sliding_window=5).stack.blocks) == 1  # from layer 28 on


@pytest.mark.parametrize(
    ("values", "changes", "message"),
    [
        (LLAMA, {"hidden_act": "mish"}, "hidden_act is 'mish', but limner has relu,"),
        (GPT2, {"activation_function": "mish"}, "activation_function is 'mish'"),
        (GPT2, {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
        (GPT2, {"add_cross_attention": True}, "add_cross_attention is True"),
        (GPT2, {"architectures": ["GPT2ForSequenceClassification"]}, "GPT2ForSequenceClassification"),
        (LLAMA, {"rope_scaling": {"rope_type": "longrope", "factor": 2.0}}, "rope_type is 'longrope'"),
        (LLAMA, {"rope_scaling": {"type": "linear"}}, "rope_scaling: factor is missing"),
        (LLAMA, {"rope_scaling": {"type": "linear", "factor": "2"}}, "factor is '2', but float is needed"),
        (
            LLAMA,
            {"rope_scaling": {"type": "linear", "factor": 2.0, "warp": 3}},
            "warp is 3, but scaling of the kind linear",
        ),
        (
            LLAMA,
            {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0, "original_max_position_embeddings": 32}},
            "original_max_position_embeddings is 32, but it must equal",
        ),
        (LLAMA, {"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
        (LLAMA, {"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor is 0.5"),
        (LLAMA, {"quantization_config": {"bits": 4}}, "quantization_config is {'bits': 4}"),
        (LLAMA, {"hidden_size": 34}, "hidden_size is 34, but this family divides it"),
        (LLAMA, {"hidden_size": None}, "hidden_size is missing"),
        (LLAMA, {"hidden_size": "32"}, "hidden_size is '32', but int is needed"),
        (LLAMA, {"hidden_size": True}, "hidden_size is True, but int is needed"),
        (LLAMA, {"num_key_value_heads": 3}, "num_kv_heads is 3, which does not divide num_heads 4"),
        (QWEN3, {"layer_types": ["full_attention"]}, "layer_types has 1 entries, but num_hidden_layers is 4"),
        (QWEN3, {"layer_types": ["sliding_attention"] * 4}, "'sliding_attention' with sliding_window None"),
        (QWEN3, {"layer_types": ["linear_attention"] * 4}, "layer_types has 'linear_attention'"),
        (BERT, {"is_decoder": True}, "is_decoder is True"),
        (BERT, {"add_cross_attention": True}, "add_cross_attention is True"),
        (BERT, {"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
        (BERT, {"tie_word_embeddings": False}, "tie_word_embeddings is False"),
        (GPT2, {"n_head": 5}, "n_embd is 32, but this family divides it by n_head, which is 5"),
        (LLAMA, {"num_attention_heads": 0}, "num_attention_heads, which is 0"),
        (BERT, {"type_vocab_size": 0}, "type_vocab_size is 0, but this family adds a segment"),
        (BERT, {"hidden_size": 34}, "hidden_size is 34, but this family divides it"),
        (CLIP, {"hidden_size": 34}, "hidden_size is 34, but this family divides it"),
        (WHOLE_CLIP, {"text_config": None}, "text_config is None, but it describes the part that is read"),
        (WHOLE_CLIP, {"text_config": {"hidden_act": "mish"}}, "config.json: text_config: hidden_act is 'mish'"),
        (WHOLE_CLIP, {"architectures": ["CLIPForImageClassification"]}, "CLIPForImageClassification"),
        (WHOLE_CLIP, {"quantization_config": {"bits": 8}}, "quantization_config is {'bits': 8}"),
        ({"model_type": "lama"}, {}, "model_type is 'lama', but limner has no such family. Did you mean 'llama'"),
    ],
)
def test_what_we_cannot_honour_is_named(values: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as found:
        read(values, **changes)
    assert message in str(found.value)


def test_the_family_of_our_own_models() -> None:
    assert choose_family(config()).model_type == "qwen3"  # its dropout is for training alone
    assert choose_family(config(tied=False)).model_type == "qwen3"
    found = config()
    stack = found.stack
    plain = replace(stack.block(0), attention=replace(stack.block(0).attention, qk_norm=None))
    assert choose_family(replace(found, decoder=replace(stack, blocks=(plain,)))).model_type == "llama"


def changed(**options: Any) -> ModelConfig:
    found = config()
    own = {name: options.pop(name) for name in ("softcap", "positions", "span") if name in options}
    block = replace(found.stack.block(0), **options)
    block = replace(block, attention=replace(block.attention, **own))
    return replace(found, decoder=replace(found.stack, blocks=(block,)))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (changed(placement="sandwich"), "decoder.blocks[0].placement is 'sandwich'"),
        (changed(softcap=20.0), "decoder.blocks[0].attention.softcap is 20.0"),
        (changed(positions=ALiBiPositions()), "decoder.blocks[0].attention.positions.kind is 'ALiBiPositions'"),
        (changed(residual_scale=0.5), "decoder.blocks[0].residual_scale is 0.5"),
        (changed(norm=LayerNorm()), "norm.kind is 'LayerNorm'"),
        (changed(positions=RotaryPositions(fraction=0.5)), "attention.positions.fraction is 0.5"),
        (changed(positions=RotaryPositions(scaling=DynamicScaling(2.0, 32))), "scaling.original_length is 32"),
        (replace(config(), embedding=EmbeddingConfig(scale=2.0)), "embedding.scale is 2.0"),
    ],
)
def test_a_model_that_no_family_has_names_the_part(found: ModelConfig, message: str) -> None:
    with pytest.raises(ConfigError) as problem:
        choose_family(found)
    assert message in str(problem.value)
    assert "no family of Hugging Face that limner writes is so" in str(problem.value)
    with pytest.raises(ConfigError, match="no model of the family qwen3 is so"):
        family("qwen3").to_foreign(found)


def test_every_family_is_one_file() -> None:
    assert sorted(families()) == ["bert", "clip_text_model", "gpt2", "llama", "qwen3"]
    assert all(name == known.model_type for name, known in families().items())
