"""Who said it: what each sub-layer and each head gave to the residual stream, and through it to one token's logit.

The residual stream is a sum: the embedding, then what each attention and each feed-forward adds. The last norm and the
head turn that sum into a logit. Once the norm's scale is held where it is, they are linear, and so the logit is a sum as
well, with one entry for each part; what is the same whatever was read (the head's bias, the norm's shift) and what a
softcap bends stands in a last entry, the rest. That is direct logit attribution.

Where each sub-layer's sum is normalised before the next one reads it (``placement="post"``, the 2017 model, BERT) the
stream is no plain sum, and there is no such ledger.

Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits", transformer-circuits.pub.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from limner.core.errors import ConfigError
from limner.core.transformer import Stack, Transformer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from limner.text.generator import TextGenerator

# ── norms whose scale is held ──────────────────────────────────────────────────────────────────────────────


def pull(norm: nn.Module | None, directions: Tensor) -> Tensor:
    """Directions behind a norm as they are in front of it, but for the scale: see ``scale``.

    ``norm(x) · direction = scale(norm, x) · (x · pull(norm, direction)) + shift · direction``

    Args:
        directions: shape (…, dim), float32.
    """
    if norm is None:
        return directions
    weight = cast("Tensor | None", norm.weight)
    pulled = directions if weight is None else directions * weight.float()
    return pulled - pulled.mean(dim=-1, keepdim=True) if isinstance(norm, nn.LayerNorm) else pulled


def scale(norm: nn.Module | None, x: Tensor) -> Tensor:
    """What a norm multiplies x by, shape (…, dim) to (…, 1), float32."""
    x = x.float()
    if norm is None:
        return torch.ones_like(x[..., :1])
    if isinstance(norm, nn.LayerNorm):
        return (x.var(dim=-1, correction=0, keepdim=True) + norm.eps).rsqrt()
    assert isinstance(norm, nn.RMSNorm)
    eps = torch.finfo(x.dtype).eps if norm.eps is None else norm.eps
    return (x.square().mean(dim=-1, keepdim=True) + eps).rsqrt()


def spread(norm: nn.Module | None, x: Tensor, parts: Tensor) -> Tensor:
    """Parts of x as they are behind a norm whose scale is held where it is at x; its shift is nobody's.

    Args:
        x: shape (time, dim).
        parts: shape (parts, time, dim), float32.
    """
    if norm is None:
        return parts
    if isinstance(norm, nn.LayerNorm):
        parts = parts - parts.mean(dim=-1, keepdim=True)
    weight = cast("Tensor | None", norm.weight)
    parts = parts * scale(norm, x)
    return parts if weight is None else parts * weight.float()


# ── the ledger of one pass ─────────────────────────────────────────────────────────────────────────────────


def no_ledger(model: Transformer) -> str | None:
    """Why this model's logits are no sum of shares; None: they are."""
    if model.head is None:
        return "it has no head, and so no logits"
    if model.head.transform is not None:
        return "its head bends what it reads before it scores"
    if any(block.placement == "post" for block in model.config.stack.blocks):
        return "it normalises the stream after each sub-layer"
    return None


def head_matrix(model: Transformer) -> Tensor:
    """The head's matrix, shape (vocab_size, dim)."""
    assert model.head is not None
    return model.embedding.token.weight if model.head.linear is None else model.head.linear.weight


def stack_of(model: Transformer) -> Stack:
    """The only stack of a model that has one."""
    stack = model.decoder or model.encoder
    assert stack is not None
    return stack


class Book:
    """Keeps the ledger while a forward pass goes by; no sub-layer's contribution is held for longer than its turn.

    Args:
        targets: the tokens whose logits are shared out, one for each place, shape (time,); the last may be -1, which
            ``close`` is told.
    """

    def __init__(self, model: Transformer, targets: Tensor) -> None:
        self.model = model
        self.norm = stack_of(model).final_norm
        self.open = int(targets[-1]) < 0
        self.directions = self._directions(targets.clamp(min=0))
        self.parts: list[Tensor] = []  # (time,) each
        self.heads: list[Tensor] = []  # (heads, time) each
        self.ends: list[Tensor] = []  # contributions to the last place, (dim,) each
        self.head_ends: list[Tensor] = []

    def _directions(self, targets: Tensor) -> Tensor:
        return pull(self.norm, head_matrix(self.model)[targets].float())

    def add(self, contribution: Tensor) -> None:
        """The next part of the stream: the embedding, attention 0, feed-forward 0, …; shape (time, dim)."""
        self.parts.append(torch.einsum("td,td->t", contribution, self.directions))
        if self.open:
            self.ends.append(contribution[-1].clone())

    def add_heads(self, given: Tensor) -> None:
        """What each head of the next attention gives: shape (heads, time, dim)."""
        self.heads.append(torch.einsum("htd,td->ht", given, self.directions))
        if self.open:
            self.head_ends.append(given[:, -1].clone())

    def close(self, x: Tensor, logits: Tensor, last: int) -> tuple[Tensor, Tensor]:
        """The ledger.

        Args:
            x: what the last norm read, shape (time, dim).
            logits: of the targets, shape (time,).
            last: the target of the last place, if it was not known before.
        Returns:
            Shares of embedding, attention 0, feed-forward 0, …, and the rest, shape (time, parts + 1), which sum to the
            logits; and of heads, shape (time, layers, heads).
        """
        parts = torch.stack(self.parts, dim=1)
        most = max((len(heads) for heads in self.heads), default=0)
        heads = parts.new_zeros(len(x), len(self.heads), most)
        for layer, shares in enumerate(self.heads):
            heads[:, layer, : len(shares)] = shares.T
        if self.open:
            direction = self._directions(torch.tensor([last], device=x.device))[0]
            parts[-1] = torch.stack(self.ends) @ direction
            for layer, ends in enumerate(self.head_ends):
                heads[-1, layer, : len(ends)] = ends @ direction
        held = scale(self.norm, x)
        parts, heads = parts * held, heads * held[..., None]
        rest = logits.float() - parts.sum(dim=1)
        return torch.cat((parts, rest[:, None]), dim=1), heads


# ── one place, any token ───────────────────────────────────────────────────────────────────────────────────


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
    from limner.explain.reading import Keeping, read

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


def resolve(
    generator: TextGenerator, source: str | Sequence[int], place: int, target: int | str | None
) -> tuple[list[int], int, int | None]:
    """The ids that are read, the place counted from 0, and the token in question.

    Returns:
        The target is the token that follows the place, where none is given; None at the end of the text.
    Raises:
        ConfigError: no such place; the target is no single token.
    """
    ids = generator.read_prompt(source, window=None)
    if not -len(ids) <= place < len(ids):
        raise ConfigError(
            f"place is {place}, but the text has {len(ids)} tokens. Choose from 0 to {len(ids) - 1}, or -1 for the last."
        )
    place %= len(ids)
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
                f"{what} is {token!r}, which is {len(found)} tokens of this model. Give one token's text or its id."
            )
        return found[0]
    if not 0 <= token < generator.tokenizer.vocab_size:
        raise ConfigError(
            f"{what} is {token}, but ids run from 0 to {generator.tokenizer.vocab_size - 1}. Choose one of them."
        )
    return token
