"""``limner write``: continue a text, on the screen as it comes, as JSON, or with every token's probability."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.prompt import DEFAULT_MODEL, open_generator, plain, quoted, read_prompt
from limner.core.errors import counted

if TYPE_CHECKING:
    from limner.text.generator import Stream, TextGenerator
    from limner.text.record import Candidate, Event

RUNNERS_UP = 5
ONE_THREAD_BELOW = 20_000_000  # parameters; on a busy machine threads wait for each other longer than a step takes

app = typer.Typer()


class Window(StrEnum):
    """What happens when the context window is full."""

    error = "error"
    slide = "slide"


@app.command()
def write(
    prompt: Annotated[
        str | None,
        typer.Argument(
            help="What to continue; read from standard input when it is piped. None: a text from its beginning.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str, typer.Option(help="A model's name or its folder; `limner models` lists them.")
    ] = DEFAULT_MODEL,
    max_tokens: Annotated[int, typer.Option(help="The most tokens to write.")] = 200,
    temperature: Annotated[
        float, typer.Option(help="Above 1 more surprising, below 1 less; 0: no chance at all.")
    ] = 0.8,
    top_k: Annotated[int, typer.Option(help="Draw from the k most likely tokens only; 0: no limit.")] = 0,
    top_p: Annotated[float, typer.Option(help="Draw from the fewest tokens that hold this much probability.")] = 0.95,
    min_p: Annotated[float, typer.Option(help="Draw from tokens at least this share as likely as the best.")] = 0.0,
    repetition_penalty: Annotated[float, typer.Option(help="Above 1: what is there already is less likely.")] = 1.0,
    greedy: Annotated[bool, typer.Option("--greedy", help="The most likely token each time.")] = False,
    stop: Annotated[list[str] | None, typer.Option(help="End before this text; may be given several times.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same text; text i uses seed + i.", show_default="random")
    ] = None,
    n: Annotated[int, typer.Option(help="How many texts.")] = 1,
    window: Annotated[
        Window, typer.Option(help="When the context window is full: stop, or let the older half go and write on.")
    ] = Window.error,
    show: Annotated[
        bool, typer.Option("--show", help="Colour each token by its probability, and list the five runners-up.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="One JSON object a text: ids, seed, settings, probabilities; with --show runners-up."
        ),
    ] = False,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda, mps.")] = "cpu",
    dtype: Annotated[
        str | None, typer.Option(help="What to compute in, such as bfloat16.", show_default="float32")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Processor threads.", show_default="1 for a small model, else as torch chooses")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say the seed, the speed and why it ended.")] = False,
) -> None:
    """Continue a text with a model.

    The prompt and what follows are shown as they come. Piped, the output is plain text.
    """
    text = read_prompt(prompt)
    generator = open_generator(model, device=device, dtype=dtype, threads=threads)
    if threads is None and generator.parameters < ONE_THREAD_BELOW:
        import torch

        torch.set_num_threads(1)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a letter shows ? and does not end the text
    stream = generator.stream(
        text, n=n, max_tokens=max_tokens, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p,
        repetition_penalty=repetition_penalty, greedy=greedy, stop=stop or (), seed=seed, window=window.value,
        record=show or as_json,
    )  # fmt: skip
    if verbose:
        print(f"seed {stream.seeds[0]}", file=sys.stderr)
    clock = _Clock()
    if as_json:
        _print_json(generator, stream, clock, show=show)
    elif show:
        _print_shown(generator, stream, text, clock)
    else:
        _print_text(stream, text, clock)
    _say_how_it_ended(generator, stream, clock, verbose)


class _Clock:
    """How long each token took."""

    def __init__(self) -> None:
        from time import perf_counter

        self.now = perf_counter
        self.start = perf_counter()
        self.first: float | None = None
        self.tokens = 0

    def tick(self) -> None:
        if self.first is None:
            self.first = self.now()
        self.tokens += 1


def _print_json(generator: TextGenerator, stream: Stream, clock: _Clock, *, show: bool) -> None:
    """An object a text; with ``show`` also what --show lists: each token's own text and chance, and the runners-up."""
    import json

    events: list[list[Event]] = [[] for _ in stream.seeds]
    for event in stream:
        clock.tick()
        if show:
            events[event.sample].append(event)
    for made, generation in zip(events, stream.generations, strict=True):
        values = generation.to_dict()
        if show:
            values["tokens"] = [
                {
                    "id": event.id,
                    "token": generator.token_text(event.id),
                    "probability": _share(event.logprob),
                    "runners_up": [
                        {
                            "id": other.id,
                            "token": generator.token_text(other.id),
                            "probability": _share(other.logprob),
                        }
                        for other in _runners_up(event)
                    ],
                }
                for event in made
            ]
        print(json.dumps(values, ensure_ascii=False, allow_nan=False))


def _print_text(stream: Stream, prompt: str, clock: _Clock) -> None:
    """The first text as it comes, the others after it; they are all made at the same time."""
    out = sys.stdout
    clean: Callable[[str], str] = plain if out.isatty() else str
    later: list[list[str]] = [[] for _ in stream.seeds]
    out.write(_heading(stream, 0) + clean(prompt))
    out.flush()
    for event in stream:
        clock.tick()
        if event.sample > 0:
            later[event.sample].append(event.text)
        elif event.text:
            out.write(clean(event.text))
            out.flush()
    out.write("\n")
    for sample, pieces in list(enumerate(later))[1:]:
        out.write(f"\n{_heading(stream, sample)}{clean(prompt + ''.join(pieces))}\n")


def _heading(stream: Stream, sample: int) -> str:
    """A line over each of several texts."""
    many = len(stream.seeds)
    return f"--- {sample + 1} of {many}, seed {stream.seeds[sample]} ---\n" if many > 1 else ""


def _print_shown(generator: TextGenerator, stream: Stream, prompt: str, clock: _Clock) -> None:
    """Each text in colour, then its tokens, a line each."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True, emoji=False, markup=False)
    events: list[list[Event]] = [[] for _ in stream.seeds]
    console.print(_heading(stream, 0) + plain(prompt), end="")
    for event in stream:
        clock.tick()
        events[event.sample].append(event)
        if event.sample == 0:
            console.print(Text(plain(event.text), _style(event)), end="")
            sys.stdout.flush()
    for sample, made in enumerate(events):
        if sample > 0:
            console.print(_heading(stream, sample) + plain(prompt), end="")
            for event in made:
                console.print(Text(plain(event.text), _style(event)), end="")
        console.print("\n")
        for event in made:
            console.print(_line(generator, event))
        if sample + 1 < len(events):
            console.print()


def _style(event: Event) -> str:
    """From red, unlikely, over yellow to green, nearly certain."""
    probability = _share(event.logprob)
    for floor, colour in ((0.5, "green"), (0.2, "bright_green"), (0.05, "yellow"), (0.01, "dark_orange")):
        if probability >= floor:
            return colour
    return "red"


def _line(generator: TextGenerator, event: Event) -> Any:
    """A token, its probability, and the five most likely others."""
    from rich.text import Text

    line = Text.assemble(
        (f"{_share(event.logprob):6.1%} ", "bold"), (f"{_quoted(generator, event.id):<16}", _style(event))
    )
    for candidate in _runners_up(event):
        line.append(f"  {_quoted(generator, candidate.id)}")
        line.append(f" {_share(candidate.logprob):.1%}", "dim")
    return line


def _runners_up(event: Event) -> list[Candidate]:
    """The most likely tokens but the one that was taken."""
    return [candidate for candidate in event.candidates if candidate.id != event.id][:RUNNERS_UP]


def _share(logprob: float | None) -> float:
    from math import exp

    return 0.0 if logprob is None else exp(logprob)


def _quoted(generator: TextGenerator, id: int) -> str:
    return quoted(generator.token_text(id))


def _say_how_it_ended(generator: TextGenerator, stream: Stream, clock: _Clock, verbose: bool) -> None:
    finishes = [generation.finish for generation in stream.generations]
    if "context" in finishes:
        print(
            f"The context window of {generator.context_length} tokens is full. --window slide writes on.",
            file=sys.stderr,
        )
    if verbose and clock.first is not None:
        later = clock.now() - clock.first
        speed = f", {(clock.tokens - len(finishes)) / later:,.0f} tokens/s" if clock.tokens > len(finishes) else ""
        print(
            f"{counted(clock.tokens, 'token')}, the first after {clock.first - clock.start:.2f} s{speed}; "
            f"ended by: {', '.join(finishes)}",
            file=sys.stderr,
        )
