"""A run's model as it was: opened from a checkpoint, for looking at and comparing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limner.core.errors import WeightsError
from limner.train.checkpoint import CheckpointFolder, copy_into, read_checkpoint
from limner.train.run import PLAN

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from limner.picture.generator import PictureGenerator
    from limner.text.encoder import TextEncoder
    from limner.text.generator import TextGenerator


def checkpoint_steps(run: Path) -> list[int]:
    """Steps of which the run folder keeps a checkpoint, in order."""
    return CheckpointFolder(run / "checkpoints").steps()


def open_at(
    run: Path, step: int, *, device: str | torch.device = "cpu"
) -> TextGenerator | TextEncoder | PictureGenerator:
    """The model of a run as it was after so many steps; the average of its weights where the run keeps one.

    What is not trained, and everything but the weights, is taken from the run's best model.

    Raises:
        WeightsError: the run has no model yet or no checkpoint of that step, or it is damaged or of another model.
    """
    from limner.models import load
    from limner.picture.generator import PictureGenerator

    steps = checkpoint_steps(run)
    if step not in steps:
        kept = ", ".join(map(str, steps)) or "none"
        raise WeightsError(
            f"the step is {step}, but {run / PLAN} is of a run that keeps checkpoints of these: {kept}. Choose one of them."
        )
    model = load(run, device=device)
    checkpoint = read_checkpoint(CheckpointFolder(run / "checkpoints").folder(step))
    group = "average/" if any(name.startswith("average/") for name in checkpoint.tensors) else "weights/"
    parameters = dict(model.model.named_parameters())
    for full, value in checkpoint.tensors.items():
        if full.startswith(group):
            name = full.removeprefix(group)
            if name not in parameters:
                raise WeightsError(
                    f"{checkpoint.path} has {full}, but the run's model has no such part. Use the run it belongs to."
                )
            copy_into(parameters[name], value, f"{checkpoint.path}: {name}")
    digest = str(checkpoint.note["sha256"])  # the best model's would name other weights
    model.card = {**model.card, "checkpoint": step}
    if isinstance(model, PictureGenerator):
        model.sha256 = digest
    else:
        model.card["sha256"] = digest
    return model
