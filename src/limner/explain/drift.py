"""One word in two texts, layer by layer: how its vectors part as the texts around it are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner.explain.vectors import common_words
from limner.explain.words import Model, frame, layers, token_name, word_ids, word_places

Floats = NDArray[np.float32]
STRANGERS = 40  # everyday words whose likeness to one another is the measure for "nothing in common"


@dataclass(frozen=True)
class Sighting:
    """The word where it stands in a text.

    Attributes:
        tokens: the whole text, as the model reads it.
        places: which of them are the word's.
    """

    text: str
    tokens: list[str]
    places: list[int]


@dataclass(frozen=True, eq=False)
class Drift:
    """How alike a word is to itself in another text, and to other words, after each layer.

    All arrays begin with layer 0, what the first layer reads: there nothing around the word has been seen, but it may
    stand at another place. All are cosines: 1 is the same direction.

    Attributes:
        first, second: where the word was found.
        causal: the model sees only what stands before the word.
        similarity: between the two, shape (layers + 1,).
        references: to each reference word, read alone, shape (2, layers + 1): from the first text and from the second.
        strangers: between everyday words that have nothing to do with one another, on average, shape (layers + 1,). Where
            this is near 1 all vectors point one way, and cosines say little. None: the tokenizer has no whole words.
        vectors: of the word itself, shape (2, layers + 1, dim).
    """

    word: str
    first: Sighting
    second: Sighting
    causal: bool
    similarity: Floats
    references: dict[str, Floats]
    strangers: Floats | None
    vectors: Floats = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; without the vectors themselves."""
        return {
            "word": self.word,
            "first": vars(self.first),
            "second": vars(self.second),
            "causal": self.causal,
            "similarity": self.similarity.tolist(),
            "references": {word: values.tolist() for word, values in self.references.items()},
            "strangers": None if self.strangers is None else self.strangers.tolist(),
        }


@torch.inference_mode()
def drift(model: Model, word: str, first: str, second: str, *, references: Sequence[str] = ()) -> Drift:
    """Follow one word through the layers in two texts.

    A word's vector is the mean of its tokens'. A model that writes sees only what stands before the word: put what settles
    its sense there.

    Args:
        first, second: texts that hold the word; where one holds it twice, the first is taken.
        references: words to compare with, each read alone.
    Raises:
        DataError: a text does not hold the word.
        ContextError: a text is longer than the context window.
        TokenizerError: the model cannot read the word.
    Source: Ethayarajh 2019, arXiv:1909.00512, from where the measure against strangers is, too.
    """
    sightings, found = [], []
    for text in (first, second):
        ids, places = word_places(model, text, word)
        sightings.append(Sighting(text, [token_name(model.tokenizer, id) for id in ids], places))
        found.append(layers(model, [ids])[:, 0, places].mean(dim=1))
    one, two = found
    return Drift(
        word,
        sightings[0],
        sightings[1],
        causal=model.model.config.stack.causal,
        similarity=_cosine(one, two).numpy(),
        references={
            name: torch.stack([_cosine(one, alone), _cosine(two, alone)]).numpy()
            for name in references
            for alone in [_alone(model, [name])[:, 0]]
        },
        strangers=_strangers(model),
        vectors=torch.stack([one, two]).numpy(),
    )


def _alone(model: Model, words: Sequence[str]) -> Tensor:
    """Words' vectors when nothing stands beside them, shape (layers + 1, words, dim); all of one number of tokens."""
    opening, closing = frame(model)
    own = [word_ids(model, word) for word in words]
    end = len(opening) + len(own[0])
    return layers(model, [[*opening, *ids, *closing] for ids in own])[:, :, len(opening) : end].mean(dim=2)


def _strangers(model: Model) -> Floats | None:
    common = common_words(model)
    words = [word for word in common[:: max(len(common) // STRANGERS, 1)] if len(word_ids(model, word)) == 1]
    if len(words) < 2:
        return None
    vectors = torch.nn.functional.normalize(_alone(model, words[:STRANGERS]), dim=-1)
    alike = vectors @ vectors.transpose(1, 2)
    between = ~torch.eye(alike.shape[-1], dtype=torch.bool)
    mean: Floats = alike[:, between].mean(dim=1).numpy()
    return mean


def _cosine(first: Tensor, second: Tensor) -> Tensor:
    return torch.nn.functional.cosine_similarity(first, second, dim=-1)
