"""Positions against values worked out by hand, and against transformers' own functions."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

from limner.core.config import (
    DynamicScaling,
    LinearScaling,
    Llama3Scaling,
    RotaryPositions,
    YarnScaling,
)
from limner.core.errors import ShapeError
from limner.core.positions import alibi_slopes, rotary_frequencies, rotate, rotation, sinusoidal


def test_sinusoidal_values() -> None:
    found = sinusoidal(torch.tensor([0, 3]), 4)
    slow = 3 / 10_000**0.5
    expected = [[0, 1, 0, 1], [math.sin(3), math.cos(3), math.sin(slow), math.cos(slow)]]
    assert torch.allclose(found, torch.tensor(expected), atol=1e-6)
    assert sinusoidal(torch.zeros(2, 5, dtype=torch.long), 8).shape == (2, 5, 8)
    with pytest.raises(ShapeError, match="dim is 5, but sines and cosines come in pairs"):
        sinusoidal(torch.arange(3), 5)


@pytest.mark.parametrize(
    ("heads", "expected"),
    [
        (1, [2**-8]),
        (2, [2**-4, 2**-8]),
        (8, [2.0**-i for i in range(1, 9)]),
        (3, [2**-4, 2**-8, 2**-2]),
        (6, [0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125]),  # as the paper's own code gives them
    ],
)
def test_alibi_slopes(heads: int, expected: list[float]) -> None:
    assert alibi_slopes(heads).tolist() == expected


SCALINGS: dict[str, tuple[Any, dict[str, Any]]] = {
    "none": (None, {"rope_type": "default"}),
    "linear": (LinearScaling(3.0), {"rope_type": "linear", "factor": 3.0}),
    "dynamic": (DynamicScaling(3.0, 64), {"rope_type": "dynamic", "factor": 3.0}),
    "llama3": (
        Llama3Scaling(8.0, 1.0, 4.0, 32),
        {
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    ),
    "yarn": (YarnScaling(4.0, 16), {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}),
    "yarn-set": (
        YarnScaling(4.0, 2048, 20.0, 2.0, 0.7, truncate=False),
        {
            "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048, "beta_fast": 20.0,
            "beta_slow": 2.0, "attention_factor": 0.7, "truncate": False,
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCALINGS)
@pytest.mark.parametrize("length", [10, 200])
def test_rotary_frequencies_are_those_of_transformers(name: str, length: int) -> None:
    scaling, parameters = SCALINGS[name]
    config = LlamaConfig(
        hidden_size=64,
        num_attention_heads=4,
        max_position_embeddings=64,
        rope_parameters={**parameters, "rope_theta": 500.0},
    )
    if name == "none":
        expected, factor = LlamaRotaryEmbedding.compute_default_rope_parameters(config)
    else:
        expected, factor = ROPE_INIT_FUNCTIONS[parameters["rope_type"]](config, "cpu", seq_len=length)
    found, magnitude = rotary_frequencies(RotaryPositions(500.0, scaling=scaling), 16, length)
    assert torch.allclose(found, expected, rtol=1e-6, atol=0)
    assert magnitude == pytest.approx(factor, rel=1e-6)


def test_rotation_is_that_of_transformers() -> None:
    config = LlamaConfig(hidden_size=64, num_attention_heads=4)
    positions = torch.tensor([[0, 1, 2, 3, 4], [0, 0, 0, 1, 2]])
    q, k = torch.randn(2, 4, 5, 16), torch.randn(2, 2, 5, 16)
    cos, sin = LlamaRotaryEmbedding(config)(q, positions)
    expected = apply_rotary_pos_emb(q, k, cos, sin)
    frequencies, magnitude = rotary_frequencies(RotaryPositions(), 16, 5)
    turn = rotation(positions, frequencies, magnitude)
    assert torch.allclose(rotate(q, turn), expected[0], atol=1e-6)
    assert torch.allclose(rotate(k, turn), expected[1], atol=1e-6)


def test_a_product_depends_on_the_distance_alone() -> None:
    frequencies, magnitude = rotary_frequencies(RotaryPositions(), 8, 1)
    q, k = torch.randn(1, 1, 1, 8, dtype=torch.float64), torch.randn(1, 1, 1, 8, dtype=torch.float64)

    def product(m: int, n: int) -> float:
        turned = [rotate(x, rotation(torch.tensor([p]), frequencies, magnitude)) for x, p in ((q, m), (k, n))]
        return float((turned[0] * turned[1]).sum())

    assert product(7, 3) == pytest.approx(product(104, 100), abs=1e-4)
    assert product(7, 3) != pytest.approx(product(7, 4), abs=1e-3)


def test_a_part_of_the_channels_is_left_alone() -> None:
    frequencies, _ = rotary_frequencies(RotaryPositions(fraction=0.5), 4, 9)
    x = torch.randn(2, 3, 9, 8)
    turned = rotate(x, rotation(torch.arange(9), frequencies))
    assert torch.equal(turned[..., 4:], x[..., 4:])
    assert torch.allclose(turned.norm(dim=-1), x.norm(dim=-1), atol=1e-5)


def test_half_precision_models_turn_by_exact_angles() -> None:
    """Angles are worked out in float32: in bfloat16, positions 256 and 257 would be one."""
    frequencies, _ = rotary_frequencies(RotaryPositions(), 8, 300)
    cos, sin = rotation(torch.tensor([256, 257]), frequencies)
    assert cos.dtype == sin.dtype == torch.float32
    x = torch.ones(1, 1, 2, 8, dtype=torch.bfloat16)
    turned = rotate(x, (cos, sin))
    assert turned.dtype == torch.bfloat16
    assert not torch.equal(turned[0, 0, 0], turned[0, 0, 1])


def test_a_compiler_makes_the_tables_once() -> None:
    """In the graph they are one operation that it cannot take apart, so that no layer works out cosines again."""
    graphs: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, _: object) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    frequencies, _ = rotary_frequencies(RotaryPositions(), 8, 16)

    def turned(x: torch.Tensor) -> torch.Tensor:
        return rotate(x, rotation(torch.arange(5), frequencies))

    x = torch.randn(1, 2, 5, 8, requires_grad=True)
    compiled = torch.compile(turned, backend=keep, fullgraph=True)
    assert compiled(x).equal(turned(x))
    named = [str(node.target) for node in graphs[0].graph.nodes if node.op == "call_function"]
    assert sum("limner.rotation" in name for name in named) == 1
    assert not any("cos" in name for name in named)


def test_an_exported_program_holds_nothing_of_ours() -> None:
    class Turning(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return rotate(x, rotation(torch.arange(5), torch.ones(4)))

    program = torch.export.export(Turning(), (torch.randn(1, 2, 5, 8),))
    assert not any("limner" in str(node.target) for node in program.graph.nodes)
