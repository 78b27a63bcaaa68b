from __future__ import annotations

import json
from pathlib import Path

import pytest

from limner.core.errors import ConfigError
from limner.train.machine import resolve_device
from limner.train.settings import TrainSettings, changed, split_assignment
from limner.train.text import TextPlan


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"steps": 0}, "0"),
        ({"minutes": -2.0}, "-2.0"),
        ({"minutes": float("nan")}, "nan"),
        ({"steps": 5, "learning_rate": float("inf")}, "inf"),
        ({"steps": 5, "minutes": 3.0}, "3.0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"learning_rate": -1.0}, "-1.0"),
        ({"warmup": 1.5}, "1.5"),
        ({"ema": 1.0}, "ema is 1.0"),
        ({"save_minutes": 0.0}, "0.0"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word.replace(".", r"\.")):
        TrainSettings(**values)  # type: ignore[arg-type]


def test_settings_survive_json() -> None:
    settings = TrainSettings(steps=3, learning_rate=1e-4, ema=0.99, schedule="cosine")
    assert TrainSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("steps=1_000", 1000),
        ("steps=none", None),
        ("minutes=2", 2.0),
        ("learning_rate=3e-4", 3e-4),
        ("checkpoint_activations=yes", True),
        ("schedule=cosine", "cosine"),
    ],
)
def test_texts_are_read_as_the_type_of_the_setting(text: str, value: object) -> None:
    name, word = split_assignment(text)
    assert getattr(changed(TrainSettings(), {name: word}), name) == value


@pytest.mark.parametrize(
    ("assignment", "word"),
    [
        ("learning_rat=1", "learning_rate"),
        ("batch=3", "batch_size"),
        ("vocab_siz=3", "vocab_size"),
        ("model.dims=3", "dim"),
        ("batch_size=many", "many"),
        ("batch_size=2.5", "2.5"),
        ("schedule=cosin", "cosine"),
        ("checkpoint_activations=maybe", "maybe"),
        ("batch_size", "batch_size"),
        ("align=documents", "document"),
    ],
)
def test_a_wrong_assignment_names_the_value_or_the_nearest_name(assignment: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        TextPlan(data=(Path(),)).override([assignment])


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("batch_size=many", "batch_size is 'many', but it is a whole number. Write for example batch_size=500."),
        ("learning_rate=high", "learning_rate is 'high', but it is a number. Write for example learning_rate=0.1."),
        ("ema=1", "ema is 1.0, but only a number from 0 up to, not including, 1 works. Choose one."),
        ("evaluations=-1", "evaluations is -1, but it must be at least 0. Choose a larger number."),
    ],
)
def test_a_wrong_value_is_told_in_plain_words(assignment: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TextPlan(data=(Path(),)).override([assignment])
    assert str(caught.value) == said


def test_a_later_length_replaces_an_earlier_one() -> None:
    plan = TextPlan(data=(Path(),)).override(["minutes=3", "steps=7"])
    assert plan.train == {"steps": 7}


def test_a_plan_survives_json() -> None:
    plan = TextPlan(data=(Path("a"),), prompts=("x",)).override(["seed=3", "size=2M", "model.dim=64"])
    assert TextPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


def test_a_device_that_is_not_here_is_refused_with_its_name() -> None:
    with pytest.raises(ConfigError, match="gpu"):
        resolve_device("gpu")
