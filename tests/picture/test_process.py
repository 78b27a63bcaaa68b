"""Noise and what may be predicted: every quantity says where picture and noise are, and losses weigh as they should."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from limner.core.errors import ConfigError
from limner.picture.config import (
    DiffusionConfig,
    Flow,
    LogitNormalTime,
    Process,
    Quantity,
    UniformTime,
    VariancePreserving,
)
from limner.picture.process import (
    MOST_WEIGHT,
    add_noise,
    draw_times,
    levels,
    loss,
    object_weights,
    quantity,
    read,
    shifted,
    slopes,
)

PROCESSES = (Flow(), VariancePreserving("cosine"), VariancePreserving("linear"))
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)
every_process = pytest.mark.parametrize("process", PROCESSES, ids=str)


def parts(count: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures, noise, and times from nearly 0 to nearly 1, in double precision."""
    picture, noise = torch.randn(2, count, 3, 4, 4, dtype=torch.float64)
    return picture, noise, torch.linspace(0.02, 0.98, count, dtype=torch.float64)


@every_process
def test_from_picture_to_noise(process: Process) -> None:
    alpha, sigma = levels(process, torch.linspace(0, 1, 101, dtype=torch.float64))
    assert (alpha[0], sigma[0]) == (1, 0)
    assert alpha[-1] < 0.007
    assert sigma[-1] > 0.9999
    assert (alpha.diff() < 0).all()
    assert (sigma.diff() > 0).all()
    if isinstance(process, VariancePreserving):
        torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(101, dtype=torch.float64))


@every_process
def test_slopes_are_the_derivatives_of_levels(process: Process) -> None:
    time, step = torch.linspace(0.02, 0.98, 49, dtype=torch.float64), 1e-6
    above, below = levels(process, time + step), levels(process, time - step)
    for slope, high, low in zip(slopes(process, time), above, below, strict=True):
        torch.testing.assert_close(slope, (high - low) / (2 * step), rtol=1e-6, atol=1e-8)


@every_process
@pytest.mark.parametrize("kind", QUANTITIES)
def test_what_is_predicted_says_where_picture_and_noise_are(process: Process, kind: Quantity) -> None:
    picture, noise, time = parts()
    alpha, sigma = levels(process, time)
    noisy = add_noise(picture, noise, alpha, sigma)
    found = read(kind, quantity(kind, picture, noise, alpha, sigma), noisy, alpha, sigma)
    torch.testing.assert_close(found, (picture, noise))


@every_process
@pytest.mark.parametrize("kind", QUANTITIES)
def test_a_wrong_prediction_still_adds_up_to_the_noisy_picture(process: Process, kind: Quantity) -> None:
    picture, noise, time = parts()
    alpha, sigma = levels(process, time)
    seen, of_noise = read(kind, torch.randn_like(noise), noisy := add_noise(picture, noise, alpha, sigma), alpha, sigma)
    torch.testing.assert_close(add_noise(seen, of_noise, alpha, sigma), noisy)


def test_what_is_divided_by_is_kept_from_zero() -> None:
    noisy, zero, one = torch.ones(1, 3, 2, 2), torch.zeros(1), torch.ones(1)
    _, noise = read("x", torch.zeros_like(noisy), noisy, one, zero, nearest=0.05)
    assert torch.equal(noise, torch.full_like(noisy, 20.0))
    picture, _ = read("noise", torch.zeros_like(noisy), noisy, zero, one, nearest=0.05)
    assert torch.equal(picture, torch.full_like(noisy, 20.0))


# ── losses ───────────────────────────────────────────────────────────────────────────────────────────────


@every_process
@pytest.mark.parametrize("predict", QUANTITIES)
@pytest.mark.parametrize("counts", QUANTITIES)
@pytest.mark.parametrize("min_snr", [None, 5.0])
def test_a_loss_is_the_same_whatever_the_network_predicts(
    process: Process, predict: Quantity, counts: Quantity, min_snr: float | None
) -> None:
    """The error is that of the counted quantity, worked out from a prediction of another."""
    picture, noise, time = parts()
    time = 0.1 + 0.8 * time  # away from the ends, where divisions are held back
    config = DiffusionConfig(process, predict, counts, min_snr, nearest=0.001)
    alpha, sigma = levels(process, time)
    noisy = add_noise(picture, noise, alpha, sigma)
    seen = picture + 0.1 * torch.randn_like(picture)
    _, of_noise = read("x", seen, noisy, alpha, sigma)
    found = loss(config, quantity(predict, seen, of_noise, alpha, sigma), noisy, picture, noise, time)
    wrong = quantity(counts, seen, of_noise, alpha, sigma) - quantity(counts, picture, noise, alpha, sigma)
    expected = wrong.square().flatten(1).mean(1)
    if min_snr is not None:
        snr = (alpha / sigma) ** 2
        weights = {"x": 1.0, "noise": 1 / snr, "v": 1 / (snr + 1), "flow": (sigma / (alpha + sigma)) ** 2}
        if counts == "v" and isinstance(process, Flow):
            weights["v"] = (sigma / (alpha**2 + sigma**2)) ** 2
        expected = expected * snr.clamp(max=min_snr) * weights[counts]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("counts", "weight"),
    [
        ("x", lambda snr: snr.clamp(max=5.0)),
        ("noise", lambda snr: (5.0 / snr).clamp(max=1.0)),
        ("v", lambda snr: snr.clamp(max=5.0) / (snr + 1)),
    ],
)
def test_min_snr_weighs_as_in_the_paper(counts: Quantity, weight: object) -> None:
    """Hang et al. 2023, section 3.4: min(SNR, γ), min(SNR, γ)/SNR, min(SNR, γ)/(SNR + 1)."""
    assert callable(weight)
    picture, noise, time = parts(50)
    process = VariancePreserving("cosine")
    alpha, sigma = levels(process, time)
    noisy = add_noise(picture, noise, alpha, sigma)
    wrong = quantity(counts, picture, noise, alpha, sigma) + torch.randn_like(picture)
    plain, weighed = (
        loss(DiffusionConfig(process, counts, counts, gamma), wrong, noisy, picture, noise, time)
        for gamma in (None, 5.0)
    )
    torch.testing.assert_close(weighed / plain, weight((alpha / sigma) ** 2))


def test_near_the_picture_min_snr_counts_an_error_of_x_by_gamma() -> None:
    """Whatever is predicted and counted, and however near the picture."""
    picture, noise, _ = parts(4)
    time = torch.tensor([0.001, 0.01, 0.03, 0.049], dtype=torch.float64)
    alpha, sigma = levels(Flow(), time)
    noisy = add_noise(picture, noise, alpha, sigma)
    seen = picture + 0.1
    for counts in QUANTITIES:
        found = loss(DiffusionConfig(Flow(), "x", counts, min_snr=5.0), seen, noisy, picture, noise, time)
        torch.testing.assert_close(found, torch.full_like(time, 5.0 * 0.01))


# ── times ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("time", [UniformTime(), LogitNormalTime(0.4, 1.2)], ids=str)
def test_times_are_spread_evenly_over_their_distribution(time: UniformTime | LogitNormalTime) -> None:
    drawn = draw_times(DiffusionConfig(time=time), 64, torch.Generator().manual_seed(3))
    assert ((drawn > 0) & (drawn < 1)).all()
    shares = drawn.double()
    if isinstance(time, LogitNormalTime):
        shares = torch.special.ndtr((torch.logit(shares) - time.mean) / time.deviation)
    assert torch.equal((shares.sort().values * 64).floor(), torch.arange(64, dtype=torch.float64))
    assert not torch.equal(drawn, drawn.sort().values)
    again = draw_times(DiffusionConfig(time=time), 64, torch.Generator().manual_seed(3))
    assert torch.equal(drawn, again)


def test_a_shift_multiplies_the_noise_of_a_flow() -> None:
    """A picture of twice the side is as hard to see with a shift of 2 as the small one without."""
    time = torch.linspace(0.02, 0.98, 49, dtype=torch.float64)
    for shift in (0.5, 1.0, 2.0, 4.0):
        (alpha, sigma), (alpha_after, sigma_after) = levels(Flow(), time), levels(Flow(), shifted(time, shift))
        torch.testing.assert_close(sigma_after / alpha_after, shift * sigma / alpha)
        assert shifted(torch.tensor([0.0, 1.0]), shift).tolist() == [0.0, 1.0]
    drawn, moved = (
        draw_times(DiffusionConfig(shift=shift), 64, torch.Generator().manual_seed(3)) for shift in (1.0, 3.0)
    )
    torch.testing.assert_close(moved, shifted(drawn, 3.0))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"min_snr": -5.0}, "min_snr is -5"),  # errors would count as gains
        ({"min_snr": 0.0}, "min_snr is 0"),
        ({"min_snr": math.nan}, "min_snr is nan"),
        ({"shift": 0.0}, "shift is 0"),
        ({"shift": math.inf}, "shift is inf"),
        ({"nearest": 0.0}, "nearest is 0"),
        ({"nearest": 2.0}, "nearest is 2"),
    ],
)
def test_numbers_that_noise_cannot_have(values: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        DiffusionConfig(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(("mean", "deviation"), [(math.nan, 1.0), (0.0, 0.0), (0.0, -1.0), (0.0, math.inf)])
def test_times_that_cannot_be_drawn(mean: float, deviation: float) -> None:
    with pytest.raises(ConfigError, match=f"of the times is ({mean:g}|{deviation:g})"):
        LogitNormalTime(mean, deviation)


def test_each_object_counts_the_same_however_small() -> None:
    parts = torch.zeros(2, 8, 8, dtype=torch.uint8)
    parts[0, :4], parts[0, 7, 6:] = 1, 2  # half of the picture, and a 32nd
    whole = object_weights(parts, 1.0)
    for part in (0, 1, 2):
        assert float(whole[0][parts[0] == part].sum()) == pytest.approx(64 / 3)
    assert whole[1].equal(torch.ones(8, 8))
    assert object_weights(parts, 0.0).equal(torch.ones(2, 8, 8))
    assert object_weights(parts, 0.5).allclose(whole.sqrt())
    parts = torch.zeros(1, 32, 32, dtype=torch.uint8)
    parts[0, 0, 0] = 1
    assert float(object_weights(parts, 1.0).max()) == MOST_WEIGHT


def test_weights_say_how_much_a_place_counts() -> None:
    config, generator = DiffusionConfig(), torch.Generator().manual_seed(0)
    predicted, noisy, picture, noise = torch.randn(4, 3, 2, 4, 4, generator=generator)
    time = torch.tensor([0.2, 0.5, 0.9])
    left, right = torch.zeros(2, 3, 1, 4, 4)
    left[..., :2], right[..., 2:] = 1, 1
    parts = [loss(config, predicted, noisy, picture, noise, time, weights) for weights in (left, right)]
    assert (parts[0] + parts[1]).allclose(loss(config, predicted, noisy, picture, noise, time))
    assert loss(config, predicted[..., :2], noisy[..., :2], picture[..., :2], noise[..., :2], time).allclose(
        2 * parts[0]
    )
