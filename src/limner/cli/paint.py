"""``limner paint``: pictures from words, from pictures, and between them."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.prompt import DEFAULT_PAINTER, open_painter, plain, read_prompt
from limner.core.errors import ConfigError, DataError, LimnerError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from PIL.Image import Image

    from limner.core.tap import Recorder
    from limner.picture.generator import PictureGenerator
    from limner.picture.painting import Picture

VARIATIONS = 4  # pictures that --variations paints where --n does not say
MOST_PICTURES = 100_000
LONGEST_NAME = 80  # bytes of a prompt that become a file's name

app = typer.Typer()


class Sampler(StrEnum):
    """How the way from noise to picture is walked."""

    euler = "euler"
    heun = "heun"
    ddim = "ddim"
    dpm = "dpm++"
    ancestral = "ancestral"


@app.command()
def paint(
    prompt: Annotated[
        str | None,
        typer.Argument(help="What to paint; read from standard input when it is piped.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="A .png file or a folder; several pictures are numbered. Default: here."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="A picture model's name or its folder; `limner models` lists them.", show_default=DEFAULT_PAINTER
        ),
    ] = None,
    n: Annotated[int | None, typer.Option(help="How many pictures.", show_default="1, with --variations 4")] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="The same seed gives the same picture; picture i uses seed + i.", show_default="random"),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps from noise to picture.", show_default="25")] = None,
    guidance: Annotated[
        float | None,
        typer.Option(help="How strongly the prompt pulls: 1 plainly, 0 not at all, up to 100.", show_default="4"),
    ] = None,
    negative: Annotated[str | None, typer.Option(help="What to lead away from.")] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WIDTHxHEIGHT", help="In pixels.", show_default="what the model learned at")
    ] = None,
    sampler: Annotated[
        Sampler | None, typer.Option(help="How the way is walked; docs/painting.md says more.", show_default="euler")
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--from", metavar="IMAGE", help="Refine this picture instead of pure noise.")
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(help="How much of --from is painted anew, up to 1.", show_default="0.6, within a mask 1"),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(metavar="IMAGE", help="White where to paint anew, black where --from stays; of its size."),
    ] = None,
    variations: Annotated[
        Path | None,
        typer.Option(metavar="IMAGE", help="Others like this picture; one of limner's own needs no prompt."),
    ] = None,
    blend: Annotated[str | None, typer.Option(metavar="PROMPT2", help="From the prompt to this one, in steps.")] = None,
    other_seed: Annotated[
        int | None, typer.Option(help="From the noise of --seed to the noise of this seed, with or without --blend.")
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(help="Pictures of a blend; -o .png is a strip, .gif, .webp, .apng move.", show_default="7"),
    ] = None,
    again: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Paint a picture of limner's again, exactly, from its settings."),
    ] = None,
    filmstrip: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Write the steps, and per word where attention put it.")
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE.trace", help="Write what was seen on the way; docs/traces-pictures.md says what."),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE.html",
            help="Write a page to look inside with: where each word went, and the picture without each.",
        ),
    ] = None,
    preview: Annotated[bool, typer.Option(help="Show each step in terminals that can show pictures.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a file: its name, seed, settings and notes.")
    ] = False,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda, mps.", show_default="cpu")] = "",
    dtype: Annotated[
        str | None,
        typer.Option(
            help="What to compute in: float32, bfloat16, float16, or auto: bfloat16 where that is faster.",
            show_default="auto",
        ),
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Processor threads.", show_default="as torch chooses")] = None,
) -> None:
    """Paint pictures with a model.

    Each PNG carries what made it: prompt, seed, model, sampler, steps, guidance. The names of the files are printed.
    """
    given = {
        "n": n, "seed": seed, "steps": steps, "guidance": guidance, "negative": negative, "size": size,
        "sampler": sampler, "from": start, "strength": strength, "mask": mask, "variations": variations,
        "blend": blend, "other-seed": other_seed, "frames": frames,
    }  # fmt: skip
    given = {name: value for name, value in given.items() if value is not None}
    files = Files(out, force, filmstrip, trace, html)
    report = Report(as_json)
    place = {"device": device, "dtype": dtype, "threads": threads}
    if again is not None:
        _again(again, prompt, given, model, place, files, report, preview)
        return
    _check(given, {"filmstrip": filmstrip, "trace": trace, "report": html})
    text = _prompt(prompt, variations)
    from limner.picture.painting import PaintSettings

    names = ("steps", "guidance", "negative", "strength")
    changes: dict[str, Any] = {name: given[name] for name in names if name in given}
    if size is not None:
        changes["size"] = read_size(size)
    if sampler is not None:
        changes["sampler"] = sampler.value
    settings = PaintSettings(**changes)  # what is wrong is told before a model is opened
    generator = open_painter(model or DEFAULT_PAINTER, device=device or "cpu", dtype=dtype or "auto", threads=threads)
    if blend is not None or other_seed is not None:
        other, count = text if blend is None else blend, 7 if frames is None else frames
        target = files.one(_slug(f"{text} to {other}" if blend is not None else text), moving=True)
        for one in (text, other, settings.negative):
            generator.read_prompt(one)
        report.notes(generator.notes_on(text, other, settings.negative))
        report.notes(_notes_on(settings))
        with _painting(generator, count, preview) as on_step:
            pictures = generator.blend(
                text, other, frames=count, seed=seed, other_seed=other_seed, settings=settings, on_step=on_step
            )
        _save_blend(pictures, target, report, model)
        return
    from limner.picture.painting import new_seed

    inputs = Inputs.read(variations or start, mask, settings.check_size(generator.config))
    first = new_seed() if seed is None else seed
    count = n if n is not None else VARIATIONS if variations is not None else 1
    _paint_all(generator, text, count, first, settings, inputs, files, report, model, preview)


# ── what is asked ──────────────────────────────────────────────────────────────────────────────────────


def _check(given: dict[str, Any], beside: dict[str, Path | None]) -> None:
    """Options that do not go together, or leave nothing to do."""
    if "variations" in given:  # first, for adding --from, as would be said below, does not go with it either
        for name in ("from", "mask"):
            if name in given:
                raise ConfigError(
                    f"--{name} is given beside --variations, but they do not go together. Drop one of them."
                )
    if given.get("n", 0) > MOST_PICTURES:
        raise ConfigError(
            f"n is {given['n']:,}, but at most {MOST_PICTURES:,} pictures are painted. Choose a smaller number."
        )
    if "mask" in given and "from" not in given:
        raise ConfigError(
            "--mask is given without --from, but there must be a picture to paint into. Add --from IMAGE."
        )
    if not given.get("blend", "some").strip():
        raise ConfigError("--blend is empty, but it is what to go to. Say what to paint there.")
    blends = [name for name in ("blend", "other-seed") if name in given]
    if not blends and "frames" in given:
        raise ConfigError("--frames is given without --blend or --other-seed, but a picture has no frames. Drop it.")
    pairs = [(one, other) for one in blends for other in ("from", "variations", "mask", "n", "strength")]
    for one, other in pairs:
        if one in given and other in given:
            raise ConfigError(f"--{other} is given beside --{one}, but they do not go together. Drop one of them.")
    for name in (name for name, path in beside.items() if path is not None):
        if given.get("guidance") == 0:
            raise ConfigError(f"--{name} is given beside --guidance 0, but then no word is read. Drop one of them.")
        if blends:
            raise ConfigError(f"--{name} is given beside --{blends[0]}, but it shows one prompt. Drop one of them.")


BLANK = 'but a picture is painted from words. Say what to paint: limner paint "a fox".'


def _prompt(given: str | None, variations: Path | None) -> str:
    """What to paint, from the command line, from a pipe, or of the picture that is varied."""
    text = given
    if text is None and variations is not None:
        from limner.picture.images import read_settings

        try:
            text = str(read_settings(variations).get("prompt", ""))
        except DataError:
            if not variations.is_file():
                raise
    return read_prompt(text, blank=BLANK) or read_prompt("", blank=BLANK)  # left out at a terminal, it is empty as well


def read_size(text: str) -> tuple[int, int]:
    """``WIDTHxHEIGHT``, or one number for a square, as height and width.

    Raises:
        ConfigError: it is neither.
    """
    found = re.fullmatch(r"(\d{1,6})(?:[x×](\d{1,6}))?", text.strip().lower())
    if found is None:
        raise ConfigError(f"--size is {text!r}, but it is WIDTHxHEIGHT in pixels. Write 64x64, say.")
    width = int(found[1])
    return (int(found[2] or width), width)


@dataclass(frozen=True)
class Inputs:
    """The pictures that others are made from, and where they lay."""

    start: Image | None = None
    mask: Image | None = None
    paths: tuple[tuple[str, Path], ...] = ()

    @classmethod
    def read(cls, start: Path | None, mask: Path | None, size: tuple[int, int]) -> Inputs:
        """Read and fit them to the size (height, width) that is painted.

        Raises:
            DataError: one is no picture that can be used, or the mask is not of the picture's size.
        """
        if start is None:
            return cls()
        from limner.picture.images import fit, read_picture

        picture = read_picture(start)
        paths = [("from", start)]
        masked = None
        if mask is not None:
            masked = read_picture(mask, ground="black")
            if masked.size != picture.size:
                raise DataError(
                    f"{mask} is {masked.width} × {masked.height} (width × height), but {start} is {picture.width} × "
                    f"{picture.height}. Give a mask of the picture's size."
                )
            masked = fit(masked, *size)
            paths.append(("mask", mask))
        return cls(fit(picture, *size), masked, tuple(paths))

    def note(self, picture: Picture, model: str | None) -> Picture:
        """The picture with what --again needs to find these, and the model, in its settings."""
        settings = dict(picture.settings)
        for name, path in self.paths:
            settings[name] = {**settings[name], "path": str(path)}
        if model is not None:
            settings["opened"] = model
        return replace(picture, settings=settings)


# ── where pictures go ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Files:
    """Names for pictures, chosen and checked before any is painted."""

    out: Path | None
    force: bool
    filmstrip: Path | None
    trace: Path | None
    report: Path | None = None

    def many(self, prompt: str, seeds: Sequence[int]) -> list[Path]:
        """A file for each seed."""
        out = self.out
        if out is not None and not self._folder(out):
            if out.suffix.lower() != ".png":
                raise ConfigError(
                    f"-o is {out}, but pictures are written as PNG, which carries their settings. Name a .png file or a folder."
                )
            return self._free(_numbered(out, len(seeds)))
        return self._free([(out or Path()) / f"{_slug(prompt)}-{seed}.png" for seed in seeds])

    def one(self, name: str, *, moving: bool = False, ending: str = ".png") -> Path:
        """One file, for a blend that may move, or for a picture that is painted again."""
        from limner.picture.images import MOVING

        out = self.out
        if out is None or self._folder(out):
            return self._free([(out or Path()) / f"{name}{ending}"])[0]
        known = (".png", *MOVING) if moving else (".png",)
        if out.suffix.lower() not in known:
            raise ConfigError(f"-o is {out}, but this is written as {', '.join(known)}. Choose one of these endings.")
        return self._free([out])[0]

    def strips(self, count: int) -> list[Path]:
        """Files for the filmstrips; none where none is asked for."""
        if self.filmstrip is None:
            return []
        if self._folder(self.filmstrip) or self.filmstrip.suffix.lower() != ".png":
            raise ConfigError(f"--filmstrip is {self.filmstrip}, but it is written as PNG. Name a .png file.")
        return self._free(_numbered(self.filmstrip, count))

    def traces(self, count: int) -> list[Path]:
        """Files for the traces; none where none is asked for."""
        if self.trace is None:
            return []
        if self._folder(self.trace) or self.trace.suffix.lower() != ".trace":
            raise ConfigError(f"--trace is {self.trace}, but a trace is its own kind of file. Name a .trace file.")
        return self._free(_numbered(self.trace, count))

    def reports(self, count: int) -> list[Path]:
        """Files for the reports; none where none is asked for."""
        if self.report is None:
            return []
        if self._folder(self.report) or self.report.suffix.lower() not in (".html", ".htm"):
            raise ConfigError(f"--report is {self.report}, but it is a page for a browser. Name an .html file.")
        return self._free(_numbered(self.report, count))

    def _folder(self, path: Path) -> bool:
        return path.is_dir() or (not path.suffix and not path.is_file())

    def _free(self, paths: list[Path]) -> list[Path]:
        for path in paths:
            if path.is_dir():
                raise ConfigError(
                    f"{path} is a folder, but a file is to be written there. Choose another name with -o."
                )
            if path.exists() and not self.force:
                raise ConfigError(
                    f"{path} is there already, but nothing is overwritten. Choose another -o, or add --force."
                )
        return paths


def _numbered(path: Path, count: int) -> list[Path]:
    """``fox.png``, or ``fox-1.png``, ``fox-2.png``, …"""
    if count == 1:
        return [path]
    digits = len(str(count))
    return [path.with_name(f"{path.stem}-{number:0{digits}}{path.suffix}") for number in range(1, count + 1)]


def _slug(text: str) -> str:
    """A prompt as the name of a file."""
    words = "-".join(re.findall(r"[^\W_]+", text.lower()))
    return words.encode()[:LONGEST_NAME].decode(errors="ignore").strip("-") or "picture"


class Report:
    """What is told of each file: its name, or everything as JSON; notes once, on standard error."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.told: set[str] = set()

    def tell(self, path: Path, picture: Picture, beside: dict[str, Path] | None = None, **more: Any) -> None:
        """One line on standard output."""
        self.notes(picture.notes)
        if not self.as_json:
            print(path, flush=True)
            return
        import json

        line: dict[str, Any] = {"file": str(path), "seed": picture.seed, "settings": picture.settings}
        line |= {"notes": list(picture.notes), **more}
        line |= {name: str(file) for name, file in (beside or {}).items()}
        print(json.dumps(line, ensure_ascii=False, allow_nan=False), flush=True)

    def notes(self, notes: Iterable[str]) -> None:
        """What a person should know."""
        for note in notes:
            if note not in self.told:
                self.told.add(note)
                print(plain(note), file=sys.stderr)


# ── painting ───────────────────────────────────────────────────────────────────────────────────────────


def _painting(generator: PictureGenerator, count: int, preview: bool) -> Any:
    from limner.cli.preview import painting

    return painting(generator, count, preview=preview)


def _paint_all(
    generator: PictureGenerator,
    prompt: str,
    count: int,
    first: int,
    settings: Any,
    inputs: Inputs,
    files: Files,
    report: Report,
    model: str | None,
    preview: bool,
) -> None:
    """Each picture is saved when it is done, so that what comes later costs none of them."""
    from limner.core.tap import NO_TAP, Chain, Tap
    from limner.explain.picture_interventions import picture_interventions
    from limner.explain.picture_trace import PictureWatch, self_attention_is_small
    from limner.explain.report import check_page, write_report
    from limner.picture.filmstrip import filmstrip
    from limner.picture.images import save_png
    from limner.picture.words import word_recorder

    seeds = range(first, first + max(0, count))
    paths, strips, traces = files.many(prompt, seeds), files.strips(count), files.traces(count)
    reports = files.reports(count)
    if reports:
        check_page()
    if set(strips) & set(paths):
        raise ConfigError(
            f"--filmstrip is {files.filmstrip}, but the picture goes there. Choose another name for one of them."
        )
    recorder: Recorder | None = word_recorder() if strips else None
    watch = None
    if traces or reports:
        watch = PictureWatch(generator, prompt, self_attention=self_attention_is_small(generator, settings))
    taps: list[Tap] = [] if recorder is None else [recorder]
    if watch is not None:
        taps.append(watch.tap)
    with _painting(generator, count, preview) as on_step:
        pictures = generator.stream(
            prompt, n=count, seed=first, settings=settings, start=inputs.start, mask=inputs.mask, on_step=on_step,
            record=bool(taps), tap=Chain(*taps) if taps else NO_TAP,
        )  # fmt: skip
        report.notes(generator.notes_on(prompt, settings.negative))
        report.notes(_notes_on(settings))
        for number, picture in enumerate(pictures):
            noted = inputs.note(picture, model)
            _save(noted, [noted.image], paths[number])
            beside: dict[str, Path] = {}
            try:
                if recorder is not None:
                    save_png(filmstrip(generator, picture, recorder), strips[number], {"filmstrip": noted.settings})
                    beside["filmstrip"] = strips[number]
                    recorder.values.clear()
                if watch is not None:
                    seen = watch.trace(noted)
                    watch.clear()
                    if traces:
                        seen.save(traces[number])
                        beside["trace"] = traces[number]
                    if reports:
                        found = picture_interventions(generator, picture, start=inputs.start, mask=inputs.mask)
                        write_report(seen, reports[number], extra=found)
                        beside["report"] = reports[number]
            finally:  # what is there is named, also where something beside it failed or was stopped
                report.tell(paths[number], noted, beside)


def _notes_on(settings: Any) -> tuple[str, ...]:
    if settings.guidance != 0:
        return ()
    return ("With guidance 0 the prompt has no part in the picture; 1 is the prompt plainly.",)


def _save_blend(pictures: Sequence[Picture], path: Path, report: Report, model: str | None) -> None:
    shared = {name: value for name, value in pictures[0].settings.items() if name != "share"}
    if model is not None:
        shared["opened"] = model
    notes = tuple(dict.fromkeys(note for picture in pictures for note in picture.notes))
    whole = replace(pictures[0], settings=shared, notes=notes)
    _save(whole, [picture.image for picture in pictures], path)
    report.tell(path, whole, frames=len(pictures))


def _save(picture: Picture, images: Sequence[Image], path: Path) -> None:
    """Write a file. Where that fails nothing is lost: it goes elsewhere, or else the seed that makes it again is told."""
    from tempfile import mkdtemp

    from limner.picture.images import save_frames

    try:
        save_frames(images, path, picture.settings)
    except DataError as problem:
        try:
            elsewhere = Path(mkdtemp(prefix="limner-")) / path.name
            save_frames(images, elsewhere, picture.settings)
        except (DataError, OSError):
            raise DataError(f"{problem} --seed {picture.seed} paints it again.") from problem
        raise DataError(f"{problem} For now it is in {elsewhere}.") from problem


def _again(
    path: Path,
    prompt: str | None,
    given: dict[str, Any],
    model: str | None,
    place: dict[str, Any],
    files: Files,
    report: Report,
    preview: bool,
) -> None:
    """Paint from the settings in a PNG, and say whether it is the same picture."""
    from limner.picture.generator import check_described
    from limner.picture.images import pixel_digest, read_picture, read_settings

    if prompt is not None or given:
        what = "a prompt" if prompt is not None else f"--{next(iter(given))}"
        raise ConfigError(f"{what} is given beside --again, but that paints with the file's own settings. Drop it.")
    for name, wanted in (("filmstrip", files.filmstrip), ("trace", files.trace), ("report", files.report)):
        if wanted is not None:
            raise ConfigError(f"--{name} is given beside --again, but that repeats a picture and no more. Drop it.")
    described, original = read_settings(path), pixel_digest(read_picture(path))
    check_described(described)
    generator = _painter_of(path, described, model, place)
    sides = (described["height"], described["width"])
    found = {name: _input_of(path, name, described) for name in ("from", "mask")}
    inputs = Inputs.read(found["from"], found["mask"], sides)
    blended = "blend" in described and "share" not in described
    ending = path.suffix.lower() if blended and path.suffix.lower() == ".apng" else ".png"
    target = files.one(f"{path.stem}-again", moving=blended, ending=ending)
    with _painting(generator, described.get("frames", 1) if blended else 1, preview) as on_step:
        pictures = generator.again(described, start=inputs.start, mask=inputs.mask, on_step=on_step)
    opened = described.get("opened")
    if blended:
        _save_blend(pictures, target, report, opened)
    else:
        noted = inputs.note(pictures[0], opened)
        _save(noted, [noted.image], target)
        report.tell(target, noted)
    if target.suffix.lower() == ".png" and pixel_digest(read_picture(target)) != original:
        report.notes([
            f"{target} is not quite the picture of {path}: another machine or another torch rounds in other places."
        ])  # fmt: skip


def _painter_of(path: Path, described: dict[str, Any], model: str | None, place: dict[str, Any]) -> PictureGenerator:
    """The model that painted a file, where it can be found."""
    dtype, device = place["dtype"] or described.get("dtype"), place["device"] or described.get("device") or "cpu"
    names = [model] if model is not None else [described.get("opened"), described.get("model")]
    tried: list[LimnerError] = []
    for name in dict.fromkeys(str(name) for name in names if name):
        try:
            return open_painter(name, device=str(device), dtype=str(dtype or "float32"), threads=place["threads"])
        except WeightsError as problem:
            tried.append(problem)
    if model is not None and tried:
        raise tried[0]
    raise WeightsError(
        f"{path} was painted by the model {str(described.get('model') or '?')!r}, but it is not here by that name. Give its "
        "folder with --model."
    )


def _input_of(path: Path, name: str, described: dict[str, Any]) -> Path | None:
    """Where a picture that a file was made from lies: as it was named then, or beside the file."""
    known = described.get(name)
    if not isinstance(known, dict):
        return None
    if "path" not in known:
        raise DataError(
            f"{path} was painted from Python with --{name}, but not where from. Use PictureGenerator.again."
        )
    was = Path(str(known["path"]))
    for place in (was, path.parent / was, path.parent / was.name):
        if place.is_file():
            return place
    raise DataError(f"{path} was painted with --{name} {was}, but there is no such file any more. Put it back there.")
