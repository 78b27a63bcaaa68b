"""The autoencoder: shapes, its parts against torch's own, the scale of latents, and the way to disk and back."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from limner.core.errors import ConfigError, ShapeError, WeightsError
from limner.core.tap import Editor, Recorder
from limner.picture.autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    Convolution,
    Gaussian,
    LossWeights,
    amplitudes,
    autoencoder_loss,
    load_autoencoder,
    merge,
    peak_ratio,
    save_autoencoder,
    sharpness,
    split,
)

SMALL = AutoencoderConfig(latent_channels=4, factor=4, width=8, multipliers=(1, 2), decoder_blocks=1)


def alive(config: AutoencoderConfig = SMALL) -> Autoencoder:
    """A model none of whose parameters is 0, so that each of them can be told from none."""
    model = Autoencoder(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.05)
    return model


def drawings(count: int, side: int = 32, seed: int = 0) -> Tensor:
    """Discs and bars of one colour on another, −1 to 1."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    pictures = []
    for number in range(count):
        ground, colour = torch.rand(2, 3, 1, 1, generator=generator)
        at, size = torch.rand(2, generator=generator) * side, side * (0.15 + 0.2 * torch.rand((), generator=generator))
        disc = (x - at[0]).square() + (y - at[1]).square() < size.square()
        bar = (x - at[0]).abs() < size / 2
        pictures.append(torch.where(disc if number % 2 else bar, colour, ground))
    return torch.stack(pictures) * 2 - 1


# ── shapes ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("factor", "multipliers", "patch"),
    [(4, (1, 2), 2), (4, (1, 2, 2), 1), (8, (1, 2, 2), 2), (8, (1,), 8), (16, (1, 2, 2), 4), (16, (1, 1, 1, 1, 2), 1)],
)
def test_shapes_follow_from_the_factor(factor: int, multipliers: tuple[int, ...], patch: int) -> None:
    config = AutoencoderConfig(latent_channels=5, factor=factor, width=8, multipliers=multipliers)
    model = alive(config)
    latents = model.encode(torch.randn(2, 3, 2 * factor, 3 * factor))
    assert config.patch == patch
    assert latents.mean.shape == latents.log_variance.shape == (2, 5, 2, 3)
    assert latents.mean.shape[1:] == model.latent_shape(2 * factor, 3 * factor)
    assert model.decode(latents.mean).shape == (2, 3, 2 * factor, 3 * factor)


def test_merging_and_splitting_undo_each_other_and_hold_pixels_together() -> None:
    x = torch.randn(2, 3, 4, 6)
    merged = merge(x, 2)
    assert torch.equal(split(merged, 2), x)
    assert sorted(merged[0, :, 1, 2].tolist()) == sorted(x[0, :, 2:4, 4:6].flatten().tolist())


def test_pictures_of_a_batch_do_not_see_each_other() -> None:
    model, pixels = alive(), drawings(3)
    together = model.decode(model.encode(pixels).mean)
    torch.testing.assert_close(together[1:2], model.decode(model.encode(pixels[1:2]).mean), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("height", "width", "named"), [(30, 32, "height is 30"), (32, 33, "width is 33")])
def test_a_size_that_does_not_divide_is_named(height: int, width: int, named: str) -> None:
    with pytest.raises(ShapeError, match=rf"{named} pixels, but it must be a multiple of 4\. Cut or scale it to 32"):
        Autoencoder(SMALL).encode(torch.zeros(1, 3, height, width))


@pytest.mark.parametrize("factor", [4, 8])
def test_the_default_model_is_small(factor: int) -> None:
    model = Autoencoder(AutoencoderConfig(factor=factor))
    assert 1e6 < sum(p.numel() for p in model.parameters()) < 2.5e6


# ── parts against torch's own ───────────────────────────────────────────────────────────────────────────────


def test_a_convolution_is_torchs_own() -> None:
    ours, theirs = Convolution(5, 7), torch.nn.Conv2d(5, 7, 3, padding=1)
    with torch.no_grad():
        theirs.weight.copy_(ours.weight.view(7, 3, 3, 5).permute(0, 3, 1, 2))
        theirs.bias.copy_(ours.bias.normal_())  # type: ignore[union-attr]
    x = torch.randn(2, 5, 6, 8)
    torch.testing.assert_close(ours(x), theirs(x))


AVERAGE = AutoencoderConfig(
    encoder="average", latent_channels=3, noise=0.1, factor=4, width=8, multipliers=(1, 2), decoder_blocks=1
)


def test_an_average_is_the_picture_made_smaller_and_only_the_way_back_is_learned(tmp_path: Path) -> None:
    model, pixels = alive(AVERAGE), drawings(4)
    assert model.latent_channels == AVERAGE.latent_channels == 3
    latents = model.encode(pixels)
    expected = pixels.unflatten(2, (8, 4)).unflatten(4, (8, 4)).mean(dim=(3, 5))
    torch.testing.assert_close(latents.mean, expected)
    torch.testing.assert_close((0.5 * latents.log_variance).exp(), torch.full_like(expected, 0.1))
    assert {name.split(".")[0] for name, _ in model.named_parameters()} == {"decoder"}
    loss, _ = autoencoder_loss(model, pixels, torch.randn_like(expected), LossWeights())
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in model.parameters())
    save_autoencoder(tmp_path / "model", model)
    loaded, _ = load_autoencoder(tmp_path / "model")
    assert loaded.config == AVERAGE
    assert loaded.decode(expected).equal(model.decode(expected))
    half, _ = load_autoencoder(tmp_path / "model", dtype=torch.bfloat16)
    assert half.encode(pixels).mean.dtype == torch.float32
    torch.testing.assert_close(half.encode(pixels).mean, expected)


def test_the_divergence_is_torchs_own() -> None:
    latents = Gaussian(torch.randn(2, 3, 4, 4, dtype=torch.float64), torch.randn(2, 3, 4, 4, dtype=torch.float64))
    theirs = torch.distributions.kl_divergence(
        torch.distributions.Normal(latents.mean, (latents.log_variance / 2).exp()), torch.distributions.Normal(0.0, 1.0)
    )
    torch.testing.assert_close(latents.divergence(), theirs.mean())


def test_samples_have_the_mean_and_the_variance_that_are_said() -> None:
    latents = Gaussian(torch.tensor([2.0, -1.0]), torch.tensor([0.25, 4.0]).log())
    drawn = latents.sample(torch.randn(100_000, 2))
    torch.testing.assert_close(drawn.mean(0), latents.mean, atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.var(0), torch.tensor([0.25, 4.0]), atol=0, rtol=0.03)


def test_peak_ratio_and_sharpness_say_what_they_should() -> None:
    pixels = drawings(8)
    off = pixels.clamp(-0.8, 0.8)
    blurred = F.avg_pool2d(F.pad(off, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    assert peak_ratio(off + 0.2, off).tolist() == pytest.approx([20.0] * 8, abs=1e-3)  # a tenth of the range
    assert float(sharpness(pixels, pixels)) == pytest.approx(1.0)
    assert float(sharpness(blurred, off)) < 0.6
    assert float(sharpness(torch.zeros_like(off), off)) == 0.0


# ── memory and precision ────────────────────────────────────────────────────────────────────────────────────


def test_channels_last_equals_contiguous() -> None:
    """However pixels lie in memory; and the same with every convolution made in the other layout."""
    model, pixels, noise = alive(), drawings(2), torch.ones(2, 4, 8, 8)
    losses, gradients = [], []
    for lie in (torch.contiguous_format, torch.channels_last):
        model.zero_grad()
        loss, _ = autoencoder_loss(model, pixels.contiguous(memory_format=lie), noise, LossWeights())
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.detach())
        gradients.append([p.grad for p in model.parameters()])
    assert torch.equal(*losses)
    assert all(map(torch.equal, *gradients))  # type: ignore[arg-type]
    assert model.encoder.input(merge(pixels, 2)).is_contiguous(memory_format=torch.channels_last)


def test_activations_in_the_other_layout_give_the_same() -> None:
    convolution, x = Convolution(16, 24), torch.randn(2, 16, 8, 8)
    weight = convolution.weight.view(24, 3, 3, 16).permute(0, 3, 1, 2).contiguous()
    theirs = F.conv2d(x.contiguous(), weight, convolution.bias, padding=1)
    assert theirs.is_contiguous()
    torch.testing.assert_close(convolution(x.contiguous(memory_format=torch.channels_last)), theirs)


@torch.no_grad()
def test_bfloat16_is_close_to_float32() -> None:
    model, pixels = alive(), drawings(4)
    whole = model.decode(model.encode(pixels).mean)
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16()
    rounded = model.decode(model.encode(pixels).mean)
    assert rounded.dtype == torch.float32
    assert float((rounded - whole).square().mean().sqrt()) < 0.02 * float(whole.std())


# ── learning ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_model_trained_for_seconds_is_sharper_than_small_pictures() -> None:
    """It has 4 numbers for 4 × 4 pixels; a picture of a quarter of the sides, scaled up again, has 3."""
    torch.manual_seed(0)
    model = Autoencoder(replace(SMALL, width=16))
    optimizers = [
        torch.optim.Muon([p for p in model.parameters() if p.ndim == 2], lr=2e-2, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW([p for p in model.parameters() if p.ndim == 1], lr=3e-3),
    ]
    rates = [torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=200) for optimizer in optimizers]
    for number in range(200):
        loss, _ = autoencoder_loss(model, drawings(16, 16, number + 1), torch.randn(16, 4, 4, 4), LossWeights())
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer, rate in zip(optimizers, rates, strict=True):
            optimizer.step()
            optimizer.zero_grad()
            rate.step()
    with torch.no_grad():
        pixels = drawings(32, 16, seed=0)
        made = model.decode(model.encode(pixels).mean)
    scaled = F.interpolate(F.avg_pool2d(pixels, 4), scale_factor=4.0, mode="bilinear")
    assert float(peak_ratio(made, pixels).mean()) > float(peak_ratio(scaled, pixels).mean())
    assert float(sharpness(made, pixels)) > 2 * float(sharpness(scaled, pixels))


def test_the_parts_of_the_loss_are_weighed() -> None:
    model, pixels, noise = alive(), drawings(2), torch.randn(2, 4, 8, 8)
    loss, parts = autoencoder_loss(model, pixels, noise, LossWeights(spectrum=2.0, divergence=0.5))
    assert set(parts) == {"pixels", "spectrum", "divergence"}
    torch.testing.assert_close(loss, parts["pixels"] + 2 * parts["spectrum"] + 0.5 * parts["divergence"])
    made = model.decode(model.encode(pixels).sample(noise))
    torch.testing.assert_close(parts["pixels"], F.l1_loss(made, pixels))
    torch.testing.assert_close(parts["spectrum"], torch.fft.rfft2(made - pixels, norm="ortho").abs().mean())


def test_the_spectrum_of_nothing_has_a_gradient() -> None:
    pixels = torch.zeros(1, 3, 8, 8, requires_grad=True)
    amplitudes(pixels).mean().backward()  # type: ignore[no-untyped-call]
    assert pixels.grad is not None
    assert torch.equal(pixels.grad, torch.zeros_like(pixels))


# ── the scale of latents ────────────────────────────────────────────────────────────────────────────────────


def test_fitted_latents_have_mean_0_and_deviation_1() -> None:
    model = Autoencoder(SMALL)
    batches = [drawings(16, seed=1) + 0.5, drawings(7, seed=2)]
    model.fit_scale(batches)
    with torch.no_grad():
        drawn = []
        for _ in range(20):
            for pixels in batches:
                latents = model.encode(pixels)
                drawn.append(model.normalise(latents.sample(torch.randn_like(latents.mean))))
    every = torch.cat(drawn).transpose(0, 1).flatten(1)
    torch.testing.assert_close(every.mean(1), torch.zeros(len(every)), atol=0.02, rtol=0)
    torch.testing.assert_close(every.std(1), torch.ones(len(every)), atol=0.02, rtol=0)
    some = latents.mean
    torch.testing.assert_close(model.denormalise(model.normalise(some)), some)


# ── looking inside ──────────────────────────────────────────────────────────────────────────────────────────


def test_every_stage_can_be_seen_and_changed() -> None:
    model, pixels, recorder = alive(), drawings(1), Recorder()
    made = model.decode(model.encode(pixels, tap=recorder).mean, tap=recorder)
    assert list(recorder.values) == [
        "encoder.input", "encoder.stage.0", "encoder.stage.1", "encoder.output", "mean", "log_variance",
        "decoder.input", "decoder.stage.0", "decoder.stage.1", "decoder.output", "pixels",
    ]  # fmt: skip
    torch.testing.assert_close(recorder["pixels"], made)
    blank = model.decode(recorder["mean"], tap=Editor({"decoder.stage.1": torch.zeros_like}))
    inside = blank[:, :, 4:-4, 4:-4]  # the border sees its padding
    torch.testing.assert_close(inside[..., :2, :2], inside[..., 2:4, 2:4])  # every patch is the same now
    assert not torch.equal(blank, made)


# ── errors ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"factor": 5}, "factor is 5, but sides are divided by 4, 8 or 16"),
        ({"width": 0}, "width is 0"),
        ({"latent_channels": -1}, "latent_channels is -1"),
        ({"decoder_blocks": 0}, "decoder_blocks is 0"),
        ({"encoder": "average"}, "latent_channels is 8, but averages of pixels have as many as they. Choose 3"),
        ({"encoder": "average", "latent_channels": 3, "noise": 0.0}, "noise is 0, but it is a deviation"),
        ({"multipliers": ()}, r"multipliers is \[\]"),
        ({"multipliers": (1, 0)}, r"multipliers is \[1, 0\]"),
        ({"factor": 4, "multipliers": (1, 2, 4, 4)}, "multipliers has 4 stages, but factor 4 has room for 3"),
    ],
)
def test_settings_that_cannot_be_used_are_named(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        AutoencoderConfig(**values)


def test_other_settings_are_checked_too() -> None:
    with pytest.raises(ConfigError, match=r"spectrum is -0\.1"):
        LossWeights(spectrum=-0.1)
    with pytest.raises(ConfigError, match=r"autoencoder\.widht is set.*'width'"):
        AutoencoderConfig.from_dict({"widht": 3})


@pytest.mark.parametrize("config", [AutoencoderConfig(), SMALL, AVERAGE])
def test_settings_come_back_from_json(config: Any) -> None:
    assert type(config).from_dict(json.loads(json.dumps(config.to_dict()))) == config


# ── on disk ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_saved_model_is_the_same(tmp_path: Path) -> None:
    model = alive()
    model.fit_scale([drawings(4)])
    for _ in range(2):  # the second time one is replaced
        save_autoencoder(tmp_path / "model", model, {"name": "discs"})
    loaded, card = load_autoencoder(tmp_path / "model")
    assert type(loaded) is type(model)
    assert card == {"name": "discs"}
    assert not loaded.training
    pixels = drawings(2, seed=5)
    latents = loaded.normalise(loaded.encode(pixels).mean)
    assert torch.equal(latents, model.normalise(model.encode(pixels).mean))
    assert torch.equal(loaded.decode(loaded.denormalise(latents)), model.decode(model.denormalise(latents)))


def test_weights_can_be_half_as_large_and_the_scale_stays(tmp_path: Path) -> None:
    model = alive()
    model.fit_scale([drawings(4)])
    for name, on_disk, in_memory in (("a", torch.bfloat16, None), ("b", None, torch.bfloat16)):
        save_autoencoder(tmp_path / name, model, dtype=on_disk)
        loaded, _ = load_autoencoder(tmp_path / name, dtype=in_memory)
        assert {p.dtype for p in loaded.parameters()} == {torch.bfloat16}
        assert torch.equal(loaded.deviation, model.deviation)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in "ab"]
    assert sizes[0] < 0.6 * sizes[1]


def test_damage_is_named(tmp_path: Path) -> None:
    save_autoencoder(tmp_path, alive())
    config, tensors = tmp_path / "config.json", tmp_path / "model.safetensors"
    whole, described = tensors.read_bytes(), json.loads(config.read_text())

    tensors.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(WeightsError, match=r"has checksum .* damaged or changed"):
        load_autoencoder(tmp_path)
    tensors.write_bytes(whole[:-100])
    with pytest.raises(WeightsError, match=r"has checksum .* damaged or changed"):
        load_autoencoder(tmp_path)
    tensors.write_bytes(whole)

    other = {name: value for name, value in described.items() if name != "autoencoder"}
    config.write_text(json.dumps(other | {"model": {}}))
    with pytest.raises(WeightsError, match="is a text model, but a picture autoencoder is needed"):
        load_autoencoder(tmp_path)
    config.write_text(json.dumps(described | {"autoencoder": described["autoencoder"] | {"width": 12}}))
    with pytest.raises(WeightsError, match=r"encoder\.input\.weight of shape|decoder.* of shape"):
        load_autoencoder(tmp_path)

    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.pt").write_bytes(pickle.dumps({"a": 1}))
    config.write_text(json.dumps(described))
    with pytest.raises(WeightsError, match=r"model\.pt is a pickle"):
        load_autoencoder(tmp_path)
    with pytest.raises(WeightsError, match="is no folder"):
        load_autoencoder(tmp_path / "nowhere")


def test_another_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(WeightsError, match="holds something else than a model"):
        save_autoencoder(tmp_path, alive())
    assert (tmp_path / "letters.txt").read_text() == "dear"
