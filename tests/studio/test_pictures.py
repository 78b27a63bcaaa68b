"""Painting as a page sees it: every look as it is taken, then the picture that Python paints."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient
from torch import Tensor

import limner
from limner.explain.picture_causal import picture_causal_map
from limner.explain.picture_trace import PictureTrace
from limner.explain.trace import Trace, trace_of
from limner.picture.generator import PictureGenerator
from limner.studio import pictures
from limner.studio.state import Studio
from limner.studio.worker import GoneError, Job
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


def painted(page: TestClient, **more: Any) -> str:
    """The id of a painted picture's trace."""
    ask = {"model": "painter", "prompt": "a fox with a green hat", "seed": 3, "settings": {"steps": 4}}
    return str(events(page.post("/api/paint", json=ask | more).text)[-1][1]["trace"])


def test_a_look_is_looked_at_again_for_how_patches_look_at_each_other(page: TestClient) -> None:
    id = painted(page)
    answer = page.post("/api/trace/picture", json={"trace": id, "looks": [2]})
    assert answer.status_code == 200, answer.text
    again = PictureTrace.of(trace_of(answer.content))
    assert again.looks == [2]
    painter = limner.load("painter")
    assert isinstance(painter, PictureGenerator)
    live = painter.trace("a fox with a green hat", seed=3, steps=4, self_attention=True)
    np.testing.assert_allclose(again.self_attention(look=2), live.self_attention(look=2), atol=0.01)
    one = PictureTrace.of(
        trace_of(page.post("/api/trace/picture", json={"trace": id, "looks": [2], "layers": [1]}).content)
    )
    assert [name for name in one if name.startswith("self_attention")] == ["self_attention.2.1"]
    # A file that somebody brings is looked at again as well.
    brought = page.post("/api/traces", content=page.get(f"/api/traces/{id}").content).json()["trace"]
    assert page.post("/api/trace/picture", json={"trace": brought, "looks": [0]}).status_code == 200


def test_each_head_off_in_turn(page: TestClient) -> None:
    id = painted(page)
    painter = limner.load("painter")
    assert isinstance(painter, PictureGenerator)
    (picture,) = painter.generate("a fox with a green hat", seed=3, steps=4)
    for where in ("cross_attention", "attention"):
        told = events(page.post("/api/causal/picture", json={"trace": id, "where": where}).text)
        assert [name for name, _ in told] == ["head"] * 4 + ["done"]
        assert [(one["done"], one["of"]) for _, one in told[:-1]] == [(number, 4) for number in (1, 2, 3, 4)]
        causal = picture_causal_map(painter, picture, where=where)
        for _, one in told[:-1]:
            change = one["change"]
            assert one["changed"] == pytest.approx(causal.change[change["layer"], change["head"]], abs=1e-4)
            assert opened(one["picture"]).size == (16, 16)
    # With what the picture was changed by already.
    other = painted(page, changes=[{"kind": "attention_off", "layer": 0}])
    told = events(page.post("/api/causal/picture", json={"trace": other}).text)
    assert [one["changed"] for _, one in told[:2]] == [0.0, 0.0], "what is off already cannot be switched off again"


def test_for_whoever_has_left_no_further_look_is_taken(
    page: TestClient, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = pictures.AskPictureCausal(painted(page))
    denoiser = studio.shelf.painter("painter").model.denoiser
    forward, taken = denoiser.forward, []
    job = Job("", lambda job: None, lambda message: None)

    def counted(*arguments: Any, **values: Any) -> Tensor:
        taken.append(1)
        if len(taken) == 6:  # four looks with all heads, then two without the first
            job.leave()
        return forward(*arguments, **values)

    monkeypatch.setattr(denoiser, "forward", counted)
    with pytest.raises(GoneError):
        pictures.causal_picture(studio, ask, job)
    assert len(taken) == 6


def test_what_cannot_be_looked_at_again_is_refused_in_a_sentence(
    page: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = painted(page)
    refused(page.post("/api/trace/picture", json={"trace": id, "looks": [9]}), 400, "look 9 is asked for")
    refused(page.post("/api/trace/picture", json={"trace": id, "looks": []}), 400, "looks is empty")
    refused(page.post("/api/trace/picture", json={"trace": id, "looks": [0], "layers": [5]}), 400, "layer 5")
    text = page.post("/api/traces", content=Trace("text", {}, {"ids": np.zeros(1, np.int32)}).to_bytes()).json()[
        "trace"
    ]
    refused(page.post("/api/trace/picture", json={"trace": text, "looks": [0]}), 400, "of a text")
    refused(page.post("/api/causal/picture", json={"trace": "nowhere"}), 400, "nowhere")
    refused(page.post("/api/causal/picture", json={"trace": id, "where": "elsewhere"}), 400, "elsewhere")
    kept = trace_of(page.get(f"/api/traces/{id}").content)
    for about in ({}, kept.about | {"model": None}, kept.about | {"settings": 5}):
        brought = page.post("/api/traces", content=replace(kept, about=about).to_bytes()).json()["trace"]
        refused(page.post("/api/trace/picture", json={"trace": brought, "looks": [0]}), 400, "does not say how")
    monkeypatch.setattr(pictures, "MOST_SELF_ATTENTION", 1023)
    said = "patches look at each other in 2 layers at 1 look is 1,024 numbers"
    refused(page.post("/api/trace/picture", json={"trace": id, "looks": [0]}), 400, said)
    # What a file says of its own size is not believed.
    small = kept.about | {"grid": [1, 1], "model": kept.about["model"] | {"layers": 1, "heads": 1}}
    brought = page.post("/api/traces", content=replace(kept, about=small).to_bytes()).json()["trace"]
    refused(page.post("/api/trace/picture", json={"trace": brought, "looks": [0]}), 400, said)
