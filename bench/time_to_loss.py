"""How long until a model predicts Shakespeare to 1.88 nats per character: limner beside nanoGPT's recipe for a laptop.

    python -m bench.time_to_loss [--json] [--turns N] [--threads N]

Each side is a process of its own: Python starts, torch is imported, tinyshakespeare is read, a model is trained from
nothing, and judged on the last tenth of the text, cut into consecutive windows of 64 characters, each predicted from its
own window alone. Both sides are judged by the same function.

Theirs: nanoGPT's published CPU recipe (4 layers, 4 heads, width 128, no dropout, no bias, GELU, tied head, context 64,
batch 12, AdamW 1e-3 → 1e-4 by a cosine over 2000 steps, 100 of warm-up, betas 0.9 and 0.99, weight decay 0.1, clipping
at 1, float32, no compiler) on transformers' GPT-2. It is judged every 50 steps from step 1500 on, and stops at the first
time it is at 1.88 or lower; if it is not there when its 2000 steps are over, it counts as there. Judging is not counted
on their side, and it is counted, once, on ours.

Ours: ``limner.recipes.quick`` through limner's own loop. The benchmark fails if it does not get to 1.88.
"""

from __future__ import annotations

import gzip
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import harness

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

GOAL, WINDOW = 1.88, 64
CORPUS = Path(__file__).parent.parent / "src" / "limner" / "assets" / "corpora" / "shakespeare.txt.gz"


def judge(logits: Callable[[Tensor], Tensor], held_back: Tensor) -> float:
    """Nats per character over consecutive windows, each by itself."""
    import torch

    count = (len(held_back) - 1) // WINDOW
    inputs = held_back[: count * WINDOW].view(count, WINDOW)
    targets = held_back[1 : count * WINDOW + 1].view(count, WINDOW)
    nats = 0.0
    with torch.inference_mode():
        for first in range(0, count, 128):
            scores = logits(inputs[first : first + 128]).float().flatten(0, 1)
            wanted = targets[first : first + 128].flatten()
            nats += float(torch.nn.functional.cross_entropy(scores, wanted, reduction="sum"))
    return nats / (count * WINDOW)


def ours(seed: int, threads: int) -> None:
    """One run of limner's recipe."""
    from limner.recipes.quick import characters_quick

    made = characters_quick(gzip.decompress(CORPUS.read_bytes()).decode("utf-8"), seed=seed, threads=threads)
    start = time.perf_counter()
    loss = judge(made.model, made.validation)
    harness.answer({"loss": loss, "training": made.seconds, "judging": time.perf_counter() - start, "uncounted": 0.0})


def theirs(seed: int, threads: int) -> None:
    """One run of nanoGPT's recipe."""
    import numpy as np
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.set_num_threads(threads)
    text = gzip.decompress(CORPUS.read_bytes()).decode("utf-8")
    known, places = np.unique(np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32), return_inverse=True)
    ids = torch.from_numpy(places.astype(np.int64))
    cut = int(0.9 * len(ids))
    learned, held_back = ids[:cut], ids[cut:]
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=len(known),
        n_positions=WINDOW,
        n_embd=128,
        n_layer=4,
        n_head=4,
        activation_function="gelu",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
        bos_token_id=0,
        eos_token_id=None,
    )
    model = GPT2LMHeadModel(config).train()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):  # zero as they begin, and so they stay
            parameter.requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() >= 2], "weight_decay": 0.1},
        {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99), fused=True)
    uncounted, loss, begun = 0.0, math.inf, time.perf_counter()
    step = 0
    while step < 2000 and loss > GOAL:
        fall = 0.5 * (1.0 + math.cos(math.pi * (step - 100) / 1900))
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * (step + 1) / 101 if step < 100 else 1e-4 + fall * 9e-4
        where = torch.randint(0, len(learned) - WINDOW, (12, 1)) + torch.arange(WINDOW)
        logits = model(learned[where]).logits
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), learned[where + 1].flatten()).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        if step >= 1500 and step % 50 == 0:
            start = time.perf_counter()
            loss = judge(lambda inputs: model(inputs).logits, held_back)
            uncounted += time.perf_counter() - start
    training = time.perf_counter() - begun - uncounted
    harness.answer({"loss": loss, "training": training, "judging": 0.0, "uncounted": uncounted, "steps": step})


def main() -> None:
    parser = harness.parser(__doc__ or "", turns=3)
    parser.add_argument("--side", choices=("limner", "nanogpt"), help="internal: be one side")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    if chosen.side:
        (ours if chosen.side == "limner" else theirs)(chosen.seed, chosen.threads)
        return
    print(f"{'side':10} {'seed':>4} {'seconds':>8} {'training':>9} {'nats per character':>19}")
    seeds = dict.fromkeys(("limner", "nanogpt"), chosen.seed)

    def run(side: str) -> dict[str, Any]:
        seed = seeds[side]
        seeds[side] += 1
        arguments = ["--side", side, "--seed", str(seed), "--threads", str(chosen.threads)]
        found = harness.worker("bench.time_to_loss", arguments, chosen.threads)
        return {**found, "seed": seed, "seconds": found["wall"] - found["uncounted"]}

    def show(side: str, one: dict[str, Any]) -> None:
        print(f"{side:10} {one['seed']:4} {one['seconds']:8.1f} {one['training']:9.1f} {one['loss']:19.4f}", flush=True)

    found = harness.in_turn({"limner": lambda: run("limner"), "nanogpt": lambda: run("nanogpt")}, chosen.turns, show)
    missed = [one["loss"] for one in found["limner"] if one["loss"] > GOAL]
    if missed:
        raise SystemExit(f"limner's loss is {max(missed):.4f}, but the goal is {GOAL}.")
    ratio = harness.ratio(found["nanogpt"], found["limner"], "seconds")
    print(f"limner is there in 1/{ratio:.1f} of the time")
    harness.finish("time_to_loss", chosen.json, chosen.threads, {"ratio": ratio, "goal": GOAL, "sides": found})


if __name__ == "__main__":
    main()
