"""Painting as a page sees it: every look as it is taken, then the picture that Python paints."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

import limner
from limner.explain.trace import trace_of
from limner.picture.generator import PictureGenerator
from tests.studio.conftest import events, refused


def opened(url: str) -> Image.Image:
    head, data = url.split(",")
    assert head in ("data:image/webp;base64", "data:image/png;base64")
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_looks_come_one_by_one_and_the_picture_is_the_one_that_python_paints(page: TestClient) -> None:
    ask = {"model": "painter", "prompt": "a fox with a green hat", "seed": 3, "settings": {"steps": 4}}
    told = events(page.post("/api/paint", json=ask).text)
    assert [name for name, _ in told] == ["look"] * 4 + ["done"]
    assert [(look["number"], look["of"]) for _, look in told[:-1]] == [(number, 4) for number in range(4)]
    assert all(opened(look["seen"]).size == (16, 16) for _, look in told[:-1])
    painter = limner.load("painter")
    assert isinstance(painter, PictureGenerator)
    (alone,) = painter.generate("a fox with a green hat", seed=3, steps=4)
    done = told[-1][1]
    trace = trace_of(page.get(f"/api/traces/{done['trace']}").content)
    assert trace.kind == "picture"
    assert np.array_equal(trace["picture"], np.asarray(alone.image))
    assert [word["text"] for word in trace.about["words"]] == ["a", "fox", "with", "a", "green", "hat"]
    assert np.array_equal(np.asarray(opened(done["picture"])), np.asarray(alone.image))
    assert done["settings"]["seed"] == 3


def test_a_change_with_the_seed_kept(page: TestClient) -> None:
    def paint(*changes: dict[str, Any]) -> dict[str, Any]:
        ask = {"model": "painter", "prompt": "a fox with a green hat", "seed": 3, "settings": {"steps": 2}}
        told = events(page.post("/api/paint", json=ask | {"changes": list(changes)}).text)
        assert told[-1][0] == "done", told[-1]
        done: dict[str, Any] = told[-1][1]
        return done

    plain, heavy = paint(), paint({"kind": "weigh_word", "word": 4, "weight": 3.0})
    assert plain["picture"] != heavy["picture"]
    assert heavy["settings"]["changes"][0]["kind"] == "weigh_word"
    assert heavy["settings"]["seed"] == plain["settings"]["seed"] == 3
    assert paint()["picture"] == plain["picture"]


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        ({"settings": {"steps": 0}}, "steps is 0"),
        ({"settings": {"steps": 500}}, "steps is 500"),
        ({"settings": {"width": 16}}, "only one of width and height"),
        ({"settings": {"width": 17, "height": 16}}, "17"),
        ({"settings": {"guidance": 1e9}}, "guidance is 1e+09"),
        ({"settings": {"sampler": "eulr"}}, "Did you mean 'euler'?"),
        ({"prompt": "fox " * 300}, "this model reads 20"),
        ({"prompt": "f" * 100_000}, "100,000 characters"),
        ({"seed": -1}, "seed is -1"),
        ({"model": "tiny"}, "is for texts"),
        ({"changes": [{"kind": "weigh_wrd", "word": 1, "weight": 2.0}]}, "Did you mean 'weigh_word'"),
        ({"changes": [{"kind": "weigh_word", "word": 7, "weight": 2.0}]}, "word is 7"),
    ],
)
def test_what_cannot_be_painted_is_refused_in_a_sentence(page: TestClient, ask: dict[str, Any], says: str) -> None:
    refused(page.post("/api/paint", json={"model": "painter", "prompt": "a fox", **ask}), 400, says)
