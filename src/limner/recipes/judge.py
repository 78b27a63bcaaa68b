"""The judge of pictures: ``python -m limner.recipes.judge RUN [--bundle]``.

Trains the network of ``limner.picture.judge`` on drawings of every combination, sharp ones and some spoilt a little, as
a painter's pictures are. With ``--bundle`` it is then measured at each size on drawings that it has not seen, and
written among the bundled models.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torch.nn import functional as F

from limner.core.errors import LimnerError, WeightsError
from limner.picture.composition import ceiling_of
from limner.picture.judge import (
    BUNDLED,
    LEAST,
    OF_FIGURE,
    OF_PICTURE,
    WORDS,
    Judge,
    JudgeConfig,
    JudgeNetwork,
    brought_to,
    load_judge,
    save_judge,
    to_network,
)
from limner.picture.reading import ARRANGEMENTS, truth
from limner.picture.world.draw import draw
from limner.picture.world.scene import sample_scene
from limner.picture.world.vocabulary import COLOURS
from limner.recipes.bundle import processor
from limner.train.loop import Evaluation, Outcome, Training, Watcher, resolve
from limner.train.run import RunFolder, last_event
from limner.train.settings import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from limner.picture.reading import Reading

SIZES = (32, 48, 64, 96, 128)  # of pictures that the judge is measured at
DRAWN_AT = (32, 32, 40, 48, 64, 64, 64, 96, 128)  # chosen from for each drawing
TRAINING_SEEDS, VALIDATION_SEEDS = 3_000_000_000, 4_000_000_000  # painters are trained on others
DRAWINGS, VALIDATION = 40_000, 1024
CEILING = 4000  # drawings that its ceiling is measured on
TOGETHER = 250  # drawings that a process makes before it hands over
WEIGHTS = {"hat": 2.0}
IGNORED = -100  # a target that does not exist: the second of one animal, the colour of no hat

Drawn = tuple[np.ndarray[Any, np.dtype[np.uint8]], dict[str, np.ndarray[Any, np.dtype[np.int64]]]]


def settings() -> TrainSettings:
    """The run."""
    return TrainSettings(
        steps=3500,
        batch_size=64,
        optimizer="muon",
        learning_rate=3e-3,
        matrix_rate=1e-2,
        weight_decay=0.05,
        schedule="linear",
        warmup=0.03,
        ema=0.998,
        compile="off",
        evaluations=12,
        checkpoints=6,
        seed=0,
        threads=1,
    )


# ── drawings and their truth ───────────────────────────────────────────────────────────────────────────


def draw_some(first: int, count: int, size: int) -> Drawn:
    """Drawings of the scenes ``first``, ``first + 1``, …, and the targets by name."""
    pixels, readings = [], []
    for seed in range(first, first + count):
        dice = np.random.default_rng(seed)
        drawing = draw(sample_scene(seed, which="any", two=0.5), int(dice.choice(DRAWN_AT)))
        pixels.append(brought_to(Image.fromarray(drawing.image), size))
        readings.append(truth(drawing))
    return np.stack(pixels), targets(readings)


def draw_all(first: int, count: int, size: int, workers: int) -> Drawn:
    """The same by several processes."""
    starts = range(first, first + count, TOGETHER)
    counts = [min(TOGETHER, first + count - start) for start in starts]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(partial(draw_some, size=size), starts, counts))
    names = (*OF_FIGURE, *OF_PICTURE)
    wanted = {name: np.concatenate([part[1][name] for part in parts]) for name in names}
    return np.concatenate([part[0] for part in parts]), wanted


def targets(readings: Sequence[Reading]) -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
    """The right choices, by name: (readings, 2) for what each figure has, (readings,) for the picture."""
    found: dict[str, list[Any]] = {name: [] for name in (*OF_FIGURE, *OF_PICTURE)}
    for reading in readings:
        for name in OF_PICTURE:
            found[name].append(WORDS[name].index(getattr(reading, name)))
        rows: dict[str, list[int]] = {name: [IGNORED, IGNORED] for name in OF_FIGURE}
        for place, seen in enumerate(reading.figures):
            rows["animal"][place] = WORDS["animal"].index(seen.animal)
            rows["hat"][place] = WORDS["hat"].index(seen.hat or "")
            if seen.colour is not None:
                rows["colour"][place] = COLOURS.index(seen.colour)
        for name in OF_FIGURE:
            found[name].append(rows[name])
    return {name: np.array(values, np.int64) for name, values in found.items()}


def spoilt(
    pixels: np.ndarray[Any, np.dtype[np.uint8]], dice: np.random.Generator
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Moved by some pixels, and often softened, unevenly lit, noisy or with the blocks of a JPEG."""
    size, most = pixels.shape[0], 4
    x, y = dice.integers(0, 2 * most + 1, 2)
    image = Image.fromarray(np.pad(pixels, ((most, most), (most, most), (0, 0)), "edge")[y : y + size, x : x + size])
    if dice.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(dice.uniform(0.2, 1.1)))
    if dice.random() < 0.2:
        kept = io.BytesIO()
        image.save(kept, "JPEG", quality=int(dice.integers(30, 90)))
        image = Image.open(kept)
    array = np.asarray(image).astype(np.float64)
    if dice.random() < 0.3:
        array = array * dice.uniform(0.93, 1.06) + dice.uniform(-8, 8)
    if dice.random() < 0.3:
        array = array + dice.normal(0, dice.uniform(1, 12), array.shape)
    return array.clip(0, 255).round().astype(np.uint8)


def batch_of(drawn: Drawn, index: int, count: int, seed: int) -> Drawn:
    """The index-th batch: each time through all drawings in another order, mirrored or not, and spoilt anew."""
    pixels, wanted = drawn
    shown, rows = [], []
    for number in range(index * count, (index + 1) * count):
        dice = np.random.default_rng((seed, number))
        rows.append(int(_order(len(pixels), seed, number // len(pixels))[number % len(pixels)]))
        shown.append(spoilt(pixels[rows[-1]], dice))
    found = {name: values[rows] for name, values in wanted.items()}
    for row in range(0, count, 2):
        shown[row] = np.ascontiguousarray(shown[row][:, ::-1])
        if found["arrangement"][row] == ARRANGEMENTS.index("beside"):
            for name in OF_FIGURE:
                found[name][row] = found[name][row][::-1]
    return np.stack(shown), found


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.random.default_rng((seed, epoch)).permutation(count)


# ── training ───────────────────────────────────────────────────────────────────────────────────────────


def judge_loss(logits: dict[str, Tensor], wanted: dict[str, Tensor]) -> Tensor:
    """The mean of the cross-entropies of all questions that have an answer; hats, which come last, count most."""
    losses = [
        WEIGHTS.get(name, 1.0)
        * F.cross_entropy(logits[name].float().flatten(0, -2), wanted[name].flatten(), ignore_index=IGNORED)
        for name in logits
    ]
    return torch.stack(losses).mean()


def train_judge(
    out: Path,
    chosen: TrainSettings,
    watchers: Sequence[Watcher] = (),
    *,
    drawings: int = DRAWINGS,
    workers: int = 2,
    validation: int = VALIDATION,
) -> Outcome:
    """Train a judge; the best network is ``out/model``.

    Args:
        out: the run folder, new.
        chosen: how it is trained.
        drawings, validation: how many are made to train on, again and again, and to evaluate.
        workers: processes that draw.

    Raises:
        TrainingError: the folder holds a run already or cannot be written.
        MissingExtraError: the drawing library is not installed.
    """
    chosen = resolve(chosen)
    torch.manual_seed(chosen.seed)
    config = JudgeConfig()
    network = JudgeNetwork(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    folder = RunFolder.create(out, {"kind": "judge", "train": chosen.to_dict()}, chosen.keep)
    drawn = draw_all(TRAINING_SEEDS, drawings, config.size, workers)
    pixels, wanted = draw_some(VALIDATION_SEEDS, validation, config.size)
    shown, answers = to_network(pixels), {name: torch.from_numpy(values) for name, values in wanted.items()}

    def batch(index: int) -> tuple[Tensor, dict[str, Tensor]]:
        pixels, wanted = batch_of(drawn, index, chosen.batch_size, chosen.seed)
        images = to_network(pixels).contiguous(memory_format=torch.channels_last)
        return images, {name: torch.from_numpy(values) for name, values in wanted.items()}

    def step(batch: tuple[Tensor, dict[str, Tensor]]) -> Tensor:
        logits, _ = network(batch[0].to(network.places.dtype))
        return judge_loss(logits, batch[1])

    def evaluate() -> Evaluation:
        parts = [network(part.to(network.places.dtype))[0] for part in torch.split(shown, 128)]
        logits = {name: torch.cat([part[name] for part in parts]) for name in answers}
        shares = {name: accuracy(logits[name], answers[name]) for name in answers}
        return Evaluation({"loss": float(judge_loss(logits, answers)), **shares})

    def export(weights: dict[str, Tensor], step: int, metrics: dict[str, float]) -> None:
        kept = JudgeNetwork(config)
        kept.load_state_dict(weights)
        card = {"steps": step, "pictures": step * chosen.batch_size, "validation": metrics}
        save_judge(folder.model, Judge(kept, card | {"settings": chosen.to_dict()}), dtype=torch.bfloat16)

    with folder:
        return Training(
            network,
            step=step,
            batches=batch,
            settings=chosen,
            folder=folder,
            evaluate=evaluate,
            export=export,
            watchers=watchers,
        ).run()


def accuracy(logits: Tensor, wanted: Tensor) -> float:
    """The share of the questions that have an answer that are answered rightly."""
    asked = wanted != IGNORED
    return float((logits.argmax(dim=-1) == wanted)[asked].float().mean())


# ── measuring and bundling ─────────────────────────────────────────────────────────────────────────────


def measure_ceilings(judge: Judge, count: int = CEILING) -> dict[str, dict[str, float]]:
    """Its accuracies on fresh drawings, by the size of the pictures."""
    return {str(size): {name: share.value for name, share in ceiling_of(judge, size, count).items()} for size in SIZES}


def bundle_judge(run: Path, out: Path = BUNDLED) -> Path:
    """Measure a finished run's judge and write it, with its card, among the bundled models.

    Raises:
        WeightsError: the run is not finished, or the folder cannot be written.
    """
    events = [json.loads(line) for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    ended = last_event(events, "ended")
    if ended is None or ended["reason"] != "finished":
        raise WeightsError(f"{run} is not finished, but its model card would say so. Train to the end.")
    judge = load_judge(run / "model")
    judge.card |= {
        "name": "judge",
        "title": "Reads pictures of animals in hats",
        "licence": "Apache-2.0",
        "trained_on": "drawings of the picture-book world, all combinations",
        "minutes": ended["elapsed"] / 60,
        "ceilings": measure_ceilings(judge),
    }
    save_judge(out, judge, dtype=torch.bfloat16)
    (out / "README.md").write_text(model_card(judge, out), encoding="utf-8")
    return out


def model_card(judge: Judge, folder: Path) -> str:
    """The card as Markdown."""
    card, config = judge.card, judge.network.config
    parameters = sum(parameter.numel() for parameter in judge.network.parameters())
    size = (folder / "model.safetensors").stat().st_size
    rows = {
        "What it does": "reads in a picture of one or two animals of the picture-book world which they are, the kind and "
        "the colour of their hats, how they stand, where and when; its features give probe-FID",
        "Parameters": f"{parameters:,}, on disk {size / 1e6:.1f} MB in bfloat16",
        "Shape": f"pictures of {config.size} × {config.size}; convolutions of {', '.join(map(str, config.widths))} "
        f"channels, {', '.join(map(str, config.depths))} residual blocks; {config.heads} heads a figure",
        "Data": f"{card['trained_on']}; {DRAWINGS:,} drawings, mirrored and spoilt anew each time",
        "Licence": card["licence"],
        "Command": "`python -m limner.recipes.judge runs/judge --bundle`",
        "Hardware": f"{processor()}, {card['settings']['threads']} thread, {card['settings']['precision']}, no GPU",
        "Time": f"{card['minutes']:.0f} minutes, {card['steps']:,} steps, {card['pictures']:,} pictures, "
        "beside other work, and some minutes of drawing",
    }
    lines = ["# judge: reads pictures of animals in hats", "", "| | |", "| --- | --- |"]
    lines += [f"| {left} | {right} |" for left, right in rows.items()]
    lines.append(
        f"\nIts ceilings: accuracy on drawings that it was not trained on, {CEILING:,} of one animal with a held-back triple "
        f"for each size, half as many with held-back pairs and of two animals. It may judge only where `triples` is at "
        f"least {LEAST:.1%}.\n"
    )
    names = list(next(iter(card["ceilings"].values())))
    lines += [f"| pixels | {' | '.join(names)} |", f"| --- |{' --- |' * len(names)}"]
    for pixels, found in card["ceilings"].items():
        lines.append(f"| {pixels} | {' | '.join(f'{found[name]:.2%}' for name in names)} |")
    lines.append(
        "\n`triples` and `pairs`: animal, hat, colour and number of animals all right; `binding`: two animals, each in its "
        "own hat and colour; `relations`: both animals where they belong; the others alone. It knows no pictures but such "
        "drawings: of anything else it gives some answer all the same.\n"
    )
    return "\n".join(lines)


class _Lines(Watcher):
    """A line on standard error for each evaluation."""

    def evaluated(self, step: int, evaluation: Evaluation) -> None:
        shares = ", ".join(f"{name} {value:.4f}" for name, value in evaluation.metrics.items())
        sys.stderr.write(f"step {step:,}: {shares}\n")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m limner.recipes.judge", description=__doc__)
    parser.add_argument("run", type=Path, help="the run folder; one that is there and finished is only measured")
    parser.add_argument("--bundle", action="store_true", help="measure it and write it among the bundled models")
    chosen = parser.parse_args()
    if not (chosen.run / "run.json").exists():
        train_judge(chosen.run, settings(), [_Lines()])
    if chosen.bundle:
        sys.stdout.write(f"{bundle_judge(chosen.run)}\n")


if __name__ == "__main__":
    try:
        main()
    except LimnerError as error:
        sys.exit(f"{type(error).__name__}: {error}")
