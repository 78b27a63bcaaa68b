"""How well a model predicts: loss, perplexity and bits per byte of texts, and which of two sentences it prefers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.core.errors import ConfigError, DataError, WeightsError
from limner.core.output import next_token_loss
from limner.data.streams import BrokenFileError, open_text
from limner.text.generator import TextGenerator

PASS_TOKENS = 8192  # in one forward pass
POOL_TOKENS = 16 * PASS_TOKENS  # windows are sorted by length among so many, so that little is padding
LOGITS = 2**24  # at once: 64 MB in float32


@dataclass(frozen=True)
class Score:
    """How likely a text is.

    Attributes:
        nats: minus the natural logarithm of its probability.
        tokens: how many were predicted.
        bytes: of the text they stand for, in UTF-8.
    """

    nats: float
    tokens: int
    bytes: int


@dataclass(frozen=True)
class Evaluation:
    """How well a model predicts some texts.

    Attributes:
        loss: nats per token, the mean over all tokens of all texts.
        perplexity: e to the power of the loss.
        bits_per_byte: bits for each byte of the text, which does not depend on how it is cut into tokens.
    """

    loss: float
    perplexity: float
    bits_per_byte: float
    tokens: int
    bytes: int
    documents: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def score_texts(
    generator: TextGenerator,
    texts: Iterable[str],
    *,
    context: int | None = None,
    stride: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Score]:
    """Each text's score, in order; each is predicted by itself, after the token that begins texts.

    A text longer than the context is read in windows that overlap: each token is scored once, in the window
    that gives it the most context, at least ``context - stride`` tokens of it. (A tokenizer without a token that
    begins texts leaves each text's first token unpredicted; neither it nor its bytes count.)

    Args:
        context: tokens in a window; None: all the model takes.
        stride: tokens scored in each window after the first; None: half the context.
        progress: called after each pass with the bytes of text scored so far, in proportion to their tokens.
    Raises:
        ConfigError: context or stride out of range.
    Source: strided windows, Baevski & Auli 2018 (arXiv:1809.10853), section 4.
    """
    context, stride = _check_windows(generator, context, stride)
    pool: list[tuple[list[int], int, int]] = []  # texts not scored yet: ids, first one to score, bytes
    waiting = done = 0
    tell = progress or (lambda _: None)
    for text in texts:
        ids, first, size = _read(generator, text)
        pool.append((ids, first, size))
        waiting += len(ids)
        if waiting >= POOL_TOKENS:
            yield from _score_pool(generator, pool, context, stride, partial(_ahead, tell, done))
            done += sum(size for _, _, size in pool)
            pool, waiting = [], 0
    yield from _score_pool(generator, pool, context, stride, partial(_ahead, tell, done))


def _ahead(tell: Callable[[int], None], before: int, now: int) -> None:
    tell(before + now)


def evaluate(
    generator: TextGenerator,
    texts: Iterable[str],
    *,
    context: int | None = None,
    stride: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Loss, perplexity and bits per byte of texts; see ``score_texts`` for how each is predicted.

    Args:
        progress: as for ``score_texts``.
    Raises:
        ConfigError: context or stride out of range.
        DataError: the texts have no token.
        WeightsError: the loss is no number.
    """
    nats, tokens, size, documents = 0.0, 0, 0, 0
    for score in score_texts(generator, texts, context=context, stride=stride, progress=progress):
        nats, tokens, size, documents = nats + score.nats, tokens + score.tokens, size + score.bytes, documents + 1
    if tokens == 0:
        raise DataError(
            f"the data has {documents} texts with 0 tokens to predict, but at least 1 is needed. Give more."
        )
    loss = nats / tokens
    if not math.isfinite(loss):
        raise WeightsError(f"the loss is {loss}, but it must be a number. The weights are damaged; load other ones.")
    perplexity = math.exp(min(loss, 700.0))  # beyond it there is no float
    return Evaluation(loss, perplexity, nats / math.log(2) / max(size, 1), tokens, size, documents)


def _check_windows(generator: TextGenerator, context: int | None, stride: int | None) -> tuple[int, int]:
    most = generator.context_length
    context = most if context is None else context
    if not 1 <= context <= most:
        raise ConfigError(f"context is {context}, but the model reads 1 to {most} tokens at once. Choose one of these.")
    stride = max(context // 2, 1) if stride is None else stride
    if not 1 <= stride <= context:
        raise ConfigError(f"stride is {stride}, but it is 1 to {context}, the context. Choose a smaller one.")
    return context, stride


def _read(generator: TextGenerator, text: str) -> tuple[list[int], int, int]:
    """A text's ids with what begins it, the place of the first one to score, and the bytes of those scored."""
    tokenizer = generator.tokenizer
    ids = tokenizer.encode(text)
    size = len(text.encode())
    opening = tokenizer.opening or [id for id in [tokenizer.begin_id] if id is not None]
    if opening or not ids:
        return [*opening, *ids], len(opening), size
    return ids, 1, size - len(tokenizer.token_bytes(ids[0]))


@dataclass(frozen=True)
class _Window:
    """Part of a text: what the model reads, and the targets of the last ``len(targets)`` places."""

    text: int
    inputs: list[int]
    targets: list[int]


def _windows(text: int, ids: list[int], first: int, context: int, stride: int) -> Iterator[_Window]:
    done = first  # the next id to score
    end = min(context, len(ids) - 1)  # ids[end] is the last target of the window
    while done < len(ids):
        yield _Window(text, ids[max(end - context, 0) : end], ids[done : end + 1])
        done, end = end + 1, min(end + stride, len(ids) - 1)


@torch.inference_mode()
def _score_pool(
    generator: TextGenerator,
    pool: Sequence[tuple[list[int], int, int]],
    context: int,
    stride: int,
    tell: Callable[[int], None],
) -> list[Score]:
    windows = [
        window for text, (ids, first, _) in enumerate(pool) for window in _windows(text, ids, first, context, stride)
    ]
    windows.sort(key=lambda window: len(window.inputs), reverse=True)
    nats, done = [0.0] * len(pool), 0.0
    while windows:
        rows = max(PASS_TOKENS // len(windows[0].inputs), 1)
        for window, loss in zip(windows[:rows], _losses(generator, windows[:rows]), strict=True):
            nats[window.text] += loss
            ids, first, size = pool[window.text]
            done += size * len(window.targets) / (len(ids) - first)
        tell(round(done))
        windows = windows[rows:]
    return [Score(nats[text], max(len(ids) - first, 0), size) for text, (ids, first, size) in enumerate(pool)]


def _losses(generator: TextGenerator, windows: Sequence[_Window]) -> list[float]:
    """Nats of each window's targets. Shorter windows are padded at the end, where nothing looks back from."""
    longest = len(windows[0].inputs)
    device = generator.device
    ids = torch.tensor([window.inputs + [0] * (longest - len(window.inputs)) for window in windows], device=device)
    hidden = generator.model.hidden(ids)
    scored = torch.tensor([len(window.targets) for window in windows], device=device)
    stop = torch.tensor([len(window.inputs) for window in windows], device=device)
    place = torch.arange(longest, device=device)
    chosen = (place < stop[:, None]) & (place >= (stop - scored)[:, None])
    vectors = hidden[chosen]  # in the order of the rows
    targets = torch.tensor([id for window in windows for id in window.targets], device=device)
    size = max(LOGITS // generator.model.config.vocab_size, 1)
    losses: list[Tensor] = []
    for start in range(0, len(targets), size):
        logits = generator.model.logits(vectors[None, start : start + size])
        losses.append(next_token_loss(logits, targets[None, start : start + size], reduction="none")[0])
    per_token = torch.cat(losses).double()
    parts: Sequence[Tensor] = torch.split(per_token, scored.tolist())
    return [float(part.sum()) for part in parts]


# ── minimal pairs ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Pair:
    """Two sentences that differ in little, of which one is right.

    Attributes:
        field: what the pair is about, where the file says it.
    """

    good: str
    bad: str
    field: str | None = None


@dataclass(frozen=True)
class Judgement:
    """The share of pairs whose right sentence the model finds likelier, over all and by field."""

    accuracy: float
    pairs: int
    by_field: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"pairs_accuracy": self.accuracy, "pairs": self.pairs, "pairs_by_field": self.by_field}


def read_pairs(path: Path | str) -> list[Pair]:
    """Pairs from a .jsonl file, plain or compressed: ``good`` and ``bad``, and if it likes ``field``.

    BLiMP's own names, ``sentence_good``, ``sentence_bad`` and ``linguistics_term``, are read too.

    Raises:
        DataError: the file is missing, empty or damaged, or a line has no pair.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} is not there, but a file of pairs was asked for. Check the path.")
    pairs = []
    number = 0
    try:
        with open_text(path) as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    pairs.append(_pair(json.loads(line), f"line {number} of {path}"))
    except BrokenFileError as error:
        raise DataError(f"{path} is damaged ({error}), but pairs are one JSON object a line. Fetch it again.") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(
            f"line {number or 1} of {path} is no JSON ({error}), but pairs are one JSON object a line. Correct it."
        ) from None
    if not pairs:
        raise DataError(f"{path} has 0 pairs, but at least 1 is needed. Give a file with good and bad on each line.")
    return pairs


def _pair(entry: Any, where: str) -> Pair:
    entry = entry if isinstance(entry, dict) else {}
    good, bad = entry.get("good", entry.get("sentence_good")), entry.get("bad", entry.get("sentence_bad"))
    if not isinstance(good, str) or not isinstance(bad, str):
        keys = ", ".join(sorted(entry)) or "none"
        raise DataError(f"{where} has the keys {keys}, but good and bad are needed, each a text. Add them.")
    field = entry.get("field", entry.get("linguistics_term"))
    return Pair(good, bad, None if field is None else str(field))


def judge_pairs(
    generator: TextGenerator, pairs: Sequence[Pair], *, progress: Callable[[int], None] | None = None
) -> Judgement:
    """Which sentence of each pair the model finds likelier, by the sum of its tokens' log-probabilities.

    Equal ones count as wrong.

    Args:
        progress: called with the number of pairs judged so far, as near as can be told.
    Source: Warstadt et al. 2020 (BLiMP), arXiv:1912.00582, section 3.
    """
    sentences = [sentence for pair in pairs for sentence in (pair.good, pair.bad)]
    whole = sum(len(sentence.encode()) for sentence in sentences)

    def tell(size: int) -> None:
        if progress is not None:
            progress(len(pairs) * size // max(whole, 1))

    scores = score_texts(generator, sentences, progress=tell)
    right: dict[str | None, list[bool]] = {}
    for pair in pairs:
        good, bad = next(scores), next(scores)
        right.setdefault(pair.field, []).append(good.nats < bad.nats)
    every = [one for group in right.values() for one in group]
    by_field = {name: sum(group) / len(group) for name, group in sorted(right.items(), key=str) if name is not None}
    return Judgement(sum(every) / len(every), len(every), by_field)
