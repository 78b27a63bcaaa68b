"""The bundled model ``shakespeare``."""

from __future__ import annotations

from limner.data import bundled
from limner.train.probes import Probe
from limner.train.text import TextPlan, TextSettings


def shakespeare() -> TextPlan:
    """A small model that writes plays letter by letter; the last tenth of the text is held back."""
    return TextPlan(
        data=tuple(bundled("shakespeare")),
        text=TextSettings(
            tokenizer="characters",
            vocab_size=128,
            size="1.5M",
            context_length=256,
            dropout=0.2,
            validation=0.1,
            sample_tokens=200,
            dtype="bfloat16",
        ),
        train={"minutes": 15.0, "batch_size": 16, "optimizer": "muon", "seed": 1},
        prompts=("ROMEO:", "KING RICHARD III:\n"),
        probes=(
            Probe("To be or not to ", "be", "go"),
            Probe("ROME", "O", "S"),
            Probe("my lor", "d", "e"),
        ),
        card={
            "title": "Plays in the manner of Shakespeare, letter by letter",
            "trained_on": "tinyshakespeare: 40,000 lines of Shakespeare's plays",
            "licence": "Apache-2.0 (model); public domain (data)",
            "recipe": "shakespeare",
        },
    )
