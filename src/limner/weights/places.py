"""Where things are kept on a person's machine that can be made again."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """Where things of a kind are kept, such as ``corpora``: in ``$LIMNER_CACHE``, or in the cache folder of the person."""
    if own := os.environ.get("LIMNER_CACHE"):
        return Path(own) / kind
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "limner" / kind


def mark_used(path: Path) -> None:
    """Say of what was found kept that it was used now; it may lie where nothing can be written."""
    with suppress(OSError):
        os.utime(path)
