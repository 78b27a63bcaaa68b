"""From nothing to a picture model that listens, in ten minutes: ``picturebook-mini``, timed and judged.

    python -m bench.picture_in_ten [--json] [--threads N] [--seed N] [--pictures N] [--minutes M] [--out RUN]

The whole process counts: Python starts, the pictures are drawn (into an empty cache), the model is trained, its sample
sheets are painted, and its folder is written. Then, uncounted, it is measured as by ``limner eval picture``: the figure is
the share of pictures with a held-back combination of animal, hat and colour that have all three right. There is no peer:
nobody else's world can be had here. The aim is 95 % within 600 seconds on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

AIM, SECONDS = 0.95, 600.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--pictures", type=int, default=1000, help="to judge it by")
    parser.add_argument("--steps", type=int, default=25, help="of each of them")
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--minutes", type=float, help="of training; the recipe's by default")
    parser.add_argument("--out", type=Path, help="keep the run here")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="limner-bench-") as temporary:
        run = chosen.out or Path(temporary) / "run"
        words = ["train", "picture", "--recipe", "picturebook-mini", "--out", str(run), "--cache", f"{temporary}/cache"]
        words += ["--seed", str(chosen.seed), "--set", f"threads={chosen.threads}"]
        words += [] if chosen.minutes is None else ["--minutes", f"{chosen.minutes:g}"]
        environment = {**os.environ, "OMP_NUM_THREADS": str(chosen.threads)}
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "limner", *words], env=environment, check=True)
        wall = time.perf_counter() - start

        from limner.cli.prompt import open_painter
        from limner.picture.composition import measure_generator

        generator = open_painter(str(run), dtype="auto", threads=chosen.threads)
        found = measure_generator(generator, steps=chosen.steps, guidance=chosen.guidance, pictures=chosen.pictures)
    figures = found.to_dict()
    reached = figures["heldout_triples"] >= AIM and wall <= SECONDS
    print(
        f"{wall:.0f} s on {chosen.threads} threads; held-back triples {figures['heldout_triples']:.1%}, seen "
        f"{figures['seen_triples']:.1%}, held-back pairs {figures['heldout_pairs']:.1%} of {figures['pictures']} pictures: "
        f"the aim of {AIM:.0%} within {SECONDS:.0f} s is {'reached' if reached else 'missed'}"
    )
    if chosen.json:
        print(json.dumps({"bench": "picture_in_ten", "seconds": wall, "reached": reached, **figures}))


if __name__ == "__main__":
    main()
