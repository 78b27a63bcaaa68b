from __future__ import annotations

import pytest
import torch

from limner.core.errors import ConfigError
from limner.core.transformer import Transformer
from limner.text.presets import preset, read_size, shape


@pytest.mark.parametrize("parameters", [300_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000])
def test_a_size_is_met_within_a_quarter_and_counted_right(parameters: int) -> None:
    made = shape(parameters, vocab_size=2048)
    assert abs(made.parameters(2048) / parameters - 1) < 0.3
    with torch.device("meta"):
        model = Transformer(made.config(2048))
    counted = sum(p.numel() for p in model.parameters() if p.ndim == 2)
    assert counted == made.parameters(2048)
    assert made.dim % 64 == 0
    assert made.num_heads % made.num_kv_heads == 0


def test_larger_is_deeper_and_wider() -> None:
    small, large = shape(1_000_000, 1024), shape(300_000_000, 1024)
    assert small.dim < large.dim
    assert small.num_layers < large.num_layers


def test_the_default_model_computes() -> None:
    model = Transformer(preset(200_000, vocab_size=100, context_length=16))
    assert model(torch.zeros(2, 5, dtype=torch.int64)).shape == (2, 5, 100)


@pytest.mark.parametrize(
    ("text", "number"), [("10M", 10_000_000), ("1.5m", 1_500_000), ("500K", 500_000), ("1B", 10**9), ("70000", 70_000)]
)
def test_sizes_are_read(text: str, number: int) -> None:
    assert read_size(text) == number


@pytest.mark.parametrize("text", ["big", "", "-3M", "10 MB", "0"])
def test_what_is_no_size_is_said(text: str) -> None:
    with pytest.raises(ConfigError, match=repr(text)):
        read_size(text)


def test_a_size_too_small_for_the_vocabulary_is_said() -> None:
    with pytest.raises(ConfigError, match="10,000 parameters"):
        shape(10_000, vocab_size=50_000)
