"""Scores are what they say they are: gradients, whole differences, or the text without a token."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from limner.core.errors import ConfigError
from limner.core.tap import Editor
from limner.explain.attribution import attribute
from limner.text.generator import TextGenerator

TEXT = "Once upon a time, there was a curious cat"


def logit(model: TextGenerator, ids: list[int], target: int, vectors: torch.Tensor | None = None) -> float:
    tap = Editor({} if vectors is None else {"embedding.token": lambda _: vectors[None]})
    with torch.inference_mode():
        return float(model.model(torch.tensor([ids]), tap=tap)[0, -1, target])


def test_gradient_times_input_is_the_slope_along_each_tokens_vector(model: TextGenerator) -> None:
    found = attribute(model, TEXT, target=40)
    vectors = model.model.embedding.token.weight.detach()[found.ids].double()
    step = 1e-3
    for place in (1, 4, len(found.ids) - 1):
        ends = []
        for sign in (1, -1):
            moved = vectors.clone()
            moved[place] *= 1 + sign * step
            model.model.double()
            ends.append(logit(model, found.ids, 40, moved))
            model.model.float()
        assert found.scores[place] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=2e-2, abs=1e-3)
    assert found.logit == pytest.approx(logit(model, found.ids, 40), abs=1e-5)


@pytest.mark.parametrize("baseline", ["mean", 12, "a"])
def test_integrated_gradients_add_up_to_the_difference(model: TextGenerator, baseline: int | str) -> None:
    found = attribute(model, TEXT, place=-2, method="integrated_gradients", baseline=baseline)
    weights = model.model.embedding.token.weight.detach()[: model.tokenizer.vocab_size]
    id = model.tokenizer.encode("a")[0] if baseline == "a" else 12
    start = (weights.mean(dim=0) if baseline == "mean" else weights[id]).expand(len(found.ids), -1)
    difference = found.logit - logit(model, found.ids, found.target, start)
    assert found.difference == pytest.approx(difference, abs=1e-4)
    assert found.sum == pytest.approx(difference, rel=0.011, abs=2e-3)
    assert found.steps >= 16


def test_fewer_steps_are_what_was_asked_for(rotary: TextGenerator) -> None:
    found = attribute(rotary, TEXT, method="integrated_gradients", steps=2)
    assert found.steps == 2


def test_leave_one_out_is_the_text_without_it(model: TextGenerator) -> None:
    found = attribute(model, TEXT, method="leave_one_out")
    ids = model.read_prompt(TEXT)
    assert found.ids == ids
    for place in range(len(ids)):
        without = logit(model, [*ids[:place], *ids[place + 1 :]], found.target)
        assert found.scores[place] == pytest.approx(found.logit - without, abs=1e-4)


@pytest.mark.parametrize("method", ["gradient_x_input", "integrated_gradients", "leave_one_out"])
def test_only_what_stands_before_counts(rotary: TextGenerator, method: str) -> None:
    ids = rotary.read_prompt(TEXT)
    found = attribute(rotary, TEXT, place=5, method=method)  # type: ignore[arg-type]
    assert found.ids == ids[:6]
    assert found.target == ids[6]
    assert found.text == rotary.token_text(ids[6])
    again = attribute(rotary, ids[:6], target=ids[6], method=method)  # type: ignore[arg-type]
    np.testing.assert_array_equal(again.scores, found.scores)
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_model_learns_nothing_from_it(rotary: TextGenerator) -> None:
    attribute(rotary, TEXT)
    attribute(rotary, TEXT, method="integrated_gradients", steps=1)
    assert all(parameter.grad is None for parameter in rotary.model.parameters())


def test_what_cannot_be_attributed_is_said(rotary: TextGenerator) -> None:
    with pytest.raises(ConfigError, match="method is 'integrated'"):
        attribute(rotary, TEXT, method="integrated")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="the baseline is 'zero', but that is 4 tokens"):
        attribute(rotary, TEXT, method="integrated_gradients", baseline="zero")
    with pytest.raises(ConfigError, match="the baseline is 777"):
        attribute(rotary, TEXT, method="integrated_gradients", baseline=777)
    with pytest.raises(ConfigError, match="steps is 0"):
        attribute(rotary, TEXT, method="integrated_gradients", steps=0)
    with pytest.raises(ConfigError, match="one token long"):
        attribute(rotary, "", method="leave_one_out")
    with pytest.raises(ConfigError, match="place is 50"):
        attribute(rotary, TEXT, place=50)
