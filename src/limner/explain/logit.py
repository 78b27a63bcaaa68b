"""How one token's logit came together at one place: direct logit attribution, with the ledger of one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limner.core.errors import ConfigError
from limner.explain.ledger import no_ledger
from limner.explain.reading import Keeping, read
from limner.explain.words import resolve

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from limner.text.generator import TextGenerator


@dataclass(frozen=True)
class Ledger:
    """How a logit came together at one place.

    Attributes:
        place: the token after which the target would follow.
        target: the token whose logit it is.
        names: ``"embedding"``, ``"attention 0"``, ``"feed_forward 0"``, …, ``"rest"``.
        shares: of the logit, one for each name, float32; they sum to it.
        heads: of attentions, shape (layers, heads); each row sums to its attention but for its output's bias.
        lengths: of what each part gave to the residual stream, in the order of ``names`` without the rest.
    """

    place: int
    target: int
    text: str
    logit: float
    names: tuple[str, ...]
    shares: NDArray[np.float32]
    heads: NDArray[np.float32]
    lengths: NDArray[np.float32]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "place": self.place, "target": self.target, "text": self.text, "logit": self.logit,
            "names": list(self.names), "shares": self.shares.tolist(), "heads": self.heads.tolist(),
            "lengths": self.lengths.tolist(),
        }  # fmt: skip


def part_names(layers: int) -> tuple[str, ...]:
    """What a ledger's entries are called."""
    inner = (f"{part} {layer}" for layer in range(layers) for part in ("attention", "feed_forward"))
    return ("embedding", *inner, "rest")


def ledger(
    generator: TextGenerator, source: str | Sequence[int], *, place: int = -1, target: int | str | None = None
) -> Ledger:
    """Direct logit attribution: how the logit of one token came together.

    Args:
        place: after which token; -1: the last.
        target: an id, or a text of one token; None: the token that really follows, of the last the likeliest.
    Raises:
        ConfigError: no such place; the target is no single token; the model's logits are no sum.
    """
    reason = no_ledger(generator.model)
    if reason is not None:
        raise ConfigError(
            f"the model is {generator.card.get('name', 'a model')}, but its logits are no sum of what its parts give: "
            f"{reason}. Look at what changes when a part is off: limner.explain.causal."
        )
    ids, place, goal = resolve(generator, source, place, target)
    targets = [*ids[1 : place + 1], -1 if goal is None else goal]
    seen = read(generator, ids[: place + 1], Keeping(ledger=True, stream=True), targets=targets)
    shares = seen.arrays["ledger.logit"][-1]
    found = int(seen.best[-1]) if goal is None else goal
    return Ledger(
        place, found, generator.token_text(found), float(shares.sum()),
        part_names(generator.model.config.stack.num_layers), shares, seen.arrays["ledger.heads"][-1],
        seen.arrays["stream.norm"][:, -1],
    )  # fmt: skip
