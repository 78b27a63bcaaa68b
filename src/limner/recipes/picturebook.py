"""The bundled model ``picturebook``, and a small one that anybody trains in ten minutes."""

from __future__ import annotations

from limner.picture.autoencoder import AutoencoderConfig
from limner.picture.world.prepare import DrawnPlan
from limner.train.autoencoder import AutoencoderPictures, AutoencoderPlan
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


DRAWN = DrawnPlan(count=80_000, size=128, captions=4, two=0.6)  # two animals, small, take the most looks to learn


def picturebook_autoencoder() -> AutoencoderPlan:
    """The latents are the pictures at 32 × 32, and what is learned is to draw them at 128 × 128."""
    return AutoencoderPlan(
        config=AutoencoderConfig(
            encoder="average", latent_channels=3, factor=4, width=64, multipliers=(1, 2), decoder_blocks=2
        ),
        pictures=AutoencoderPictures(pixels=DRAWN.size),
        drawn=DRAWN,
        dtype="bfloat16",
        train={"minutes": 75.0, "batch_size": 16, "ema": 0.99, "evaluations": 6, "save_minutes": 4.0},
        card={"title": "Small pictures drawn large", "recipe": "picturebook-autoencoder", **CARD},
    )


def picturebook() -> PicturePlan:
    """128 × 128 pixels as latents of 32 × 32 in patches of 4: 64 vectors, so that a processor can train it."""
    return PicturePlan(
        drawn=DRAWN,
        picture=PictureSettings(
            pixels=DRAWN.size,
            autoencoder="runs/picturebook-autoencoder",
            patch=4,
            dim=192,
            num_layers=6,
            num_heads=3,
            time_mean=0.9,
            time_deviation=1.3,
            objects_first=0.6,
            dtype="bfloat16",
        ),
        train={
            "minutes": 300.0,
            "batch_size": 128,
            "ema": 0.998,
            "compile": "on",
            "evaluations": 24,
            "save_minutes": 5.0,
        },
        prompts=PROMPTS,
        card={"title": "Animals in hats, as in a picture book", "recipe": "picturebook", **CARD},
    )


def picturebook_mini() -> PicturePlan:
    """32 × 32 pixels in patches of 4, narrow vectors and one animal a picture, so that it listens within minutes."""
    return PicturePlan(
        drawn=DrawnPlan(count=20_000, size=32, captions=4, two=0.0),
        picture=PictureSettings(
            pixels=32,
            patch=4,
            dim=128,
            num_layers=6,
            num_heads=4,
            prompt_layers=1,
            time_mean=0.9,
            time_deviation=1.3,
            objects_first=0.7,
            dtype="bfloat16",
        ),
        train={
            "minutes": 6.5,
            "batch_size": 64,
            "ema": 0.998,
            "compile": "on",
            "evaluations": 6,
            "checkpoints": 2,
        },
        prompts=PROMPTS[:4],
        card={"title": "Small animals in hats", "recipe": "picturebook-mini", **CARD},
    )
