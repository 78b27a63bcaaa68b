"""``limner models``: what can be loaded, with size, licence and what it was trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def models(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Folders to look into as well: models, runs, or directories of them.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """List the models that can be loaded: bundled, in the directory $LIMNER_MODELS, and in folders you give.

    Each is opened by its name or path: limner write "Once upon a time" --model NAME. For picture generators, context is
    the most tokens of a prompt.
    """
    from limner.models import VARIABLE, catalogue

    entries = catalogue(folders or [])
    if as_json:
        print(json.dumps({"models": [entry.to_dict() for entry in entries]}, ensure_ascii=False, indent=2))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not entries:
        Console(stderr=True).print(f"No models here. Give a folder, or set {VARIABLE} to a directory of models.")
        return
    console = Console()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("name", "kind", "parameters", "on disk", "context"):
        right = heading in ("parameters", "on disk", "context")
        table.add_column(heading, justify="right" if right else "left", no_wrap=heading != "name", overflow="fold")
    table.add_column("trained on · licence · path", overflow="fold")
    for entry in entries:
        path = Text(entry.path, "dim")
        if entry.problem is not None:
            told = Text.assemble(("cannot be loaded: ", "bold red"), (entry.problem, "red"), "\n", path)
            table.add_row(Text(entry.name, "bold"), "", "", "", "", told)
            continue
        size = "" if entry.pixels is None else f" {entry.pixels[0]} × {entry.pixels[1]}"
        said = "\n".join(part for part in (entry.trained_on, entry.licence) if part)
        table.add_row(
            Text(entry.name, "bold cyan"),
            entry.kind.removesuffix(" generator") + size,
            shortened(entry.parameters),
            f"{entry.bytes / 1e6:.1f} MB",
            f"{entry.context:,}" if entry.context else "",
            Text.assemble(said, "\n" if said else "", path),
        )
    console.print(table, soft_wrap=not console.is_terminal)


def shortened(number: int) -> str:
    """Three digits that count: 8,735,104 → 8.74M."""
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return str(number)
