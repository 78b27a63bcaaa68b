"""Picture models on disk: the folders of limner.weights.folder, with ``picture`` in their config.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.core.errors import WeightsError
from limner.picture.config import PictureConfig
from limner.picture.denoiser import PictureModel
from limner.weights.files import read_unchanged
from limner.weights.folder import SavableTokenizer, card_of, described, fill_from, read_config, write_folder
from limner.weights.tensors import cast_parameters, empty

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch


@dataclass(frozen=True)
class LoadedPictureModel:
    """A picture model as read from its folder.

    Attributes:
        model: ready to be used, in evaluation mode.
        card: what the folder says of itself.
        sha256: of its weights' file; names the model for good.
    """

    model: PictureModel
    card: dict[str, Any]
    sha256: str


def save_picture_model(
    folder: Path | str,
    model: PictureModel,
    tokenizer: SavableTokenizer,
    card: Mapping[str, Any] | None = None,
    *,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a picture model's folder, whole or not at all.

    Args:
        dtype: of the weights on disk; None: as they are. A published prompt encoder's stay as they are in any case.
    Raises:
        WeightsError: the tokenizer has more tokens than the model, or the folder cannot be written.
    """
    if tokenizer.vocab_size > model.config.prompt.vocab_size:
        raise WeightsError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} tokens, but the prompt's vocab_size is "
            f"{model.config.prompt.vocab_size}. Use the tokenizer that the model was trained with."
        )
    exact = {name for name, _ in model.named_buffers()}  # the scale of the latents; it stays float32
    if model.config.frozen_prompt:
        exact |= {f"prompt_encoder.{name}" for name in model.prompt_encoder.state_dict()}
    tensors = {
        name: value if dtype is None or name in exact else value.to(dtype) for name, value in model.state_dict().items()
    }
    write_folder(Path(folder), {"picture": model.config.to_dict()}, tensors, tokenizer, card)


def load_picture_model(
    folder: Path | str, *, dtype: torch.dtype | None = None, verify: bool = True
) -> LoadedPictureModel:
    """Open a picture model's folder.

    Args:
        dtype: of the weights in memory; None: as they are on disk. The scale of latents stays as exact as it is.
        verify: compare the checksums.
    Raises:
        WeightsError: it is missing, damaged, a pickle, or of another kind.
        ConfigError: its description asks for what we do not have.
    """
    return read_unchanged(Path(folder), lambda place: _load(place, dtype, verify))


def _load(folder: Path, dtype: torch.dtype | None, verify: bool) -> LoadedPictureModel:
    values = read_config(folder)
    config = PictureConfig.from_dict(described(folder, values, "picture"))
    model = empty(lambda: PictureModel(config))
    fill_from(folder, model, values, verify=verify)
    if dtype is not None:
        cast_parameters(model, dtype)
    return LoadedPictureModel(model, card_of(folder, values), str(values.get("sha256")))
