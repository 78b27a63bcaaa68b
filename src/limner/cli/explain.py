"""``limner explain``: look inside a model while it reads a text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.prompt import DEFAULT_MODEL, open_generator, quoted, read_prompt
from limner.core.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from limner.explain.guess import Guess
    from limner.explain.lens import Look
    from limner.text.generator import TextGenerator
    from limner.text.record import Generation

NARROWEST = 160  # columns when the output is not a terminal, so that no line is broken
ENDINGS = (".html", ".trace")
TOP, TEMPERATURE = 10, 0.8  # where none is given
BAR = 24  # characters of the longest bar

app = typer.Typer()


@app.command()
def explain(
    text: Annotated[
        str | None, typer.Argument(help="The text; read from standard input when it is piped.", show_default=False)
    ] = None,
    model: Annotated[
        str, typer.Option(help="A model's name or its folder; `limner models` lists them.")
    ] = DEFAULT_MODEL,
    top: Annotated[
        int | None, typer.Option(help="Without -o: how many next tokens to list.", show_default=str(TOP))
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE",
            help="Write what is inside instead: a page that opens in any browser (.html), or its numbers (.trace).",
        ),
    ] = None,
    max_tokens: Annotated[
        int, typer.Option(help="With -o: first write so many tokens. 0: read the text and no more.")
    ] = 0,
    seed: Annotated[
        int | None, typer.Option(help="With --max-tokens: the same seed writes the same text.", show_default="random")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="With --max-tokens: as for `limner write`.", show_default=str(TEMPERATURE))
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="With -o: replace a file that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object with all numbers.")] = False,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda, mps.")] = "cpu",
    dtype: Annotated[
        str | None, typer.Option(help="What to compute in, such as bfloat16.", show_default="float32")
    ] = None,
) -> None:
    """Look inside a model while it reads a text.

    Tokens and how long their vectors are; where the last token looks in each layer, and what each layer would
    say next; the ten most likely next tokens. With -o, all of it and more as a page of its own.
    """
    written = {"--seed": seed is not None, "--temperature": temperature is not None}
    if out is None:
        given = [
            name
            for name, is_given in {"--max-tokens": bool(max_tokens), **written, "--force": force}.items()
            if is_given
        ]
        if given:
            raise ConfigError(
                f"{given[0]} is given without -o, but it is for what -o writes. Add -o, such as -o report.html."
            )
    else:
        if top is not None:
            raise ConfigError("--top is given with -o, but a file has all that it can list. Leave --top out.")
        for name, is_given in written.items():
            if is_given and not max_tokens:
                raise ConfigError(
                    f"{name} is given without --max-tokens, but then nothing is written on. Add --max-tokens, such as 40."
                )
        _check_out(out, force, as_json)
    prompt = read_prompt(text)
    generator = open_generator(model, device=device, dtype=dtype)
    if out is not None:
        heat = TEMPERATURE if temperature is None else temperature
        _write(generator, prompt, out, max_tokens=max_tokens, seed=seed, temperature=heat)
        return
    from limner.explain.lens import look

    view = look(generator, prompt, top=TOP if top is None else top)
    if as_json:
        import json

        named = {"text": prompt, "model": generator.card.get("name"), **view.to_dict()}
        print(json.dumps(named, ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    console = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else NARROWEST)
    _show(console, view)


def _check_out(out: Path, force: bool, as_json: bool) -> None:
    """What can be said before the model is opened."""
    if as_json:
        raise ConfigError("--json and -o are both given, but each has its own form. Give one of them.")
    if out.suffix.lower() not in ENDINGS:
        raise ConfigError(f"-o is {out}, but a page ends in .html and a trace in .trace. Choose one of these endings.")
    if out.is_dir():
        raise ConfigError(f"{out} is a folder, but a file is to be written there. Choose another name with -o.")
    if out.exists() and not force:
        raise ConfigError(f"{out} is there already, but nothing is overwritten. Choose another -o, or add --force.")
    if not out.parent.is_dir():
        raise ConfigError(f"-o is {out}, but there is no folder {out.parent}. Make it, or choose another place.")
    if out.suffix.lower() == ".html":
        from limner.explain.report import check_page

        check_page()


def _write(
    generator: TextGenerator, prompt: str, out: Path, *, max_tokens: int, seed: int | None, temperature: float
) -> None:
    """Read the text, or write it on first, and put what is inside into a file."""
    from limner.explain.text_trace import trace_text

    source: str | Generation = prompt
    if max_tokens:
        source = generator.generate(prompt, max_tokens=max_tokens, seed=seed, temperature=temperature)
    trace = trace_text(generator, source, keep="everything")
    if out.suffix.lower() == ".trace":
        trace.save(out)
    else:
        from limner.explain.interventions import interventions
        from limner.explain.report import write_report

        write_report(trace, out, extra=interventions(generator, trace))
    if not isinstance(source, str):
        print(f"seed {source.seed}", file=sys.stderr)
    print(out)


def _show(console: Console, view: Look) -> None:
    from rich.text import Text

    console.print(Text("Tokens", "bold"), Text("the text as the model reads it, and the length of each vector", "dim"))
    table = _table(console, ("", "token", "id", "norm"), right=(0, 2, 3))
    for place, token in enumerate(view.tokens):
        table.add_row(Text(str(place), "dim"), _name(token.text), str(token.id), f"{token.norm:.2f}")
    console.print(table)
    last = _name(view.tokens[-1].text)
    console.print(
        Text("Layers", "bold"),
        Text.assemble(("where ", "dim"), last, (" looks, and what it would say next after each layer", "dim")),
    )
    table = _table(console, ("layer", "all heads look at", "strongest head", "looks at", "would say"), right=(0, 2))
    table.add_row(Text("0", "dim"), "", "", "", _guesses(view.before[:3]))
    for layer in view.layers:
        table.add_row(
            Text(str(layer.layer + 1), "dim"),
            _looks(view, layer.attention),
            str(layer.head),
            _looks(view, layer.head_attention),
            _guesses(layer.guesses[:3]),
        )
    console.print(table)
    console.print(Text("Next", "bold"), Text("the model's own prediction", "dim"))
    table = _table(console, ("", "token", "id", "probability", ""), right=(0, 2, 3))
    for place, guess in enumerate(view.next, 1):
        bar = Text("█" * round(BAR * guess.probability / view.next[0].probability), "green")
        table.add_row(Text(str(place), "dim"), _name(guess.text), str(guess.id), f"{guess.probability:.2%}", bar)
    console.print(table)


def _table(console: Console, headings: tuple[str, ...], right: tuple[int, ...]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, header_style="bold cyan", pad_edge=False)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place in right else "left")
    return table


def _name(text: str) -> Any:
    """A token in quotes, so that spaces are seen."""
    from rich.text import Text

    return Text(quoted(text), "cyan")


def _looks(view: Look, attention: list[float]) -> Any:
    """The three tokens that are looked at most."""
    from rich.text import Text

    best = sorted(range(len(attention)), key=lambda place: -attention[place])[:3]
    parts = [Text.assemble(_name(view.tokens[place].text), (f" {attention[place]:.0%}", "dim")) for place in best]
    return Text("  ").join(parts)


def _guesses(guesses: list[Guess]) -> Any:
    from rich.text import Text

    return Text("  ").join(Text.assemble(_name(g.text), (f" {g.probability:.0%}", "dim")) for g in guesses)
