"""Does it compose? Several runs of one recipe, measured on the same prompts: mean and spread over training seeds.

    python -m bench.composition MODEL… [--json] [--pictures N] [--steps N] [--guidance G] [--seed N] [--out FOLDER]

Each MODEL is a picture model's name, its folder, or a run; give the same recipe trained from at least three seeds. It is
measured as by ``limner eval picture``: see docs/decisions/0012-composition.md for what is asked and who judges. With
fewer than 1,000 pictures a model or fewer than three models, or with one model given twice, the figures are printed all
the same, and said to be no claim.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

FIGURES = (
    "seen_triples",
    "heldout_triples",
    "heldout_pairs",
    "paraphrases",
    "binding",
    "heldout_binding",
    "relations",
    "animal",
    "hat",
    "colour",
    "count",
    "product",
)


def objections(found: list[dict[str, Any]]) -> list[str]:
    """Why the figures are no claim; empty if they are one."""
    from limner.picture.composition import LEAST_PICTURES, LEAST_SEEDS

    said = []
    least = min(one["pictures"] for one in found)
    if least < LEAST_PICTURES:
        said.append(f"{least} pictures a model, but a claim takes {LEAST_PICTURES:,}")
    different = len({one["sha256"] for one in found})
    if different < LEAST_SEEDS:
        said.append(f"{different} different models, but a claim takes {LEAST_SEEDS} training seeds")
    return said


def spread(found: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation over the models, by figure."""
    values = {name: [one[name] for one in found] for name in FIGURES}
    values |= {f"rule_{name}": [one["rule"][name] for one in found] for name in FIGURES if name != "product"}
    values["probe_fid"] = [one["probe_fid"] for one in found]
    return {
        name: {"mean": statistics.fmean(some), "deviation": statistics.stdev(some) if len(some) > 1 else 0.0}
        for name, some in values.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--pictures", type=int, default=1000, help="of each model")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=0, help="of the prompts and of the pictures")
    parser.add_argument("--out", type=Path, help="a folder for one sheet of pictures a model")
    chosen = parser.parse_args()

    from limner.cli.prompt import open_painter
    from limner.core.errors import LimnerError
    from limner.picture.composition import measure_generator
    from limner.picture.painting import PaintSettings
    from limner.picture.sheet import contact_sheet

    found = []
    try:  # what is wrong is told before hours pass
        PaintSettings(steps=chosen.steps, guidance=chosen.guidance)
        painters = [open_painter(model, dtype="auto") for model in chosen.models]
    except LimnerError as problem:
        parser.error(str(problem))
    for number, (model, generator) in enumerate(zip(chosen.models, painters, strict=True)):
        composition = measure_generator(
            generator, steps=chosen.steps, guidance=chosen.guidance, pictures=chosen.pictures, seed=chosen.seed
        )
        found.append(composition.to_dict() | {"model": model})
        print(
            f"{model}: held-back triples {found[-1]['heldout_triples']:.1%}, seen {found[-1]['seen_triples']:.1%}, "
            f"binding {found[-1]['binding']:.1%}, held back {found[-1]['heldout_binding']:.1%}",
            flush=True,
        )
        if chosen.out is not None:
            chosen.out.mkdir(parents=True, exist_ok=True)
            contact_sheet(composition).save(chosen.out / f"{number}.png")
    print(f"\n{'':24} {'mean':>7} {'spread':>7}")
    over = spread(found)
    for name, values in over.items():
        shown = "{:7.4f} {:7.4f}" if name == "probe_fid" else "{:7.1%} {:7.1%}"
        print(f"{name:24} {shown.format(values['mean'], values['deviation'])}")
    print(f"chance {found[0]['chance']:.2%}; the classifier's ceiling {found[0]['judge_ceiling']:.2%}")
    against = objections(found)
    print(f"No claim: {'; '.join(against)}." if against else f"{len(found)} models of {found[0]['pictures']} pictures.")
    if chosen.json:
        print(json.dumps({"bench": "composition", "claim": not against, "over_models": over, "models": found}))


if __name__ == "__main__":
    main()
