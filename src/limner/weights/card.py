"""What a folder of another library says of itself, in the words of our model cards."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def read_card(folder: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Name, family, and the licence and data sets at the head of its README."""
    card: dict[str, Any] = {"name": folder.resolve().name, "family": values.get("model_type")}
    readme = folder / "README.md"
    if readme.is_file():
        found = re.match(r"---\n(.*?)\n---", readme.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
        head = found.group(1) if found else ""
        if licence := re.search(r"^license:\s*(\S.*)$", head, re.MULTILINE):
            card["licence"] = licence.group(1).strip()
        if data := re.search(r"^datasets:\s*\n((?:\s*-\s*.+\n?)+)", head, re.MULTILINE):
            card["trained_on"] = ", ".join(re.findall(r"-\s*(\S+)", data.group(1)))
    return card


def write_readme(card: Mapping[str, Any], auto: str) -> str:
    """A README.md with that head, and how to open the folder with the class ``auto`` of transformers."""
    head = ["---", "library_name: transformers"]
    if card.get("licence"):
        head.append(f"license: {str(card['licence']).split()[0].lower()}")
    lines = [*head, "---", "", f"# {card.get('title') or card.get('name') or 'A model of limner'}", ""]
    lines += [
        f"- {key.replace('_', ' ')}: {value}" for key, value in card.items() if isinstance(value, str | int | float)
    ]
    lines += ["", "```python", f"from transformers import {auto}, AutoTokenizer", ""]
    lines += [f'model = {auto}.from_pretrained("FOLDER")', 'tokenizer = AutoTokenizer.from_pretrained("FOLDER")']
    return "\n".join([*lines, "```", ""])
