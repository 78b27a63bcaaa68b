"""One forward pass, and what a trace keeps of it.

Everything is made small as it comes: a layer's attention becomes bytes before the next layer is computed, a sub-layer's
share of a logit one number a token, and the logits are worked through a few rows at a time. Nothing is formed that
nobody asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from limner.core.errors import ConfigError
from limner.core.layers import Block
from limner.core.tap import NO_TAP, Chain, Tap
from limner.core.transformer import Transformer
from limner.explain.ledger import Book, behind, head_matrix, stack_of
from limner.explain.trace import as_bytes
from limner.models import bfloat16_helps
from limner.text.sampling import top_candidates

if TYPE_CHECKING:
    from limner.explain.trace import Array
    from limner.text.encoder import TextEncoder
    from limner.text.generator import TextGenerator

CANDIDATES = 64  # likeliest next tokens kept for each place
LENS = 5  # and after each layer
NEURONS = 8  # most active inner values kept for each place
TEMPERATURES = [n / 10 for n in range(1, 21)]
BLOCK = 2**23  # logits held at a time, 32 MB
ROWS = 128  # a multiple of this many places at a time, if so many fit: products of odd heights take half as long again
INNER = 2**17  # logits worked on at a time, so that they stay in the processor's cache
WIDE = 2**14  # tokens that the quick lens scores at a time
SCREENED = 16  # candidates that the quick lens scores again exactly
QUICK_FROM = 2**29  # products from which the lens gains by being computed in bfloat16 first
SMALL = 128  # up to here principal components come from an exact decomposition
HALF = 65504.0  # the largest float16
ROOT = 1.1e-19  # squares of less are no normal float32


@dataclass(frozen=True)
class Keeping:
    """What is asked for; each but ``taps`` is a group of a trace's arrays (docs/traces.md).

    Attributes:
        taps: patterns of names in docs/taps.md; what matches is kept whole, as float16, whole numbers as int32.
    """

    predictions: bool = False
    attention: bool = False
    heads: bool = False
    stream: bool = False
    ledger: bool = False
    lens: bool = False
    neurons: bool = False
    states: bool = False
    rollout: bool = False
    taps: tuple[str, ...] = ()


GROUPS = tuple(entry.name for entry in fields(Keeping) if entry.name != "taps")


@dataclass
class Reading:
    """What one pass left.

    Attributes:
        arrays, scales: as ``Trace`` has them.
        best: the likeliest next token of each place whose logits were computed, shape (rows,); the last row is the
            last place.
        compared: logits of the tokens that ``read`` was told to compare, shape (places, tokens).
        winners: the likeliest token at each of those places, shape (places,).
    """

    arrays: dict[str, Array] = field(default_factory=dict)
    scales: dict[str, float] = field(default_factory=dict)
    best: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    compared: Tensor | None = None
    winners: Tensor | None = None


@torch.inference_mode()
def read(
    front: TextGenerator | TextEncoder,
    ids: Sequence[int],
    keeping: Keeping,
    *,
    targets: Sequence[int] | None = None,
    tap: Tap = NO_TAP,
    compare: tuple[Sequence[int], Tensor] | None = None,
) -> Reading:
    """Read a text in one pass, and keep what is asked for.

    Args:
        targets: for lens and ledger the token that really follows each place; the last may be -1 for the likeliest.
            None: the text's own, and -1.
        tap: changes the pass before anything is kept.
        compare: places, and for each of them tokens whose logits to return, ids of shape (places, tokens).
    Raises:
        ConfigError: a pattern of taps that no step has.
    """
    model = front.model
    device = front.device
    rows = torch.tensor(list(ids), device=device)
    if targets is None:
        targets = [*ids[1:], -1]
    goals = torch.tensor(list(targets), device=device)
    made = Reading()
    book = Book(model, goals) if keeping.ledger else None
    watch = _Watch(model, keeping, book, made)
    hidden = model.hidden(rows[None], tap=Chain(tap, _Watcher(watch)))[0]
    decoder = model.config.decoder is not None
    scored = model.head is not None and (
        keeping.predictions or keeping.lens or compare is not None or keeping.ledger or "logits" in watch.raw_wanted
    )
    if scored:
        through = Chain(tap, _Watcher(watch))
        _predict(front, hidden, rows, goals, keeping, made, watch, book, compare, through, decoder=decoder)
    watch.finish()
    return made


# ── while it goes by ───────────────────────────────────────────────────────────────────────────────────────


class _Watcher(Tap):
    """Hands each step to the watch, by its full name."""

    def __init__(self, watch: _Watch, path: str = "") -> None:
        self.watch, self.path = watch, path

    def full(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def __call__(self, name: str, value: Tensor) -> Tensor:
        self.watch.see(self.full(name), value)
        return value

    def at(self, name: str) -> Tap:
        return _Watcher(self.watch, self.full(name))

    def wants(self, name: str) -> bool:
        return self.watch.wants(self.full(name))


class _Watch:
    """Everything that is kept of a pass, made small as it comes."""

    def __init__(self, model: Transformer, keeping: Keeping, book: Book | None, made: Reading) -> None:
        self.keeping, self.book, self.made = keeping, book, made
        self.blocks = [cast("Block", block) for block in stack_of(model).layers]
        self.raw_wanted = {name for name in ("logits",) if any(fnmatchcase(name, p) for p in keeping.taps)}
        self.adds = keeping.stream or keeping.ledger  # what each sub-layer adds is looked at
        self.splits = keeping.heads or keeping.ledger  # and what each head does
        self.stream: Tensor | None = None  # (time, dim), in the model's dtype
        self.mixed: Tensor | None = None
        self.output: Tensor | None = None
        self.added: list[Tensor] = []
        self.lengths: list[Tensor] = []
        self.residuals: list[Tensor] = []
        self.maps: list[Tensor] = []
        self.neurons: list[tuple[Tensor, Tensor]] = []
        self.rolled: Tensor | None = None
        self.raw: dict[str, list[Tensor]] = {}

    def wants(self, full: str) -> bool:
        if full.endswith("attention.weights") and (self.keeping.attention or self.keeping.rollout):
            return True
        return self._raw(full)

    def _raw(self, full: str) -> bool:
        return any(fnmatchcase(full, pattern) for pattern in self.keeping.taps)

    def see(self, full: str, value: Tensor) -> None:
        if self.keeping.taps and self._raw(full):
            whole = (value[0] if value.dim() > 2 else value).detach()
            kept = _half(whole) if whole.is_floating_point() else whole.int()
            self.raw.setdefault(full, []).append(kept.cpu())
        if full == "embedding.output":
            self._enter(value[0])
        elif full.startswith("layer."):
            _, layer, step = full.split(".", 2)
            self._layer(int(layer), step, value)

    def _enter(self, x: Tensor) -> None:
        self.stream = x
        if self.adds:
            self._add(x.float())
        self._stand(x)

    def _layer(self, layer: int, step: str, value: Tensor) -> None:
        match step:
            case "attention.weights":
                self._weights(layer, value[0])
            case "attention.mixed":
                self.mixed = value[0]
            case "attention.output":
                self.output = value[0]
                if self.splits:
                    self._heads(layer)
            case "feed_forward.hidden":
                if self.keeping.neurons:
                    self._neurons(value[0])
            case "feed_forward.output":
                self.output = value[0]
            case "residual_attention" | "residual":
                self._sum(layer, value[0])
                if step == "residual":
                    self._stand(value[0])
            case _:
                pass

    def _weights(self, layer: int, weights: Tensor) -> None:
        if self.keeping.attention:
            name = f"attention.{layer}"
            self.made.arrays[name], self.made.scales[name] = as_bytes(weights)
        if self.keeping.rollout:
            # Half of what a place gives on is its own (Abnar & Zuidema 2020, arXiv:2005.00928).
            mean = weights.float().mean(dim=0).mul_(0.5)
            mean.diagonal().add_(0.5)
            self.rolled = mean if self.rolled is None else mean @ self.rolled

    def _heads(self, layer: int) -> None:
        """What each head gives to the stream: its values mixed, through its own columns of the output's matrix."""
        assert self.mixed is not None
        assert self.output is not None
        block, mixed = self.blocks[layer], self.mixed.float()
        heads, _, head_dim = mixed.shape
        columns = block.attention.output.weight.float().view(-1, heads, head_dim).permute(1, 2, 0)
        columns, held = behind(block.attention_norm_after, self.output, columns)
        held = held * block.config.residual_scale
        if self.keeping.heads:
            lengths = lengths_through(mixed, columns) * held[:, 0]
            self.made.arrays[f"attention_output.{layer}"] = _half(lengths).cpu().numpy()
        if self.book is not None:
            self.book.add_heads(mixed, columns, held)

    def _neurons(self, hidden: Tensor) -> None:
        places = hidden.abs().topk(min(NEURONS, hidden.shape[-1]), dim=-1).indices
        self.neurons.append((places.int(), _half(hidden.gather(1, places))))

    def _sum(self, layer: int, x: Tensor) -> None:
        """The stream after a sub-layer; where it is no plain sum, the sub-layer's own output was added."""
        assert self.stream is not None
        if self.adds:
            config = self.blocks[layer].config
            if config.placement == "post":
                assert self.output is not None
                self._add(self.output.float() * config.residual_scale)
            else:
                self._add(x.float() - self.stream.float())
        self.stream = x

    def _add(self, contribution: Tensor) -> None:
        if self.keeping.stream:
            self.added.append(contribution.norm(dim=-1))
        if self.book is not None:
            self.book.add(contribution)

    def _stand(self, x: Tensor) -> None:
        """The stream after a whole layer."""
        if self.keeping.stream:
            self.lengths.append(x.float().norm(dim=-1))
        if self.keeping.states:
            self.maps.append(plane(x, self.maps[-1] if self.maps else None))
        if self.keeping.lens:
            self.residuals.append(x)

    def finish(self) -> None:
        """Put down what could not be before the end."""
        arrays, scales = self.made.arrays, self.made.scales
        if self.keeping.stream:
            arrays["stream.norm"] = _numbers(torch.stack(self.added))
            arrays["stream.length"] = _numbers(torch.stack(self.lengths))
        if self.keeping.states:
            arrays["states.map"] = _half(torch.stack(self.maps)).cpu().numpy()
        if self.keeping.neurons:
            widest = max(ids.shape[1] for ids, _ in self.neurons)
            padded = [(F.pad(ids, (0, widest - ids.shape[1])), F.pad(v, (0, widest - v.shape[1])))
                      for ids, v in self.neurons]  # fmt: skip
            arrays["neurons.ids"] = torch.stack([ids for ids, _ in padded]).cpu().numpy()
            arrays["neurons.values"] = torch.stack([values for _, values in padded]).cpu().numpy()
        if self.rolled is not None:
            arrays["rollout"], scales["rollout"] = as_bytes(self.rolled)
        for name, parts in self.raw.items():
            # Logits come a few rows at a time. What comes once for each kind of layer is mostly the same of all kinds.
            values = [torch.cat(parts)] if name == "logits" else _different(parts)
            for number, value in enumerate(values):
                arrays[f"tap.{name}" if len(values) == 1 else f"tap.{name}.{number}"] = value.numpy()
        for pattern in self.keeping.taps:
            if not any(fnmatchcase(name, pattern) for name in self.raw):
                raise ConfigError(
                    f"keep is {pattern!r}, but no step of this model has such a name. Choose one that docs/taps.md lists."
                )


def lengths_through(x: Tensor, columns: Tensor) -> Tensor:
    """How long vectors are behind a matrix: ``(x @ columns).norm(dim=-1)``.

    For many of them no product is formed: ‖x C‖² = x (C Cᵀ) xᵀ, in float64, so that nothing cancels.

    Args:
        x: shape (heads, time, head_dim), float32.
        columns: shape (heads, head_dim, dim), float32.
    Returns:
        Shape (heads, time), float32.
    """
    if x.shape[1] <= 2 * x.shape[2]:
        return torch.bmm(x, columns).square().sum(dim=-1).sqrt()
    wide, x = columns.double(), x.double()
    return torch.bmm(x, torch.bmm(wide, wide.mT)).mul(x).sum(dim=-1).clamp(min=0).sqrt().float()


def _half(values: Tensor) -> Tensor:
    return values.float().clamp(-HALF, HALF).half()


def _different(values: Sequence[Tensor]) -> list[Tensor]:
    """Each of them once, in their order."""
    found: list[Tensor] = []
    for value in values:
        if not any(torch.equal(value, other) for other in found):
            found.append(value)
    return found


def _numbers(values: Tensor) -> Array:
    made: Array = values.float().cpu().numpy()
    return made


def plane(x: Tensor, before: Tensor | None = None) -> Tensor:
    """Vectors as points: along the two directions in which they differ most (principal components).

    Args:
        x: shape (time, dim).
        before: the points of the layer before; the axes are turned over so that these stand near them.
    Returns:
        Shape (time, 2), float32.
    """
    x = x.float()
    x = x - x.mean(dim=0)
    if min(x.shape) <= SMALL:
        tall = x.shape[0] > x.shape[1]
        square = (x.T @ x if tall else x @ x.T).double()
        values, vectors = torch.linalg.eigh(square)
        best = vectors[:, -2:].flip(-1).float()
        points = x @ best if tall else best * values[-2:].flip(-1).clamp(min=0).sqrt().float()
    else:
        # Subspace iteration (Halko et al. 2011, arXiv:0909.4061), from a start that is the same every time.
        basis = torch.randn(x.shape[1], 8, generator=torch.Generator().manual_seed(0)).to(x.device)
        for _ in range(8):
            basis = x.T @ (x @ basis)
            axes, lengths = _axes(basis)
            basis = basis @ torch.where(lengths > 0, axes / lengths, 0.0).float()
        points = x @ basis
        points = points @ _axes(points)[0][:, :2].float()
    points = F.pad(points, (0, 2 - points.shape[1]))
    if before is None:
        outermost = points.gather(0, points.abs().argmax(dim=0, keepdim=True))[0]
    else:
        outermost = (points * before).sum(dim=0)
    return torch.where(outermost < 0, -points, points)


def _axes(columns: Tensor) -> tuple[Tensor, Tensor]:
    """How to turn a few columns so that they are at right angles, longest first: the turn, and their lengths then.

    A decomposition of their small square, where LAPACK's of the tall matrix itself waits for its threads.

    Args:
        columns: shape (time, few).
    Returns:
        Shapes (few, few) and (few,), float64; a length of 0 where there is nothing but rounding.
    """
    tall = columns.double()
    squares, axes = torch.linalg.eigh(tall.T @ tall)
    squares, axes = squares.flip(0), axes.flip(1)
    return axes, squares.clamp(min=0).sqrt().where(squares > 1e-12 * squares[0], 0.0)


# ── what would come next ───────────────────────────────────────────────────────────────────────────────────


def _predict(
    front: TextGenerator | TextEncoder,
    hidden: Tensor,
    ids: Tensor,
    goals: Tensor,
    keeping: Keeping,
    made: Reading,
    watch: _Watch,
    book: Book | None,
    compare: tuple[Sequence[int], Tensor] | None,
    tap: Tap,
    *,
    decoder: bool,
) -> None:
    """Logits, a few rows at a time, and everything that is read off them."""
    model, vocab_size = front.model, front.tokenizer.vocab_size
    time = len(hidden)
    wanted = goals if decoder else ids
    kept = _Columns(time, vocab_size, hidden.device) if keeping.predictions or keeping.lens else None
    best = torch.empty(time, dtype=torch.long, device=hidden.device)
    of_goal = torch.empty(time, device=hidden.device)
    asked: dict[int, Tensor] = {}
    if compare is not None:
        made.compared = torch.empty(compare[1].shape)
        asked = dict(zip(compare[0], compare[1], strict=True))
        order = {place: number for number, place in enumerate(compare[0])}
    step = _rows(vocab_size)
    for start in range(0, time, step):
        part = slice(start, min(start + step, time))
        logits = model.logits(hidden[None, part], tap=tap)[0, :, :vocab_size].float()
        best[part] = logits.argmax(dim=-1) if kept is None else kept.add(logits, start)
        aims = wanted[part].clone()
        aims[aims < 0] = best[part][aims < 0]
        of_goal[part] = logits.gather(1, aims[:, None])[:, 0]
        for place in [place for place in asked if part.start <= place < part.stop]:
            assert made.compared is not None
            made.compared[order[place]] = logits[place - part.start, asked[place].to(logits.device).long()].cpu()
    made.best = best
    if compare is not None:
        made.winners = best[torch.tensor(list(compare[0]), dtype=torch.long, device=best.device)].cpu()
    if kept is not None:
        logprob = of_goal - kept.log_sums[:, TEMPERATURES.index(1.0)]
        if keeping.predictions:
            made.arrays.update(kept.arrays())
            before = torch.cat((logprob.new_zeros(1), logprob[:-1])) if decoder else logprob
            made.arrays["logprobs"] = _numbers(before)
        if keeping.lens:
            made.arrays.update(_lens(front, watch.residuals, torch.where(goals < 0, best, goals), kept, logprob))
    if book is not None:
        assert watch.stream is not None
        shares, heads = book.close(watch.stream, of_goal, int(best[-1]))
        made.arrays["ledger.logit"], made.arrays["ledger.heads"] = _numbers(shares), _numbers(heads)


def _rows(vocab_size: int) -> int:
    """How many places' logits are worked on at a time."""
    most = BLOCK // vocab_size
    return max(1, most - most % ROWS if most > ROWS else most)


class _Columns:
    """The next-token distributions of all places: what a browser needs to show them exactly."""

    def __init__(self, time: int, vocab_size: int, device: torch.device) -> None:
        width = min(CANDIDATES, vocab_size)
        self.values = torch.empty(time, width, device=device)
        self.ids = torch.empty(time, width, dtype=torch.int32, device=device)
        self.log_sums = torch.empty(time, len(TEMPERATURES), device=device)
        self.entropy = torch.empty(time, device=device)

    def add(self, logits: Tensor, start: int) -> Tensor:
        """Note the distributions of some places, from logits of shape (rows, vocab_size); the likeliest token of each."""
        values, ids = top_candidates(logits, self.values.shape[1])
        end = start + len(logits)
        self.values[start:end], self.ids[start:end] = values, ids.int()
        step = max(1, INNER // logits.shape[1])
        for inner in range(0, len(logits), step):
            part = slice(start + inner, min(start + inner + step, end))
            self.log_sums[part], self.entropy[part] = log_sums(logits[inner : inner + step])
        return ids.masked_fill(values < values[:, :1], logits.shape[1]).amin(dim=1)

    def arrays(self) -> dict[str, Array]:
        return {
            "candidates.ids": self.ids.cpu().numpy(), "candidates.logits": _numbers(self.values),
            "logsumexp": _numbers(self.log_sums), "entropy": _numbers(self.entropy),
        }  # fmt: skip


def log_sums(logits: Tensor) -> tuple[Tensor, Tensor]:
    """``log Σ exp(logit / temperature)`` at each of TEMPERATURES, and the entropy at temperature 1, in bits.

    Half of the exponentials are squares of others: half the temperature is twice the exponent.

    Args:
        logits: float32, shape (rows, vocab_size).
    Returns:
        Shapes (rows, temperatures) and (rows,).
    """
    best = logits.amax(dim=-1, keepdim=True)
    below = logits - best
    sums = logits.new_empty(len(logits), len(TEMPERATURES))
    entropy = logits.new_empty(len(logits))
    powers = torch.empty_like(below)
    for tenths in range(len(TEMPERATURES) // 2 + 1, len(TEMPERATURES) + 1):
        torch.mul(below, 10 / tenths, out=powers).exp_()
        sums[:, tenths - 1] = powers.sum(dim=-1)
        while tenths % 2 == 0:
            tenths //= 2
            if tenths <= 5:  # what would be too small for a normal number takes a processor many times as long
                F.threshold(powers, ROOT, 0.0, inplace=True)
            powers.mul_(powers)
            sums[:, tenths - 1] = powers.sum(dim=-1)
            if tenths == 10:
                entropy = sums[:, 9].log() - torch.linalg.vecdot(powers, below) / sums[:, 9]
    temperatures = torch.tensor(TEMPERATURES, device=logits.device)
    return sums.log() + best / temperatures, entropy / math.log(2)


# ── the logit lens ─────────────────────────────────────────────────────────────────────────────────────────


def _lens(
    front: TextGenerator | TextEncoder, residuals: list[Tensor], goals: Tensor, own: _Columns, logprob: Tensor
) -> dict[str, Array]:
    """What each layer would say next, were it the last; the last is, and has been computed already.

    Source: nostalgebraist 2020, "interpreting GPT: the logit lens".
    """
    model, vocab_size = front.model, front.tokenizer.vocab_size
    norm = stack_of(model).final_norm
    earlier = torch.cat(residuals[:-1])
    normed = earlier if norm is None else cast("Tensor", norm(earlier))
    repeated = goals.repeat(len(residuals) - 1)
    matrix = head_matrix(model)
    plain = model.head is not None and model.head.transform is None and matrix.dtype == torch.float32
    pays = len(normed) * matrix.numel() >= QUICK_FROM and vocab_size > 2 * SCREENED
    score = _screened if plain and pays and bfloat16_helps(normed.device) else _scored
    ids, logits, sums, actual = score(model, normed, repeated, vocab_size)
    shape = (len(residuals) - 1, len(goals))
    best = torch.cat((ids.view(*shape, -1).int(), own.ids[None, :, : ids.shape[1]]))
    total = own.log_sums[:, TEMPERATURES.index(1.0)]
    last = own.values[:, : ids.shape[1]] - total[:, None]
    return {
        "lens.ids": best.cpu().numpy(),
        "lens.logprobs": _numbers(torch.cat(((logits - sums[:, None]).view(*shape, -1), last[None]))),
        "lens.actual": _numbers(torch.cat(((actual - sums).view(shape), logprob[None]))),
    }


Scores = tuple[Tensor, Tensor, Tensor, Tensor]  # best ids, their logits, log-sum-exp, the target's logit; a row each


def _scored(model: Transformer, x: Tensor, goals: Tensor, vocab_size: int) -> Scores:
    """A few rows at a time, all tokens."""
    found: list[Scores] = []
    step = _rows(vocab_size)
    for start in range(0, len(x), step):
        logits = model.logits(x[start : start + step])[:, :vocab_size].float()
        values, ids = top_candidates(logits, LENS)
        actual = logits.gather(1, goals[start : start + step, None])[:, 0]
        found.append((ids, values, _log_sum(logits), actual))
    return cast("Scores", tuple(torch.cat(parts) for parts in zip(*found, strict=True)))


def _screened(model: Transformer, x: Tensor, goals: Tensor, vocab_size: int) -> Scores:
    """The same where products of bfloat16 matrices are faster: the likeliest of a first look are scored again in float32.

    The first look rounds to eight bits; what is left of that is in the sum over the tokens that are not likely, where
    it averages out.
    """
    matrix, head = head_matrix(model), model.head
    assert head is not None
    rough = x.to(torch.bfloat16)
    count = len(x)
    sums = x.new_full((count,), -torch.inf)
    kept: list[tuple[Tensor, Tensor]] = []
    for first in range(0, vocab_size, WIDE):
        last = min(first + WIDE, vocab_size)
        columns = matrix[first:last].to(torch.bfloat16).T
        step = _rows(last - first)
        best: list[tuple[Tensor, Tensor]] = []
        for start in range(0, count, step):
            part = slice(start, start + step)
            logits = (rough[part] @ columns).float()
            if head.bias is not None:
                logits += head.bias[first:last]
            if head.config.softcap is not None:
                logits = head.config.softcap * torch.tanh(logits / head.config.softcap)
            sums[part] = torch.logaddexp(sums[part], _log_sum(logits))
            best.append(top_candidates(logits, SCREENED))
        kept.append((torch.cat([values for values, _ in best]), torch.cat([ids for _, ids in best]) + first))
    values, places = torch.cat([values for values, _ in kept], dim=1).topk(SCREENED)
    ids = torch.cat([ids for _, ids in kept], dim=1).gather(1, places)
    exact = _exactly(model, x, torch.cat((ids, goals[:, None]), dim=1))
    # What the first look gave the likeliest is taken out of the sum, and what they really have put in.
    rest = sums + torch.log1p(-(values - sums[:, None]).exp().sum(dim=1).clamp(max=1 - 1e-6))
    sums = torch.logaddexp(rest, exact[:, :-1].logsumexp(dim=1))
    logits, order = exact[:, :-1].sort(dim=1, descending=True)
    return ids.gather(1, order)[:, :LENS], logits[:, :LENS], sums, exact[:, -1]


def _exactly(model: Transformer, x: Tensor, ids: Tensor) -> Tensor:
    """Logits of some tokens: shape (rows, dim) and ids (rows, tokens) to (rows, tokens)."""
    matrix, head = head_matrix(model), model.head
    assert head is not None
    logits = torch.empty(ids.shape, device=x.device)
    step = max(1, BLOCK // (ids.shape[1] * x.shape[1]))
    for start in range(0, len(x), step):
        chosen = matrix[ids[start : start + step]]
        logits[start : start + step] = torch.bmm(chosen, x[start : start + step, :, None])[..., 0]
    if head.bias is not None:
        logits += head.bias[ids]
    return logits if head.config.softcap is None else head.config.softcap * torch.tanh(logits / head.config.softcap)


def _log_sum(logits: Tensor) -> Tensor:
    """``logits.logsumexp(-1)``, a few rows at a time, so that they stay in the processor's cache."""
    step = max(1, INNER // logits.shape[1])
    return torch.cat([logits[start : start + step].logsumexp(dim=-1) for start in range(0, len(logits), step)])
