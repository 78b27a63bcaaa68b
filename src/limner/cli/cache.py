"""``limner cache``: what is kept of prepared data, how large it is, and away with it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limner.core.errors import DataError, LimnerError, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from limner.data.cache import Kept

DAY = 86_400

app = typer.Typer()


@app.command()
def cache(
    folder: Annotated[
        Path | None, typer.Argument(help="A folder that was given to --cache. Default: your own cache.")
    ] = None,
    unused: Annotated[
        float | None, typer.Option(min=0, metavar="DAYS", help="Only what was not used for so many days.")
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Remove what is listed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """List the texts and pictures that were prepared for training, latents, and compiled routines; --clear removes them.

    All of it is made again when it is needed. A run that trains on it keeps what it has opened, and what is being made
    just now is left.
    """
    from limner.data.cache import list_kept, remove_kept

    if folder is not None and not folder.is_dir():
        raise DataError(f"{folder} is no folder, but a cache is one. Give one that was given to --cache, or none.")
    now = time.time()
    kept = [one for one in list_kept(folder) if unused is None or now - one.used >= unused * DAY]
    left: list[LimnerError] = []
    if clear:
        for one in list(kept):
            try:
                remove_kept(one)
            except LimnerError as problem:
                left.append(problem)
                kept.remove(one)
    if as_json:
        listed = "removed" if clear else "kept"
        told = {listed: [one.to_dict() for one in kept], "bytes": sum(one.bytes for one in kept)}
        print(json.dumps(told, ensure_ascii=False, indent=2))
    else:
        nothing = "Nothing of limner's is kept there." if folder is not None else "Nothing is kept here."
        if unused is not None:
            nothing = f"Nothing was unused for {unused:g} days."
        _show(kept, now, "Nothing was removed." if left else nothing, removed=clear)
    if left:
        others = f" Nor could {len(left) - 1} more." if len(left) > 1 else ""
        raise DataError(f"{left[0]}{others}")


def _show(kept: Sequence[Kept], now: float, nothing: str, *, removed: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from limner.data.report import readable_size

    if not kept:
        Console(stderr=True).print(nothing)
        return
    console = Console()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("kind", no_wrap=True)
    table.add_column("on disk", justify="right", no_wrap=True)
    table.add_column("last used", justify="right", no_wrap=True)
    table.add_column("path", overflow="fold")
    for one in kept:
        table.add_row(
            Text(one.what, "bold cyan"), readable_size(one.bytes), _ago(now - one.used), Text(str(one.path), "dim")
        )
    console.print(table, soft_wrap=not console.is_terminal)
    said = f"{counted(len(kept), 'thing')}, {readable_size(sum(one.bytes for one in kept))}"
    Console(stderr=True).print(f"Removed {said}." if removed else f"{said}. Add --clear to remove them.")


def _ago(seconds: float) -> str:
    days = int(seconds // DAY)
    return "today" if days < 1 else f"{counted(days, 'day')} ago"
