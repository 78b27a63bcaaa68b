"""The tour: every lesson opens, its figure comes, and it can be gone through with the keyboard alone."""

from __future__ import annotations

import json
import re

from playwright.sync_api import expect

from tests.browser.conftest import ROOT, Visit, check_accessible, check_fits, tab_to

LESSONS = json.loads((ROOT / "web/src/lessons/lessons.json").read_text("utf-8"))


def test_the_tour_from_its_first_lesson_to_its_last(visit: Visit) -> None:
    page = visit("#/lessons")
    for number, lesson in enumerate(LESSONS, 1):
        expect(page.get_by_text(f"Step {number} of {len(LESSONS)}")).to_be_visible()
        expect(page.get_by_role("heading", level=2, name=lesson["title"], exact=True)).to_be_visible()
        expect(page.get_by_role("main").get_by_role("figure").first).to_be_visible()
        if lesson["part"] == "text":  # those of pictures are painted when they are asked for
            table = page.get_by_role("button", name="View as table").first
            expect(table).to_be_visible()
        for claim in lesson["claims"]:
            expect(page.get_by_text(claim["says"])).to_be_visible()
        if number < len(LESSONS):
            page.get_by_role("link", name=re.compile("→$")).last.click()
            expect(page).to_have_url(re.compile(f"lesson={LESSONS[number]['id']}"))
    check_accessible(page)
    page.go_back()
    expect(page.get_by_role("heading", level=2, name=LESSONS[-2]["title"], exact=True)).to_be_visible()


def test_a_lesson_with_the_keyboard_alone_on_a_phone(visit: Visit) -> None:
    page = visit("#/lessons?lesson=attention", size="phone")
    expect(page.get_by_text(re.compile(r"Layer 2, head 1: .dog \d+"))).to_be_visible()
    check_fits(page)
    check_accessible(page)
    on = page.get_by_role("link", name="Many heads →")
    tab_to(page, on)
    page.keyboard.press("Enter")
    title = page.get_by_role("heading", level=2, name="Many heads", exact=True)
    expect(title).to_be_focused()


def test_a_link_leads_to_what_it_speaks_of(visit: Visit) -> None:
    page = visit("#/lessons?lesson=embeddings")
    page.get_by_role("link", name=re.compile("^An apple a day")).click()
    senses = page.get_by_role("figure", name="One word, two meanings")
    expect(senses.get_by_role("heading")).to_be_in_viewport()
    expect(senses.get_by_label("Word")).to_have_value("apple")


def test_where_a_word_landed(visit: Visit) -> None:
    page = visit("#/lessons?lesson=cross-attention")
    paint = page.get_by_role("button", name="Paint it now")
    picture = page.get_by_role("application", name=re.compile("where “red” looks"))
    expect(paint.or_(picture)).to_be_visible()  # the bundled run, where there is one
    if paint.is_visible():
        paint.click()
    expect(picture).to_be_visible()
    check_accessible(page)
