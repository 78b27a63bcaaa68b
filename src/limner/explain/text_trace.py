"""A text run, looked at: read again in one pass, token by token, layer by layer, head by head.

    trace = model.trace(model.generate("The curious cat climbed", seed=1))
    print(trace.about["replay"])                 # how far this reading is from the run itself
    trace.attention(2, 0)                        # where each token looked, shape (tokens, tokens)
    trace.save("cat.trace")

docs/traces.md lists the arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from limner.core.config import ALiBiPositions, LearnedPositions, ModelConfig, RotaryPositions, SinusoidalPositions
from limner.core.errors import ConfigError, suggest
from limner.core.tap import NO_TAP
from limner.explain.changes import TextChange, read_changes, tap_for
from limner.explain.checks import check_number, check_place
from limner.explain.ledger import no_ledger
from limner.explain.notebook import show_text
from limner.explain.reading import GROUPS, TEMPERATURES, Keeping, Reading, read
from limner.explain.trace import Trace
from limner.explain.words import read_ids
from limner.text.encoder import TextEncoder
from limner.text.generator import TextGenerator
from limner.text.record import Candidate, Generation
from limner.text.sampling import SMALLEST, Sampling

if TYPE_CHECKING:
    Floats = NDArray[np.float32]

OF_WRITERS = ("predictions", "ledger", "lens")  # groups that need logits for what comes next
EVERYTHING = "everything"  # for ``keep``
BARE = ("final_norm", "logits", "places", "slopes")  # steps whose names have no dot


@dataclass(frozen=True)
class Distribution:
    """What a next token is drawn from.

    Attributes:
        ids, probabilities: the likeliest first; at most the candidates that the trace keeps.
        rest: the probability of all other tokens together.
        kept: how many tokens can be drawn at all; None: more than the trace has.
        exact: whether these are the very probabilities; if not, the temperature lies between two that the trace keeps
            sums for, or the filter goes beyond the candidates that it keeps.
    """

    ids: NDArray[np.int32]
    probabilities: Floats
    rest: float
    kept: int | None
    exact: bool


@dataclass(frozen=True)
class TextTrace(Trace):
    """One reading of a text. ``trace[name]`` is an array; docs/traces.md lists them."""

    def __repr__(self) -> str:
        model = self.about["model"]["name"]
        return f"TextTrace({len(self.tokens)} tokens, {model}, {len(self.arrays)} arrays)"

    # ── what it is about ───────────────────────────────────────────────────────────────────────────────────

    @property
    def tokens(self) -> list[str]:
        """The text of each token."""
        return [token["text"] for token in self.about["tokens"]]

    @property
    def layers(self) -> int:
        """How many the model has."""
        return int(self.about["model"]["layers"])

    @property
    def heads(self) -> int:
        """How many each of its layers has."""
        return int(self.about["model"]["heads"])

    def text(self, id: int) -> str:
        """What an id among the tokens and candidates stands for."""
        for token in self.about["tokens"]:
            if token["id"] == id:
                return str(token["text"])
        return str(self.about["texts"].get(str(id), f"token {id}"))

    def place(self, place: int) -> int:
        """A place counted from 0; negative ones count from the end.

        Raises:
            ConfigError: there is no such token.
        """
        return check_place(place, len(self.about["tokens"]), "the trace")

    # ── looking ────────────────────────────────────────────────────────────────────────────────────────────

    def attention(self, layer: int, head: int | None = None) -> Floats:
        """Where each token looked: shares that add up to 1 along the last axis, kept to a 510th.

        Args:
            head: None: all heads.
        Returns:
            Shape (tokens, tokens), row: who looks; without a head (heads, tokens, tokens).
        Raises:
            ConfigError: no such layer or head, or attention was not asked for.
        """
        check_number("layer", layer, self.layers, "layer")
        weights: Floats = self._needed(f"attention.{layer}", "attention")
        if head is None:
            return weights
        check_number("head", head, len(weights), "head", f"layer {layer}")
        chosen: Floats = weights[head]
        return chosen

    def candidates(self, place: int = -1, count: int = 20) -> list[Candidate]:
        """The likeliest tokens to follow the one at ``place``, best first; at most 64 are kept."""
        place = self.place(place)
        logits = self._needed("candidates.logits", "predictions")[place][:count]
        total = float(self["logsumexp"][place, TEMPERATURES.index(1.0)])
        ids = self["candidates.ids"][place]
        return [Candidate(int(id), float(logit) - total) for id, logit in zip(ids, logits, strict=False)]

    def distribution(
        self, place: int = -1, *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
    ) -> Distribution:
        """What would be drawn from after ``place`` with other settings; the order is that of ``generate``.

        Raises:
            ConfigError: a setting out of its range, no such place, or predictions were not asked for.
        """
        Sampling(temperature, top_k, top_p)
        place = self.place(place)
        logits = self._needed("candidates.logits", "predictions")[place].astype(np.float64)
        ids = self["candidates.ids"][place]
        everything = int(self.about["model"]["vocab_size"]) <= len(ids)
        if temperature == 0.0:
            best = ids[logits == logits[0]].min(keepdims=True)
            return Distribution(best, np.ones(1, np.float32), 0.0, 1, True)
        tempered, exact = (
            (logits - logits[0]) / max(temperature, SMALLEST),
            True,
        )  # of the best 0, so that none overflows
        if 0 < top_k <= len(ids):
            tempered = tempered[tempered >= tempered[top_k - 1]]
            total = _log_sum(tempered)
        elif everything:
            total = _log_sum(tempered)
        else:
            total, exact = self._log_sum(place, temperature)
            exact = exact and top_k == 0
        shares = np.exp(tempered - total)
        kept: int | None = len(shares) if everything or 0 < top_k <= len(ids) else None
        if top_p < 1.0:
            before = np.cumsum(shares) - shares
            wider = top_k > len(ids) and not everything  # then nobody knows what the k have together
            if wider or (kept is None and float(before[-1] + shares[-1]) < top_p):
                exact = False  # the set goes on, or may go on, beyond the candidates that are kept
            else:
                shares = shares[shares >= shares[max(int((before < top_p).sum()), 1) - 1]]
                kept = len(shares)
                shares = shares / shares.sum()
        rest = max(0.0, 1.0 - float(shares.sum())) if kept is None else 0.0
        return Distribution(ids[: len(shares)], shares.astype(np.float32), rest, kept, exact)

    def _log_sum(self, place: int, temperature: float) -> tuple[float, bool]:
        """``log Σ exp((logit - best) / temperature)``, and whether it is kept or lies between two that are."""
        known = np.array(self.about["temperatures"])
        sums = self["logsumexp"][place].astype(np.float64)
        near = int(np.abs(known - temperature).argmin())
        logits = self["candidates.logits"][place].astype(np.float64)
        best = float(logits[0])
        if abs(known[near] - temperature) < 1e-6:
            return float(sums[near] - best / known[near]), True
        if temperature < known[0]:  # everything but the candidates vanishes
            return _log_sum((logits - best) / max(temperature, SMALLEST)), False
        # Along 1/temperature the sum is smooth and convex; beyond 2 it is carried on along its last slope.
        inverse, above = 1 / known[::-1], (sums - best / known)[::-1]
        wanted = 1 / temperature
        if wanted < inverse[0]:
            slope = (above[1] - above[0]) / (inverse[1] - inverse[0])
            return float(above[0] + slope * (wanted - inverse[0])), False
        return float(np.interp(wanted, inverse, above)), False

    def _needed(self, name: str, group: str) -> Any:
        if name not in self.arrays:
            raise ConfigError(
                f"{name} is asked for, but the trace has none: {group} was not kept, or this kind of model has none. "
                f"Make it with keep=({group!r},) or without keep."
            )
        return self[name]

    def _repr_html_(self) -> str:
        """For notebooks: the text, coloured by surprise, and what else might have come."""
        kept = "candidates.logits" in self

        def likely(place: int, count: int) -> list[tuple[str, float]]:
            found = self.candidates(place, count) if kept else []
            return [(self.text(candidate.id), candidate.probability) for candidate in found]

        return show_text(self.about, self["logprobs"].tolist() if "logprobs" in self else None, likely)


def _log_sum(values: NDArray[np.float64]) -> float:
    best = values.max()
    return float(best + np.log(np.exp(values - best).sum()))


# ── making one ─────────────────────────────────────────────────────────────────────────────────────────────


def trace_text(
    model: TextGenerator | TextEncoder,
    source: str | Sequence[int] | Generation,
    *,
    keep: str | Iterable[str] | None = None,
    changes: Iterable[TextChange | Mapping[str, Any]] = (),
) -> TextTrace:
    """Read a text in one pass and keep what happened in it.

    A ``Generation`` is read as it was written, the prompt and then each token that was drawn, and the trace says how
    far the logits of this reading are from those of the run (``about["replay"]``): in one pass instead of token by
    token, they differ in their last digits. Of a text that slid out of its window, the last window is read.

    Args:
        source: a text, ids that are read as they are, or what ``generate`` returned.
        keep: groups of arrays (``predictions``, ``attention``, ``heads``, ``stream``, ``ledger``, ``lens``,
            ``neurons``, ``states``, ``rollout``) and patterns of taps such as ``"layer.*.attention.query"``, which are
            kept whole under ``tap.…``; ``"everything"``: all groups that the model has; None: all but ``lens``, which
            scores the vocabulary once more for every layer and so costs more than all others together.
        changes: what is switched off, patched or steered while it reads, as dataclasses or as their JSON; see ``limner.explain.changes``.
    Raises:
        ConfigError: no such group or tap; a change that the model has no place for; an encoder and a Generation.
        ContextError: the text is longer than the context window.
        TokenizerError: an id that the model does not have.
    """
    changes = read_changes(changes)
    ids, first_written, steps, notes = _text_of(model, source)
    keeping = _keeping(model, keep)
    generation = source if isinstance(source, Generation) else None
    compare = None
    if generation is not None and generation.record is not None and steps and not changes:
        chosen = generation.record.candidate_ids[[step for step, _ in steps]].clamp(0, model.tokenizer.vocab_size - 1)
        compare = ([place for _, place in steps], chosen)
    elif generation is not None:
        notes.append(
            "With changes, it is no replay of the run." if changes else "The run has no record to hold the replay to."
        )
    tap = tap_for(changes, model) if changes else NO_TAP
    seen = read(model, ids, keeping, tap=tap, compare=compare)
    about = {
        "model": describe(model),
        "run": None if generation is None else _run(generation),
        "tokens": [_token(model, id, place >= first_written) for place, id in enumerate(ids)],
        "replay": _distance(generation, steps, seen),
        "changes": [change.to_dict() for change in changes],
        "temperatures": TEMPERATURES,
        "texts": _texts(model, seen),
        "notes": notes,
    }
    arrays = {"ids": np.array(ids, np.int32), **seen.arrays}
    return TextTrace("text", about, arrays, seen.scales)


def _text_of(
    model: TextGenerator | TextEncoder, source: str | Sequence[int] | Generation
) -> tuple[list[int], int, list[tuple[int, int]], list[str]]:
    """The ids to read, where what was written begins, which step was drawn after which place, and what to say."""
    if not isinstance(source, Generation):
        ids = read_ids(model, source)
        return ids, len(ids), [], []
    if isinstance(model, TextEncoder):
        raise ConfigError("the source is a Generation, but an encoder does not write. Give a text or ids.")
    model.check_ids([*source.prompt_ids, *source.ids])
    window = model.slid(list(source.prompt_ids))
    dropped, first_step, first_place = len(source.prompt_ids) - len(window), 0, len(window) - 1
    for step, id in enumerate(source.ids):
        if len(window) > model.context_length:
            before = len(window)
            window = model.slid(window)
            dropped += before - len(window)
            first_step, first_place = step, len(window) - 1
        window.append(id)
    notes = []
    if dropped:
        total = len(source.prompt_ids) + len(source.ids)
        notes.append(
            f"The text has {total} tokens and slid through a window of {model.context_length}: this is its last window."
        )
    came = len(source.ids)
    if len(window) > model.context_length:
        window.pop()
        came -= 1
        notes.append("The last token of the text filled the context window and was not read.")
    opening = list(model.tokenizer.opening)
    kept = len(opening) if dropped and window[: len(opening)] == opening else 0  # it stays in front when a text slides
    steps = [(first_step + number, place) for number, place in enumerate(range(first_place, len(window)))]
    return window, len(window) - min(came, len(window) - kept), [s for s in steps if s[0] < len(source.ids)], notes


def groups_of(model: TextGenerator | TextEncoder) -> set[str]:
    """The groups of arrays that a model has; what ``keep="everything"`` keeps."""
    possible = set(GROUPS)
    if isinstance(model, TextEncoder):
        possible -= {"ledger", "lens"}
    elif no_ledger(model.model) is not None:
        possible -= {"ledger"}
    if model.model.head is None:
        possible -= set(OF_WRITERS)
    return possible


def _keeping(model: TextGenerator | TextEncoder, keep: str | Iterable[str] | None) -> Keeping:
    possible = groups_of(model)
    if keep is None:
        return _asked(possible - {"lens"})
    if keep == EVERYTHING:
        return _asked(possible)
    asked = [keep] if isinstance(keep, str) else list(keep)
    groups = [name for name in asked if name in GROUPS]
    taps = tuple(name for name in asked if name not in GROUPS)
    for name in taps:
        if not any(letter in name for letter in ".*?[") and name not in BARE:
            raise ConfigError(
                f"keep is {name!r}, but it names groups of arrays or patterns of taps (docs/taps.md). "
                f"{suggest(name, GROUPS)}"
            )
    for name in groups:
        if name not in possible:
            reason = no_ledger(model.model) if name == "ledger" and isinstance(model, TextGenerator) else None
            raise ConfigError(
                f"keep is {name!r}, but this model has none: {reason or 'it reads and does not say what comes next'}. "
                "Leave it out."
            )
    return _asked(groups, taps)


def _asked(groups: Iterable[str], taps: tuple[str, ...] = ()) -> Keeping:
    named: dict[str, Any] = dict.fromkeys(groups, True)
    return Keeping(**named, taps=taps)


def _distance(generation: Generation | None, steps: list[tuple[int, int]], seen: Reading) -> dict[str, Any] | None:
    """How far a reading is from the run that it replays."""
    if generation is None or generation.record is None or seen.compared is None:
        return None
    rows = [step for step, _ in steps]
    record = generation.record
    logits = record.candidate_logprobs[rows] + record.logsumexp[rows, None]
    assert seen.winners is not None
    return {
        "largest_difference": float((logits - seen.compared).abs().max()),
        "agreement": float((record.candidate_ids[rows, 0] == seen.winners).float().mean()),
        "tokens": len(rows),
    }


def _texts(model: TextGenerator | TextEncoder, seen: Reading) -> dict[str, str]:
    """What every id among the candidates stands for, so that a trace can be shown without its tokenizer."""
    named = [seen.arrays[name].ravel() for name in ("candidates.ids", "lens.ids") if name in seen.arrays]
    ids = np.unique(np.concatenate(named)).tolist() if named else []
    return {str(id): model.token_text(id) for id in ids}


def _token(model: TextGenerator | TextEncoder, id: int, written: bool) -> dict[str, Any]:
    return {"id": id, "text": model.token_text(id), "special": model.tokenizer.is_special(id), "written": written}


def _run(generation: Generation) -> dict[str, Any]:
    run = {
        "prompt": generation.prompt, "seed": generation.seed, "settings": generation.settings.to_dict(),
        "finish": generation.finish, "text": generation.text,
    }  # fmt: skip
    if generation.branch is not None:
        run["branch"] = generation.branch.to_dict()
    return run


def describe(model: TextGenerator | TextEncoder) -> dict[str, Any]:
    """A model as a trace names it: plain JSON values."""
    config, weights = model.model.config, model.model.embedding.token.weight
    attention = config.stack.blocks[0].attention
    return {
        "name": str(model.card.get("name") or "a model"),
        "sha256": str(model.card.get("sha256") or ""),
        "family": "encoder" if config.decoder is None else "decoder",
        "parameters": sum(parameter.numel() for parameter in model.model.parameters()),
        "layers": config.stack.num_layers,
        "heads": max(block.attention.num_heads for block in config.stack.blocks),
        "kv_heads": attention.num_kv_heads,
        "dim": config.dim,
        "vocab_size": model.tokenizer.vocab_size,
        "context_length": config.context_length,
        "positions": _positions(config),
        "dtype": str(weights.dtype).removeprefix("torch."),
        "device": str(weights.device),
        "checkpoint": model.card.get("checkpoint"),
    }


def _positions(config: ModelConfig) -> str:
    for block in config.stack.blocks:
        match block.attention.positions:
            case RotaryPositions():
                return "rotary"
            case ALiBiPositions():
                return "alibi"
            case _:
                pass
    match config.embedding.positions:
        case LearnedPositions():
            return "learned"
        case SinusoidalPositions():
            return "sinusoidal"
        case _:
            return "none"
