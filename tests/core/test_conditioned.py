"""What a picture asks of the core beside what a text does: a condition on every block, and positions of two axes."""

from __future__ import annotations

import pytest
import torch

from limner.core.attention import View
from limner.core.config import (
    AttentionConfig,
    BlockConfig,
    FeedForwardConfig,
    RotaryPositions,
    StackConfig,
)
from limner.core.errors import ConfigError
from limner.core.layers import Block, Neighbours
from limner.core.positions import rotary_frequencies, rotate, rotation
from limner.core.tap import Recorder
from limner.core.transformer import Stack


def block(**changes: object) -> BlockConfig:
    return BlockConfig(AttentionConfig(2, 2, 8), FeedForwardConfig(32), **changes)  # type: ignore[arg-type]


def non_zero(module: torch.nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.3)


def test_a_conditioned_block_is_its_formula() -> None:
    torch.manual_seed(0)
    layer = Block(block(conditioned=True, residual_scale=1.0), 16)
    non_zero(layer)
    x, given = torch.randn(2, 5, 16), torch.randn(2, 6, 16)
    shift1, scale1, gate1, shift2, scale2, gate2 = (given + layer.condition).unbind(1)

    def each(vector: torch.Tensor) -> torch.Tensor:
        return vector[:, None, :]

    read = layer.attention_norm(x) * (1 + each(scale1)) + each(shift1)
    expected = x + (1 + each(gate1)) * layer.attention(read, View())
    read = layer.feed_forward_norm(expected) * (1 + each(scale2)) + each(shift2)
    expected = expected + (1 + each(gate2)) * layer.feed_forward(read)
    assert torch.allclose(layer(x, Neighbours(View(), condition=given)), expected, atol=1e-5)


def test_with_a_condition_of_zero_a_new_block_is_as_without_one() -> None:
    torch.manual_seed(0)
    plain = Block(block(), 16)
    non_zero(plain)
    conditioned = Block(block(conditioned=True), 16)
    conditioned.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(2, 5, 16)
    got = conditioned(x, Neighbours(View(), condition=torch.zeros(2, 6, 16)))
    assert torch.allclose(got, plain(x, Neighbours(View())), atol=1e-6)


def test_a_condition_reaches_every_layer_and_can_be_seen() -> None:
    stack = Stack(StackConfig(3, (block(conditioned=True),), causal=False), 16)
    non_zero(stack)
    x = torch.randn(1, 4, 16)
    recorder = Recorder(["*.condition"])
    one = stack(x, condition=torch.zeros(1, 6, 16), tap=recorder)
    other = stack(x, condition=torch.ones(1, 6, 16))
    assert sorted(recorder.values) == [f"layer.{i}.condition" for i in range(3)]
    assert not torch.allclose(one, other)


def test_a_condition_and_post_norm_do_not_go_together() -> None:
    with pytest.raises(ConfigError, match="placement is post"):
        block(conditioned=True, placement="post")


def turned(x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    frequencies, magnitude = rotary_frequencies(RotaryPositions(base=100.0, axes=2), x.shape[-1] // 2, 0)
    return rotate(x, rotation(places, frequencies, magnitude, axes=2))


def test_with_two_axes_a_score_depends_on_the_distance_along_each() -> None:
    torch.manual_seed(0)
    q, k = torch.randn(1, 1, 1, 16), torch.randn(1, 1, 1, 16)

    def score(a: tuple[int, int], b: tuple[int, int]) -> float:
        return float((turned(q, torch.tensor([a])) * turned(k, torch.tensor([b]))).sum())

    assert score((0, 0), (2, 3)) == pytest.approx(score((5, 1), (7, 4)), abs=1e-5)
    assert score((0, 0), (2, 3)) != pytest.approx(score((0, 0), (3, 2)), abs=1e-3)
    assert score((0, 0), (0, 3)) != pytest.approx(score((0, 0), (3, 0)), abs=1e-3)


def test_the_first_axis_turns_the_first_half_of_the_pairs() -> None:
    x = torch.randn(1, 1, 1, 16)
    moved = turned(x, torch.tensor([[3, 0]]))
    same = torch.tensor([4, 5, 6, 7, 12, 13, 14, 15])
    assert torch.equal(moved[..., same], x[..., same])
    assert (moved - x)[..., [0, 1, 2, 3]].abs().min() > 0


def test_positions_of_a_batch_can_differ() -> None:
    stack = Stack(
        StackConfig(1, (BlockConfig(AttentionConfig(2, 2, 8, RotaryPositions(axes=2)), FeedForwardConfig(32)),), False),
        16,
    )
    non_zero(stack)
    x = torch.randn(2, 4, 16)
    rows = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
    together = stack(x, positions=torch.stack((rows, rows * 3)))
    assert torch.allclose(together[1:], stack(x[1:], positions=rows * 3), atol=1e-6)


def test_channels_must_fall_into_pairs_for_each_axis() -> None:
    with pytest.raises(ConfigError, match=r"head_dim is 6.*multiple of 4"):
        AttentionConfig(2, 2, 6, RotaryPositions(axes=2))
