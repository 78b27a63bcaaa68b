"""Samplers against distributions for which the perfect denoiser, and where each noise leads, are known exactly."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from limner.picture.config import Flow, Process, VariancePreserving
from limner.picture.process import levels
from limner.picture.samplers import SAMPLERS, Look, make_times

PROCESSES = (Flow(), VariancePreserving("cosine"), VariancePreserving("linear"))
MEAN, SPREAD = 0.3, 0.5  # of the pictures' pixels
every_process = pytest.mark.parametrize("process", PROCESSES, ids=str)


def perfect(process: Process, mean: float = MEAN, spread: float = SPREAD) -> Look:
    """What the best of all denoisers sees where pixels are normal: their mean given x_t."""

    def look(x: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = levels(process, time.double())
        picture = mean + alpha * spread**2 * (x - alpha * mean) / (alpha**2 * spread**2 + sigma**2)
        return picture, (x - alpha * picture) / sigma

    return look


def led_to(process: Process, x: Tensor, time: Tensor) -> Tensor:
    """Where the flow of probability takes x: as many deviations from the mean as it stands now."""
    alpha, sigma = levels(process, time.double())
    return MEAN + SPREAD * (x - alpha * MEAN) / (alpha**2 * SPREAD**2 + sigma**2).sqrt()


def sample(name: str, process: Process, look: Look, steps: int, count: int = 24) -> tuple[Tensor, Tensor]:
    """First noise and what the sampler makes of it; where x_1 still holds a trace of the picture, so does the noise."""
    generator = torch.Generator().manual_seed(1)

    def fresh() -> Tensor:
        return torch.randn(1, 3, count, count, generator=generator, dtype=torch.float64)

    times = make_times(process, steps).double()
    alpha, sigma = levels(process, times[0])
    x = alpha * (MEAN + SPREAD * fresh()) + sigma * fresh()
    return x, SAMPLERS[name](look, x, times, process, fresh)


def error(name: str, process: Process, steps: int) -> float:
    """Root mean square distance from where the flow leads."""
    noise, painted = sample(name, process, perfect(process), steps)
    exact = led_to(process, noise, make_times(process, steps)[0])
    return float((painted - exact).square().mean().sqrt())


@every_process
@pytest.mark.parametrize("name", ["euler", "heun", "ddim", "dpm++"])
def test_it_comes_to_the_exact_answer(name: str, process: Process) -> None:
    errors = [error(name, process, steps) for steps in (10, 40, 160, 640)]
    assert all(after < before for before, after in itertools.pairwise(errors)), errors
    assert errors[-1] < 0.003
    assert errors[1] < 0.04


@pytest.mark.parametrize("process", PROCESSES[:2], ids=str)
def test_second_order_gains_more_from_more_steps(process: Process) -> None:
    """Twice the steps: half the error for Euler and DDIM, a quarter for Heun and DPM-Solver++(2M)."""
    for name, order in (("euler", 1.0), ("ddim", 1.0), ("heun", 2.0), ("dpm++", 2.0)):
        found = math.log2(error(name, process, 160) / error(name, process, 320))
        assert found == pytest.approx(order, abs=0.36), name


def test_second_order_gains_more_where_noise_ends_steeply() -> None:
    """The linear schedule's σ goes with √t near the picture, which costs everybody some of their order."""
    process = VariancePreserving("linear")
    gains = {name: error(name, process, 10) / error(name, process, 80) for name in ("euler", "ddim", "heun", "dpm++")}
    assert gains["heun"] > 2 * gains["euler"]
    assert gains["dpm++"] > 2 * gains["ddim"]


def test_ddim_is_eulers_step_for_a_flow() -> None:
    for steps in (1, 7, 25):
        _, one = sample("euler", Flow(), perfect(Flow()), steps)
        _, other = sample("ddim", Flow(), perfect(Flow()), steps)
        torch.testing.assert_close(one, other)


@every_process
def test_ancestral_paints_the_distribution_and_not_the_noise_it_began_with(process: Process) -> None:
    noise, painted = sample("ancestral", process, perfect(process), 300, count=128)
    assert float(painted.mean()) == pytest.approx(MEAN, abs=0.02)
    assert float(painted.std()) == pytest.approx(SPREAD, rel=0.03)
    together = torch.corrcoef(torch.stack((noise.flatten(), painted.flatten())))[0, 1]
    assert abs(float(together)) < 0.15
    _, kept = sample("euler", process, perfect(process), 300, count=128)
    assert float(kept.std()) == pytest.approx(SPREAD, rel=0.02)


@every_process
def test_ancestral_keeps_the_variance_of_every_moment(process: Process) -> None:
    """With a perfect denoiser of a single picture, x_t has exactly the noise of its time."""
    picture = torch.zeros(1, 3, 160, 160, dtype=torch.float64)
    seen: list[tuple[Tensor, Tensor]] = []

    def look(x: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = levels(process, time.double())
        seen.append((x.std(), sigma))
        return picture, (x - alpha * picture) / sigma

    generator = torch.Generator().manual_seed(2)

    def fresh() -> Tensor:
        return torch.randn(picture.shape, generator=generator, dtype=torch.float64)

    times = make_times(process, 12).double()
    SAMPLERS["ancestral"](look, levels(process, times[0])[1] * fresh(), times, process, fresh)
    for spread, sigma in seen:
        assert float(spread) == pytest.approx(float(sigma), rel=0.02)


@every_process
@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_one_picture_alone_is_found_in_any_number_of_steps(name: str, process: Process, steps: int) -> None:
    picture = torch.rand(1, 3, 8, 8, dtype=torch.float64) * 2 - 1

    def look(x: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = levels(process, time.double())
        return picture, (x - alpha * picture) / sigma

    times = make_times(process, steps).double()
    painted = SAMPLERS[name](look, torch.randn_like(picture), times, process, lambda: torch.randn_like(picture))
    torch.testing.assert_close(painted, picture)


@every_process
@pytest.mark.parametrize(("name", "looks"), [("euler", 6), ("heun", 11), ("ddim", 6), ("dpm++", 6), ("ancestral", 6)])
def test_the_number_of_looks(name: str, looks: int, process: Process) -> None:
    times: list[float] = []
    ideal = perfect(process)

    def look(x: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        times.append(float(time))
        return ideal(x, time)

    sample(name, process, look, 6, count=2)
    assert len(times) == looks
    assert times == sorted(times, reverse=True)
    assert min(times) > 0


def test_times() -> None:
    assert make_times(Flow(), 4).tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert make_times(Flow(), 2, 0.5).tolist() == [0.5, 0.25, 0.0]
    for process in PROCESSES[1:]:
        assert make_times(process, 3)[0] < 1.0, "at 1 nothing of the picture is left, and what is divided by it is"
        assert make_times(process, 3)[-1] == 0.0
        assert make_times(process, 3, 0.4)[0] == pytest.approx(0.4)
    assert make_times(Flow(), 2, shift=3.0).tolist() == [1.0, 0.75, 0.0]
