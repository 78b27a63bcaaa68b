"""Do the maps of a prompt's words lie on the right things? Held against the true masks of the picture-book world.

    python -m bench.overlap [MODEL…] [--json] [--scenes N] [--two SHARE] [--seed N]

MODEL is a picture model's name, its folder, or a run; `picturebook` where none is given. What is measured and how says
limner/explain/overlap.py.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

COLUMNS = ("count", "iou", "best_iou", "ceiling", "chance", "mass", "pointed", "pointing_chance", "own")


def table(found: dict[str, Any]) -> str:
    """The means as a Markdown table, and those of each map against another scene's masks."""
    lines = [f"| words | {' | '.join(COLUMNS)} |", f"|{' --- |' * (len(COLUMNS) + 1)}"]
    rows = [(name, found["scores"][name]) for name in found["scores"]]
    rows += [(f"{name}, another scene's mask", found["shuffled"][name]) for name in found["shuffled"]]
    for name, values in rows:
        shown = [
            "" if column not in values else f"{values[column]:.3f}" if column != "count" else f"{values[column]:.0f}"
            for column in COLUMNS
        ]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", default=["picturebook"])
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--two", type=float, default=0.3, help="share of scenes with two animals")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes and of the noise")
    chosen = parser.parse_args()

    from limner.cli.prompt import open_painter
    from limner.explain.overlap import measure_overlap

    found = []
    for model in chosen.models:
        painter = open_painter(model, dtype="auto")
        one = measure_overlap(painter, scenes=chosen.scenes, two=chosen.two, seed=chosen.seed).to_dict()
        found.append({"model": model, "sha256": painter.sha256, **one})
        print(f"{model}: {one['scenes']} scenes, maps of {one['grid'][0]} × {one['grid'][1]} patches")
        print(table(one))
        for name, heads in one["heads"].items():
            layer, head = max(
                ((layer, head) for layer, of in enumerate(heads) for head in range(len(of))),
                key=lambda at, heads=heads: heads[at[0]][at[1]],
            )
            print(f"{name}: layer {layer}, head {head} has {heads[layer][head]:.1f} times chance within the mask")
    if chosen.json:
        print(json.dumps(found, allow_nan=False))


if __name__ == "__main__":
    main()
