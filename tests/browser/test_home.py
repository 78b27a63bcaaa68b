"""The page Home: what there is, and how to get there."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.conftest import Visit, check_accessible, check_fits, tab_to

EXAMPLE = re.compile("^text The curious cat climbed")  # and not a trace that somebody looked at since


def test_home_leads_everywhere(visit: Visit) -> None:
    page = visit()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    models = page.get_by_role("region", name="Models")
    expect(models).to_contain_text("story")
    expect(models).to_contain_text("picturebook")
    expect(models).to_contain_text("tiny")  # from LIMNER_MODELS
    expect(page.get_by_role("region", name="Training runs")).to_contain_text("sky")
    expect(page.get_by_role("link", name=EXAMPLE)).to_be_visible()
    check_accessible(page)
    page.get_by_role("link", name="Meaning with all-minilm-l6-v2").click()
    expect(page).to_have_url(re.compile(r"#/meaning\?model=all-minilm-l6-v2"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Meaning")


def test_an_example_opens_with_the_keyboard_alone_on_a_phone(visit: Visit) -> None:
    page = visit(size="phone")
    example = page.get_by_role("link", name=EXAMPLE)
    expect(example).to_be_visible()
    check_fits(page)
    tab_to(page, example)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("trace=curious-cat"))


def test_a_file_that_is_no_trace_is_refused_in_a_sentence(visit: Visit) -> None:
    page = visit()
    expect(page.get_by_role("button", name="Choose a file")).to_be_visible()
    page.locator("input[type=file]").set_input_files({"name": "a.trace", "mimeType": "", "buffer": b"not a trace"})
    expect(page.get_by_role("alert")).to_contain_text("a.trace is no trace")
