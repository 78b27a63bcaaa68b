"""``limner data``: training data that limner makes itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from limner.core.errors import ConfigError

app = typer.Typer(no_args_is_help=True)


class Which(StrEnum):
    """Which combinations of animal, hat and colour."""

    train = "train"
    triples = "triples"
    pairs = "pairs"
    any = "any"


class Format(StrEnum):
    """How pictures are stored."""

    folder = "folder"
    parquet = "parquet"


@app.callback()
def data() -> None:
    """Make training data."""


@app.command()
def picturebook(
    out: Annotated[Path, typer.Argument(help="A new folder; with --show, the PNG to write.")],
    count: Annotated[
        int | None, typer.Option(min=1, help="How many pictures.", show_default="1000, with --show 24")
    ] = None,
    size: Annotated[int, typer.Option(min=32, max=1024, help="Pixels a side.")] = 128,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same pictures.")] = 0,
    which: Annotated[
        Which,
        typer.Option(help="train: nothing that is held back; triples, pairs: only what is; any: everything."),
    ] = Which.train,
    format: Annotated[Format, typer.Option(help="folder: PNGs and metadata.jsonl; parquet: one file.")] = Format.folder,
    two: Annotated[float, typer.Option(min=0, max=1, help="The share of pictures with two animals.")] = 0.3,
    masks: Annotated[bool, typer.Option("--masks", help="Write masks of animals and hats too.")] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Write one sheet of pictures with captions, to look at.")
    ] = False,
) -> None:
    """Draw captioned pictures of animals in hats, with their truth.

    Each comes with what it shows, and with boxes around animals and hats. Other tools read the folder as they read
    their own: load_dataset("imagefolder", data_dir=OUT).
    """
    from limner.picture.world.write import write_pictures, write_sheet

    if show:
        if masks or format is not Format.folder:
            raise ConfigError(
                f"--{'masks' if masks else 'format'} is given beside --show, but that writes one sheet to look at. Drop it."
            )
        count = count or 24
        write_sheet(out, count, size, seed, which.value, two)
        print(f"Written to {out}: {count} pictures on one sheet.")
        return
    count = count or 1000
    with _progress(count) as progress:
        write_pictures(out, count, size, seed, which.value, format.value, masks=masks, two=two, progress=progress)
    print(f"Written to {out}: {count:,} pictures of {size} × {size} pixels.")


@contextmanager
def _progress(count: int) -> Iterator[Callable[[int], None] | None]:
    """A bar on standard error, where somebody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("drawing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=count)
        yield lambda done: bar.update(task, completed=done)
