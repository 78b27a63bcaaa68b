"""The bundled model ``story``."""

from __future__ import annotations

from limner.data import bundled
from limner.train.probes import Probe
from limner.train.text import TextPlan, TextSettings


def story() -> TextPlan:
    """A Qwen3-style model of 5.8 million parameters that writes little stories.

    Byte-level BPE of 4,096 tokens; a twentieth of the stories is held back. The recased stories, whose capitals a
    program guessed, help to learn and are no part of what is measured.
    """
    return TextPlan(
        data=tuple(bundled("stories")),
        train_only=tuple(bundled("stories_recased")),
        text=TextSettings(
            tokenizer="byte-bpe",
            vocab_size=4096,
            size="6M",
            context_length=256,
            dropout=0.05,
            validation=0.05,
            column="text",
            dtype="bfloat16",
        ),
        train={
            "minutes": 88.0,
            "batch_size": 24,
            "optimizer": "muon",
            "learning_rate": 3e-3,
            "matrix_rate": 1e-2,
            "evaluations": 30,
            "save_minutes": 5.0,
            "seed": 1,
        },
        model={"dim": 256, "num_layers": 6, "num_heads": 4, "num_kv_heads": 2, "head_dim": 64, "hidden_dim": 768},
        prompts=("The curious cat climbed", "Once upon a time", "Lily and Tom went to the park"),
        probes=(
            Probe("One sunny day, the sky was", " blue", " green"),
            Probe("Once upon a", " time", " day"),
            Probe("Lily was a little", " girl", " boy"),
            Probe("The dog ran fast and began to", " bark", " fly"),
            Probe("Tom was sad. He started to", " cry", " laugh"),
            Probe("The bird spread its wings and", " flew", " swam"),
        ),
        card={
            "title": "Little stories in a small child's words",
            "trained_on": "TinyStories (Eldan & Li 2023, arXiv:2305.07759): the bundled stories",
            "licence": "Apache-2.0 (model); CDLA-Sharing-1.0 (data)",
            "recipe": "story",
        },
    )
