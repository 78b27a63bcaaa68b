"""Our own model folders, and the one function that opens any.

config.json        {"format": "limner", "version": 1, "model": ModelConfig, "card": {…}, "sha256": …,
                    "tokenizer_sha256": …}; a picture model has "picture" in the place of "model"
model.safetensors  every parameter by its name in the model
tokenizer.json     (and what else the tokenizer writes)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from limner.core.config import ModelConfig
from limner.core.errors import WeightsError
from limner.core.transformer import Transformer
from limner.weights.files import (
    CONFIG,
    file_digest,
    read_json,
    read_unchanged,
    refuse_pickle,
    replaced_folder,
    standing,
    write_json,
)
from limner.weights.header import WHOLE
from limner.weights.keytable import expect_tensors
from limner.weights.tensors import TensorFiles, empty_model, fill, write_tensors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import nn


FORMAT = "limner"
TOKENIZER = "tokenizer.json"
VERSION = 1
KINDS = {
    "model": "text model",
    "picture": "picture model",
    "autoencoder": "picture autoencoder",
    "judge": "judge of pictures",
}


class SavableTokenizer(Protocol):
    """What saving a model asks of a tokenizer."""

    @property
    def vocab_size(self) -> int: ...

    def save(self, folder: Path) -> None: ...


@dataclass(frozen=True)
class LoadedModel:
    """A model as read from a folder, and unpacked as ``model, config, card = load_model(…)``.

    Attributes:
        model: ready to be used, in evaluation mode.
        card: what the folder says of itself: name, licence, what it was trained on, …
    """

    model: Transformer
    config: ModelConfig
    card: dict[str, Any]

    def __iter__(self) -> Iterator[Any]:
        return iter((self.model, self.config, self.card))


def save_model(
    folder: Path | str,
    model: Transformer,
    tokenizer: SavableTokenizer | None,
    card: Mapping[str, Any] | None = None,
    *,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a model folder, whole or not at all; one that is there already is replaced.

    Args:
        tokenizer: writes its own files; None for a model without one.
        card: plain JSON values for the model card.
        dtype: of the floating-point weights on disk; None: as they are.
    Raises:
        WeightsError: the tokenizer has more tokens than the model, or the folder cannot be written.
    """
    folder = Path(folder)
    if tokenizer is not None:
        check_vocabulary(tokenizer.vocab_size, model.config, folder)
    write_folder(folder, {"model": model.config.to_dict()}, model.state_dict(), tokenizer, card, dtype=dtype)


def write_folder(
    folder: Path,
    described: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    tokenizer: SavableTokenizer | None,
    card: Mapping[str, Any] | None = None,
    *,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a folder of ours for a model of any kind, whole or not at all.

    Args:
        described: what ``config.json`` says of the model, under a key that names its kind.
        tensors: all its weights by name.
        tokenizer, card, dtype: as for ``save_model``.
    Raises:
        WeightsError: the folder cannot be written.
    """
    kept = {name: value.detach().cpu() for name, value in tensors.items()}
    if dtype is not None:
        kept = {name: value.to(dtype) if value.is_floating_point() else value for name, value in kept.items()}
    with replaced_folder(folder) as fresh:
        write_tensors(fresh, kept)
        digests = {"sha256": file_digest(fresh / WHOLE)}
        if tokenizer is not None:
            tokenizer.save(fresh)
            if (fresh / TOKENIZER).is_file():
                digests["tokenizer_sha256"] = file_digest(fresh / TOKENIZER)
        described = {"format": FORMAT, "version": VERSION, **described, "card": dict(card or {}), **digests}
        write_json(fresh / CONFIG, described)


def load_model(folder: Path | str, *, dtype: torch.dtype | None = None, verify: bool = True) -> LoadedModel:
    """Open a model folder: our own, or a Hugging Face folder of a family we know.

    Args:
        dtype: of the floating-point weights in memory; None: as they are on disk.
        verify: compare the checksums that our own folders hold.
    Raises:
        WeightsError: it is missing, damaged, a pickle, or does not fit its description.
        ConfigError: its description asks for what we do not have.
    """
    return read_unchanged(Path(folder), lambda place: _load_model(place, dtype, verify))


def _load_model(folder: Path, dtype: torch.dtype | None, verify: bool) -> LoadedModel:
    values = read_config(folder)
    if "model_type" in values:
        from limner.weights.huggingface import read_huggingface

        return read_huggingface(folder, values, dtype=dtype)
    config = native_config(folder, values)
    model = empty_model(config)
    fill_from(folder, model, values, dtype=dtype, verify=verify)
    return LoadedModel(model, config, card_of(folder, values))


def fill_from(
    folder: Path, model: nn.Module, values: Mapping[str, Any], *, dtype: torch.dtype | None = None, verify: bool = True
) -> None:
    """Give a model on the meta device the weights of a folder of ours.

    Args:
        values: its ``config.json``.
        dtype, verify: as for ``load_model``.
    Raises:
        WeightsError: a file is missing, damaged or a pickle, or the tensors are not the model's.
    """
    refuse_pickle(folder / WHOLE)  # before its checksum, which would only say that it is another file
    if verify:
        _verify(folder, values)
    files = TensorFiles(folder)
    expect_tensors(
        {name: tuple(value.shape) for name, value in model.state_dict().items()},
        {name: files.shape(name) for name in files.names},
        folder,
    )
    fill(model, {name: files[name] for name in files.names}, dtype)


def _verify(folder: Path, values: Mapping[str, Any]) -> None:
    """Compare the files with their checksums."""
    if (folder / WHOLE).is_file():
        found, claimed = file_digest(folder / WHOLE), str(values.get("sha256"))
        if found != claimed:
            raise WeightsError(
                f"{folder / WHOLE} has checksum {found[:12]}…, but {CONFIG} says {claimed[:12]}…: it was damaged or changed. "
                "Copy the folder again."
            )
    if "tokenizer_sha256" in values and (folder / TOKENIZER).is_file():  # one as large would fit unnoticed
        found, claimed = file_digest(folder / TOKENIZER), str(values["tokenizer_sha256"])
        if found != claimed:
            raise WeightsError(
                f"{folder / TOKENIZER} has checksum {found[:12]}…, but {CONFIG} says {claimed[:12]}…: it is not the "
                "tokenizer that the model was trained with. Copy the folder again."
            )


def read_config(folder: Path) -> dict[str, Any]:
    """The content of a model folder's ``config.json``.

    Raises:
        WeightsError: no such folder, or no ``config.json`` in it; a pickle is named as such.
    """
    refuse_pickle(folder)
    if folder.is_file():
        raise WeightsError(f"{folder} is a file, but a model is a folder with {CONFIG} in it. Give that folder.")
    folder = standing(folder)
    if not folder.is_dir():
        raise WeightsError(
            f"{folder} is no folder, but a model is one. Correct the path; `limner models` lists the bundled ones."
        )
    if not (folder / CONFIG).is_file():
        for path in sorted(folder.iterdir()):
            refuse_pickle(path)
    return read_json(folder / CONFIG)


def native_config(folder: Path, values: Mapping[str, Any]) -> ModelConfig:
    """The text model that the ``config.json`` of one of our own folders describes.

    Raises:
        WeightsError: the format is another, or the model is of another kind.
        ConfigError: an entry is unknown, missing or ill-typed.
    """
    return ModelConfig.from_dict(described(folder, values, "model"))


def described(folder: Path, values: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """What ``config.json`` says under the key of a kind of model.

    Raises:
        WeightsError: the format, the version or the kind is another.
    """
    if values.get("format") != FORMAT:
        raise WeightsError(
            f"{folder / CONFIG} has neither format {FORMAT!r} nor a model_type, but one of them says how to read it. "
            "Give a folder of limner or of Hugging Face."
        )
    if values.get("version") != VERSION:
        raise WeightsError(
            f"{folder / CONFIG} has version {values.get('version')!r}, but this limner reads {VERSION}. "
            "Use the release that wrote it."
        )
    if kind not in values and (other := kind_of(values)) is not None:
        raise WeightsError(f"{folder} is a {KINDS[other]}, but a {KINDS[kind]} is needed here. Give another folder.")
    return _group(folder, values, kind)


def card_of(folder: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """What a ``config.json`` of ours says of the model's origin; empty where it says nothing.

    Raises:
        WeightsError: it is no object.
    """
    return _group(folder, values, "card")


def _group(folder: Path, values: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = values.get(name)
    if not isinstance(found, dict | None):
        raise WeightsError(
            f"{folder / CONFIG} has a {name} that is {found!r:.60}, but an object is needed. Copy the folder again."
        )
    return dict(found or {})


def kind_of(values: Mapping[str, Any]) -> str | None:
    """The key of the kind that a ``config.json`` of ours describes; None: none that we know."""
    return next((kind for kind in KINDS if kind in values), None)


def check_vocabulary(tokens: int, config: ModelConfig, folder: Path | str) -> None:
    """Check that every token has its vector.

    Raises:
        WeightsError: the tokenizer has more tokens than the model.
    """
    if tokens > config.vocab_size:
        raise WeightsError(
            f"{folder}: the tokenizer has {tokens} tokens, but the model's vocab_size is {config.vocab_size}. "
            "Use the tokenizer that the model was trained with."
        )
