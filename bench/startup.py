"""How long until something is seen: `limner --help`, and the first token of `limner write`, beside `import torch` alone.

    python -m bench.startup [--json] [--model NAME]

Each is a new process, the three take turns, medians of seven. The aim: `--help` within 0.3 s, and the first token within
a second of what `import torch` takes. Without a bundled model, one of 10 million random weights is made to measure with.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TURNS = 7


def until_output(command: list[str]) -> float:
    """Seconds from the start of a process to its first byte on standard output."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        first = process.stdout.read(1)
        seconds = time.perf_counter() - start
        process.stdout.read()
    if not first or process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with exit code {process.returncode} and wrote {first!r}.")
    return seconds


def random_model(folder: Path) -> Path:
    """A model of the bundled one's size, with random weights."""
    from limner.core.transformer import Transformer
    from limner.text.presets import preset
    from limner.tokens.train import train_tokenizer
    from limner.weights.folder import save_model

    texts = [path.read_text() for path in Path(__file__).parent.parent.rglob("docs/*.md")]
    tokenizer = train_tokenizer("byte-bpe", texts, vocab_size=4096)
    model = Transformer(preset(10_000_000, tokenizer.vocab_size))
    save_model(folder, model, tokenizer, {})
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--model", help="what to write with; the bundled story model where there is one")
    chosen = parser.parse_args()
    limner = str(Path(sys.executable).parent / "limner")
    with tempfile.TemporaryDirectory() as scratch:
        model = chosen.model
        if model is None:
            from limner.models import catalogue

            names = [entry.name for entry in catalogue()]
            model = "story" if "story" in names else str(random_model(Path(scratch) / "model"))
        ways = {
            "help": [limner, "--help"],
            "import torch": [sys.executable, "-c", "import torch; print(1, flush=True)"],
            "first token": [limner, "write", "The", "--model", model, "--max-tokens", "20", "--seed", "1"],
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(TURNS + 1):
            for name, command in ways.items():
                seconds = until_output(command)
                if turn:  # the first brings the files into memory
                    times[name].append(seconds)
    found = {name: statistics.median(values) for name, values in times.items()}
    extra = found["first token"] - found["import torch"]
    print(f"limner --help                  {found['help']:6.2f} s   (aim: 0.30)")
    print(f"import torch                   {found['import torch']:6.2f} s")
    print(f"limner write, first token      {found['first token']:6.2f} s   {extra:+.2f} s (aim: within +1.00)")
    if chosen.json:
        import torch

        print(
            json.dumps(
                {
                    "bench": "startup",
                    "ratio": found["first token"] / found["import torch"],
                    "help_s": found["help"],
                    "import_torch_s": found["import torch"],
                    "first_token_s": found["first token"],
                    "after_torch_s": extra,
                    "model": "story" if model == "story" else "random, 10M",
                    "cores": sorted(os.sched_getaffinity(0)),
                    "versions": {"python": platform.python_version(), "torch": torch.__version__},
                }
            )
        )


if __name__ == "__main__":
    main()
