"""The second judge, which has learned nothing: it knows how the renderer draws heads and hats, and compares.

Analysis by synthesis. Every head is drawn alone, bare and in every hat of every colour. A coarse search lays the faces
over the picture at every place and in every size; where some fit, all heads and hats are laid over it more finely. A
head explains a pixel if it is nearer to its colour there than ``NEAR``; the head that explains most is what is seen.
What the hour does to an animal's colours is known as well, so that every head is tried in every light.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from limner.picture.reading import Arrangement, Reading, Seen
from limner.picture.world.dice import Dice
from limner.picture.world.figure import FigureDrawer, Light
from limner.picture.world.scene import Figure
from limner.picture.world.scenery import light_of
from limner.picture.world.shapes import Shape, at, render, render_parts
from limner.picture.world.vocabulary import ANIMALS, COLOURS, HATS, TIMES

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZE = 64  # pixels a side that every picture is brought to
PIXELS, FRAME, LOW = 34, 3.4, 0.72  # of a template: a side, the same in head units, and where the head's middle is
FACE = (-0.4, 0.8)  # of a head, from where to where no hat hides it
COARSE = 7.5  # pixels of a head unit in the coarse search
UNITS = tuple(5.6 * 1.14**step for step in range(8))  # pixels of a head unit in pictures of SIZE
LEFT, TOP, BOTTOM = 5.0, 15.0, 50.0  # pixels from the edges (of SIZE) within which middles of heads are
DRAWN = (32, 64, 128)  # templates are as sharp as a picture of the nearest of these sizes
FIRST, SECOND = -2.2, {32: 0.5, 64: -0.7, 128: -0.5}  # scores from which on there is a head, and a second one
# How the renderer places two: the largest unit, the larger by the smaller one, how far apart across (stacked, or else
# beside) and downwards (stacked at least, beside at most) in units of the larger.
LARGEST, RATIO, STACKED, BESIDE, BELOW, LEVEL = 12.0, 2.0, 1.25, 2.15, 0.75, 2.5
# How well a head fits is the logarithm of (what is to explain) / (what is left), per pixel. Tried on drawings:
NEAR = 0.07  # squared distance of two colours, red, green and blue from 0 to 1, that is as bad as no explanation
PLAIN, EVEN = 0.06, 0.002  # added to what is to explain in the coarse search, and to what is left
LARGE = 0.4  # large heads count more, by this power of their unit
FIT = 1.5  # weight of the explained share of the animal's own variance: brown is not yet a bear
CANDIDATES, FINALISTS = 5, 2  # heads that are looked at closely, and most closely
ROUGHLY = tuple(product((-0.12, 0.0, 0.12), (-0.12, 0.0, 0.12), (0.93, 1.0, 1.07), (0.0,)))
FINELY = tuple(product((-0.06, 0.0, 0.06), (-0.06, 0.0, 0.06), (1.0,), (-0.12, 0.0, 0.12)))
ANIMAL, HAT = 1, 2  # numbers of the parts

Steps = tuple[tuple[float, ...], ...]  # changes of x and y in head units, of the size, of the tilt in radians


@cache
def _lights() -> tuple[Tensor, Tensor]:
    """What hour and shade do to a colour c: share · c + rest. Shapes (lights,) and (lights, 3)."""
    share, rest = [], []
    for time, (shade, towards) in product(TIMES[1:], ((0.0, 0.0), (0.06, 1.0), (0.06, 0.06))):  # morning is as noon
        low, high = (light_of(time).on((c, c, c)) for c in (0.0, 1.0))
        tint = high[0] - low[0]
        share.append(tint * (1 - shade))
        rest.append([tint * shade * towards + c for c in low])
    return torch.tensor(share), torch.tensor(rest)


class _Heads:
    """Templates of one animal at one size: first bare, then in every hat, either way round, in every colour.

    Args:
        images: from 0 to 1, shape (templates, 3, across, across).
        parts: 1 where the animal and where the hat is seen, shape (2, templates, across, across).
        names: hat and colour.
    """

    def __init__(self, images: Tensor, parts: Tensor, names: Sequence[tuple[str | None, str | None]]) -> None:
        self.seen, self.worn = parts.flatten(2)  # (templates, pixels)
        self.animal, self.hat = (images.flatten(1) * part.repeat(1, 3) for part in (self.seen, self.worn))
        self.names = tuple(names)
        self.pixels, self.hat_pixels = self.seen.sum(dim=1), self.worn.sum(dim=1)
        self.squares, self.hat_squares = (self.animal**2).sum(dim=1), (self.hat**2).sum(dim=1)
        share, rest = _lights()
        sums = self.animal.view(len(names), 3, -1).sum(dim=2)
        # What of the squared error hangs on the template and the light alone: (lights, templates).
        self.fixed = (
            share[:, None] ** 2 * self.squares
            + 2 * share[:, None] * (rest @ sums.T)
            + self.pixels * (rest**2).sum(dim=1)[:, None]
        )


def _drawn_head(figure: Figure, turned: bool, pixels: int, drawn: int) -> tuple[Tensor, Tensor]:
    """A head with its hat, and whose each pixel is; all that hangs on chance is in the middle of its range.

    As sharp as in a picture of ``drawn`` pixels that was brought to SIZE.
    """
    dice = Dice(0, "template")
    dice.random = lambda: 0.4999 if turned else 0.5
    drawer = FigureDrawer(figure, dice, Light(), (ANIMAL, HAT), alone=True)
    drawer.sheet.part = ANIMAL
    drawer._head(at(0, 0))
    shapes: list[Shape] = drawer.sheet.shapes
    for shape in shapes:
        shape.place = at(50, 100 * LOW, size=100 / FRAME) @ shape.place
    image = Image.fromarray(render(shapes, round(pixels * drawn / SIZE)))
    image = image.resize((pixels, pixels), Image.Resampling.BICUBIC)
    colours = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    return colours, torch.from_numpy(render_parts(shapes, pixels))


@cache
def _heads(animal: str, drawn: int, pixels: int) -> _Heads:
    """All heads of an animal, PIXELS across, or half of it from the same drawings."""
    images, parts, names = _drawn_heads(animal, drawn)
    times = PIXELS // pixels
    return _Heads(F.avg_pool2d(images, times), (F.avg_pool2d(parts, times) > 0.5).float(), names)


@cache
def _drawn_heads(animal: str, drawn: int) -> tuple[Tensor, Tensor, list[tuple[str | None, str | None]]]:
    wearing = [(None, None, False), *product(HATS, COLOURS, (False, True))]
    heads = [_drawn_head(Figure(animal, "sitting", hat, colour), way, PIXELS, drawn) for hat, colour, way in wearing]
    whose = torch.stack([parts for _, parts in heads])
    parts = torch.stack([(whose == part).float() for part in (ANIMAL, HAT)])
    return torch.stack([image for image, _ in heads]), parts, [(hat, colour) for hat, colour, _ in wearing]


# ── the coarse search ──────────────────────────────────────────────────────────────────────────────────


@cache
def _faces(drawn: int) -> tuple[Tensor, Tensor]:
    """The lower half of all bare heads, which no hat hides, and where they are seen: (animals, 3 and 1, rows, across)."""
    pixels = round(FRAME * COARSE)
    first, last = (round((FRAME * LOW + y) * COARSE) for y in FACE)
    images, masks = [], []
    for animal in ANIMALS:
        image, whose = _drawn_head(Figure(animal, "sitting"), False, pixels, drawn)
        images.append(image[:, first:last])
        masks.append((whose[first:last] == ANIMAL)[None].float())
    return torch.stack(images), torch.stack(masks)


@dataclass(frozen=True)
class _Guess:
    """A head somewhere: the middle and the head unit in pixels of SIZE, and its tilt in radians."""

    animal: int
    x: float
    y: float
    unit: float
    score: float
    turn: float = 0.0
    name: tuple[str | None, str | None] = (None, None)

    def near(self, other: _Guess, units: float) -> bool:
        return bool((self.x - other.x) ** 2 + (self.y - other.y) ** 2 < (units * max(self.unit, other.unit)) ** 2)

    def beside(self, other: _Guess) -> Arrangement | None:
        """How two heads could stand together; None: not as the renderer places any."""
        small, large = sorted((self.unit, other.unit))
        across, down = abs(self.x - other.x) / large, abs(self.y - other.y) / large
        if self.animal == other.animal or large > LARGEST or large > RATIO * small or down > LEVEL:
            return None
        if across >= BESIDE:
            return "beside"
        return "stacked" if across >= STACKED and down >= BELOW else None


def _search(picture: Tensor, drawn: int) -> list[_Guess]:
    """Where which face might be, best first; picture of shape (3, SIZE, SIZE), from 0 to 1."""
    faces, masks = _faces(drawn)
    share, rest = _lights()
    share, rest = share[::3], rest[::3]  # the hours alone
    count = masks.sum(dim=(1, 2, 3))  # (animals,)
    own = (masks * faces).sum(dim=(2, 3))  # (animals, 3)
    constant = (masks * faces**2).sum(dim=(1, 2, 3))
    above = round((FACE[0] + FACE[1]) / 2 * COARSE)  # of the face's middle below the head's
    guesses = []
    for unit in UNITS:
        scale = COARSE / unit  # from pixels of SIZE to those of the search
        size = round(SIZE * scale)
        small = F.interpolate(picture[None], size=(size, size), mode="bilinear", antialias=True, align_corners=False)
        scale = size / SIZE
        # Only where middles may be: the first row and column of faces that are laid over it.
        left, top = (round(edge * scale) for edge in (LEFT, TOP))
        high, wide = masks.shape[2:]
        small = F.pad(small, (wide, wide, high, high))[
            :, :, top + above - high // 2 + high :, left - wide // 2 + wide :
        ][:, :, : round((BOTTOM - TOP) * scale) + high, : round((SIZE - 2 * LEFT) * scale) + wide]
        cross = F.conv2d(small, faces * masks)[0]  # (animals, rows, columns)
        sums = F.conv2d(small.transpose(0, 1), masks).transpose(0, 1)  # (animals, 3, rows, columns)
        squares = F.conv2d((small**2).sum(dim=1, keepdim=True), masks)[0]
        left_over = torch.full_like(cross, torch.inf)
        for a, b in zip(share, rest, strict=True):
            fixed = a**2 * constant + 2 * a * (own @ b) + count * (b @ b)
            lit = torch.einsum("ncyx,c->nyx", sums, b)
            left_over = torch.minimum(left_over, squares + fixed[:, None, None] - 2 * a * cross - 2 * lit)
        each = count[:, None, None]
        spread = (squares - (sums**2).sum(dim=1) / each) / each
        fits = torch.log((spread + PLAIN) / (left_over / each + EVEN)) * (COARSE / scale) ** LARGE
        peaks = (fits == F.max_pool2d(fits[None], 3, 1, 1)[0]) & (fits > 0)
        for animal, y, x in peaks.nonzero().tolist():
            middle = ((left + x + 0.5) / scale, (top + y + 0.5) / scale)
            guesses.append(_Guess(animal, *middle, COARSE / scale, float(fits[animal, y, x])))
    return sorted(guesses, key=lambda guess: -guess.score)


def _some(guesses: Sequence[_Guess], first: _Guess | None = None) -> list[_Guess]:
    """The best guesses that say different things; with ``first``, such as could stand beside it."""
    kept: list[_Guess] = []
    for guess in guesses:
        if first is not None and guess.beside(first) is None:
            continue
        if not any(guess.animal == other.animal and guess.near(other, 0.6) for other in kept):
            kept.append(guess)
        if len(kept) == CANDIDATES:
            break
    return kept


# ── looking finely ─────────────────────────────────────────────────────────────────────────────────────


def _refine(picture: Tensor, drawn: int, guess: _Guess, steps: Steps, pixels: int) -> _Guess:
    """The best of all hats for an animal, over small changes of (x, y, as head units; size; tilt)."""
    heads = _heads(ANIMALS[guess.animal], drawn, pixels)
    tries = [
        (guess.x + x * guess.unit, guess.y + y * guess.unit, guess.unit * size, guess.turn + turn)
        for x, y, size, turn in steps
    ]
    patches = _patches(picture, torch.tensor(tries), pixels)  # (tries, 3, pixels)
    flat, squares = patches.flatten(1), (patches**2).sum(dim=1)
    hats = heads.hat_squares - 2 * flat @ heads.hat.T + squares @ heads.worn.T  # (tries, templates)
    sums = (patches.flatten(0, 1) @ heads.seen.T).view(len(tries), 3, -1)
    plain, cross = squares @ heads.seen.T, flat @ heads.animal.T
    share, rest = _lights()
    lit = torch.einsum("tcn,lc->ltn", sums, rest)
    animals = plain + (heads.fixed[:, None] - 2 * share[:, None, None] * cross - 2 * lit).amin(dim=0)
    every = heads.pixels + heads.hat_pixels
    score = every / heads.pixels[0] * torch.log(NEAR / ((hats + animals) / every + EVEN))
    row, template = divmod(int(score.argmax()), len(every))
    count = heads.pixels[template]
    spread = plain[row, template] / count - (sums[row, :, template] / count).square().sum()
    fit = 1 - float(animals[row, template] / count / (spread + EVEN))
    x, y, unit, turn = tries[row]
    value = float(score[row, template]) * unit**LARGE + FIT * max(-1.0, fit)
    return _Guess(guess.animal, x, y, unit, value, turn, heads.names[template])


def _patches(picture: Tensor, tries: Tensor, pixels: int) -> Tensor:
    """The picture around places, upright and of the templates' size: (tries, 3, pixels)."""
    x, y, unit, turn = tries.T[:, :, None, None]
    steps = (torch.arange(pixels) + 0.5) / pixels * FRAME
    down, across = torch.meshgrid(steps - FRAME * LOW, steps - FRAME / 2, indexing="ij")
    at_x = x + unit * (turn.cos() * across - turn.sin() * down)
    at_y = y + unit * (turn.sin() * across + turn.cos() * down)
    grid = torch.stack((at_x, at_y), dim=-1) * (2 / SIZE) - 1
    many = picture[None].expand(len(tries), -1, -1, -1)
    return F.grid_sample(many, grid, padding_mode="border", align_corners=False).flatten(2)


class Rule:
    """Reads pictures by the renderer's knowledge; it does not read where and when."""

    name = "rule"

    @torch.inference_mode()
    def read(self, images: Sequence[Image.Image]) -> list[Reading]:
        """What is in pictures."""
        return [self._read(image) for image in images]

    def _read(self, image: Image.Image) -> Reading:
        drawn = min(DRAWN, key=lambda size: abs(math.log(size / image.width)))
        small = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        picture = torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 255
        guesses = _search(picture, drawn)
        if not guesses:
            return Reading("alone", ())
        first = _best(picture, drawn, _some(guesses))
        if first.score < FIRST:
            return Reading("alone", ())
        others = _some(guesses, first)
        second = _best(picture, drawn, others) if others else first
        arrangement = second.beside(first)
        if arrangement is None or second.score < SECOND[drawn]:
            return Reading("alone", (_seen(first),))
        ordered = sorted((first, second), key=lambda head: -head.y if arrangement == "stacked" else head.x)
        return Reading(arrangement, tuple(map(_seen, ordered)))


def _best(picture: Tensor, drawn: int, guesses: Sequence[_Guess]) -> _Guess:
    def close(some: Sequence[_Guess], steps: Steps, pixels: int) -> list[_Guess]:
        return sorted((_refine(picture, drawn, guess, steps, pixels) for guess in some), key=lambda guess: -guess.score)

    return close(close(guesses, ROUGHLY, PIXELS // 2)[:FINALISTS], FINELY, PIXELS)[0]


def _seen(head: _Guess) -> Seen:
    return Seen(ANIMALS[head.animal], *head.name)
