"""The filters do what their papers say and what transformers does; the draw follows the probabilities."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from limner.core.errors import ConfigError
from limner.text.sampling import (
    Chance,
    Sampling,
    draw,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalize,
    sample,
    temper,
    top_candidates,
)

logits = st.lists(st.floats(-20, 20, width=32), min_size=2, max_size=40).map(lambda row: torch.tensor([row]))
shares = st.floats(0.01, 0.99)


def ranked(values: torch.Tensor) -> torch.Tensor:
    return values.log_softmax(dim=-1).sort(dim=-1, descending=True).values


def random_logits(rows: int = 3, vocab_size: int = 500, scale: float = 3.0, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, vocab_size, generator=torch.Generator().manual_seed(seed)) * scale


@given(logits, shares)
def test_top_p_keeps_the_smallest_set_that_holds_p(values: torch.Tensor, p: float) -> None:
    before = ranked(values)
    kept = keep_top_p(before, p) > -torch.inf
    probabilities = before.exp().double()
    assert kept[0, 0]
    assert probabilities[kept].sum() >= p - 1e-5
    least = probabilities[kept].min()
    assert (
        probabilities[kept & (probabilities > least)].sum() < p + 1e-5
    )  # without the last (and its equals): too little


@given(logits, st.integers(1, 50))
def test_top_k_keeps_k_and_their_equals(values: torch.Tensor, k: int) -> None:
    before = ranked(values)
    after = keep_top_k(before, k)
    kept = after > -torch.inf
    assert kept.sum() >= min(k, values.shape[1])
    assert (before[kept].min() == before[0, : min(k, values.shape[1])].min()).all()
    assert after.exp().sum().item() == pytest.approx(1.0, abs=1e-4)


@given(logits, shares)
def test_min_p_keeps_what_is_p_times_as_likely_as_the_best(values: torch.Tensor, p: float) -> None:
    before = ranked(values)
    kept = keep_min_p(before, p) > -torch.inf
    ratio = (before - before[:, :1]).exp()
    assert (ratio[kept] >= p - 1e-5).all()
    assert (ratio[~kept] < p + 1e-5).all()


def test_values_that_turn_a_filter_off_change_nothing() -> None:
    before = ranked(random_logits())
    assert torch.equal(keep_top_k(before, 0), before)
    assert torch.equal(keep_top_p(before, 1.0), before)
    assert torch.equal(keep_min_p(before, 0.0), before)


def test_top_p_of_0_and_min_p_of_1_leave_the_most_likely() -> None:
    before = ranked(random_logits())
    for after in (keep_top_p(before, 0.0), keep_min_p(before, 1.0)):
        assert (after > -torch.inf).sum(dim=-1).tolist() == [1, 1, 1]


@pytest.mark.parametrize("top_k", [0, 1, 7, 100, 5000])
@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.3])
@pytest.mark.parametrize("min_p", [0.0, 0.1])
def test_the_whole_chain_leaves_what_that_of_transformers_leaves(top_k: int, top_p: float, min_p: float) -> None:
    vocab_size = 2000
    values = random_logits(2, vocab_size)
    theirs = TemperatureLogitsWarper(0.7)(None, values)
    if top_k:
        theirs = TopKLogitsWarper(top_k)(None, theirs)
    if top_p < 1:
        theirs = TopPLogitsWarper(top_p)(None, theirs)
    if min_p:
        theirs = MinPLogitsWarper(min_p)(None, theirs)
    expected = theirs.softmax(dim=-1).double()
    # Inverse sampling is a function of chance: at the edges of each token's share it must change hands.
    edges = expected.cumsum(dim=-1)
    for row in range(2):
        for id in (expected[row] > 1e-6).nonzero().flatten().tolist()[:40]:
            middle = (edges[row, id] - expected[row, id] / 2).expand(2)
            chosen = sample(values, Sampling(0.7, top_k, top_p, min_p), middle)
            assert chosen[row] == id


def test_the_penalty_is_that_of_transformers() -> None:
    values = random_logits(2, 50)
    ids = torch.tensor([[1, 4, 4, 9], [0, 2, 3, 49]])
    seen = torch.zeros(2, 50, dtype=torch.bool).scatter(1, ids, True)
    assert torch.equal(penalize(values, seen, 1.3), RepetitionPenaltyLogitsProcessor(1.3)(ids, values))
    assert penalize(values, seen, 1.0) is values


def test_temperature_0_takes_the_most_likely_and_of_equals_the_first() -> None:
    values = torch.tensor([[0.0, 3.0, 3.0, 1.0], [2.0, -1.0, 0.0, 2.0]])
    assert sample(values, Sampling(0.0), torch.empty(0)).tolist() == [1, 0]


@pytest.mark.parametrize("temperature", [1e-38, 1e-45, 1e-300, 5e-324])
def test_a_tiny_temperature_is_still_a_number(temperature: float) -> None:
    values = torch.tensor([[10.0, 80.0, 79.0]])
    assert temper(values, temperature).isnan().sum() == 0
    for more in ({}, {"top_k": 2}, {"top_p": 0.9}):
        settings = Sampling(temperature, **more)
        assert sample(values, settings, torch.tensor([0.999], dtype=torch.float64)).tolist() == [1]


def test_draws_follow_the_probabilities() -> None:
    probabilities = torch.tensor([0.5, 0.0, 0.25, 0.125, 0.125])
    chance = torch.rand(20_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    drawn = draw(probabilities.log().expand(20_000, -1), chance)
    shares = drawn.bincount(minlength=5) / 20_000
    assert shares[1] == 0
    assert torch.allclose(shares, probabilities, atol=0.01)


def test_the_ends_of_chance_draw_tokens_that_can_be_drawn() -> None:
    scores = torch.tensor([[-torch.inf, 0.0, 0.0, -torch.inf]]).expand(2, -1)
    assert draw(scores, torch.tensor([0.0, 1.0 - 2**-53], dtype=torch.float64)).tolist() == [1, 2]


@settings(deadline=None)
@given(st.integers(2, 60_000), st.integers(1, 30), st.integers(0, 2**31))
def test_top_candidates_are_those_of_topk(vocab_size: int, count: int, seed: int) -> None:
    values = random_logits(2, vocab_size, seed=seed)
    found, ids = top_candidates(values, count)
    assert torch.equal(found, values.topk(min(count, vocab_size)).values)
    assert torch.equal(values.gather(1, ids), found)


def test_a_seed_has_one_stream_of_numbers_and_no_two_the_same() -> None:
    def numbers(seed: int) -> list[float]:
        chance = Chance(seed)
        return [chance.next() for _ in range(200)]

    assert numbers(3) == numbers(3)
    assert len({tuple(numbers(seed)) for seed in range(20)}) == 20
    assert abs(sum(numbers(0)) / 200 - 0.5) < 0.1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.5),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("top_k", -3),
        ("top_k", 1.5),
        ("top_p", 1.5),
        ("top_p", -0.1),
        ("min_p", 2.0),
        ("repetition_penalty", 0.0),
        ("repetition_penalty", -1.25),
    ],
)
def test_a_bad_value_is_named(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"^{name} is {value}, but"):
        Sampling(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5])
def test_a_bad_seed_is_named(seed: int) -> None:
    with pytest.raises(ConfigError, match=f"seed is {seed}"):
        Chance(seed)
