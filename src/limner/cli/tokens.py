"""``limner tokens``: how a text becomes tokens, in colour, with ids, bytes and counts."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.core.errors import DataError, WeightsError, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from limner.tokens import Piece, Tokenizer

DEFAULT_MODEL = "story"
SHOWN = 200  # tokens, and in a comparison words; about a screenful of pieces and two of rows
COLOURS = ("black on bright_cyan", "black on bright_yellow")  # neighbours differ; black is readable on both
BETWEEN = "│"  # parts pieces where there is no colour to do so
INSIDE_A_RUN = ("model", "tokenizer")
PICTURES = {" ": "·", "\n": "⏎", "\t": "→", "\r": "␍", "\x7f": "␡"}

app = typer.Typer()


@dataclass(frozen=True)
class Split:
    """One tokenizer's reading of the text."""

    name: str
    tokenizer: Tokenizer
    pieces: list[Piece]


@app.command()
def tokens(
    text: Annotated[
        str | None, typer.Argument(help="The text; read from standard input when it is piped.", show_default=False)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A model's name, its folder, or a tokenizer.json.", show_default=DEFAULT_MODEL),
    ] = None,
    others: Annotated[
        str | None,
        typer.Option("--with", metavar="A,B,…", help="Compare several: names or paths, with commas between."),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, help="Show at most this many tokens (or words); all are counted.")
    ] = SHOWN,
    special: Annotated[bool, typer.Option(help="Read names such as <|end|> in the text as special tokens.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, with every token.")] = False,
) -> None:
    """Show how a text becomes tokens: pieces, ids, bytes and counts.

    In pieces · is a space, ⏎ a new line, and ⟨F0 9F⟩ part of a character.
    """
    text = _text(text)
    names = [name for name in (others or "").split(",") if name.strip()]
    names = list(dict.fromkeys(name.strip() for name in ([model] if model is not None else []) + names))
    names = names or [DEFAULT_MODEL]
    opened = [_open(name) for name in names]
    splits = [
        Split(label, tokenizer, tokenizer.pieces(text, special=special))
        for label, tokenizer in zip(_labels(names), opened, strict=True)
    ]
    if as_json:
        print(json.dumps(_as_json(text, splits), ensure_ascii=False))
    elif len(splits) == 1:
        _show(text, splits[0], limit)
    else:
        _compare(text, splits, limit)


def _text(given: str | None) -> str:
    """The argument, or what is piped in (without the last newline, which is the shell's and not the text's)."""
    if given is None and not sys.stdin.isatty():
        data = sys.stdin.buffer.read()
        try:
            given = data.decode("utf-8").removesuffix("\n")
        except UnicodeDecodeError as error:
            raise DataError(
                f"byte {error.start} of standard input is 0x{data[error.start]:02X}, but that is not UTF-8. "
                "Convert it first, for example: iconv -t utf-8."
            ) from None
    if not given:
        raise DataError(
            f"the text is {'missing' if given is None else 'empty'}, but there must be something to split. "
            'Give a text, as in: limner tokens "AI is amazing".'
        )
    return given


def _open(name: str) -> Tokenizer:
    """The tokenizer of a model by name, of a folder (a model's, a run's, or a tokenizer alone) or of a file."""
    from limner.models import find
    from limner.tokens import Tokenizer

    path = Path(name).expanduser()
    if path.is_file():
        return Tokenizer.load(path)
    try:
        folder = find(name)
    except WeightsError:
        if not path.is_dir():
            raise
        folder = path
    return Tokenizer.load(folder)


def _labels(names: Sequence[str]) -> list[str]:
    """Names short enough for the head of a column: of a path its folder or run, unless two would be the same."""
    short = []
    for name in names:
        path = Path(name).expanduser()
        folder = path.resolve().parent if path.is_file() else path.resolve()
        if folder.name in INSIDE_A_RUN:  # which all runs have; the run's own name tells more
            folder = folder.parent
        short.append(folder.name if path.exists() else name)
    return short if len(set(short)) == len(short) else list(names)


# ── counts ─────────────────────────────────────────────────────────────────────────────────────────────────


def _words(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"\S+", text)]


def _pieces_of_words(words: Sequence[tuple[int, int]], pieces: Sequence[Piece]) -> list[list[Piece]]:
    """The tokens that end in each word; a token with the space before a word is the word's, spaces alone nobody's."""
    of: list[list[Piece]] = [[] for _ in words]
    at = 0
    for piece in pieces:
        while at < len(words) and words[at][1] < piece.end:
            at += 1
        if at < len(words) and words[at][0] < piece.end:
            of[at].append(piece)
    return of


def _ratios(text: str, split: Split) -> dict[str, float]:
    count, words = len(split.pieces), len(_words(text))
    ratios = {"tokens_per_word": count / words} if words else {}
    if count:
        ratios |= {"characters_per_token": len(text) / count, "bytes_per_token": len(text.encode()) / count}
    return ratios


def _as_json(text: str, splits: Sequence[Split]) -> dict[str, Any]:
    words = _words(text)
    return {
        "text": text,
        "characters": len(text),
        "bytes": len(text.encode()),
        "words": len(words),
        "tokenizers": [
            {
                "name": split.name,
                "kind": split.tokenizer.kind,
                "vocab_size": split.tokenizer.vocab_size,
                "fingerprint": split.tokenizer.fingerprint(),
                "count": len(split.pieces),
                **{name: round(value, 4) for name, value in _ratios(text, split).items()},
                "tokens": [
                    {"id": p.id, "piece": p.piece, "bytes": p.bytes.hex(), "start": p.start, "end": p.end}
                    for p in split.pieces
                ],
                "tokens_of_words": [
                    [text[start:end], len(found)]
                    for (start, end), found in zip(words, _pieces_of_words(words, split.pieces), strict=True)
                ],
            }
            for split in splits
        ],
    }


# ── pictures ───────────────────────────────────────────────────────────────────────────────────────────────


def visible(text: str) -> str:
    """A text in which every character can be seen: spaces, line ends, controls and marks without a letter."""
    shown = []
    for index, character in enumerate(text):
        category = unicodedata.category(character)
        if character in PICTURES:
            shown.append(PICTURES[character])
        elif character < " ":
            shown.append(chr(0x2400 + ord(character)))
        elif category in ("Cc", "Cf", "Co", "Cn", "Zl", "Zp") or (category == "Zs"):
            shown.append(f"⟨U+{ord(character):04X}⟩")
        elif category.startswith("M") and index == 0:
            shown.append("◌" + character)
        else:
            shown.append(character)
    return "".join(shown)


def visible_piece(piece: Piece, tokenizer: Tokenizer) -> str:
    """What to show of a token: its text, or its bytes where they are part of a character, or its name."""
    if tokenizer.is_special(piece.id) or piece.id == tokenizer.unknown_id:
        return piece.piece
    if tokenizer.kind == "wordpiece":  # ## says what the text alone does not: this goes on the word before
        return visible(piece.piece)
    try:
        return visible(piece.bytes.decode("utf-8")) or visible(piece.piece)
    except UnicodeDecodeError:
        return f"⟨{_hex(piece.bytes)}⟩"


def _hex(data: bytes) -> str:
    return data.hex(" ").upper()


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


def _coloured(console: Console, pieces: Sequence[Piece], tokenizer: Tokenizer) -> Text:
    from rich.text import Text

    colour = console.color_system is not None and not console.no_color
    line = Text()
    for index, piece in enumerate(pieces):
        if index and not colour:
            line.append(BETWEEN)
        line.append(visible_piece(piece, tokenizer), COLOURS[index % 2] if colour else "")
        if colour and piece.bytes.endswith(b"\n"):
            line.append("\n")
    return line


def _table(**options: Any) -> Table:
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, **options)


def _title(split: Split) -> str:
    return f"{split.name} · {split.tokenizer.kind}, vocabulary of {split.tokenizer.vocab_size:,}"


def _measured(text: str, split: Split) -> str:
    ratios = _ratios(text, split)
    counts = ", ".join(
        [
            counted(len(split.pieces), "token"),
            counted(len(_words(text)), "word"),
            counted(len(text), "character"),
            counted(len(text.encode()), "byte"),
        ]
    )
    measures = [f"{value:.2f} {name.replace('_per_', ' a ')}" for name, value in ratios.items()]
    return f"{counts}: {', '.join(measures)}" if measures else counts


def _show(text: str, split: Split, limit: int) -> None:
    from rich.text import Text

    console = _console()
    pieces = split.pieces[:limit]
    console.print(Text(_title(split), "bold"))
    console.print()
    console.print(_coloured(console, pieces, split.tokenizer))
    table = _table()
    for name in ("piece", "id", "bytes"):
        table.add_column(name, justify="right" if name == "id" else "left", overflow="fold")
    for piece in pieces:
        table.add_row(Text(visible_piece(piece, split.tokenizer)), str(piece.id), _hex(piece.bytes))
    console.print(table)
    console.print(_measured(text, split))
    _rest(len(split.pieces) - len(pieces), "token", len(split.pieces))


def _compare(text: str, splits: Sequence[Split], limit: int) -> None:
    from rich.text import Text

    console = _console()
    summary = _table()
    for name in (
        "tokenizer",
        "kind",
        "vocabulary",
        "tokens",
        "tokens\na word",
        "characters\na token",
        "bytes\na token",
    ):
        summary.add_column(
            name,
            justify="left" if name in ("tokenizer", "kind") else "right",
            no_wrap=name != "tokenizer",
            overflow="fold",
        )
    for split in splits:
        ratios = [
            f"{value:.2f}" if (value := _ratios(text, split).get(name)) is not None else "–"
            for name in ("tokens_per_word", "characters_per_token", "bytes_per_token")
        ]
        tokenizer = split.tokenizer
        summary.add_row(
            Text(split.name), tokenizer.kind, f"{tokenizer.vocab_size:,}", f"{len(split.pieces):,}", *ratios
        )
    console.print(summary)
    for split in splits:
        console.print(Text(split.name, "bold"))
        console.print(_coloured(console, split.pieces[:limit], split.tokenizer))
        console.print()
    words = _words(text)
    found = [_pieces_of_words(words, split.pieces) for split in splits]
    table = _table()
    for name in ("word", *(split.name for split in splits)):
        table.add_column(name, overflow="fold")
    for index, (start, end) in enumerate(words[:limit]):
        row = [Text(visible(text[start:end]))]
        for split, of in zip(splits, found, strict=True):
            cell = Text(f"{len(of[index])}  ", "bold")
            row.append(cell.append_text(_coloured(console, of[index], split.tokenizer)))
        table.add_row(*row)
    if words:
        console.print(table)
    console.print(
        ", ".join([counted(len(words), "word"), counted(len(text), "character"), counted(len(text.encode()), "byte")])
    )
    _rest(len(words) - limit, "word", len(words))


def _rest(hidden: int, name: str, total: int) -> None:
    if hidden > 0:
        typer.echo(
            f"{counted(hidden, name)} more not shown. Show them with --limit {total}, or all data with --json.",
            err=True,
        )
