"""Where a picture model looked for each word of its prompt: shares of cross-attention, pieces of a word added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from limner.core.errors import DataError
from limner.core.tap import Recorder

if TYPE_CHECKING:
    from limner.picture.generator import PictureGenerator
    from limner.picture.painting import Picture

WEIGHTS = "look.*.layer.*.cross_attention.weights"


def of_prompt(weights: Tensor) -> Tensor:
    """The prompt's own row of a pass, shape (rows, heads, patches, tokens) to (heads, patches, tokens), float32 on the CPU.

    It is the first; what guidance leads away from comes last and is left out.
    """
    return weights.detach()[0].float().cpu()


def add_words(shares: Tensor, places: Sequence[Sequence[int]]) -> Tensor:
    """Shares of tokens added up to those of words: shape (…, tokens) to (words, …)."""
    added = [shares[..., list(of_word)].sum(dim=-1) for of_word in places]
    return torch.stack(added) if added else shares.new_zeros(0, *shares.shape[:-1])


def word_recorder() -> Recorder:
    """A tap for ``generate`` that keeps what ``word_maps`` shows: cross-attention to the prompt, mean of the heads."""
    return Recorder([WEIGHTS], keep=lambda weights: of_prompt(weights).mean(dim=0))


def word_maps(generator: PictureGenerator, picture: Picture, recorder: Recorder) -> list[tuple[str, Tensor]]:
    """Where in the picture each word was, look by look.

    Args:
        recorder: of ``word_recorder``, through which this picture alone was painted.
    Returns:
        The words of the prompt in order, each with shares of attention, shape (looks, rows, columns): a word's tokens
        added up, the mean of all layers. The shares of all words, the beginning of the prompt and what stands between
        words add up to 1 at each place.
    Raises:
        DataError: the recorder holds no looks, or those of several pictures; or the prompt was ignored (guidance 0).
    """
    check_words_count(picture.settings)
    looks = torch.stack([layers.mean(dim=0) for layers in by_look(recorder).values()])
    rows = int(picture.settings["height"]) // generator.config.multiple
    words = generator.word_places(str(picture.settings["prompt"]))
    added = add_words(looks, [places for _, places in words])
    return [(word, shares.reshape(len(looks), rows, -1)) for (word, _), shares in zip(words, added, strict=True)]


def by_look(recorder: Recorder) -> dict[int, Tensor]:
    """What a recorder kept of each layer, by the number of the look, those of all layers as one, shape (layers, …).

    Raises:
        DataError: the recorder holds no looks, or those of several pictures.
    """
    found: dict[int, dict[int, Tensor]] = {}
    for name, values in recorder.values.items():
        if len(values) > 1:
            raise DataError("the recorder has seen several pictures, but it shows one. Use a new one for each.")
        _, look, _, layer, *_ = name.split(".")
        found.setdefault(int(look), {})[int(layer)] = values[0]
    if not found:
        raise DataError("the recorder has seen no cross-attention. Pass it to generate as tap=.")
    return {look: torch.stack([of[layer] for layer in sorted(of)]) for look, of in sorted(found.items())}


def check_words_count(described: Mapping[str, Any]) -> None:
    """Whether the words of its prompt had a part in a picture, of which these are the settings.

    Raises:
        DataError: it was painted with guidance 0.
    """
    if described["guidance"] == 0:
        raise DataError("guidance is 0, but then the prompt's words are not looked at. Paint it with 1 or more.")
