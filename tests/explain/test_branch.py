"""A branch goes on from another token as the text would have gone on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from limner.core.errors import ConfigError
from limner.explain.branch import branch
from limner.text.generator import TextGenerator
from limner.text.record import Branch, Event
from limner.tokens import Tokenizer
from tests.text.conftest import make_generator

TEXT = "Once upon a time"


def test_a_branch_with_its_own_token_is_the_same_text(model: TextGenerator) -> None:
    made = model.generate(TEXT, seed=5, max_tokens=16, temperature=1.0, repetition_penalty=1.2)
    again = branch(model, made, 6, made.ids[6])
    assert (again.text, again.ids, again.finish, again.seed) == (made.text, made.ids, made.finish, made.seed)
    assert again.logprobs == pytest.approx(made.logprobs, abs=1e-4)
    assert made.record is not None
    assert again.record is not None
    torch.testing.assert_close(again.record.logsumexp, made.record.logsumexp, rtol=1e-4, atol=1e-4)
    assert again.record.candidate_ids.shape == made.record.candidate_ids.shape
    assert again.branch == Branch(6, made.ids[6], made.ids[6])


def test_a_branch_is_writing_on_from_the_forced_beginning(model: TextGenerator) -> None:
    made = model.generate(TEXT, seed=6, greedy=True, max_tokens=16)
    if len(made.ids) < 4:
        made = model.generate(TEXT, seed=5, max_tokens=16)
        made = replace(made, settings=replace(made.settings, sampling=replace(made.settings.sampling, temperature=0.0)))
    other = made.record.candidates(3)[4].id  # type: ignore[union-attr]
    found = branch(model, made, 3, other)
    assert found.ids[:4] == [*made.ids[:3], other]
    prefix = [*made.prompt_ids, *found.ids[:4]]
    on = model.generate(prefix, greedy=True, max_tokens=12)
    assert found.ids[4:] == on.ids
    assert found.branch == Branch(3, other, made.ids[3])
    assert found.to_dict()["branch"] == {"place": 3, "id": other, "instead_of": made.ids[3]}
    assert "branch" not in made.to_dict()
    assert found.text.endswith(on.text)
    assert found.prompt_ids == made.prompt_ids


def test_a_branch_is_replayed_like_any_run(model: TextGenerator) -> None:
    made = model.generate(TEXT, seed=5, max_tokens=16)
    for id in (made.record.candidates(2)[1].id, 270):  # type: ignore[union-attr]
        found = branch(model, made, 2, id)
        trace = model.trace(found)
        assert trace.about["replay"]["agreement"] == 1.0
        assert trace.about["replay"]["largest_difference"] < 1e-3
        start = len(made.prompt_ids)
        assert trace["logprobs"][start:] == pytest.approx(found.logprobs, abs=1e-3)
        assert trace.about["run"]["branch"]["id"] == id


def test_branches_have_branches(rotary: TextGenerator) -> None:
    made = rotary.generate(TEXT, seed=5, max_tokens=10)
    first = branch(rotary, made, 2, 270)
    second = branch(rotary, first, 4, 271)
    assert second.ids[:5] == [*first.ids[:4], 271]


def test_each_new_token_is_told(rotary: TextGenerator) -> None:
    made = rotary.generate(TEXT, seed=5, max_tokens=10)
    told: list[Event] = []
    found = branch(rotary, made, 3, 270, on_event=told.append)
    assert [event.id for event in told] == found.ids[4:]


def test_the_end_and_the_most_tokens_are_kept_to(words: Tokenizer) -> None:
    model = make_generator(words, end_bias=-50.0)
    made = model.generate(TEXT, seed=5, max_tokens=10)
    (end,) = model.end_ids
    ended = branch(model, made, 4, end)
    assert (ended.ids, ended.finish) == ([*made.ids[:4], end], "end")
    assert len(ended.logprobs) == 5
    assert len(branch(model, made, -1, 270).ids) == 10
    longer = branch(model, made, 9, 270, max_tokens=14)
    assert len(longer.ids) == 14
    assert longer.settings == replace(made.settings, max_tokens=14)


def test_a_text_that_slid_is_branched_as_it_slid(words: Tokenizer) -> None:
    model = make_generator(words, context_length=24, end_bias=-50.0)
    made = model.generate(TEXT, seed=2, max_tokens=60, window="slide")
    assert branch(model, made, 50, made.ids[50]).ids == made.ids


def test_without_a_record_there_is_none(rotary: TextGenerator) -> None:
    made = rotary.generate(TEXT, seed=5, max_tokens=10, record=False)
    found = branch(rotary, made, 3, 270)
    assert found.record is None
    assert found.logprobs == []


def test_what_cannot_be_branched_is_said(rotary: TextGenerator) -> None:
    made = rotary.generate(TEXT, seed=5, max_tokens=10)
    with pytest.raises(ConfigError, match="place is 10, but what was written has 10 tokens"):
        branch(rotary, made, 10, 4)
    with pytest.raises(ConfigError, match="id is 320, but ids run from 0 to 319"):
        branch(rotary, made, 1, 320)
    with pytest.raises(ConfigError, match="max_tokens is 3, but the branch is at token 6"):
        branch(rotary, made, 5, 4, max_tokens=3)
