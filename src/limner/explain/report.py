"""A run as one file that anybody can open: a page that shows it, and the numbers, with nothing to be fetched.

    write_report(trace, "cat.html")

The page is the studio's own, built into one file (web/, ``make web``). Into it go the traces, as the very bytes of their
files, and whatever was computed beforehand, as JSON. Both stand in elements that no browser runs, in an alphabet that
cannot end them, and the page's security policy lets its own script run and nothing else.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from limner.core.errors import ConfigError, DataError
from limner.explain.trace import Trace
from limner.weights.files import reason, whole_file

PAGE = Path(__file__).parents[1] / "assets" / "web" / "report.html"
VERSION = 1  # of what is written into the page; web/src/report/embedded.ts reads it
MAIN = "run"  # the id of the trace that the report is about
LONGEST_TITLE = 200  # characters
PLACE = re.compile(r'<script type="application/json" id="limner-report">\s*null\s*</script>')
TITLE = re.compile(r"<title>[^<]*</title>")
ID = re.compile(r"[A-Za-z0-9_.-]+")
# In JSON these stand for the characters themselves; in a page the first three would be markup, and the last two end a
# line of a script.
HARMLESS = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})


def write_report(
    trace: Trace,
    path: Path | str,
    *,
    title: str | None = None,
    extra: Mapping[str, Any] | None = None,
    others: Mapping[str, Trace] | None = None,
    page: Path = PAGE,
) -> None:
    """Write one file that shows a run in any browser, offline; it is whole or not there.

    Args:
        trace: of a text or a picture.
        path: of the file to write, such as ``cat.html``.
        title: its heading; None: the prompt.
        extra: plain JSON values that the page shows besides, such as what ``interventions`` returns.
        others: further traces by id, which ``extra`` refers to.
        page: the built page.
    Raises:
        ConfigError: an id of ``others`` that is none.
        DataError: the page is not built, or is another one; the file cannot be written.
    """
    traces = {MAIN: trace, **(others or {})}
    for id in traces:
        if not ID.fullmatch(id) or (id == MAIN and id in (others or {})):
            raise ConfigError(
                f"others has {id!r}, but an id is letters, digits, dots, lines, and not {MAIN!r}. Choose another name."
            )
    content = fill(_page(page), traces, _title(trace) if title is None else title, dict(extra or {}))
    path = Path(path)
    try:
        with whole_file(path) as fresh:
            fresh.write_bytes(content.encode("utf-8"))
    except OSError as problem:
        raise DataError(
            f"{path} cannot be written: {reason(problem)}, but a report is a file. Choose another place or free some space."
        ) from problem


def check_page(page: Path = PAGE) -> None:
    """Say now what ``write_report`` would say after a long run.

    Raises:
        DataError: the page is not built, or is another one.
    """
    _page(page)


def fill(page: str, traces: Mapping[str, Trace], title: str, extra: dict[str, Any]) -> str:
    """The page with traces and extras in it; the first trace is what it is about."""
    from limner import __version__

    title = _whole(title)[:LONGEST_TITLE]
    said = {
        "version": VERSION,
        "title": title,
        "made_with": f"limner {__version__}",
        "traces": list(traces),
        "extra": extra,
    }
    described = json.dumps(said, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(HARMLESS)
    parts = [f'<script type="application/json" id="limner-report">{_whole(described)}</script>']
    for id, trace in traces.items():
        kept = b64encode(trace.to_bytes()).decode("ascii")
        parts.append(f'<script type="application/x-limner-trace" data-id="{id}">{kept}</script>')
    # functions, because what is put in has backslashes, which a replacement would understand
    page = TITLE.sub(lambda _: f"<title>{escape(title)}</title>", page, count=1)
    return PLACE.sub(lambda _: "\n    ".join(parts), page, count=1)


def _page(path: Path) -> str:
    try:
        page = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(
            f"the report's page {path} is missing, but a report is written into it. In limner's source folder run "
            "`make web`; a limner that was installed with pip has it."
        ) from None
    except (OSError, UnicodeDecodeError) as problem:
        raise DataError(
            f"the report's page {path} cannot be read: {problem}, but a report is written into it. Run `make web`, or install limner again."
        ) from problem
    if len(PLACE.findall(page)) != 1:
        raise DataError(
            f"the report's page {path} has {len(PLACE.findall(page))} places for a run, but it must have one. "
            "Run `make web`, or install limner again."
        )
    return page


def _title(trace: Trace) -> str:
    """The prompt; of a text that was only read, the text."""
    about = trace.about
    if trace.kind == "picture":
        return str(about.get("settings", {}).get("prompt") or "") or "A picture"
    if (run := about.get("run")) is not None:
        return str(run["prompt"]) or "A text from its beginning"
    text = "".join(token["text"] for token in about["tokens"] if not token["special"])
    return text.strip() or "A text"


def _whole(text: str) -> str:
    """The text without halves of surrogate pairs, which UTF-8 does not have."""
    return text.encode("utf-8", "replace").decode("utf-8")
