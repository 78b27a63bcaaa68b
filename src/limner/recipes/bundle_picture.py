"""From a finished run of a picture recipe to a bundled model: its folder, its card, and pictures as they come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.core.errors import WeightsError, counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from limner.picture.composition import Composition
    from limner.picture.config import PictureConfig

PROMPT = "a German Shepherd wearing a red baseball cap"  # which no training picture shows
SEEDS, COLUMNS = 64, 8
STEPS, GUIDANCE = 25, 4.0
PICTURES = 1000
GRID, SHEET = "grid.webp", "sheet.webp"
FIGURES = {
    "seen_triples": "combinations that training showed",
    "heldout_triples": "combinations that it never showed",
    "heldout_pairs": "pairs that it never showed",
    "paraphrases": "the seen ones in other words",
    "binding": "two animals, each in its own hat",
    "heldout_binding": "the same with combinations never shown",
    "relations": "two animals where they should stand",
    "relation_left_of": "left of",
    "relation_next_to": "next to",
    "relation_on": "on",
    "animal": "the animal alone",
    "hat": "the hat alone",
    "colour": "its colour alone",
    "count": "the number of animals alone",
}


def bundle_picture(
    run: Path,
    target: Path,
    note: str = "",
    *,
    pictures: int = PICTURES,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Copy a run's model to ``target``, measure how it composes, and write its card with a grid of unpicked pictures.

    Args:
        run: the folder of a finished run of a picture recipe.
        note: what else the card should say of how it was trained.
        pictures: to measure composition by.
        progress: called with pictures painted and to paint.
    Raises:
        WeightsError: the run is none of a recipe, or not finished.
    """
    from limner.models import load
    from limner.picture.autoencoder import load_autoencoder
    from limner.picture.composition import measure_generator
    from limner.picture.folder import load_picture_model, save_picture_model
    from limner.picture.generator import PictureGenerator
    from limner.picture.images import grid
    from limner.picture.sheet import contact_sheet
    from limner.tokens import Tokenizer
    from limner.train.picture import CODER
    from limner.train.run import last_event, read_events

    plan = json.loads((run / "run.json").read_text(encoding="utf-8"))["plan"]
    events = read_events(run)
    ended = last_event(events, "ended")
    loaded, tokenizer = load_picture_model(run / "model"), Tokenizer.load(run / "model")
    name = loaded.card.get("recipe")
    if name is None:
        raise WeightsError(f"{run} is the run of no recipe, but only those are bundled. Train with --recipe.")
    if ended is None or ended["reason"] != "finished":
        raise WeightsError(f"{run} is not finished, but its model card would say so. Go on with --resume {run}.")
    if not any(event["event"] == "result" and event["step"] == ended["step"] for event in events):
        raise WeightsError(f"{run} was stopped while it was judged. Go on with --resume {run}; that takes a minute.")
    card = {**loaded.card, "name": str(name), "minutes": ended["elapsed"] / 60, "note": note}
    if loaded.model.config.autoencoder is not None:
        card["autoencoder"] = load_autoencoder(run / CODER)[1].get("training")  # runs of long ago did not keep it
    painter = load(run, dtype="auto")  # as ``limner paint`` has it
    assert isinstance(painter, PictureGenerator)
    found = measure_generator(painter, steps=STEPS, guidance=GUIDANCE, pictures=pictures, progress=progress)
    figures = found.to_dict()
    card["composition"] = {key: figures[key] for key in (*FIGURES, "chance", "judge_ceiling", "probe_fid", "pictures")}
    save_picture_model(target, loaded.model, tokenizer, card)
    painted = painter.generate([PROMPT], n=SEEDS, seed=0, steps=STEPS, guidance=GUIDANCE)
    grid([one.image for one in painted], COLUMNS).save(target / GRID, quality=90, method=6)
    contact_sheet(found).save(target / SHEET, quality=80, method=6)
    size = sum(file.stat().st_size for file in target.iterdir() if file.suffix == ".safetensors")
    text = model_card(str(name), loaded.model.config, card, plan, size, found)
    (target / "README.md").write_text(text, encoding="utf-8")
    return target


def model_card(
    name: str, config: PictureConfig, card: Mapping[str, Any], plan: Mapping[str, Any], size: int, found: Composition
) -> str:
    """The card as Markdown."""
    from limner.recipes import AUTOENCODER_RECIPES
    from limner.recipes.bundle import processor

    training, validation = card["training"], card["validation"]
    settings, denoiser, prompt = training["settings"], config.denoiser, config.prompt
    block = denoiser.stack.blocks[0]
    assert prompt.encoder is not None
    height, width = config.size
    needed, before, latents, option, also = plan["picture"]["autoencoder"], "", "", "", ""
    if config.autoencoder is not None:
        small, coder = [side // config.factor for side in (width, height)], Path(needed).name
        latents = f", as latents of {small[0]} × {small[1]} × {config.autoencoder.latent_channels}"
        if learned := card.get("autoencoder"):
            minutes, steps = learned["settings"]["minutes"], counted(learned["steps"], "step")
            also = f", after {f'{minutes:g} minutes ({steps})' if minutes else steps} for its autoencoder"
        if coder in AUTOENCODER_RECIPES:
            before = f"`limner train recipe {coder} --out runs/{coder}`, then "
        else:
            option = f" --autoencoder {needed}"
    rows = {
        "Parameters": f"{card['parameters']:,}, on disk {size / 1e6:.1f} MB in {plan['picture']['dtype']}",
        "Shape": f"pictures of {width} × {height}{latents} in patches of {denoiser.patch}; denoiser of {denoiser.stack.num_layers} "
        f"layers of {denoiser.dim}, {block.attention.num_heads} heads, with cross-attention to the prompt; prompt encoder "
        f"of {prompt.encoder.num_layers} layers, {prompt.context_length} tokens at most, vocabulary {prompt.vocab_size}; "
        f"predicts {config.diffusion.predict} under a {config.diffusion.loss} loss",
        "Data": f"{card['trained_on']}; {training['unique_pictures']:,} pictures",
        "Licence": card["licence"],
        "Command": f"{before}`limner train picture --recipe {name} --out runs/{name}{option}`, then "
        f"`python -m limner.recipes.bundle runs/{name}`",
        "Hardware": f"{processor()}, {settings['threads']} threads, {settings['precision']}, no GPU",
        "Time": f"{card['minutes']:.0f} minutes{also}, {training['steps']:,} steps, {training['pictures']:,} pictures: "
        f"{training['pictures'] / training['unique_pictures']:.1f} times through all",
        "Held back": f"loss {validation['loss']:.4f}; with another picture's caption "
        f"{validation['loss_other_captions']:.4f}, so it reads its prompt",
        "Memory": f"its pictures are {validation['painted_to_nearest']:.3f} from the nearest training picture, held-back "
        f"ones {validation['held_back_to_nearest']:.3f} (root mean square at 16 × 16, values from −1 to 1)",
    }
    lines = [f"# {name}: {card['title'][0].lower()}{card['title'][1:]}", "", "| | |", "| --- | --- |"]
    lines += [f"| {left} | {right} |" for left, right in rows.items()]
    lines += [""] if not card["note"] else ["", card["note"], ""]
    lines += ["## Does it compose?", "", *composition_table(found), ""]
    measured = (
        f"By `limner eval picture {name}`: {found.pictures:,} pictures, {STEPS} steps, guidance {GUIDANCE:g}; one training "
        f"seed, so no claim. Chance is {card['composition']['chance']:.2%}, against another's prompt "
        f"{found.shuffled.value:.1%} are right; probe-FID {found.probe_fid:.4f}, between two sets of drawings "
        f"{found.probe_fid_floor:.4f}."
    )
    lines += [
        measured,
        "",
        "## As they come",
        "",
        f"“{PROMPT}”, which no picture in training showed: seeds 0 to {SEEDS - 1}, none left out.",
        "",
        f"![{SEEDS} pictures]({GRID})",
        "",
        "The first pictures of the measurement, and failures:",
        "",
        f"![measured pictures]({SHEET})",
        "",
    ]
    return "\n".join(lines)


def composition_table(found: Composition) -> list[str]:
    """What each judge found, as rows of Markdown; in brackets, what it reads rightly in drawings of the same scenes."""
    from limner.picture.composition import summary

    judges = list(found.shares)
    lines = [f"| asked for | {' | '.join(judges)} |", f"| --- |{' --- |' * len(judges)}"]
    for name, label in FIGURES.items():
        cells = []
        for judge in judges:
            value, most = summary(found.shares[judge]).get(name), summary(found.ceilings[judge]).get(name)
            cells.append("" if value is None or most is None else f"{value.value:.1%} ({most.value:.1%})")
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return lines
