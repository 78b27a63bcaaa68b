"""Latents kept beside pictures: the autoencoder's own, made once, again when it is another."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import limner
from limner import models
from limner.core.errors import ShapeError, WeightsError
from limner.data import PictureBatches, PictureSet, PictureSetWriter
from limner.picture import latents as module
from limner.picture.autoencoder import Autoencoder, AutoencoderConfig, load_autoencoder, save_autoencoder
from limner.picture.folder import save_picture_model
from limner.picture.generator import PictureGenerator
from limner.picture.images import from_bytes
from limner.picture.latents import fingerprint, latent_set
from limner.tokens import Tokenizer
from tests.picture.conftest import make_painter

BUCKETS = [(16, 16), (8, 24), (24, 8)]  # nothing is in the last


@pytest.fixture
def coder() -> Autoencoder:
    """Every parameter random and none zero; latents of deviation 1 or so."""
    torch.manual_seed(1)
    model = Autoencoder(AutoencoderConfig(latent_channels=5, factor=4, width=8, multipliers=(1, 2)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    model.fit_scale([torch.rand(16, 3, 16, 16) * 2 - 1])
    return model


@pytest.fixture
def pictures(tmp_path: Path) -> PictureSet:
    random = np.random.default_rng(0)
    with PictureSetWriter(tmp_path / "set", BUCKETS) as writer:
        for number in range(20):
            bucket = int(number % 3 == 0)
            writer.add(bucket, random.integers(0, 256, (*BUCKETS[bucket], 3), np.uint8), [f"number {number}"])
    return PictureSet.open(tmp_path / "set")


def folders(pictures: PictureSet) -> list[Path]:
    return sorted(pictures.folder.glob("latents-*"))


def test_they_are_what_the_autoencoder_gives(
    pictures: PictureSet, coder: Autoencoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOGETHER", 3 * 16 * 16)
    told: list[tuple[Any, ...]] = []
    made = latent_set(pictures, coder, lambda *what: told.append(what))
    assert made.buckets == ((4, 4), (2, 6), (6, 2))
    assert [array.shape for array in made.arrays] == [(13, 4, 4, 5), (7, 2, 6, 5), (0, 6, 2, 5)]
    assert told[-1] == ("encoding pictures", 20, 20)
    for number in range(20):
        array, captions = pictures.picture(number)
        latents, same = made.picture(number)
        pixels = from_bytes(torch.from_numpy(np.array(array)).permute(2, 0, 1)[None])
        with torch.no_grad():
            expected = coder.normalise(coder.encode(pixels).mean)[0].permute(1, 2, 0).numpy()
        assert captions == same == (f"number {number}",)
        assert np.abs(latents - expected).max() < 1e-3 * max(1, np.abs(expected).max())
    batch = PictureBatches(made, 6, seed=0)(4)
    assert batch.images.shape in {(6, 5, 4, 4), (6, 5, 2, 6)}
    assert batch.captions == PictureBatches(pictures, 6, seed=0)(4).captions


def test_they_are_made_once_for_each_autoencoder(
    pictures: PictureSet, coder: Autoencoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    latent_set(pictures, coder)
    (first,) = folders(pictures)
    save_autoencoder(tmp_path / "coder", coder)
    same, _ = load_autoencoder(tmp_path / "coder")
    with monkeypatch.context() as patch:
        patch.setattr(Autoencoder, "encode", None)  # it would fail
        latent_set(pictures, same)
    with torch.no_grad():
        same.deviation.mul_(2)
    assert fingerprint(same) != fingerprint(coder)
    halved = latent_set(pictures, same)
    assert len(folders(pictures)) == 2
    assert np.allclose(halved.arrays[0] * 2, latent_set(pictures, coder).arrays[0], atol=1e-2)
    os.truncate(first / "bucket-4x4.bin", 10)
    before = [np.array(array) for array in halved.arrays]
    again = latent_set(pictures, coder)
    assert all(np.allclose(array, 2 * half, atol=1e-2) for array, half in zip(again.arrays, before, strict=True))


def test_what_cannot_be_kept(pictures: PictureSet, coder: Autoencoder, tmp_path: Path) -> None:
    with torch.no_grad():
        coder.deviation.fill_(1e-9)
    with pytest.raises(WeightsError, match=r"gives latents of up to .*e\+.* 65,504 is the most"):
        latent_set(pictures, coder)
    assert folders(pictures) == []
    with PictureSetWriter(tmp_path / "odd", [(16, 18)]) as writer:
        writer.add(0, np.zeros((16, 18, 3), np.uint8), ["odd"])
    with pytest.raises(ShapeError, match="the width is 18 pixels"):
        latent_set(PictureSet.open(tmp_path / "odd"), coder)


@pytest.mark.parametrize("dtype", ["bfloat16", "auto"])
def test_the_scale_stays_exact_whatever_is_computed_in(
    dtype: str, coder: Autoencoder, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "BFLOAT16_FROM", 0)
    monkeypatch.setattr(models, "bfloat16_helps", lambda _: True)
    painter = make_painter(tokenizer, patch=1, autoencoder=coder.config)
    assert painter.model.autoencoder is not None
    painter.model.autoencoder.load_state_dict(coder.state_dict())
    save_picture_model(tmp_path / "model", painter.model, tokenizer)
    loaded = limner.load(tmp_path / "model", dtype=dtype)
    assert isinstance(loaded, PictureGenerator)
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.bfloat16}
    kept = loaded.model.autoencoder
    assert kept is not None
    assert torch.equal(kept.mean, coder.mean)
    assert torch.equal(kept.deviation, coder.deviation)
    assert loaded.generate("a fox", seed=1, steps=2)[0].image.size == (16, 16)


def test_of_an_average_only_what_makes_latents_is_known_by() -> None:
    values = {"encoder": "average", "latent_channels": 3, "factor": 4, "width": 8, "multipliers": (1, 2)}
    first, second = Autoencoder(AutoencoderConfig(**values)), Autoencoder(AutoencoderConfig(**values))
    assert fingerprint(first) == fingerprint(second), "their decoders differ, their latents do not"
    second.deviation.fill_(0.5)
    assert fingerprint(first) != fingerprint(second)


def test_latents_that_were_made_before_are_found() -> None:
    """Digests as they were before an encoder could be anything but learned."""
    model = Autoencoder(AutoencoderConfig(latent_channels=2, factor=4, width=8, multipliers=(1,)))
    for value in model.state_dict().values():
        value.fill_(0.25)
    assert fingerprint(model)[:16] == "c3ae364afd24e059"
