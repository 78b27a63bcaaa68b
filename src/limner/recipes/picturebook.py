"""The bundled model ``picturebook``, and a small one that anybody trains in ten minutes."""

from __future__ import annotations

from limner.picture.world.prepare import DrawnPlan
from limner.train.picture import PicturePlan, PictureSettings

PROMPTS = (
    "a German Shepherd wearing a red baseball cap",
    "a fox with a green top hat in the snow",
    "a panda in a blue wizard hat climbing a tree",
    "a black cat with a yellow crown at night",
    "a rabbit in a pink chef hat next to a corgi in a purple party hat",
    "a koala with a white cowboy hat on the beach",
    "a bear in an orange beanie to the left of a kitten",
    "a squirrel in a brown baseball cap sitting on a dalmatian",
)

CARD = {
    "trained_on": "Drawings of the picture-book world, made by limner itself; nothing that it holds back is among them",
    "licence": "Apache-2.0 (model and drawings)",
}


def picturebook() -> PicturePlan:
    """128 × 128 pixels in patches of 16: 64 vectors, so that a processor can train it."""
    return PicturePlan(
        drawn=DrawnPlan(count=40_000, size=128, captions=4, two=0.3),
        picture=PictureSettings(
            pixels=128,
            patch=16,
            dim=256,
            num_layers=8,
            num_heads=4,
            bottleneck=128,
            time_mean=0.9,
            time_deviation=1.3,
            dtype="bfloat16",
        ),
        train={
            "minutes": 90.0,
            "batch_size": 64,
            "ema": 0.999,
            "compile": "off",
            "evaluations": 24,
            "save_minutes": 5.0,
        },
        prompts=PROMPTS,
        card={"title": "Animals in hats, as in a picture book", "recipe": "picturebook", **CARD},
    )


def picturebook_mini() -> PicturePlan:
    """32 × 32 pixels in patches of 8: 16 vectors, one animal a picture, so that it listens within minutes."""
    return PicturePlan(
        drawn=DrawnPlan(count=20_000, size=32, captions=4, two=0.0),
        picture=PictureSettings(
            pixels=32,
            patch=8,
            dim=192,
            num_layers=6,
            num_heads=3,
            time_mean_first=2.2,
            time_mean=0.8,
            time_deviation=1.1,
            dtype="bfloat16",
        ),
        train={"minutes": 8.0, "batch_size": 128, "ema": 0.998, "evaluations": 6, "checkpoints": 2},
        prompts=PROMPTS[:4],
        card={"title": "Small animals in hats", "recipe": "picturebook-mini", **CARD},
    )
