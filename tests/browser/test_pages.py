"""Every page of the studio, at once: it opens, says what it is, fits on a phone, and is accessible in both themes."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit, Watch, check_accessible, check_fits, tab_to


def test_a_page_that_is_not_there_says_so(visit: Visit) -> None:
    page = visit("#/nothing-of-the-kind")
    expect(page.get_by_role("heading", level=1)).to_contain_text("nothing-of-the-kind")
    check_accessible(page)


def test_the_menu_with_the_keyboard_alone(visit: Visit) -> None:
    page = visit("#/nowhere")
    link = page.get_by_role("navigation").get_by_role("link", name="Lessons")
    tab_to(page, link)
    page.keyboard.press("Enter")
    expect(page).to_have_title(re.compile("Lessons"))
    expect(page.get_by_role("main")).to_be_focused()


def test_the_menu_leads_back_and_takes_the_text_along(visit: Visit) -> None:
    page = visit("#/text?model=tiny&do=read&prompt=the+cat&view=layers")
    menu = page.get_by_role("navigation", name="Pages")
    menu.get_by_role("link", name="Change it").click()
    expect(page.get_by_role("grid", name="Parts of the model")).to_be_visible()
    expect(page.get_by_role("textbox").first).to_have_value("the cat")
    menu.get_by_role("link", name="Text run").click()
    expect(page).to_have_url(re.compile("prompt=the.cat&view=layers"))
    menu.get_by_role("link", name="Text run").click()  # from the page itself: to its beginning
    expect(page).to_have_url(re.compile("#/text$"))


def test_the_menu_on_a_phone(visit: Visit) -> None:
    page = visit("#/nowhere", size="phone")
    page.get_by_role("button", name="Menu").click()
    check_accessible(page)
    page.get_by_role("link", name="Order").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Order")
    check_fits(page)


def test_what_this_suite_forgives_nothing_of(visit: Visit, watch: Watch) -> None:
    page = visit("#/nowhere")
    page.evaluate("() => { console.error('a mistake'); fetch('http://limner.invalid/').catch(() => 0); }")
    page.evaluate("() => new Promise((done) => setTimeout(done, 100))")
    said = "\n".join(watch.complaints)
    assert "a mistake" in said
    assert "limner.invalid" in said  # refused by the page's own policy, and seen
    with pytest.raises(AssertionError, match="a mistake"):
        watch.check()
    watch.forgive("a mistake|limner.invalid|Content Security Policy")
