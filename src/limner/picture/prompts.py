"""Prompts and captions as a picture model reads them: words, ids, and rows of one length."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from limner.core.errors import ContextError
from limner.tokens import Tokenizer

SIGN = (
    "[\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\U0001f300-\U0001faff][\ufe0f\U0001f3fb-\U0001f3ff]*"  # with its skin tone
)
# Letters and digits, or one sign such as an emoji: a flag of two halves, or signs joined to one.
WORD = rf"[^\W_]+|[\U0001f1e6-\U0001f1ff]{{2}}|{SIGN}(?:\u200d{SIGN})*"


def prompt_ids(tokenizer: Tokenizer, prompt: str, lower_case: bool) -> list[int]:
    """What a prompt is for the model: the beginning, then its tokens, then what the encoder was trained to see last."""
    before, after = framing(tokenizer)
    return [*before, *tokenizer.encode(as_read(prompt, lower_case)), *after]


def framing(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The ids before and after a prompt's own: our tokenizers have a beginning alone, CLIP and BERT an end, too."""
    begin = [] if tokenizer.begin_id is None else [tokenizer.begin_id]
    return tokenizer.opening or begin, tokenizer.closing


def check_length(ids: Sequence[int], window: int, name: str = "prompt") -> None:
    """Check that a prompt can be read whole.

    Args:
        name: what the prompt is called, for the message.
    Raises:
        ContextError: it is longer than the window.
    """
    if len(ids) > window:
        raise ContextError(
            f"the {name} has {len(ids)} tokens, but this model reads {window}. Shorten it; nothing is cut silently."
        )


def cut(tokenizer: Tokenizer, ids: list[int], window: int) -> list[int]:
    """The first of a caption's ids that fit the window, with the same end."""
    if len(ids) <= window:
        return ids
    _, after = framing(tokenizer)
    return ids[: window - len(after)] + after


def as_read(prompt: str, lower_case: bool) -> str:
    """One space between words and none around them; small letters where the model knows no others."""
    text = " ".join(prompt.split())
    return text.lower() if lower_case else text


def pad(rows: Sequence[Sequence[int]], length: int) -> tuple[Tensor, Tensor]:
    """Ids and which of them are real, each (rows, length)."""
    ids, mask = torch.zeros(len(rows), length, dtype=torch.long), torch.zeros(len(rows), length, dtype=torch.bool)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
        mask[number, : len(row)] = True
    return ids, mask


def words_of(text: str) -> list[str]:
    """The words of a caption or a prompt, in small letters."""
    return re.findall(WORD, text.lower())
