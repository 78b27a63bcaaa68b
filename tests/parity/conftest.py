"""Small models of the reference libraries, every parameter random, in folders as their libraries write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import PreTrainedTokenizerFast

VOCAB = 97
TOLERANCE = 1e-5


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Make every parameter non-zero, the norms' too: what starts at 0 or 1 hides errors."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            centre = 1.0 if parameter.dim() == 1 and name.endswith("weight") else 0.0
            spread = 0.3 if parameter.dim() < 2 else parameter.shape[-1] ** -0.5
            parameter.copy_(centre + spread * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of 96 words, as a folder has one."""
    words = {f"w{i}": i for i in range(VOCAB - 1)}
    own = Tokenizer(models.WordLevel(words, unk_token="w0"))
    own.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=own, unk_token="w0", pad_token="w1", eos_token="w2")


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(7)


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Write a model of transformers into a folder, with a tokenizer."""

    def write(model: nn.Module, **options: object) -> Path:
        path = tmp_path / "reference"
        model.save_pretrained(path, **options)
        tokenizer().save_pretrained(path)
        return path

    return write


def padded(lengths: tuple[int, ...], side: str, seed: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, mask and positions of texts of different lengths, shape (batch, longest)."""
    longest = max(lengths)
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, VOCAB, (len(lengths), longest), generator=generator)
    places = torch.arange(longest)
    rows = [places >= longest - n if side == "left" else places < n for n in lengths]
    mask = torch.stack(rows)
    return ids, mask, (mask.long().cumsum(1) - 1).clamp(min=0)


def near(found: torch.Tensor, expected: torch.Tensor, what: str = "") -> None:
    """The same numbers to within the tolerance, which ``pytest -s`` prints."""
    difference = (found - expected).abs().max().item()
    assert expected.std() > 0.1, "the reference says the same everywhere, so nothing is compared"
    assert difference <= TOLERANCE, f"{what} {difference}"
    print(f"largest difference {difference:.2e} {what}")
