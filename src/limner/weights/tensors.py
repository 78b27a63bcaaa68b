"""Tensors in safetensors files, whole or sharded, read from the disk where they lie.

Tensors come memory-mapped: nothing is copied until it is needed, so that a model is loaded in little more
memory than it has weights. Nothing is ever unpickled.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.overrides import TorchFunctionMode

from limner.core.errors import WeightsError
from limner.core.transformer import Transformer
from limner.weights.files import write_json
from limner.weights.header import INDEX, WHOLE, read_header, weight_files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from limner.core.config import ModelConfig

Model = TypeVar("Model", bound=nn.Module)


class TensorFiles:
    """The tensors of a model folder by name.

    Args:
        folder: holds ``model.safetensors``, or ``model.safetensors.index.json`` and the shards that it names.
    Raises:
        WeightsError: there are none, they are pickles, cut off, or not safetensors.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, Any] = {}
        self._home: dict[str, str] = {}  # tensor → file
        for name in weight_files(folder):
            self._files[name] = open_tensors(folder / name)
            for key in self._files[name].keys():  # noqa: SIM118 (a safetensors handle is no mapping)
                self._home[key] = name

    @property
    def names(self) -> list[str]:
        """All tensors, sorted."""
        return sorted(self._home)

    def shape(self, name: str) -> tuple[int, ...]:
        """Known from the header alone."""
        return tuple(self._files[self._home[name]].get_slice(name).get_shape())

    def __getitem__(self, name: str) -> Tensor:
        """Memory-mapped; private to this process when written to."""
        tensor: Tensor = self._files[self._home[name]].get_tensor(name)
        return tensor


def open_tensors(path: Path) -> Any:
    """Open one safetensors file.

    Raises:
        WeightsError: it is a pickle, cut off, or something else.
    """
    read_header(path)
    try:
        return safe_open(path, framework="pt", device="cpu")
    except (OSError, SafetensorError) as problem:
        raise WeightsError(f"{path} is no safetensors file: {problem}. Give a folder with {WHOLE}.") from problem


def write_tensors(folder: Path, tensors: Mapping[str, Tensor], *, shard_bytes: int | None = None) -> None:
    """Write ``model.safetensors``, or shards of at most ``shard_bytes`` and an index.

    Args:
        tensors: none may share memory with another.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    total = sum(tensor.nbytes for tensor in plain.values())
    if shard_bytes is None or total <= shard_bytes:
        _save(plain, folder / WHOLE)
        return
    shards: list[dict[str, Tensor]] = [{}]
    held = 0
    for name, tensor in plain.items():
        if shards[-1] and held + tensor.nbytes > shard_bytes:
            shards.append({})
            held = 0
        shards[-1][name] = tensor
        held += tensor.nbytes
    where = {}
    for i, shard in enumerate(shards, 1):
        file = f"model-{i:05d}-of-{len(shards):05d}.safetensors"
        _save(shard, folder / file)
        where.update(dict.fromkeys(shard, file))
    write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": where})


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    save_file(tensors, path, metadata={"format": "pt"})  # the note that other loaders look for
    path.chmod(0o644)  # safetensors gives it to its owner alone; a model is to be read by whoever may read the folder


class _Unset(TorchFunctionMode):
    """Leaves start values out: on the meta device they are nothing, and drawing them loads half of torch."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in ("normal_", "uniform_", "kaiming_uniform_"):
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def empty(make: Callable[[], Model]) -> Model:
    """What ``make`` makes, without weights, on the meta device; ``fill`` gives it some."""
    with torch.device("meta"), _Unset():
        return make()


def empty_model(config: ModelConfig) -> Transformer:
    """The Transformer without weights; ``fill`` gives it some."""
    return empty(lambda: Transformer(config))


def fill(model: nn.Module, tensors: Mapping[str, Tensor], dtype: torch.dtype | None) -> None:
    """Give a model on the meta device its weights, without a second copy of them, and set it to evaluate.

    Args:
        dtype: of the floating-point ones; None: as they are.
    """
    state = {
        name: value if dtype is None or not value.is_floating_point() else value.to(dtype)
        for name, value in tensors.items()
    }
    model.load_state_dict(state, assign=True)
    model.eval()


def cast_parameters(model: nn.Module, dtype: torch.dtype) -> None:
    """Bring the weights to a dtype; buffers stay as they are, which ``model.to(dtype)`` would round as well."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
