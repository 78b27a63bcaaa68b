"""Traces in a notebook: one piece of HTML, with its own style, no script and nothing from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

Likely = Callable[[int, int], list[tuple[str, float]]]
"""The likeliest tokens after a place, so many, and their probabilities; none where nobody knows."""

MOST = 2000  # tokens shown; a notebook is no place for more
RUNNERS_UP = 5
WARMEST = 12.0  # bits of surprise at which the colour no longer deepens

STYLE = """
.limner{font:15px/1.7 system-ui,sans-serif;max-width:60em;color:inherit}
.limner .token{padding:.1em .05em;border-radius:.2em;white-space:pre-wrap;color:#111}
.limner .read{border-bottom:1px dotted #777}
.limner .about,.limner table{font-size:13px;opacity:.85}
.limner table{border-collapse:collapse;margin-top:.4em}
.limner td{padding:.05em .8em .05em 0;text-align:left;font-variant-numeric:tabular-nums}
.limner code{white-space:pre}
"""


def show_text(about: Mapping[str, Any], logprobs: Sequence[float] | None, likely: Likely) -> str:
    """The text with each token coloured by how much it surprised the model, and what would come next.

    Args:
        about: as a trace of a text has it.
        logprobs: of each token, where they are known.
    """
    encoder = about["model"]["family"] == "encoder"
    parts = []
    for place, token in enumerate(about["tokens"][:MOST]):
        bits = None
        if logprobs is not None and (place > 0 or encoder):
            bits = -logprobs[place] / math.log(2)
        colour = "#e8e8e8" if bits is None else _colour(bits)
        kind = "token" if token["written"] else "token read"
        parts.append(
            f'<span class="{kind}" style="background:{colour}" title="{escape(_said(about, likely, place, bits), quote=True)}">'
            f"{escape(token['text'], quote=True)}</span>"
        )
    left = len(about["tokens"]) - MOST
    if left > 0:
        parts.append(f" … and {left} tokens more")
    return (
        f'<div class="limner"><style>{STYLE}</style><div dir="auto">{"".join(parts)}</div>'
        f'{_next(about, likely)}<div class="about">{escape(_about(about), quote=True)}</div></div>'
    )


def _colour(bits: float) -> str:
    """From near white to deep orange, which all can tell apart; the text on it stays readable."""
    depth = min(max(bits, 0.0), WARMEST) / WARMEST
    white, deep = (255, 247, 236), (244, 140, 66)
    red, green, blue = (round(a + (b - a) * depth) for a, b in zip(white, deep, strict=True))
    return f"rgb({red},{green},{blue})"


def _said(about: Mapping[str, Any], likely: Likely, place: int, bits: float | None) -> str:
    """A token's tooltip: its number, its chance, and what else was likely there."""
    token = about["tokens"][place]
    lines = [f"{place}: {token['text']!r}, id {token['id']}"]
    if bits is not None:
        lines.append(f"probability {2**-bits:.2%}, surprise {bits:.1f} bits")
    before = place - 1 if about["model"]["family"] == "decoder" else place
    if before >= 0:
        lines += [f"{probability:6.2%}  {text!r}" for text, probability in likely(before, RUNNERS_UP)]
    return "\n".join(lines)


def _next(about: Mapping[str, Any], likely: Likely) -> str:
    """A table of what would follow the last token."""
    found = likely(-1, RUNNERS_UP) if about["model"]["family"] == "decoder" else []
    rows = "".join(
        f"<tr><td><code>{escape(repr(text), quote=True)}</code></td><td>{probability:.2%}</td></tr>"
        for text, probability in found
    )
    return "" if not found else f"<table><tr><td>would come next</td><td></td></tr>{rows}</table>"


def _about(about: Mapping[str, Any]) -> str:
    said = f"{about['model']['name']}, {len(about['tokens'])} tokens"
    if about["changes"]:
        said += f", changed: {', '.join(change['kind'] for change in about['changes'])}"
    if about["replay"] is not None:
        replay = about["replay"]
        said += (
            f"; replayed {replay['tokens']} tokens: largest logit difference {replay['largest_difference']:.2g}, "
            f"same likeliest token {replay['agreement']:.0%}"
        )
    return " ".join([said + ".", *about["notes"]])
