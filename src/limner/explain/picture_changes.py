"""Change what a picture is painted from, keep its seed, and see what became of it.

    without = compare_pictures(painter, "a fox in a green hat", [RemoveWord(4)], seed=1)
    without.after, without.difference

A change of words is a change of the prompt; every other one reaches into the forward passes through a tap. Changes are
plain JSON by ``to_dict`` and back by ``read_changes``, the same in Python, in the studio and in a report.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, assert_never

import numpy as np
from numpy.typing import NDArray

from limner.core.errors import ConfigError, DataError
from limner.core.tap import NO_TAP, Chain, Editor, Tap
from limner.explain.change_kinds import Change, Kinds, nothing, silenced
from limner.explain.checks import check_number
from limner.explain.picture_page import comparison_page
from limner.picture.painting import PaintSettings, Picture, looks_of, new_seed
from limner.picture.prompts import WORD, as_read
from limner.picture.words import check_words_count

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from limner.picture.generator import OnStep, PictureGenerator

Part = Literal["cross_attention", "attention"]
Box = tuple[int, int, int, int]
Region: TypeAlias = "Box | NDArray[np.bool_]"
MOST_WEIGHT = 100.0


@dataclass(frozen=True)
class WeighWord(Change):
    """Let a word count for more or less where the picture reads the prompt.

    In every layer the shares of attention that its tokens get are multiplied by ``weight``, and all shares made to add up
    to 1 again: the same as log(weight) added to its scores. 1 leaves all as it is; 0 hides the word's own vectors, though
    what other words have read of it in the prompt's encoder stays. Only the prompt's row is changed, not that which
    guidance leads away from.

    Args:
        word: which of the prompt's words, from 0.
        weight: 0 to 100; 0.3 to 4 is usual.
        looks: only at these, counted from 0; None: at all.
    Source: attention re-weighting, Hertz et al. 2022 (Prompt-to-Prompt), arXiv:2208.01626, section 3.3. There the shares do
        not add up to 1 afterwards; with our model that spoils the object sooner (docs/log.md).
    """

    word: int
    weight: float
    looks: tuple[int, ...] | None = None
    kind: ClassVar[str] = "weigh_word"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and 0.0 <= self.weight <= MOST_WEIGHT):
            raise ConfigError(
                f"weight is {self.weight:g}, but a word is weighed with 0 to {MOST_WEIGHT:g}. Choose between; 0.3 to 4 is usual."
            )


@dataclass(frozen=True)
class RemoveWord(Change):
    """Paint the prompt without one of its words, counted from 0."""

    word: int
    kind: ClassVar[str] = "remove_word"


@dataclass(frozen=True)
class ReplaceWord(Change):
    """Paint the prompt with other words in place of one, counted from 0."""

    word: int
    by: str
    kind: ClassVar[str] = "replace_word"


@dataclass(frozen=True)
class PictureHeadOff(Change):
    """Switch one head off: what it mixes counts as 0, for every row. ``looks`` as for ``WeighWord``."""

    layer: int
    head: int
    where: Part = "cross_attention"
    looks: tuple[int, ...] | None = None
    kind: ClassVar[str] = "head_off"


@dataclass(frozen=True)
class PictureAttentionOff(Change):
    """Switch a layer's attention off, to the prompt or of the picture to itself: it adds nothing."""

    layer: int
    where: Part = "cross_attention"
    looks: tuple[int, ...] | None = None
    kind: ClassVar[str] = "attention_off"


@dataclass(frozen=True)
class PictureFeedForwardOff(Change):
    """Switch a layer's feed-forward off: it adds nothing."""

    layer: int
    looks: tuple[int, ...] | None = None
    kind: ClassVar[str] = "feed_forward_off"


PictureChange: TypeAlias = (
    WeighWord | RemoveWord | ReplaceWord | PictureHeadOff | PictureAttentionOff | PictureFeedForwardOff
)
KINDS: Kinds[PictureChange] = Kinds(
    "a picture", (WeighWord, RemoveWord, ReplaceWord, PictureHeadOff, PictureAttentionOff, PictureFeedForwardOff)
)


def read_changes(values: Iterable[PictureChange | Mapping[str, Any]]) -> tuple[PictureChange, ...]:
    """Changes from what ``to_dict`` gave; those that are changes already stay.

    Raises:
        ConfigError: no such kind, or an unknown, missing or ill-typed entry.
    """
    return KINDS.read_all(values)


# ── words ──────────────────────────────────────────────────────────────────────────────────────────────


def word_number(words: Sequence[str], word: str | int) -> int:
    """Which of a prompt's words is meant, by its number or by itself.

    Args:
        words: of the prompt, in order, such as ``PictureTrace.words``.
    Raises:
        ConfigError: there is no such word, or it stands there several times.
    """
    if isinstance(word, int):
        if not 0 <= word < len(words):
            raise ConfigError(
                f"word is {word}, but the prompt has {len(words)} words, counted from 0. {_listed(words)}"
            )
        return word
    found = [number for number, known in enumerate(words) if known.casefold() == word.casefold()]
    if len(found) != 1:
        said = "is not in the prompt" if not found else f"stands in the prompt as words {found}"
        raise ConfigError(f"word is {word!r}, but that {said}. {_listed(words)}")
    return found[0]


def _listed(words: Sequence[str]) -> str:
    return "Give a number: " + ", ".join(f"{number} {word}" for number, word in enumerate(words)) + "."


def change_prompt(
    prompt: str, changes: Sequence[PictureChange], *, lower_case: bool = True
) -> tuple[str, tuple[PictureChange, ...]]:
    """The prompt with words removed and replaced, and the other changes, whose words are counted in the new prompt.

    Args:
        lower_case: whether the model reads small letters, as ``PictureConfig.lower_case`` says.
    Raises:
        ConfigError: there is no such word, or one is changed twice.
    """
    text = as_read(prompt, lower_case)
    spans = [match.span() for match in re.finditer(WORD, text)]
    words = [text[start:end] for start, end in spans]
    others: dict[int, str] = {}
    rest: list[PictureChange] = []
    for change in changes:
        match change:
            case RemoveWord(word=word) | ReplaceWord(word=word):
                if word_number(words, word) in others:
                    raise ConfigError(
                        f"word {word} is changed twice, but it can only be once. Drop one of the changes."
                    )
                others[word] = change.by if isinstance(change, ReplaceWord) else ""
            case _:
                rest.append(change)
    if not others:
        return prompt, tuple(rest)
    for number in sorted(others, reverse=True):
        start, end = spans[number]
        text = text[:start] + others[number] + text[end:]

    def counted(change: PictureChange) -> PictureChange:
        if not isinstance(change, WeighWord):
            return change
        if word_number(words, change.word) in others:
            raise ConfigError(
                f"word {change.word} is weighed and removed or replaced, but it can only be one. Drop one of the changes."
            )
        more = [len(re.findall(WORD, by)) - 1 for number, by in others.items() if number < change.word]
        return replace(change, word=change.word + sum(more))

    return " ".join(text.split()), tuple(map(counted, rest))


# ── reaching in ────────────────────────────────────────────────────────────────────────────────────────


def change_tap(
    painter: PictureGenerator, prompt: str, changes: Sequence[PictureChange], *, looks: int, guidance: float
) -> Tap:
    """A tap for ``PictureGenerator.generate`` that makes these changes while the prompt is painted.

    Args:
        changes: none of them of the prompt; ``change_prompt`` comes first.
        looks: how many the picture takes.
    Raises:
        ConfigError: a layer, head, word or look that is not there.
        DataError: a word is weighed though guidance is 0.
    """
    taps: list[Tap] = []
    stack = painter.config.denoiser.stack
    for change in changes:
        assert not isinstance(change, RemoveWord | ReplaceWord)
        for look in change.looks or ():
            check_number("look", look, looks, "look", "the picture")
        edit: Callable[[Tensor], Tensor]
        if isinstance(change, WeighWord):
            check_words_count({"guidance": guidance})
            words = painter.word_places(prompt)
            _, places = words[word_number([word for word, _ in words], change.word)]
            if change.weight == 1.0:
                continue
            step, edit = "layer.*.cross_attention.weights", partial(_weighed, places, change.weight)
        else:
            check_number("layer", change.layer, stack.num_layers, "layer")
            match change:
                case PictureHeadOff(layer=layer, head=head, where=where):
                    block = stack.block(layer)
                    kind = block.cross_attention if where == "cross_attention" else block.attention
                    assert kind is not None
                    check_number("head", head, kind.num_heads, "head", f"layer {layer}")
                    step, edit = f"layer.{layer}.{where}.mixed", partial(silenced, axis=1, number=head)
                case PictureAttentionOff(layer=layer, where=where):
                    step, edit = f"layer.{layer}.{where}.output", nothing
                case PictureFeedForwardOff(layer=layer):
                    step, edit = f"layer.{layer}.feed_forward.output", nothing
                case _:
                    assert_never(change)
        numbers: Iterable[int | str] = ["*"] if change.looks is None else change.looks
        taps.append(Editor({f"look.{number}.{step}": edit for number in numbers}))
    if not taps:
        return NO_TAP
    return taps[0] if len(taps) == 1 else Chain(*taps)


def _weighed(places: list[int], weight: float, shares: Tensor) -> Tensor:
    """Cross-attention, shape (rows, heads, patches, tokens), with those of a word in the first row multiplied."""
    shares = shares.clone()
    shares[0, :, :, places] *= weight
    shares[0] /= shares[0].sum(dim=-1, keepdim=True).clamp(min=1e-9)
    return shares


# ── painting ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Plan:
    """A picture that is to be painted with changes.

    Attributes:
        prompt: after words were removed and replaced.
        changes: the others, their words counted in this prompt.
        tap: makes them.
    """

    prompt: str
    seed: int
    settings: PaintSettings
    changes: tuple[PictureChange, ...]
    tap: Tap

    def noted(self, picture: Picture) -> Picture:
        """The picture with the changes among its settings."""
        if not self.changes:
            return picture
        made = [change.to_dict() for change in self.changes]
        return replace(picture, settings={**picture.settings, "changes": made})


def plan(
    painter: PictureGenerator,
    source: str | Picture,
    changes: Iterable[PictureChange | Mapping[str, Any]] = (),
    *,
    seed: int | None = None,
    settings: PaintSettings | None = None,
    start: Image.Image | None = None,
    mask: Image.Image | None = None,
    **values: Any,
) -> Plan:
    """What is to be painted, checked; arguments as for ``paint_changed``."""
    made = read_changes(changes)
    if isinstance(source, Picture):
        if seed is not None or settings is not None or values:
            name = "seed" if seed is not None else "settings" if settings is not None else sorted(values)[0]
            raise ConfigError(f"{name} is given beside a picture, but its own settings are kept. Leave it out.")
        described = source.settings
        settings = painter.settings_of(described, start=start, mask=mask)
        if "blend" in described:
            raise DataError(
                "the picture is one of a blend, but changes are made to one prompt. Give one painted alone."
            )
        prompt, seed = str(described["prompt"]), int(described["seed"])
        made = (*read_changes(described.get("changes") or ()), *made)
    else:
        prompt, seed = source, new_seed() if seed is None else seed
        settings = painter.settle(settings, start=start, mask=mask, **values)
    prompt, rest = change_prompt(prompt, made, lower_case=painter.config.lower_case)
    tap = change_tap(painter, prompt, rest, looks=looks_of(settings), guidance=settings.guidance)
    return Plan(prompt, seed, settings, rest, tap)


def paint_changed(
    painter: PictureGenerator,
    source: str | Picture,
    changes: Iterable[PictureChange | Mapping[str, Any]],
    *,
    seed: int | None = None,
    settings: PaintSettings | None = None,
    start: Image.Image | None = None,
    mask: Image.Image | None = None,
    on_step: OnStep | None = None,
    tap: Tap = NO_TAP,
    **values: Any,
) -> Picture:
    """Paint with changes.

    Args:
        source: a prompt, or a picture of this model: it is painted anew with its own seed and settings.
        changes: as dataclasses or as their JSON; those that the picture was painted with stay.
        seed, settings, values: as for ``PictureGenerator.generate``; not beside a picture.
        start, mask: as there; of a picture, those that it was made from.
        tap: sees what the changes made.
    Returns:
        The picture. Its prompt is the changed one; what else was changed stands in its settings as ``changes``.
    Raises:
        ConfigError: a change of something that is not there, or a setting out of its range.
        DataError: words are weighed though guidance is 0, or the picture is one of a blend.
        WeightsError: another model painted the picture.
    """
    made = plan(painter, source, changes, seed=seed, settings=settings, start=start, mask=mask, **values)
    (picture,) = painter.generate(
        made.prompt, seed=made.seed, settings=made.settings, start=start, mask=mask, on_step=on_step,
        tap=tap if made.tap is NO_TAP else made.tap if tap is NO_TAP else Chain(made.tap, tap),
    )  # fmt: skip
    return made.noted(picture)


# ── before and after ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class PictureComparison:
    """A picture before and after changes, of the same seed."""

    before: Picture
    after: Picture
    changes: tuple[PictureChange, ...]

    @property
    def difference(self) -> NDArray[np.float32]:
        """How much each pixel changed, 0 to 1: the mean of its channels, shape (height, width)."""
        return difference(self.before.image, self.after.image)

    def changed(self, region: Region | None = None) -> float:
        """The mean of ``difference``, everywhere or within a region (a box of left, top, right, bottom, or a mask)."""
        found = self.difference
        return float((found if region is None else found[region_mask(region, found.shape)]).mean())

    def _repr_html_(self) -> str:
        """What a notebook shows: both, and where they differ."""
        kinds = ", ".join(str(change.to_dict()) for change in self.changes)
        said = f"Changed: {kinds or 'nothing'}. Mean difference {self.changed():.2%} of the way from black to white."
        return comparison_page(said, self.before.image, self.after.image, self.difference)


def compare_pictures(
    painter: PictureGenerator,
    source: str | Picture,
    changes: Iterable[PictureChange | Mapping[str, Any]],
    *,
    seed: int | None = None,
    settings: PaintSettings | None = None,
    start: Image.Image | None = None,
    mask: Image.Image | None = None,
    on_step: OnStep | None = None,
    **values: Any,
) -> PictureComparison:
    """Paint with and without changes, with the same seed. Arguments as for ``paint_changed``.

    A picture is not painted again for ``before``.
    """
    wanted = read_changes(changes)
    given: dict[str, Any] = {"seed": seed, "settings": settings, **values}
    if isinstance(source, Picture):
        before = source
    else:
        given["seed"] = new_seed() if seed is None else seed
        plan(painter, source, wanted, start=start, mask=mask, **given)  # what is wrong is told before any is painted
        before = paint_changed(painter, source, (), start=start, mask=mask, on_step=on_step, **given)
    after = paint_changed(painter, source, wanted, start=start, mask=mask, on_step=on_step, **given)
    return PictureComparison(before, after, wanted)


def difference(one: Image.Image, other: Image.Image) -> NDArray[np.float32]:
    """How much each pixel differs, 0 to 1: the mean of its channels, shape (height, width)."""
    both = [np.asarray(image.convert("RGB")).astype(np.float32) for image in (one, other)]
    mean: NDArray[np.float32] = np.abs(both[0] - both[1]).mean(axis=-1) / 255
    return mean


def region_mask(region: Region, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """A box (left, top, right, bottom) or a mask as a mask of this shape, (height, width).

    Raises:
        ConfigError: it holds no pixel of the picture, or the mask has another shape.
    """
    height, width = shape
    if isinstance(region, np.ndarray):
        if region.shape != shape:
            raise ConfigError(
                f"region has shape {region.shape}, but the picture's is {shape} (height, width). Give a mask of that shape."
            )
        inside = region.astype(bool)
    else:
        left, top, right, bottom = region
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise ConfigError(
                f"region is {tuple(region)}, but a box is left, top, right, bottom within {width} × {height} pixels. "
                "Correct it."
            )
        inside = np.zeros(shape, bool)
        inside[top:bottom, left:right] = True
    if not inside.any():
        raise ConfigError("region is empty, but there must be pixels to compare. Give one that holds some.")
    return inside
