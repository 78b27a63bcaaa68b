"""Models, examples and traces: listed, fetched, brought in; and models that change or go while they are open."""

from __future__ import annotations

import asyncio
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from limner.core.errors import DataError, WeightsError
from limner.explain.trace import Trace, trace_of
from limner.studio import traces as traces_module
from limner.studio.app import make_app
from limner.studio.shelf import Shelf
from limner.studio.state import Studio
from limner.studio.traces import Traces
from limner.studio.worker import Job
from tests.studio.conftest import events, refused


def small_trace(word: str = "cat") -> Trace:
    about = {"run": {"prompt": f"The {word}"}, "model": {"name": "tiny"}, "tokens": []}
    return Trace("text", about, {"ids": np.arange(3, dtype=np.int32)})


def test_which_limner_on_which_machine(page: TestClient) -> None:
    import limner

    about = page.get("/api/about").json()
    assert about["version"] == limner.__version__
    assert about["machine"]["cores"] >= 1
    assert about["limits"]["characters"] == 20_000


def test_models_are_listed_with_what_is_wrong_with_them(page: TestClient, shelf: Path, studio: Studio) -> None:
    (studio.shelf.runs / "young").mkdir(parents=True)
    (studio.shelf.runs / "young" / "run.json").write_text("{}")
    models = {model["name"]: model for model in page.get("/api/models").json()["models"]}
    assert {"story", "picturebook", "tiny", "painter", "runs/young"} <= set(models)
    assert models["tiny"]["kind"] == "text generator"
    assert models["painter"]["pixels"] == [16, 16]
    assert "no model yet" in models["runs/young"]["problem"]
    assert models["tiny"]["open"] is False
    page.post("/api/write", json={"model": "tiny", "prompt": "a", "settings": {"max_tokens": 1}})
    models = {model["name"]: model for model in page.get("/api/models").json()["models"]}
    assert models["tiny"]["open"] is True


# ── models that change while they are open ──────────────────────────────────────────────────────────────────


@pytest.fixture
def own(shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model folder ``mine`` that a test may spoil."""
    monkeypatch.setenv("LIMNER_MODELS", f"{shelf}:{tmp_path / 'own'}")
    return Path(shutil.copytree(shelf / "tiny", tmp_path / "own" / "mine"))


def write(page: TestClient) -> list[float]:
    ask = {"model": "mine", "prompt": "The", "seed": 1, "settings": {"max_tokens": 3}}
    answer = page.post("/api/write", json=ask)
    assert answer.status_code == 200, answer.text
    logprobs: list[float] = events(answer.text)[-1][1]["generation"]["logprobs"]
    return logprobs


def test_a_model_that_was_removed_while_open_works_on(page: TestClient, own: Path) -> None:
    before = write(page)
    shutil.rmtree(own)
    assert write(page) == before


def test_a_model_that_was_exchanged_while_open_is_opened_anew(page: TestClient, own: Path, shelf: Path) -> None:
    from limner.models import load
    from limner.weights.folder import save_model

    before = write(page)
    model = load("tiny")
    for parameter in model.model.parameters():
        parameter.data.mul_(1.1)
    save_model(own, model.model, model.tokenizer, {})
    assert write(page) != before


def test_a_model_that_was_damaged_while_open_is_told_in_a_sentence(page: TestClient, own: Path) -> None:
    write(page)
    (own / "model.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{")
    (own / "config.json").write_text((own / "config.json").read_text() + " ")
    refused(page.post("/api/write", json={"model": "mine", "prompt": "The"}), 400, "model.safetensors")


def test_models_that_were_used_last_are_kept(shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(shelf / "tiny", tmp_path / "own" / "second")
    monkeypatch.setenv("LIMNER_MODELS", f"{shelf}:{tmp_path / 'own'}")
    roomy = Shelf(tmp_path / "runs")
    first = roomy.open("tiny")
    roomy.open("second")
    assert roomy.open("tiny") is first
    assert roomy.open_names == ["second", "tiny"]
    narrow = Shelf(tmp_path / "runs", most_bytes=1)
    narrow.open("tiny")
    narrow.open("second")
    assert narrow.open_names == ["second"]


@pytest.mark.parametrize("name", ["..", "/etc", "tiny/../tiny", "runs/..", "runs/../x@3", "@3", ""])
def test_a_name_is_never_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(WeightsError):
        Shelf(tmp_path / "runs").open(name)


# ── traces ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_examples_there_are_none(page: TestClient) -> None:
    assert page.get("/api/examples").json() == {"examples": []}


def test_examples_open_at_once(page: TestClient, studio: Studio) -> None:
    studio.traces.folder.mkdir()
    small_trace().save(studio.traces.folder / "cat.trace")
    (studio.traces.folder / "broken.trace").write_bytes(b"nothing")
    (example,) = page.get("/api/examples").json()["examples"]
    assert (example["id"], example["title"], example["kind"]) == ("cat", "The cat", "text")
    answer = page.get("/api/traces/cat")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert trace_of(answer.content).about["run"]["prompt"] == "The cat"


def test_what_was_made_and_brought_in_is_listed_the_newest_first(page: TestClient) -> None:
    assert page.get("/api/traces").json() == {"traces": []}
    brought = page.post("/api/traces", content=small_trace().to_bytes()).json()["trace"]
    ask = {"model": "tiny", "prompt": "The cat", "seed": 5, "settings": {"max_tokens": 3}}
    written = events(page.post("/api/write", json=ask).text)[-1][1]["trace"]
    first, second = page.get("/api/traces").json()["traces"]
    assert first == {"id": written, "kind": "text", "title": "The cat", "model": "tiny", "seed": 5}
    assert second == {"id": brought, "kind": "text", "title": "The cat", "model": "tiny", "seed": None}


def test_a_trace_that_says_strange_things_of_itself_is_listed_too(page: TestClient) -> None:
    about = {"run": [1], "model": "me", "tokens": [None, 3, {"text": 4}], "settings": None}
    for kind in ("text", "picture"):
        page.post("/api/traces", content=Trace(kind, about, {}).to_bytes())
    assert [one["title"] for one in page.get("/api/traces").json()["traces"]] == ["4", "4"]
    page.post("/api/traces", content=Trace("text", {"run": {"prompt": " "}, "tokens": [{"text": "\n"}]}, {}).to_bytes())
    assert page.get("/api/traces").json()["traces"][0]["title"] == "an empty text", "a link has something to read"


def test_a_trace_file_brought_in_can_be_fetched(page: TestClient) -> None:
    content = small_trace("dog").to_bytes()
    id = page.post("/api/traces", content=content).json()["trace"]
    assert page.get(f"/api/traces/{id}").content == content


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"hello", "is no trace"),
        (pickle.dumps({"a": 1}), "is no trace"),
        (small_trace().to_bytes()[:-4], "damaged"),
        (small_trace().to_bytes().replace(b'"version":"1"', b'"version":"7"'), "version '7'"),
        (b"\xff" * 8 + b"{}", "is no trace"),
        (small_trace().to_bytes().replace(b'\\"scales\\": {}', b'\\"scales\\": []'), "damaged"),
        ((200_000).to_bytes(8, "little") + b"[" * 100_000 + b"]" * 100_000, "is no trace"),
    ],
    ids=["empty", "text", "pickle", "cut off", "another version", "a header of any length", "scales", "depth"],
)
def test_what_is_no_trace_is_refused(page: TestClient, content: bytes, says: str) -> None:
    refused(page.post("/api/traces", content=content), 400, says)


def test_a_browser_that_leaves_while_it_sends_is_no_mistake_of_ours(
    studio: Studio, caplog: pytest.LogCaptureFixture
) -> None:
    parts = iter([{"type": "http.request", "body": b"half of", "more_body": True}, {"type": "http.disconnect"}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(parts)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": "/api/traces",
        "raw_path": b"/api/traces", "query_string": b"", "root_path": "", "headers": [(b"host", b"localhost:8410")],
        "client": ("127.0.0.1", 5), "server": ("127.0.0.1", 8410),
    }  # fmt: skip
    asyncio.run(make_app(studio)(scope, receive, send))
    assert [message["status"] for message in sent if "status" in message] in ([], [499])
    assert not caplog.records


@pytest.mark.parametrize("id", ["none", "..%2fcat", "a%20b", "%00"])
def test_a_trace_that_is_not_there(page: TestClient, studio: Studio, id: str) -> None:
    small_trace().save(studio.traces.folder.parent / "cat.trace")
    answer = page.get(f"/api/traces/{id}")
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]


def test_a_trace_is_made_when_it_is_first_asked_for_and_once() -> None:
    kept, made = Traces(Path("nowhere")), []

    def make(job: Job) -> bytes:
        made.append(1)
        return b"trace"

    id = kept.later(make)
    job = Job("", lambda job: None, lambda message: None)
    assert made == []
    assert kept.at_hand(id) is None
    assert kept.get(id, job) == kept.get(id, job) == kept.at_hand(id) == b"trace"
    assert made == [1]


def test_the_oldest_traces_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    content = small_trace().to_bytes()
    monkeypatch.setattr(traces_module, "MOST_BYTES", 2 * len(content))
    kept = Traces(Path("nowhere"))
    ids = [kept.add(content) for _ in range(3)]
    with pytest.raises(DataError, match=ids[0]):
        kept.at_hand(ids[0])
    assert kept.at_hand(ids[2]) == content
