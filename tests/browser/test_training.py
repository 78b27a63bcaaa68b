"""Page Training: curves, probes over checkpoints, one step taken apart."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit, check_accessible, check_fits, tab_to


def test_a_run_and_its_probe(visit: Visit) -> None:
    page = visit("#/training?runs=sky")
    expect(page.get_by_role("heading", name="Training", level=1)).to_be_visible()
    expect(page.get_by_role("figure", name="Loss")).to_contain_text("at step 8")
    evaluations = page.get_by_role("region", name="Evaluations")
    expect(evaluations.get_by_role("row")).to_have_count(3)  # the header, and two

    probe = page.get_by_role("figure", name="“The sky is”")
    expect(probe).to_be_visible()
    page.get_by_label("Prompt", exact=True).fill("The grass is")
    page.get_by_label("What should follow").fill(" green")
    page.get_by_label("What should not").fill(" blue")
    page.get_by_role("button", name=re.compile("checkpoint")).click()
    own = page.get_by_role("figure", name="“The grass is”")
    expect(own).to_be_visible()
    own.get_by_role("button", name="View as table").click()
    expect(own.get_by_role("columnheader", name="green")).to_be_visible()
    expect(own.get_by_role("row")).to_have_count(3)  # of the checkpoints at steps 4 and 8


def test_a_curve_grows_while_one_looks(visit: Visit, runs: Path) -> None:
    folder = runs / "growing"
    shutil.copytree(runs / "sky", folder)
    try:
        events = (folder / "events.jsonl").read_text().splitlines()
        live = [line for line in events if json.loads(line)["event"] not in ("ended", "result")]
        (folder / "events.jsonl").write_text("\n".join(live) + "\n")
        page = visit("#/training?runs=growing")
        loss = page.get_by_role("figure", name="Loss")
        expect(loss).to_contain_text("live")
        with (folder / "events.jsonl").open("a") as file:
            for step in (900, 901, 902, 903):
                more = {"event": "step", "step": step, "loss": 0.123, "rate": 0.1, "gradient_norm": 1.0, "elapsed": 9.0}
                file.write(json.dumps({"time": 0.0, **more}) + "\n")
        expect(loss).to_contain_text("at step 903")
        page.goto("about:blank")
    finally:
        shutil.rmtree(folder)


def test_two_runs_over_each_other(visit: Visit, runs: Path) -> None:
    folder = runs / "sky, again & again"
    shutil.copytree(runs / "sky", folder)
    try:
        page = visit("#/training?runs=sky")
        page.get_by_role("checkbox", name=re.compile("again & again")).check()
        loss = page.get_by_role("figure", name="Loss")
        expect(loss).to_contain_text("sky, again & again, held back")
        page.reload()
        expect(page.get_by_role("checkbox", name=re.compile("again & again"))).to_be_checked()
        expect(loss).to_contain_text("sky, held back")
        page.goto("about:blank")
    finally:
        shutil.rmtree(folder)


def test_one_step_taken_apart_with_the_keyboard(visit: Visit) -> None:
    page = visit("#/training?runs=sky&model=tiny")
    tab_to(page, page.get_by_label("A text to learn from"))
    page.keyboard.press("Control+A")
    page.keyboard.type("the cat sat")
    page.keyboard.press("Enter")
    numbers = page.get_by_role("list", name="The step in numbers")
    expect(numbers).to_contain_text("Loss after")
    before, after = (
        float(numbers.get_by_role("listitem").filter(has_text=name).locator("b").inner_text())
        for name in ("Loss before", "Loss after")
    )
    assert after < before  # that is what a step is for
    expect(page.get_by_role("figure", name="Where the gradient pulls")).to_contain_text("embedding")


@pytest.mark.parametrize("size", ["wide", "phone"])
def test_accessible_in_both_themes(visit: Visit, size: str) -> None:
    page = visit("#/training?runs=sky&model=tiny", size=size)
    page.get_by_role("button", name="Take the step").click()
    expect(page.get_by_role("figure", name="Where the gradient pulls")).to_be_visible()
    expect(page.get_by_role("figure", name="“The sky is”")).to_be_visible()
    check_accessible(page)
    check_fits(page)
