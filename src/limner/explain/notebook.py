"""Traces in a notebook: one piece of HTML, with its own style, no script and nothing from elsewhere."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limner.explain.text_trace import TextTrace

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


def show_text(trace: TextTrace) -> str:
    """The text with each token coloured by how much it surprised the model, and what would come next."""
    about = trace.about
    logprobs = trace["logprobs"].tolist() if "logprobs" in trace else None
    encoder = about["model"]["family"] == "encoder"
    parts = []
    for place, token in enumerate(about["tokens"][:MOST]):
        bits = None
        if logprobs is not None and (place > 0 or encoder):
            bits = -logprobs[place] / math.log(2)
        colour = "#e8e8e8" if bits is None else _colour(bits)
        kind = "token" if token["written"] else "token read"
        parts.append(
            f'<span class="{kind}" style="background:{colour}" title="{escape(_said(trace, place, bits), quote=True)}">'
            f"{escape(token['text'], quote=True)}</span>"
        )
    left = len(about["tokens"]) - MOST
    if left > 0:
        parts.append(f" … and {left} tokens more")
    return (
        f'<div class="limner"><style>{STYLE}</style><div dir="auto">{"".join(parts)}</div>'
        f'{_next(trace)}<div class="about">{escape(_about(trace), quote=True)}</div></div>'
    )


def _colour(bits: float) -> str:
    """From near white to deep orange, which all can tell apart; the text on it stays readable."""
    depth = min(max(bits, 0.0), WARMEST) / WARMEST
    white, deep = (255, 247, 236), (244, 140, 66)
    red, green, blue = (round(a + (b - a) * depth) for a, b in zip(white, deep, strict=True))
    return f"rgb({red},{green},{blue})"


def _said(trace: TextTrace, place: int, bits: float | None) -> str:
    """A token's tooltip: its number, its chance, and what else was likely there."""
    token = trace.about["tokens"][place]
    lines = [f"{place}: {token['text']!r}, id {token['id']}"]
    if bits is not None:
        lines.append(f"probability {2**-bits:.2%}, surprise {bits:.1f} bits")
    decoder = trace.about["model"]["family"] == "decoder"
    before = place - 1 if decoder else place
    if before >= 0 and "candidates.logits" in trace:
        for candidate in trace.candidates(before, RUNNERS_UP):
            lines.append(f"{candidate.probability:6.2%}  {trace.text(candidate.id)!r}")
    return "\n".join(lines)


def _next(trace: TextTrace) -> str:
    """A table of what would follow the last token."""
    if "candidates.logits" not in trace or trace.about["model"]["family"] != "decoder":
        return ""
    rows = "".join(
        f"<tr><td><code>{escape(repr(trace.text(candidate.id)), quote=True)}</code></td><td>{candidate.probability:.2%}</td></tr>"
        for candidate in trace.candidates(-1, RUNNERS_UP)
    )
    return f"<table><tr><td>would come next</td><td></td></tr>{rows}</table>"


def _about(trace: TextTrace) -> str:
    about = trace.about
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
