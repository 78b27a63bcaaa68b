"""What words mean to a model: their vectors, the words nearest to one, and sums of words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from limner.core.errors import ConfigError, DataError, TokenizerError, counted
from limner.explain.words import Model, token_name, word_ids, word_places
from limner.text.encoder import TextEncoder
from limner.tokens.tokenizer import Tokenizer

Among = Literal["table", "words"]
Floats = NDArray[np.float32]

EVERYDAY = 2_000  # words that are read where nobody says which; a second or two a thousand on one processor core
RESERVED = re.compile(r"\[\S+\]|<\S+>")  # ``[unused7]``, ``<extra_id_3>``: names of places in a table, not texts


@dataclass(frozen=True, eq=False)
class WordVectors:
    """Words with a vector each, all of length 1, to search in. ``len`` says how many.

    Attributes:
        words: as a text would hold them; a token that goes on with a word keeps its mark, as ``##ing`` does.
        vectors: shape (words, dim).
        source: ``"table"``: rows of the embedding table; ``"words"``: words read through the model, one by one.
        ids: of the tokens whose rows they are; empty for words that were read.
    """

    words: tuple[str, ...]
    vectors: Floats = field(repr=False)
    source: Among
    ids: tuple[int, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.words)

    def nearest(self, vector: Floats, count: int, without: Iterable[str] = ()) -> list[Neighbour]:
        """The words whose vectors point most nearly where this one does.

        Args:
            without: words that are left out, whatever their case and the spaces around them.
        """
        left_out = {_plain(word) for word in without}
        similarities = self.vectors @ _unit(vector)
        found: list[Neighbour] = []
        for index in np.argsort(-similarities, kind="stable").tolist():
            if len(found) == count:
                break
            if _plain(self.words[index]) not in left_out:
                found.append(Neighbour(self.words[index], float(similarities[index])))
        return found


@dataclass(frozen=True)
class Neighbour:
    """A word, and the cosine of the angle between its vector and the one that was asked about: 1 is the same direction."""

    word: str
    similarity: float


@dataclass(frozen=True)
class Neighbours:
    """The words nearest to one.

    Attributes:
        tokens: what the word is cut into.
        vector_of: how it came by its vector: ``"one token's row"``, ``"the mean of 3 tokens' rows"``, ``"the word, read
            through the model"``, or ``"the word within its text"``.
        among: ``"table"`` or ``"words"``, see ``WordVectors.source``.
        searched: how many words were compared.
        found: the nearest first; never the word itself.
    """

    word: str
    tokens: list[str]
    vector_of: str
    among: Among
    searched: int
    found: list[Neighbour]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Analogy:
    """``a − b + c`` and the words nearest to it.

    Attributes:
        found: the nearest first, a, b and c left out.
        with_inputs: the same with a, b and c counted. Often one of them is first: leaving them out is part of the trick.
        among, searched: as of ``Neighbours``.
    """

    a: str
    b: str
    c: str
    among: Among
    searched: int
    found: list[Neighbour]
    with_inputs: list[Neighbour]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def neighbours(
    model: Model,
    word: str,
    *,
    count: int = 10,
    among: Among | Sequence[str] | WordVectors = "table",
    within: str | None = None,
) -> Neighbours:
    """The words that a model holds to be most like one.

    Args:
        count: how many.
        among: ``"table"``: the tokens of the embedding table, as they are before any layer; a word of several tokens is
            the mean of their rows. ``"words"``: everyday words read through the model (encoders only). Words of one's own
            are read, too; what ``read_vectors`` or ``table_vectors`` made is searched as it is, which saves making it anew.
    Raises:
        ConfigError: ``count`` is not positive, or words are to be read through a model that is no encoder.
        DataError: the word is empty.
        TokenizerError: the model has no token for any part of it.
    """
    _check_count(count)
    space = _space(model, among)
    vector, tokens, vector_of = (
        _vector(model, word, space.source) if within is None else _within(model, word, within, space)
    )
    found = space.nearest(vector, count, without=[word])
    return Neighbours(word, tokens, vector_of, space.source, len(space), found)


def analogy(
    model: Model, a: str, b: str, c: str, *, count: int = 5, among: Among | Sequence[str] | WordVectors = "table"
) -> Analogy:
    """What ``a − b + c`` is nearest to: king − man + woman.

    The vectors are made one long before they are added.

    Args:
        count, among: as for ``neighbours``.
    Raises:
        As ``neighbours``.
    Source: Mikolov et al. 2013, "Linguistic Regularities in Continuous Space Word Representations"; on leaving the inputs out,
        Linzen 2016, arXiv:1606.07736.
    """
    _check_count(count)
    space = _space(model, among)
    one, two, three = (_vector(model, word, space.source)[0] for word in (a, b, c))
    target = one - two + three
    found = space.nearest(target, count, without=[a, b, c])
    return Analogy(a, b, c, space.source, len(space), found, space.nearest(target, count))


def similarity(model: Model, first: str, second: str, *, among: Among = "table") -> float:
    """The cosine between the vectors of two words: 1 is the same direction, 0 nothing in common.

    Args:
        among: ``"table"``: rows of the embedding table; ``"words"``: both words read through the model (encoders only).
    Raises:
        As ``neighbours``.
    """
    _check_among(model, among)
    return float(_vector(model, first, among)[0] @ _vector(model, second, among)[0])


# ── words with their vectors ───────────────────────────────────────────────────────────────────────────


def table_vectors(model: Model, words: Sequence[str] | None = None) -> WordVectors:
    """Rows of the embedding table, made one long: what words are to a model before any layer.

    Args:
        words: a word of several tokens is the mean of their rows. None: every token with a letter or a digit in it.
    Raises:
        DataError: no words, or one of them is empty.
        TokenizerError: the model has no token for any part of a word.
    """
    if words is not None:
        chosen = _distinct(words)
        return WordVectors(chosen, np.stack([_vector(model, word, "table")[0] for word in chosen]), "table")
    tokens = [(id, text) for id in range(model.tokenizer.vocab_size) if (text := _ordinary(model.tokenizer, id))]
    if not tokens:
        raise TokenizerError("the tokenizer has no token with a letter, but words are made of them. Use another model.")
    ids = tuple(id for id, _ in tokens)
    return WordVectors(tuple(text for _, text in tokens), _unit(_rows(model, ids)), "table", ids)


def read_vectors(model: Model, words: Sequence[str] | None = None) -> WordVectors:
    """Words read through an encoder, each by itself: the mean of all its tokens' vectors after the last layer.

    Args:
        words: None: ``common_words(model)``.
    Raises:
        ConfigError: the model is no encoder, whose vectors would say what follows a word rather than what it means.
        DataError: no words.
    """
    encoder = _encoder(model)
    chosen = _distinct(common_words(model) if words is None else words)
    return WordVectors(chosen, encoder.encode(chosen, normalize=True), "words")


def common_words(model: Model, count: int = EVERYDAY) -> list[str]:
    """Words that are one token each, in small letters, the most frequent first as far as a tokenizer knows.

    Tokenizers number their tokens roughly by how often they were met in training; words of one or two letters are mostly
    pieces of others, and left out.

    Raises:
        ConfigError: ``count`` is not positive.
    """
    _check_count(count)
    tokenizer = model.tokenizer
    begins = _begins_words(tokenizer)
    words = (_ordinary(tokenizer, id) for id in range(tokenizer.vocab_size))
    whole = (word for word in words if word and word.startswith(begins))
    plain = (word.removeprefix(begins) for word in whole)
    found = dict.fromkeys(word for word in plain if len(word) > 2 and word.isalpha() and word == word.lower())
    return list(found)[:count]


def _ordinary(tokenizer: Tokenizer, id: int) -> str:
    """A token's text where it has a letter or a digit; else nothing."""
    if tokenizer.is_special(id) or RESERVED.fullmatch(tokenizer.piece(id)):
        return ""
    try:
        tokenizer.token_bytes(id).decode()
    except UnicodeDecodeError:
        return ""
    name = token_name(tokenizer, id)
    return name if any(character.isalnum() for character in name) else ""


def _begins_words(tokenizer: Tokenizer) -> str:
    """What the text of a token that begins a word begins with: a space, or nothing."""
    if tokenizer.kind == "wordpiece":
        return ""
    ids = tokenizer.encode("a a")
    return " " if ids and tokenizer.token_bytes(ids[-1]).startswith(b" ") else ""


def _space(model: Model, among: Among | Sequence[str] | WordVectors) -> WordVectors:
    if isinstance(among, WordVectors):
        return among
    if isinstance(among, str):
        _check_among(model, among)
        return table_vectors(model) if among == "table" else read_vectors(model)
    return read_vectors(model, among)


def _vector(model: Model, word: str, source: Among) -> tuple[Floats, list[str], str]:
    """A word's vector, one long; its tokens; and how the vector was made."""
    ids = word_ids(model, word)
    tokens = [token_name(model.tokenizer, id) for id in ids]
    if source == "words":
        return _encoder(model).encode(word, normalize=True), tokens, "the word, read through the model"
    how = "one token's row" if len(ids) == 1 else f"the mean of {counted(len(ids), 'token')}' rows"
    return _unit(_rows(model, ids).mean(axis=0)), tokens, how


def _within(model: Model, word: str, text: str, space: WordVectors) -> tuple[Floats, list[str], str]:
    """The same of a word within a text."""
    if space.source == "table":
        raise ConfigError(
            "within is a text, but the table knows no text, only tokens. Search among words, or leave the text out."
        )
    ids, places = word_places(model, text, word)
    vectors = _encoder(model).encode(text, pooling="none")[places]
    return (
        _unit(vectors.mean(axis=0)),
        [token_name(model.tokenizer, ids[at]) for at in places],
        "the word within its text",
    )


def _rows(model: Model, ids: Sequence[int]) -> Floats:
    rows: Floats = model.model.embedding.token.weight.detach()[list(ids)].float().cpu().numpy()
    return rows


def _distinct(words: Sequence[str]) -> tuple[str, ...]:
    if not words:
        raise DataError("words is empty, but there must be something to search in. Give a word or more.")
    return tuple(dict.fromkeys(words))


def _encoder(model: Model) -> TextEncoder:
    if isinstance(model, TextEncoder):
        return model
    raise ConfigError(
        "the model writes, but words are read through an encoder: after the last layer a writer's vectors say what may come "
        "next. Search its table, or load an encoder such as all-minilm-l6-v2."
    )


def _check_among(model: Model, among: str) -> None:
    if among not in ("table", "words"):
        raise ConfigError(f"among is {among!r}, but it is 'table', 'words' or a list of words. Choose one of these.")
    if among == "words":
        _encoder(model)


def _check_count(count: int) -> None:
    if count < 1:
        raise ConfigError(f"count is {count}, but at least one word is looked for. Choose 1 or more.")


def _plain(word: str) -> str:
    return word.strip().casefold()


def _unit(vectors: Floats) -> Floats:
    """Vectors along the last axis, made one long; those of length 0 stay so."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: Floats = (vectors / np.where(length > 0, length, 1)).astype(np.float32)
    return unit
