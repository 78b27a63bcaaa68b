"""AdamW and Muon, and which parameter goes to which.

Muon takes the matrices of the layers and those that lead into and out of a denoiser; AdamW takes embeddings, heads,
tables, norms and biases. Weight decay acts on Muon's matrices (and an untied head) alone.

Source: Jordan et al. 2024 (kellerjordan.github.io/posts/muon); the scale of its updates so that both optimizers
share their rates, Liu et al. 2025, arXiv:2502.16982.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from limner.core.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limner.train.settings import TrainSettings


# What each keeps of a parameter from its first step on.
STATE: dict[type[torch.optim.Optimizer], set[str]] = {
    torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq"},
    torch.optim.Muon: {"momentum_buffer"},
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
            self.all.append(
                torch.optim.Muon(
                    matrices,
                    lr=settings.matrix_rate,
                    weight_decay=decay,
                    momentum=settings.momentum,
                    adjust_lr_fn="match_rms_adamw",
                )
            )
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
