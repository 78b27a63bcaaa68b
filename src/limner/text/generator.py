"""Writing with a decoder-only model: prompts in, texts out, whole or as they come.

Traits: texts of any length together in one batch; a text depends on its own seed and prompt, not on its
company; several samples share one pass over their prompt; finished rows leave the batch; never half a
character, never a piece of a stop string; every text keeps a record from which it can be made again.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast, overload

import torch
from torch import Tensor

from limner.core.errors import ConfigError, ContextError, TokenizerError, WeightsError
from limner.core.tap import NO_TAP, Tap
from limner.core.transformer import Transformer
from limner.text.decode import Decoder, pad_left
from limner.text.record import CANDIDATES, Collector, Event, FinishReason, Generation, Settings, Step
from limner.text.sampling import SEEDS, Chance, Sampling, check_seed, penalize, sample, top_candidates
from limner.text.stopping import StopFilter
from limner.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from limner import TextChange, TextTrace

Prompt = str | Sequence[int]

CHARACTERS_A_TOKEN = 64  # a text longer than this many a token of the window is not read whole, only measured
PRIMING = 8  # last tokens of the prompt that the text decoder reads first, to join words rightly


class TextGenerator:
    """A language model that writes.

    Args:
        model: decoder-only; set to evaluation mode here.
        tokenizer: the one the model was trained with.
        card: what is known of the model, ``name`` and ``path`` among it.
    Raises:
        ConfigError: the model has an encoder, or no head.
        TokenizerError: the tokenizer has more tokens than the model.
    """

    def __init__(self, model: Transformer, tokenizer: Tokenizer, *, card: Mapping[str, Any] | None = None) -> None:
        config = model.config
        if config.decoder is None or config.encoder is not None:
            kind = "encoder-only" if config.decoder is None else "encoder-decoder"
            raise ConfigError(
                f"the model is {kind}, but only a decoder-only model continues texts. Use TextEncoder for an encoder."
            )
        if config.head is None:
            raise ConfigError("the model's head is None, but writing needs one. Load the model with its output head.")
        check_vocabulary(model, tokenizer)
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.card = dict(card or {})
        self.context_length = config.context_length
        self.device = model.embedding.token.weight.device
        self.end_ids = frozenset(tokenizer.end_ids)

    @property
    def parameters(self) -> int:
        """How many numbers the model's weights are."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def __repr__(self) -> str:
        return f"TextGenerator({self.card.get('name', 'a model')}, context of {self.context_length} tokens)"

    # ── writing ────────────────────────────────────────────────────────────────────────────────────────────

    @overload
    def generate(
        self,
        prompt: Prompt = ...,
        *,
        n: Literal[1] = ...,
        max_tokens: int = ...,
        temperature: float = ...,
        top_k: int = ...,
        top_p: float = ...,
        min_p: float = ...,
        repetition_penalty: float = ...,
        greedy: bool = ...,
        stop: str | Sequence[str] = ...,
        seed: int | None = ...,
        window: Literal["error", "slide"] = ...,
        record: bool = ...,
        tap: Tap = ...,
    ) -> Generation: ...

    @overload
    def generate(
        self,
        prompt: Prompt | Sequence[Prompt] = ...,
        *,
        n: int = ...,
        max_tokens: int = ...,
        temperature: float = ...,
        top_k: int = ...,
        top_p: float = ...,
        min_p: float = ...,
        repetition_penalty: float = ...,
        greedy: bool = ...,
        stop: str | Sequence[str] = ...,
        seed: int | None = ...,
        window: Literal["error", "slide"] = ...,
        record: bool = ...,
        tap: Tap = ...,
    ) -> list[Generation]: ...

    def generate(
        self,
        prompt: Prompt | Sequence[Prompt] = "",
        *,
        n: int = 1,
        max_tokens: int = 200,
        temperature: float = 0.8,
        top_k: int = 0,
        top_p: float = 0.95,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        greedy: bool = False,
        stop: str | Sequence[str] = (),
        seed: int | None = None,
        window: Literal["error", "slide"] = "error",
        record: bool = True,
        tap: Tap = NO_TAP,
    ) -> Generation | list[Generation]:
        """Continue one text, or many at once.

        Args:
            prompt: a text, or ids, which are read just as they are; or a list of these. An empty text begins
                from the token that begins texts.
            n: how many samples of each prompt; the prompt is read once for all.
            max_tokens: the most tokens to write.
            temperature, top_k, top_p, min_p, repetition_penalty: see ``limner.text.sampling.Sampling``.
            greedy: the most likely token each time; the same as temperature 0.
            stop: a string, or several, at which a text ends; not part of it.
            seed: sample i is made with seed + i and depends on nothing else. None: a random one.
            window: when the context window is full, ``"error"``: a prompt longer than it is refused and a
                text that fills it ends; ``"slide"``: the older half is let go.
            record: keep each step's most likely tokens.
            tap: sees every forward pass, first those of the prompts and then a token of each text at a time, and may
                change it; names and shapes are in docs/taps.md.
        Returns:
            One Generation for one prompt and n = 1, else a list: all samples of the first prompt, then of the
            second, and so on.
        Raises:
            ConfigError: a setting out of its range.
            ContextError: a prompt is longer than the context window.
        """
        settings = make_settings(
            max_tokens, temperature, top_k, top_p, min_p, repetition_penalty, greedy, stop, window
        )  # fmt: skip
        prompts = _listed(prompt)
        run = Run(self, prompts, settings, n, seed, record, tap)
        while run.active:
            run.advance()
        texts = [run.generation(index) for index in range(len(run.samples))]
        return texts[0] if prompts is not prompt and n == 1 else texts

    def stream(
        self,
        prompt: Prompt | Sequence[Prompt] = "",
        *,
        n: int = 1,
        max_tokens: int = 200,
        temperature: float = 0.8,
        top_k: int = 0,
        top_p: float = 0.95,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        greedy: bool = False,
        stop: str | Sequence[str] = (),
        seed: int | None = None,
        window: Literal["error", "slide"] = "error",
        record: bool = True,
        tap: Tap = NO_TAP,
    ) -> Stream:
        """The same texts as ``generate`` makes, token by token.

        for event in model.stream("The curious cat climbed", seed=1):
            print(event.text, end="", flush=True)

        Returns:
            An iterator over events; settings and prompts are checked before the first. Its ``generations``
            holds the texts once it has come to its end.
        """
        settings = make_settings(
            max_tokens, temperature, top_k, top_p, min_p, repetition_penalty, greedy, stop, window
        )  # fmt: skip
        return Stream(Run(self, _listed(prompt), settings, n, seed, record, tap))

    # ── looking inside ─────────────────────────────────────────────────────────────────────────────────────

    def trace(
        self,
        source: Prompt | Generation,
        *,
        keep: str | Iterable[str] | None = None,
        changes: Iterable[TextChange | Mapping[str, Any]] = (),
    ) -> TextTrace:
        """Read a text, or again what was written, and keep what happened: see ``limner.trace_text``."""
        from limner import trace_text

        return trace_text(self, source, keep=keep, changes=changes)

    def token_text(self, id: int) -> str:
        """What a token adds to a text, half a character as \\xe2 and the like; of a special token its name."""
        if self.tokenizer.is_special(id):
            return self.tokenizer.piece(id)
        return self.tokenizer.token_bytes(id).decode("utf-8", "backslashreplace")

    # ── prompts ────────────────────────────────────────────────────────────────────────────────────────────

    def read_prompt(self, prompt: Prompt, window: Literal["error", "slide"] | None = "error") -> list[int]:
        """The ids that the model reads for a prompt: the token that begins texts, then the text's own.

        A text far too long is measured by its beginning and not tokenized whole. With ``window=None``, for
        callers that read one window only, an error does not offer to slide.

        Raises:
            ContextError: more than the context window holds, unless it slides.
            TokenizerError: an id that the tokenizer does not have; nothing to begin with.
        """
        ids = self._ids_of_text(prompt, window) if isinstance(prompt, str) else self.check_ids(prompt)
        if len(ids) > self.context_length and window != "slide":
            raise self._too_long(f"{len(ids)}", window)
        return ids

    def _ids_of_text(self, text: str, window: str | None) -> list[int]:
        opening = self.tokenizer.opening
        limit = CHARACTERS_A_TOKEN * self.context_length
        while len(text) > limit:
            part = text[-limit:] if window == "slide" else text[:limit]
            ids = self.tokenizer.encode(part)
            if len(ids) > self.context_length:
                if window == "slide":
                    return [*opening, *ids]
                raise self._too_long(f"about {round(len(ids) * len(text) / limit)}", window)
            limit *= 8
        ids = [*opening, *self.tokenizer.encode(text)]
        if ids:
            return ids
        if self.tokenizer.begin_id is None:
            raise TokenizerError(
                "the prompt is empty, but this model has no token that begins a text. Give a word to begin with."
            )
        return [self.tokenizer.begin_id]

    def check_ids(self, prompt: Sequence[int]) -> list[int]:
        """The ids themselves.

        Raises:
            TokenizerError: there are none, or one is not the model's.
        """
        ids = [int(id) for id in prompt]
        wrong = [id for id in ids if not 0 <= id < self.model.config.vocab_size]
        if wrong or not ids:
            what = f"an id of the prompt is {wrong[0]}" if wrong else "the prompt's list of ids is empty"
            raise TokenizerError(
                f"{what}, but ids run from 0 to {self.model.config.vocab_size - 1}. Give ids of this model's tokenizer."
            )
        return ids

    def _too_long(self, tokens: str, window: str | None) -> ContextError:
        slide = ', or read only its end: --window slide on the command line, window="slide" in Python' if window else ""
        return ContextError(
            f"the prompt is {tokens} tokens long, but the context window of the model holds {self.context_length}. "
            f"Shorten it{slide}."
        )

    def slid(self, ids: list[int]) -> list[int]:
        """What the model goes on with of a text that is longer than its window: the newer half of a window.

        A token that opens texts stays in front, for models lean on it. As llama.cpp's context shift, but the
        half is read anew, so that what the model sees is an ordinary text.
        """
        if len(ids) <= self.context_length:
            return ids
        opening = self.tokenizer.opening
        kept = max(self.context_length // 2, 1)
        if opening and ids[: len(opening)] == opening and len(opening) < kept:
            return [*opening, *ids[len(ids) - kept + len(opening) :]]
        return ids[len(ids) - kept :]


def check_vocabulary(model: Transformer, tokenizer: Tokenizer) -> None:
    """Nothing, if the model has an embedding for every token.

    Raises:
        TokenizerError: it has fewer.
    """
    if tokenizer.vocab_size > model.config.vocab_size:
        raise TokenizerError(
            f"the tokenizer has {tokenizer.vocab_size} tokens, but the model's vocab_size is "
            f"{model.config.vocab_size}. Load the tokenizer that the model was trained with."
        )


def make_settings(
    max_tokens: int,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    repetition_penalty: float,
    greedy: bool,
    stop: str | Sequence[str],
    window: Literal["error", "slide"],
) -> Settings:
    """Settings as ``TextGenerator.generate`` takes them, checked.

    Raises:
        ConfigError: one of them out of its range.
    """
    if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 1:
        raise ConfigError(f"max_tokens is {max_tokens}, but at least one token is written. Choose 1 or more.")
    if window not in ("error", "slide"):
        raise ConfigError(f"window is {window!r}, but it is error or slide. Choose slide to write on when it is full.")
    sampling = Sampling(0.0 if greedy else temperature, top_k, top_p, min_p, repetition_penalty)
    stops = (stop,) if isinstance(stop, str) else tuple(stop)
    StopFilter(stops)
    return Settings(max_tokens, sampling, stops, window)


def _listed(prompt: Prompt | Sequence[Prompt]) -> Sequence[Prompt]:
    """A list of prompts: the one that was given, or a new one with the only prompt."""
    if isinstance(prompt, str) or (len(prompt) > 0 and all(isinstance(id, int) for id in prompt)):
        return [cast("Prompt", prompt)]
    return cast("Sequence[Prompt]", prompt)


# ── a batch of texts being written ─────────────────────────────────────────────────────────────────────


class _Text:
    """One text being written."""

    def __init__(self, generator: TextGenerator, prompt: str, prompt_ids: list[int], seed: int, stop: tuple[str, ...]):
        self.prompt, self.prompt_ids, self.seed = prompt, prompt_ids, seed
        self.window = generator.slid(prompt_ids).copy()  # what the model sees
        self.chance = Chance(seed)
        self.ids: list[int] = []
        self.shown: list[str] = []
        self.finish: FinishReason | None = None
        self.stops = StopFilter(stop)
        self.decoder = generator.tokenizer.stream()
        for id in prompt_ids[-PRIMING:]:
            self.decoder.push(id)

    def add(self, id: int, generator: TextGenerator, settings: Settings) -> str:
        """Take one more token; returns what may be shown by now."""
        self.ids.append(id)
        self.window.append(id)
        text = ""
        if id in generator.end_ids:
            self.finish = "end"
        else:
            text = self.stops.push(self.decoder.push(id))
            if self.stops.stopped:
                self.finish = "stop"
            elif len(self.ids) >= settings.max_tokens:
                self.finish = "length"
            elif settings.window == "error" and len(self.window) > generator.context_length:
                self.finish = "context"
        if self.finish is not None and self.finish != "stop":
            text += self.stops.push(self.decoder.finish())
            if self.stops.stopped:
                self.finish = "stop"
            text += self.stops.finish()
        self.shown.append(text)
        return text


class Run:
    """Texts that are written together; ``advance`` writes one token of each that is not finished.

    Attributes:
        samples: all texts, in order.
        active: places in ``samples`` of those not finished, in the order of the decoder's rows.
    """

    def __init__(
        self,
        generator: TextGenerator,
        prompts: Sequence[Prompt],
        settings: Settings,
        n: int,
        seed: int | None,
        record: bool,
        tap: Tap = NO_TAP,
    ) -> None:
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ConfigError(f"n is {n}, but at least one text is written. Choose 1 or more.")
        seed = secrets.randbelow(2**31) if seed is None else check_seed(seed)
        self.generator, self.settings, self.copies, self.tap = generator, settings, n, tap
        self.samples: list[_Text] = []
        for prompt in prompts:
            ids = generator.read_prompt(prompt, settings.window)
            text = prompt if isinstance(prompt, str) else generator.tokenizer.decode(ids)
            for _ in range(n):
                own_seed = (seed + len(self.samples)) % SEEDS
                self.samples.append(_Text(generator, text, ids, own_seed, settings.stop))
        self.active = list(range(len(self.samples)))
        self.collector = Collector() if record else None
        self.decoder: Decoder | None = None
        self.chosen: Tensor | None = None  # the newest token of each active text, shape (rows,)
        self.seen: Tensor | None = None  # tokens of each active text, shape (rows, vocab_size)

    def force(self, index: int, ids: Sequence[int]) -> None:
        """Begin a text with these tokens, as if they had been drawn; before the first ``advance``.

        Each uses up its piece of chance, so that what follows is what would have followed in a text that came to them
        by itself.
        """
        assert self.decoder is None, "texts are begun before they are written on"
        text = self.samples[index]
        for id in ids:
            if len(text.window) > self.generator.context_length:
                text.window = self.generator.slid(text.window)
            if not self.settings.sampling.greedy:
                text.chance.next()
            text.add(id, self.generator, self.settings)
            if text.finish is not None:
                self.active.remove(index)
                return
        text.window = self.generator.slid(text.window)

    @torch.inference_mode()
    def advance(self) -> list[Event]:
        """Write one token of each unfinished text."""
        generator = self.generator
        if self.decoder is None:
            logits = self._begin(self.active[:: self.copies])
            self._check(logits)
            if self.copies > 1:
                logits = self._copy(logits)
        elif self.decoder.full:
            for index in self.active:
                self.samples[index].window = generator.slid(self.samples[index].window)
            logits = self._begin(self.active)
        else:
            assert self.chosen is not None
            logits = self.decoder.step(self.chosen)
        self.chosen, step = self._choose(logits[:, : generator.tokenizer.vocab_size])
        if step is not None and self.collector is not None:
            self.collector.add(self.active, step)
        return self._take(self.chosen.tolist(), step)

    def generation(self, index: int) -> Generation:
        """One finished text."""
        text = self.samples[index]
        assert text.finish is not None, "the text is still being written"
        logprobs, record = self.collector.of(index) if self.collector is not None else ([], None)
        name = self.generator.card.get("name")
        return Generation(
            "".join(text.shown), text.prompt, text.prompt_ids, text.ids, logprobs, text.finish, text.seed,
            self.settings, None if name is None else str(name), record,
        )  # fmt: skip

    def _begin(self, indices: list[int]) -> Tensor:
        """Read these texts' windows in one pass, into a new cache."""
        rows = [self.samples[index].window for index in indices]
        longest = max(map(len, rows))
        left = self.settings.max_tokens - min(len(self.samples[index].ids) for index in indices)
        capacity = min(longest + left, self.generator.context_length)
        self.decoder = Decoder(self.generator.model, len(rows), capacity, expected_tokens=left, tap=self.tap)
        return self.decoder.prefill(*pad_left(rows, self.generator.device))

    def _copy(self, logits: Tensor) -> Tensor:
        """As many rows of each prompt as it has samples."""
        assert self.decoder is not None
        rows = [row for row in range(len(logits)) for _ in range(self.copies)]
        self.decoder.take(rows)
        return logits[torch.tensor(rows, device=logits.device)]

    def _choose(self, logits: Tensor) -> tuple[Tensor, Step | None]:
        """The next token of each row, shape (rows,), and what to record of it."""
        sampling = self.settings.sampling
        logits = logits.float()
        ranking = None
        if self.collector is not None:
            ranking = top_candidates(logits, CANDIDATES)
        scores = logits
        if sampling.repetition_penalty != 1.0:
            scores = penalize(logits, self._seen(logits), sampling.repetition_penalty)
        if sampling.greedy:
            chance = torch.empty(0)
        else:
            chances = [self.samples[index].chance.next() for index in self.active]
            chance = torch.tensor(chances, dtype=torch.float64, device=logits.device)
        chosen = sample(scores, sampling, chance, ranking if scores is logits else None)
        if self.seen is not None:
            self.seen.scatter_(1, chosen.unsqueeze(1), True)
        if ranking is None:
            return chosen, None
        values, ids = ranking
        logsumexp = values[:, 0] - logits.log_softmax(dim=-1).gather(1, ids[:, :1]).squeeze(1)
        logprobs = logits.gather(1, chosen.unsqueeze(1)).squeeze(1) - logsumexp
        return chosen, Step(values, ids, logsumexp, logprobs)

    def _seen(self, logits: Tensor) -> Tensor:
        """Which tokens each text has already."""
        if self.seen is None:
            self.seen = torch.zeros(logits.shape, dtype=torch.bool, device=logits.device)
            for row, index in enumerate(self.active):
                text = self.samples[index]
                ids = [id for id in (*text.prompt_ids, *text.ids) if id < logits.shape[1]]
                self.seen[row, ids] = True
        return self.seen

    def _take(self, ids: list[int], step: Step | None) -> list[Event]:
        """Hand each text its token, and let finished ones leave."""
        logprobs = [None] * len(ids) if step is None else step.logprobs.tolist()
        events = []
        for row, (index, id) in enumerate(zip(self.active, ids, strict=True)):
            text = self.samples[index]
            shown = text.add(id, self.generator, self.settings)
            look = (lambda row=row: step.candidates(row)) if step is not None else list
            events.append(Event(index, shown, id, logprobs[row], text.finish, look))
        going = [row for row, index in enumerate(self.active) if self.samples[index].finish is None]
        if len(going) < len(self.active):
            self.active = [self.active[row] for row in going]
            if going:
                assert self.decoder is not None
                assert self.chosen is not None
                self.decoder.take(going)
                self.chosen = self.chosen[going]
                self.seen = None if self.seen is None else self.seen[going]
        return events

    def _check(self, logits: Tensor) -> None:
        wrong = ~logits.isfinite()
        if bool(wrong.any()):
            raise WeightsError(
                f"a logit is {logits[wrong][0].item()}, but no text can be drawn from it: the model's weights are "
                "damaged or its training diverged. Load another checkpoint."
            )


class Stream(Iterator[Event]):
    """Events of texts as they are written; see ``TextGenerator.stream``.

    Attributes:
        seeds: of all texts.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._events: list[Event] = []
        self.seeds = [text.seed for text in run.samples]
        self.prompts = [text.prompt for text in run.samples]

    def __next__(self) -> Event:
        while not self._events:
            if not self._run.active:
                raise StopIteration
            self._events = self._run.advance()[::-1]
        return self._events.pop()

    @property
    def generations(self) -> list[Generation]:
        """The finished texts; all of them once the stream has ended."""
        finished = [index for index, text in enumerate(self._run.samples) if text.finish is not None]
        return [self._run.generation(index) for index in finished]
