"""A character model in seconds: the recipe behind ``bench/time_to_loss.py``.

What makes it short, measured in docs/decisions/0007-training-speed.md: Muon needs a quarter of AdamW's steps; a
schedule made for its length; large enough batches that products, not calls, take the time; bfloat16 where the
processor multiplies it faster; LayerNorm, one call of torch there and back; no checkpoints, no compiler.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from limner.core.config import (
    AttentionConfig,
    BlockConfig,
    FeedForwardConfig,
    HeadConfig,
    LayerNorm,
    ModelConfig,
    RotaryPositions,
    StackConfig,
)
from limner.core.errors import DataError, TrainingError
from limner.core.output import next_token_loss
from limner.core.transformer import Transformer
from limner.train.loop import Training, resolve
from limner.train.run import RunFolder
from limner.train.settings import TrainSettings

WINDOW = 64


@dataclass(frozen=True)
class QuickModel:
    """What ``characters_quick`` made.

    Attributes:
        model: in evaluation mode.
        characters: the vocabulary; a character's id is its place.
        validation: ids of the last tenth of the text.
        seconds: what training took.
    """

    model: Transformer
    characters: str
    validation: Tensor
    seconds: float


def quick_config(vocab_size: int) -> ModelConfig:
    """The model: rotary positions, normed queries and keys, squared ReLU, a tied head."""
    norm = LayerNorm(bias=False)
    attention = AttentionConfig(4, 4, 32, positions=RotaryPositions(base=1000.0), qk_norm=norm)
    block = BlockConfig(attention, FeedForwardConfig(512, "relu2", gated=False), norm=norm)
    return ModelConfig(
        vocab_size, 128, WINDOW, decoder=StackConfig(3, (block,), True, final_norm=norm), head=HeadConfig(tied=True)
    )


def quick_settings() -> TrainSettings:
    """The run: see docs/log.md for the sweep."""
    return TrainSettings(
        steps=136,
        batch_size=48,
        optimizer="muon",
        matrix_rate=2.5e-2,
        learning_rate=1.2e-2,
        weight_decay=0.0,
        momentum=0.9,
        beta2=0.95,
        clip=0.0,
        schedule="linear",
        warmup=0.05,
        compile="off",
        evaluations=1,
        checkpoints=0,
        save_minutes=1e6,
    )


def characters_quick(text: str, *, seed: int = 0, threads: int = 0) -> QuickModel:
    """Train a small character model on the first nine tenths of a text.

    Args:
        text: at least a few thousand characters.
        seed: of the start values and the order of the data.
        threads: 0: as many as there are cores.
    Raises:
        DataError: the text is too short.
        TrainingError: Ctrl-C or SIGTERM stopped it.
    """
    if len(text) < 20 * WINDOW:
        raise DataError(f"the text is {len(text)} characters long, but {20 * WINDOW} are needed. Give a longer one.")
    codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    known, places = np.unique(codes, return_inverse=True)
    ids = torch.from_numpy(places.astype(np.int64))
    cut = int(0.9 * len(ids))
    learned, held_back = ids[:cut], ids[cut:]
    settings = resolve(TrainSettings(**{**quick_settings().to_dict(), "seed": seed, "threads": threads}))
    torch.manual_seed(seed)
    model = Transformer(quick_config(len(known)))
    starts = torch.randint(
        0,
        len(learned) - WINDOW - 1,
        (settings.steps or 0, settings.batch_size, 1),
        generator=torch.Generator().manual_seed(seed),
    )
    offsets = torch.arange(WINDOW)

    def batch(index: int) -> tuple[Tensor, Tensor]:
        where = starts[index] + offsets
        return learned[where], learned[where + 1]

    def step(batch: tuple[Tensor, Tensor]) -> Tensor:
        return next_token_loss(model(batch[0]), batch[1])

    with tempfile.TemporaryDirectory() as scratch:
        folder = RunFolder(Path(scratch))
        outcome = Training(model, step=step, batches=batch, settings=settings, folder=folder).run()
    if outcome.reason != "finished":  # its loss would be taken for the recipe's
        raise TrainingError(
            f"training was stopped after step {outcome.step} of {settings.steps}, but half a run gives another model. "
            "Start it again."
        )
    characters = known.tobytes().decode("utf-32-le")
    return QuickModel(model.eval(), characters, held_back, outcome.elapsed)
