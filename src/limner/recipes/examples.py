"""The traces that open at once in the studio: ``python -m limner.recipes.examples [text|picture]``.

They are made by the bundled models and must be made anew when one of these is exchanged.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from limner.core.errors import ConfigError, DataError, LimnerError, suggest
from limner.models import load

if TYPE_CHECKING:
    from limner.explain.trace import Trace

FOLDER = Path(__file__).parents[1] / "assets" / "examples"
LIMITS = {"text": 400_000, "picture": 2_000_000}  # bytes
CAT, SHEPHERD = "The curious cat climbed", "a German Shepherd wearing a red baseball cap"


def text_example() -> Trace:
    """A text that ``story`` wrote, read again with everything that a page shows."""
    from limner.explain.text_trace import trace_text
    from limner.text.generator import TextGenerator

    model = load("story")
    assert isinstance(model, TextGenerator)
    return trace_text(model, model.generate(CAT, seed=1, max_tokens=44), keep="everything")


def picture_example() -> Trace:
    """A picture that ``picturebook`` painted, some looks of it.

    In float32, in which the studio computes: what it paints anew with a change differs by that change alone.
    """
    from limner.picture.filmstrip import spread
    from limner.picture.generator import PictureGenerator
    from limner.picture.painting import PaintSettings

    painter = load("picturebook")
    assert isinstance(painter, PictureGenerator)
    chosen = spread(PaintSettings().steps, 8)
    return painter.trace(SHEPHERD, seed=0, looks=chosen, detailed=chosen[1::3], self_attention=True)


MAKERS = {"text": ("curious-cat", text_example), "picture": ("german-shepherd", picture_example)}


def make_example(kind: str, folder: Path = FOLDER) -> Path:
    """Make one example and write it; its file.

    Raises:
        ConfigError: there is no such kind.
        DataError: it is larger than a bundled example may be.
    """
    if kind not in MAKERS:
        raise ConfigError(f"the example is {kind!r}, but there is none of that kind. {suggest(kind, MAKERS)}")
    name, make = MAKERS[kind]
    trace = make()
    size = len(trace.to_bytes())
    if size > LIMITS[kind]:
        raise DataError(
            f"the trace is {size:,} bytes long, but a bundled {kind} has {LIMITS[kind]:,}. Keep less of it."
        )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.trace"
    trace.save(path)
    return path


def main() -> int:
    """Make the examples that are named, or all."""
    for kind in sys.argv[1:] or MAKERS:
        try:
            path = make_example(kind)
        except LimnerError as problem:
            sys.stderr.write(f"{type(problem).__name__}: {problem}\n")
            return 2
        sys.stdout.write(f"{path}: {path.stat().st_size:,} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
