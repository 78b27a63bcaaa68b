"""How long until somebody sees something: the studio from its command to the home page, a report from a click on its file.

    python -m bench.opening [--json] [--turns N]

The studio is a new process each time, and its page a new one in a browser that runs already; useful is the page once it
lists the models and the examples. A report is opened from the disk; it is there once its first figure is drawn and has
its numbers. A page of a few words, opened in turn, says what the browser alone takes. Medians; the aims are two seconds
and one.
"""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench import harness
from bench.chromium import chromium

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

LIMNER = [sys.executable, "-m", "limner"]
TEXT = ["explain", "The dog didn't bark because it was tired"]
PICTURE = ["paint", "a German Shepherd wearing a red baseball cap", "--seed", "0"]


@contextmanager
def page_of(browser: Browser) -> Iterator[Page]:
    """A page without a memory of earlier ones."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    try:
        yield context.new_page()
    finally:
        context.close()


def open_studio(browser: Browser) -> dict[str, float]:
    """Seconds from the command to the address that it prints, and to the home page."""
    start = time.perf_counter()
    with subprocess.Popen(
        [*LIMNER, "studio", "--port", "0", "--no-open"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            listens = time.perf_counter() - start
            with page_of(browser) as page:
                page.goto(address, wait_until="commit")
                page.get_by_role("region", name="Models").get_by_text("story", exact=False).first.wait_for()
                page.get_by_role("link", name="The curious cat climbed").first.wait_for()
                return {"listens": listens, "home": time.perf_counter() - start}
        finally:
            process.send_signal(signal.SIGINT)


def open_file(browser: Browser, path: Path, seen: Callable[[Page], None]) -> float:
    """Seconds from asking for a file to what ``seen`` waits for."""
    with page_of(browser) as page:
        start = time.perf_counter()
        page.goto(path.as_uri(), wait_until="commit")
        seen(page)
        return time.perf_counter() - start


def first_figure(page: Page) -> None:
    page.locator("figure figcaption").first.wait_for()  # says what model and run its numbers are of


def main() -> None:
    chosen = harness.parser(__doc__ or "", turns=7).parse_args()
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch, chromium() as browser:
        folder = Path(scratch)
        plain, text, picture = folder / "plain.html", folder / "text.html", folder / "picture.html"
        plain.write_text("<!doctype html><title>.</title><p>A few words.</p>")
        subprocess.run([*LIMNER, *TEXT, "-o", str(text)], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(
            [*LIMNER, *PICTURE, "-o", str(folder / "x.png"), "--report", str(picture)],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        for turn in range(chosen.turns + 1):
            found = {
                "a page of a few words": open_file(browser, plain, lambda page: page.get_by_text("A few").wait_for()),
                "report of a text": open_file(browser, text, first_figure),
                "report of a picture": open_file(browser, picture, first_figure),
            }
            studio = open_studio(browser)
            found |= {"studio, until it listens": studio["listens"], "studio, home page": studio["home"]}
            if turn:  # the first brings the files into memory
                for name, seconds in found.items():
                    times.setdefault(name, []).append(seconds)
        sizes = {"report of a text": text.stat().st_size, "report of a picture": picture.stat().st_size}
    for name, each in times.items():
        size = f"{sizes[name] / 1e6:6.1f} MB" if name in sizes else ""
        print(f"{name:26} {statistics.median(each):6.2f} s  ({min(each):.2f} to {max(each):.2f}) {size}")
    if chosen.json:
        print(json.dumps({"bench": "opening", **{name: statistics.median(each) for name, each in times.items()}}))


if __name__ == "__main__":
    main()
