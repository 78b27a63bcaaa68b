"""Training speed at GPT-2's shape (124 million parameters): tokens per second beside transformers, eager and compiled.

    python -m bench.train_step [--json] [--turns N] [--threads N] [--skip-compiled]

Batch 4 × 256, no dropout on either side, AdamW (fused) with clipping; one step is forward, loss, backward, clipping,
update. Ours is limner's own loop (``Training.take_step``) on its own core: eager as it is by default, and compiled.
Theirs is GPT2LMHeadModel with a plain PyTorch loop: float32, and bfloat16 under autocast as people use it. All sides
are processes of their own that wait while another is measured, so that they take turns step by step; the figure of a
side is the median step. ``ratio`` is our faster way against their eager one in bfloat16.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import harness, sides

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH, TIME, VOCABULARY = 4, 256, 50257


def ours(precision: str, compiled: bool) -> Callable[[], float]:
    """One step of limner's loop; returns the loss."""
    import torch

    from bench.shapes import gpt2
    from limner.core.transformer import Transformer
    from limner.train.loop import Training
    from limner.train.run import RunFolder
    from limner.train.settings import TrainSettings

    torch.manual_seed(0)
    model = Transformer(gpt2()).train()
    settings = TrainSettings(
        steps=10_000,
        optimizer="adamw",
        learning_rate=1e-4,
        precision=precision,  # type: ignore[arg-type]
        compile="on" if compiled else "off",
        threads=torch.get_num_threads(),
        device="cpu",
    )
    generator = torch.Generator().manual_seed(0)

    def batch(index: int) -> torch.Tensor:
        return torch.randint(0, VOCABULARY, (BATCH, TIME + 1), generator=generator)

    def step(ids: torch.Tensor) -> torch.Tensor:
        return model.loss(ids[:, :-1], ids[:, 1:])

    folder = RunFolder(Path(tempfile.mkdtemp()))
    training = Training(model, step=step, batches=batch, settings=settings, folder=folder)

    def once() -> float:
        report = training.take_step()
        training.clock.tick(report.seconds)
        return report.loss

    return once


def theirs(precision: str, compiled: bool) -> Callable[[], float]:
    """One step of transformers' model in a plain loop; returns the loss."""
    import torch
    import transformers

    torch.manual_seed(0)
    torch.set_flush_denormal(True)
    config = transformers.GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False)
    model = transformers.GPT2LMHeadModel(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.99), weight_decay=0.1, fused=True)
    generator = torch.Generator().manual_seed(0)
    run = torch.compile(model, dynamic=False) if compiled else model

    def once() -> float:
        ids = torch.randint(0, VOCABULARY, (BATCH, TIME + 1), generator=generator)
        cast = torch.autocast("cpu", torch.bfloat16) if precision == "bfloat16" else contextlib.nullcontext()
        with cast:
            logits = run(input_ids=ids[:, :-1]).logits
            loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.item())

    return once


def measure(precision: str, ways: list[tuple[str, bool]], turns: int, threads: int) -> dict[str, dict[str, float]]:
    """Tokens per second of each side, and how long its first step took."""
    started = {
        f"{name}{', compiled' if compiled else ''}": sides.Side(
            "bench.train_step", [name, precision, str(int(compiled))], threads
        )
        for name, compiled in ways
    }
    found = sides.in_turn(started, turns)
    return {name: {"tokens_per_second": BATCH * TIME / row["seconds"], **row} for name, row in found.items()}


def main() -> None:
    parser = harness.parser(__doc__ or "", turns=5)
    parser.add_argument("--serve", nargs=3, help="internal: be one side")
    parser.add_argument("--skip-compiled", action="store_true", help="only the eager sides")
    parser.add_argument("--precision", choices=("bfloat16", "float32"), help="one of the two alone")
    chosen = parser.parse_args()
    if chosen.serve:
        import torch

        side, precision, compiled = chosen.serve
        torch.set_num_threads(chosen.threads)
        sides.serve((ours if side == "limner" else theirs)(precision, compiled == "1"), chosen.threads)
        return
    ways = [("limner", False), ("transformers", False)]
    if not chosen.skip_compiled:
        ways += [("limner", True), ("transformers", True)]
    results: dict[str, Any] = {}
    print(f"{'precision':10} {'side':24} {'tokens/s':>9} {'first step':>11} {'to their eager':>15}")
    for precision in [chosen.precision] if chosen.precision else ["bfloat16", "float32"]:
        found = measure(precision, ways, chosen.turns, chosen.threads)
        eager = found["transformers"]["tokens_per_second"]
        for name, row in found.items():
            row["ratio"] = row["tokens_per_second"] / eager
            print(
                f"{precision:10} {name:24} {row['tokens_per_second']:9.0f} {row['first_step_s']:9.1f} s {row['ratio']:15.2f}",
                flush=True,
            )
        best = max(row["tokens_per_second"] for name, row in found.items() if name.startswith("limner"))
        peers = [row["tokens_per_second"] for name, row in found.items() if name.startswith("transformers")]
        results[precision] = {"sides": found, "ratio": best / eager, "ratio_to_their_best": best / max(peers)}
    first = next(iter(results.values()))
    harness.finish(
        "train_step",
        chosen.json,
        chosen.threads,
        {"ratio": first["ratio"], "ratio_to_their_best": first["ratio_to_their_best"], "precisions": results},
    )


if __name__ == "__main__":
    main()
