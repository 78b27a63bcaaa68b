"""The report of a text, opened from disk: everything is in it, nothing is asked for, and it can be tried out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

import limner
from limner.explain.interventions import interventions
from limner.explain.report import write_report
from tests.browser.conftest import SIZES, Watch, check_accessible, check_fits, tab_to

pytestmark = pytest.mark.slow  # `make test-slow` runs them: a minute or more of a browser's time

OpenReport = Callable[..., Page]
DOG = "The dog didn't bark because it was tired"
CELL = re.compile("^layer 2, head 1:")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reports") / "dog.html"
    model = limner.load("story")
    trace = model.trace(model.generate(DOG, seed=1, max_tokens=6), keep="everything")
    write_report(trace, path, extra=interventions(model, trace))
    return path


def ready(page: Page) -> Page:
    page.get_by_role("tab", name="Next token").wait_for()
    return page


def test_it_opens_without_asking_for_anything(open_report: OpenReport, report: Path, watch: Watch) -> None:
    page = ready(open_report(report))
    expect(page.get_by_role("heading", level=1)).to_have_text(DOG)
    assert page.get_by_text("seed 1").is_visible()
    assert page.get_by_text("within").first.is_visible()
    assert watch.requests == [report.resolve().as_uri()]


def test_a_head_is_switched_off_offline_and_the_numbers_are_the_models(open_report: OpenReport, report: Path) -> None:
    page = ready(open_report(report))
    cell = page.get_by_role("grid", name="Parts of the model").get_by_role("gridcell", name=CELL)
    cell.click()
    expect(cell).to_have_accessible_name(re.compile("switched off"))
    figure = page.get_by_role("figure", name="What comes next")
    expect(figure.locator("figcaption")).to_contain_text("head 2.1 off")
    figure.get_by_role("button", name="View as table").click()
    rows = [row.locator("td").all_inner_texts() for row in figure.get_by_role("row").all()[1:]]
    model = limner.load("story")
    written = model.generate(DOG, seed=1, max_tokens=6)
    seen = limner.compare(model, [*written.prompt_ids, *written.ids], [limner.HeadOff(2, 1)], count=10, max_tokens=1)
    told = {name: after for name, _, after in rows if after != "–"}
    for guess in seen.after:
        name = guess.text.replace(" ", "·").replace("\n", "↵")
        assert float(told[name].replace("−", "-")) == pytest.approx(guess.probability, rel=0.01)


def test_every_view_is_there_and_the_address_keeps_it(open_report: OpenReport, report: Path) -> None:
    page = ready(open_report(report))
    page.get_by_role("listbox", name="The text, token by token").get_by_role("option").nth(7).click()
    for name, title in {
        "Attention": "Where “it” looked most",
        "Layers": "What each layer would say next",
        "Ledger": "Who spoke for “it”",
        "Neurons": "The most active neurons at “it”",
        "Why": "Why “it”",
    }.items():
        page.get_by_role("tab", name=name).click()
        expect(page.get_by_role("figure", name=title)).to_be_visible()
    expect(page.get_by_role("listbox", name="What speaks for it")).to_be_visible()
    page.reload()
    expect(page.get_by_role("figure", name="Why “it”")).to_be_visible()


def test_with_the_keyboard_alone(open_report: OpenReport, report: Path) -> None:
    page = ready(open_report(report))
    tab_to(page, page.get_by_role("tab", name="Next token"))
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("figure", name="All heads")).to_be_visible()
    grid = page.get_by_role("grid", name="Parts of the model")
    tab_to(page, grid)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"off=1\.0"))
    expect(page.get_by_role("figure", name="What comes next").locator("figcaption")).to_contain_text("head 1.0 off")


def test_it_is_printed_with_all_its_views(open_report: OpenReport, report: Path) -> None:
    page = ready(open_report(report))
    page.emulate_media(media="print")
    for title in ("What might come next", "All heads", "What each layer would say next"):
        expect(page.get_by_role("figure", name=title)).to_be_visible()
    assert page.get_by_role("button", name="Copy as Python").count() == 0


@pytest.mark.parametrize(
    "prompt",
    [
        "</script><script>document.title='broken'</script>",
        "<!--<script>",
        "<img src='https://somewhere.example/x.png' onerror=\"document.title='broken'\">",
        "</title><base href='https://somewhere.example/'>",
    ],
)
def test_no_prompt_breaks_out(open_report: OpenReport, tmp_path: Path, prompt: str) -> None:
    model = limner.load("story")
    trace = model.trace(prompt)
    write_report(trace, tmp_path / "hostile.html", extra=interventions(model, trace))
    page = ready(open_report(tmp_path / "hostile.html"))
    expect(page.get_by_role("heading", level=1)).to_have_text(prompt)
    assert page.title() == f"{prompt} · limner"
    assert page.locator("img, base").count() == 0


def test_it_would_not_run_a_script_that_is_put_into_it(
    open_report: OpenReport, report: Path, tmp_path: Path, watch: Watch
) -> None:
    watch.forgive("Content Security Policy")
    added = report.read_text().replace("</body>", "<script>document.title='broken'</script></body>")
    (tmp_path / "added.html").write_text(added)
    page = ready(open_report(tmp_path / "added.html"))
    assert "broken" not in page.title()
    assert any("Content Security Policy" in one for one in watch.complaints)


def test_what_is_damaged_says_so(open_report: OpenReport, report: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.html").write_text(re.sub(r'(data-id="run">.{400})[^<]*', r"\1", report.read_text()))
    page = open_report(tmp_path / "cut.html")
    expect(page.get_by_role("alert")).to_contain_text("The trace run of this report")


def test_every_view_is_accessible_and_fits(open_report: OpenReport, report: Path) -> None:
    page = ready(open_report(report))
    for view in ("next", "attention", "layers", "ledger", "neurons", "why"):
        page.evaluate(f"() => (location.hash = '#/?token=7&off=2.1&view={view}')")
        tab = page.get_by_role("tab", name=re.compile(view, re.IGNORECASE))
        expect(tab).to_have_attribute("aria-selected", "true")
        check_accessible(page)
        check_fits(page, *SIZES)


def test_on_paper_nothing_is_cut(open_report: OpenReport, report: Path) -> None:
    page = ready(open_report(report))
    page.get_by_role("tab", name="Layers").click()
    tokens = page.get_by_role("listbox", name="The text, token by token").get_by_role("option").count() - 1
    layers = page.get_by_role("figure", name="What each layer would say next")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 688, "height": 1000})  # what paper has room for
    expect(layers.get_by_role("row").last.get_by_role("gridcell").last).to_be_visible()
    assert layers.get_by_role("row").nth(0).get_by_role("gridcell").count() < tokens
    assert layers.get_by_role("gridcell").count() == tokens * 8  # embedding, six layers, text
    check_fits(page)
    page.emulate_media(media="screen")
    rests = page.get_by_role("figure", name=re.compile("rests on$"))
    rests.get_by_role("button", name="View as table").click()
    page.emulate_media(media="print")
    expect(rests.get_by_role("row")).to_have_count(1 + 6 * 6)  # heads, all heads and feed-forward of each layer
    frame = rests.get_by_role("region")
    assert frame.evaluate("(one) => one.scrollWidth <= one.clientWidth && one.scrollHeight <= one.clientHeight + 1")
