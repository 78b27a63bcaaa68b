"""Training a text model: from paths to a model folder.

A ``TextPlan`` says what is wanted. ``start`` reads the data, chooses the shape and the rates that are not given,
and writes a run folder; ``go_on`` opens one. Both give a ``TextRun``, whose ``train`` is the loop with the step of
language modelling: predict each next token.
"""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from limner.core.config import ModelConfig
from limner.core.errors import ConfigError, counted, suggest
from limner.core.output import next_token_loss
from limner.core.transformer import Transformer
from limner.data import Batches, Corpus, Shards, TokenizerPlan, prepare_corpus
from limner.data.batches import check_length
from limner.text.generator import TextGenerator
from limner.text.presets import Shape, read_size, shape
from limner.tokens import Tokenizer
from limner.tokens.train import check_vocabulary_size
from limner.train import machine
from limner.train.display import watchers_for
from limner.train.loop import Evaluation, Outcome, Training, Watcher, resolve
from limner.train.probes import Probe, ask
from limner.train.resuming import changed_on_the_way, check_same, finished, open_run
from limner.train.run import RunFolder
from limner.train.settings import DEFAULT_MINUTES, TrainSettings, at_least, changed, split_assignment
from limner.weights.folder import load_model, save_model
from limner.weights.places import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    TextBatch = tuple[Tensor, Tensor, Tensor | None]

EFFICIENCY = 0.3  # share of a large product's speed that a training step of a small model reaches
TOKENS_SEEN = 1.5  # a parameter: what the bundled stories' model could be given in its hour on two cores
PARAMETERS_A_TOKEN = 4
MUON_BESIDE = 6e-3  # AdamW's rate where Muon has the matrices; docs/log.md: they may go faster than all together
MANY_WORDS = 3e6  # bytes of data from which on a learned vocabulary becomes as large as it may
KINDS = ("byte-bpe", "wordpiece", "unigram", "characters", "bytes")


# ── what is wanted ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class TextSettings:
    """How text becomes batches, and how a text model is judged while it learns.

    ``tokenizer`` is a kind, or the path of a tokenizer.json. 0 and ``auto`` are chosen from the data.
    """

    tokenizer: str = "byte-bpe"
    vocab_size: int = 0
    size: str = "auto"
    context_length: int = 0
    dropout: float = -1.0  # below 0: by how often the data are seen
    validation: float = 0.05
    column: str | None = None
    align: Literal["stream", "document"] = "stream"  # how windows are cut, see limner.data.batches
    documents_apart: bool = False  # attention does not look into other documents of the window
    evaluate_tokens: int = 65_536  # of the validation part, at each evaluation; all of it at the end
    sample_tokens: int = 60
    temperature: float = 0.8  # of the samples shown
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the weights in the finished model's file

    def __post_init__(self) -> None:
        for name, lowest in (("vocab_size", 0), ("context_length", 0), ("evaluate_tokens", 1), ("sample_tokens", 1)):
            at_least(name, getattr(self, name), lowest)
        at_least("temperature", self.temperature, 0)
        if self.dropout >= 1:
            raise ConfigError(f"dropout is {self.dropout}, but it is a share below 1. Choose 0 for none, or 0.1.")
        if not 0 < self.validation <= 0.5:
            raise ConfigError(
                f"validation is {self.validation}, but it is a share above 0 and at most 0.5. The usual one is 0.05."
            )
        if self.size != "auto":
            read_size(self.size)


@dataclass(frozen=True)
class TextPlan:
    """Everything that says what a run should do.

    Attributes:
        data: files and folders.
        train_only: more of them, of which nothing is held back.
        text, train, model: settings that are given; all others are chosen. ``model`` has names of ``Shape``, or
            dotted paths into ``ModelConfig``.
        prompts: what the samples continue.
        probes: asked at each evaluation.
        card: what the finished model says of itself: title, licence, what it was trained on.
    """

    data: tuple[Path, ...]
    train_only: tuple[Path, ...] = ()
    text: TextSettings = field(default_factory=TextSettings)
    train: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    prompts: tuple[str, ...] = ()
    probes: tuple[Probe, ...] = ()
    card: Mapping[str, Any] = field(default_factory=dict)

    def override(self, assignments: Iterable[str]) -> TextPlan:
        """Apply ``name=value`` texts, as ``--set`` has them.

        Raises:
            ConfigError: an unknown name, with the nearest; or a value of the wrong type.
        """
        plan = self
        of_train, of_text, of_shape = (tuple(f.name for f in fields(t)) for t in (TrainSettings, TextSettings, Shape))
        for assignment in assignments:
            name, value = split_assignment(assignment)
            if name in of_train:
                typed = getattr(changed(TrainSettings(), {name: value}), name)
                others = {"steps", "minutes"} - {name} if name in ("steps", "minutes") else set()
                plan = replace(plan, train={k: v for k, v in plan.train.items() if k not in others} | {name: typed})
            elif name in of_text:
                plan = replace(plan, text=changed(plan.text, {name: value}))
            elif name.startswith("model."):
                known = [*of_shape, "decoder", "embedding", "head"]
                if (part := name.split(".")[1]) not in known:
                    raise ConfigError(f"--set {name} is given, but the model has no {part}. {suggest(part, known)}")
                plan = replace(plan, model={**plan.model, name.removeprefix("model."): value})
            else:
                known = [*of_train, *of_text, *(f"model.{n}" for n in of_shape)]
                raise ConfigError(f"--set {name} is given, but there is no such setting. {suggest(name, known)}")
        return plan

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {key: [str(path) for path in getattr(self, key)] for key in ("data", "train_only")}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TextPlan:
        """Read what ``to_dict`` wrote."""
        return cls(
            data=tuple(map(Path, values["data"])),
            train_only=tuple(map(Path, values["train_only"])),
            text=changed(TextSettings(), values["text"]),
            train=values["train"],
            model=values["model"],
            prompts=tuple(values["prompts"]),
            probes=tuple(Probe(**entry) for entry in values["probes"]),
            card=values["card"],
        )


# ── choosing what is not given ─────────────────────────────────────────────────────────────────────────


def wanted_tokenizer(plan: TextPlan) -> Tokenizer | TokenizerPlan:
    """The tokenizer that is there, or what is to be known to learn one.

    Raises:
        ConfigError: neither a kind nor a path.
        TokenizerError: a path at which there is none.
    """
    text = plan.text
    if text.tokenizer in KINDS:
        return TokenizerPlan(text.tokenizer, text.vocab_size or choose_vocabulary(plan.data))
    if Path(text.tokenizer).exists():
        return Tokenizer.load(Path(text.tokenizer))
    raise ConfigError(
        f"tokenizer is {text.tokenizer!r}, but it is a kind or a path that is there. {suggest(text.tokenizer, KINDS)}"
    )


def open_corpus(plan: TextPlan, cache: Path, progress: Callable[[str, int, int], None] | None) -> Corpus:
    """Read and tokenize the plan's data, or open what was made of it before."""
    text = plan.text
    return prepare_corpus(
        plan.data,
        tokenizer=wanted_tokenizer(plan),
        cache=cache,
        validation=text.validation,
        column=text.column,
        train_only=plan.train_only,
        progress=progress,
    )


def data_bytes(paths: Iterable[Path]) -> int:
    """How large files, and all those in folders, are on disk."""
    size = 0
    for path in paths:
        found = [path] if path.is_file() else path.rglob("*") if path.is_dir() else []
        size += sum(entry.stat().st_size for entry in found if entry.is_file())
    return size


def choose_vocabulary(paths: Iterable[Path]) -> int:
    """1,024 to 32,768 entries, by the size of the data: a token should be seen often enough to be learned."""
    size = data_bytes(paths)
    for limit, vocabulary in ((1e6, 1024), (3e6, 2048), (3e7, 4096), (3e8, 8192), (3e9, 16384)):
        if size < limit:
            return vocabulary
    return 32_768


@dataclass(frozen=True)
class Choice:
    """What a run will be: the model, the settings without ``auto``, and what is expected of it."""

    config: ModelConfig
    settings: TrainSettings
    parameters: int
    flops_per_token: float
    epochs: float | None  # how often the data will be seen, as far as one can tell


def check(plan: TextPlan) -> None:
    """Refuse what no corpus can mend, before one is read, which may take hours.

    What the model will be depends on the corpus: how large its vocabulary becomes, and under ``auto`` its size. So a
    description is refused only where none of the likely ones can be made.

    Raises:
        ConfigError: a setting that cannot be used.
        TokenizerError: a tokenizer that cannot be opened or learned.
    """
    machine.resolve_device(changed(TrainSettings(), dict(plan.train)).device)
    sizes = [10**7, 10**6, 10**5, 10**8] if plan.text.size == "auto" else [read_size(plan.text.size)]
    tokenizer = wanted_tokenizer(plan)
    vocabularies = [tokenizer.vocab_size or 0]
    if isinstance(tokenizer, TokenizerPlan):
        check_vocabulary_size(tokenizer.kind, vocabularies[0])
        if tokenizer.kind == "characters" or data_bytes(plan.data) < MANY_WORDS:
            vocabularies += [size for size in (4096, 512, 257, 64) if size < vocabularies[0]]
    problem: ConfigError | None = None
    for wanted, vocabulary in itertools.product(sizes, vocabularies):
        try:
            describe(plan, wanted, vocabulary, plan.text.context_length or 256)
        except ConfigError as found:
            problem = problem or found
        else:
            return
    assert problem is not None
    raise problem


def describe(
    plan: TextPlan, wanted: int, vocab_size: int, context: int, dropout: float = 0.0
) -> tuple[Shape, ModelConfig]:
    """The model of about ``wanted`` parameters, with what the plan says of it.

    Raises:
        ConfigError: a given value that cannot be used.
    """
    of_shape = {f.name for f in fields(Shape)}
    chosen = shape(wanted, vocab_size, context, dropout)
    chosen = changed(chosen, {k: v for k, v in plan.model.items() if k in of_shape}, "model.")
    return chosen, with_paths(chosen.config(vocab_size), {k: v for k, v in plan.model.items() if k not in of_shape})


def choose(plan: TextPlan, corpus: Corpus) -> Choice:
    """Derive depth, width, context, batch and rates from the data, the time and the machine; what is given stays.

    Raises:
        ConfigError: a given value that cannot be used.
        TrainingError: too little data for one batch.
    """
    text, vocab_size = plan.text, corpus.tokenizer.vocab_size
    given = dict(plan.train)
    if given.get("steps") is None and given.get("minutes") is None:
        given["minutes"] = DEFAULT_MINUTES
    asked = changed(TrainSettings(), given)
    machine.prepare(replace(asked, threads=asked.threads or machine.physical_cores()))
    device = machine.resolve_device(asked.device)
    dtype = torch.bfloat16 if machine.bfloat16_helps(device) and asked.precision != "float32" else torch.float32
    speed = EFFICIENCY * machine.matmul_peak(device, dtype)

    unique = corpus.train.num_tokens
    longest = max(8, min(unique, corpus.validation.num_tokens) - 1)
    context = text.context_length or min(256, 1 << (longest.bit_length() - 1))
    if text.size == "auto":
        wanted = choose_parameters(unique, asked, speed, vocab_size, context)
    else:
        wanted = read_size(text.size)
    chosen, _ = describe(plan, wanted, vocab_size, context)
    context = chosen.context_length
    check_length(corpus.train, context)

    large = chosen.parameters(vocab_size)
    tokens_a_step = 4096 if large < 2e7 else 8192 if large < 1e8 else 32_768
    scale = (256 / chosen.dim) ** 0.5
    rate = MUON_BESIDE if asked.optimizer == "muon" else TrainSettings.learning_rate
    defaults = {
        "batch_size": max(1, min(tokens_a_step // context, unique // context)),
        "learning_rate": round(rate * scale, 6),
        "matrix_rate": round(TrainSettings.matrix_rate * scale, 6),
    }
    asked = changed(TrainSettings(), defaults | given)
    flops = chosen.flops_per_token(vocab_size)
    tokens_each = asked.batch_size * asked.accumulate * context
    seconds = asked.minutes * 60 if asked.minutes is not None else (asked.steps or 0) * tokens_each * flops / speed
    tokens = tokens_each * asked.steps if asked.steps else seconds * speed / flops
    epochs = tokens / unique
    dropout = text.dropout if text.dropout >= 0 else (0.1 if epochs > 3 else 0.0)
    _, config = describe(plan, wanted, vocab_size, context, dropout)
    return Choice(config, resolve(asked, seconds), large, flops, epochs)


def choose_parameters(unique: int, settings: TrainSettings, speed: float, vocab_size: int, context: int) -> int:
    """The size that ``auto`` stands for: as large as the time can train and the data can fill.

    A model should see at least TOKENS_SEEN tokens for each parameter, counting repeats, and repeats help for a
    few dozen epochs (Muennighoff et al. 2023, arXiv:2305.16264), so it has at most PARAMETERS_A_TOKEN for each.
    """
    best = 0
    for exponent in range(4 * 5, 4 * 10):
        wanted = int(10 ** (exponent / 4))
        try:
            candidate = shape(wanted, vocab_size, context)
        except ConfigError:
            continue
        parameters = candidate.parameters(vocab_size)
        if settings.steps is not None:
            tokens = float(settings.steps * settings.batch_size * settings.accumulate * context)
        else:
            tokens = (settings.minutes or 0.0) * 60 * speed / candidate.flops_per_token(vocab_size)
        if best and (tokens < TOKENS_SEEN * parameters or parameters > PARAMETERS_A_TOKEN * unique):
            break
        best = wanted
    if not best:
        raise ConfigError(f"size auto finds no model for a vocabulary of {vocab_size:,}. Choose a smaller vocabulary.")
    return best


def with_paths(config: ModelConfig, values: Mapping[str, Any]) -> ModelConfig:
    """Replace entries deep in a model's description: ``decoder.blocks.0.attention.softcap`` → ``30``.

    Raises:
        ConfigError: a path that leads nowhere, with the nearest name; or a value that does not fit.
    """
    import json

    plain = config.to_dict()
    for path, value in values.items():
        *way, last = path.split(".")
        place: Any = plain
        for part in [*way, last]:
            at = int(part) if isinstance(place, list) and part.isdigit() else part
            known = (
                list(place)
                if isinstance(place, dict)
                else [str(i) for i in range(len(place))]
                if isinstance(place, list)
                else []
            )
            if str(at) not in map(str, known):
                names = [*known, *(f.name for f in fields(Shape))] if place is plain else known
                raise ConfigError(
                    f"--set model.{path} is given, but there is no {part}. {suggest(part, map(str, names))}"
                )
            if part is last and place is _parent(plain, way):
                try:
                    place[at] = json.loads(value) if isinstance(value, str) else value
                except ValueError:
                    place[at] = value
            else:
                place = place[at]
    return ModelConfig.from_dict(plain) if values else config


def _parent(plain: Any, way: Sequence[str]) -> Any:
    for part in way:
        plain = plain[int(part)] if isinstance(plain, list) else plain[part]
    return plain


# ── judging ────────────────────────────────────────────────────────────────────────────────────────────


@torch.no_grad()
def measure(
    model: Transformer, shards: Shards, begin_id: int | None, *, stride: int | None = None, batch_size: int = 16
) -> dict[str, float]:
    """How well a model predicts texts, each by itself and every token of it once.

    Args:
        model: in evaluation mode.
        shards: the texts.
        begin_id: the token before each of them, which is given and not predicted.
        stride: tokens scored in each window after the first; None: windows follow one another without overlap.
        batch_size: windows at a time.
    Returns:
        ``loss`` in nats per token, ``bits_per_byte`` over the UTF-8 text.
    """
    device = next(model.parameters()).device
    context = model.config.context_length
    nats, count = 0.0, 0
    for inputs, targets, counts in shards.windows(
        context, stride or context, batch_size=batch_size, documents_apart=begin_id is not None
    ):
        wanted = torch.from_numpy(targets).to(device)
        losses = next_token_loss(model(torch.from_numpy(inputs).to(device)), wanted, reduction="none")
        counted = torch.from_numpy(counts).to(device)
        if begin_id is not None:
            counted = counted & (wanted != begin_id)
        nats += float(losses[counted].double().sum())
        count += int(counted.sum())
    return {"loss": nats / max(count, 1), "bits_per_byte": nats / math.log(2) / max(shards.num_bytes, 1)}


def sample(model: Transformer, tokenizer: Tokenizer, prompt: str, *, tokens: int, temperature: float, seed: int) -> str:
    """Continue a prompt, to show how the model is doing; ends at the end of a document."""
    writer = TextGenerator(model, tokenizer)
    written = writer.generate(
        prompt, max_tokens=tokens, temperature=temperature, seed=seed, window="slide", record=False
    )
    return prompt + written.text


# ── the run ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class TextRun:
    """A text model's run, ready to train: made by ``start`` or ``go_on``."""

    plan: TextPlan
    corpus: Corpus
    choice: Choice
    folder: RunFolder
    resumed: bool = False

    def summary(self) -> str:
        """What will be done, in a few lines."""
        config, settings, corpus = self.choice.config, self.choice.settings, self.corpus
        decoder = config.stack
        length = (
            f"{settings.minutes:g} minute{'s' * (settings.minutes != 1)}"
            if settings.minutes is not None
            else counted(settings.steps or 0, "step")
        )
        epochs = "" if self.choice.epochs is None else f", about {self.choice.epochs:.1f} times through the data"
        compiled = "compiled, " if settings.compile == "on" else ""
        lines = [
            f"data: {corpus.report.summary()}",
            f"      {corpus.train.num_tokens:,} tokens to train on, {corpus.validation.num_tokens:,} held back",
            f"      {corpus.tokenizer.kind}, {corpus.tokenizer.vocab_size:,} tokens{' (prepared before)' * corpus.reused}",
            f"model: {self.choice.parameters / 1e6:.1f}M parameters, {counted(decoder.num_layers, 'layer')} of {config.dim}",
            f"      context {config.context_length}, dropout {config.embedding.dropout:g}",
            f"training: {length}{epochs}; {settings.batch_size * settings.accumulate} × {config.context_length} tokens a step",
            f"      {settings.optimizer}, {settings.precision}, {compiled}{counted(settings.threads, 'thread')}",
        ]
        return "\n".join(lines)

    def finished(self) -> Outcome | None:
        """How the run ended, if it came to its end and was judged; None: there is something left to do."""
        return finished(self.folder, self.choice.settings)

    def watchers(self) -> list[Watcher]:
        """What shows the run as it goes."""
        settings, context = self.choice.settings, self.choice.config.context_length
        tokens = settings.batch_size * settings.accumulate * context
        return watchers_for(settings, self.folder, a_step=tokens, flops=self.choice.flops_per_token)

    def train(self, watchers: Sequence[Watcher] = ()) -> Outcome:
        """Run the loop to its end, or until it is interrupted; then judge the best model on all held-back text.

        Raises:
            TrainingError: see ``Training.run``.
            WeightsError: a checkpoint that does not fit.
        """
        settings, text, tokenizer = self.choice.settings, self.plan.text, self.corpus.tokenizer
        torch.manual_seed(settings.seed)
        device = torch.device(settings.device)
        model = Transformer(self.choice.config).to(device)
        if model.decoder is not None:
            model.decoder.recompute = settings.checkpoint_activations
        batches = Batches(
            self.corpus.train, settings.batch_size, self.choice.config.context_length, settings.seed, align=text.align
        )
        held_back = self.corpus.validation.first(text.evaluate_tokens)

        def batch(index: int) -> TextBatch:
            arrays = batches.batch_with_documents(index) if text.documents_apart else (*batches.batch(index), None)
            inputs, targets, documents = (None if a is None else torch.from_numpy(a).to(device) for a in arrays)
            assert inputs is not None
            assert targets is not None
            return inputs, targets, documents

        def step(batch: TextBatch) -> Tensor:
            inputs, targets, documents = batch
            return model.loss(inputs, targets, documents=documents)

        def evaluate() -> Evaluation:
            metrics = measure(model, held_back, tokenizer.begin_id, batch_size=settings.batch_size)
            samples = [
                sample(
                    model,
                    tokenizer,
                    prompt,
                    tokens=text.sample_tokens,
                    temperature=text.temperature,
                    seed=settings.seed,
                )
                for prompt in self.plan.prompts
            ]
            return Evaluation(metrics, tuple(samples), ask(self.plan.probes, model, tokenizer))

        with self.folder as folder:
            training = Training(
                model,
                step=step,
                batches=batch,
                settings=settings,
                folder=folder,
                evaluate=evaluate,
                export=self._export,
                watchers=watchers,
            )
            outcome = training.run(resumed=self.resumed)
            if outcome.reason == "finished":
                outcome = replace(outcome, best=self._judge(outcome.step))
            return outcome

    def _export(self, weights: dict[str, Tensor], step: int, metrics: dict[str, float]) -> None:
        model = Transformer(self.choice.config)
        model.load_state_dict({name: value.cpu() for name, value in weights.items()})
        save_model(self.folder.model, model, self.corpus.tokenizer, self._card(step, metrics), dtype=self._dtype)

    @property
    def _dtype(self) -> torch.dtype:
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[self.plan.text.dtype]

    def _card(self, step: int, metrics: Mapping[str, float]) -> dict[str, Any]:
        settings, corpus = self.choice.settings, self.corpus
        return {
            "name": self.folder.path.name,
            "trained_on": ", ".join(sorted({path.name for path in self.plan.data})),
            **self.plan.card,
            "parameters": self.choice.parameters,
            "training": {
                "steps": step,
                "tokens": step * settings.batch_size * settings.accumulate * self.choice.config.context_length,
                "unique_tokens": corpus.train.num_tokens,
                "documents": corpus.train.num_documents,
                "settings": settings.to_dict(),
                "date": time.strftime("%Y-%m-%d"),
            },
            "validation": dict(metrics)
            | {"documents": corpus.validation.num_documents, "share": self.plan.text.validation},
        }

    def _judge(self, step: int) -> dict[str, float]:
        """Measure the finished model folder on all held-back text, half a window of context before each token."""
        model, _, card = load_model(self.folder.model)
        model = model.to(torch.device(self.choice.settings.device))
        context = self.choice.config.context_length
        metrics = measure(model, self.corpus.validation, self.corpus.tokenizer.begin_id, stride=max(1, context // 2))
        card["validation"] |= metrics
        save_model(self.folder.model, model, self.corpus.tokenizer, card)
        self.folder.event("result", step=step, **metrics)
        return metrics


def start(
    plan: TextPlan,
    out: Path,
    *,
    cache: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> TextRun:
    """Read the data, choose what is not given, and make the run folder.

    Args:
        plan: what is wanted.
        out: the run folder, new.
        cache: where prepared corpora are kept; by default ``cache_folder("corpora")``.
        progress: called while the data are read, with what is done, bytes read and bytes to read.
    Raises:
        DataError: data that cannot be read or are too little.
        ConfigError: settings that cannot be used.
        TrainingError: the folder holds a run already or cannot be written.
    """
    cache = (cache or cache_folder("corpora")).absolute()
    plan = replace(
        plan, data=tuple(p.absolute() for p in plan.data), train_only=tuple(p.absolute() for p in plan.train_only)
    )
    RunFolder.check_new(out)
    check(plan)
    corpus = open_corpus(plan, cache, progress)
    choice = choose(plan, corpus)
    folder = RunFolder.create(
        out,
        {
            "kind": "text",
            "plan": plan.to_dict(),
            "train": choice.settings.to_dict(),
            "model": choice.config.to_dict(),
            "flops_per_token": choice.flops_per_token,
            "parameters": choice.parameters,
            "corpus": {"cache": str(cache), **_identity(corpus)},
        },
        choice.settings.keep,
    )
    corpus.tokenizer.save(folder.path / "tokenizer")
    return TextRun(plan, corpus, choice, folder)


def go_on(
    run: Path,
    *,
    assignments: Sequence[str] = (),
    progress: Callable[[str, int, int], None] | None = None,
) -> TextRun:
    """Open a run folder to go on with its training.

    Args:
        run: the folder.
        assignments: ``name=value`` of ``TrainSettings`` that shall be other than before, such as a longer run.
        progress: as in ``start``.
    Raises:
        WeightsError: it is no run folder.
        ConfigError: a setting that cannot change any more.
        TrainingError: its data have changed, or it is of another kind.
    """
    folder, stored = open_run(run, "text")
    plan = TextPlan.from_dict(stored["plan"])
    values = dict(split_assignment(assignment) for assignment in assignments)
    settings = changed_on_the_way(TrainSettings.from_dict(stored["train"]), values, folder, partial(_same, plan))
    cache = Path(stored["corpus"]["cache"])
    corpus = open_corpus(plan, cache, progress)
    if _identity(corpus)["tokenizer"] != stored["corpus"]["tokenizer"]:
        corpus = open_corpus(
            replace(plan, text=replace(plan.text, tokenizer=str(folder.path / "tokenizer"))), cache, progress
        )
    check_same(_identity(corpus), stored["corpus"])
    folder.checkpoints.keep = settings.keep
    choice = Choice(
        ModelConfig.from_dict(stored["model"]), settings, stored["parameters"], stored["flops_per_token"], None
    )
    if values:
        folder.write_plan({**stored, "train": settings.to_dict()})
    return TextRun(plan, corpus, choice, folder, resumed=True)


def _same(plan: TextPlan, name: str, value: str) -> bool | None:
    """Whether a setting that is not the loop's is as the run began with; None: it is the loop's, or there is none."""
    if name in {f.name for f in fields(TextSettings)}:
        return changed(plan.text, {name: value}) == plan.text
    if name.startswith("model."):
        return plan.model.get(name.removeprefix("model.")) == value
    return None


def _identity(corpus: Corpus) -> dict[str, Any]:
    """What must be the same for a run to go on."""
    return {
        "tokenizer": corpus.tokenizer.fingerprint(),
        "training_tokens": corpus.train.num_tokens,
        "validation_tokens": corpus.validation.num_tokens,
    }
