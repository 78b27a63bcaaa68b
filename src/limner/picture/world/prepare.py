"""Drawn pictures straight into training: a set as ``limner.data.picture_shards`` keeps them, made once and reused."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from limner.core.errors import ConfigError
from limner.data.cache import building
from limner.data.picture_shards import PictureSet, PictureSetWriter
from limner.picture.world.draw import SIZES
from limner.weights.places import mark_used

VERSION = 2  # of the drawings: a set drawn by an older one is not reused
TOGETHER = 64  # pictures that a process draws before it hands over
VALIDATION_SEEDS = 1 << 40  # the first; training takes those from 0

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class DrawnPlan:
    """Which drawings to train on.

    Attributes:
        count: pictures to train on.
        captions: of each picture, in other words; one is drawn at each visit.
        two: share of pictures with two animals.
        validation: pictures beside them, of the same kind and other seeds.
    """

    count: int = 20_000
    size: int = 64
    captions: int = 4
    two: float = 0.3
    seed: int = 0
    validation: int = 512

    def __post_init__(self) -> None:
        for name in ("count", "captions", "validation"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"drawn.{name} is {getattr(self, name)}, but it must be at least 1. Choose a larger number."
                )
        if not 0 <= self.two <= 1:
            raise ConfigError(f"drawn.two is {self.two:g}, but it is a share. Choose a number from 0 to 1.")
        if not SIZES[0] <= self.size <= SIZES[1]:
            raise ConfigError(
                f"the drawings are to be {self.size} pixels a side, but are drawn from {SIZES[0]} to {SIZES[1]}. "
                "Choose one of these."
            )


@dataclass(frozen=True)
class DrawnData:
    """Drawings ready for training; nothing in them is held back by ``limner.picture.world.split``."""

    train: PictureSet
    validation: PictureSet
    reused: bool


def prepare_drawn(plan: DrawnPlan, cache: Path, *, workers: int = 0, progress: Progress | None = None) -> DrawnData:
    """Draw the pictures of a plan, or open those drawn before.

    Args:
        cache: folder for prepared pictures; each takes 4 × ``size``² bytes, one for its parts.
        workers: processes that draw; 0: one for each core.
        progress: called with (what is being done, pictures drawn, pictures to draw).
    Raises:
        DataError: the cache cannot be written.
    """
    key = hashlib.sha256(json.dumps([VERSION, asdict(plan)]).encode()).hexdigest()
    folder = cache / f"drawn-{key[:20]}"
    reused = _is_whole(folder)
    if not reused:
        with building(folder, _is_whole, "the pictures are") as temporary:
            _draw_all(plan, temporary, workers or _cores(), progress or (lambda *_: None))
    mark_used(folder)
    return DrawnData(PictureSet.open(folder / "train"), PictureSet.open(folder / "validation"), reused)


def _is_whole(folder: Path) -> bool:
    return all((folder / part / "pictures.json").is_file() for part in ("train", "validation"))


def _draw_all(plan: DrawnPlan, folder: Path, workers: int, progress: Progress) -> None:
    total, done = plan.count + plan.validation, 0
    first = plan.seed * plan.count
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for part, start, count in (("train", first, plan.count), ("validation", VALIDATION_SEEDS, plan.validation)):
            with PictureSetWriter(folder / part, [(plan.size, plan.size)], parts=True) as writer:
                pieces = range(start, start + count, TOGETHER)
                work = partial(_draw_some, plan, start + count)
                for some in pool.map(work, pieces):
                    for array, parts, said in some:
                        writer.add(0, array, said, parts)
                    done += len(some)
                    progress("drawing pictures", done, total)


def _draw_some(plan: DrawnPlan, end: int, first: int) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8], list[str]]]:
    """Picture, parts and captions of each seed."""
    from limner.picture.world.captions import caption
    from limner.picture.world.draw import draw
    from limner.picture.world.scene import sample_scene

    made = []
    for seed in range(first, min(first + TOGETHER, end)):
        scene = sample_scene(seed, which="train", two=plan.two)
        drawing = draw(scene, plan.size)
        said = [caption(scene, seed * plan.captions + number) for number in range(plan.captions)]
        made.append((drawing.image, drawing.parts, said))
    return made


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
