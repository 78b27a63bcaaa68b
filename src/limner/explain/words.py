"""Reading a text once: what its tokens are, where a word stands in it, and each token's vectors layer by layer."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from limner.core.errors import ConfigError, DataError, TokenizerError, counted
from limner.core.tap import Recorder
from limner.explain.checks import check_place
from limner.text.encoder import TextEncoder
from limner.text.generator import TextGenerator
from limner.tokens.tokenizer import Tokenizer

Model = TextGenerator | TextEncoder


def token_name(tokenizer: Tokenizer, id: int) -> str:
    """What a token stands for, with the mark that it goes on with a word, and half a character as \\xe2 and the like."""
    piece = tokenizer.piece(id)
    if tokenizer.is_special(id) or tokenizer.kind == "wordpiece":
        return piece
    return tokenizer.token_bytes(id).decode("utf-8", "backslashreplace")


def word_ids(model: Model, word: str) -> list[int]:
    """The tokens of a word as it stands within a text: with the space before it where tokens hold spaces.

    Raises:
        DataError: the word is empty.
        TokenizerError: the model has no token for any part of it.
    """
    if not word.strip():
        raise DataError(f"the word is {word!r}, but it must have a letter. Give a word.")
    tokenizer = model.tokenizer
    alone, within = tokenizer.encode(word), tokenizer.encode(f" {word.lstrip()}")
    ids = alone if len(alone) < len(within) else within
    known = [id for id in ids if id != tokenizer.unknown_id]
    if not known:
        raise TokenizerError(f"the word is {word!r}, but this tokenizer knows no part of it. Give another word.")
    return known


def frame(model: Model) -> tuple[list[int], list[int]]:
    """What the model reads before and after a text."""
    if isinstance(model, TextEncoder):
        return model.opening, model.closing
    return model.tokenizer.opening, []


def read_ids(model: Model, source: str | Sequence[int]) -> list[int]:
    """What the model reads of a text; ids are read just as they are.

    Raises:
        ContextError: more than the context window holds.
        TokenizerError: there is nothing to read, or an id is not the model's.
    """
    if isinstance(model, TextEncoder):
        return model.read(source) if isinstance(source, str) else model.check(source)
    return model.read_prompt(source, window=None)


def word_places(model: Model, text: str, word: str) -> tuple[list[int], list[int]]:
    """The ids of a text as the model reads it, and the places of a word's tokens among them, whatever its case.

    The word standing by itself is preferred to one within another.

    Raises:
        DataError: the text does not hold the word.
        ContextError: it is longer than the context window.
    """
    wanted = re.escape(word.strip())
    found = re.search(rf"(?<!\w){wanted}(?!\w)", text, re.IGNORECASE) or re.search(wanted, text, re.IGNORECASE)
    if found is None or not wanted:
        raise DataError(f"the word is {word!r}, but the text {text[:60]!r} does not hold it. Give a text that does.")
    start, end = found.span()
    ids = read_ids(model, text)
    opening, _ = frame(model)
    pieces = model.tokenizer.pieces(text)
    return ids, [len(opening) + at for at, piece in enumerate(pieces) if piece.start < end and piece.end > start]


def layers(model: Model, rows: Sequence[Sequence[int]]) -> Tensor:
    """The vectors of each token before the first layer and after each, for texts of one length.

    Args:
        rows: the ids of each text.
    Returns:
        Shape (layers + 1, texts, tokens, dim), float32. The last are those that the head reads, after any last norm.
    """
    tap = Recorder(["embedding.output", "layer.*.residual"], keep=lambda value: value.float().cpu())
    ids = torch.tensor([list(row) for row in rows], device=model.device)
    last = model.model.hidden(ids, tap=tap).float().cpu()
    inner = [tap[f"layer.{index}.residual"] for index in range(model.model.config.stack.num_layers - 1)]
    return torch.stack([tap["embedding.output"], *inner, last])


def resolve(
    generator: TextGenerator, source: str | Sequence[int], place: int, target: int | str | None
) -> tuple[list[int], int, int | None]:
    """The ids that are read, the place counted from 0, and the token in question.

    Returns:
        The target is the token that follows the place, where none is given; None at the end of the text.
    Raises:
        ConfigError: no such place; the target is no single token.
    """
    ids = read_ids(generator, source)
    place = check_place(place, len(ids))
    if target is None:
        return ids, place, ids[place + 1] if place + 1 < len(ids) else None
    return ids, place, token_id(generator, target, "the target")


def token_id(generator: TextGenerator, token: int | str, what: str) -> int:
    """The id of one token, given as that or as its text.

    Raises:
        ConfigError: the text is not one token; the model has no such id.
    """
    if isinstance(token, str):
        found = generator.tokenizer.encode(token)
        if len(found) != 1:
            raise ConfigError(
                f"{what} is {token!r}, but that is {counted(len(found), 'token')} of this model and not one. Give one token's text or its id."
            )
        return found[0]
    if not 0 <= token < generator.tokenizer.vocab_size:
        raise ConfigError(
            f"{what} is {token}, but ids run from 0 to {generator.tokenizer.vocab_size - 1}. Choose one of them."
        )
    return token
