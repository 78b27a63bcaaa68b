"""``limner eval``: how well a model predicts a text, and which of two sentences it prefers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.prompt import open_generator
from limner.core.errors import ConfigError

if TYPE_CHECKING:
    from limner.text.generator import TextGenerator

app = typer.Typer()


@app.command("eval")
def evaluate(
    model: Annotated[str, typer.Argument(help="A model's name or its folder; `limner models` lists them.")],
    data: Annotated[
        list[Path] | None,
        typer.Option(help="A file or folder of texts (.txt .md .jsonl .csv .parquet); may be given several times."),
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="A .jsonl file of minimal pairs: good and bad, and if it likes field.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="The column or key that holds the text.")] = None,
    context: Annotated[
        int | None, typer.Option(help="Tokens in a window.", show_default="all that the model reads")
    ] = None,
    stride: Annotated[
        int | None, typer.Option(help="Tokens scored in each further window.", show_default="half the context")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The last line is one JSON object.")] = False,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda, mps.")] = "cpu",
    dtype: Annotated[
        str | None, typer.Option(help="What to compute in, such as bfloat16.", show_default="float32")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Processor threads.", show_default="as torch chooses")] = None,
) -> None:
    """Measure how well a model predicts a text.

    loss is in nats per token; perplexity is e to its power; bits_per_byte does not depend on how the text is cut
    into tokens, so that models with different tokenizers can be compared. Each document is predicted by itself
    and every token once, in windows that overlap. With --pairs: the share of pairs whose right sentence the
    model finds likelier.
    """
    if not data and pairs is None:
        raise ConfigError("--data and --pairs are both missing, but there must be something to measure. Give either.")
    generator = open_generator(model, device=device, dtype=dtype, threads=threads)
    values: dict[str, Any] = {}
    if data:
        values |= _measure(generator, data, column, context, stride)
    if pairs is not None:
        values |= _judge(generator, pairs)
    if as_json:
        import json

        print(json.dumps(values, ensure_ascii=False, allow_nan=False))
        return
    for name, value in values.items():
        if isinstance(value, dict):
            for field, share in value.items():
                print(f"  {field:<28} {share:.1%}")
        else:
            print(f"{name:<14} {_shown(name, value)}")


def _shown(name: str, value: float) -> str:
    if name == "pairs_accuracy":
        return f"{value:.1%}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _measure(
    generator: TextGenerator, data: list[Path], column: str | None, context: int | None, stride: int | None
) -> dict[str, Any]:
    from limner.data import ReadReport, read_documents
    from limner.text.evaluate import evaluate

    report = ReadReport()
    total = sum(file.stat().st_size for path in data for file in ([path] if path.is_file() else path.rglob("*")))

    def on_disk(scored: int) -> int:
        """How much of the files the text that is scored was: reading is ahead, and they may be compressed."""
        return report.disk_bytes * scored // max(report.text_bytes, 1)

    with _progress("reading and predicting", total, on_disk) as advance:
        texts = (document.text for document in read_documents(data, column=column, report=report))
        result = evaluate(generator, texts, context=context, stride=stride, progress=advance)
    if report.skips:
        print(report.summary(), file=sys.stderr)
    return result.to_dict()


def _judge(generator: TextGenerator, path: Path) -> dict[str, Any]:
    from limner.text.evaluate import judge_pairs, read_pairs

    pairs = read_pairs(path)
    with _progress("judging pairs", len(pairs)) as advance:
        return judge_pairs(generator, pairs, progress=advance).to_dict()


@contextmanager
def _progress(what: str, total: int, measure: Callable[[int], int] = int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, if that is a terminal; ``measure`` makes a share of the total of what the calls say."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=measure(done))
