"""A studio in a process of its own, and a browser that looks at it and forgives nothing.

A test fails on anything that the browser complains of and on any request that leaves the machine; one that opens a report
fails on any request at all. Nothing is skipped: without a browser or built pages the tests fail and say what is missing.

    def test_something(visit: Visit) -> None:
        page = visit("#/order", size="phone")
        page.get_by_role("heading", name="Order", level=1).wait_for()
        check_accessible(page)  # axe, in light and in dark
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Request, expect, sync_playwright

from bench.chromium import NAMES

Theme = Literal["light", "dark"]
Size = Literal["wide", "middle", "phone"]
THEMES: tuple[Theme, ...] = ("light", "dark")
SIZES: dict[Size, tuple[int, int]] = {"wide": (1440, 900), "middle": (820, 1180), "phone": (390, 844)}

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "src/limner/assets/web"
AXE = ROOT / "web/node_modules/axe-core/axe.min.js"
PATIENCE = 60_000  # milliseconds: a machine that does something else besides is slow, not wrong
expect.set_options(timeout=PATIENCE)
OWN = ("data:", "blob:")  # what a page makes for itself is no request


# ── the studio ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of small random models beside the bundled ones: ``tiny`` writes, ``painter`` paints."""
    from tests.studio.shelf import save_models

    return save_models(tmp_path_factory.mktemp("shelf"))


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of runs: ``sky`` is finished, after 8 steps, with checkpoints of steps 4 and 8 and a probe."""
    from tests.studio.shelf import train_sky

    folder = tmp_path_factory.mktemp("browser")
    train_sky(folder / "runs" / "sky", folder / "sky.txt")
    return folder / "runs"


@pytest.fixture(scope="session")
def studio(shelf: Path, runs: Path) -> Iterator[str]:
    """The address of a studio that was started as anybody starts it, such as ``http://localhost:40123``."""
    assert (BUILT / "studio/index.html").is_file(), "the studio's pages are not built. Run `make web`."
    command = [sys.executable, "-m", "limner", "studio", "--port", "0", "--no-open", "--runs", str(runs)]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=said, text=True, env={**os.environ, "LIMNER_MODELS": str(shelf)}
        )
        assert process.stdout is not None
        line = _first_line(process, PATIENCE / 1000)
        if not line.startswith("http://"):
            process.kill()
            process.wait()
            said.seek(0)
            pytest.fail(f"the studio did not start: {line!r}\n{said.read()}")
        yield line.rstrip("/")
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        said.seek(0)
        mistakes = said.read()
    assert "Traceback" not in mistakes, mistakes


def _first_line(process: subprocess.Popen[str], seconds: float) -> str:
    lines: Queue[str] = Queue()
    assert process.stdout is not None
    threading.Thread(target=lambda stream: lines.put(stream.readline()), args=[process.stdout], daemon=True).start()
    try:
        return lines.get(timeout=seconds).strip()
    except Empty:
        return ""


# ── the browser ────────────────────────────────────────────────────────────────────────────────────────


# Of a module, not of the session: while it is open an event loop runs in this thread, and tests of other modules start theirs.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, as the system has it, without a window."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    assert path, "there is no Chromium on this machine. Run `make browser`, or install Debian's package chromium."
    with sync_playwright() as playwright:
        # No name but this machine's is looked up: what a page asks of another can never leave.
        chromium = playwright.chromium.launch(
            executable_path=path,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-software-rasterizer",
                "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost , EXCLUDE 127.0.0.1",
            ],
        )
        yield chromium
        chromium.close()


class Watch:
    """What went wrong in a page, by whoever noticed it."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._forgiven: list[re.Pattern[str]] = []

    def forgive(self, pattern: str) -> None:
        """Expect complaints that match: of a request that is refused on purpose, for example."""
        self._forgiven.append(re.compile(pattern))

    def over(self, page: Page, *, may_ask: Callable[[Request], bool]) -> None:
        """Watch a page from now on."""

        def console(message: ConsoleMessage) -> None:
            if message.type == "error":
                where = message.location
                self.complaints.append(
                    f"console: {message.text} ({where.get('url', '')}:{where.get('lineNumber', '')})"
                )

        def asked(request: Request) -> None:
            if request.url.startswith(OWN):
                return
            self.requests.append(request.url)
            if not may_ask(request):
                self.complaints.append(f"a request that should not be: {request.method} {request.url}")

        page.on("console", console)
        page.on("pageerror", lambda problem: self.complaints.append(f"error in the page: {problem}"))
        page.on("request", asked)
        page.on("websocket", lambda socket: self.complaints.append(f"a request that should not be: {socket.url}"))

    def check(self) -> None:
        """Fail if anything went wrong."""
        left = [one for one in self.complaints if not any(pattern.search(one) for pattern in self._forgiven)]
        assert not left, "the browser complains:\n" + "\n".join(left)


@pytest.fixture
def watch() -> Iterator[Watch]:
    """What the pages of this test complain of; looked at when it ends."""
    watch = Watch()
    yield watch
    watch.check()


Visit = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser, studio: str, watch: Watch) -> Iterator[Visit]:
    """Opens a page of the studio by what stands after its address: ``visit("#/order", theme="dark", size="phone")``."""
    contexts: list[BrowserContext] = []

    def open_page(path: str = "", *, theme: Theme = "light", size: Size = "wide") -> Page:
        context = _context(browser, theme, size)
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=studio)
        contexts.append(context)
        page = context.new_page()
        watch.over(page, may_ask=lambda request: request.url.startswith(f"{studio}/"))
        page.goto(f"{studio}/{path}")
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def open_report(browser: Browser, watch: Watch) -> Iterator[Visit]:
    """Opens a report from disk: ``open_report(path, theme="dark", size="phone")``. It may ask for nothing but itself."""
    contexts: list[BrowserContext] = []

    def open_page(path: Path, *, theme: Theme = "light", size: Size = "wide") -> Page:
        context = _context(browser, theme, size)
        contexts.append(context)
        page = context.new_page()
        own = path.resolve().as_uri()
        watch.over(page, may_ask=lambda request: request.is_navigation_request() and request.url.split("#")[0] == own)
        page.goto(own)
        return page

    yield open_page
    for context in contexts:
        context.close()


def _context(browser: Browser, theme: Theme, size: Size) -> BrowserContext:
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=theme,
        reduced_motion="reduce",  # what moves cannot be looked at twice
        has_touch=size == "phone",
        locale="en-GB",
    )
    context.set_default_timeout(PATIENCE)
    return context


# ── what every page is asked ───────────────────────────────────────────────────────────────────────────


# Two frames, in which the new colours are taken, and whatever then fades.
SETTLED = """() => new Promise((next) => requestAnimationFrame(() => requestAnimationFrame(next)))
  .then(() => Promise.allSettled(document.getAnimations().map((one) => one.finished)))
  .then(() => new Promise((next) => requestAnimationFrame(next)))"""


def check_accessible(page: Page, *, themes: tuple[Theme, ...] = THEMES) -> None:
    """Fail with a list of what axe finds, in light and in dark."""
    assert AXE.is_file(), "axe-core is not installed. Run `make web`."
    # Not as a <script>: the studio's own policy lets none in from outside, and rightly.
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(f"() => {{ {AXE.read_text()} }}")
    found: list[str] = []
    for theme in themes:
        page.emulate_media(color_scheme=theme)
        page.evaluate(SETTLED)
        result: dict[str, Any] = page.evaluate("() => axe.run({ resultTypes: ['violations'] })")
        for violation in result["violations"]:
            places = [f"    {' '.join(map(str, node['target']))}\n      {node['html'][:200]}\n      {_reason(node)}"
                      for node in violation["nodes"][:8]]  # fmt: skip
            found.append(
                f"{theme}: {violation['id']} ({violation['impact']}): {violation['help']}\n" + "\n".join(places)
            )
    assert not found, "axe finds:\n" + "\n".join(found)


def _reason(node: dict[str, Any]) -> str:
    return str(node.get("failureSummary", "")).replace("\n", " ")


def check_fits(page: Page, *sizes: Size) -> None:
    """Fail if the page can be scrolled sideways, as it is or in each of some sizes: on a phone nobody does."""
    before = page.viewport_size
    for size in sizes or (None,):
        if size:
            width, height = SIZES[size]
            page.set_viewport_size({"width": width, "height": height})
            page.evaluate(SETTLED)
        wide, seen = page.evaluate("() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide <= seen, f"the page is {wide} pixels wide, but the window shows {seen}"
    if sizes and before:
        page.set_viewport_size(before)


def tab_to(page: Page, target: Locator, *, most: int = 120) -> None:
    """Go to something with the Tab key alone, as those do who have no mouse."""
    for _ in range(most):
        if target.evaluate(
            "(element) => element === document.activeElement || element.contains(document.activeElement)"
        ):
            return
        page.keyboard.press("Tab")
    pytest.fail(f"{target} is not reached with {most} presses of Tab")
