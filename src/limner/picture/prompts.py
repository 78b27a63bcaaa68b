"""Prompts and captions as a picture model reads them: words, ids, and rows of one length."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from limner.tokens import Tokenizer

WORD = r"[^\W_]+"


def prompt_ids(tokenizer: Tokenizer, prompt: str, lower_case: bool) -> list[int]:
    """What a prompt is for the model: the beginning, then its tokens."""
    begin = [] if tokenizer.begin_id is None else [tokenizer.begin_id]
    return begin + tokenizer.encode(as_read(prompt, lower_case))


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
