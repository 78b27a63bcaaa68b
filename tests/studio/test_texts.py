"""Tokens and writing: what a page is told is what the model computes, and what is wrong is told in a sentence."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

import limner
from limner.models import catalogue
from limner.studio import shelf
from limner.text.generator import TextGenerator
from limner.tokens import Tokenizer
from limner.tokens.merges import MergeReplay
from tests.studio.conftest import events, refused


@pytest.fixture
def tiny() -> TextGenerator:
    model = limner.load("tiny")
    assert isinstance(model, TextGenerator)
    return model


def write(page: TestClient, **ask: Any) -> list[tuple[str, Any]]:
    answer = page.post("/api/write", json={"model": "tiny", **ask})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return events(answer.text)


def test_a_text_comes_token_by_token_and_is_the_one_that_python_makes(page: TestClient, tiny: TextGenerator) -> None:
    told = write(page, prompt="The cat", seed=3, settings={"max_tokens": 12, "temperature": 0.7, "top_k": 40})
    alone = tiny.generate("The cat", seed=3, max_tokens=12, temperature=0.7, top_k=40)
    assert [name for name, _ in told] == ["start", *["token"] * 12, "done"]
    assert [token["id"] for token in told[0][1]["tokens"]] == alone.prompt_ids
    assert [values["id"] for name, values in told if name == "token"] == alone.ids
    assert "".join(values["shown"] for name, values in told if name == "token") == alone.text
    logprobs = [values["logprob"] for name, values in told if name == "token"]
    assert logprobs == pytest.approx(alone.logprobs, abs=1e-5)
    best = told[1][1]["candidates"]
    assert len(best) == 20
    assert [c["logprob"] for c in best] == sorted((c["logprob"] for c in best), reverse=True)
    done = told[-1][1]
    assert done["generation"]["text"] == alone.text
    assert done["generation"]["seed"] == 3


def test_a_branch_goes_on_from_the_very_ids(page: TestClient, tiny: TextGenerator) -> None:
    ids = [*tiny.read_prompt("The cat"), 300, 17]
    told = write(page, ids=ids, seed=1, settings={"max_tokens": 4, "greedy": True})
    assert [token["id"] for token in told[0][1]["tokens"]] == ids
    assert told[-1][1]["generation"]["ids"] == tiny.generate(ids, greedy=True, max_tokens=4).ids


def test_without_a_seed_one_is_drawn_and_told(page: TestClient) -> None:
    first = write(page, prompt="The", settings={"max_tokens": 6})
    seed = first[0][1]["seed"]
    again = write(page, prompt="The", seed=seed, settings={"max_tokens": 6})
    assert again[1:-1] == first[1:-1]


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        ({"prompt": "x" * 100_000}, "prompt is 100,000 characters long"),
        ({"prompt": "moon " * 3000}, "the context window of the model holds 48"),
        ({"ids": [5] * 30_000}, "ids has 30,000 entries"),
        ({"ids": [5, 99_999]}, "99999"),
        ({"prompt": "a", "ids": [1]}, "both given"),
        ({}, "neither given"),
        ({"prompt": 5}, "request.prompt is 5"),
        ({"prompt": "a", "settings": {"temperature": -1}}, "temperature is -1"),
        ({"prompt": "a", "settings": {"temprature": 1}}, "Did you mean 'temperature'?"),
        ({"prompt": "a", "settings": {"max_tokens": 100_000}}, "max_tokens is 100000"),
        ({"prompt": "a", "seed": -4}, "-4"),
        ({"prompt": "a", "model": "tinny"}, "Did you mean 'tiny'?"),
        ({"prompt": "a", "model": "painter"}, "does not write"),
        ({"prompt": "a", "model": "../../etc"}, "opens only what it lists"),
        ({"prompt": "\ud800"}, "surrogate"),
        ({"\ud800": 1}, "a name in the request holds half of a surrogate"),
        ({"settings": {"\ud800": 1}}, "a name in settings holds half of a surrogate"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_written_is_refused_in_a_sentence(page: TestClient, ask: dict[str, Any], says: str) -> None:
    import json

    answer = page.post(
        "/api/write", content=json.dumps({"model": "tiny", **ask}), headers={"content-type": "application/json"}
    )
    said = refused(answer, 400, says)
    assert len(said) < 1000


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "cannot be read as JSON"),
        (b"\xff\xfe", "cannot be read as JSON"),
        (b"[1]", "must be an object"),
        (b'{"settings": ' + b"[" * 5000 + b"]" * 5000 + b"}", "the request "),
        (b"", "empty"),
        (b'{"model": "tiny", "prompt": "a", "settings": {"temperature": NaN}}', "NaN"),
        (b"[" * 100_000, "cannot be read as JSON"),
        (b'{"prompt": "a"}', "request.model is missing"),
    ],
)
def test_what_is_no_request_is_refused_in_a_sentence(page: TestClient, body: bytes, says: str) -> None:
    refused(page.post("/api/write", content=body), 400, says)


def test_a_request_that_is_too_large_is_not_read(page: TestClient) -> None:
    refused(page.post("/api/write", content=b" " * (3 << 20)), 413, "bytes long")


def test_what_cannot_be_asked_is_said_to_be_so(page: TestClient) -> None:
    refused(page.get("/api/nothing"), 404, "/api/nothing")
    refused(page.get("/api/write"), 405, "POST")
    refused(page.post("/api/models"), 405, "POST")


# ── tokens ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_tokenizers_side_by_side(page: TestClient, tiny: TextGenerator) -> None:
    text = "Cats climb, cafés laugh 🪁"
    answer = page.post("/api/tokens", json={"text": text, "models": ["tiny", "story"]}).json()
    first, second = answer["tokenizers"]
    assert (first["model"], second["model"]) == ("tiny", "story")
    assert [token["id"] for token in first["tokens"]] == tiny.tokenizer.encode(text)
    assert bytes(byte for token in first["tokens"] for byte in token["bytes"]).decode() == text
    assert first["context_length"] == 48
    assert second["vocab_size"] > first["vocab_size"]
    for read in (first, second):
        assert [token["start"] for token in read["tokens"]] == sorted(token["start"] for token in read["tokens"])


def test_models_are_listed_once_for_several_tokenizers(page: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(shelf, "catalogue", lambda *folders, **settings: (asked.append(True), catalogue())[1])
    answer = page.post("/api/tokens", json={"text": "moon", "models": ["tiny", "painter", "story"]})
    assert [one["model"] for one in answer.json()["tokenizers"]] == ["tiny", "painter", "story"]
    assert len(asked) == 1


def test_merges_replayed_end_at_the_tokens(page: TestClient) -> None:
    text = "The moon laughed."
    read = page.post("/api/tokens", json={"text": text, "models": ["tiny"]}).json()["tokenizers"][0]
    shown = []
    for word in read["merges"]:
        pieces = list(word["pieces"])
        assert "".join(pieces) == text[word["start"] : word["end"]]
        for merge in word["steps"]:
            assert merge["piece"] == pieces[merge["at"]] + pieces[merge["at"] + 1]
            pieces[merge["at"] : merge["at"] + 2] = [merge["piece"]]
        shown += pieces
    assert shown == [token["text"] for token in read["tokens"]]
    assert any(word["steps"] for word in read["merges"])


def test_a_long_text_is_split_but_its_merges_are_left_out(page: TestClient) -> None:
    read = page.post("/api/tokens", json={"text": "moon " * 400, "models": ["tiny"]}).json()["tokenizers"][0]
    assert len(read["tokens"]) >= 400
    assert read["merges"] == []
    assert read["merges_left_out"]


@pytest.mark.parametrize("models", [[], ["tiny"] * 5])
def test_one_to_four_tokenizers(page: TestClient, models: list[str]) -> None:
    refused(page.post("/api/tokens", json={"text": "a", "models": models}), 400, f"{len(models)} models")


def test_a_model_without_a_tokenizer(page: TestClient) -> None:
    refused(page.post("/api/tokens", json={"text": "a", "models": ["judge"]}), 400, "'judge'", "no tokenizer")


def test_a_tokenizer_that_does_not_merge_has_no_merges(tiny: TextGenerator) -> None:
    from limner.tokens import train_tokenizer

    characters: Tokenizer = train_tokenizer("characters", ["abc cab"], vocab_size=30)
    assert MergeReplay(characters).words("abc") == []
