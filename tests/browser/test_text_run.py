"""Text run, as a person uses it: let a model write, look inside a token, choose what it nearly said."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from limner.explain.trace import load_trace
from tests.browser.conftest import SIZES, Watch, check_accessible, check_fits, tab_to

pytestmark = pytest.mark.slow  # `make test-slow` runs them: a minute or more of a browser's time

Visit = Callable[..., Page]
DOG = "The dog didn't bark because it was tired"
VIEWS = {
    "next": "What might have stood here",
    "attention": "Where “it” looked most",
    "layers": "What each layer would say next",
    "ledger": "Who spoke for “it”",
    "neurons": "The most active neurons at “it”",
    "why": "Why “it”",
}


def text(**values: object) -> str:
    return f"#/text?{urlencode(values)}"


def ready(page: Page) -> Page:
    page.get_by_role("tab", name="Next token").wait_for()
    return page


def token(page: Page, place: int) -> str:
    return page.get_by_role("listbox", name="The text, token by token").get_by_role("option").nth(place).inner_text()


def test_a_text_is_written_and_goes_on_from_what_was_nearly_said(visit: Visit) -> None:
    page = visit("#/text")
    page.get_by_label("Your text").fill("The curious cat climbed")
    page.get_by_role("button", name="Write on").click()
    ready(page)
    strip = page.get_by_role("listbox", name="The text, token by token")
    assert strip.inner_text().replace("·", " ").replace("\n", "").startswith("<|end|>The curious cat climbed")
    strip.get_by_role("option").nth(7).click()
    was = token(page, 7)
    bars = page.get_by_role("figure", name="What might have stood here").get_by_role("listitem")
    other = next(bar for bar in bars.all() if bar.locator("bdi").inner_text() != was)
    wanted = other.locator("bdi").inner_text()
    other.get_by_role("button").click()
    branches = page.get_by_role("navigation", name="Branches")
    expect(branches.get_by_role("link")).to_have_count(2)
    ready(page)
    assert token(page, 7) == wanted
    assert page.get_by_text("you put it there").is_visible()

    # A copied address brings the same branch back, and the first text is one click away.
    again = visit(page.url[page.url.index("#") :])
    ready(again)
    expect(again.get_by_role("navigation", name="Branches").get_by_role("link").nth(1)).to_have_attribute(
        "aria-current", "true"
    )
    assert strip.inner_text() == again.get_by_role("listbox", name="The text, token by token").inner_text()
    again.get_by_role("navigation", name="Branches").get_by_role("link").first.click()
    ready(again)
    assert token(again, 7) == was


def test_a_stranger_finds_what_it_looked_at_and_switches_that_head_off(visit: Visit) -> None:
    page = visit("#/text")
    page.get_by_role("link", name=DOG).click()
    glance = page.get_by_role("figure", name="Where “it” looked most").get_by_role("button").first
    expect(glance).to_contain_text("dog")
    expect(glance).to_contain_text("layer 2, head 1")
    assert float(re.findall(r"([\d.]+)%", glance.inner_text())[0]) > 80
    page.get_by_role("link", name="Switch head 2.1 off").click()
    page.get_by_role("heading", name="Change it", level=1).wait_for()
    expect(page.get_by_role("button", name="Undo: head 2.1 off")).to_be_visible()
    expect(page.get_by_text("the two differ by")).to_be_visible()


def test_every_view_follows_from_its_address_is_accessible_and_fits(visit: Visit) -> None:
    page = visit("#/text")
    for view, title in VIEWS.items():
        address = text(model="story", prompt=DOG, do="read", token=7, view=view, layer=2, head=1)
        page.evaluate("(address) => { location.hash = address }", address)
        figure = page.get_by_role("figure", name=title)
        expect(figure).to_be_visible()
        expect(figure.locator("figcaption")).to_contain_text("story")
        if view == "why":
            page.get_by_role("listbox", name="What speaks for it").wait_for()
        check_accessible(page)
        check_fits(page, *SIZES)
        # Every figure is a table too.
        figure.get_by_role("button", name="View as table").click()
        expect(figure.get_by_role("row").nth(2)).to_be_attached()
    page.reload()
    expect(page.get_by_role("figure", name=title)).to_be_visible()


def test_the_lines_that_are_copied_give_the_numbers_that_are_shown(visit: Visit) -> None:
    page = visit(text(model="story", prompt="The curious cat climbed", seed=1, length=8, token=8, view="attention"))
    page.get_by_role("figure", name="All heads").get_by_role("button", name="Copy as Python").click()
    lines = page.evaluate("() => navigator.clipboard.readText()")
    *before, last = [line for line in lines.splitlines() if line]
    known: dict[str, object] = {}
    exec("\n".join([*before, f"found = {last.split('    #')[0]}"]), known)
    assert known["found"].shape == (4, 13, 13)  # type: ignore[attr-defined]


def test_with_the_keyboard_alone(visit: Visit) -> None:
    page = visit("#/text")
    tab_to(page, page.get_by_label("Your text"))
    page.keyboard.type("Tom and")
    tab_to(page, page.get_by_role("button", name="Only read"))
    page.keyboard.press("Enter")
    ready(page)
    strip = page.get_by_role("listbox", name="The text, token by token")
    tab_to(page, strip)
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    expect(page).to_have_url(re.compile("token=2"))
    tab_to(page, page.get_by_role("tab", name="Next token"))
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("figure", name="All heads")).to_be_visible()
    grid = page.get_by_role("application", name=re.compile("Attention heads"))
    tab_to(page, grid)
    for key in ("ArrowUp", "ArrowLeft") * 6:  # from the head that looks hardest into the corner
        page.keyboard.press(key)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile("layer=1.*head=1"))


# In the page itself, so that neither an empty text is stopped nor one that is finished before the click arrives.
STOP = """() => {
  if (!/[1-9]\\d* tokens written|Looking inside|next\\?/.test(document.querySelector('main')?.innerText)) return false;
  [...document.querySelectorAll('main button')].find((button) => button.innerText === 'Stop')?.click();
  return true;
}"""


def test_stopping_keeps_what_was_written(visit: Visit) -> None:
    page = visit(text(model="story", prompt="Once upon a time", seed=4, length=200))
    page.wait_for_function(STOP)
    ready(page)
    assert page.get_by_role("button", name="Write on").is_visible()
    length = int(re.findall(r"length=(\d+)", page.url)[0])
    shown = page.get_by_role("listbox", name="The text, token by token").inner_text()
    again = visit(page.url[page.url.index("#") :])
    ready(again)
    assert 0 < length <= 200
    assert again.get_by_role("listbox", name="The text, token by token").inner_text() == shown


def test_a_trace_file_is_opened_and_a_damaged_one_is_told(visit: Visit, tmp_path: Path) -> None:
    import limner

    trace = limner.load("story").trace("A frog sat")
    trace.save(tmp_path / "frog.trace")
    page = visit("#/text")
    page.get_by_label("Open a trace file").set_input_files(tmp_path / "frog.trace")
    ready(page)
    assert "frog" in page.get_by_role("listbox", name="The text, token by token").inner_text()
    (tmp_path / "cut.trace").write_bytes((tmp_path / "frog.trace").read_bytes()[:300])
    page.get_by_label("Open a trace file").set_input_files(tmp_path / "cut.trace")
    expect(page.get_by_role("alert")).to_contain_text("cut.trace is no trace")


def test_a_trace_of_a_model_that_is_not_here_says_what_it_cannot_do(visit: Visit, tmp_path: Path) -> None:
    import limner

    limner.load("story").trace("A frog sat").save(tmp_path / "frog.trace")
    trace = load_trace(tmp_path / "frog.trace")
    trace.about["model"]["name"] = "far-away"
    trace.save(tmp_path / "frog.trace")
    page = visit("#/text?view=why")
    page.get_by_label("Open a trace file").set_input_files(tmp_path / "frog.trace")
    ready(page)
    page.get_by_role("tab", name="Why").click()
    expect(page.get_by_text("far-away is not among those that this studio can open")).to_be_visible()
    page.get_by_role("tab", name="Next token").click()
    expect(page.get_by_role("figure", name="What might come next").get_by_role("listitem").first).to_be_visible()
    assert (
        page.get_by_role("figure", name="What might come next").get_by_role("listitem").get_by_role("button").count()
        == 0
    )


HOSTILE = [
    "</script><script>document.title='broken'</script>",
    "<img src=x onerror=\"document.title='broken'\">",
    "a & b %22 # ?token=3 {x}",
]


@pytest.mark.parametrize("prompt", [*HOSTILE, "שלום עולם", "从前有一只猫", "🐈‍⬛ \x00\u202e"])
def test_whatever_is_typed_is_shown_and_nothing_else(visit: Visit, prompt: str) -> None:
    page = visit("#/text")
    page.get_by_label("Your text").fill(prompt)
    page.get_by_role("button", name="Only read").click()
    ready(page)
    assert "broken" not in page.title()
    assert page.locator("main img, main script").count() == 0
    page.reload()
    ready(page)
    assert page.get_by_label("Your text").input_value() == prompt
    check_fits(page)


def test_what_goes_wrong_is_told_in_a_sentence(visit: Visit, watch: Watch) -> None:
    watch.forgive(r"status of 400")
    page = visit(text(model="story", prompt="moon " * 600, do="read"))
    expect(page.get_by_role("alert")).to_contain_text("256")
    page.goto(page.url.split("#")[0] + text(model="nobody", prompt="The", do="read"))
    expect(page.get_by_role("alert")).to_contain_text("nobody")
    page.goto(page.url.split("#")[0] + text(trace="forgotten"))
    expect(page.get_by_role("alert")).to_contain_text("forgotten")


def test_the_models_that_cannot_write_are_not_offered(visit: Visit) -> None:
    page = visit("#/text")
    page.get_by_role("option", name=re.compile("shakespeare")).wait_for(state="attached")
    names = json.loads(
        page.evaluate("() => JSON.stringify([...document.querySelector('main select').options].map(o => o.value))")
    )
    assert "story" in names
    assert not {"painter", "picturebook", "judge"} & set(names)
