"""``limner train``: learn from a folder of texts, or make a bundled model again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.core.errors import ConfigError, counted

if TYPE_CHECKING:
    from limner.train.loop import Outcome
    from limner.train.text import TextPlan, TextRun

app = typer.Typer(no_args_is_help=True, help="Train a model of your own.")

Out = Annotated[Path | None, typer.Option("--out", "-o", help="The run folder to make. Default: runs/ and a name.")]
Steps = Annotated[int | None, typer.Option(help="How many steps to train.")]
Minutes = Annotated[float | None, typer.Option(help="How long to train; the learning rates follow the clock.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Override any setting; may be repeated.")
]
Cache = Annotated[Path | None, typer.Option(help="Where tokenized data are kept. Default: your cache folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON object.")]


@app.command()
def text(
    data: Annotated[
        list[Path] | None, typer.Option("--data", "-d", help="Files and folders to learn from; may be repeated.")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="byte-bpe, wordpiece, unigram, characters, bytes, or a tokenizer.json.")
    ] = None,
    vocab: Annotated[
        int | None, typer.Option(help="Entries of the vocabulary. Default: by the size of the data.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="auto, or a number of parameters such as 500K, 5M, 100M.")] = None,
    steps: Steps = None,
    minutes: Minutes = None,
    out: Out = None,
    recipe: Annotated[str | None, typer.Option(help="Begin with a recipe: story or shakespeare.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the run in this folder.")] = None,
    settings: Set = None,
    validation: Annotated[
        float | None, typer.Option(help="Share of the documents that is held back. Default: 0.05.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="Which column of .csv, .jsonl and .parquet is the text.")] = None,
    prompt: Annotated[list[str] | None, typer.Option(help="What the samples continue; may be repeated.")] = None,
    probes: Annotated[
        Path | None, typer.Option(help='JSON lines {"prompt", "right", "wrong"} to ask at each evaluation.')
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the weights, the order of the data, and dropout.")] = None,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Train a text model on your own texts: .txt, .md, .jsonl, .csv, .parquet, plain, .gz or .zst."""
    from dataclasses import replace

    if resume is not None:
        fixed: dict[str, object] = {"--data": data, "--tokenizer": tokenizer, "--vocab": vocab, "--size": size}
        fixed |= {"--out": out, "--recipe": recipe, "--validation": validation, "--column": column}
        fixed |= {"--prompt": prompt, "--probes": probes, "--seed": seed, "--cache": cache}
        _resume(resume, fixed, steps, minutes, settings, json=json)
        return
    from limner.recipes import recipe as find_recipe
    from limner.train.text import TextPlan, TextSettings

    plan = find_recipe(recipe) if recipe else TextPlan(data=())
    if data:
        plan = replace(plan, data=tuple(data), train_only=())
    if not plan.data:
        raise ConfigError(
            "--data is missing, but there must be something to learn from. Give files or folders, or --recipe."
        )
    given = {"tokenizer": tokenizer, "vocab_size": vocab, "size": size, "validation": validation, "column": column}
    given = {name: value for name, value in given.items() if value is not None}
    assert set(given) <= set(TextSettings.__dataclass_fields__)
    words = [f"{name}={value}" for name, value in given.items()]
    words += _length(steps, minutes) + ([] if seed is None else [f"seed={seed}"])
    plan = plan.override([*words, *(settings or [])])
    if prompt:
        plan = replace(plan, prompts=tuple(prompt))
    if probes is not None:
        from limner.train.probes import read_probes

        plan = replace(plan, probes=read_probes(probes))
    _begin(plan, out or _fresh(recipe or plan.data[0].absolute().name.split(".")[0] or "text"), cache, json=json)


@app.command()
def recipe(
    name: Annotated[str, typer.Argument(help="story or shakespeare")],
    steps: Steps = None,
    minutes: Minutes = None,
    out: Out = None,
    settings: Set = None,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Make a bundled model again, from the bundled data."""
    from limner.recipes import recipe as find_recipe

    plan = find_recipe(name).override([*_length(steps, minutes), *(settings or [])])
    _begin(plan, out or _fresh(name), cache, json=json)


def _length(steps: int | None, minutes: float | None) -> list[str]:
    if steps is not None and minutes is not None:
        raise ConfigError(f"--steps is {steps} and --minutes {minutes:g}, but one of them says how long. Drop one.")
    return [f"{name}={value}" for name, value in (("steps", steps), ("minutes", minutes)) if value is not None]


def _fresh(name: str) -> Path:
    """``runs/NAME``, or ``runs/NAME-2`` … where that is taken."""
    path, number = Path("runs") / name, 1
    while path.exists():
        number += 1
        path = Path("runs") / f"{name}-{number}"
    return path


def _resume(
    run: Path,
    fixed: dict[str, object],
    steps: int | None,
    minutes: float | None,
    settings: list[str] | None,
    *,
    json: bool,
) -> None:
    for option, value in fixed.items():
        if value is not None and value != []:
            raise ConfigError(
                f"{option} is given beside --resume, but a run goes on with what it began with. Drop {option}."
            )
    import sys

    from limner.train.text import go_on

    with _reading() as progress:
        opened = go_on(run, assignments=[*_length(steps, minutes), *(settings or [])], progress=progress)
    outcome = opened.finished()
    if outcome is None:
        _train(opened, json=json)
        return
    length = opened.choice.settings
    if length.steps is not None:
        ended, longer = counted(length.steps, "step"), f"--steps {2 * length.steps}"
    else:
        assert length.minutes is not None
        ended, longer = f"{length.minutes:g} minute{'s' * (length.minutes != 1)}", f"--minutes {2 * length.minutes:g}"
    print(
        f"{run} is finished: its {ended} are over. To train it longer, say how long in all:\n"
        f"  limner train text --resume {run} {longer}",
        file=sys.stderr,
    )
    _tell(opened, outcome, json=json)


def _begin(plan: TextPlan, out: Path, cache: Path | None, *, json: bool) -> None:
    from limner.train.text import start

    with _reading() as progress:
        run = start(plan, out, cache=cache, progress=progress)
    _train(run, json=json)


def _train(run: TextRun, *, json: bool) -> None:
    """Train, show it, and say where the model is."""
    import sys

    from limner.train.display import watchers_for

    print(run.summary(), file=sys.stderr)
    outcome = run.train(watchers_for(run.choice, run.folder))
    _tell(run, outcome, json=json)


def _tell(run: TextRun, outcome: Outcome, *, json: bool) -> None:
    """What came of it, and what can be done with it."""
    import sys
    from json import dumps

    path = run.folder.path
    if outcome.reason == "interrupted":
        print(
            f"Stopped after step {outcome.step:,}; everything is saved. Go on with:\n  limner train text --resume {path}",
            file=sys.stderr,
        )
    if run.folder.model.exists():
        prompt = (run.plan.prompts or ("Once upon a time",))[0].strip()
        numbers = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in outcome.best.items())
        print(f"The model is in {run.folder.model} ({numbers} on held-back text). Write with it:", file=sys.stderr)
        print(f'  limner write "{prompt}" --model {run.folder.model}', file=sys.stderr)
    if json:
        result = {
            "run": str(path),
            "model": str(run.folder.model),
            "reason": outcome.reason,
            "steps": outcome.step,
            "seconds": round(outcome.elapsed, 1),
            "parameters": run.choice.parameters,
            "best_step": outcome.best_step,
            **outcome.best,
        }
        print(dumps(result))
    if outcome.reason == "interrupted":
        raise typer.Exit(130)


def _reading() -> Any:
    """A context that gives the callback that shows how far reading is."""
    from limner.train.display import reading_progress

    return reading_progress()
