"""From noise to picture, step by step: each sampler a few lines over ``look(x, t) -> (picture, noise)``.

``look`` says what the (guided) model sees at time t in x_t. All samplers work for flow and for variance-preserving
models alike, since they know of the process only α(t) and σ(t). All of them take

    x      what is refined, at the first of the times, shape (pictures, channels, height, width)
    times  from noise to picture, falling to 0, shape (steps + 1,)
    fresh  gives new noise; only ``ancestral`` asks for it
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from limner.picture.config import Flow, Process
from limner.picture.process import levels, shifted, slopes

Look = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Fresh = Callable[[], Tensor]  # new noise, shape of x
Sampler = Callable[[Look, Tensor, Tensor, Process, Fresh], Tensor]
Name = Literal["euler", "heun", "ddim", "dpm++", "ancestral"]


def make_times(process: Process, steps: int, first: float = 1.0, shift: float = 1.0) -> Tensor:
    """The times of steps + 1 moments from ``first`` down to 0, float32, evenly spaced before they are shifted.

    A variance-preserving process starts a little before 1, where x_t holds nothing of the picture at all.
    """
    start = min(first, 1.0 if isinstance(process, Flow) else 0.999)
    return shifted(torch.linspace(start, 0.0, steps + 1), shift)


def euler(look: Look, x: Tensor, times: Tensor, process: Process, fresh: Fresh) -> Tensor:
    """Follow the slope dx/dt = α'·picture + σ'·noise in straight steps (Song et al. 2021, arXiv:2011.13456).

    The last step ends at the picture that is seen. For a flow that is the same; with other processes σ is no straight
    line, and a straight step to its end would leave some noise.
    """
    for now, after in itertools.pairwise(times):
        picture, noise = look(x, now)
        x = picture if after == 0 else x + (after - now) * _slope(process, now, picture, noise)
    return x


def heun(look: Look, x: Tensor, times: Tensor, process: Process, fresh: Fresh) -> Tensor:
    """Euler's step, then again with the mean of the slopes at both its ends (Karras et al. 2022, algorithm 1).

    Two looks a step, but for the last, which ends at the picture that is seen: there is no slope at its end.
    """
    for now, after in itertools.pairwise(times):
        picture, noise = look(x, now)
        if after == 0:
            return picture
        slope = _slope(process, now, picture, noise)
        there = _slope(process, after, *look(x + (after - now) * slope, after))
        x = x + (after - now) * (slope + there) / 2
    return x


def ddim(look: Look, x: Tensor, times: Tensor, process: Process, fresh: Fresh) -> Tensor:
    """Put the picture and the noise together again as they are at the next time (Song et al. 2020, arXiv:2010.02502).

    For a flow this is Euler's step.
    """
    for now, after in itertools.pairwise(times):
        picture, noise = look(x, now)
        alpha, sigma = levels(process, after)
        x = alpha * picture + sigma * noise
    return x


def dpm_solver(look: Look, x: Tensor, times: Tensor, process: Process, fresh: Fresh) -> Tensor:
    """DPM-Solver++(2M): each step uses the last look too (Lu et al. 2022, arXiv:2211.01095, algorithm 2)."""
    before, last_h = None, None
    for now, after in itertools.pairwise(times):
        picture, _ = look(x, now)
        (alpha, sigma), (alpha_now, sigma_now) = levels(process, after), levels(process, now)
        shrink = (sigma * alpha_now) / (sigma_now * alpha)  # e^−h, where h is what λ = log α/σ grows by
        h = -shrink.log()
        aim = picture
        if before is not None and last_h is not None and sigma > 0:
            share = h / (2 * last_h)  # 1 / 2r; 0 after a step from pure noise, where h was infinite
            aim = (1 + share) * picture - share * before
        x = (sigma / sigma_now) * x + alpha * (1 - shrink) * aim
        before, last_h = picture, h
    return x


def ancestral(look: Look, x: Tensor, times: Tensor, process: Process, fresh: Fresh) -> Tensor:
    """Take noise out and put fresh noise in, as the process backwards in time does (Ho et al. 2020, equation 6)."""
    for now, after in itertools.pairwise(times):
        picture, noise = look(x, now)
        (alpha, sigma), (alpha_now, sigma_now) = levels(process, after), levels(process, now)
        added = sigma_now**2 - (alpha_now / alpha) ** 2 * sigma**2  # variance that came in from after to now
        new = (added.clamp(min=0.0) * sigma**2 / sigma_now**2).sqrt()
        x = alpha * picture + (sigma**2 - new**2).clamp(min=0.0).sqrt() * noise
        if after > 0:
            x = x + new * fresh()
    return x


SAMPLERS: dict[str, Sampler] = {
    "euler": euler,
    "heun": heun,
    "ddim": ddim,
    "dpm++": dpm_solver,
    "ancestral": ancestral,
}


def _slope(process: Process, time: Tensor, picture: Tensor, noise: Tensor) -> Tensor:
    """dx/dt, if these are what is in x."""
    alpha_slope, sigma_slope = slopes(process, time)
    return alpha_slope * picture + sigma_slope * noise
