"""The page Meaning: neighbours, sums, the map, and a word that drifts apart."""

from __future__ import annotations

import re

from playwright.sync_api import Route, expect

from tests.browser.conftest import Visit, Watch, check_accessible, check_fits, tab_to


def test_meaning_from_a_word_to_its_neighbours_and_on_the_map(visit: Visit) -> None:
    page = visit("#/meaning")
    expect(page.get_by_role("heading", level=1)).to_have_text("Meaning")
    near = page.get_by_role("list", name="Words nearest to cat")
    expect(near.get_by_role("link", name="kitten")).to_be_visible()  # all-MiniLM-L6-v2, for it is installed here
    near.get_by_role("link", name="kitten").click()
    expect(page).to_have_url(re.compile(r"word=kitten"))
    expect(page.get_by_role("list", name="Words nearest to kitten")).to_contain_text("cat")

    sums = page.get_by_role("list", name="Words nearest to king − man + woman")
    expect(sums.get_by_role("listitem").first).to_contain_text("queen")
    page.get_by_role("checkbox", name="count the three words").check()
    expect(sums.get_by_role("listitem").first).to_contain_text("king")

    expect(page.get_by_role("application", name=re.compile("Map of"))).to_be_visible()
    page.get_by_role("combobox", name="Find").fill("dog")
    expect(page.get_by_text(re.compile("“dog” is not among them"))).to_have_count(0)
    expect(page.get_by_role("img", name=re.compile("Similarity of “apple”"))).to_be_visible()
    check_accessible(page)

    page.go_back()  # what was typed is no step of its own
    expect(page.get_by_role("list", name="Words nearest to kitten")).to_be_visible()


def test_fifty_thousand_points_and_a_small_model_with_the_keyboard_alone(visit: Visit) -> None:
    page = visit("#/meaning?model=story&count=50000", size="phone")
    world = page.get_by_role("application", name=re.compile("Map of"))
    expect(world).to_be_visible()
    check_fits(page)
    tab_to(page, world)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("+")
    page.keyboard.press("0")
    expect(page).to_have_url(re.compile(r"word=\w+"))
    table = page.get_by_role("button", name="View as table").first
    tab_to(page, table)
    page.keyboard.press("Enter")
    expect(page.get_by_role("table", name="Nearest words")).to_be_visible()
    copy = page.get_by_role("button", name="Copy as Python").first
    tab_to(page, copy)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Copied").first).to_be_visible()
    assert "neighbours(model" in page.evaluate("() => navigator.clipboard.readText()")


def test_what_cannot_be_asked_is_said_in_a_sentence(visit: Visit, watch: Watch) -> None:
    watch.forgive("400")  # the browser's own line on a refused request
    page = visit("#/meaning?model=story&of=zebra")
    expect(page.get_by_role("alert").filter(has_text="zebra")).to_contain_text("does not hold it")


def test_the_page_says_what_would_bring_real_meaning(visit: Visit) -> None:
    page = visit("#/nowhere")

    def without(route: Route) -> None:
        answer = route.fetch()
        models = [model for model in answer.json()["models"] if model["name"] != "all-minilm-l6-v2"]
        route.fulfill(response=answer, json={"models": models})

    page.route("**/api/models", without)
    page.evaluate("() => { location.hash = '#/meaning' }")
    expect(page.get_by_text('pip install "limner[meaning]"')).to_be_visible()
    expect(page.get_by_role("combobox", name="Model")).to_have_value("story")
    expect(page.get_by_role("list", name="Words nearest to cat")).to_contain_text("dog")
