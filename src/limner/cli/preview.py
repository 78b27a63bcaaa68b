"""What a person sees while a picture is painted: a bar with the time left, and the picture itself where it can be shown."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.Image import Image
    from rich.console import Console, ConsoleOptions, RenderResult

    from limner.picture.generator import OnStep, PictureGenerator
    from limner.picture.painting import Look

MOST_COLUMNS = 64  # of characters that a preview takes
BESIDE = 4  # rows of the terminal that are left for the bar and what stands before it


class HalfBlocks:
    """A picture as coloured characters: each ▀ is two pixels, one above the other.

    Args:
        image: as large as it is shown: one pixel a column, two a row.
    """

    def __init__(self, image: Image) -> None:
        self.image = image.convert("RGB")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One segment a character, one line for two rows of pixels."""
        from rich.color import Color
        from rich.segment import Segment
        from rich.style import Style

        width, height = self.image.size
        data = self.image.tobytes()

        def colour(row: int, column: int) -> Color:
            return Color.from_rgb(*data[3 * (row * width + column) :][:3])

        for row in range(0, height - 1, 2):
            for column in range(width):
                yield Segment("▀", Style(color=colour(row, column), bgcolor=colour(row + 1, column)))
            yield Segment.line()


def shrunk(image: Image, columns: int, rows: int) -> Image:
    """As large as fits into so many characters, with an even height; never larger than it is."""
    from PIL.Image import Resampling

    scale = min(1.0, columns / image.width, 2 * rows / image.height)
    size = (max(1, int(image.width * scale)), max(2, int(image.height * scale) // 2 * 2))
    return image if size == image.size else image.resize(size, Resampling.BOX)


def can_show(console: Console) -> bool:
    """Whether pictures can be shown: a terminal with all colours, letters beyond ASCII, and some room."""
    return (
        console.is_terminal
        and not console.no_color
        and console.color_system == "truecolor"
        and console.encoding.startswith("utf")
        and console.height >= BESIDE + 4
    )


@contextmanager
def painting(generator: PictureGenerator, total: int, *, preview: bool) -> Iterator[OnStep | None]:
    """The callback that shows each look on standard error; None where that is no terminal.

    Args:
        total: pictures.
        preview: show what is seen in them too, if the terminal can.
    """
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=console)
    task = progress.add_task("painting", total=None)
    shows = preview and can_show(console)
    # What is printed meanwhile appears above the picture; but what is piped elsewhere must go there.
    to_screen = sys.stdout.isatty()
    with Live(progress, console=console, transient=True, refresh_per_second=8, redirect_stdout=to_screen) as live:
        first, ended = 0, True  # of the pictures that take turns now; whether those before them have come to their end

        def on_step(number: int, looks: int, look: Look) -> None:
            nonlocal first, ended
            if look.number == 0 and ended:
                first = number
            ended = look.number == looks - 1
            some = f"picture {first + 1}" if number == first else f"pictures {first + 1} to {number + 1}"
            which = f"{some} of {total}, " if total > 1 else ""
            step = f"{which}step {look.number + 1} of {looks}"
            progress.update(task, total=looks * total, advance=1, description=step)
            if shows and number == first:
                room = min(MOST_COLUMNS, console.width), console.height - BESIDE
                live.update(Group(HalfBlocks(shrunk(generator.show(look.seen), *room)), progress))

        yield on_step
