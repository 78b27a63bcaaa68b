"""What a studio of the tests has to show: small random models, and a run. For tests with a browser and without one."""

from __future__ import annotations

from pathlib import Path

from limner.picture.folder import save_picture_model
from limner.tokens import train_tokenizer
from limner.train.probes import Probe
from limner.train.text import TextPlan, TextSettings, start
from limner.weights.folder import save_model
from tests.picture.conftest import CAPTIONS, make_painter
from tests.text.conftest import STORY, make_generator

PROBE = {"prompt": "The sky is", "right": " blue", "wrong": " green"}


def save_models(folder: Path) -> Path:
    """Two models into a directory: ``tiny`` writes, ``painter`` paints."""
    tokenizer = train_tokenizer("byte-bpe", [STORY] * 4, vocab_size=320)
    generator = make_generator(tokenizer, end_bias=-20.0)
    save_model(folder / "tiny", generator.model, tokenizer, {"licence": "CC0-1.0"})
    words = train_tokenizer("byte-bpe", list(CAPTIONS) * 4, vocab_size=300)
    painter = make_painter(words)
    save_picture_model(folder / "painter", painter.model, words, painter.card)
    return folder


def train_sky(folder: Path, text: Path) -> Path:
    """A run of 8 steps with checkpoints of steps 4 and 8, and a probe, on a file that is written for it."""
    text.write_text("The sky is blue. The grass is green. " * 200)
    plan = TextPlan(
        data=(text,),
        text=TextSettings(context_length=32, vocab_size=300),
        train={"steps": 8, "batch_size": 4, "threads": 1, "precision": "float32", "compile": "off", "checkpoints": 2,
               "evaluations": 2, "learning_rate": 0.01},
        model={"dim": 32, "num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "head_dim": 16, "hidden_dim": 64},
        probes=(Probe(**PROBE),),
    )  # fmt: skip
    start(plan, folder).train()
    return folder
