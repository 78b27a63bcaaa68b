"""Looking inside beside TransformerLens: seconds and memory of a trace, GPT-2 small's shape, random weights.

    python -m bench.explain [--json] [--turns N] [--threads N]

Ours is ``model.trace(ids)``: predictions, attention of every head, what each layer and head adds, its share of the logit,
neurons, maps; and with ``keep="everything"`` the logit lens of every layer as well. Theirs is ``run_with_cache`` of every
activation, which is what people call before they compute such things, with none of it computed yet; "every step" is the
same of ours, a Recorder of all that taps can see. A plain pass of our model without a tap stands beside them. All sides are
processes that take turns; memory is the most that a process holds while it works beyond what it held before, as Linux
counts it. The peer is no part of the tools: pip install 'transformer-lens<4'.
"""

from __future__ import annotations

import ctypes
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import harness, sides

if TYPE_CHECKING:
    from collections.abc import Callable

LENGTHS = (64, 512)
OURS, EVERYTHING, PLAIN, RECORDED, THEIRS = "trace", "trace, everything", "plain pass", "every step", "TransformerLens"


def held() -> tuple[int, int]:
    """Bytes that this process holds now, and the most since the last ``forget``."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return tuple(int(lines[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))  # type: ignore[return-value]


def forget() -> None:
    """Give back what is free, and let the most that was held be what is held now."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def work(name: str, length: int) -> Callable[[], Any]:
    """What a side does once."""
    import torch

    torch.manual_seed(0)
    ids = torch.randint(0, 50257, (length,)).tolist()
    if name == THEIRS:
        warnings.simplefilter("ignore")
        try:
            from transformer_lens import HookedTransformer, HookedTransformerConfig
        except ImportError as problem:
            raise SystemExit(f"the peer is missing ({problem}). Run: pip install 'transformer-lens<4'.") from problem
        shape = HookedTransformerConfig(
            n_layers=12, d_model=768, n_ctx=1024, d_head=64, n_heads=12, d_mlp=3072, d_vocab=50257, act_fn="gelu_new",
            normalization_type="LN", seed=0,
        )  # fmt: skip
        theirs = HookedTransformer(shape).eval()
        return torch.inference_mode()(lambda: theirs.run_with_cache(torch.tensor([ids])))
    from bench.shapes import gpt2
    from limner.core.transformer import Transformer
    from limner.models import keep_memory
    from limner.text.generator import TextGenerator
    from limner.tokens import train_tokenizer

    keep_memory()  # as limner.load does
    named = [f"<{number}>" for number in range(50_000)]  # as many tokens as GPT-2 has; which they are does not matter
    tokenizer = train_tokenizer("bytes", ["any"], vocab_size=50_257, special=named)
    model = TextGenerator(Transformer(gpt2()), tokenizer)
    if name == PLAIN:
        return torch.inference_mode()(lambda: model.model(torch.tensor([ids])))
    if name == RECORDED:
        from limner import Recorder

        def recorded() -> Any:
            model.model(torch.tensor([ids]), tap=(recorder := Recorder(["*"])))
            return recorder

        return torch.inference_mode()(recorded)
    keep = "everything" if name == EVERYTHING else None
    return lambda: model.trace(ids, keep=keep)


def step(name: str, length: int) -> Callable[[], float]:
    """Once, and how many bytes it took beyond what was held."""
    once = work(name, length)
    once()

    def measured() -> float:
        forget()
        before, _ = held()
        kept = once()
        _, most = held()
        del kept
        return float(most - before)

    return measured


def main() -> None:
    parser = harness.parser(__doc__ or "", turns=5)
    parser.add_argument("--serve", nargs=2, help="internal: be one side")
    chosen = parser.parse_args()
    if chosen.serve:
        name, length = chosen.serve
        sides.serve(step(name, int(length)), chosen.threads)
        return
    results: dict[str, Any] = {}
    print(f"{'tokens':>6} {'what':20} {'seconds':>9} {'MB':>9} {'times as fast':>14} {'of the memory':>14}")
    for length in LENGTHS:
        started = {
            name: sides.Side("bench.explain", [name, str(length)], chosen.threads)
            for name in (PLAIN, OURS, EVERYTHING, RECORDED, THEIRS)
        }
        found = sides.in_turn(started, chosen.turns)
        peer = found[THEIRS]
        for name, row in found.items():
            row["ratio"] = sides.times_as_fast(peer, row)
            row["memory"] = row["value"] / peer["value"]
            print(
                f"{length:6} {name:20} {row['seconds']:9.3f} {row['value'] / 1e6:9.1f} {row['ratio']:14.2f} "
                f"{row['memory']:14.2f}",
                flush=True,
            )
        results[str(length)] = found
    ratio = results[str(LENGTHS[0])][OURS]["ratio"]
    harness.finish("explain", chosen.json, chosen.threads, {"ratio": ratio, "results": results})


if __name__ == "__main__":
    main()
