"""Our samplers take the steps that the schedulers of diffusers take, with the same network and the same noise."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from limner.picture.config import Flow, Process, Quantity, VariancePreserving
from limner.picture.process import levels, read
from limner.picture.samplers import SAMPLERS, Look, make_times

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # theirs, with numpy 2

MOMENTS = 1000
WEIGHTS = torch.randn(48, 48, generator=torch.Generator().manual_seed(4)) / 48**0.5
VP = [VariancePreserving("cosine"), VariancePreserving("linear")]
PREDICTS: dict[Quantity, str] = {"x": "sample", "noise": "epsilon", "v": "v_prediction"}


def network(x: Tensor, time: Tensor) -> Tensor:
    """Something that depends on all of x and on the time, and has no other sense."""
    return torch.tanh(x.flatten(1) @ WEIGHTS + torch.cos(3 * time)).view_as(x)


def looking(process: Process, predict: Quantity) -> Look:
    def look(x: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = (level.reshape(1) for level in levels(process, time))
        return read(predict, network(x, time), x, alpha, sigma)

    return look


def first_noise() -> Tensor:
    return torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(5))


def ours(
    name: str, process: Process, predict: Quantity, times: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    def fresh() -> Tensor:
        return torch.randn(1, 3, 4, 4, generator=generator)

    return SAMPLERS[name](looking(process, predict), first_noise(), times, process, fresh)


def theirs(scheduler: Any, time_of: dict[float, Tensor], **rest: Any) -> Tensor:
    x = first_noise()
    for moment in scheduler.timesteps:
        x = scheduler.step(network(x, time_of[float(moment)]), moment, x, **rest).prev_sample
    return x


def betas(process: Process) -> list[float]:
    """Their thousand moments of our process: moment i is our time 0.999·(i + 1)/1000."""
    alpha, _ = levels(process, torch.linspace(0, 0.999, MOMENTS + 1, dtype=torch.float64))
    return (1 - (alpha[1:] / alpha[:-1]) ** 2).tolist()


def discrete(
    kind: type, process: Process, predict: Quantity, steps: int, **rest: Any
) -> tuple[Any, dict[float, Tensor]]:
    scheduler = kind(
        num_train_timesteps=MOMENTS, trained_betas=betas(process), prediction_type=PREDICTS[predict],
        timestep_spacing="trailing", **rest,
    )  # fmt: skip
    scheduler.set_timesteps(steps)
    times = make_times(process, steps)
    return scheduler, {float(moment): time for moment, time in zip(scheduler.timesteps, times[:-1], strict=True)}


@pytest.mark.parametrize("process", VP, ids=str)
@pytest.mark.parametrize("predict", PREDICTS)
@pytest.mark.parametrize("steps", [5, 20])
def test_ddim(process: Process, predict: Quantity, steps: int) -> None:
    scheduler, time_of = discrete(diffusers.DDIMScheduler, process, predict, steps, clip_sample=False)
    expected = theirs(scheduler, time_of)
    torch.testing.assert_close(
        ours("ddim", process, predict, make_times(process, steps)), expected, rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("process", VP, ids=str)
@pytest.mark.parametrize("predict", PREDICTS)
@pytest.mark.parametrize("steps", [5, 20])
def test_dpm_solver(process: Process, predict: Quantity, steps: int) -> None:
    scheduler, time_of = discrete(diffusers.DPMSolverMultistepScheduler, process, predict, steps)
    expected = theirs(scheduler, time_of)
    torch.testing.assert_close(
        ours("dpm++", process, predict, make_times(process, steps)), expected, rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("process", VP, ids=str)
@pytest.mark.parametrize("steps", [5, 20])
def test_ancestral(process: Process, steps: int) -> None:
    scheduler, time_of = discrete(diffusers.DDPMScheduler, process, "x", steps, clip_sample=False)
    expected = theirs(scheduler, time_of, generator=torch.Generator().manual_seed(6))
    found = ours("ancestral", process, "x", make_times(process, steps), torch.Generator().manual_seed(6))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("steps", [1, 4, 25])
def test_euler_of_a_flow(steps: int) -> None:
    times = make_times(Flow(), steps)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=times[:-1].tolist())
    expected = theirs(scheduler, {float(moment): moment / MOMENTS for moment in scheduler.timesteps})
    torch.testing.assert_close(ours("euler", Flow(), "flow", times), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("steps", [2, 12])
def test_heun_of_a_flow(steps: int) -> None:
    scheduler = diffusers.FlowMatchHeunDiscreteScheduler()
    scheduler.set_timesteps(steps)
    times = scheduler.sigmas.unique(sorted=True).flip(0)
    expected = theirs(scheduler, {float(moment): moment / MOMENTS for moment in scheduler.timesteps})
    torch.testing.assert_close(ours("heun", Flow(), "flow", times), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("steps", [3, 12])
def test_dpm_solver_of_a_flow(steps: int) -> None:
    scheduler = diffusers.DPMSolverMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True)
    scheduler.set_timesteps(steps)
    time_of = {float(moment): sigma for moment, sigma in zip(scheduler.timesteps, scheduler.sigmas, strict=False)}
    expected = theirs(scheduler, time_of)
    torch.testing.assert_close(ours("dpm++", Flow(), "flow", scheduler.sigmas), expected, rtol=1e-4, atol=1e-4)
