"""The page Order: the same words in another order, with positions and without."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.conftest import Visit, check_accessible, check_fits, tab_to


def test_order_is_gone_without_positions(visit: Visit) -> None:
    page = visit("#/order?model=all-minilm-l6-v2")
    expect(page.get_by_text("each word’s vector is another one")).to_be_visible()
    page.get_by_role("radio", name="Off").click()
    expect(page).to_have_url(re.compile("positions=off"))
    expect(page.get_by_text("who chases whom is gone")).to_be_visible()
    expect(page.get_by_text("positions off", exact=True)).to_be_visible()  # the figure says what was changed
    expect(page.get_by_role("application", name=re.compile("Position vectors"))).to_be_visible()
    check_accessible(page)


def test_rotations_with_the_keyboard_alone_on_a_phone(visit: Visit) -> None:
    page = visit("#/order?model=story", size="phone")
    expect(page.get_by_text("each word’s vector is another one")).to_be_visible()
    place = page.get_by_role("slider", name="Place")
    tab_to(page, place)
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile("place=6"))
    expect(page.get_by_role("img", name=re.compile("Pair 0 at place 6: 6 radians"))).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("Score over distance"))).to_be_visible()
    check_fits(page)
    check_accessible(page)
