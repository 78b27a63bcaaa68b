"""Placeholder until the autoencoder is merged."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AutoencoderConfig:
    """Placeholder."""

    latent_channels: int = 8
    factor: int = 8
