"""A picture's trace: what the model was given at each look, what it saw, and where it looked for each word.

Painting keeps of each look only what it was given and what it saw, in half precision (``Picture.looks``). A trace looks
again at the looks that are asked for, with taps, and says how far that is from the run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from limner.core.errors import ConfigError, DataError, counted
from limner.core.tap import NO_TAP, Chain, Recorder, Tap
from limner.explain.checks import check_number
from limner.explain.picture_changes import PictureChange, plan, read_changes, word_number
from limner.explain.picture_page import WordRow, trace_page
from limner.explain.trace import Array, Trace, as_bytes, load_trace
from limner.picture.config import Flow
from limner.picture.denoiser import patchify
from limner.picture.filmstrip import MOST_COLUMNS, spread
from limner.picture.painting import Given, Look, PaintSettings, Picture
from limner.picture.process import levels, read
from limner.picture.words import WEIGHTS, add_words, by_look, check_words_count, of_prompt

if TYPE_CHECKING:
    from limner.picture.generator import OnStep, PictureGenerator

MOST_BYTES = 8_000_000  # of a trace whose looks nobody chose
MOST_DETAILS = 3_000_000  # of those, for what is kept of few looks
MOST_DETAILED = 8  # looks, where nobody chose them: each takes two more pictures to make


@dataclass(frozen=True)
class PictureTrace(Trace):
    """What was seen of one picture. docs/traces-pictures.md lists the arrays and what ``about`` says."""

    @classmethod
    def of(cls, trace: Trace) -> PictureTrace:
        """A trace that was opened, with what one of a picture can do.

        Raises:
            DataError: it is of a text.
        """
        if trace.kind != "picture":
            raise DataError(f"the trace is of a {trace.kind}, but one of a picture is needed. Give another file.")
        return cls(trace.kind, trace.about, trace.arrays, trace.scales)

    @classmethod
    def load(cls, path: Path | str) -> PictureTrace:
        """Open a file that ``save`` wrote.

        Raises:
            DataError: it is missing, damaged, of another version or of a text.
        """
        return cls.of(load_trace(path))

    @property
    def image(self) -> Image.Image:
        """The finished picture."""
        return Image.fromarray(self.arrays["picture"])

    @property
    def words(self) -> list[str]:
        """The words of the prompt, as the model read them."""
        return [str(word["text"]) for word in self.about["words"]]

    @property
    def looks(self) -> list[int]:
        """The numbers of the looks that the arrays are of."""
        return [int(look["number"]) for look in self.about["looks"]]

    def given(self, look: int) -> Image.Image:
        """What the model was given at a look, as a picture."""
        return self._picture("given", look, "shown")

    def seen(self, look: int) -> Image.Image:
        """The picture that the guided model saw in it."""
        return self._picture("seen", look, "shown")

    def with_prompt(self, look: int) -> Image.Image:
        """The picture that the model saw in it by the prompt alone; of the looks in ``about["detailed"]``."""
        return self._picture("with_prompt", look, "detailed")

    def without_prompt(self, look: int) -> Image.Image:
        """What it saw by the negative or empty prompt, from which guidance leads away; as ``with_prompt``."""
        return self._picture("without_prompt", look, "detailed")

    def word_map(
        self, word: str | int, *, look: int | None = None, layer: int | None = None, head: int | None = None
    ) -> Array:
        """Where the model looked for a word: the share of each patch's attention that it got, shape (rows, columns).

        Args:
            word: by its number, or itself where it stands in the prompt once.
            look: None: the mean of all looks of the trace.
            layer, head: None: the mean of all. To choose them, the looks must be among ``about["detailed"]``.
        Raises:
            ConfigError: there is no such word, look, layer or head.
        """
        number = word_number(self.words, word)
        if layer is None and head is None:
            maps = self["words"][:, number]
            return _mean(maps if look is None else maps[self._place(look, self.looks)][None], 0)
        detailed = list(self.about["detailed"])
        maps = self._needed("words.layer_head")[:, :, :, number]  # looks, layers, heads, rows, columns
        if layer is not None:
            check_number("layer", layer, maps.shape[1], "layer", "the trace")
        if head is not None:
            check_number("head", head, maps.shape[2], "head", "the trace")
        if look is not None:
            maps = maps[self._place(look, detailed)][None]
        maps = maps if layer is None else maps[:, layer : layer + 1]
        maps = maps if head is None else maps[:, :, head : head + 1]
        return _mean(maps, (0, 1, 2))

    def self_attention(self, *, look: int | None = None, layer: int | None = None, head: int | None = None) -> Array:
        """How patches look at each other: each patch's shares of attention, shape (patches, patches).

        A row is what one patch looks at and adds up to 1; patches are counted row after row of the picture.

        Args:
            look, layer, head: None: the mean of all that were kept.
        Raises:
            ConfigError: there is none of that look, layer or head.
        """
        names = [name.split(".")[1:] for name in self.arrays if name.startswith("self_attention.")]
        kept = [(int(at), int(of)) for at, of in names]
        if not kept:
            raise ConfigError(
                "self_attention is asked for, but the trace has none. Trace the picture anew with self_attention=True."
            )
        for what, asked, numbers in (("look", look, {at for at, _ in kept}), ("layer", layer, {at for _, at in kept})):
            if asked is not None and asked not in numbers:
                raise ConfigError(
                    f"{what} is {asked}, but of it how patches look at each other was not kept. Choose one of "
                    f"{sorted(numbers)}, or trace it anew."
                )
        chosen = [(at, of) for at, of in kept if look in (None, at) and layer in (None, of)]
        if head is not None:
            check_number(
                "head", head, self.arrays[f"self_attention.{chosen[0][0]}.{chosen[0][1]}"].shape[0], "head", "the trace"
            )
        each = [self[f"self_attention.{at}.{of}"] for at, of in chosen]
        return _mean(np.stack([_mean(one, 0) if head is None else one[head] for one in each]), 0)

    def patch_map(
        self, row: int, column: int, *, look: int | None = None, layer: int | None = None, head: int | None = None
    ) -> Array:
        """Where one patch of the picture looked in it, shape (rows, columns); else as ``self_attention``.

        Raises:
            ConfigError: there is no such patch, look, layer or head.
        """
        rows, columns = self.about["grid"]
        check_number("row", row, rows, "row", "the trace")
        check_number("column", column, columns, "column", "the trace")
        where: Array = self.self_attention(look=look, layer=layer, head=head)[row * columns + column]
        return where.reshape(rows, columns)

    def _picture(self, name: str, look: int, of: str) -> Image.Image:
        array = self._needed(name)
        return Image.fromarray(array[self._place(look, list(self.about[of]))])

    def _needed(self, name: str) -> Array:
        if name not in self.arrays:
            raise ConfigError(
                f"{name} is asked for, but the trace has none: no look was kept in detail, or with guidance 1 nothing was "
                "led away from. Trace the picture anew with detailed=None, or paint it with more guidance."
            )
        return self[name]

    @staticmethod
    def _place(look: int, kept: list[int]) -> int:
        if look not in kept:
            raise ConfigError(f"look is {look}, but of it this was not kept. Choose one of {kept}, or trace it anew.")
        return kept.index(look)

    def _repr_html_(self) -> str:
        """What a notebook shows: the way from noise to picture, and where each word was."""
        kept = [self.looks[at] for at in spread(len(self.looks), MOST_COLUMNS)]
        shown = {"given": [self.given(look) for look in kept], "seen": [self.seen(look) for look in kept]}
        words = [
            WordRow(
                word,
                [self.word_map(number, look=look) for look in kept],
                self.word_map(number),
                float(self["words"][:, number].max(initial=0.0)),
            )
            for number, word in enumerate(self.words)
        ]
        return trace_page(self._said(), kept, self.image, shown, words)

    def _said(self) -> str:
        """What was painted, by whom, and how far what is shown is from that."""
        about, settings, replay = self.about, self.about["settings"], self.about["replay"]
        said = (
            f"“{settings['prompt']}”, seed {settings['seed']}, by {about['model']['name'] or 'a model'} "
            f"({about['model']['sha256'][:12]}); "
        )
        if replay is None:
            said += "recorded while it was painted"
        else:
            said += (
                f"{replay['looks']} looks were looked at again: what is seen is off by {replay['mean_difference']:.2g} in the "
                f"mean and {replay['largest_difference']:.2g} at most"
            )
        if about["changes"]:
            said += f"; changed: {', '.join(str(change.get('kind')) for change in about['changes'])}"
        return said


def trace_picture(
    painter: PictureGenerator,
    source: Picture | PictureTrace | str,
    *,
    seed: int | None = None,
    settings: PaintSettings | None = None,
    looks: Sequence[int] | None = None,
    detailed: Sequence[int] | None = None,
    self_attention: bool | Collection[int] = False,
    changes: Iterable[PictureChange | Mapping[str, Any]] = (),
    start: Image.Image | None = None,
    mask: Image.Image | None = None,
    on_step: OnStep | None = None,
    **values: Any,
) -> PictureTrace:
    """Look inside the making of a picture.

    Args:
        source: a picture of this model with its looks, of which just those that are asked for are looked at again; the
            trace of one, likewise of the looks that it kept; or a prompt, which is painted, and seen while it is.
        seed, settings, values: as for ``PictureGenerator.generate``; not beside a picture or a trace.
        looks: numbers of looks, from 0. None: all, or if that is more than 8 MB, as many as fit, evenly spread.
        detailed: those of them of which each layer and head, and the predictions with and without the prompt, are kept.
            None: up to 8, evenly spread; empty: of none.
        self_attention: keep of the detailed looks also how patches look at each other, in all layers or in these. That is a
            byte for each pair of patches, layer and head.
        changes: see ``limner.explain.picture_changes``. With them a picture is painted anew, from its own seed.
        start, mask: what the picture is, or was, made from.
        on_step: called as by ``generate``, where there is something to paint.
    Raises:
        ConfigError: a look, a layer, a change or a setting that is not there or out of its range.
        DataError: the picture has no looks, its guidance is 0, it is one of a blend, or start or mask are missing; the trace
            does not hold what the model was given.
        WeightsError: another model painted the picture.
    """
    changes = read_changes(changes)  # at once, for an iterator has them only once
    kept: PictureTrace | None = None
    if isinstance(source, PictureTrace):
        kept, source = source, Picture(source.image, dict(source.about["settings"]), notes=tuple(source.about["notes"]))
    made = plan(painter, source, changes, seed=seed, settings=settings, start=start, mask=mask, **values)
    check_words_count({"guidance": made.settings.guidance})
    watch = PictureWatch(painter, made.prompt, self_attention=self_attention)
    tap = watch.tap if made.tap is NO_TAP else Chain(made.tap, watch.tap)
    if isinstance(source, Picture) and not changes:
        given = source.looks if kept is None else _given(kept, painter, made.settings)
        if not given:
            raise DataError("the picture has no looks, but a trace is made of them. Paint it with record=True.")
        chosen = watch.choose(source, given, looks, detailed)
        asked = [look for look in given if look.number in chosen.looks]
        found = painter.look_again(source.settings, asked, start=start, mask=mask, tap=tap)
        if kept is None:
            again = {look.number: seen for look, seen in zip(asked, found, strict=True)}
            return watch.trace(source, looks=looks, detailed=detailed, again=again)
        both = zip(asked, found, strict=True)
        source = replace(source, looks=tuple(Look(one.number, one.time, one.noisy, seen.half()) for one, seen in both))
        return _said_of(kept, watch.trace(source, looks=chosen.looks, detailed=chosen.detailed))
    (picture,) = painter.generate(
        made.prompt, seed=made.seed, settings=made.settings, start=start, mask=mask, on_step=on_step, tap=tap
    )
    return watch.trace(made.noted(picture), looks=looks, detailed=detailed)


def self_attention_size(painter: PictureGenerator, settings: PaintSettings, layers: int | None = None) -> int:
    """Bytes of how patches look at each other at one look, in so many layers; None: in all."""
    height, width = settings.check_size(painter.config)
    patches = height * width // painter.config.multiple**2
    most, heads = _layers_and_heads(painter)
    return (most if layers is None else layers) * heads * patches**2


def self_attention_is_small(painter: PictureGenerator, settings: PaintSettings) -> bool:
    """Whether how patches look at each other can be kept of as many looks in detail as a trace has, beside all else."""
    return self_attention_size(painter, settings) * MOST_DETAILED <= MOST_DETAILS


@dataclass(frozen=True)
class Chosen:
    """Numbers of the looks that a trace keeps, in order."""

    looks: list[int]
    detailed: list[int]


class PictureWatch:
    """Sees one picture while it is painted, and makes its trace; ``trace_picture`` is made of it.

    Pass ``tap`` to ``PictureGenerator.generate`` or ``stream`` and give the picture to ``trace``; ``clear`` before the
    next one of the same prompt.
    """

    def __init__(
        self, painter: PictureGenerator, prompt: str, *, self_attention: bool | Collection[int] = False
    ) -> None:
        self.painter = painter
        self.words = painter.word_places(prompt)
        self.ids = painter.read_prompt(prompt)
        used = {place for _, places in self.words for place in places}
        rest = [place for place in range(len(self.ids)) if place not in used]
        places = [*(where for _, where in self.words), rest]
        self._maps = Recorder([WEIGHTS], keep=lambda weights: add_words(of_prompt(weights), places))
        self._predictions = Recorder(["look.*.prediction"], keep=lambda rows: rows.detach().float().cpu())
        layers, _ = _layers_and_heads(painter)
        if not isinstance(self_attention, bool):
            for layer in self_attention:
                if not 0 <= layer < layers:
                    raise ConfigError(
                        f"self_attention is asked for in layer {layer}, but the model has {layers}, counted from 0. Choose 0 "
                        f"to {layers - 1}."
                    )
        own = range(layers) if self_attention is True else sorted(set(self_attention or ()))
        self._own = Recorder(
            [f"look.*.layer.{layer}.attention.weights" for layer in own], keep=lambda weights: of_prompt(weights).half()
        )
        self.tap: Tap = Chain(self._maps, self._predictions, *([self._own] if own else []))

    def clear(self) -> None:
        """Forget the picture that was seen."""
        for recorder in (self._maps, self._predictions, self._own):
            recorder.values.clear()

    def choose(
        self, picture: Picture, given: Sequence[Given], looks: Sequence[int] | None, detailed: Sequence[int] | None
    ) -> Chosen:
        """The looks that a trace of this picture keeps, of those of which is known what was given; as ``trace_picture``.

        Raises:
            ConfigError: one of them is not there, or none is asked for.
        """
        there = [look.number for look in given]
        config = self.painter.config
        pixels = 3 * picture.image.width * picture.image.height
        patches = picture.image.width * picture.image.height // config.multiple**2
        maps = len(self.words) * patches
        layers, heads = _layers_and_heads(self.painter)
        each = 2 * pixels + 2 * given[0].noisy.numel() + maps + 3 * patches + 300  # and what about says of it
        more = 2 * pixels + layers * heads * maps + len(self._own.patterns) * heads * patches**2
        few = max(1, min(MOST_DETAILED, MOST_DETAILS // more))
        if looks is None:
            wanted = [
                there[at] for at in spread(len(there), max(2, (MOST_BYTES - pixels - few * more - 20_000) // each))
            ]
        else:
            wanted = sorted(set(looks))
            for number in wanted:
                if number not in there:
                    raise ConfigError(
                        f"look {number} is asked for, but what was given is known of {_numbered(there)}. Choose of these."
                    )
            if not wanted:
                raise ConfigError("looks is empty, but a trace is made of looks. Name one, or leave it out for all.")
        if detailed is None:
            return Chosen(wanted, [wanted[at] for at in spread(len(wanted), max(2, few))])
        for number in detailed:
            if number not in wanted:
                raise ConfigError(
                    f"look {number} is asked for in detail, but the trace is of {wanted}. Name it among looks, too."
                )
        return Chosen(wanted, sorted(set(detailed)))

    @torch.inference_mode()
    def trace(
        self,
        picture: Picture,
        *,
        looks: Sequence[int] | None = None,
        detailed: Sequence[int] | None = None,
        again: Mapping[int, Tensor] | None = None,
    ) -> PictureTrace:
        """The trace of the picture that was seen.

        Args:
            looks, detailed: as for ``trace_picture``.
            again: what was seen at the looks, where they were looked at again; None: the picture was seen while it was painted.
        Raises:
            ConfigError: a look that is not there.
            DataError: the picture has no looks, or its guidance is 0; or nothing or several pictures were seen.
        """
        check_words_count(picture.settings)
        if not picture.looks:
            raise DataError("the picture has no looks, but a trace is made of them. Paint it with record=True.")
        chosen = self.choose(picture, picture.looks, looks, detailed)
        at = {look.number: look for look in picture.looks}
        maps = by_look(self._maps)  # look → (layers, words and rest, heads, patches)
        height, width = int(picture.settings["height"]), int(picture.settings["width"])
        grid = (height // self.painter.config.multiple, width // self.painter.config.multiple)
        mean = torch.stack([maps[number].mean(dim=(0, 2)) for number in chosen.looks])
        mean = mean.view(*mean.shape[:-1], *grid)
        parts = {"words": mean[:, :-1], "words.rest": mean[:, -1]}
        if chosen.detailed:
            heads = torch.stack([maps[number][:, :-1].transpose(1, 2) for number in chosen.detailed])
            parts["words.layer_head"] = heads.view(*heads.shape[:-1], *grid)
        arrays: dict[str, Array] = {
            "picture": np.array(picture.image.convert("RGB")),
            "given": self._pictures([at[number].noisy for number in chosen.looks]),
            "seen": self._pictures([at[number].seen for number in chosen.looks]),
            "latents": torch.stack([at[number].noisy for number in chosen.looks]).half().numpy(),
        }
        scales: dict[str, float] = {}
        for name, part in parts.items():
            arrays[name], scales[name] = as_bytes(part)
        arrays |= self._guided(picture, at, chosen, grid)
        for path, (weights, *_) in self._own.values.items():
            _, number, _, layer, *_ = path.split(".")
            if int(number) in chosen.detailed:
                name = f"self_attention.{number}.{layer}"
                arrays[name], scales[name] = as_bytes(weights)
        about = {
            "model": self._model(),
            "settings": picture.settings,
            "words": [{"text": word, "places": places} for word, places in self.words],
            "tokens": [{"id": id, "text": self.painter.tokenizer.decode([id], skip_special=False)} for id in self.ids],
            "notes": list(picture.notes),
            "looks": [self._moment(at[number]) for number in chosen.looks],
            "schedule": [self._moment(look) for look in picture.looks],
            "shown": chosen.looks,
            "detailed": chosen.detailed,
            "grid": list(grid),
            "replay": None
            if again is None
            else _distance([(again[n] - at[n].seen.float()).abs() for n in chosen.looks]),
            "changes": picture.settings.get("changes", []),
        }
        return PictureTrace("picture", about, arrays, scales)

    def _guided(
        self, picture: Picture, at: Mapping[int, Look], chosen: Chosen, grid: tuple[int, int]
    ) -> dict[str, Array]:
        """What the prompt alone and the negative or empty one alone predict, and how far guidance goes beyond the latter."""
        config, scale = self.painter.config, float(picture.settings["guidance"])
        seen: list[list[Tensor]] = []
        lengths = []
        for number in chosen.looks:
            rows = self._predictions[f"look.{number}.prediction"]
            if len(rows) > 1:
                beyond = scale * (rows[:1] - rows[1:])
                lengths.append(patchify(beyond, config.denoiser.patch).norm(dim=-1).view(grid))
            if number in chosen.detailed:
                look = at[number]
                alpha, sigma = (level.view(1) for level in levels(config.diffusion.process, torch.tensor(look.time)))
                nearest = config.diffusion.nearest if config.diffusion.predict == "noise" else 0.0
                pair, _ = read(config.diffusion.predict, rows, look.noisy[None].float(), alpha, sigma, nearest)
                seen.append(list(pair))
        arrays = {"with_prompt": self._pictures([pair[0] for pair in seen])} if seen else {}
        if lengths:
            arrays["guidance"] = torch.stack(lengths).half().numpy()
            if seen:
                arrays["without_prompt"] = self._pictures([pair[1] for pair in seen])
        return arrays

    def _pictures(self, refined: Sequence[Tensor]) -> Array:
        return np.stack([np.array(self.painter.show(one)) for one in refined])

    def _moment(self, look: Look) -> dict[str, float]:
        alpha, sigma = levels(self.painter.config.diffusion.process, torch.tensor(look.time))
        return {"number": look.number, "time": look.time, "alpha": float(alpha), "sigma": float(sigma)}

    def _model(self) -> dict[str, Any]:
        config = self.painter.config
        process = config.diffusion.process
        layers, heads = _layers_and_heads(self.painter)
        return {
            "name": str(self.painter.card.get("name", "")),
            "sha256": self.painter.sha256,
            "checkpoint": self.painter.card.get("checkpoint"),
            "parameters": self.painter.parameters,
            "layers": layers,
            "heads": heads,
            "dim": config.denoiser.dim,
            "size": list(config.size),
            "latent": config.autoencoder is not None,
            "multiple": config.multiple,
            "predict": config.diffusion.predict,
            "process": "flow" if isinstance(process, Flow) else process.schedule,
            "dtype": str(self.painter.dtype).removeprefix("torch."),
            "device": self.painter.device.type,
        }


def _given(trace: PictureTrace, painter: PictureGenerator, settings: PaintSettings) -> list[Given]:
    """What the model was given at each look that a trace keeps.

    Raises:
        DataError: the trace does not hold it, or not as this model takes it.
    """
    height, width = settings.check_size(painter.config)
    shape = (painter.config.denoiser.channels, height // painter.config.factor, width // painter.config.factor)
    latents, seen = trace.arrays.get("latents"), trace.arrays.get("seen")
    try:
        looks = [(int(look["number"]), float(look["time"])) for look in trace.about["looks"]]
        sound = "schedule" in trace.about and all(0 <= time <= 1 for _, time in looks)
    except (KeyError, TypeError, ValueError):
        sound = False
    sound = sound and latents is not None and latents.shape == (len(looks), *shape)
    sound = sound and seen is not None and seen.shape == (len(looks), height, width, 3)
    if not sound or latents is None:
        raise DataError(
            "the trace does not hold what the model was given at its looks, but it is looked at again. Trace the picture "
            "anew."
        )
    return [Given(number, time, torch.from_numpy(latents[at].copy())) for at, (number, time) in enumerate(looks)]


def _said_of(kept: PictureTrace, again: PictureTrace) -> PictureTrace:
    """A trace that was looked at again, with what the first says of the run and how far the two are from each other.

    A trace keeps what was seen as a picture and not as it is refined, so that the difference is one of pixels, from −1 to 1.
    """
    before = kept.arrays["seen"][[kept.looks.index(number) for number in again.looks]].astype(np.int16)
    far = np.abs(before - again.arrays["seen"]) / 127.5
    replay = {"largest_difference": float(far.max()), "mean_difference": float(far.mean()), "looks": len(again.looks)}
    return replace(again, about={**again.about, "schedule": kept.about["schedule"], "replay": replay})


def _numbered(looks: Sequence[int]) -> str:
    """Numbers of looks, in few words where none is left out."""
    if len(looks) > 1 and looks[-1] - looks[0] == len(looks) - 1:
        return f"looks {looks[0]} to {looks[-1]}"
    return f"{counted(len(looks), 'look')}, {', '.join(map(str, looks))}"


def _layers_and_heads(painter: PictureGenerator) -> tuple[int, int]:
    stack = painter.config.denoiser.stack
    cross = stack.block(0).cross_attention
    assert cross is not None
    return stack.num_layers, cross.num_heads


def _distance(far: Sequence[Tensor]) -> dict[str, Any]:
    """How far what was seen again is from the run: absolute differences, one tensor a look."""
    return {
        "largest_difference": max(float(one.max()) for one in far),
        "mean_difference": sum(float(one.mean()) for one in far) / len(far),
        "looks": len(far),
    }


def _mean(maps: Array, axes: int | tuple[int, ...]) -> Array:
    mean: Array = maps.mean(axis=axes)
    return mean
