"""A report is one file with the very numbers in it, whatever a prompt says, and is whole or not there."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from limner.core.errors import ConfigError, DataError
from limner.explain.report import PLACE, write_report
from limner.explain.trace import Trace, trace_of

PAGE = """<!doctype html>
<html lang="en">
  <head>
    <meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'sha256-abc'" />
    <title>limner report</title>
  </head>
  <body>
    <div id="app"></div>
    <script type="application/json" id="limner-report">
      null
    </script>
    <script type="module">document.getElementById("limner-report")</script>
  </body>
</html>
"""
HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!-- <script>",
    "<img src=x onerror=alert(1)>",
    '"><b>&amp;</title><svg onload=alert(1)>',
    "\u2028\u2029\\u003c \\1 \\g<0> $& null",
    "\x00\x1b[31m\u202egnp.exe",
]


def made(prompt: str, kind: str = "text") -> Trace:
    about: dict[str, Any] = {"model": {"name": "tiny"}, "settings": {"prompt": prompt}}
    about["run"] = {"prompt": prompt, "seed": 1, "settings": {}, "finish": "length", "text": prompt}
    about["tokens"] = [{"id": 1, "text": prompt, "special": False, "written": False}]
    return Trace(kind, about, {"ids": np.arange(5, dtype=np.int32)})


class Seen(HTMLParser):
    """What a browser makes of a page: its elements in order, with what stands in each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside.append("")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.inside[-1] += data

    def the(self, **wanted: str) -> str:
        (found,) = [
            text
            for (_, attrs), text in zip(self.elements, self.inside, strict=True)
            if all(attrs.get(name.replace("_", "-")) == value for name, value in wanted.items())
        ]
        return found


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.html"
    path.write_text(PAGE)
    return path


def test_the_report_holds_the_traces_and_what_was_computed_besides(tmp_path: Path, page: Path) -> None:
    trace, other = made("The cat"), made("The dog")
    write_report(trace, tmp_path / "cat.html", extra={"grid": [1.5]}, others={"off-0.1": other}, page=page)
    seen = Seen((tmp_path / "cat.html").read_text())
    described = json.loads(seen.the(id="limner-report"))
    assert described["version"] == 1
    assert described["title"] == "The cat"
    assert described["traces"] == ["run", "off-0.1"]
    assert described["extra"] == {"grid": [1.5]}
    again = trace_of(base64.b64decode(seen.the(data_id="run")))
    assert (again.about, again["ids"].tolist()) == (trace.about, trace["ids"].tolist())
    assert trace_of(base64.b64decode(seen.the(data_id="off-0.1"))).about == other.about


@pytest.mark.parametrize("prompt", HOSTILE)
@pytest.mark.parametrize("kind", ["text", "picture"])
def test_no_prompt_adds_an_element_or_changes_what_the_page_may_do(
    tmp_path: Path, page: Path, prompt: str, kind: str
) -> None:
    write_report(made("harmless", kind), tmp_path / "tame.html", page=page)
    write_report(made(prompt, kind), tmp_path / "wild.html", extra={prompt: [prompt]}, page=page)
    tame, wild = (Seen((tmp_path / name).read_text()) for name in ("tame.html", "wild.html"))
    assert wild.elements == tame.elements
    described = json.loads(wild.the(id="limner-report"))
    assert described["title"] == prompt
    assert described["extra"] == {prompt: [prompt]}
    assert trace_of(base64.b64decode(wild.the(data_id="run"))).about["settings"]["prompt"] == prompt
    assert wild.the(type="module") == tame.the(type="module")


def test_half_a_character_does_not_keep_a_report_from_being_written(tmp_path: Path, page: Path) -> None:
    write_report(made("fine"), tmp_path / "cat.html", title="half \ud83e", extra={"text": "\ud83e"}, page=page)
    assert json.loads(Seen((tmp_path / "cat.html").read_text()).the(id="limner-report"))["title"] == "half ?"


def test_a_picture_and_a_text_that_was_only_read_have_a_title(tmp_path: Path, page: Path) -> None:
    read = made("The moon")
    read.about["run"] = None
    write_report(read, tmp_path / "moon.html", page=page)
    assert "<title>The moon</title>" in (tmp_path / "moon.html").read_text()
    write_report(made("a fox in a hat", "picture"), tmp_path / "fox.html", page=page)
    assert "<title>a fox in a hat</title>" in (tmp_path / "fox.html").read_text()


def test_without_the_built_page_it_says_how_to_build_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere/report\.html is missing.*`make web`"):
        write_report(made("The cat"), tmp_path / "cat.html", page=tmp_path / "nowhere" / "report.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [0, 2])
def test_another_page_is_refused(tmp_path: Path, page: Path, count: int) -> None:
    place = re.search(PLACE, PAGE)
    assert place is not None
    page.write_text(PAGE.replace(place[0], place[0] * count))
    with pytest.raises(DataError, match=rf"has {count} places for a run"):
        write_report(made("The cat"), tmp_path / "cat.html", page=page)


def test_a_report_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path, page: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "x").write_text("in the way")
    with pytest.raises(DataError, match="taken cannot be written"):
        write_report(made("The cat"), tmp_path / "taken", page=page)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "taken"]


@pytest.mark.parametrize("id", ["run", "", 'a"b', "a b"])
def test_a_trace_with_an_id_that_is_none_is_refused(tmp_path: Path, page: Path, id: str) -> None:
    with pytest.raises(ConfigError, match="others has"):
        write_report(made("The cat"), tmp_path / "cat.html", others={id: made("The dog")}, page=page)
