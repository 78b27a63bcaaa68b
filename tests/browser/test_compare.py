"""The page Compare: models, checkpoints, runs and pictures side by side."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.conftest import Visit, check_accessible, check_fits, tab_to


def test_two_models_on_one_text(visit: Visit) -> None:
    page = visit("#/compare")
    following = page.get_by_role("table", name="What comes next on either side")
    expect(following).to_contain_text("up")
    expect(page.get_by_text("The two cut the text into other tokens")).to_be_visible()
    page.get_by_role("textbox", name="Both read").fill("Once upon a time")
    expect(page).to_have_url(re.compile("prompt=Once"))
    expect(following.get_by_role("row").nth(1)).to_contain_text(",")
    check_accessible(page)


def test_two_checkpoints_with_the_keyboard_alone_on_a_phone(visit: Visit) -> None:
    page = visit("#/compare?left=runs/sky@4&right=runs/sky&prompt=The+sky+is", size="phone")
    square = page.get_by_role("application", name=re.compile("Difference of attention"))
    expect(square).to_be_visible()
    tab_to(page, square)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_text("Point at a number to read it.")).to_have_count(0)
    layer = page.get_by_role("combobox", name="Layer")
    layer.select_option("0")
    expect(page).to_have_url(re.compile("layer=0"))
    check_fits(page)


def test_a_run_against_a_model_that_reads_what_was_written(visit: Visit) -> None:
    page = visit("#/compare?left=trace:curious-cat&right=shakespeare")
    expect(page.get_by_role("textbox", name="The text of the run")).to_have_value(re.compile("The curious cat climbed"))
    expect(page.get_by_text("How surprising each token was")).to_be_visible()


def test_two_pictures_of_one_seed(visit: Visit) -> None:
    page = visit("#/compare?what=picture&left=painter&right=painter&steps=2&otherguidance=7&prompt=a+cat&other=a+cat")
    page.get_by_role("button", name="Paint both").click()
    expect(page).to_have_url(re.compile("go=yes"))
    expect(page.get_by_role("application", name=re.compile("Difference of the pictures"))).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("Picture of “a cat”, seed 0"))).to_have_count(2)
    check_accessible(page)


def test_what_was_written_in_this_session_can_be_chosen(visit: Visit) -> None:
    page = visit("#/text?model=story&prompt=A+brave+bear&seed=11&length=4")
    page.get_by_role("tab", name="Next token").wait_for()
    page.get_by_role("link", name="Home", exact=True).click()
    page.get_by_role("link", name="A brave bear").click()
    page.get_by_role("tab", name="Next token").wait_for()
    page.get_by_role("link", name="Compare").click()
    page.get_by_label("Left").select_option(label="run “A brave bear”, story, seed 11")
    expect(page.get_by_label("The text of the run")).to_have_value(re.compile("^A brave bear"))
    expect(page.get_by_role("figure", name="Where they look differently")).to_be_visible()
