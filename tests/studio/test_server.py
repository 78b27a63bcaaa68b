"""The studio as a person starts it: the address, a port that is taken, browsers that leave, Ctrl-C."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from limner.core.errors import ConfigError
from limner.studio.app import make_app
from limner.studio.server import address, serve
from limner.studio.state import Studio
from limner.text.generator import Run

PATIENCE = 90.0  # seconds; what takes so long has failed

Start = Callable[..., "Running"]


class Browser:
    """Asks a studio on this machine; ``close`` is what a browser does that is closed."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.opened: list[http.client.HTTPConnection | http.client.HTTPResponse] = []

    def send(self, path: str, body: Any = None, **headers: str) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        self.opened.append(connection)
        method = "GET" if body is None else "POST"
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        return connection

    def ask(self, path: str, body: Any = None, **headers: str) -> http.client.HTTPResponse:
        answer = self.send(path, body, **headers).getresponse()
        self.opened.append(answer)
        return answer

    def close(self) -> None:
        for opened in self.opened:
            opened.close()


class Running(Browser):
    """``limner studio`` in a process of its own, and a browser."""

    def __init__(self, folder: Path, *words: str) -> None:
        command = [sys.executable, "-m", "limner", "studio", "--no-open", *words]
        self.process = subprocess.Popen(
            command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
            env={key: value for key, value in os.environ.items() if key != "LIMNER_STUDIO_KEY"},
        )  # fmt: skip
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        assert self.address.startswith("http://"), self.process.communicate()
        super().__init__(int(self.address.split("/")[2].rpartition(":")[2]))

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Send a signal; the exit code and what was said on standard error."""
        self.process.send_signal(number)
        assert self.process.stderr is not None
        said = self.process.stderr.read()
        return self.process.wait(PATIENCE), said


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    begun: list[Running] = []

    def run(*words: str) -> Running:
        begun.append(Running(tmp_path, *words))
        return begun[-1]

    yield run
    for running in begun:
        running.close()
        if running.process.poll() is None:
            running.process.kill()
        running.process.communicate()


def test_it_prints_its_address_answers_there_and_ends_with_ctrl_c(start: Start) -> None:
    running = start("--port", "0")
    assert running.address == f"http://localhost:{running.port}/"
    assert json.load(running.ask("/api/about"))["version"]
    assert b"limner" in running.ask("/").read()
    code, said = running.stop()
    assert code == 0
    assert said.splitlines()[-1] == "The studio is closed."
    assert "Traceback" not in said


def test_a_second_one_on_the_same_port_is_refused_in_a_sentence(start: Start, tmp_path: Path) -> None:
    first = start("--port", "0")
    command = [sys.executable, "-m", "limner", "studio", "--no-open", "--port", str(first.port)]
    second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert second.returncode == 2
    assert second.stdout == ""
    assert f"port is {first.port}, but something listens there already" in second.stderr
    assert "--port" in second.stderr
    assert "Traceback" not in second.stderr
    assert first.ask("/api/about").status == 200


def test_ctrl_c_in_the_middle_of_texts_and_of_curves_ends_it(start: Start, tmp_path: Path) -> None:
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "run.json").write_text("{}")
    running = start("--port", "0")
    ask = {"model": "tiny", "prompt": "The", "seed": 1, "settings": {"max_tokens": 4000, "window": "slide"}}
    following = running.ask("/api/training/mine/events")
    assert following.readline() == b"event: history\n"
    writing = running.ask("/api/write", ask)
    while writing.readline() != b"event: token\n":
        pass
    code, said = running.stop()
    assert code == 0, said
    assert "Traceback" not in said


def test_where_others_can_reach_it_a_key_is_made_and_needed(start: Start) -> None:
    running = start("--port", "0", "--host", "0.0.0.0")
    page, _, key = running.address.partition("?key=")
    assert page == f"http://localhost:{running.port}/"
    assert len(key) >= 20
    assert running.ask("/api/about").status == 401
    assert running.ask(f"/api/about?key={key[:-1]}").status == 401
    assert running.ask("/api/about", Authorization=f"Bearer {key}").status == 200
    first = running.ask(f"/?key={key}")
    cookie = str(first.getheader("set-cookie")).partition(";")[0]
    assert first.status == 303
    assert running.ask("/api/about", Cookie=cookie).status == 200
    _, said = running.stop()
    assert "not encrypted" in said


# ── a browser that goes away ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def served(studio: Studio) -> Iterator[int]:
    """The port of a studio that is served from this process, so that a test sees into it."""
    config = uvicorn.Config(make_app(studio), port=0, log_config=None, log_level="critical", http="h11", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        threading.Event().wait(0.01)
    yield int(server.servers[0].sockets[0].getsockname()[1])
    server.should_exit = True
    thread.join(PATIENCE)
    assert not thread.is_alive()


@pytest.mark.parametrize("early", [False, True], ids=["while it reads", "before it reads"])
def test_when_the_browser_leaves_the_model_stops(
    studio: Studio, served: int, monkeypatch: pytest.MonkeyPatch, early: bool
) -> None:
    """The model is held at its fifth token until the server has noticed; there is no sixth."""
    made: list[int] = []
    held, noticed = threading.Event(), threading.Event()
    advance, leave = Run.advance, studio.worker.leave

    def counted(run: Run) -> Any:
        made.append(1)
        if len(made) == 5:
            held.set()
            assert noticed.wait(PATIENCE)
        return advance(run)

    def seen(job: Any) -> None:
        leave(job)
        noticed.set()

    monkeypatch.setattr(Run, "advance", counted)
    monkeypatch.setattr(studio.worker, "leave", seen)
    ask = {"model": "tiny", "prompt": "The", "settings": {"max_tokens": 1000, "window": "slide"}}
    leaving, after = Browser(served), Browser(served)
    connection = leaving.send("/api/write", ask)
    if not early:
        leaving.opened.append(connection.getresponse())
    assert held.wait(PATIENCE)
    leaving.close()
    short = {"model": "tiny", "prompt": "A", "settings": {"max_tokens": 2}}
    assert b"event: done" in after.ask("/api/write", short).read()
    after.close()
    assert len(made) == 5 + 2


# ── what cannot be served ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"port": 70_000}, "port is 70000"),
        ({"port": -1}, "port is -1"),
        ({"host": "203.0.113.9", "port": 0}, "host is '203.0.113.9'"),
        ({"host": "no.such.name.invalid", "port": 0}, "host is 'no.such.name.invalid'"),
        ({"key": "short"}, "the key is 5 characters"),
    ],
)
def test_what_cannot_be_served_is_refused_in_a_sentence(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        serve(**settings)


def test_a_missing_extra_is_named_with_its_pip_command(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["uvicorn"] = None
from limner.cli.app import app
app(["studio", "--no-open"])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'limner[studio]'" in done.stderr


@pytest.mark.parametrize(
    ("host", "shown"),
    [("127.0.0.1", "http://localhost:80/"), ("::", "http://localhost:80/"), ("192.168.1.7", "http://192.168.1.7:80/"),
     ("fd00::7", "http://[fd00::7]:80/")],
)  # fmt: skip
def test_the_address_can_be_typed_into_a_browser(host: str, shown: str) -> None:
    assert address(host, 80, None) == shown
    assert address(host, 80, "k") == f"{shown}?key=k"
