"""Small random picture models: enough to paint nonsense with, in milliseconds."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from limner.picture.config import DiffusionConfig, PictureConfig, make_config
from limner.picture.denoiser import PictureModel
from limner.picture.folder import save_picture_model
from limner.picture.generator import PictureGenerator
from limner.tokens import Tokenizer, train_tokenizer

CAPTIONS = (
    "a fox with a green hat on the beach at night",
    "a black cat with a yellow crown in the snow",
    "a panda in a blue wizard hat climbing a tree",
)
WORDS = sorted({word for text in CAPTIONS for word in re.findall(r"\w+", text)})
SIDE = 16  # pixels
LONGEST = 20  # tokens of a prompt

MakePainter = Callable[..., PictureGenerator]


def small_config(**values: Any) -> PictureConfig:
    settings: dict[str, Any] = {
        "size": (SIDE, SIDE), "patch": 4, "dim": 32, "num_layers": 2, "num_heads": 2, "vocab_size": 300,
        "context_length": LONGEST,
    }  # fmt: skip
    return make_config(**(settings | values))


def make_painter(
    tokenizer: Tokenizer, diffusion: DiffusionConfig | None = None, *, seed: int = 0, **values: Any
) -> PictureGenerator:
    """Every parameter random and none zero, so that prompt, time and place all count."""
    model = PictureModel(small_config(diffusion=diffusion, **values)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.15 * torch.randn(parameter.shape, generator=generator))
    return PictureGenerator(model, tokenizer, card={"name": "tiny", "words": WORDS}, sha256="0" * 64)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return train_tokenizer("byte-bpe", list(CAPTIONS) * 4, vocab_size=300)


@pytest.fixture
def painter(tokenizer: Tokenizer) -> PictureGenerator:
    return make_painter(tokenizer)


@pytest.fixture(scope="session")
def painter_folder(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of the same kind, on a shelf of its own."""
    folder = tmp_path_factory.mktemp("painters") / "tiny"
    painter = make_painter(tokenizer)
    save_picture_model(folder, painter.model, tokenizer, painter.card | {"licence": "CC0-1.0", "trained_on": "nothing"})
    return folder
