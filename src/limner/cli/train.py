"""``limner train``: learn from a folder of texts or pictures, or make a bundled model again."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from limner.core.errors import ConfigError, counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from limner.train.autoencoder import AutoencoderPlan, AutoencoderRun
    from limner.train.loop import Outcome
    from limner.train.picture import PicturePlan, PictureRun
    from limner.train.text import TextPlan, TextRun

app = typer.Typer(no_args_is_help=True, help="Train a model of your own.")

Out = Annotated[Path | None, typer.Option("--out", "-o", help="The run folder to make. Default: runs/ and a name.")]
Steps = Annotated[int | None, typer.Option(help="How many steps to train.")]
Minutes = Annotated[float | None, typer.Option(help="How long to train; the learning rates follow the clock.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Override any setting; may be repeated.")
]
Cache = Annotated[Path | None, typer.Option(help="Where prepared data are kept. Default: your cache folder.")]
Pixels = Annotated[int | None, typer.Option(help="Side of the pictures. Default: 64.")]
Drawings = Annotated[
    int | None,
    typer.Option(min=1, metavar="COUNT", help="In place of data: so many drawings of the picture-book world."),
]
Buckets = Annotated[
    int | None, typer.Option(help="Shapes to keep tall and wide pictures whole; 1, the default, cuts squares.")
]
Resume = Annotated[Path | None, typer.Option(help="Go on with the run in this folder.")]
HeldBack = Annotated[float | None, typer.Option(help="Share of the pictures that is held back. Default: 0.05.")]
PictureSeed = Annotated[int | None, typer.Option(help="Of the weights, the order of the pictures, and noise.")]
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
    resume: Resume = None,
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
        plan = replace(plan, data=tuple(data), train_only=(), card={})  # which tells of the recipe's data
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
def picture(
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", "-d", help="Folders, tars and Parquet files of captioned pictures; may be repeated."),
    ] = None,
    drawings: Drawings = None,
    pixels: Pixels = None,
    buckets: Buckets = None,
    captions: Annotated[
        str | None, typer.Option(help="auto, or folder: the name of its folder is a picture's caption.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="Which column of tables is the caption.")] = None,
    autoencoder: Annotated[
        Path | None,
        typer.Option(help="Learn on the latents of this one, a folder that `limner train autoencoder` made."),
    ] = None,
    size: Annotated[str | None, typer.Option(help="auto, or a number of parameters such as 2M, 10M.")] = None,
    steps: Steps = None,
    minutes: Minutes = None,
    out: Out = None,
    recipe: Annotated[str | None, typer.Option(help="Begin with a recipe: picturebook or picturebook-mini.")] = None,
    resume: Resume = None,
    settings: Set = None,
    validation: HeldBack = None,
    flip: Annotated[
        bool | None,
        typer.Option("--flip", help="Mirror pictures by chance. Off by default: captions say left and right."),
    ] = None,
    prompt_encoder: Annotated[
        Path | None, typer.Option(help="Folder of CLIP or BERT that reads the captions. Default: one trained with it.")
    ] = None,
    prompt: Annotated[
        list[str] | None, typer.Option(help="Painted as it learns; may be repeated. Default: the first captions.")
    ] = None,
    seed: PictureSeed = None,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Train a picture model on your own captioned pictures: with .txt beside them, a table, or in tars and Parquet."""
    from dataclasses import replace

    given = {
        "pixels": pixels,
        "buckets": buckets,
        "captions": captions,
        "column": column,
        "autoencoder": autoencoder,
        "size": size,
        "validation": validation,
        "flip": flip,
        "prompt_encoder": prompt_encoder,
    }
    if resume is not None:
        fixed: dict[str, object] = {f"--{name.replace('_', '-')}": value for name, value in given.items()}
        fixed |= {
            "--data": data,
            "--drawings": drawings,
            "--out": out,
            "--recipe": recipe,
            "--prompt": prompt,
            "--seed": seed,
            "--cache": cache,
        }
        _resume(resume, fixed, steps, minutes, settings, json=json)
        return
    from limner.picture.world.prepare import DrawnPlan
    from limner.recipes import picture_recipe
    from limner.train.picture import PicturePlan

    _one_source(data, drawings)
    plan = picture_recipe(recipe) if recipe else PicturePlan()
    if data:  # which have captions of their own, and of which it is not known what is where in them
        own = replace(plan.picture, objects_first=0.0)
        plan = replace(plan, data=tuple(data), drawn=None, picture=own, prompts=(), card={})
    if drawings is not None:
        plan = replace(plan, data=(), drawn=replace(plan.drawn or DrawnPlan(size=plan.picture.pixels), count=drawings))
    if not plan.data and plan.drawn is None:
        raise ConfigError(
            "--data is missing, but there must be pictures to learn from. Give a folder of captioned pictures, or --recipe."
        )
    if plan.drawn is not None:
        _none_for_drawings(given, ("buckets", "captions", "column", "validation"))
    words = [f"{name}={value}" for name, value in given.items() if value is not None]
    words += _length(steps, minutes) + ([] if seed is None else [f"seed={seed}"])
    plan = plan.override([*words, *(settings or [])])
    if prompt:
        plan = replace(plan, prompts=tuple(prompt))
    name = recipe or (plan.data[0].absolute().name.split(".")[0] if plan.data else "picture")
    _begin(plan, out or _fresh(name or "picture"), cache, json=json)


@app.command()
def autoencoder(
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", "-d", help="Folders, tars and Parquet files of pictures; may be repeated."),
    ] = None,
    drawings: Drawings = None,
    pixels: Pixels = None,
    buckets: Buckets = None,
    factor: Annotated[
        int | None, typer.Option(help="By how much sides are divided: 4, 8 or 16. Default: 8.", show_default=False)
    ] = None,
    channels: Annotated[int | None, typer.Option(help="Numbers for each place of the latents. Default: 8.")] = None,
    steps: Steps = None,
    minutes: Minutes = None,
    out: Out = None,
    recipe: Annotated[str | None, typer.Option(help="Begin with a recipe: picturebook-autoencoder.")] = None,
    resume: Resume = None,
    settings: Set = None,
    validation: HeldBack = None,
    flip: Annotated[bool | None, typer.Option("--flip", help="Mirror pictures by chance.")] = None,
    seed: PictureSeed = None,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Train an autoencoder on pictures, which need no captions; a picture model can then learn on its latents."""
    from dataclasses import replace

    given: dict[str, object] = {"pixels": pixels, "buckets": buckets, "factor": factor, "latent_channels": channels}
    given |= {"validation": validation, "flip": flip}
    if resume is not None:
        fixed: dict[str, object] = {f"--{name.removeprefix('latent_')}": value for name, value in given.items()}
        fixed |= {"--data": data, "--drawings": drawings, "--out": out, "--recipe": recipe, "--seed": seed}
        fixed |= {"--cache": cache}
        _resume(resume, fixed, steps, minutes, settings, json=json)
        return
    from limner.picture.world.prepare import DrawnPlan
    from limner.recipes import autoencoder_recipe
    from limner.train.autoencoder import AutoencoderPlan

    _one_source(data, drawings)
    plan = autoencoder_recipe(recipe) if recipe else AutoencoderPlan(data=())
    if data:
        plan = replace(plan, data=tuple(data), drawn=None, card={})
    if drawings is not None:
        plan = replace(plan, data=(), drawn=replace(plan.drawn or DrawnPlan(size=plan.pictures.pixels), count=drawings))
    if not plan.data and plan.drawn is None:
        raise ConfigError(
            "--data is missing, but there must be pictures to learn from. Give a folder of pictures, --drawings, or --recipe."
        )
    if plan.drawn is not None:
        _none_for_drawings(given, ("buckets", "validation"))
    words = [f"{name}={value}" for name, value in given.items() if value is not None]
    words += _length(steps, minutes) + ([] if seed is None else [f"seed={seed}"])
    _begin(plan.override([*words, *(settings or [])]), out or _fresh(recipe or "autoencoder"), cache, json=json)


@app.command()
def recipe(
    name: Annotated[
        str,
        typer.Argument(
            help="story, shakespeare, picturebook-mini, picturebook-autoencoder or picturebook, which takes that."
        ),
    ],
    steps: Steps = None,
    minutes: Minutes = None,
    out: Out = None,
    settings: Set = None,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Make a bundled model again, from the bundled data."""
    from limner.recipes import any_recipe

    plan = any_recipe(name).override([*_length(steps, minutes), *(settings or [])])
    _begin(plan, out or _fresh(name), cache, json=json)


def _one_source(data: list[Path] | None, drawings: int | None) -> None:
    if data and drawings is not None:
        raise ConfigError(f"--drawings is {drawings} beside --data, but pictures come from one of them. Drop one.")


def _none_for_drawings(given: dict[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        if given[name] is not None:
            instead = " Write --set drawn.validation=COUNT." if name == "validation" else " Drop it."
            raise ConfigError(
                f"--{name} is {given[name]} beside drawings, but they are squares with captions of their own.{instead}"
            )


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

    from limner.train.run import RunFolder

    go_on = _room(RunFolder.open(run)[1].get("kind")).go_on
    with _reading() as progress:
        opened: TextRun | PictureRun | AutoencoderRun = go_on(
            run, assignments=[*_length(steps, minutes), *(settings or [])], progress=progress
        )
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
        f"  limner train {_kind(opened)} --resume {run} {longer}",
        file=sys.stderr,
    )
    _tell(opened, outcome, json=json)


def _begin(plan: TextPlan | PicturePlan | AutoencoderPlan, out: Path, cache: Path | None, *, json: bool) -> None:
    start = _room(_kind(plan)).start
    if _kind(plan) == "picture":
        _check_autoencoder(cast("PicturePlan", plan).picture.autoencoder)
    with _reading() as progress:
        run = start(plan, out, cache=cache, progress=progress)
    _train(run, json=json)


def _check_autoencoder(path: str | None) -> None:
    """Say how to make the autoencoder that a recipe takes, where it is not made yet."""
    from limner.recipes import AUTOENCODER_RECIPES

    if path is not None and not Path(path).exists() and Path(path).name in AUTOENCODER_RECIPES:
        raise ConfigError(
            f"{path} is missing, but it holds the autoencoder on whose latents this recipe is trained. Make it first: "
            f"limner train recipe {Path(path).name} --out {path}"
        )


def _room(kind: object) -> Any:
    """The module that begins runs of a kind and goes on with them."""
    if kind == "picture":
        from limner.train import picture

        return picture
    if kind == "autoencoder":
        from limner.train import autoencoder

        return autoencoder
    from limner.train import text  # it refuses runs of other kinds

    return text


def _kind(what: TextPlan | PicturePlan | AutoencoderPlan | TextRun | PictureRun | AutoencoderRun) -> str:
    """The verb of a plan or a run; by name, for the classes of other kinds need not be loaded."""
    kinds = {"Text": "text", "Picture": "picture", "Autoencoder": "autoencoder"}
    return kinds[type(what).__name__.removesuffix("Plan").removesuffix("Run")]


def _train(run: TextRun | PictureRun | AutoencoderRun, *, json: bool) -> None:
    """Train, show it, and say where the model is."""
    import sys

    print(run.summary(), file=sys.stderr)
    _tell(run, run.train(run.watchers()), json=json)


def _tell(run: TextRun | PictureRun | AutoencoderRun, outcome: Outcome, *, json: bool) -> None:
    """What came of it, and what can be done with it."""
    import sys
    from json import dumps

    path = run.folder.path
    if outcome.reason == "interrupted":
        print(
            f"Stopped after step {outcome.step:,}; everything is saved. Go on with:\n"
            f"  limner train {_kind(run)} --resume {path}",
            file=sys.stderr,
        )
    if run.folder.model.exists():
        told = {name: value for name, value in outcome.best.items() if name not in JUDGED}
        numbers = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in told.items())
        held_back = "text" if _kind(run) == "text" else "pictures"
        print(f"The model is in {run.folder.model} ({numbers} on held-back {held_back}).", file=sys.stderr)
        for sentence in judged(outcome.best):
            print(sentence, file=sys.stderr)
        print(f"  {_next(run)}", file=sys.stderr)
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


JUDGED = ("loss_other_captions", "painted_to_nearest", "held_back_to_nearest", "painted_copies")
LISTENS = 1.02  # times the loss with its own caption


def judged(best: Mapping[str, float]) -> Iterator[str]:
    """Whether a picture model listens to its prompt, and whether it repeats what it learned from."""
    own, other = best.get("loss"), best.get("loss_other_captions")
    if own is not None and other is not None:
        does = "It listens to its prompt" if other > LISTENS * own else "It does not listen to its prompt yet"
        yield f"{does}: with the captions of other pictures the loss is {other:.4f}."
    painted, held_back = best.get("painted_to_nearest"), best.get("held_back_to_nearest")
    if painted is None or held_back is None:
        return
    copies = best.get("painted_copies", 0.0)
    far = f"it is {painted:.3f} from the nearest of them, held-back pictures are {held_back:.3f}"
    if held_back == 0:
        yield "Whether it repeats pictures that it learned from cannot be told, as the held-back ones are among them."
    elif copies:
        yield f"{copies:.0%} of what it painted may be copies of pictures that it learned from: {far}."
    else:
        yield f"Nothing that it painted to be judged is a copy of a picture that it learned from: {far}."


def _next(run: TextRun | PictureRun | AutoencoderRun) -> str:
    """The command that a person may want after a run."""
    if _kind(run) == "autoencoder":
        plan = cast("AutoencoderRun", run).plan
        if "recipe" in plan.card:
            return "limner train recipe picturebook"
        source = "--data PATH" if plan.drawn is None else f"--drawings {plan.drawn.count}"
        return f"limner train picture {source} --pixels {plan.pictures.pixels} --autoencoder {run.folder.path}"
    verb, example = ("write", "Once upon a time") if _kind(run) == "text" else ("paint", "a picture")
    prompts = cast("TextRun | PictureRun", run).plan.prompts
    prompt = next((text.strip() for text in prompts if text.strip()), example)
    said = shlex.quote(prompt) if set(prompt) & set('"$`\\!') else f'"{prompt}"'
    return f"limner {verb} {said} --model {shlex.quote(str(run.folder.model))}"


def _reading() -> Any:
    """A context that gives the callback that shows how far reading is."""
    from limner.train.display import reading_progress

    return reading_progress()
