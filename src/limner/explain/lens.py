"""One reading of a text, seen from its last token: embeddings, attention, and what each layer would say next."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch import Tensor

from limner.core.errors import ConfigError
from limner.core.tap import Recorder
from limner.explain.guess import Guess, best_guesses
from limner.text.generator import TextGenerator

PATTERNS = ("embedding.output", "layer.*.attention.weights", "layer.*.residual", "logits")


@dataclass(frozen=True)
class Token:
    """One token of the text.

    Attributes:
        text: what it adds to the text; of a special token, its name.
        norm: the length of its vector as it enters the first layer.
    """

    id: int
    text: str
    norm: float


@dataclass(frozen=True)
class LayerView:
    """What one layer did for the last token.

    Attributes:
        attention: how much it looked at each token, the mean of all heads; sums to 1.
        head: the strongest head, counted from 0: the one that gives one token the most; the token that opens the
            text does not count, for heads that look for nothing look there.
        head_attention: how much that head looked at each token; sums to 1.
        guess: the likeliest next token were this the last layer (the logit lens).
        guesses: the likeliest ones, ``guess`` first.
    """

    layer: int
    attention: list[float]
    head: int
    head_attention: list[float]
    guesses: list[Guess]

    @property
    def guess(self) -> Guess:
        """The likeliest next token were this the last layer."""
        return self.guesses[0]


@dataclass(frozen=True)
class Look:
    """Everything that ``limner explain`` shows.

    Attributes:
        before: what the embedding alone, without any layer, would say next.
        next: the likeliest next tokens, the model's own prediction.
    """

    tokens: list[Token]
    before: list[Guess]
    layers: list[LayerView]
    next: list[Guess]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@torch.inference_mode()
def look(generator: TextGenerator, text: str, *, top: int = 10) -> Look:
    """Read a text once and keep what the last token went through.

    The logit lens takes the residual stream after a layer through the model's last norm and head, as if the
    layers after it were not there.

    Args:
        top: how many next tokens.
    Raises:
        ConfigError: ``top`` is not positive.
        ContextError: the text is longer than the context window.
    Source: nostalgebraist 2020, "interpreting GPT: the logit lens".
    """
    if top < 1:
        raise ConfigError(f"top is {top}, but at least one token is shown. Choose 1 or more.")
    ids = generator.read_prompt(text, window=None)
    tap = Recorder(PATTERNS)
    generator.model(torch.tensor([ids], device=generator.device), tap=tap)
    opening = len(generator.tokenizer.opening) if len(ids) > len(generator.tokenizer.opening) else 0
    layers = []
    for index in range(generator.model.config.stack.num_layers):
        weights = tap[f"layer.{index}.attention.weights"][0, :, -1].float()  # (heads, tokens it may see)
        head = int(weights[:, opening:].amax(dim=-1).argmax())
        guesses = best_guesses(generator, _lens(generator, tap[f"layer.{index}.residual"][0, -1]), 5)
        layers.append(LayerView(index, weights.mean(dim=0).tolist(), head, weights[head].tolist(), guesses))
    embedded = tap["embedding.output"][0]
    norms = embedded.float().norm(dim=-1).tolist()
    return Look(
        [Token(id, generator.token_text(id), norm) for id, norm in zip(ids, norms, strict=True)],
        best_guesses(generator, _lens(generator, embedded[-1]), 5),
        layers,
        best_guesses(generator, tap["logits"][0, -1], top),
    )


def _lens(generator: TextGenerator, residual: Tensor) -> Tensor:
    """Logits of a residual stream, shape (dim,) to (vocab_size,), as if it were the last layer's."""
    decoder = generator.model.decoder
    assert decoder is not None
    normed = residual if decoder.final_norm is None else cast("Tensor", decoder.final_norm(residual))
    return generator.model.logits(normed)
