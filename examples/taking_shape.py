"""How a picture run's prompts took shape, as one picture: ``python examples/taking_shape.py RUN OUT.webp [ROWS]``.

A row for each of ROWS moments of the run (all of them by default), under each what it had cost and how well it saw: minutes,
pictures, and the loss with a picture's own caption and with another's.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

GAP, HEADING, WIDTH = 6, 22, 520  # pixels


def moments(run: Path) -> list[tuple[Path, str]]:
    """Each sample sheet of the run and what is to be said of it, in order."""
    plan = json.loads((run / "run.json").read_text(encoding="utf-8"))["train"]
    together = plan["batch_size"] * plan["accumulate"]
    found = []
    for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        sheet = run / "samples" / f"step-{event.get('step', 0):07}.png"
        if event["event"] == "evaluation" and sheet.is_file():
            said = (
                f"{event['elapsed'] / 60:.1f} minutes, {event['step'] * together:,} pictures: loss {event['loss']:.3f}"
            )
            if (other := event.get("loss_other_captions")) is not None:  # there may be but one caption
                said += f", with other captions {other:.3f}"
            found.append((sheet, said))
    return found


def main() -> None:
    """See above."""
    run, out = Path(sys.argv[1]), Path(sys.argv[2])
    rows = moments(run)
    if not rows:
        sys.exit(f"{run} has no sample sheets yet. Let it train until its first evaluation.")
    wanted = min(int(sys.argv[3]) if len(sys.argv) > 3 else len(rows), len(rows))
    rows = [rows[(number + 1) * len(rows) // wanted - 1] for number in range(wanted)]
    first = Image.open(rows[0][0])
    scale = max(1, WIDTH // first.width)
    wide, high = first.width * scale, first.height * scale + HEADING + GAP
    figure = Image.new("RGB", (wide + 2 * GAP, len(rows) * high + GAP), "white")
    pen, font = ImageDraw.Draw(figure), ImageFont.load_default(13)
    for number, (sheet, said) in enumerate(rows):
        top = GAP + number * high
        pen.text((GAP, top), said, "black", font)
        shown = Image.open(sheet).convert("RGB")
        figure.paste(shown.resize((wide, first.height * scale), Image.Resampling.NEAREST), (GAP, top + HEADING))
    figure.save(out)


if __name__ == "__main__":
    main()
