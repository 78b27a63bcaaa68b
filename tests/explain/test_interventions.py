"""What a report is given beforehand is what asking the model gives."""

from __future__ import annotations

import json

import pytest

from limner.core.errors import ConfigError
from limner.explain.attribution import attribute
from limner.explain.causal import causal_map
from limner.explain.changes import AttentionOff, FeedForwardOff, HeadOff, compare
from limner.explain.interventions import interventions
from limner.explain.text_trace import trace_text
from limner.tokens import Tokenizer
from tests.explain.conftest import build

TEXT = "Once upon a time, there was a curious cat"


@pytest.mark.parametrize("kind", ["rotary", "sliding", "post"])
def test_each_part_off_leads_to_what_comparing_finds(words: Tokenizer, kind: str) -> None:
    model = build(words, kind)
    found = interventions(model, trace_text(model, TEXT), count=4)["interventions"]
    heads = model.model.config.stack.block(1).attention.num_heads
    for layer in (0, 1):
        changes = [*(HeadOff(layer, head) for head in range(heads)), AttentionOff(layer), FeedForwardOff(layer)]
        assert len(found["layers"][layer]) == len(changes)
        for change, pairs in zip(changes, found["layers"][layer], strict=True):
            seen = compare(model, TEXT, [change], count=4, max_tokens=1)
            assert [id for id, _ in pairs] == [guess.id for guess in seen.after]
            assert [share for _, share in pairs] == pytest.approx([g.probability for g in seen.after], rel=1e-3)
    seen = compare(model, TEXT, [], count=4, max_tokens=1)
    assert [id for id, _ in found["before"]] == [guess.id for guess in seen.before]
    assert all(str(id) in found["texts"] for layer in found["layers"] for part in layer for id, _ in part)
    assert found["texts"][str(found["target"])] == found["text"] == seen.before[0].text


def test_the_changes_are_those_of_the_causal_map(words: Tokenizer) -> None:
    model = build(words, "learned")
    found = interventions(model, trace_text(model, TEXT))["interventions"]
    known = causal_map(model, TEXT)
    assert found["probability"] == pytest.approx(known.probability, rel=1e-4)
    for layer, row in enumerate(found["change"]):
        assert row == pytest.approx([*known.heads[layer], known.attention[layer], known.feed_forward[layer]], abs=1e-5)


def test_the_reasons_are_those_of_each_token(words: Tokenizer) -> None:
    model = build(words, "rotary")
    trace = trace_text(model, model.generate(TEXT, max_tokens=4, seed=1))
    told: list[tuple[int, int]] = []
    why = interventions(model, trace, on_progress=lambda done, of: told.append((done, of)))["why"]
    ids = trace["ids"].tolist()
    assert why["first"] == 1
    assert len(why["scores"]) == len(ids)
    for place in (1, len(ids) - 1, len(ids)):
        expected = attribute(model, ids, place=place - 1).scores
        assert why["scores"][place - 1] == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert told[-1][0] == told[-1][1] == len(told)


def test_a_report_of_a_model_with_very_many_parts_stays_small(
    words: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limner.explain.interventions.MOST_GUESSES", 40)
    monkeypatch.setattr("limner.explain.interventions.MOST_REASONS", 3)
    model = build(words, "rotary")
    found = interventions(model, trace_text(model, TEXT))
    assert {len(part) for layer in found["interventions"]["layers"] for part in layer} == {3}  # 12 parts, and none off
    assert len(found["why"]["scores"]) == 3
    assert len(found["why"]["scores"][-1]) == len(model.read_prompt(TEXT, window=None))
    json.dumps(found, allow_nan=False)


def test_a_trace_of_a_changed_model_is_refused(words: Tokenizer) -> None:
    model = build(words, "rotary")
    with pytest.raises(ConfigError, match="the trace has 1 changes"):
        interventions(model, trace_text(model, TEXT, changes=[HeadOff(0, 0)]))
    with pytest.raises(ConfigError, match="count is 0"):
        interventions(model, trace_text(model, TEXT), count=0)
