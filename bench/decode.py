"""Greedy tokens per second beside transformers' ``generate``: two shapes, one text and sixteen, float32 and bfloat16.

    python -m bench.decode [--json] [--quick] [--threads N]

Random weights, a prompt of 32 tokens, 64 new ones. The two sides take turns in one process (A B A B), each measured
whole, prompt included, and the medians count. The last column is the share of the machine's read bandwidth that the
weights alone account for: bytes of weights × steps per second ÷ bytes per second, measured with the same threads.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from bench.shapes import SHAPES, ours, theirs
from limner.core.transformer import Transformer
from limner.text import fast_decode
from limner.text.decode import Decoder

PROMPT = 32


def write(model: Transformer, ids: torch.Tensor, count: int) -> torch.Tensor:
    """``count`` tokens more, each the likeliest: shape (batch, count)."""
    with torch.inference_mode():
        decoder = Decoder(model, ids.shape[0], ids.shape[1] + count, expected_tokens=1_000_000)
        token = decoder.prefill(ids).argmax(dim=-1)
        tokens = [token]
        for _ in range(count - 1):
            token = decoder.step(token).argmax(dim=-1)
            tokens.append(token)
    return torch.stack(tokens, dim=1)


def generate(model: Any, ids: torch.Tensor, count: int) -> torch.Tensor:
    """The same by transformers."""
    mask = torch.ones_like(ids)
    with torch.inference_mode():
        out = model.generate(
            ids, attention_mask=mask, do_sample=False, max_new_tokens=count, min_new_tokens=count, pad_token_id=0
        )
    return out[:, ids.shape[1] :]


def bandwidth() -> float:
    """Bytes per second that these threads read from memory at most: the best of several ways, each a median."""
    buffer = torch.ones(2**26, dtype=torch.int64)
    matrix, vector = buffer.view(torch.float32).view(-1, 1024), torch.ones(1024)
    ways: list[Callable[[], object]] = [buffer.sum, lambda: torch.mv(matrix, vector)]
    library = fast_decode.routine(build=True)
    if library is not None:
        ways.append(lambda: library.limner_read(buffer.data_ptr(), buffer.numel(), torch.get_num_threads()))
    rates = []
    for way in ways:
        times = [_timed(way) for _ in range(6)]
        rates.append(buffer.numel() * 8 / statistics.median(times[1:]))
    return max(rates)


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(
    shape: str, dtype: torch.dtype, batch: int, count: int, turns: int, models: tuple[Any, Any]
) -> dict[str, Any]:
    """One row of the table."""
    mine, other = models
    ids = torch.randint(0, 40_000, (batch, PROMPT), generator=torch.Generator().manual_seed(batch))
    write(mine, ids, 4)
    generate(other, ids, 4)
    ours_times, theirs_times, reads = [], [], []
    for _ in range(turns):
        reads.append(bandwidth())
        ours_times.append(_timed(lambda: write(mine, ids, count)))
        theirs_times.append(_timed(lambda: generate(other, ids, count)))
    # Every matrix is read once a step; of the table of learned positions, one row.
    weights = sum(
        p.numel() * p.element_size() for name, p in mine.named_parameters() if not name.startswith("embedding.position")
    )
    our_time, their_time = statistics.median(ours_times), statistics.median(theirs_times)
    return {
        "shape": shape,
        "dtype": str(dtype).removeprefix("torch."),
        "batch": batch,
        "limner": batch * count / our_time,
        "transformers": batch * count / their_time,
        "ratio": their_time / our_time,
        "bandwidth": statistics.median(reads) / 1e9,
        "share": weights * count / our_time / statistics.median(reads),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--quick", action="store_true", help="GPT-2's shape alone, fewer turns")
    parser.add_argument("--shape", choices=sorted(SHAPES), help="one shape alone")
    parser.add_argument("--threads", type=int, default=min(2, len(os.sched_getaffinity(0))), help="for both sides")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)

    import transformers

    transformers.logging.set_verbosity_error()
    shapes = [chosen.shape] if chosen.shape else ["gpt2-124m"] if chosen.quick else list(SHAPES)
    turns, count = (2, 32) if chosen.quick else (3, 64)
    rows: list[dict[str, Any]] = []
    print(
        f"{'shape':12} {'dtype':9} {'batch':>5} {'limner':>9} {'transformers':>13} {'ratio':>6} {'GB/s':>6} {'share':>6}"
    )
    for shape in shapes:
        for dtype in (torch.bfloat16, torch.float32):
            models = (ours(shape, dtype), theirs(shape, dtype))
            for batch in (1, 16):
                row = measure(shape, dtype, batch, count, turns, models)
                rows.append(row)
                print(
                    f"{row['shape']:12} {row['dtype']:9} {batch:5} {row['limner']:9.1f} {row['transformers']:13.1f} "
                    f"{row['ratio']:6.2f} {row['bandwidth']:6.1f} {row['share']:6.2f}",
                    flush=True,
                )
            del models
    if chosen.json:
        library = fast_decode.routine()
        print(
            json.dumps(
                {
                    "bench": "decode",
                    "ratio": rows[0]["ratio"],
                    "share": rows[0]["share"],
                    "rows": rows,
                    "threads": chosen.threads,
                    "cores": sorted(os.sched_getaffinity(0)),
                    "routine": "none" if library is None else library.limner_abilities(),
                    "versions": {
                        "python": platform.python_version(),
                        "torch": torch.__version__,
                        "transformers": transformers.__version__,
                    },
                }
            )
        )


if __name__ == "__main__":
    main()
