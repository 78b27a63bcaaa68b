"""What the runs of a picture model and of an autoencoder share: the pictures that they learn from, and how they tell it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from limner.core.errors import ConfigError, counted
from limner.data.picture_shards import PictureSet, prepare_pictures
from limner.data.pictures import Captions
from limner.data.report import PictureReport
from limner.picture.world.prepare import DrawnPlan, prepare_drawn
from limner.train.settings import TrainSettings


@dataclass(frozen=True)
class PictureCorpus:
    """Pictures to train on and to judge by; ``report`` is None for drawings."""

    train: PictureSet
    validation: PictureSet
    report: PictureReport | None
    reused: bool

    def summary(self) -> list[str]:
        """Where they are from and how many they are, in two lines or more."""
        source = "drawings of the picture-book world" if self.report is None else self.report.summary()
        counts = f"{len(self.train):,} pictures to train on, {len(self.validation):,} held back"
        return [f"data: {source}", f"      {counts}{' (prepared before)' * self.reused}"]


def open_pictures(
    data: Iterable[Path],
    drawn: DrawnPlan | None,
    cache: Path,
    *,
    size: int,
    validation: float,
    buckets: int,
    multiple: int,
    column: str | None = None,
    captions: Captions = "auto",
    progress: Callable[[str, int, int], None] | None = None,
) -> PictureCorpus:
    """Read pictures, or draw them, or open what was made of them before; all but ``drawn`` as for ``prepare_pictures``.

    Args:
        drawn: drawings in place of data, for which only ``cache`` and ``progress`` are looked at.
    """
    if drawn is not None:
        made = prepare_drawn(drawn, cache, progress=progress)
        return PictureCorpus(made.train, made.validation, None, made.reused)
    read = prepare_pictures(
        data,
        size=size,
        cache=cache,
        validation=validation,
        buckets=buckets,
        multiple=multiple,
        column=column,
        captions=captions,
        progress=progress,
    )
    return PictureCorpus(read.train, read.validation, read.report, read.reused)


def check_drawn(drawn: DrawnPlan | None, pixels: int) -> None:
    """Check that drawings are as large as the settings say, from which patch and shift follow.

    Raises:
        ConfigError: they are not.
    """
    if drawn is not None and drawn.size != pixels:
        raise ConfigError(f"drawn.size is {drawn.size}, but pixels is {pixels}. Give pixels alone.")


def training_summary(settings: TrainSettings) -> list[str]:
    """How long, in what steps and with what, in two lines."""
    length = f"{settings.minutes:g} minutes" if settings.minutes is not None else counted(settings.steps or 0, "step")
    compiled = "compiled, " if settings.compile == "on" else ""
    return [
        f"training: {length}; {settings.batch_size * settings.accumulate} pictures a step",
        f"      {settings.optimizer}, {settings.precision}, {compiled}{counted(settings.threads, 'thread')}",
    ]
