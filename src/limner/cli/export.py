"""``limner export``: a model in a form that other tools load."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


class Form(StrEnum):
    """What to write."""

    hf = "hf"
    limner = "limner"


class Precision(StrEnum):
    """How the weights are stored."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A bundled model's name, a model folder, or a run folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")],
    to: Annotated[Form, typer.Option(help="hf: a Hugging Face folder; limner: one of our own.")] = Form.hf,
    dtype: Annotated[Precision | None, typer.Option(help="How the weights are stored; left out: as they are.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a model that is in the folder already.")] = False,
) -> None:
    """Write a model in a form that other tools load.

    With --to hf, transformers, vLLM and what else reads Hugging Face folders get the same logits from it:
    AutoModelForCausalLM.from_pretrained(DIR), AutoTokenizer.from_pretrained(DIR). The tokenizer puts the token that
    begins texts in front, as limner does. Weights stored in bfloat16 are computed with in bfloat16 there, and so give
    other last digits than here, unless from_pretrained is given dtype=torch.float32.
    """
    from limner.models import export as write

    opened_with = write(model, out, to=to.value, dtype=None if dtype is None else dtype.value, force=force)
    call = f'{opened_with}("{out}")' if to is Form.limner else f'{opened_with}.from_pretrained("{out}")'
    print(f"Written to {out}. Open it with {call}.")
