"""The browser in which pages are measured: the system's Chromium, without a window and without a GPU."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

from playwright.sync_api import Browser, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser that runs.

    Raises:
        SystemExit: the machine has none.
    """
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        raise SystemExit("There is no Chromium. Install one: on Debian, apt-get install chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()
