"""The picture autoencoder: pixels → latents, a few numbers for each patch, and back.

A KL autoencoder (Kingma and Welling 2013, arXiv:1312.6114; for pictures Rombach et al. 2022, arXiv:2112.10752), made
of convolutions alone:

- Residual blocks without norms. Each begins as the identity, which keeps a net this deep stable, and a norm costs a
  processor more time on the way back than the convolution that it follows.
- Sides are halved and doubled by rearranging 2 × 2 pixels into channels and back; so are the pixels themselves,
  before the first and after the last convolution. At full size, the most expensive one, there is no convolution.
- Channels are last in memory, where bfloat16 convolutions are fastest on processors and GPUs alike: patches are cut so,
  and each weight is a matrix from patches to places, which is why Muon can train it.

docs/decisions/0011-autoencoder.md says what was measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.core.errors import ConfigError, ShapeError
from limner.core.settings import read_settings, write_settings
from limner.core.tap import NO_TAP, Tap
from limner.weights.files import read_unchanged
from limner.weights.folder import card_of, described, fill_from, read_config, write_folder
from limner.weights.tensors import cast_parameters, empty

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FACTORS = (4, 8, 16)
START_LOG_VARIANCE = -4.0


# ── what it is made of ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class AutoencoderConfig:
    """The shape of an autoencoder.

    Attributes:
        channels: of a picture; 3 for red, green and blue.
        latent_channels: numbers for each patch of ``factor`` × ``factor`` pixels; of an ``average`` as many as ``channels``.
        factor: by how much the sides of a picture are divided: 4, 8 or 16.
        width: channels of the first stage, times ``multipliers``.
        multipliers: one for each stage, largest pictures first. The sides are halved between two stages; what is then
            left of the factor is the side of the patches that the first convolution reads.
        blocks: residual blocks of each stage of the encoder.
        decoder_blocks: the same of the decoder.
        encoder: ``learned``; or ``average``: the latents are the picture made smaller, each place the mean of its pixels,
            and the decoder alone is trained, to draw it large again. Such latents look like pictures, so what a prompt
            says stands out in them as it does in pixels (docs/log.md), where learned ones have every detail as loud.
        noise: deviation of the noise that an ``average`` encoder adds to its latents in training, on the scale of pixels,
            for what is painted is never quite a small picture; of no meaning where the encoder learns its own.
    Raises:
        ConfigError: a value outside its range, or more stages than the factor has room for.
    """

    channels: int = 3
    latent_channels: int = 8
    factor: int = 8
    width: int = 32
    multipliers: tuple[int, ...] = (1, 2, 4)
    blocks: int = 1
    decoder_blocks: int = 2
    encoder: Literal["learned", "average"] = "learned"
    noise: float = 0.05

    def __post_init__(self) -> None:
        for name in ("channels", "latent_channels", "width", "blocks", "decoder_blocks"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"{name} is {getattr(self, name)}, but it must be at least 1. Choose a larger number."
                )
        if self.factor not in FACTORS:
            raise ConfigError(f"factor is {self.factor}, but sides are divided by 4, 8 or 16. Choose one of these.")
        if self.latent_channels > self.channels * self.factor**2:
            raise ConfigError(
                f"latent_channels is {self.latent_channels:,}, but a place of the latents stands for "
                f"{self.channels * self.factor**2} numbers and is to be less. 4 to 32 are usual."
            )
        if self.encoder == "average" and self.latent_channels != self.channels:
            raise ConfigError(
                f"latent_channels is {self.latent_channels}, but averages of pixels have as many as they. Choose {self.channels}."
            )
        if not 0 < self.noise < math.inf:
            raise ConfigError(f"noise is {self.noise:g}, but it is a deviation. Choose a number above 0, such as 0.05.")
        if not self.multipliers or min(self.multipliers) < 1:
            raise ConfigError(
                f"multipliers is {list(self.multipliers)}, but each stage has a number of at least 1. Give one or more."
            )
        if self.patch < 1:
            raise ConfigError(
                f"multipliers has {len(self.multipliers)} stages, but factor {self.factor} has room for "
                f"{self.factor.bit_length()}. Leave out some, or choose a larger factor."
            )

    @property
    def patch(self) -> int:
        """Side of the patches that the first convolution reads; 0: there are too many stages."""
        return self.factor >> (len(self.multipliers) - 1)

    @property
    def widths(self) -> list[int]:
        """Channels of each stage, largest pictures first."""
        return [self.width * multiplier for multiplier in self.multipliers]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; ``from_dict`` reads them back to an equal config."""
        return write_settings(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> AutoencoderConfig:
        """Read what ``to_dict`` wrote; strict.

        Raises:
            ConfigError: an unknown, missing or ill-typed entry, named with its path.
        """
        return read_settings(cls, values, "autoencoder")


# ── latents ────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Gaussian:
    """Independent normal distributions, one for each number of the latents.

    Attributes:
        mean, log_variance: shape (batch, latent channels, height / factor, width / factor), float32.
    """

    mean: Tensor
    log_variance: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Draw from it: ``noise`` is standard normal, of the shape of the mean."""
        return self.mean + (0.5 * self.log_variance).exp() * noise

    def divergence(self) -> Tensor:
        """KL divergence from the standard normal distribution, nats a number, mean over all: a scalar.

        ½ (μ² + σ² − 1 − ln σ²); Kingma and Welling 2013, arXiv:1312.6114, appendix B.
        """
        return 0.5 * (self.mean.square() + self.log_variance.exp() - 1.0 - self.log_variance).mean()


def merge(x: Tensor, side: int) -> Tensor:
    """Patches of ``side`` × ``side`` become one place with as many times the channels; ``split`` undoes it.

    The same numbers as ``F.pixel_unshuffle`` in another order, several times quicker where channels are last.
    """
    batch, channels, height, width = x.shape
    x = x.permute(0, 2, 3, 1).reshape(batch, height // side, side, width // side, side, channels)
    return x.transpose(2, 3).reshape(batch, height // side, width // side, -1).permute(0, 3, 1, 2)


def split(x: Tensor, side: int) -> Tensor:
    """Channels become patches of ``side`` × ``side``."""
    batch, channels, height, width = x.shape
    x = x.permute(0, 2, 3, 1).reshape(batch, height, width, side, side, channels // side**2)
    return x.transpose(2, 3).reshape(batch, height * side, width * side, -1).permute(0, 3, 1, 2)


# ── the network ────────────────────────────────────────────────────────────────────────────────────────────


class Convolution(nn.Module):
    """A convolution whose weight is a matrix: from a patch of the input to a place of the output.

    Its columns are in the order (row, column, channel), which is channels last. As a matrix it goes to Muon, which after
    300 steps is 7 decibels ahead of AdamW.
    """

    def __init__(self, inputs: int, outputs: int, side: int = 3) -> None:
        super().__init__()
        self.side = side
        self.weight = nn.Parameter(torch.empty(outputs, side * side * inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.normal_(self.weight, std=self.weight.shape[1] ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.view(len(self.weight), self.side, self.side, -1).permute(0, 3, 1, 2)
        return F.conv2d(x, weight, self.bias, padding=self.side // 2)


class Residual(nn.Module):
    """``x + second(silu(first(silu(x))))``; it begins as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = Convolution(width, width)
        self.second = Convolution(width, width)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(F.silu(self.first(F.silu(x))))
        return x + out


class Encoder(nn.Module):
    """From pixels to the means and log variances of latents, stage by stage to smaller sides."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        widths = config.widths
        self.patch = config.patch
        self.input = Convolution(config.channels * config.patch**2, widths[0])
        self.stages = nn.ModuleList(nn.Sequential(*(Residual(w) for _ in range(config.blocks))) for w in widths)
        self.downs = nn.ModuleList(Convolution(4 * wide, narrow, 1) for wide, narrow in pairwise(widths))
        self.output = Convolution(widths[-1], 2 * config.latent_channels)
        with torch.no_grad():  # sure of themselves at first; a decoder that gets noise learns not to listen
            self.output.weight[config.latent_channels :] = 0.0
            self.output.bias[config.latent_channels :] = START_LOG_VARIANCE

    def forward(self, pixels: Tensor, *, tap: Tap = NO_TAP) -> Tensor:
        x = tap("input", self.input(merge(pixels.to(self.input.bias.dtype), self.patch)))
        for number, stage in enumerate(self.stages):
            if number:
                x = self.downs[number - 1](merge(x, 2))
            x = tap(f"stage.{number}", stage(x))
        return tap("output", self.output(F.silu(x)))


class Average(nn.Module):
    """The mean of each patch of pixels, and one and the same variance: nothing in it is learned."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.factor, self.log_variance = config.factor, 2 * math.log(config.noise)

    def forward(self, pixels: Tensor, *, tap: Tap = NO_TAP) -> Tensor:
        small = F.avg_pool2d(pixels.float(), self.factor)
        return tap("output", torch.cat((small, torch.full_like(small, self.log_variance)), dim=1))


class Decoder(nn.Module):
    """From latents to pixels, stage by stage to larger sides."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        widths = config.widths[::-1]
        self.patch = config.patch
        self.input = Convolution(config.latent_channels, widths[0])
        self.stages = nn.ModuleList(nn.Sequential(*(Residual(w) for _ in range(config.decoder_blocks))) for w in widths)
        self.ups = nn.ModuleList(Convolution(narrow, 4 * wide, 1) for narrow, wide in pairwise(widths))
        self.output = Convolution(widths[-1], config.channels * config.patch**2)

    def forward(self, latents: Tensor, *, tap: Tap = NO_TAP) -> Tensor:
        x = tap("input", self.input(latents))
        for number, stage in enumerate(self.stages):
            if number:
                x = split(self.ups[number - 1](x), 2)
            x = tap(f"stage.{number}", stage(x))
        return tap("output", split(self.output(F.silu(x)), self.patch))


class Autoencoder(nn.Module):
    """Encoder and decoder.

    Latents are as ``encode`` gives them, and ``normalise`` brings them to mean 0 and deviation 1 a channel, the scale
    on which noise is added to them.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.factor, self.latent_channels = config.factor, config.latent_channels
        self.register_buffer("mean", torch.zeros(config.latent_channels))
        self.register_buffer("deviation", torch.ones(config.latent_channels))
        self.encoder: nn.Module = Average(config) if config.encoder == "average" else Encoder(config)
        self.decoder = Decoder(config)

    def encode(self, pixels: Tensor, *, tap: Tap = NO_TAP) -> Gaussian:
        """Pictures, shape (batch, channels, height, width), −1 to 1 → their latents.

        Raises:
            ShapeError: a side is no multiple of the factor.
        """
        self.check_size(*pixels.shape[2:])
        moments = self.encoder(pixels, tap=tap.at("encoder")).float()
        mean, log_variance = moments.chunk(2, dim=1)
        return Gaussian(tap("mean", mean), tap("log_variance", log_variance.clamp(-30.0, 20.0)))

    def decode(self, latents: Tensor, *, tap: Tap = NO_TAP) -> Tensor:
        """Latents → pictures of about −1 to 1, shape (batch, channels, height, width), float32."""
        return tap("pixels", self.decoder(latents.to(self.dtype), tap=tap.at("decoder")).float())

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, and so of what is computed between pixels and latents."""
        return self.decoder.input.bias.dtype

    def normalise(self, latents: Tensor) -> Tensor:
        """Latents as ``encode`` gives them → mean 0 and deviation 1 in each channel, over the pictures fitted to."""
        return (latents - self.mean[:, None, None]) / self.deviation[:, None, None]

    def denormalise(self, latents: Tensor) -> Tensor:
        """The way back, to latents as ``decode`` takes them."""
        return latents * self.deviation[:, None, None] + self.mean[:, None, None]

    @torch.no_grad()
    def fit_scale(self, batches: Iterable[Tensor]) -> None:
        """Set the scale to that of the latents of these pictures.

        Args:
            batches: pictures as ``encode`` takes them; a few hundred are enough.
        """
        count = 0
        total, squares = (torch.zeros(self.latent_channels, dtype=torch.float64) for _ in range(2))
        for pixels in batches:
            latents = self.encode(pixels)
            mean, variance = (x.double().cpu() for x in (latents.mean, latents.log_variance.exp()))
            count += mean[:, 0].numel()
            total += mean.sum((0, 2, 3))
            squares += (mean.square() + variance).sum((0, 2, 3))  # of latents drawn, without drawing them
        assert count, "no pictures"
        self.mean.copy_(total / count)
        self.deviation.copy_((squares / count - (total / count).square()).clamp_min(1e-12).sqrt())

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Shape of one picture's latents.

        Raises:
            ShapeError: a side is no multiple of the factor.
        """
        self.check_size(height, width)
        return self.latent_channels, height // self.factor, width // self.factor

    def check_size(self, height: int, width: int) -> None:
        """Check that a picture can be cut into patches.

        Raises:
            ShapeError: a side is no multiple of the factor.
        """
        for name, side in (("height", height), ("width", width)):
            if side < 1 or side % self.factor:
                near = max(1, round(side / self.factor)) * self.factor
                raise ShapeError(
                    f"the {name} is {side} pixels, but it must be a multiple of {self.factor}. Cut or scale it to {near}."
                )


# ── how wrong it is ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class LossWeights:
    """What the parts of the loss weigh beside the pixels' own, which weighs 1.

    Attributes:
        spectrum: of the error's spectrum.
        divergence: of the KL divergence, a number of the latents.
    Raises:
        ConfigError: a weight below 0.
    """

    spectrum: float = 3.0
    divergence: float = 3e-3

    def __post_init__(self) -> None:
        for name in ("spectrum", "divergence"):
            if not getattr(self, name) >= 0.0:
                raise ConfigError(f"{name} is {getattr(self, name)}, but a weight is 0 or more. Choose such a number.")


def autoencoder_loss(
    model: Autoencoder, pixels: Tensor, noise: Tensor, weights: LossWeights
) -> tuple[Tensor, dict[str, Tensor]]:
    """How far pictures are from themselves after the way there and back.

    The mean absolute error of the pixels, the mean amplitude of the error's spectrum, and the KL divergence. An absolute
    error asks for the median. Of a pixel beside an edge that is known to within a pixel, this is the one colour or the
    other; but of the difference between neighbours, of a wavelet or of a Laplacian there, it is 0, for edges are few: such
    a loss blurs what is not yet certain. A frequency belongs to all edges together, and its median is not 0.

    Args:
        pixels: shape (batch, channels, height, width), −1 to 1.
        noise: standard normal, shape (batch, *model.latent_shape(height, width)).
    Returns:
        The loss, and its parts before they are weighed: pixels, spectrum, divergence.
    """
    latents = model.encode(pixels)
    error = model.decode(latents.sample(noise)) - pixels.float()
    parts = {
        "pixels": error.abs().mean(),
        "spectrum": amplitudes(error).mean(),
        "divergence": latents.divergence(),
    }
    loss = parts["pixels"] + weights.spectrum * parts["spectrum"] + weights.divergence * parts["divergence"]
    return loss, parts


def amplitudes(pixels: Tensor) -> Tensor:
    """How strong each frequency is, (batch, channels, height, width) → (batch, channels, height, width // 2 + 1).

    White noise of deviation 1 has a mean square of 1 in each. The other half of the frequencies is the same again.
    """
    found: Tensor = torch.view_as_real(torch.fft.rfft2(pixels, norm="ortho")).norm(dim=-1)
    return found


def differences(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Each pixel less its neighbour: above, shape (…, height − 1, width); left, shape (…, height, width − 1)."""
    return pixels[..., 1:, :] - pixels[..., :-1, :], pixels[..., 1:] - pixels[..., :-1]


def peak_ratio(made: Tensor, pixels: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each picture in decibels, shape (batch,); at most 80, half a level of 8 bits is 54."""
    error = (made.clamp(-1.0, 1.0) - pixels).square().mean((1, 2, 3)) / 4.0  # on a scale from 0 to 1
    return -10.0 * error.clamp_min(1e-8).log10()


EDGE = 0.2  # of a difference between neighbours, all channels together, where white is 2 above black


def sharpness(made: Tensor, pixels: Tensor) -> Tensor:
    """Gradient energy where the original has edges, as a share of the original's: a scalar.

    1 is as sharp, less is blurred. Noise would add to it: look at the peak ratio as well.
    """
    energies = []
    for picture in (made.clamp(-1.0, 1.0), pixels):
        down, right = differences(picture)
        energies.append(down[..., :-1].square().sum(1) + right[..., :-1, :].square().sum(1))
    edges = energies[1] > EDGE**2
    return energies[0][edges].sum() / energies[1][edges].sum().clamp_min(1e-12)


# ── on disk ────────────────────────────────────────────────────────────────────────────────────────────────


def save_autoencoder(
    folder: Path | str,
    model: Autoencoder,
    card: Mapping[str, Any] | None = None,
    *,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a folder of ``config.json`` and ``model.safetensors``, whole or not at all; an earlier one is replaced.

    Args:
        card: plain JSON values, what the folder says of itself.
        dtype: of the weights on disk; None: as they are. The scale of the latents is always float32.
    Raises:
        WeightsError: the folder cannot be written, or holds something else.
    """
    scale = {name for name, _ in model.named_buffers()}
    tensors = {
        name: value.float() if name in scale else value.to(dtype or value.dtype)
        for name, value in model.state_dict().items()
    }
    write_folder(Path(folder), {"autoencoder": model.config.to_dict()}, tensors, None, card)


def load_autoencoder(
    folder: Path | str, *, dtype: torch.dtype | None = None, verify: bool = True
) -> tuple[Autoencoder, dict[str, Any]]:
    """Open what ``save_autoencoder`` wrote.

    Args:
        dtype: of the weights in memory; None: as they are on disk.
        verify: compare the checksum.
    Returns:
        The model, ready to be used, and its card.
    Raises:
        WeightsError: it is missing, damaged, a pickle, of another kind, or does not fit its description.
        ConfigError: its description has an entry that is unknown, missing or ill-typed.
    """
    return read_unchanged(Path(folder), lambda place: _load(place, dtype, verify))


def _load(folder: Path, dtype: torch.dtype | None, verify: bool) -> tuple[Autoencoder, dict[str, Any]]:
    values = read_config(folder)
    config = AutoencoderConfig.from_dict(described(folder, values, "autoencoder"))
    model = empty(lambda: Autoencoder(config))
    fill_from(folder, model, values, verify=verify)
    if dtype is not None:
        cast_parameters(model, dtype)
    return model, card_of(folder, values)
