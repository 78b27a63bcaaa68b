"""What a picture model is made of, as small frozen dataclasses (see limner.core.config for the Transformer's parts)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from limner.core.config import (
    AttentionConfig,
    BlockConfig,
    EmbeddingConfig,
    FeedForwardConfig,
    LayerNorm,
    LearnedPositions,
    ModelConfig,
    RotaryPositions,
    StackConfig,
)
from limner.core.errors import ConfigError
from limner.core.settings import read_settings, write_settings
from limner.picture.autoencoder import AutoencoderConfig

# ── noise ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Flow:
    """A straight line from picture to noise: x_t = (1 − t)·x + t·ε (Liu et al. 2022, Lipman et al. 2022)."""


@dataclass(frozen=True)
class VariancePreserving:
    """x_t = α·x + σ·ε with α² + σ² = 1.

    ``cosine``: α = cos(πt/2) (Nichol & Dhariwal 2021, without their offset); ``linear``: the continuous limit of the
    linear β of Ho et al. 2020.
    """

    schedule: Literal["cosine", "linear"] = "cosine"


Process = Flow | VariancePreserving
Quantity = Literal["x", "noise", "v", "flow"]  # what a network predicts, or what a loss compares


@dataclass(frozen=True)
class UniformTime:
    """Every time between picture and noise equally often."""


@dataclass(frozen=True)
class LogitNormalTime:
    """t = sigmoid(mean + deviation · normal): middle times more often (Esser et al. 2024, arXiv:2403.03206)."""

    mean: float = 0.0
    deviation: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.mean):
            raise ConfigError(f"the mean of the times is {self.mean:g}, but it is a number. Choose 1.2, say.")
        if not 0 < self.deviation < math.inf:
            raise ConfigError(
                f"the deviation of the times is {self.deviation:g}, but times are spread. Choose a number above 0."
            )


@dataclass(frozen=True)
class DiffusionConfig:
    """How noise is added, what is predicted, and how an error counts.

    Attributes:
        predict: what the network gives back; ``flow`` is ε − x.
        loss: the quantity whose squared error is taken; the prediction is converted to it.
        min_snr: each error is weighed by min(SNR, this) in units of the picture's error (Hang et al. 2023,
            arXiv:2303.09556); None: no weighing.
        shift: moves all times, in training and in painting, towards noise: t becomes s·t / (1 + (s − 1)·t) (Esser et al.
            2024, section 5.3.2). A picture of n times the side holds the same noise n times better, since neighbouring
            pixels say the same; with a shift of n it is as hard to see as the small one. That is so for a flow, whose σ/α it
            multiplies; it moves the times of other processes likewise, and their σ/α by other factors.
        nearest: α and σ below it count as it when a prediction is divided by them.
    Raises:
        ConfigError: a value outside its range.
    """

    process: Process = field(default_factory=Flow)
    predict: Quantity = "x"
    loss: Quantity = "flow"
    min_snr: float | None = None
    time: UniformTime | LogitNormalTime = field(default_factory=LogitNormalTime)
    shift: float = 1.0
    nearest: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.shift < math.inf:
            raise ConfigError(f"shift is {self.shift:g}, but it multiplies noise. Choose a number above 0.")
        if self.min_snr is not None and not 0 < self.min_snr < math.inf:
            raise ConfigError(
                f"min_snr is {self.min_snr:g}, but errors are weighed by it. Choose a number above 0, or none."
            )
        if not 0 < self.nearest < 1:
            raise ConfigError(f"nearest is {self.nearest:g}, but it lies between 0 and 1. 0.05 is usual.")


# ── the model ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class DenoiserConfig:
    """A Transformer over patches of a noisy picture, that reads the prompt by cross-attention.

    Attributes:
        channels: of the picture or latent.
        patch: side of the square that becomes one vector.
        bottleneck: a patch passes through so many channels on its way in; 0: none (Li & He 2025, arXiv:2511.13720).
        stack: blocks with cross-attention, conditioned on the time.
    """

    channels: int
    patch: int
    dim: int
    stack: StackConfig
    bottleneck: int = 0

    def __post_init__(self) -> None:
        for name in ("channels", "patch", "dim"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"{name} is {getattr(self, name)}, but it must be at least 1. Choose a larger number."
                )
        if self.dim % 4:
            raise ConfigError(
                f"dim is {self.dim}, but rows and columns need sines and cosines. Choose a multiple of 4."
            )
        for block in self.stack.blocks:
            if block.cross_attention is None or not block.conditioned:
                raise ConfigError(
                    "a block has no cross_attention or is not conditioned, but a denoiser reads the prompt and the time. "
                    "Set both."
                )


@dataclass(frozen=True)
class PictureConfig:
    """A whole picture model: prompt encoder, denoiser, and where pictures are latents, an autoencoder.

    Attributes:
        size: the height and width in pixels that it was trained at.
        prompt: the encoder of the prompt; its context length is the most tokens a prompt may have.
        lower_case: prompts are put in small letters before the tokenizer has them.
        autoencoder: None: the denoiser works on pixels.
        frozen_prompt: the prompt's encoder is a published one, which was not trained with the denoiser.
    """

    size: tuple[int, int]
    prompt: ModelConfig
    denoiser: DenoiserConfig
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    lower_case: bool = True
    autoencoder: AutoencoderConfig | None = None
    frozen_prompt: bool = False

    def __post_init__(self) -> None:
        if self.prompt.encoder is None or self.prompt.decoder is not None:
            raise ConfigError("prompt has a decoder or no encoder, but a prompt is only read. Give an encoder alone.")
        channels = 3 if self.autoencoder is None else self.autoencoder.latent_channels
        if self.denoiser.channels != channels:
            raise ConfigError(
                f"denoiser.channels is {self.denoiser.channels}, but what it refines has {channels}. Choose {channels}."
            )
        if len(self.size) != 2 or min(self.size) < 1:
            raise ConfigError(
                f"size is {list(self.size)}, but it is a height and a width in pixels. Give two numbers above 0."
            )
        for side in self.size:
            if side % self.multiple:
                raise ConfigError(
                    f"size is {self.size[0]} × {self.size[1]}, but each side must be a multiple of {self.multiple}. "
                    f"Choose {max(1, round(side / self.multiple)) * self.multiple} instead of {side}."
                )

    @property
    def factor(self) -> int:
        """Pixels that one place of the latent stands for, along each axis."""
        return 1 if self.autoencoder is None else self.autoencoder.factor

    @property
    def multiple(self) -> int:
        """Sides in pixels are multiples of this."""
        return self.factor * self.denoiser.patch

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; ``from_dict`` reads them back to an equal config."""
        return write_settings(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PictureConfig:
        """Read what ``to_dict`` wrote; strict.

        Raises:
            ConfigError: an unknown, missing or ill-typed entry, named with its path.
        """
        return read_settings(cls, values, "picture")


def make_config(
    *,
    size: tuple[int, int],
    patch: int,
    dim: int,
    num_layers: int,
    num_heads: int,
    vocab_size: int,
    context_length: int = 48,
    prompt_layers: int = 2,
    hidden_dim: int = 0,
    bottleneck: int = 0,
    diffusion: DiffusionConfig | None = None,
    autoencoder: AutoencoderConfig | None = None,
    published: ModelConfig | None = None,
) -> PictureConfig:
    """A picture model of our usual parts: SwiGLU, rotary positions of two axes, LayerNorm (one call there and one back).

    Args:
        size: height and width in pixels.
        hidden_dim: of the feed-forward; 0: 8/3 of dim, rounded to 32.
        published: of a prompt encoder that stays as it is; ``vocab_size``, ``context_length`` and ``prompt_layers`` then say
            nothing.
    Raises:
        ConfigError: dim is no multiple of 4 for each head.
    """
    head_dim = dim // num_heads
    if dim % (4 * num_heads):
        near = max(1, round(dim / (4 * num_heads))) * 4 * num_heads
        raise ConfigError(
            f"dim is {dim} for num_heads {num_heads}, but each head takes a multiple of 4, since its vectors are turned in pairs for "
            f"rows and for columns. Choose dim {near}, or another num_heads."
        )
    feed_forward = FeedForwardConfig(hidden_dim or round(dim * 8 / 3 / 32) * 32)
    places = RotaryPositions(base=100.0, axes=2)
    norm = LayerNorm(bias=False)
    block = BlockConfig(
        AttentionConfig(num_heads, num_heads, head_dim, places, qk_norm=norm),
        feed_forward,
        cross_attention=AttentionConfig(num_heads, num_heads, head_dim, qk_norm=norm),
        norm=norm,
        conditioned=True,
    )
    reading = BlockConfig(AttentionConfig(num_heads, num_heads, head_dim, qk_norm=norm), feed_forward, norm=norm)
    return PictureConfig(
        size=size,
        prompt=published
        or ModelConfig(
            vocab_size=vocab_size,
            dim=dim,
            context_length=context_length,
            encoder=StackConfig(prompt_layers, (reading,), causal=False, final_norm=norm),
            embedding=EmbeddingConfig(positions=LearnedPositions()),
            head=None,
        ),
        denoiser=DenoiserConfig(
            channels=3 if autoencoder is None else autoencoder.latent_channels,
            patch=patch,
            dim=dim,
            stack=StackConfig(num_layers, (block,), causal=False, final_norm=norm),
            bottleneck=bottleneck,
        ),
        diffusion=diffusion or DiffusionConfig(),
        autoencoder=autoencoder,
        lower_case=published is None,  # its own tokenizer knows
        frozen_prompt=published is not None,
    )
