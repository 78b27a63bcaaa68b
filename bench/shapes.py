"""The two shapes that decoding is measured at, for limner and for transformers."""

from __future__ import annotations

from typing import Any

import torch

from limner.core.config import (
    AttentionConfig,
    BlockConfig,
    EmbeddingConfig,
    FeedForwardConfig,
    LayerNorm,
    LearnedPositions,
    ModelConfig,
    RMSNorm,
    RotaryPositions,
    StackConfig,
)
from limner.core.transformer import Transformer


def gpt2() -> ModelConfig:
    """GPT-2, 124 million parameters."""
    attention = AttentionConfig(12, 12, 64, bias=True, output_bias=True)
    feed_forward = FeedForwardConfig(3072, "gelu_tanh", gated=False, bias=True)
    block = BlockConfig(attention, feed_forward, norm=LayerNorm())
    return ModelConfig(
        50257, 768, 1024, StackConfig(12, (block,), True, LayerNorm()), embedding=EmbeddingConfig(LearnedPositions())
    )


def llama() -> ModelConfig:
    """Llama's layout at 360 million parameters, as SmolLM2 has it."""
    attention = AttentionConfig(15, 5, 64, positions=RotaryPositions(100_000.0))
    block = BlockConfig(attention, FeedForwardConfig(2560), norm=RMSNorm(1e-5))
    return ModelConfig(49152, 960, 2048, StackConfig(32, (block,), True, RMSNorm(1e-5)))


SHAPES = {"gpt2-124m": gpt2, "llama-360m": llama}


def ours(shape: str, dtype: torch.dtype) -> Transformer:
    """The model with random weights, none of them zero."""
    torch.manual_seed(1)
    model = Transformer(SHAPES[shape]())
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.02)
    return model.to(dtype).eval()


def theirs(shape: str, dtype: torch.dtype) -> Any:
    """The same shape as transformers has it, random weights, scaled dot-product attention."""
    import transformers

    torch.manual_seed(1)
    if shape == "gpt2-124m":
        config: Any = transformers.GPT2Config(bos_token_id=0, eos_token_id=None)
    else:
        config = transformers.LlamaConfig(
            vocab_size=49152,
            hidden_size=960,
            intermediate_size=2560,
            num_hidden_layers=32,
            num_attention_heads=15,
            num_key_value_heads=5,
            tie_word_embeddings=True,
            rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
            bos_token_id=0,
            eos_token_id=None,
        )
    config._attn_implementation = "sdpa"
    return transformers.AutoModelForCausalLM.from_config(config).to(dtype).eval()
