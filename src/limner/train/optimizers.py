"""AdamW and Muon, and which parameter goes to which.

Muon takes the matrices of the layers and those that lead into and out of a denoiser; AdamW takes embeddings, heads,
tables, norms and biases. Weight decay acts on Muon's matrices (and an untied head) alone.

Source: Jordan et al. 2024 (kellerjordan.github.io/posts/muon); the scale of its updates so that both optimizers
share their rates, Liu et al. 2025, arXiv:2502.16982.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from limner.core.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limner.train.settings import TrainSettings


TOGETHER = 8  # matrices of one shape that Muon orthogonalises at once; of 1, 8 and all the fastest (docs/log.md)


class Muon(torch.optim.Muon):
    """torch's own, but for matrices of one shape at once: to bfloat16's rounding the same, at usual widths bit for bit.

    One after the other, the small products of a small model leave most of the threads waiting. Updates are as large as AdamW's
    (``adjust_lr_fn="match_rms_adamw"``).
    """

    def __init__(self, params: Any, *, lr: float, weight_decay: float, momentum: float) -> None:
        super().__init__(params, lr, weight_decay, momentum, adjust_lr_fn="match_rms_adamw")

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of all parameters; without a closure."""
        assert closure is None, "limner's loop has none"
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            for p in params:
                if "momentum_buffer" not in self.state[p]:
                    self.state[p]["momentum_buffer"] = torch.zeros_like(p.grad, memory_format=torch.preserve_format)
            grads = [p.grad for p in params]
            momenta = [self.state[p]["momentum_buffer"] for p in params]
            torch._foreach_lerp_(momenta, grads, 1 - group["momentum"])
            by_shape: dict[tuple[int, int], list[int]] = {}
            for number, p in enumerate(params):
                by_shape.setdefault((min(p.shape), max(p.shape)), []).append(number)
            torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
            for numbers in by_shape.values():
                for start in range(0, len(numbers), TOGETHER):
                    some = numbers[start : start + TOGETHER]
                    updates = [momenta[n] for n in some]
                    if group["nesterov"]:
                        updates = list(torch._foreach_lerp([grads[n] for n in some], updates, group["momentum"]))
                    wide = [update.bfloat16() for update in updates]
                    wide = [w.T if w.shape[0] > w.shape[1] else w for w in wide]
                    made = orthogonalised(torch.stack(wide), group["ns_coefficients"], group["ns_steps"], group["eps"])
                    for n, one in zip(some, made.unbind(), strict=True):
                        rows, columns = params[n].shape
                        rate = group["lr"] * 0.2 * math.sqrt(max(rows, columns))
                        params[n].add_(one.T if rows > columns else one, alpha=-rate)


def orthogonalised(matrices: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """Matrices with about the same singular vectors and with singular values of about 1, by Newton and Schulz.

    Args:
        matrices: bfloat16, shape (matrices, rows, columns), no more rows than columns.
        coefficients: of the quintic polynomial.
    """
    a, b, c = coefficients
    lengths = torch.stack([one.norm() for one in matrices.unbind()])
    x = matrices / lengths.clamp(min=eps)[:, None, None]
    for _ in range(steps):
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


# What each keeps of a parameter from its first step on.
STATE: dict[type[torch.optim.Optimizer], set[str]] = {
    torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq"},
    Muon: {"momentum_buffer"},
}


def is_layer_matrix(name: str, parameter: Tensor) -> bool:
    """Whether a parameter multiplies vectors, rather than being an embedding, a head, a norm, a table or a bias."""
    parts = name.split(".")
    return parameter.ndim == 2 and parts[-1] == "weight" and not {"embedding", "head"} & set(parts)


class Optimizers:
    """The optimizers of one run, stepped, saved and loaded as one.

    Args:
        parameters: name → parameter, each once.
        settings: ``optimizer``, rates, decay and momenta are read.
        matrices: names of the parameters that Muon may take; by default ``is_layer_matrix`` says.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], settings: TrainSettings) -> None:
        self.names = {id(p): name for name, p in parameters.items()}
        trained = {name: p for name, p in parameters.items() if p.requires_grad}
        matrices = [p for name, p in trained.items() if is_layer_matrix(name, p)]
        heads = [p for name, p in trained.items() if p.ndim == 2 and "head" in name.split(".")]
        taken = {id(p) for p in (*matrices, *heads)}
        others = [p for p in trained.values() if id(p) not in taken]
        decay, rate = settings.weight_decay, settings.learning_rate
        groups: list[dict[str, Any]] = [
            {"params": others, "lr": rate, "weight_decay": 0.0},
            {"params": heads, "lr": rate, "weight_decay": decay},
        ]
        self.all: list[torch.optim.Optimizer] = []
        if settings.optimizer == "muon" and matrices:
            self.all.append(Muon(matrices, lr=settings.matrix_rate, weight_decay=decay, momentum=settings.momentum))
        else:
            groups.append({"params": matrices, "lr": rate, "weight_decay": decay})
        groups = [group for group in groups if group["params"]]
        if groups:
            fused = all(p.device.type in ("cpu", "cuda") for p in trained.values())
            betas = (settings.beta1, settings.beta2)
            self.all.append(torch.optim.AdamW(groups, lr=rate, betas=betas, eps=1e-8, fused=fused))
        for optimizer in self.all:
            for group in optimizer.param_groups:
                group["peak"] = group["lr"]

    def step(self, factor: float) -> None:
        """One update of every parameter, at ``factor`` times the peak rates."""
        for optimizer in self.all:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * factor
            optimizer.step()

    # ── saving ──────────────────────────────────────────────────────────────────────────────────────

    def tensors(self) -> dict[str, Tensor]:
        """All state, as ``NAME/KEY`` → tensor."""
        return {
            f"{self.names[id(parameter)]}/{key}": value
            for optimizer in self.all
            for parameter, state in optimizer.state.items()
            for key, value in state.items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what ``tensors`` gave, for the same parameters.

        Raises:
            WeightsError: an entry belongs to no parameter or has another shape, or a parameter lacks one.
        """
        owners = {
            self.names[id(parameter)]: (optimizer, parameter)
            for optimizer in self.all
            for group in optimizer.param_groups
            for parameter in group["params"]
        }
        for full, value in tensors.items():
            name, _, key = full.rpartition("/")
            if name not in owners:
                raise WeightsError(
                    f"the optimizer state {full} belongs to no parameter of this model. Use its own run."
                )
            optimizer, parameter = owners[name]
            if value.ndim and value.shape != parameter.shape:
                raise WeightsError(
                    f"the optimizer state {full} has shape {tuple(value.shape)}, but its parameter has "
                    f"{tuple(parameter.shape)}. Use the run it belongs to."
                )
            device = parameter.device if value.ndim else value.device
            optimizer.state[parameter][key] = value.to(device, copy=True)
        for name, (optimizer, parameter) in owners.items():  # which would begin with new moments, and not as it stopped
            missing = (
                STATE[type(optimizer)] - optimizer.state[parameter].keys() if parameter in optimizer.state else set()
            )
            if missing or (tensors and parameter not in optimizer.state):
                raise WeightsError(
                    f"the optimizer state {name}/{min(missing or STATE[type(optimizer)])} is missing, but a run goes on with "
                    "all of it. Use the run it belongs to, or an earlier checkpoint."
                )
