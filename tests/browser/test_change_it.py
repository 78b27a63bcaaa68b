"""Change it, as a person uses it: a part off, and before and after side by side."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from urllib.parse import parse_qs, urlencode

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import SIZES, Watch, check_accessible, check_fits, tab_to

pytestmark = pytest.mark.slow  # `make test-slow` runs them: a minute or more of a browser's time

Visit = Callable[..., Page]
DOG = "The dog didn't bark because it was tired. It"
HEAD = [{"kind": "head_off", "layer": 2, "head": 1}]


def change(changes: list[dict[str, object]] | None = None, **values: object) -> str:
    more = {"changes": json.dumps(changes)} if changes else {}
    return f"#/change?{urlencode({'model': 'story', 'prompt': DOG, **more, **values})}"


def changes_of(page: Page) -> list[dict[str, object]]:
    found = parse_qs(page.url.split("?", 1)[1]).get("changes", ["[]"])
    return list(json.loads(found[0]))


def mapped(page: Page) -> Page:
    page.get_by_role("gridcell", name=re.compile("points")).first.wait_for()
    return page


def field_of(page: Page, label: str) -> Locator:
    """A field of the form by its own name; a label that is wrapped around a list has the list's words in it too."""
    form = page.locator("form.add")
    number = form.get_by_role("spinbutton", name=label, exact=True)
    words = form.get_by_role("textbox", name=label, exact=True)
    return form.get_by_role("combobox", name=label, exact=True).or_(number).or_(words)


def test_a_click_switches_a_head_off_and_another_on_again(visit: Visit) -> None:
    page = mapped(visit(change()))
    expect(page.get_by_text("Nothing is changed, so both are the same.")).to_be_visible()
    cell = page.get_by_role("grid", name="Parts of the model").get_by_role(
        "gridcell", name=re.compile("^layer 2, head 1:")
    )
    cell.click()
    assert changes_of(page) == HEAD
    expect(page.get_by_text("the two differ by")).to_be_visible()
    expect(page.get_by_role("group", name="After").first).to_be_visible()
    expect(cell).to_have_accessible_name(re.compile("switched off"))
    cell.click()
    assert changes_of(page) == []
    page.go_back()
    expect(page.get_by_role("button", name="Undo: head 2.1 off")).to_be_visible()


def test_what_is_shown_is_what_python_finds(visit: Visit) -> None:
    import limner
    from limner.explain.causal import causal_map

    model = limner.load("story")
    known = causal_map(model, DOG)
    seen = limner.compare(model, DOG, [limner.HeadOff(2, 1)], max_tokens=30)
    page = mapped(visit(change(HEAD)))
    grid = page.get_by_role("grid", name="Parts of the model")
    cell = grid.get_by_role("gridcell", name=re.compile("^layer 0, head 2:"))
    said = re.findall(r": ([+−]?[\d.]+) points", cell.inner_text())[0]
    assert float(said.replace("−", "-")) == pytest.approx(100 * known.heads[0, 2], rel=0.01)
    after = page.get_by_role("group", name="After").first
    assert after.inner_text().removeprefix("After").split() == seen.written_after.text.split()
    assert seen.written_after.text != seen.written_before.text


def test_with_the_keyboard_alone(visit: Visit) -> None:
    page = mapped(visit(change()))
    grid = page.get_by_role("grid", name="Parts of the model")
    tab_to(page, grid)
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    assert changes_of(page) == []
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name=re.compile("^Undo: head "))).to_be_visible()
    assert len(changes_of(page)) == 1
    tab_to(page, page.get_by_role("button", name=re.compile("^Undo: head ")), most=200)
    page.keyboard.press("Enter")
    assert changes_of(page) == []


@pytest.mark.parametrize(
    ("fill", "expected"),
    [
        ({"What": "attention_off", "Layer": "3"}, {"kind": "attention_off", "layer": 3}),
        ({"What": "feed_forward_off", "Layer": "0"}, {"kind": "feed_forward_off", "layer": 0}),
        ({"What": "neuron_off", "Layer": "1", "Neuron": "5"}, {"kind": "neuron_off", "layer": 1, "neuron": 5}),
        (
            {"What": "steer", "After layer": "2", "Strength": "3", "Towards": "sad", "Away from": "happy"},
            {"kind": "steer", "layer": 2, "towards": "sad", "away": "happy", "strength": 3},
        ),
        ({"What": "positions_off"}, {"kind": "positions_off"}),
    ],
    ids=lambda value: str(value.get("kind", "")),
)
def test_a_change_is_added_by_hand(visit: Visit, fill: dict[str, str], expected: dict[str, object]) -> None:
    page = visit(change())
    page.locator("summary", has_text="Add a change by hand").click()
    for label, value in fill.items():
        field = field_of(page, label)
        if field.evaluate("(element) => element.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)
    page.get_by_role("button", name="Add this change").click()
    expect(page.get_by_text("the two differ by")).to_be_visible()
    assert changes_of(page) == [expected]


def test_a_value_is_patched_in_from_another_text(visit: Visit) -> None:
    page = visit(change())
    page.locator("summary", has_text="Add a change by hand").click()
    form = page.locator("form.add")
    field_of(page, "What").select_option("patch")
    field_of(page, "Layer").select_option("5")
    form.get_by_label("from this other text").fill("Tom wanted to")
    field_of(page, "at").select_option(label="3: ·to")
    form.get_by_role("button", name="Add this change").click()
    # With all that the model holds at the last token, it goes on as the other text would.
    expect(page.get_by_text("the two differ by")).to_be_visible()
    import limner

    other = limner.load("story").trace("Tom wanted to").candidates(-1, 1)[0]
    expect(page.get_by_text(re.compile("the first choice is another"))).to_contain_text(
        limner.load("story").token_text(other.id).strip()
    )


def test_another_token_has_a_map_of_its_own(visit: Visit) -> None:
    page = mapped(visit(change()))
    figure = page.get_by_role("figure", name="What comes next")
    second = figure.get_by_role("listitem").nth(1)
    name = second.locator("bdi").inner_text().strip("·")
    second.get_by_role("button").click()
    expect(page.get_by_role("figure", name=f"What “{name}” rests on")).to_be_visible()


def test_what_the_model_has_no_place_for_is_told(visit: Visit, watch: Watch) -> None:
    watch.forgive(r"status of 400")
    page = visit(change([{"kind": "head_off", "layer": 9, "head": 0}]))
    expect(page.get_by_role("alert")).to_contain_text("head_off.layer is 9")
    page = visit(change() + "&changes=" + "%5B{broken")
    expect(page.get_by_text("Nothing is changed yet")).to_be_visible()


@pytest.mark.parametrize(
    "prompt", ["</script><script>document.title='broken'</script>", "<img src=x onerror=alert(1)>"]
)
def test_a_hostile_prompt_is_a_text(visit: Visit, prompt: str) -> None:
    steered = [{"kind": "steer", "layer": 0, "towards": prompt, "away": "x", "strength": 1.5}]
    page = visit(change(steered, prompt=prompt))
    expect(page.get_by_text("the two differ by")).to_be_visible()
    assert "broken" not in page.title()
    assert page.locator("main img, main script").count() == 0


def test_it_is_accessible_and_fits(visit: Visit) -> None:
    page = mapped(visit(change(HEAD)))
    page.get_by_role("grid", name="Attention that went elsewhere").wait_for()
    check_fits(page, *SIZES)
    page.locator("summary", has_text="Add a change by hand").click()
    check_accessible(page)
    check_fits(page, "phone")
