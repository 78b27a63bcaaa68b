"""``limner eval``: how well a model predicts a text, which of two sentences it prefers, and how well one paints."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from limner.cli.prompt import open_generator, open_painter
from limner.core.errors import ConfigError

if TYPE_CHECKING:
    from limner.picture.composition import Composition
    from limner.text.generator import TextGenerator


class TextFirst(TyperGroup):
    """``limner eval MODEL …`` is ``limner eval text MODEL …``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["text", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=TextFirst, no_args_is_help=True)


@app.callback()
def evaluate() -> None:
    """Measure a model. Without `text` or `picture`, as a text model."""


@app.command("text")
def text_model(
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


# ── pictures ───────────────────────────────────────────────────────────────────────────────────────────


@app.command("picture")
def picture_model(
    model: Annotated[str, typer.Argument(help="A picture model's name or its folder.")],
    pictures: Annotated[
        int, typer.Option(help="How many to paint, over all kinds of prompts; a claim takes 1000.")
    ] = 1000,
    steps: Annotated[int, typer.Option(help="Looks of the sampler for each.")] = 25,
    guidance: Annotated[float, typer.Option(help="How strongly the prompt pulls.")] = 4.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the prompts and of the pictures.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="The last line is one JSON object.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write a PNG of the first 64 pictures, none picked, and of failures."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file of --out.")] = False,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda, mps.")] = "cpu",
    threads: Annotated[int | None, typer.Option(help="Processor threads.", show_default="as torch chooses")] = None,
) -> None:
    """Measure whether a picture model composes.

    Asks for animals in hats, a tenth of whose combinations no model of the picture-book world was trained on, and
    lets two judges read what came: a classifier, and a rule that compares with the renderer's own heads and hats.
    Joint accuracy is the share of pictures in which all is right. The judges' own accuracy on drawings of the same
    scenes is the ceiling.
    """
    from limner.picture.composition import measure_generator
    from limner.picture.images import save_png
    from limner.picture.painting import PaintSettings
    from limner.picture.sheet import contact_sheet

    PaintSettings(steps=steps, guidance=guidance)  # what is wrong is told before anything is opened or thought out
    if out is not None:
        _check_sheet(out, force)
    generator = open_painter(model, device=device, dtype="auto", threads=threads)
    with _progress("painting", pictures) as advance:
        found = measure_generator(
            generator,
            pictures=pictures,
            steps=steps,
            guidance=guidance,
            seed=seed,
            progress=lambda done, total: advance(done * pictures // total),
        )
    if as_json:
        import json

        print(json.dumps(found.to_dict(), ensure_ascii=False, allow_nan=False))
    else:
        _print_composition(found)
    if out is not None:  # last: where it cannot be written, the numbers are not lost
        save_png(contact_sheet(found), out, {"measured": dict(found.made_with)})
        print(f"The first pictures and the failures are in {out}.", file=sys.stderr)


def _check_sheet(out: Path, force: bool) -> None:
    if out.is_dir() or out.suffix.lower() != ".png":
        raise ConfigError(f"out is {str(out)!r}, but a sheet is written as PNG. Name a .png file.")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"out is {str(out)!r}, but there is no such folder to write into. Make it first.")
    if out.exists() and not force:
        raise ConfigError(f"{out} is there already, but nothing is overwritten. Choose another -o, or add --force.")


ROWS = {
    "seen_triples": "seen combinations",
    "heldout_triples": "held-back triples",
    "heldout_pairs": "held-back pairs",
    "paraphrases": "seen, said otherwise",
    "settings": "seen, with place and hour",
    "binding": "two animals, seen",
    "heldout_binding": "two animals, held-back triples",
}


def _print_composition(found: Composition) -> None:
    from rich.console import Console
    from rich.table import Table

    from limner.picture.composition import CHANCE, OF_TWO, SINGLES, pooled, product_of_singles, summary

    console = Console(highlight=False)
    for judge, shares in found.shares.items():
        table = Table("", "joint", "95 %", *SINGLES, "product", "ceiling", title=f"read by the {judge}")
        for group, label in ROWS.items():
            joint, ceiling = shares[group]["joint"], found.ceilings[judge][group]["joint"]
            low, high = joint.interval
            table.add_row(
                label,
                str(joint),
                f"{low:.0%}–{high:.0%}",
                *(str(shares[group][name]) for name in SINGLES),
                "" if group in OF_TWO else f"{product_of_singles(shares, (group,)):.1%}",
                str(ceiling),
            )
        console.print(table)
        relations = [f"{name} {pooled(shares, OF_TWO, name)}" for name in ("relation", "left of", "next to", "on")]
        bound = pooled(shares, OF_TWO, "bound")
        console.print(f"animals where they should stand: {', '.join(relations)}")
        if bound.asked:
            console.print(
                f"of {bound.asked} pictures with both animals, hats and colours, {bound} have each on its own"
            )
        if "background" in shares["settings"]:
            place, hour = (shares["settings"][name] for name in ("background", "time"))
            console.print(f"place {place}, hour {hour}")
    console.print(
        f"{found.pictures} pictures of {found.size} × {found.size}; chance {CHANCE:.2%}, against another's prompt "
        f"{found.shuffled}; both judges read {found.agreement} alike"
    )
    console.print(f"the classifier's ceiling at this size, by its card: {found.judge_ceiling:.2%}")
    console.print(f"probe-FID {found.probe_fid:.4f} (between two sets of drawings {found.probe_fid_floor:.4f})")
    worst = min(summary(shares)["heldout_triples"].value for shares in found.ceilings.values())
    if worst < 0.9:
        console.print(f"a judge read only {worst:.1%} of the drawings rightly: mind the ceilings")


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
