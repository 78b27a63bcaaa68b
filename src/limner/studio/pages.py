"""The built pages: which file an address stands for, and what to say where nothing is built."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

# By name and not as the system has them: some call scripts plain text, which a browser then refuses to run.
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webp": "image/webp",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}
FOR_GOOD = "public, max-age=31536000, immutable"  # files whose names change with their content
ASK_AGAIN = "no-cache"


class Page(NamedTuple):
    """A file to send.

    Attributes:
        keep: how long a browser may.
    """

    file: Path
    kind: str
    keep: str


def find_page(folder: Path, path: str) -> Page | None:
    """The file for an address; one without a dot in its last part is a page, all of which are one file.

    Returns:
        None where there is none; nothing outside the folder is ever found.
    """
    name = path if "." in path.rpartition("/")[2] else "index.html"
    root = folder.resolve()
    try:
        file = (root / name).resolve()
        if not file.is_relative_to(root) or not file.is_file() or file.suffix not in KINDS:
            return None
    except (OSError, ValueError):  # a name too long, or with a zero byte
        return None
    return Page(file, KINDS[file.suffix], FOR_GOOD if "assets" in file.relative_to(root).parts[:-1] else ASK_AGAIN)


def missing_page() -> str:
    """What the browser shows where the pages are not built."""
    return """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>limner studio</title>
<style>body{font:1.1rem/1.6 system-ui,sans-serif;max-width:38rem;margin:4rem auto;padding:0 1rem;color-scheme:light dark}
code{background:#8883;padding:.1em .3em;border-radius:.2em}</style></head>
<body><h1>The pages are not built</h1>
<p>The studio is running, but the pages that it shows are missing from this copy of limner. In its source folder, run
<code>make web</code> and load this page again. A limner that was installed with pip has them.</p></body></html>
"""
