"""A run of your own, from Python: what ``limner train text`` does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from limner.core.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from limner.text.generator import TextGenerator


def train_text(
    data: str | Path | Iterable[str | Path],
    *,
    out: str | Path,
    settings: Mapping[str, object] | None = None,
    resume: bool = False,
    show: bool = True,
) -> TextGenerator:
    """Train a text model on files and folders of texts, and give it back ready to write.

    Args:
        data: files and folders; .txt, .md, .jsonl, .csv, .parquet, plain, .gz or .zst.
        out: the run folder, new; the model is ``out/model``, the curves ``out/events.jsonl``.
        settings: by name what ``--set`` takes: ``{"steps": 500}``, ``{"minutes": 10, "size": "5M"}``; what is not given
            is chosen from the data and the machine.
        resume: where ``out`` holds a run, go on with it instead of refusing; ``data`` is then what it began with.
        show: report progress on standard error.
    Returns:
        The model that predicted the held-back texts best.
    Raises:
        DataError: data that cannot be read or are too little.
        ConfigError: an unknown setting, with the nearest, or a value that cannot be used.
        TrainingError: the run cannot begin or go on, or was interrupted before its first evaluation.
    """
    from limner import models
    from limner.text.generator import TextGenerator
    from limner.train.text import TextPlan, go_on, start

    paths = (data,) if isinstance(data, (str, Path)) else tuple(data)
    assignments = [f"{name}={value}" for name, value in (settings or {}).items()]
    if resume and Path(out).exists():
        run = go_on(Path(out), assignments=assignments)
    else:
        plan = TextPlan(data=tuple(Path(path) for path in paths))
        run = start(plan.override(assignments), Path(out))
    outcome = run.train(run.watchers() if show else ())
    if not run.folder.model.exists():
        raise TrainingError(
            f"the run in {out} ended at step {outcome.step}, but its first evaluation was still to come. Call again with "
            "resume=True."
        )
    loaded = models.load(run.folder.model)
    assert isinstance(loaded, TextGenerator)
    return loaded
