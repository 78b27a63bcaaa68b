"""Words with their vectors, made once for each model and kept as long as it is open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from limner.explain.vectors import WordVectors
    from limner.text.encoder import TextEncoder
    from limner.text.generator import TextGenerator

Among = Literal["table", "words"]


class Words:
    """What nearest words are searched in, by model."""

    def __init__(self) -> None:
        self._made: WeakKeyDictionary[Any, dict[str, WordVectors]] = WeakKeyDictionary()

    def of(self, model: TextGenerator | TextEncoder, among: Among) -> WordVectors:
        """The vectors of the embedding table, or of everyday words read through an encoder."""
        from limner.explain.vectors import read_vectors, table_vectors

        made = self._made.setdefault(model, {})
        if among not in made:
            made[among] = table_vectors(model) if among == "table" else read_vectors(model)
        return made[among]
