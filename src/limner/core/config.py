"""What a model is made of, as small frozen dataclasses.

A model is described by its parts, never by its family's name: GPT-2, Llama, BERT and the 2017
encoder-decoder are values of ``ModelConfig``. Variants of a part form a closed union (``AddedPositions``,
``Positions``, ``Span``, ``Norm``), told apart by ``match`` and, in JSON, by a field ``kind``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from limner.core.errors import ConfigError
from limner.core.settings import read_settings, write_settings

# ── positions ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class NoPositions:
    """Nothing says where a token stands (but for what a causal mask gives away)."""


@dataclass(frozen=True)
class SinusoidalPositions:
    """Fixed sines and cosines, added to the embeddings (Vaswani et al. 2017)."""

    base: float = 10_000.0


@dataclass(frozen=True)
class LearnedPositions:
    """One trained vector for each position, added to the embeddings; the context length says how many."""


@dataclass(frozen=True)
class LinearScaling:
    """Rotary positions divided by ``factor`` (Chen et al. 2023, position interpolation)."""

    factor: float


@dataclass(frozen=True)
class DynamicScaling:
    """The rotary base grows once the text is longer than ``original_length`` (NTK-aware, dynamic)."""

    factor: float
    original_length: int


@dataclass(frozen=True)
class Llama3Scaling:
    """Slow rotations are slowed by ``factor``, fast ones kept, those between blended (Llama 3.1)."""

    factor: float
    low_frequency: float
    high_frequency: float
    original_length: int


@dataclass(frozen=True)
class YarnScaling:
    """Per-frequency blend of interpolated and kept rotations, with a scale on the result (YaRN, 2309.00071)."""

    factor: float
    original_length: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    magnitude: float | None = None  # None: 0.1 ln(factor) + 1
    truncate: bool = True


RotaryScaling = LinearScaling | DynamicScaling | Llama3Scaling | YarnScaling


@dataclass(frozen=True)
class RotaryPositions:
    """Queries and keys are turned by an angle that grows with position (Su et al. 2021)."""

    base: float = 10_000.0
    fraction: float = 1.0  # share of each head's channels that is turned
    scaling: RotaryScaling | None = None
    axes: int = 1  # numbers that say where something stands: 1 in a text, 2 in a picture; each turns its share of pairs

    def __post_init__(self) -> None:
        if not 0.0 < self.fraction <= 1.0:
            raise ConfigError(
                f"fraction is {self.fraction}, but it is the share of channels that is turned. Choose above 0, up to 1."
            )
        _positive("axes", self.axes)


@dataclass(frozen=True)
class ALiBiPositions:
    """Scores fall in a straight line with distance, at a slope of each head's own (Press et al. 2021)."""


AddedPositions = NoPositions | SinusoidalPositions | LearnedPositions
Positions = NoPositions | RotaryPositions | ALiBiPositions

# ── norms, attention, feed-forward ─────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class LayerNorm:
    """Mean 0, deviation 1, then a trained scale and (by default) shift."""

    eps: float = 1e-5
    bias: bool = True


@dataclass(frozen=True)
class RMSNorm:
    """Root mean square 1, then a trained scale (Zhang & Sennrich 2019)."""

    eps: float = 1e-6


Norm = LayerNorm | RMSNorm


@dataclass(frozen=True)
class FullSpan:
    """Every token that the direction allows."""


@dataclass(frozen=True)
class SlidingSpan:
    """The token itself and the ``window - 1`` before it (and, when bidirectional, after it)."""

    window: int


Span = FullSpan | SlidingSpan


@dataclass(frozen=True)
class AttentionConfig:
    """One attention: ``num_kv_heads`` equal to ``num_heads`` is multi-head, 1 is multi-query, else grouped."""

    num_heads: int
    num_kv_heads: int
    head_dim: int
    positions: Positions = NoPositions()
    span: Span = FullSpan()
    bias: bool = False  # on query, key and value
    output_bias: bool = False
    qk_norm: Norm | None = None  # over each head's channels, before any rotation
    softcap: float | None = None  # scores become softcap · tanh(scores / softcap)
    scale: float | None = None  # None: 1 / √head_dim
    dropout: float = 0.0  # on the attention weights

    def __post_init__(self) -> None:
        _positive("num_heads", self.num_heads)
        _positive("num_kv_heads", self.num_kv_heads)
        _positive("head_dim", self.head_dim)
        _share("attention dropout", self.dropout)
        _cap(self.softcap)
        if self.num_heads % self.num_kv_heads:
            good = [str(n) for n in range(1, self.num_heads + 1) if self.num_heads % n == 0]
            raise ConfigError(
                f"num_kv_heads is {self.num_kv_heads}, which does not divide num_heads {self.num_heads}. "
                f"Choose one of {', '.join(good)}."
            )
        if isinstance(self.positions, RotaryPositions) and self.rotary_dim % (2 * self.positions.axes):
            raise ConfigError(
                f"head_dim is {self.head_dim}, but rotary positions turn channels in pairs, as many for each of "
                f"{self.positions.axes} axes, and would turn {self.rotary_dim} of them. "
                f"Choose a multiple of {2 * self.positions.axes}."
            )
        if isinstance(self.span, SlidingSpan):
            _positive("window", self.span.window)

    @property
    def rotary_dim(self) -> int:
        """How many channels of each head are turned."""
        fraction = self.positions.fraction if isinstance(self.positions, RotaryPositions) else 0.0
        return int(self.head_dim * fraction)


Activation = Literal["relu", "relu2", "gelu", "gelu_tanh", "quick_gelu", "silu"]


@dataclass(frozen=True)
class FeedForwardConfig:
    """``gated`` with silu is SwiGLU, with gelu GeGLU; ``relu2`` is the square of ReLU."""

    hidden_dim: int
    activation: Activation = "silu"
    gated: bool = True
    bias: bool = False

    def __post_init__(self) -> None:
        _positive("hidden_dim", self.hidden_dim)


@dataclass(frozen=True)
class BlockConfig:
    """One layer: attention, for a decoder that reads an encoder cross-attention, then feed-forward.

    ``placement`` says where a sub-layer f is normalised: pre ``x + f(norm(x))``, post ``norm(x + f(x))``,
    sandwich ``x + norm(f(norm(x)))``. ``residual_scale`` multiplies each f before it is added. ``conditioned``:
    a vector given with the input scales, shifts and gates attention and feed-forward (see ``Block``).
    """

    attention: AttentionConfig
    feed_forward: FeedForwardConfig
    cross_attention: AttentionConfig | None = None
    norm: Norm = RMSNorm()
    placement: Literal["pre", "post", "sandwich"] = "pre"
    dropout: float = 0.0  # on each sub-layer's output
    residual_scale: float = 1.0
    conditioned: bool = False

    def __post_init__(self) -> None:
        _share("dropout", self.dropout)
        if self.conditioned and self.placement == "post":
            raise ConfigError(
                "placement is post, but a condition acts on what pre or sandwich norms. Choose one of them."
            )


@dataclass(frozen=True)
class StackConfig:
    """``num_layers`` layers; ``blocks`` is repeated in turn (local, local, global, local, local, …)."""

    num_layers: int
    blocks: tuple[BlockConfig, ...]
    causal: bool
    final_norm: Norm | None = RMSNorm()

    def __post_init__(self) -> None:
        _positive("num_layers", self.num_layers)
        if not self.blocks:
            raise ConfigError("blocks is empty, but a stack needs at least one kind of block. Give one.")
        if len(self.blocks) > self.num_layers:
            raise ConfigError(
                f"blocks has {len(self.blocks)} entries, but num_layers is {self.num_layers}. Give no more "
                "blocks than layers."
            )

    def block(self, layer: int) -> BlockConfig:
        """The configuration of one layer, counted from 0."""
        return self.blocks[layer % len(self.blocks)]


# ── the whole ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class EmbeddingConfig:
    """From ids to vectors: tokens, plus positions, plus segments; then scaled, normalised, dropped."""

    positions: AddedPositions = NoPositions()
    segments: int = 0  # BERT's token types; 0: none
    scale: float = 1.0  # multiplies the token vectors before anything is added; the 2017 model: √dim
    norm: Norm | None = None
    dropout: float = 0.0

    def __post_init__(self) -> None:
        _share("embedding dropout", self.dropout)


@dataclass(frozen=True)
class HeadConfig:
    """From vectors to logits. ``transform`` puts BERT's dense layer, activation and norm before it."""

    tied: bool = True  # the token embedding's own matrix, used the other way
    bias: bool = False
    transform: Activation | None = None
    transform_norm: Norm = LayerNorm()
    softcap: float | None = None

    def __post_init__(self) -> None:
        _cap(self.softcap)


@dataclass(frozen=True)
class ModelConfig:
    """A Transformer. Decoder-only: no encoder; encoder-only: no decoder; encoder-decoder: both.

    Raises:
        ConfigError: parts that do not fit, with the value, the rule and what to choose.
    """

    vocab_size: int
    dim: int
    context_length: int
    decoder: StackConfig | None = None
    encoder: StackConfig | None = None
    embedding: EmbeddingConfig = field(default_factory=EmbeddingConfig)
    head: HeadConfig | None = field(default_factory=HeadConfig)

    def __post_init__(self) -> None:
        _positive("vocab_size", self.vocab_size)
        _positive("dim", self.dim)
        _positive("context_length", self.context_length)
        if self.decoder is None and self.encoder is None:
            raise ConfigError("decoder and encoder are both missing, but a model needs one. Give either.")
        crosses = self.decoder is not None and any(b.cross_attention for b in self.decoder.blocks)
        if crosses and self.encoder is None:
            raise ConfigError("cross_attention is set, but there is no encoder to attend to. Give one or leave it out.")
        if self.decoder is not None and self.encoder is not None and not crosses:
            raise ConfigError("cross_attention is None, but the decoder has an encoder to read. Set it in its blocks.")

    @property
    def stack(self) -> StackConfig:
        """The stack whose output the head reads: the decoder where there is one, else the encoder."""
        chosen = self.decoder or self.encoder
        assert chosen is not None
        return chosen

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; ``from_dict`` reads them back to an equal config."""
        return write_settings(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """Read what ``to_dict`` wrote; strict.

        Raises:
            ConfigError: an unknown, missing or ill-typed entry, named with its path.
        """
        return read_settings(cls, values, "model")


# ── the rules that settings keep ───────────────────────────────────────────────────────────────────────


def _positive(name: str, value: int) -> None:
    if value < 1:
        raise ConfigError(f"{name} is {value}, but it must be at least 1. Choose a larger number.")


def _share(name: str, value: float) -> None:
    if not 0.0 <= value < 1.0:
        raise ConfigError(f"{name} is {value}, but it is a share of values. Choose from 0 up to, not including, 1.")


def _cap(value: float | None) -> None:
    if value is not None and not value > 0.0:
        raise ConfigError(f"softcap is {value}, but scores stay below it. Choose a number above 0, or leave it out.")
