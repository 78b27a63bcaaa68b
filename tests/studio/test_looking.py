"""Looking inside a text: what a page gets is what ``limner.explain`` computes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

import limner
from limner.core.errors import ConfigError
from limner.explain.next_token import next_token
from limner.explain.trace import trace_of
from limner.studio import texts
from limner.text.generator import TextGenerator
from limner.text.sampling import Sampling, sample
from limner.tokens import train_tokenizer
from limner.weights.folder import save_model
from tests.explain.conftest import build, small_encoder
from tests.studio.conftest import events, refused
from tests.text.conftest import STORY

TEXT = "Tom climbed a tall tree"


@pytest.fixture
def tiny() -> TextGenerator:
    model = limner.load("tiny")
    assert isinstance(model, TextGenerator)
    return model


@pytest.fixture
def ids(tiny: TextGenerator) -> list[int]:
    return tiny.read_prompt(TEXT)


@pytest.fixture
def done(page: TestClient) -> dict[str, Any]:
    """What is said at the end of a text of 8 tokens."""
    ask = {"model": "tiny", "prompt": "Tom", "seed": 1, "settings": {"max_tokens": 8}}
    said: dict[str, Any] = events(page.post("/api/write", json=ask).text)[-1][1]
    return said


# ── traces ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_text_that_was_written_has_a_trace_that_is_held_to_it(page: TestClient, done: dict[str, Any]) -> None:
    trace = trace_of(page.get(f"/api/traces/{done['trace']}").content)
    generation = done["generation"]
    assert trace["ids"].tolist() == [*generation["prompt_ids"], *generation["ids"]]
    assert trace.about["run"]["seed"] == 1
    assert trace.about["replay"]["tokens"] == 8
    assert trace.about["replay"]["largest_difference"] < 1e-3
    written = [token["written"] for token in trace.about["tokens"]]
    assert written == [False] * len(generation["prompt_ids"]) + [True] * 8
    assert trace.about["model"]["name"] == "tiny"


def test_a_text_is_read_in_any_of_four_forms(page: TestClient, ids: list[int], done: dict[str, Any]) -> None:
    def read(**ask: Any) -> list[int]:
        answer = page.post("/api/trace/text", json={"model": "tiny", **ask})
        assert answer.status_code == 200, answer.text
        found: list[int] = trace_of(answer.content)["ids"].tolist()
        return found

    generation = done["generation"]
    assert read(text=TEXT) == read(ids=ids) == ids
    whole = [*generation["prompt_ids"], *generation["ids"]]
    assert read(generation=generation) == read(trace=done["trace"]) == whole


def test_changes_are_made_and_noted(page: TestClient) -> None:
    plain = trace_of(page.post("/api/trace/text", json={"model": "tiny", "text": TEXT}).content)
    change = {"kind": "head_off", "layer": 0, "head": 1}
    changed = trace_of(page.post("/api/trace/text", json={"model": "tiny", "text": TEXT, "changes": [change]}).content)
    assert changed.about["changes"] == [change]
    assert not np.allclose(changed["candidates.logits"], plain["candidates.logits"])


def test_of_a_long_text_the_attention_is_left_out(page: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "MOST_ATTENTION", 100)
    trace = trace_of(page.post("/api/trace/text", json={"model": "tiny", "text": TEXT}).content)
    assert "attention.0" not in trace
    assert {"lens.ids", "ledger.logit"} <= set(trace)


@pytest.mark.parametrize("most", [100, texts.MOST_ATTENTION])
def test_of_a_long_text_only_that_is_asked_for_which_the_model_has(
    page: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """A model normalised after each sub-layer has no ledger, and an encoder writes nothing; both read long texts."""
    tokenizer = train_tokenizer("byte-bpe", [STORY] * 4, vocab_size=320)
    save_model(tmp_path / "post", build(tokenizer, "post").model, tokenizer, {})
    save_model(tmp_path / "reader", small_encoder(tokenizer, "rotary").model, tokenizer, {})
    monkeypatch.setenv("LIMNER_MODELS", str(tmp_path))
    monkeypatch.setattr(texts, "MOST_ATTENTION", most)
    for name in ("post", "reader"):
        answer = page.post("/api/trace/text", json={"model": name, "text": TEXT})
        assert answer.status_code == 200, answer.text
        trace = trace_of(answer.content)
        assert "ledger.logit" not in trace
        assert {"stream.norm", "neurons.ids"} <= set(trace)
        assert ("lens.ids" in trace) == (name == "post")
        assert ("attention.0" in trace) == (most > 100)


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        ({}, "nothing is given"),
        ({"text": "a", "ids": [1]}, "text, ids is given"),
        ({"text": "moon " * 1000}, "holds 48"),
        ({"text": "a", "changes": [{"kind": "head_of", "layer": 0, "head": 0}]}, "Did you mean 'head_off'"),
        ({"text": "a", "changes": [{"kind": "head_off", "layer": 9, "head": 0}]}, "9"),
        ({"text": "a", "changes": [{"kind": "head_off", "layer": 0}]}, "head is missing"),
        ({"trace": "0123456789abcdef"}, "0123456789abcdef"),
        ({"generation": {"text": "a"}}, "generation.prompt is missing"),
        ({"model": "painter", "text": "a"}, "paints"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(page: TestClient, ask: dict[str, Any], says: str) -> None:
    refused(page.post("/api/trace/text", json={"model": "tiny", **ask}), 400, says)


def test_a_text_of_another_model_is_not_read_as_one_s_own(page: TestClient, done: dict[str, Any]) -> None:
    refused(page.post("/api/trace/text", json={"model": "story", "trace": done["trace"]}), 400, "'tiny'")


# ── branches ────────────────────────────────────────────────────────────────────────────────────────────────


def test_another_token_is_put_in_and_the_text_goes_on(page: TestClient, done: dict[str, Any]) -> None:
    old = done["generation"]
    told = events(page.post("/api/branch", json={"trace": done["trace"], "place": 3, "id": 300}).text)
    told = [event for event in told if event[0] != "waiting"]
    new = told[-1][1]["generation"]
    assert new["ids"][:4] == [*old["ids"][:3], 300]
    assert len(new["ids"]) == len(old["ids"])
    assert [token["id"] for token in told[0][1]["tokens"]] == [*old["prompt_ids"], *new["ids"][:4]]
    assert [values["id"] for name, values in told if name == "token"] == new["ids"][4:]
    trace = trace_of(page.get(f"/api/traces/{told[-1][1]['trace']}").content)
    assert trace["ids"].tolist() == [*new["prompt_ids"], *new["ids"]]
    same = events(page.post("/api/branch", json={"trace": done["trace"], "place": 3, "id": old["ids"][3]}).text)
    assert same[-1][1]["generation"]["text"] == old["text"]  # the same token, the same chance: the same text


@pytest.mark.parametrize(
    ("ask", "says"),
    [({"place": 8, "id": 1}, "place is 8"), ({"place": 0, "id": 9999}, "id is 9999"), ({"place": 0}, "id is missing")],
)
def test_a_branch_that_cannot_be(page: TestClient, done: dict[str, Any], ask: dict[str, Any], says: str) -> None:
    refused(page.post("/api/branch", json={"trace": done["trace"], **ask}), 400, says)


def test_a_trace_brought_in_has_no_branches(page: TestClient, done: dict[str, Any]) -> None:
    content = page.get(f"/api/traces/{done['trace']}").content
    id = page.post("/api/traces", content=content).json()["trace"]
    refused(page.post("/api/branch", json={"trace": id, "place": 0, "id": 1}), 400, "was not written in this studio")


# ── what comes next ─────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_likely_is_what_is_drawn(tiny: TextGenerator, ids: list[int]) -> None:
    """Drawn 4,000 times at even distances of chance, each token comes as often as it is likely."""
    sampling = Sampling(temperature=1.3, top_k=30, top_p=0.9, min_p=0.01)
    found = next_token(tiny, ids, count=1000, sampling=sampling)
    with torch.no_grad():
        logits = tiny.model(torch.tensor([ids]))[:, -1].float()
    many = 4000
    chance = (torch.arange(many, dtype=torch.float64) + 0.5) / many
    drawn = sample(logits.expand(many, -1), sampling, chance).tolist()
    assert set(drawn) <= {one.id for one in found.candidates}
    assert found.kept == len(found.candidates) <= 30
    for one in found.candidates:
        assert drawn.count(one.id) / many == pytest.approx(one.probability, abs=2 / many)
    assert sum(one.probability for one in found.candidates) == pytest.approx(1.0, abs=1e-5)


def test_without_settings_it_is_the_model_s_own_prediction(tiny: TextGenerator, ids: list[int]) -> None:
    for place in (0, 2, -1):
        found = next_token(tiny, ids, place=place, count=5)
        with torch.no_grad():
            own = tiny.model(torch.tensor([ids]))[0, place].log_softmax(dim=-1)
        assert found.kept == tiny.tokenizer.vocab_size
        assert [one.id for one in found.candidates] == own.topk(5).indices.tolist()
        for one in found.candidates:
            assert one.logprob == pytest.approx(float(own[one.id]), abs=1e-4)
            assert one.probability == pytest.approx(math.exp(one.logprob), rel=1e-3)
        assert found.rest == pytest.approx(1 - sum(one.probability for one in found.candidates))


def test_at_temperature_0_one_token_is_certain(tiny: TextGenerator, ids: list[int]) -> None:
    found = next_token(tiny, ids, sampling=Sampling(temperature=0.0))
    assert (found.kept, found.rest) == (1, 0.0)
    assert found.candidates[0].probability == 1.0
    assert found.candidates[0].id == tiny.generate(ids, greedy=True, max_tokens=1).ids[0]


def test_what_next_token_refuses(tiny: TextGenerator, ids: list[int]) -> None:
    with pytest.raises(ConfigError, match="place is 99"):
        next_token(tiny, ids, place=99)
    with pytest.raises(ConfigError, match="count is 0"):
        next_token(tiny, ids, count=0)
    with pytest.raises(ConfigError, match=r"repetition_penalty is 1\.5"):
        next_token(tiny, ids, sampling=Sampling(repetition_penalty=1.5))


def test_a_page_moves_the_sliders(page: TestClient, tiny: TextGenerator, ids: list[int]) -> None:
    ask = {"model": "tiny", "ids": ids, "place": 2, "temperature": 0.7, "top_k": 5, "top_p": 1.0}
    answer = page.post("/api/distribution", json=ask).json()
    assert answer["kept"] == 5
    alone = next_token(tiny, ids, place=2, sampling=Sampling(0.7, 5)).to_dict()
    assert [one["id"] for one in answer["candidates"]] == [one["id"] for one in alone["candidates"]]
    refused(page.post("/api/distribution", json=ask | {"temperature": -1}), 400, "temperature is -1")
    refused(page.post("/api/distribution", json=ask | {"place": 77}), 400, "place is 77")


# ── why, what for, what if ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", ["gradient_x_input", "integrated_gradients", "leave_one_out"])
def test_why(page: TestClient, tiny: TextGenerator, ids: list[int], method: str) -> None:
    answer = page.post("/api/why", json={"model": "tiny", "ids": ids, "place": 3, "method": method}).json()
    assert len(answer["scores"]) == 4
    assert answer["target"] == ids[4]
    assert answer["sum"] == pytest.approx(sum(answer["scores"]), abs=1e-3)
    if method == "integrated_gradients":
        assert answer["sum"] == pytest.approx(answer["difference"], rel=0.02)
    from limner.explain.attribution import attribute

    alone = attribute(tiny, ids, place=3, method=method)  # type: ignore[arg-type]
    assert answer["scores"] == pytest.approx(alone.scores.tolist(), abs=1e-4)


def test_the_causal_map_comes_layer_by_layer(page: TestClient, ids: list[int]) -> None:
    told = events(page.post("/api/causal", json={"model": "tiny", "ids": ids}).text)
    told = [event for event in told if event[0] != "waiting"]
    assert [name for name, _ in told] == ["progress", "progress", "done"]
    assert told[0][1] == {"done": 1, "of": 2}
    found = told[-1][1]
    assert (len(found["change"]), len(found["change"][0])) == (2, 4)
    off = {"kind": "head_off", "layer": 1, "head": 2}
    compared = page.post("/api/compare", json={"model": "tiny", "ids": ids, "changes": [off], "max_tokens": 1}).json()
    after = {one["id"]: one["probability"] for one in compared["after"]["candidates"]}
    if found["target"] in after:
        assert found["change"][1][2] == pytest.approx(after[found["target"]] - found["probability"], abs=1e-4)


def test_before_and_after(page: TestClient, tiny: TextGenerator, ids: list[int]) -> None:
    ask: dict[str, Any] = {"model": "tiny", "text": TEXT, "max_tokens": 6}
    same = page.post("/api/compare", json=ask | {"changes": []}).json()
    assert same["before"] == same["after"]
    assert same["divergence"] == pytest.approx(0.0, abs=1e-6)
    assert same["continuation"]["before"] == same["continuation"]["after"]
    assert same["continuation"]["before"] == tiny.generate(TEXT, greedy=True, max_tokens=6).text
    off = [{"kind": "attention_off", "layer": 0}]
    changed = page.post("/api/compare", json=ask | {"changes": off}).json()
    assert changed["before"] == same["before"]
    assert changed["after"] != same["after"]
    assert changed["divergence"] > 0
    best = changed["before"]["candidates"][0]
    assert best["logprob"] == pytest.approx(math.log(best["probability"]))
    refused(page.post("/api/compare", json=ask | {"max_tokens": 5000}), 400, "max_tokens is 5000")
