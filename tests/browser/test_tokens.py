"""The page Tokens: one text through several tokenizers."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.conftest import Visit, check_accessible, check_fits, tab_to


def test_a_text_through_two_tokenizers(visit: Visit) -> None:
    page = visit("#/tokens?text=The+curious+cat+climbed&models=story,shakespeare")
    story = page.get_by_role("listbox", name="Tokens of story")
    expect(story.get_by_role("option")).to_have_count(4)
    expect(page.get_by_role("listbox", name="Tokens of shakespeare").get_by_role("option")).to_have_count(23)
    story.get_by_role("option").nth(1).click()
    expect(page).to_have_url(re.compile("token=1"))
    expect(page.get_by_text("63 75 72 69 6F 75 73")).to_be_visible()  # "curious" in hexadecimal
    page.get_by_role("radio", name="Ids").click()
    expect(story.get_by_role("option").first).to_contain_text(re.compile(r"\d+"))
    check_accessible(page)


def test_right_to_left_and_half_characters_with_the_keyboard_alone(visit: Visit) -> None:
    page = visit(
        "#/tokens?text=%D8%A7%D9%84%D9%82%D8%B7%D8%A9+%E7%8C%AB+%F0%9F%90%B1&models=all-minilm-l6-v2,story",
        size="phone",
    )
    strip = page.get_by_role("listbox", name="Tokens of all-minilm-l6-v2")
    expect(strip).to_be_visible()
    expect(strip).to_have_attribute("dir", "rtl")
    check_fits(page)
    tab_to(page, strip)
    page.keyboard.press("ArrowLeft")  # on to the next, in the text's own direction
    expect(page).to_have_url(re.compile("token="))
    check_accessible(page)
