from __future__ import annotations

import pytest

from limner.train.schedule import Clock, rate_factor
from limner.train.settings import TrainSettings


def factors(*progresses: float, **settings: object) -> list[float]:
    chosen = TrainSettings(steps=1, **settings)  # type: ignore[arg-type]
    return [rate_factor(progress, chosen) for progress in progresses]


def test_linear_rises_over_the_warm_up_and_falls_to_the_final_rate() -> None:
    assert factors(0.0, 0.05, 0.1, 0.55, 1.0, warmup=0.1, final_rate=0.2) == pytest.approx([0, 0.5, 1, 0.6, 0.2])


def test_cosine_is_half_way_in_the_middle() -> None:
    got = factors(0.0, 0.25, 0.5, 1.0, schedule="cosine", warmup=0.0, final_rate=0.0)
    assert got == pytest.approx([1, 0.853553, 0.5, 0], abs=1e-6)


def test_warmup_stable_decay_holds_and_then_falls() -> None:
    got = factors(0.05, 0.3, 0.6, 0.8, 1.0, schedule="warmup-stable-decay", warmup=0.1, decay=0.4)
    assert got == pytest.approx([0.5, 1, 1, 0.5, 0])


def test_constant_stays() -> None:
    assert factors(0.5, 1.0, schedule="constant", warmup=0.0) == [1, 1]


def test_beyond_the_end_is_the_end() -> None:
    assert factors(1.7, warmup=0.0) == [0.0]


def test_a_clock_of_steps_counts_steps() -> None:
    clock = Clock.of(TrainSettings(steps=4))
    assert clock.seconds_left() is None
    for _ in range(2):
        clock.tick(3.0)
    assert (clock.progress(), clock.progress(ahead=1), clock.seconds_left(), clock.done) == (0.5, 0.75, 6.0, False)
    clock.tick(1.0)
    clock.tick(1.0)
    assert clock.done


def test_a_clock_of_minutes_follows_the_time_and_never_goes_back() -> None:
    clock = Clock.of(TrainSettings(minutes=1.0))
    seen = []
    for seconds in (1.0, 20.0, 1.0, 38.5):
        clock.tick(seconds)
        seen.append(clock.progress())
    assert seen == sorted(seen)
    assert clock.done
    assert seen[-1] == 1.0
    assert clock.seconds_left() == 0.0
