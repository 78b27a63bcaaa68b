"""Pictures made in one pass of the network, each to the bit what it is alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class Apart(TorchFunctionMode):
    """Within it, what is multiplied by these weights is multiplied a picture at a time, in this thread alone.

    Args:
        weights: of linear layers.
        rows: of each picture, in the first dimension of what the layers are given.
    """

    def __init__(self, weights: Collection[Tensor], rows: int) -> None:
        super().__init__()
        self.weights, self.rows = {id(weight) for weight in weights}, rows

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is F.linear:
            x, weight, bias = _operands(*args, **(kwargs or {}))
            if id(weight) in self.weights:
                return torch.cat([F.linear(part, weight, bias) for part in torch.split(x, self.rows)])
        return function(*args, **(kwargs or {}))


class _Products(TorchFunctionMode):
    """Notes what linear layers are given within it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[torch.Size, torch.dtype, Tensor, Tensor | None]] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is F.linear:
            x, weight, bias = _operands(*args, **(kwargs or {}))
            self.seen.append((x.shape, x.dtype, weight, bias))
        return function(*args, **(kwargs or {}))


def _operands(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
    """What ``F.linear`` is given, by whatever names."""
    return input, weight, bias


def weights_apart(
    together: Callable[[Collection[Tensor]], Tensor], alone: Sequence[Callable[[], Tensor]]
) -> tuple[Tensor, ...] | None:
    """Which weights must be multiplied a picture at a time, if pictures made together are to be those made alone.

    A product of matrices may add in another order when it has more rows. Whether it does is decided by their number, the
    processor, precision and threads, and by nothing that stands in them; so one look at all pictures against one at each
    says it, once for each number. Where they differ, each product that a look takes is tried by itself.

    Args:
        together: computes all pictures in one pass, with these weights ``Apart``.
        alone: each computes one of them.
    Returns:
        The weights, most often none; None where even so the pictures are others than alone.
    Raises:
        torch.OutOfMemoryError: there is no room for all of them.
    """
    first = together(())
    products = _Products()
    with products:
        each = [alone[0]()]
    each += [one() for one in alone[1:]]
    wanted = torch.cat(each)
    if torch.equal(first, wanted):
        return ()
    found: dict[tuple[Any, ...], bool] = {}
    generator = torch.Generator().manual_seed(0)  # the caller's own numbers stay as they are
    apart: list[Tensor] = []
    for shape, dtype, weight, bias in products.seen:
        key = (shape, dtype, weight.shape, weight.dtype, bias is None)
        if key not in found:
            some = torch.randn((len(alone), *shape), generator=generator).to(weight.device, dtype)
            found[key] = _adds_otherwise(some, weight, bias)
        if found[key]:
            apart.append(weight)
    return tuple(apart) if apart and torch.equal(together(apart), wanted) else None


def _adds_otherwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether a layer computes something else for several pictures, shape (pictures, rows, …), than for each."""
    each = torch.cat([F.linear(one, weight, bias) for one in x])
    return not torch.equal(F.linear(x.flatten(0, 1), weight, bias), each)
