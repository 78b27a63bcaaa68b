"""What "Copy as Python" copies runs as it is, in a Python of its own and wherever that is started, and gives what is shown."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

import limner
from limner.train.looking_back import open_at

pytestmark = pytest.mark.slow

Visit = Callable[..., Page]
DOG = "The dog didn't bark because it was tired"


def copied(page: Page, figure: str | re.Pattern[str]) -> str:
    """The lines of one figure that has its numbers, as they come out of the clipboard."""
    found = page.get_by_role("figure", name=figure).first
    found.get_by_role("button", name="View as table").wait_for()
    found.get_by_role("button", name="Copy as Python").click()
    expect(found.get_by_role("status").filter(has_text="Copied")).to_be_visible()
    return str(page.evaluate("() => navigator.clipboard.readText()"))


def told(lines: str, said: str, shelf: Path, folder: Path) -> Any:
    """What a fresh Python in some folder says when it has run the lines: the JSON of an expression."""
    code = f"{lines}\nimport json as _json\nprint(_json.dumps({said}))\n"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "LIMNER_MODELS": str(shelf)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{lines}\n{done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])


def text(page: Page) -> list[str]:
    """The tokens that the page shows, without the place of the one that would come next."""
    strip = page.get_by_role("listbox", name="The text, token by token")
    return [one.inner_text() for one in strip.get_by_role("option").all()][:-1]


def shown(tokens: list[str]) -> list[str]:
    """Tokens as the page shows them."""
    return [token.replace(" ", "·").replace("\n", "↵") for token in tokens]


def address(**values: object) -> str:
    return f"#/text?{urlencode(values)}"


def ready(page: Page) -> Page:
    page.get_by_role("tab", name="Next token").wait_for()
    return page


def test_of_a_text_that_was_written(visit: Visit, shelf: Path, tmp_path: Path) -> None:
    page = ready(
        visit(address(model="story", prompt="The curious cat climbed", seed=3, length=8, token=8, view="layers"))
    )
    lines = copied(page, "What each layer would say next")
    tokens, replay = told(lines, '[trace.tokens, trace.about["replay"]["agreement"]]', shelf, tmp_path)
    assert shown(tokens) == text(page)
    assert replay == 1


def test_of_a_run_and_its_checkpoint(visit: Visit, runs: Path, shelf: Path, tmp_path: Path) -> None:
    page = ready(visit(address(model="runs/sky@4", prompt="The sky is", seed=1, length=6, token=3, view="attention")))
    ids, step = told(copied(page, "All heads"), '[written.ids, trace.about["model"]["checkpoint"]]', shelf, tmp_path)
    assert step == 4
    assert ids == open_at(runs / "sky", 4).generate("The sky is", seed=1, max_tokens=6).ids  # type: ignore[union-attr]
    assert len(text(page)) > len(ids)
    page = ready(visit(address(model="runs/sky", prompt="The sky is", do="read", token=3, view="attention")))
    assert len(told(copied(page, "All heads"), "trace.tokens", shelf, tmp_path)) == len(text(page))


def test_of_a_prompt_that_was_given_as_ids(visit: Visit, shelf: Path, tmp_path: Path) -> None:
    model = limner.load("story")
    letters = [model.tokenizer.encode(letter)[0] for letter in "frog"]  # no text is cut so
    model.trace(model.generate(letters, seed=1, max_tokens=5)).save(tmp_path / "letters.trace")
    page = visit("#/text")
    page.get_by_label("Open a trace file").set_input_files(tmp_path / "letters.trace")
    ready(page).get_by_role("tab", name="Attention").click()
    ids, tokens = told(copied(page, "All heads"), '[trace["ids"].tolist(), trace.tokens]', shelf, tmp_path)
    assert ids[: len(letters)] == letters
    assert shown(tokens) == text(page)


def test_of_a_branch(visit: Visit, shelf: Path, tmp_path: Path) -> None:
    page = ready(visit(address(model="story", prompt="The curious cat climbed", seed=3, length=8, token=7)))
    was = text(page)
    bars = page.get_by_role("figure", name="What might have stood here").get_by_role("listitem")
    next(bar for bar in bars.all() if bar.locator("bdi").inner_text() != was[7]).get_by_role("button").click()
    expect(page.get_by_role("navigation", name="Branches").get_by_role("link")).to_have_count(2)
    page.get_by_text("you put it there").wait_for()
    tokens = told(copied(page, "What might have stood here"), "trace.tokens", shelf, tmp_path)
    assert shown(tokens) == text(page) != was


def test_of_changes(visit: Visit, shelf: Path, tmp_path: Path) -> None:
    changes = json.dumps([{"kind": "head_off", "layer": 2, "head": 1}])
    page = visit(f"#/change?{urlencode({'model': 'story', 'prompt': DOG, 'changes': changes})}")
    page.get_by_text("the two differ by").wait_for()
    rests = page.get_by_role("figure", name=re.compile("rests on$"))
    probability = told(copied(page, re.compile("rests on$")), "found.probability", shelf, tmp_path)
    (said,) = re.findall(r"has ([\d.]+)%", rests.inner_text())
    assert probability == pytest.approx(float(said) / 100, abs=0.001)
    after = told(copied(page, "What comes next"), "[guess.probability for guess in seen.after]", shelf, tmp_path)
    assert after[0] == max(after)
    looks = copied(page, re.compile("now looks$"))
    assert told(looks, 'trace.about["changes"]', shelf, tmp_path) == json.loads(changes)


def test_of_a_picture(visit: Visit, shelf: Path, tmp_path: Path) -> None:
    page = visit(f"#/picture?{urlencode({'model': 'painter', 'prompt': 'a fox', 'seed': 2, 'steps': 3})}")
    page.get_by_role("button", name="Paint").click()
    lines = copied(page, re.compile(r"^Look|looks|From noise", re.IGNORECASE))
    seed, looks = told(lines, '[trace.about["settings"]["seed"], len(trace.about["schedule"])]', shelf, tmp_path)
    assert (seed, looks) == (2, 3)


def test_of_two_that_are_compared(visit: Visit, shelf: Path, tmp_path: Path) -> None:
    page = visit(f"#/compare?{urlencode({'left': 'runs/sky', 'right': 'runs/sky@4', 'prompt': 'The sky is'})}")
    lines = copied(page, "Where they look differently")
    assert told(lines, "[left.tokens == right.tokens, right.about['model']['checkpoint']]", shelf, tmp_path) == [
        True,
        4,
    ]


@pytest.mark.parametrize(
    ("page", "figure"),
    [
        ("#/tokens", re.compile("story")),
        ("#/order", "The same words in another order"),
        ("#/meaning?model=story", "Nearest words"),
    ],
)
def test_of_the_other_pages(visit: Visit, shelf: Path, tmp_path: Path, page: str, figure: str) -> None:
    assert told(copied(visit(page), figure), "True", shelf, tmp_path)
