"""The report of a picture: opened from disk, it asks for nothing and shows what the studio shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit, check_accessible, check_fits, tab_to

pytestmark = pytest.mark.slow  # `make test-slow` runs them: a minute or more of a browser's time

HOSTILE = "</script><img src=//limner.invalid>"


def write(model: Path | str, prompt: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "limner", "paint", prompt, "--model", str(model), "--steps", "3",
               "--seed", "3", "--no-preview", *options]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def report(shelf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    done = write(
        shelf / "painter", "a fox with a green hat", "-o", str(folder / "fox.png"), "--report", str(folder / "fox.html")
    )
    assert done.returncode == 0, done.stderr
    return folder / "fox.html"


def opened(page: Page) -> None:
    expect(page.get_by_role("heading", name="Where each word went")).to_be_visible()


def test_where_a_word_went_and_the_picture_without_it(open_report: Visit, report: Path) -> None:
    page = open_report(report)
    opened(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("a fox with a green hat")
    page.get_by_role("group", name="Words of the prompt").get_by_role("button", name="green").click()
    expect(page.get_by_role("heading", name="“green” in every layer and head")).to_be_visible()
    # What was painted without it is shown along with it.
    changed = page.get_by_role("figure", name="Before and after")
    expect(changed.get_by_role("img", name="The picture without “green”")).to_be_visible()
    expect(changed).to_contain_text("a fox with a hat")
    changed.get_by_role("button", name=re.compile("“hat” × ")).click()
    shown = changed.get_by_role("img", name=re.compile("The picture “hat” × "))
    expect(shown).to_be_visible()
    assert shown.evaluate("(image) => image.complete && image.naturalWidth > 0")
    # Each word, removed and weighed.
    assert changed.get_by_role("button", name=re.compile("^without ")).count() == 6
    assert changed.get_by_role("button", name=re.compile("×")).count() == 6


def test_each_head_off_and_where_a_patch_looks(open_report: Visit, report: Path) -> None:
    page = open_report(report)
    opened(page)
    figure = page.get_by_role("figure", name="Which heads the picture rests on")
    figure.get_by_role("gridcell").nth(1).click()
    shown = figure.get_by_role("img", name="The picture layer 0, head 1 off")
    expect(shown).to_be_visible()
    assert shown.evaluate("(image) => image.complete && image.naturalWidth > 0")
    expect(figure.get_by_role("button", name="Keep it off")).to_have_count(0)
    own = page.get_by_role("figure", name="Where a patch looks")
    picture = own.get_by_role("application", name="Its patches")
    picture.focus()
    picture.press("ArrowUp")
    picture.press("ArrowUp")
    expect(own.get_by_text("The patch in row 2, column 3 looks at itself with")).to_be_visible()


def test_with_the_keyboard_alone(open_report: Visit, report: Path) -> None:
    page = open_report(report)
    opened(page)
    tab_to(page, page.get_by_role("application", name="The picture"))
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_text(re.compile(r"Row \d+, column \d+"))).to_be_visible()
    film = page.get_by_role("listbox", name="Looks")
    tab_to(page, film)
    page.keyboard.press("End")
    expect(film.get_by_role("option").last).to_have_attribute("aria-selected", "true")


@pytest.mark.parametrize("size", ["wide", "phone"])
def test_accessible_in_both_themes(open_report: Visit, report: Path, size: str) -> None:
    page = open_report(report, size=size)
    opened(page)
    page.get_by_role("group", name="Words of the prompt").get_by_role("button", name="hat").click()
    check_accessible(page)
    check_fits(page)


def test_printed_it_keeps_its_figures_and_leaves_its_buttons(open_report: Visit, report: Path) -> None:
    page = open_report(report)
    opened(page)
    page.emulate_media(media="print")
    expect(
        page.get_by_role("figure", name="Every word at once").get_by_role("button", name=re.compile("hat"))
    ).to_be_visible()
    expect(page.get_by_role("button", name="Copy as Python").first).to_be_hidden()


def test_a_prompt_cannot_become_markup(open_report: Visit, tmp_path: Path) -> None:
    done = write("picturebook", HOSTILE, "-o", str(tmp_path / "x.png"), "--report", str(tmp_path / "x.html"))
    assert done.returncode == 0, done.stderr
    page = open_report(tmp_path / "x.html")
    opened(page)
    expect(page.get_by_role("heading", level=1)).to_have_text(re.sub(r"\s+", " ", HOSTILE))
    assert page.evaluate("() => document.querySelectorAll('img[src*=limner]').length") == 0


def test_several_pictures_have_numbered_reports(shelf: Path, tmp_path: Path) -> None:
    done = write(
        shelf / "painter", "a fox", "--n", "2", "-o", str(tmp_path / "fox.png"), "--report", str(tmp_path / "fox.html")
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.glob("*.html")) == ["fox-1.html", "fox-2.html"]
