"""The denoiser: patches there and back, what it may not mix, and sizes that it was not made for."""

from __future__ import annotations

import pytest
import torch

from limner.core.errors import ConfigError, ShapeError
from limner.picture.config import PictureConfig, make_config
from limner.picture.denoiser import PictureModel, patchify, places, unpatchify
from limner.picture.generator import PictureGenerator
from tests.picture.conftest import LONGEST, SIDE, small_config


def test_patches_are_squares_in_reading_order() -> None:
    picture = torch.arange(2 * 3 * 4 * 6).view(2, 3, 4, 6)
    patches = patchify(picture, 2)
    assert patches.shape == (2, 6, 12)
    where = places(2, 3, torch.device("cpu"))
    for number, (row, column) in enumerate(where.tolist()):
        square = picture[0, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        assert torch.equal(patches[0, number], square.flatten())
    assert torch.equal(unpatchify(patches, 2, 4, 6), picture)


@torch.no_grad()
def test_pictures_of_a_batch_do_not_mix_and_padding_does_not_count(painter: PictureGenerator) -> None:
    model, prompts = painter.model, painter.prompts([("a fox", 1.0)], "a black cat in the snow", 4.0)
    noisy, time = torch.randn(2, 3, SIDE, SIDE), torch.tensor([0.2, 0.7])
    both = model(noisy, time, prompts.ids, prompts.mask)
    for row in range(2):
        alone = model(
            noisy[row : row + 1], time[row : row + 1], prompts.ids[row : row + 1], prompts.mask[row : row + 1]
        )
        torch.testing.assert_close(both[row : row + 1], alone, rtol=1e-4, atol=1e-5)
    other = torch.where(prompts.mask, prompts.ids, 7)
    torch.testing.assert_close(model(noisy, time, other, prompts.mask), both, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_it_takes_other_sizes_of_whole_patches(painter: PictureGenerator) -> None:
    prompts = painter.prompts([("a fox", 1.0)], "", 1.0)
    for height, width in ((8, 24), (32, 4)):
        noisy = torch.randn(2, 3, height, width)
        assert painter.model(noisy, torch.rand(2), prompts.ids, prompts.mask).shape == noisy.shape
    with pytest.raises(ShapeError, match=r"the picture is 10 × 16.*multiples of 4"):
        painter.model(torch.randn(2, 3, 10, 16), torch.rand(2), prompts.ids, prompts.mask)


@torch.no_grad()
def test_it_begins_by_predicting_nothing() -> None:
    model = PictureModel(small_config())
    ids, mask = torch.zeros(1, LONGEST, dtype=torch.long), torch.ones(1, LONGEST, dtype=torch.bool)
    assert not model(torch.randn(1, 3, SIDE, SIDE), torch.rand(1), ids, mask).any()


def test_its_description_goes_to_json_and_back() -> None:
    config = small_config(bottleneck=8)
    assert PictureConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ConfigError, match=r"size is 16 × 18.*multiple of 4.*Choose 16 instead of 18"):
        make_config(size=(16, 18), patch=4, dim=32, num_layers=1, num_heads=2, vocab_size=9)
