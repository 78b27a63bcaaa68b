"""How fluid the largest figures are: times between frames while somebody moves over them.

For each figure: how long frames took while it was drawn, and while the pointer, the wheel or the keys moved: median, 95th
percentile, largest. In the gallery (web/README.md says how it is built) and a Chromium without a GPU.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING

from bench.chromium import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Page

GALLERY = Path(__file__).parents[1] / "web" / "node_modules" / ".gallery" / "gallery.html"
WATCH = """() => {
  window.__frames = []; window.__long = [];
  new PerformanceObserver((list) => { for (const entry of list.getEntries()) window.__long.push(entry.duration); })
    .observe({ type: 'longtask' });
  let last = performance.now();
  const tick = (now) => { window.__frames.push(now - last); last = now; requestAnimationFrame(tick); };
  requestAnimationFrame(tick);
}"""


def times(page: Page) -> str:
    """What was noted since the last call, in a line."""
    frames = sorted(page.evaluate("window.__frames.splice(0)"))[:-1]
    long = page.evaluate("window.__long.splice(0)")
    p95 = frames[int(len(frames) * 0.95)]
    return (
        f"{len(frames)} frames, median {statistics.median(frames):.1f} ms, 95 % {p95:.1f} ms, largest {frames[-1]:.1f} ms, "
        f"{len(long)} tasks over 50 ms"
    )


def main() -> None:
    """Measure and print."""
    if not GALLERY.exists():
        raise SystemExit(f"{GALLERY} is not there. In web/: npx vite build --config dev/vite.gallery.config.ts.")
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 1100})

        page.goto(f"{GALLERY.as_uri()}?only=grid&tokens=512&layers=12&heads=12", wait_until="commit")
        page.wait_for_selector("[role=application]", timeout=120_000)
        page.evaluate(WATCH)
        page.wait_for_selector("[role=application][aria-busy=false]", timeout=120_000)
        print("attention 512 × 12 × 12, while the squares are made:", times(page))
        box = page.locator("[role=application]").bounding_box()
        assert box is not None
        for step in range(240):
            page.mouse.move(
                box["x"] + 30 + (step * 4) % (box["width"] - 40), box["y"] + 30 + (step * 7) % (box["height"] - 40)
            )
        print("attention 512 × 12 × 12, pointer over the heads:    ", times(page))
        page.locator("[role=application]").focus()
        for _ in range(60):
            page.keyboard.press("ArrowRight")
            page.keyboard.press("ArrowDown")
        print("attention 512 × 12 × 12, arrow keys:                ", times(page))
        for width in (1100, 1440, 900, 1440):
            page.set_viewport_size({"width": width, "height": 1100})
            page.wait_for_timeout(400)
        print("attention 512 × 12 × 12, window made wider, narrower:", times(page))

        page.goto(f"{GALLERY.as_uri()}?only=map&tokens=8&layers=1&heads=1&words=50000", wait_until="load")
        page.wait_for_selector("[role=application]")
        page.wait_for_timeout(1500)
        page.evaluate(WATCH)
        page.locator("[role=application]").focus()
        box = page.locator("[role=application]").bounding_box()
        assert box is not None
        middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.move(*middle)
        page.wait_for_timeout(500)
        print("map of 50,000 words, the first pointing (its tree):  ", times(page))
        for step in range(200):
            page.mouse.move(middle[0] + (step * 3) % 200 - 100, middle[1] + (step * 5) % 160 - 80)
        print("map of 50,000 words, pointer:                       ", times(page))
        for step in range(60):
            page.mouse.wheel(0, -60 if step < 30 else 60)
            page.wait_for_timeout(16)
        print("map of 50,000 words, wheel:                         ", times(page))
        page.mouse.move(*middle)
        page.mouse.down()
        for step in range(150):
            page.mouse.move(middle[0] + (step * 3) % 240 - 120, middle[1] + (step * 2) % 160 - 80)
        page.mouse.up()
        print("map of 50,000 words, dragged:                       ", times(page))


if __name__ == "__main__":
    main()
