"""Meaning and order as a page sees them: what ``limner.explain`` computes, made once for each model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as load_bytes
from starlette.testclient import TestClient

import limner
from limner.explain import vectors as explain_vectors
from limner.explain.word_map import map_words
from limner.studio.state import Studio
from tests.studio.conftest import refused


def test_neighbours(page: TestClient) -> None:
    answer = page.post("/api/neighbours", json={"model": "story", "word": "cat", "count": 5}).json()
    alone = limner.neighbours(limner.load("story"), "cat", count=5)  # type: ignore[arg-type]
    assert [one["word"] for one in answer["found"]] == [one.word for one in alone.found]
    assert len(answer["found"]) == 5


def test_an_analogy(page: TestClient) -> None:
    answer = page.post("/api/analogy", json={"model": "story", "a": "king", "b": "man", "c": "woman"}).json()
    assert len(answer["found"]) == 10
    assert {"king", "man", "woman"}.isdisjoint(one["word"].strip() for one in answer["found"])


def test_words_get_their_vectors_once_for_each_model(
    page: TestClient, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    own = explain_vectors.table_vectors

    def counted(model: Any, words: Any = None) -> Any:
        made.append(model)
        return own(model, words)

    monkeypatch.setattr(explain_vectors, "table_vectors", counted)
    for word in ("cat", "dog", "sun"):
        page.post("/api/neighbours", json={"model": "story", "word": word, "count": 3})
    assert len(made) == 1


def test_a_map(page: TestClient) -> None:
    content = page.post("/api/map", json={"model": "story", "count": 300}).content
    coordinates = load_bytes(content)["coordinates"]
    alone = map_words(limner.load("story"), count=300)  # type: ignore[arg-type]
    assert coordinates.shape == (300, 2)
    assert np.allclose(coordinates, alone.coordinates, atol=1e-4)
    assert b'"story"' in content.split(b'"__metadata__"')[1][:4000] or b"story" in content[:4000]


def test_a_word_in_two_texts(page: TestClient) -> None:
    ask = {"model": "story", "word": "cat", "first": "The big cat", "second": "Tom saw a cat", "references": ["dog"]}
    answer = page.post("/api/drift", json=ask).json()
    assert len(answer["similarity"]) == len(answer["references"]["dog"][0])
    assert answer["first"]["places"] != answer["second"]["places"]


def test_positions(page: TestClient) -> None:
    answer = page.get("/api/positions?model=tiny").json()
    assert answer["kind"] == "rotary"
    assert answer["count"] == 48  # no more than the model has
    assert page.get("/api/positions?model=story&count=10").json()["count"] == 10


def test_order(page: TestClient) -> None:
    answer = page.post("/api/order", json={"model": "story", "texts": ["cats chase mice", "mice chase cats"]}).json()
    assert answer["texts"] == ["cats chase mice", "mice chase cats"]
    assert answer["with_positions"]["similarity"] <= 1.0001
    assert answer["without_positions"] != answer["with_positions"]


@pytest.mark.parametrize(
    ("path", "ask", "says"),
    [
        ("neighbours", {"word": "cat", "count": 0}, "count is 0"),
        ("neighbours", {"word": "cat", "count": 5000}, "count is 5000"),
        ("neighbours", {"word": " "}, "the word is ' '"),
        ("neighbours", {"word": "cat", "among": "words"}, "encoder"),
        ("analogy", {"a": "king", "b": "man"}, "request.c is missing"),
        ("map", {"count": 0}, "count is 0"),
        ("map", {"count": 100, "seed": -1}, "seed is -1"),
        ("map", {"count": 100, "seed": 2**32}, "seed is 4294967296"),
        ("map", {"count": 50_000, "layout": "neighbours"}, "count is 50,000"),
        ("drift", {"word": "cat", "first": "a dog", "second": "a cat"}, "'cat'"),
        ("order", {"texts": ["one"]}, "1 texts are given"),
        ("order", {"texts": ["one", "moon " * 3000]}, "context window"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_a_sentence(
    page: TestClient, path: str, ask: dict[str, Any], says: str
) -> None:
    refused(page.post(f"/api/{path}", json={"model": "story", **ask}), 400, says)


def test_positions_that_are_not_to_be_had(page: TestClient) -> None:
    refused(page.get("/api/positions?model=tiny&count=many"), 400, "'many'")
    refused(page.get("/api/positions?model=tiny&count=" + "9" * 5000), 400, "1 to 1,024 positions")
    refused(page.get("/api/positions"), 400, "request.model is missing")
    refused(page.get("/api/positions?model=painter"), 400, "paints")
