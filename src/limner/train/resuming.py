"""Going on with a run: whether it is over, and what may change on the way. The same for text and pictures."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Literal

from limner.core.errors import ConfigError, TrainingError, suggest
from limner.train.loop import Outcome, resolve
from limner.train.run import RunFolder, read_events
from limner.train.settings import TrainSettings, changed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

FIXED = ("seed", "optimizer")  # what the checkpoints of a run are made with


def open_run(run: Path, kind: Literal["text", "picture", "autoencoder"]) -> tuple[RunFolder, dict[str, Any]]:
    """A run folder and what its ``run.json`` holds.

    Raises:
        WeightsError: it is no run folder.
        TrainingError: it is a run of another kind, or cannot be written.
    """
    folder, stored = RunFolder.open(run)
    if (found := stored.get("kind")) != kind:
        raise TrainingError(f"{run} is a run of kind {found!r}, but this goes on with kind {kind!r}. Use its own verb.")
    return folder, stored


def check_same(found: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
    """Check that the data of a run are those that it began with.

    Args:
        found, stored: what they are known by, now and then; what is not stored (a run of an older version) is not compared.
    Raises:
        TrainingError: they are not.
    """
    for key, value in found.items():
        if value != (before := stored.get(key, value)):
            raise TrainingError(
                f"the data have {key.replace('_', ' ')} {value!s:.12}, but this run began with {before!s:.12}. "
                "Restore them, or start a new run."
            )


def finished(folder: RunFolder, settings: TrainSettings) -> Outcome | None:
    """How a run ended, if it came to its end and was judged; None: there is something left to do."""
    step, note = folder.checkpoints.reached()
    elapsed = float(note.get("elapsed", 0.0))
    done = elapsed >= settings.minutes * 60 if settings.minutes is not None else step >= (settings.steps or 0)
    results = [event for event in read_events(folder.path) if event["event"] == "result"]
    if not (done and step and results and results[-1].get("step") == step and folder.model.is_dir()):
        return None
    losses = note["losses"] or [note["history"][-1][0]]
    best = {name: float(value) for name, value in results[-1].items() if isinstance(value, float) and name != "time"}
    return Outcome("finished", step, elapsed, sum(losses) / len(losses), note["best"], best, dict(note["last_metrics"]))


def changed_on_the_way(
    settings: TrainSettings,
    values: Mapping[str, str],
    folder: RunFolder,
    same: Callable[[str, str], bool | None],
) -> TrainSettings:
    """The settings of a run that goes on with some of them changed.

    Args:
        values: name → text, as ``--set`` has them.
        same: whether a setting that is not the loop's own is as the run began with; None: it is the loop's, or none.
    Raises:
        ConfigError: a setting that cannot change any more, or does not exist.
    """
    of_train = {f.name for f in fields(TrainSettings)}
    changes = {}
    for name, value in values.items():
        is_same = same(name, value)
        if is_same is None and name in FIXED:
            is_same = changed(settings, {name: value}) == settings
        if is_same is False:
            raise ConfigError(
                f"--set {name} is given beside --resume, but a run goes on with the {name} that it began with. "
                "Drop it, or start a new run."
            )
        if is_same is None:
            if name not in of_train:
                raise ConfigError(f"--set {name} is given, but there is no such setting. {suggest(name, of_train)}")
            changes[name] = value
    for one, other in (("steps", "minutes"), ("minutes", "steps")):
        if one in changes and other not in changes:
            settings = replace(settings, **{other: None})  # type: ignore[arg-type]
    new = resolve(changed(settings, changes))
    if bool(new.ema) != bool(settings.ema):
        raise ConfigError(
            f"--set ema={new.ema:g} is given beside --resume, but this run {'keeps an' if settings.ema else 'has no'} average "
            "of its weights. Drop it, or start a new run."
        )
    done, _ = folder.checkpoints.reached()
    if new.steps is not None and new.steps < done:
        raise ConfigError(f"steps is {new.steps}, but the run has done {done} already. Choose {done + 1} or more.")
    return new
