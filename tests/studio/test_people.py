"""One thread that computes: people take turns, are told so, and whoever leaves is computed for no longer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from limner.studio.app import make_app
from limner.studio.state import Studio
from limner.studio.worker import GoneError, Job, Worker
from tests.studio.conftest import OWN, events

PATIENCE = 60.0  # seconds; what takes so long has failed


class Told:
    """What a job told."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, Any]] = []
        self.over = threading.Event()

    def __call__(self, message: tuple[str, Any]) -> None:
        self.messages.append(message)
        if message[0] != "event":
            self.over.set()

    @property
    def waits(self) -> list[int]:
        return [said[1]["ahead"] for kind, said in self.messages if kind == "event" and said[0] == "waiting"]


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    worker.start()
    yield worker
    assert worker.close(PATIENCE)


def hold(worker: Worker) -> tuple[threading.Event, Job]:
    """Keep the worker busy until the event is set."""
    begun, free = threading.Event(), threading.Event()

    def work(job: Job) -> None:
        begun.set()
        free.wait(PATIENCE)

    job = Job("somebody", work, Told())
    worker.submit(job)
    assert begun.wait(PATIENCE)
    return free, job


def test_people_take_turns_however_much_one_asks(worker: Worker) -> None:
    free, _ = hold(worker)
    done: list[str] = []
    told = []
    for visitor, name in [("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("c", "c1"), ("b", "b2")]:
        told.append(Told())
        worker.submit(Job(visitor, lambda job, name=name: done.append(name), told[-1]))
    assert told[3].waits[-1] == 2  # behind the one being computed and a's first
    free.set()
    assert all(one.over.wait(PATIENCE) for one in told)
    assert done == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_who_waits_is_told_how_many_are_before_him(worker: Worker) -> None:
    free, _ = hold(worker)
    first, second = Told(), Told()
    worker.submit(Job("a", lambda job: None, first))
    leaving = Job("b", lambda job: None, second)
    worker.submit(leaving)
    assert first.waits == [1]
    assert second.waits == [2]
    third = Told()
    worker.submit(Job("c", lambda job: None, third))
    worker.leave(leaving)
    assert third.waits == [3, 2]
    free.set()
    assert third.over.wait(PATIENCE)
    assert third.waits == [3, 2, 1, 0]
    assert second.messages == [("event", ("waiting", {"ahead": 2}))]


def test_what_nobody_waits_for_is_not_begun(worker: Worker) -> None:
    free, _ = hold(worker)
    begun: list[int] = []
    job = Job("a", lambda job: begun.append(1), Told())
    worker.submit(job)
    worker.leave(job)
    free.set()
    after = Told()
    worker.submit(Job("b", lambda job: None, after))
    assert after.over.wait(PATIENCE)
    assert begun == []


def test_an_error_ends_the_job_and_not_the_worker(worker: Worker) -> None:
    def fail(job: Job) -> None:
        raise ZeroDivisionError

    told, after = Told(), Told()
    worker.submit(Job("a", fail, told))
    worker.submit(Job("a", lambda job: 7, after))
    assert after.over.wait(PATIENCE)
    assert isinstance(told.messages[-1][1], ZeroDivisionError)
    assert after.messages[-1] == ("result", 7)


def test_closing_drops_who_waits_and_stops_who_computes() -> None:
    worker = Worker()
    worker.start()
    begun = threading.Event()

    def work(job: Job) -> None:
        while True:
            begun.set()
            job.check()

    running, waiting, late = Told(), Told(), Told()
    worker.submit(Job("a", work, running))
    assert begun.wait(PATIENCE)
    worker.submit(Job("b", lambda job: None, waiting))
    assert worker.close(PATIENCE)
    worker.submit(Job("c", lambda job: None, late))
    for told in (running, waiting, late):
        assert told.messages[-1][0] == "failed"
        assert isinstance(told.messages[-1][1], GoneError)


# ── the same through the application ────────────────────────────────────────────────────────────────────────


def test_a_second_person_waits_is_told_so_and_gets_an_answer(studio: Studio) -> None:
    app = make_app(studio)
    with TestClient(app, base_url=OWN) as first:
        first.get("/")
        free, _ = hold(studio.worker)
        answers: dict[str, Any] = {}

        def ask(name: str) -> None:
            other = TestClient(app, base_url=OWN)
            other.get("/")
            answers[name] = other.post(
                "/api/write", json={"model": "tiny", "prompt": "The", "seed": 1, "settings": {"max_tokens": 3}}
            )

        threads = [threading.Thread(target=ask, args=(name,)) for name in ("one", "two")]
        for thread in threads:
            thread.start()
        while len(studio.worker.order()) < 2:
            threading.Event().wait(0.01)
        free.set()
        for thread in threads:
            thread.join(PATIENCE)
    texts = []
    for name in ("one", "two"):
        told = events(answers[name].text)
        assert told[0][0] == "waiting"
        assert told[0][1]["ahead"] >= 1
        assert told[-1][0] == "done"
        texts.append(told[-1][1]["generation"]["text"])
    assert texts[0] == texts[1]


def test_a_mistake_of_our_own_is_said_to_be_one(
    studio: Studio, page: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(name: str) -> None:
        raise ZeroDivisionError("a secret of the house")

    monkeypatch.setattr(studio.shelf, "text", broken)
    answer = page.post("/api/write", json={"model": "tiny", "prompt": "a"})
    assert answer.status_code == 500
    assert "mistake of its own" in answer.json()["error"]
    assert "secret" not in answer.text
    assert "a secret of the house" in caplog.text  # where it can be mended
