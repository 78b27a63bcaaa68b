"""Page Picture run: paint, find where a word went, change it, with the mouse and with the keyboard alone."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit, Watch, check_accessible, check_fits, tab_to

pytestmark = pytest.mark.slow  # `make test-slow` runs them: a minute or more of a browser's time

PROMPT = "a fox with a green hat"
PAINTED = f"#/picture?model=painter&prompt={quote(PROMPT)}&seed=3&steps=4"


def containing(part: str) -> re.Pattern[str]:
    """What matches an address or a name with this in it."""
    return re.compile(re.escape(part))


def painted(page: Page) -> None:
    """Wait until what is in the address is painted."""
    expect(page.get_by_role("heading", name="Where each word went")).to_be_visible()


def test_paint_and_find_where_a_word_went(visit: Visit) -> None:
    page = visit("#/picture")
    page.get_by_label("Model").select_option("painter")
    prompt = page.get_by_label("What to paint")
    prompt.fill(PROMPT)
    page.get_by_role("spinbutton", name="Seed", exact=True).fill("3")
    page.get_by_role("button", name="Paint", exact=True).click()
    painted(page)
    expect(page.get_by_text("recorded while it was painted").first).to_be_visible()
    expect(page.get_by_text("replay within")).to_have_count(0)
    expect(page).to_have_url(containing("seed=3"))

    words = page.get_by_role("group", name="Words of the prompt")
    words.get_by_role("button", name="hat").click()
    expect(page.get_by_role("heading", name="“hat” in every layer and head")).to_be_visible()
    expect(page).to_have_url(containing("word=5"))
    # Another person, or the same one tomorrow, sees the same.
    page.reload()
    painted(page)
    expect(page.get_by_role("heading", name="“hat” in every layer and head")).to_be_visible()
    expect(words.get_by_role("button", name="hat")).to_have_attribute("aria-pressed", "true")


def test_the_words_light_up_where_one_points(visit: Visit) -> None:
    page = visit(PAINTED)
    painted(page)
    picture = page.get_by_role("application", name="The picture")
    box = picture.bounding_box()
    assert box is not None
    picture.hover(position={"x": box["width"] * 0.9, "y": box["height"] * 0.1})
    expect(page.get_by_text("Row 1, column")).to_be_visible()
    # The chips say how much each word counts there.
    chip = page.get_by_role("group", name="Words of the prompt").get_by_role("button").first
    expect(chip).to_have_attribute("aria-label", containing("a, "))


def test_change_a_word_and_keep_the_seed(visit: Visit) -> None:
    page = visit(PAINTED + "&word=4")
    painted(page)
    page.get_by_role("button", name="Remove it").click()
    expect(page.get_by_text("On average")).to_be_visible()
    expect(page.get_by_role("list", name="Changes")).to_contain_text("without “green”")
    expect(page.get_by_role("img", name="The picture after: without “green”")).to_be_visible()

    # The last change of a word is the one that counts; another head comes on top.
    page.get_by_role("button", name="Weigh it").click()
    expect(page.get_by_role("list", name="Changes")).to_contain_text("“green” × 2.5")
    expect(page.get_by_role("list", name="Changes")).not_to_contain_text("without")
    page.get_by_role("button", name="Switch the head off").click()
    expect(page.get_by_role("list", name="Changes")).to_contain_text("layer 0, head 0 off")
    expect(page.get_by_text("On average")).to_be_visible()
    page.reload()
    expect(page.get_by_role("list", name="Changes")).to_contain_text("layer 0, head 0 off")
    expect(page.get_by_text("On average")).to_be_visible()

    page.get_by_role("button", name="Take all back").click()
    expect(page.get_by_role("heading", name="Before and after")).to_have_count(0)
    page.go_back()
    expect(page.get_by_role("list", name="Changes")).to_contain_text("layer 0, head 0 off")


def test_a_word_is_taken_out_where_it_is_chosen(visit: Visit) -> None:
    page = visit(PAINTED)
    painted(page)
    page.get_by_role("group", name="Words of the prompt").get_by_role("button", name="green").click()
    page.get_by_role("button", name="Paint it without “green”").click()
    expect(page.get_by_role("img", name="The picture after: without “green”")).to_be_visible()
    expect(page.get_by_role("figure", name="Before and after")).to_be_in_viewport()


def test_each_head_off_before_and_after(visit: Visit) -> None:
    page = visit(PAINTED)
    painted(page)
    figure = page.get_by_role("figure", name="Which heads the picture rests on")
    figure.get_by_role("button", name="Switch each head off in turn").click()
    cells = figure.get_by_role("gridcell")
    expect(cells).to_have_count(4)
    expect(figure.get_by_role("grid")).not_to_contain_text("not computed yet")
    cells.nth(2).click()
    expect(figure.get_by_role("img", name="The picture layer 1, head 0 off")).to_be_visible()
    figure.get_by_role("button", name="Keep it off").click()
    expect(page.get_by_role("list", name="Changes")).to_contain_text("layer 1, head 0 off")
    expect(cells.nth(2)).to_contain_text("switched off")
    expect(page.get_by_role("img", name="The picture after: layer 1, head 0 off")).to_be_visible()
    figure.get_by_role("button", name="Put it on again").click()
    expect(page.get_by_role("list", name="Changes")).to_have_count(0)
    figure.get_by_role("radio", name="The picture itself").click()
    expect(figure.get_by_role("button", name="Switch each head off in turn")).to_be_visible()


def test_where_a_patch_looks_is_fetched_when_it_is_asked_for(visit: Visit, watch: Watch) -> None:
    page = visit(PAINTED)
    painted(page)
    asked = "/api/trace/picture"
    figure = page.get_by_role("figure", name="Where a patch looks")
    expect(figure.get_by_text("Choose a patch, and the model looks again.")).to_be_visible()
    assert not [url for url in watch.requests if url.endswith(asked)]
    figure.get_by_role("button", name="Look again, closer").click()
    expect(figure.get_by_text("The patch in row 3, column 3 looks at itself with")).to_be_visible()
    assert len([url for url in watch.requests if url.endswith(asked)]) == 1
    # Another patch of the same look is there already, with the mouse or the keys.
    picture = figure.get_by_role("application", name="Its patches")
    box = picture.bounding_box()
    assert box is not None
    picture.click(position={"x": box["width"] * 0.9, "y": box["height"] * 0.1})
    expect(page).to_have_url(containing("patch=3"))
    expect(figure.get_by_text("The patch in row 1, column 4 looks at itself with")).to_be_visible()
    picture.focus()
    picture.press("ArrowDown")
    picture.press("Enter")
    expect(page).to_have_url(containing("patch=7"))
    assert len([url for url in watch.requests if url.endswith(asked)]) == 1
    heads = figure.get_by_role("group", name="Layers and heads of the picture’s own attention")
    heads.get_by_role("button").last.click()
    expect(figure.get_by_text("Mean of layer 1, head 1, at look")).to_be_visible()
    page.reload()
    expect(figure.get_by_text("The patch in row 2, column 4 looks at itself with")).to_be_visible()


def test_towards_which_colour_the_prompt_pulls(visit: Visit) -> None:
    page = visit(PAINTED)
    painted(page)
    figure = page.get_by_role("figure", name="Guidance")
    figure.get_by_role("radio", name="Towards which colour").click()
    picture = figure.get_by_role("application", name="Direction of the pull at look")
    picture.focus()
    picture.press("ArrowDown")
    expect(figure.get_by_text(re.compile(r"Row 3, column 3: .*(er by \d|no other colour)"))).to_be_visible()


def test_a_change_that_changes_nothing_is_seen_as_such(visit: Visit) -> None:
    page = visit(PAINTED + "&changes=" + quote('[{"kind":"weigh_word","word":4,"weight":1}]'))
    painted(page)
    expect(page.get_by_text("On average 0%")).to_be_visible()


def test_with_the_keyboard_alone(visit: Visit) -> None:
    page = visit("#/picture?model=painter")
    tab_to(page, page.get_by_label("What to paint"))
    page.keyboard.press("Control+A")
    page.keyboard.type(PROMPT)
    page.keyboard.press("Enter")
    painted(page)
    tab_to(page, page.get_by_role("application", name="The picture"))
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    expect(page.get_by_text("Row ", exact=False).filter(has_text="column").first).to_be_visible()
    page.keyboard.press("Escape")
    word = page.get_by_role("group", name="Words of the prompt").get_by_role("button", name="fox")
    page.keyboard.press("Shift+Tab")
    for _ in range(8):
        if word.evaluate("(element) => element === document.activeElement"):
            break
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    head = page.get_by_role("group", name="Layers and heads for “fox”").get_by_role("button").first
    tab_to(page, head)
    page.keyboard.press("ArrowDown")
    expect(page).to_have_url(containing("layer=1"))
    film = page.get_by_role("listbox", name="Looks")
    tab_to(page, film)
    page.keyboard.press("Home")
    expect(film.get_by_role("option").first).to_have_attribute("aria-selected", "true")


@pytest.mark.parametrize("size", ["wide", "phone"])
def test_accessible_in_both_themes(visit: Visit, size: str) -> None:
    page = visit(PAINTED + "&word=1&patch=5&changes=" + quote('[{"kind":"remove_word","word":4}]'), size=size)
    painted(page)
    expect(page.get_by_text("On average")).to_be_visible()
    page.get_by_role("button", name="Switch each head off in turn").click()
    expect(page.get_by_role("button", name="Keep it off")).to_be_visible()
    expect(page.get_by_text("The patch in row 2, column 2 looks at itself with")).to_be_visible()
    page.get_by_role("radio", name="Towards which colour").click()
    check_accessible(page)
    check_fits(page)


def test_every_figure_has_its_numbers_and_its_python(visit: Visit) -> None:
    page = visit(PAINTED + "&word=5")
    painted(page)
    figure = page.get_by_role("figure", name="Point at the picture, or choose a word")
    figure.get_by_role("button", name="View as table").click()
    expect(figure.get_by_role("columnheader", name="hat")).to_be_visible()
    figure.get_by_role("button", name="Copy as Python").click()
    expect(figure.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert "trace.word_map(5" in copied
    compile(copied, "copied", "exec")


def test_a_trace_file_is_opened_and_another_is_refused(visit: Visit, tmp_path: Path, shelf: Path) -> None:
    import limner

    painter = limner.load(shelf / "painter")
    trace = painter.trace("a black cat with a yellow crown", seed=1, steps=3)
    trace.save(tmp_path / "cat.trace")
    page = visit("#/picture")
    chosen = page.get_by_label("A trace file")
    chosen.set_input_files(tmp_path / "cat.trace")
    expect(page.get_by_label("What to paint")).to_have_value("a black cat with a yellow crown")
    painted(page)
    # Its model is here, so that it can be painted anew with a change.
    expect(page.get_by_role("button", name="Remove it")).to_be_visible()
    about = json.loads(json.dumps(trace.about))
    about["model"]["name"] = "somebody else's"
    replace(trace, about=about).save(tmp_path / "other.trace")
    chosen.set_input_files(tmp_path / "other.trace")
    expect(page.get_by_text("The studio has none of that name")).to_be_visible()
    painted(page)

    (tmp_path / "broken.trace").write_bytes((tmp_path / "cat.trace").read_bytes()[:500])
    chosen.set_input_files(tmp_path / "broken.trace")
    expect(page.get_by_role("alert")).to_contain_text("broken.trace")


HOSTILE = (
    "<img src=x onerror=alert(1)> fox",
    "</script><script>alert(1)</script> hat",
    "قطة سوداء على الشاطئ",
    "一只戴红帽子的狗",
)


@pytest.mark.parametrize("prompt", HOSTILE)
def test_prompts_that_are_markup_or_other_scripts_are_text(visit: Visit, prompt: str) -> None:
    page = visit(f"#/picture?model=picturebook&prompt={quote(prompt)}&seed=1&steps=4")
    painted(page)
    expect(page.get_by_label("What to paint")).to_have_value(prompt)
    assert page.evaluate("() => document.querySelectorAll('main img[src=x], main script').length") == 0
    check_fits(page)


def test_what_the_server_refuses_is_said(visit: Visit, watch: Watch) -> None:
    watch.forgive("400")
    page = visit(f"#/picture?model=painter&prompt={quote('fox ' * 60)}&seed=1")
    expect(page.get_by_role("alert").or_(page.get_by_role("heading", name="Where each word went"))).to_be_visible()
    page = visit("#/picture?model=nobody&prompt=fox&seed=1")
    expect(page.get_by_role("alert")).to_contain_text("nobody")


def test_an_address_that_is_nonsense(visit: Visit) -> None:
    page = visit(PAINTED + "&word=99&look=-3&layer=x&head=1e9&changes=%5B%7B%22kind%22%3A%22explode%22%7D%5D&measure=7")
    painted(page)
    expect(page.get_by_role("heading", name="Before and after")).to_have_count(0)
