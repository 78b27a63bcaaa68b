"""From a finished run of a recipe to a bundled model: ``python -m limner.recipes.bundle RUN [NOTE]``.

Writes the model's folder under ``limner/assets/models`` and its model card, with samples as they come: the
seeds are 0, 1, 2, … and none is left out. A picture model is also measured, which takes minutes.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.core.errors import LimnerError, WeightsError
from limner.models import load
from limner.recipes.bundle_picture import bundle_picture
from limner.text.generator import TextGenerator
from limner.train.run import RunFolder, last_event
from limner.weights.folder import load_model, save_model

if TYPE_CHECKING:
    from limner.core.config import ModelConfig

MODELS = Path(__file__).parents[1] / "assets" / "models"
LIMIT = 25_000_000  # bytes a bundled model may take
SEEDS = 8
SAMPLE_TOKENS = {"story": 200, "shakespeare": 400}


def bundle(run: Path, note: str = "") -> Path:
    """Copy a run's best model among the bundled ones and write its card.

    Args:
        run: the folder of a finished run of a recipe.
        note: what else the card should say of how it was trained.
    Returns:
        The bundled model's folder.
    Raises:
        WeightsError: the run is none of a recipe, or not finished, or the model is too large to be bundled.
    """
    from limner.tokens import Tokenizer

    stored = RunFolder.open(run)[1]
    plan = stored["plan"]
    if stored.get("kind") == "picture":
        target = bundle_picture(
            run,
            MODELS / str(plan["card"].get("recipe")),
            note,
            progress=_say,
        )
        return _small_enough(target)
    model, config, card = load_model(run / "model")
    events = [json.loads(line) for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    ended = last_event(events, "ended")
    name = card.get("recipe")
    if name is None:
        raise WeightsError(f"{run} is the run of no recipe, but only those are bundled. Train with --recipe.")
    if ended is None or ended["reason"] != "finished":
        raise WeightsError(f"{run} is not finished, but its model card would say so. Go on with --resume {run}.")
    target = MODELS / str(name)
    save_model(
        target,
        model,
        Tokenizer.load(run / "model"),
        {**card, "name": name, "minutes": ended["elapsed"] / 60, "note": note},
    )
    _small_enough(target)
    size = sum(file.stat().st_size for file in target.iterdir())
    generator = load(target)
    assert isinstance(generator, TextGenerator)
    text = model_card(
        str(name),
        config,
        {**card, "minutes": ended["elapsed"] / 60, "note": note},
        plan,
        size,
        samples(generator, plan),
    )
    (target / "README.md").write_text(text, encoding="utf-8")
    return target


def _say(painted: int, of: int) -> None:
    sys.stderr.write(f"\rpainted {painted} of {of} ")


def _small_enough(folder: Path) -> Path:
    size = sum(file.stat().st_size for file in folder.iterdir())
    if size > LIMIT:
        raise WeightsError(f"{folder} is {size:,} bytes, but a bundled model may have {LIMIT:,}. Train a smaller one.")
    return folder


def samples(generator: TextGenerator, plan: dict[str, Any]) -> list[tuple[str, int, str]]:
    """Prompt, seed and what came, for each of the recipe's prompts and the seeds 0, 1, 2, …"""
    length = SAMPLE_TOKENS.get(str(generator.card.get("name")), 200)
    made = []
    for prompt in plan["prompts"]:
        for text in generator.generate([prompt], n=SEEDS, seed=0, max_tokens=length, window="slide"):
            made.append((prompt, text.seed, text.prompt + text.text))
    return made


def model_card(
    name: str,
    config: ModelConfig,
    card: dict[str, Any],
    plan: dict[str, Any],
    size: int,
    made: list[tuple[str, int, str]],
) -> str:
    """The card as Markdown."""
    training, validation, block = card["training"], card["validation"], config.stack.blocks[0]
    settings = training["settings"]
    rows = {
        "Parameters": f"{card['parameters']:,}, on disk {size / 1e6:.1f} MB in {plan['text']['dtype']}",
        "Shape": f"{config.stack.num_layers} layers of {config.dim}; {block.attention.num_heads} heads of "
        f"{block.attention.head_dim}, {block.attention.num_kv_heads} for keys and values; feed-forward "
        f"{block.feed_forward.hidden_dim}; context {config.context_length}; vocabulary {config.vocab_size:,}",
        "Data": card["trained_on"],
        "Licence": card["licence"],
        "Command": f"`limner train text --recipe {name} --out runs/{name}`, then "
        f"`python -m limner.recipes.bundle runs/{name}`",
        "Hardware": f"{processor()}, {settings['threads']} threads, {settings['precision']}, no GPU",
        "Time": f"{card['minutes']:.0f} minutes, {training['steps']:,} steps, {training['tokens']:,} tokens: "
        f"{training['tokens'] / training['unique_tokens']:.1f} times through {training['unique_tokens']:,}",
        "Held back": f"{validation['share']:.0%} of the text"
        + (f", {validation['documents']:,} documents" if validation["documents"] > 1 else ""),
        "Loss on it": f"{validation['loss']:.4f} nats a token",
        "Bits per byte": f"{validation['bits_per_byte']:.4f}",
    }
    lines = [f"# {name}: {card['title'][0].lower()}{card['title'][1:]}", "", "| | |", "| --- | --- |"]
    lines += [f"| {left} | {right} |" for left, right in rows.items()]
    lines += [
        "",
        "Measured by the run itself, with windows that overlap by half. " + card["note"],
        "",
        "## Samples",
        "",
    ]
    lines += [
        f"As they come: the seeds are 0 to {SEEDS - 1} for each prompt, at the default temperature and top-p.",
        "",
    ]
    for prompt, seed, text in made:
        quoted = "\n".join(f"> {line}  " if line else ">" for line in text.splitlines())
        lines += [f"`{prompt.strip()}`, seed {seed}:", "", quoted, ""]
    return "\n".join(lines)


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{bundle(Path(sys.argv[1]), ' '.join(sys.argv[2:]))}\n")
    except LimnerError as error:
        sys.exit(f"{type(error).__name__}: {error}")
