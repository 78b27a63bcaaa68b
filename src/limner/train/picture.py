"""Training a picture model: from captioned pictures to a model folder.

The same way as ``limner.train.text``: a ``PicturePlan`` says what is wanted, ``start`` and ``go_on`` give a
``PictureRun``, whose ``train`` is the one loop with the step of diffusion: see what is in a noisy picture.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d

from limner.core.errors import ConfigError, ContextError, TrainingError, suggest
from limner.data.picture_batches import PictureBatch, PictureBatches
from limner.data.picture_shards import PictureSet
from limner.picture import process
from limner.picture.autoencoder import Autoencoder, load_autoencoder, save_autoencoder
from limner.picture.config import (
    DiffusionConfig,
    Flow,
    LogitNormalTime,
    PictureConfig,
    UniformTime,
    VariancePreserving,
    make_config,
)
from limner.picture.denoiser import PictureModel
from limner.picture.folder import load_picture_model, save_picture_model
from limner.picture.generator import PictureGenerator
from limner.picture.images import from_bytes, grid
from limner.picture.latents import latent_set
from limner.picture.painting import MOST_GUIDANCE, MOST_STEPS, PaintSettings
from limner.picture.prompts import cut, pad, prompt_ids, words_of
from limner.picture.published import PublishedEncoder, open_published
from limner.picture.world.prepare import DrawnPlan
from limner.text.presets import read_size
from limner.tokens import Tokenizer, train_tokenizer
from limner.train import machine
from limner.train.captions import FrozenReader, caption_lengths, too_long
from limner.train.display import watchers_for
from limner.train.loop import Evaluation, Outcome, Training, Watcher, resolve
from limner.train.pictures import PictureCorpus, check_drawn, open_pictures, training_summary
from limner.train.resuming import changed_on_the_way, check_same, finished, open_run
from limner.train.run import RunFolder, last_event, read_events
from limner.train.settings import DEFAULT_MINUTES, TrainSettings, at_least, changed, split_assignment
from limner.weights.folder import load_model, save_model
from limner.weights.places import cache_folder
from limner.weights.tensors import empty, fill

CODER, READER = "autoencoder", "prompt-encoder"  # in a run folder
EFFICIENCY = 0.3  # share of a large product's speed that a training step reaches
PICTURES_SEEN = 60_000  # visits, at the least, that the size auto leaves time for
CAPTIONS_READ = 50_000  # of the data, to learn a tokenizer
WORDS_KEPT = 20_000  # to say which words of a prompt a model has never seen; where captions have more, none are kept
BATCH_PICTURES = 64
SMALLER = 1.25  # times the size that was asked for is the most that the narrowest model may have
NARROWEST = 128  # width that the size auto takes; who asks for fewer parameters gets less
FURTHER = 64  # about so many captions are tried beside those of held-back pictures
COPY = 0.5  # of how far held-back pictures are from the nearest training picture: what is nearer may be a copy
SHOWN = 8  # captions of held-back pictures that are painted as it learns, where no prompts are given

PictureStep = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None]  # picture, noise, time, ids, mask, weights


# ── what is wanted ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class PictureSettings:
    """How pictures become batches, what the model is, and how it is judged. 0 and ``auto`` are chosen.

    Attributes:
        pixels: side of the square, or of the square of the same area where there are several buckets.
        buckets: shapes; 1: squares alone.
        patch: side of the square of pixels that is one vector for the denoiser.
        size: parameters of the denoiser and the prompt's encoder together, such as 5M.
        autoencoder: the folder of one that limner trained; the model then works on its latents, and ``patch`` counts in
            them. None: on pixels. The latents are made once, before training; so there is no ``flip``.
        prompt_encoder: a Hugging Face folder of CLIP or BERT that reads the captions and is not trained; ``context_length``
            is then its window, 0: all of it up to 128. None: a small encoder of our own, trained with the denoiser.
        caption_drop: share of the batches' captions that are replaced by the empty prompt, for guidance.
        process, predict, loss, min_snr, time_mean, time_deviation, shift: see ``DiffusionConfig``; time ``uniform``
            ignores mean and deviation. A shift of 0 is chosen: the side, of pixels or of the latent, over 32.
        time_mean_first: the mean of the times at the start of the run, from where it moves to ``time_mean`` at its end.
            What a picture shows is decided where there is most noise, so a model that begins there listens sooner
            (docs/log.md). None: the mean does not move.
        objects_first: share of the run, at its beginning, in which objects count more than their pixels. At first each
            object and the rest of the picture count the same, then less and less so, in the end every pixel does. A hat of
            4 % of the pixels is otherwise 4 % of the loss, and its word the last that is listened to (docs/log.md). To the
            end it must not last, for where a hat might be, the best guess would be a hat too large. For drawings alone,
            whose parts are known. 0: never.
        sample_steps, guidance: of the pictures shown while it learns.
    """

    pixels: int = 64
    buckets: int = 1
    patch: int = 0
    size: str = "auto"
    dim: int = 0
    num_layers: int = 0
    num_heads: int = 0
    prompt_layers: int = 2
    bottleneck: int = -1
    vocab_size: int = 0
    context_length: int = 0
    caption_drop: float = 0.1
    flip: bool = False
    validation: float = 0.05
    column: str | None = None
    captions: Literal["auto", "folder"] = "auto"
    autoencoder: str | None = None
    prompt_encoder: str | None = None
    process: Literal["flow", "cosine", "linear"] = "flow"
    predict: Literal["x", "noise", "v", "flow"] = "x"
    loss: Literal["x", "noise", "v", "flow"] = "flow"
    min_snr: float | None = None
    time: Literal["logit-normal", "uniform"] = "logit-normal"
    time_mean: float = 1.2
    time_deviation: float = 1.0
    time_mean_first: float | None = None
    shift: float = 0.0
    objects_first: float = 0.0
    evaluate_pictures: int = 256
    sample_steps: int = 16
    guidance: float = 3.0
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the weights in the finished model's file

    def __post_init__(self) -> None:
        if not 0 <= self.caption_drop < 1:
            raise ConfigError(f"caption_drop is {self.caption_drop}, but it is a share below 1. Choose 0.1.")
        if not 0 <= self.objects_first <= 1:
            raise ConfigError(f"objects_first is {self.objects_first:g}, but it is a share of the run. Choose 0 to 1.")
        if self.flip and self.autoencoder is not None:
            raise ConfigError(
                "flip is on, but latents are made once, of the pictures as they are. Leave it out, or train on pixels."
            )
        for name in ("pixels", "buckets", "evaluate_pictures", "sample_steps"):
            at_least(name, getattr(self, name), 1)
        for name in ("patch", "dim", "num_layers", "num_heads", "vocab_size", "context_length", "shift"):
            at_least(name, getattr(self, name), 0)  # 0 is chosen
        if self.size != "auto":
            read_size(self.size)
        if self.sample_steps > MOST_STEPS:
            raise ConfigError(
                f"sample_steps is {self.sample_steps:,}, but a picture takes 1 to {MOST_STEPS:,}. 16 is usual."
            )
        if not 0 <= self.guidance <= MOST_GUIDANCE:
            raise ConfigError(f"guidance is {self.guidance:g}, but it goes from 0 to {MOST_GUIDANCE:g}. 3 is usual.")
        for moment in (0.0, 1.0):
            self.diffusion_at(moment)  # what is out of range there is told before data are read

    def diffusion(self, factor: int = 1) -> DiffusionConfig:
        """As the model's own description has it; ``factor`` is the autoencoder's."""
        return DiffusionConfig(
            process=Flow() if self.process == "flow" else VariancePreserving(self.process),
            predict=self.predict,
            loss=self.loss,
            min_snr=self.min_snr,
            time=UniformTime() if self.time == "uniform" else LogitNormalTime(self.time_mean, self.time_deviation),
            shift=self.shift or max(1.0, self.pixels / factor / 32),
        )

    def diffusion_at(self, progress: float, factor: int = 1) -> DiffusionConfig:
        """The same, with the times of a moment of the run, from 0 to 1."""
        diffusion = self.diffusion(factor)
        if self.time_mean_first is None or not isinstance(diffusion.time, LogitNormalTime):
            return diffusion
        mean = self.time_mean_first + (self.time_mean - self.time_mean_first) * progress
        return replace(diffusion, time=replace(diffusion.time, mean=mean))


@dataclass(frozen=True)
class PicturePlan:
    """Everything that says what a run should do.

    Attributes:
        data: files and folders of captioned pictures.
        drawn: or drawings of the picture-book world.
        picture, train: settings that are given; all others are chosen.
        prompts: painted at each evaluation, each with the seed of its place.
        card: what the finished model says of itself.
    """

    data: tuple[Path, ...] = ()
    drawn: DrawnPlan | None = None
    picture: PictureSettings = field(default_factory=PictureSettings)
    train: Mapping[str, Any] = field(default_factory=dict)
    prompts: tuple[str, ...] = ()
    card: Mapping[str, Any] = field(default_factory=dict)

    def override(self, assignments: Iterable[str]) -> PicturePlan:
        """Apply ``name=value`` texts, as ``--set`` has them.

        Raises:
            ConfigError: an unknown name, with the nearest; or a value of the wrong type.
        """
        plan = self
        of_train, of_picture = (tuple(f.name for f in fields(t)) for t in (TrainSettings, PictureSettings))
        for assignment in assignments:
            name, value = split_assignment(assignment)
            if name in of_train:
                typed = getattr(changed(TrainSettings(), {name: value}), name)
                others = {"steps", "minutes"} - {name} if name in ("steps", "minutes") else set()
                plan = replace(plan, train={k: v for k, v in plan.train.items() if k not in others} | {name: typed})
            elif name in of_picture:
                plan = replace(plan, picture=changed(plan.picture, {name: value}))
                if name == "pixels" and plan.drawn is not None:
                    plan = replace(plan, drawn=replace(plan.drawn, size=plan.picture.pixels))
            elif name.startswith("drawn.") and plan.drawn is not None:
                plan = replace(plan, drawn=changed(plan.drawn, {name.removeprefix("drawn."): value}, "drawn."))
            else:
                known = [
                    *of_train,
                    *of_picture,
                    *(f"drawn.{f.name}" for f in fields(DrawnPlan) if plan.drawn is not None),
                ]
                raise ConfigError(f"--set {name} is given, but there is no such setting. {suggest(name, known)}")
        return plan

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"data": [str(path) for path in self.data]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PicturePlan:
        """Read what ``to_dict`` wrote."""
        return cls(
            data=tuple(map(Path, values["data"])),
            drawn=None if values["drawn"] is None else changed(DrawnPlan(), values["drawn"]),
            picture=changed(PictureSettings(), values["picture"]),
            train=values["train"],
            prompts=tuple(values["prompts"]),
            card=values["card"],
        )


# ── pictures and words ─────────────────────────────────────────────────────────────────────────────────


def open_corpus(
    plan: PicturePlan, cache: Path, progress: Callable[[str, int, int], None] | None = None, factor: int = 1
) -> PictureCorpus:
    """The plan's pictures; ``factor`` is the autoencoder's."""
    picture = plan.picture
    return open_pictures(
        plan.data,
        plan.drawn,
        cache,
        size=picture.pixels,
        validation=picture.validation,
        buckets=picture.buckets,
        multiple=factor * (picture.patch or choose_patch(picture.pixels, factor)),
        column=picture.column,
        captions=picture.captions,
        progress=progress,
    )


def choose_patch(pixels: int, factor: int = 1) -> int:
    """64 vectors for small pictures, 256 for larger ones; of latents, sides are divided by ``factor`` already."""
    return max(1, pixels // factor // (8 if pixels <= 64 else 16))


def choose_heads(dim: int) -> int:
    """Heads of about 64, each a multiple of 4, which rotary positions of two axes need."""
    fitting = [heads for heads in range(1, dim // 4 + 1) if dim % (4 * heads) == 0]
    return min(fitting, key=lambda heads: abs(math.log(dim / heads / 64)), default=1)


def open_autoencoder(picture: PictureSettings) -> tuple[Autoencoder | None, dict[str, Any]]:
    """The autoencoder that the settings name, and what it says of itself.

    Raises:
        WeightsError: it is missing, damaged, or of another kind.
        TrainingError: it is a run that is not at its end.
        ConfigError: the pictures' side is no multiple of its factor.
    """
    if picture.autoencoder is None:
        return None, {}
    path = Path(picture.autoencoder)
    if (path / "run.json").is_file():
        ended = last_event(read_events(path), "ended")
        if ended is None or ended["reason"] != "finished":
            raise TrainingError(
                f"the autoencoder's run {path} is not at its end, but a picture model keeps the autoencoder that it learns with. "
                f"Go on with `limner train autoencoder --resume {path}`, or name {path / 'model'} to take it as it is."
            )
        path = path / "model"
    coder, card = load_autoencoder(path, dtype=torch.float32)
    if picture.pixels % coder.factor:
        raise ConfigError(
            f"pixels is {picture.pixels}, but this autoencoder takes multiples of {coder.factor}. "
            f"Choose {max(1, round(picture.pixels / coder.factor)) * coder.factor}."
        )
    return coder, card


def make_latents(
    corpus: PictureCorpus,
    coder: Autoencoder | None,
    settings: TrainSettings,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[PictureSet, PictureSet] | None:
    """The latents of the pictures to train on and to judge by, or those made before; None without an autoencoder."""
    if coder is None:
        return None
    machine.prepare(settings)
    coder.to(torch.device(settings.device))
    made = latent_set(corpus.train, coder, progress), latent_set(corpus.validation, coder, progress)
    coder.cpu()
    return made


def read_captions(pictures: PictureSet, lower_case: bool = True) -> list[str]:
    """Captions of the first pictures, all of each."""
    found: list[str] = []
    for number in range(len(pictures)):
        found.extend(pictures.captions(number))
        if len(found) >= CAPTIONS_READ:
            break
    return [text.lower() for text in found] if lower_case else found


def caption_words(pictures: PictureSet) -> set[str]:
    """The words of all captions, in small letters; of all, since a word that is left out would be told as never seen."""
    return {word for number in range(len(pictures)) for text in pictures.captions(number) for word in words_of(text)}


# ── choosing what is not given ─────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class PictureChoice:
    """What a run will be: the model, the settings without ``auto``, and what is expected of it."""

    config: PictureConfig
    settings: TrainSettings
    parameters: int
    flops_per_picture: float


def choose(
    plan: PicturePlan,
    corpus: PictureCorpus,
    tokenizer: Tokenizer,
    longest: int,
    coder: Autoencoder | None = None,
    reader: PublishedEncoder | None = None,
) -> PictureChoice:
    """Derive width, depth, batch and rates; what is given stays.

    Args:
        longest: tokens of the longest caption.
        coder: the autoencoder, where there is one.
        reader: the published prompt encoder, where there is one.
    Raises:
        ConfigError: a given value that cannot be used.
    """
    picture, given = plan.picture, dict(plan.train)
    if given.get("steps") is None and given.get("minutes") is None:
        given["minutes"] = DEFAULT_MINUTES
    given.setdefault("batch_size", min(BATCH_PICTURES, len(corpus.train)))
    given.setdefault("ema", 0.999)
    asked = changed(TrainSettings(), given)
    machine.prepare(replace(asked, threads=asked.threads or machine.physical_cores()))
    device = machine.resolve_device(asked.device)
    dtype = torch.bfloat16 if machine.bfloat16_helps(device) and asked.precision != "float32" else torch.float32
    factor, channels = (1, 3) if coder is None else (coder.factor, coder.latent_channels)
    patch = picture.patch or choose_patch(picture.pixels, factor)
    _, (height, width) = max(zip(map(len, corpus.train.numbers), corpus.train.buckets, strict=True))  # the commonest
    vectors = (height // factor // patch) * (width // factor // patch)
    context = picture.context_length or min(128, -(-(longest + 1) // 8) * 8)
    dims, wanted = [32, *range(64, 64 * 25, 64)], math.inf
    if picture.dim:
        dims = [picture.dim]
    elif picture.size != "auto":
        wanted = float(read_size(picture.size))
    else:
        dims, wanted = [dim for dim in dims if dim >= NARROWEST], 5e6
        if asked.minutes is not None:
            speed = EFFICIENCY * machine.matmul_peak(device, dtype)
            wanted = min(max(speed * asked.minutes * 60 / (6 * vectors * PICTURES_SEEN), 5e5), 1e8)
    best: PictureConfig | None = None
    for dim in dims:
        layers = picture.num_layers or max(3, round(dim / 40))
        config = make_config(
            size=(height, width),
            patch=patch,
            dim=dim,
            num_layers=layers,
            num_heads=picture.num_heads or choose_heads(dim),
            vocab_size=tokenizer.vocab_size,
            context_length=context,
            prompt_layers=picture.prompt_layers,
            bottleneck=picture.bottleneck if picture.bottleneck >= 0 else (128 if channels * patch**2 > 256 else 0),
            diffusion=picture.diffusion(factor),
            autoencoder=None if coder is None else coder.config,
            published=None if reader is None else reader.model.config,
        )
        parameters = count_parameters(config)
        if best is None and dim < NARROWEST and parameters > SMALLER * wanted:
            raise ConfigError(
                f"size is {picture.size}, but the smallest model for these pictures has {parameters:,} parameters. Choose more, or "
                "fewer tokens with vocab_size."
            )
        if best is not None and parameters > wanted:
            break
        best = config
    assert best is not None
    parameters = count_parameters(best)
    scale = (256 / best.denoiser.dim) ** 0.5
    given = {"learning_rate": round(3e-3 * scale, 6), "matrix_rate": round(5e-3 * scale, 6)} | given
    asked = changed(TrainSettings(), given)
    flops = 6.0 * parameters * vectors
    seconds = asked.minutes * 60 if asked.minutes is not None else None
    return PictureChoice(best, resolve(asked, seconds), parameters, flops)


def count_parameters(config: PictureConfig) -> int:
    """How many numbers are trained."""
    with torch.device("meta"):
        return sum(p.numel() for p in PictureModel(config).parameters() if p.requires_grad)


# ── the run ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class PictureRun:
    """A picture model's run, ready to train: made by ``start`` or ``go_on``."""

    plan: PicturePlan
    corpus: PictureCorpus
    tokenizer: Tokenizer
    words: list[str]
    choice: PictureChoice
    folder: RunFolder
    resumed: bool = False
    latents: tuple[PictureSet, PictureSet] | None = None  # of the pictures to train on and to judge by
    long_captions: str = ""  # a sentence on those that do not fit the window
    fixed: dict[str, Tensor] = field(default_factory=dict)  # what is not trained: the coder, a published prompt encoder

    def summary(self) -> str:
        """What will be done, in a few lines."""
        config, settings = self.choice.config, self.choice.settings
        denoiser = config.denoiser
        latents = f" of latents, each place {config.factor} × {config.factor} pixels" if config.autoencoder else ""
        lines = [
            *self.corpus.summary(),
            f"model: {self.choice.parameters / 1e6:.1f}M parameters, {denoiser.stack.num_layers} layers of {denoiser.dim}",
            f"      {config.size[0]} × {config.size[1]} pixels in patches of {denoiser.patch}{latents}",
            f"      prompts of up to {config.prompt.context_length} tokens, {self.tokenizer.vocab_size:,} in all",
            *self._reading(),
            *training_summary(settings),
        ]
        return "\n".join(lines)

    def _reading(self) -> list[str]:
        """On a published encoder, and on captions that are too long for the window."""
        lines = [f"      {self.long_captions}"] if self.long_captions else []
        if self.plan.picture.prompt_encoder is not None:
            prompt = self.choice.config.prompt
            name = Path(self.plan.picture.prompt_encoder).resolve().name
            lines.append(
                f"      read by {name}, {prompt.stack.num_layers} layers of {prompt.dim}, which is not trained"
            )
        return lines

    def finished(self) -> Outcome | None:
        """How the run ended, if it came to its end and was judged; None: there is something left to do."""
        return finished(self.folder, self.choice.settings)

    def watchers(self) -> list[Watcher]:
        """What shows the run as it goes."""
        settings, flops = self.choice.settings, self.choice.flops_per_picture
        pictures = settings.batch_size * settings.accumulate
        return watchers_for(settings, self.folder, a_step=pictures, flops=flops, unit="pictures")

    def train(self, watchers: Sequence[Watcher] = ()) -> Outcome:
        """Run the loop to its end, or until it is interrupted; then judge the best model.

        Raises:
            TrainingError: see ``Training.run``.
            WeightsError: a checkpoint that does not fit.
        """
        settings, picture, config = self.choice.settings, self.plan.picture, self.choice.config
        machine.prepare(settings)  # before the model, whose first sums start torch's threads
        torch.manual_seed(settings.seed)
        device = torch.device(settings.device)
        model = PictureModel(config).to(device)
        model.denoiser.stack.recompute = settings.checkpoint_activations
        if model.autoencoder is not None:
            coder, _ = load_autoencoder(self.folder.path / CODER, dtype=torch.float32)
            model.autoencoder.load_state_dict(coder.state_dict())
        trained = {name for name, p in model.named_parameters() if p.requires_grad}
        self.fixed = {name: value.cpu() for name, value in model.state_dict().items() if name not in trained}
        read: Callable[[Sequence[str]], tuple[Tensor, Tensor]] = self.read
        if config.frozen_prompt:
            published = load_model(self.folder.path / READER).model.state_dict()
            model.prompt_encoder.load_state_dict(published)
            self.fixed |= {f"prompt_encoder.{name}": value for name, value in published.items()}  # in its own dtype
            read = FrozenReader(model, self.rows)
        training_set, validation_set = self.latents or (self.corpus.train, self.corpus.validation)
        further = self.further_captions()
        batches = PictureBatches(
            training_set, settings.batch_size, settings.seed, flip=picture.flip, parts=picture.objects_first > 0
        )

        def batch(index: int) -> PictureStep:
            drawn = batches(index)
            captions = ["" if torch.rand(()) < picture.caption_drop else text for text in drawn.captions]
            ids, mask = read(captions)
            if settings.compile != "on":  # compiled, each length would be compiled anew
                longest = int(mask.sum(dim=1).max())
                ids, mask = ids[:, :longest], mask[:, :longest]
            clean = clean_of(model, drawn.images)
            times = process.draw_times(picture.diffusion_at(training.clock.progress(), config.factor), len(clean))
            noise = torch.randn(clean.shape)
            weights = self.weights(drawn, clean, training.clock.progress())
            return clean, noise.to(device), times.to(device), ids.to(device), mask.to(device), weights

        def step(batch: PictureStep) -> Tensor:
            return diffusion_loss(model, *batch).mean()

        def evaluate() -> Evaluation:
            heard = listening(model, validation_set, read, picture.evaluate_pictures, further)
            sheet = self.paint(model)
            path = self.folder.path / "samples" / f"step-{training.clock.step:07}.png"
            path.parent.mkdir(exist_ok=True)
            if sheet is not None:
                sheet.save(path)
            return Evaluation(heard, pictures=() if sheet is None else (sheet,))

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

    def weights(self, batch: PictureBatch, clean: Tensor, progress: float) -> Tensor | None:
        """How much each place of a batch counts, shape (batch, 1, height, width) of clean; None: all the same."""
        first = self.plan.picture.objects_first
        if not first:
            return None
        strength = max(0.0, 1 - progress / first)
        if not strength:
            return torch.ones_like(clean[:, :1])  # and not None, which would be compiled anew
        assert batch.parts is not None  # ``start`` has looked
        weights = process.object_weights(batch.parts.to(clean.device), strength)
        return avg_pool2d(weights[:, None], batch.parts.shape[-1] // clean.shape[-1])

    def read(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids and mask of captions, each (captions, window)."""
        return pad(self.rows(captions), self.choice.config.prompt.context_length)

    def further_captions(self) -> list[str]:
        """Different captions of pictures to train on, from all of their files."""
        pictures = self.corpus.train
        some = range(0, len(pictures), max(1, len(pictures) // FURTHER))
        return list(dict.fromkeys(pictures.captions(number)[0] for number in some))

    def rows(self, captions: Sequence[str]) -> list[list[int]]:
        """Ids of captions; one that is longer than the window is cut, which ``summary`` tells and happens to no prompt."""
        window, lower_case = self.choice.config.prompt.context_length, self.choice.config.lower_case
        return [cut(self.tokenizer, prompt_ids(self.tokenizer, text, lower_case), window) for text in captions]

    def paint(self, model: PictureModel) -> Image.Image | None:
        """The run's prompts, each with the seed of its place; None where there are none."""
        if not self.plan.prompts:
            return None
        painter = PictureGenerator(model, self.tokenizer)
        settings = PaintSettings(steps=self.plan.picture.sample_steps, guidance=self.plan.picture.guidance)
        painted = painter.generate(list(self.plan.prompts), seed=0, settings=settings)
        return grid([one.image for one in painted], min(4, len(painted)))

    def _export(self, weights: dict[str, Tensor], step: int, metrics: dict[str, float]) -> None:
        model = empty(lambda: PictureModel(self.choice.config))
        fill(model, self.fixed | {name: value.cpu() for name, value in weights.items()}, None)
        dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[self.plan.picture.dtype]
        save_picture_model(self.folder.model, model, self.tokenizer, self._card(step, metrics), dtype=dtype)

    def _card(self, step: int, metrics: Mapping[str, float]) -> dict[str, Any]:
        settings = self.choice.settings
        trained_on = "drawings of the picture-book world" if self.plan.drawn else None
        return {
            "name": self.folder.path.name,
            "trained_on": trained_on or ", ".join(sorted({path.name for path in self.plan.data})),
            **self.plan.card,
            "parameters": self.choice.parameters,
            "words": self.words,
            "training": {
                "steps": step,
                "pictures": step * settings.batch_size * settings.accumulate,
                "unique_pictures": len(self.corpus.train),
                "settings": settings.to_dict(),
                "date": time.strftime("%Y-%m-%d"),
            },
            "validation": dict(metrics) | {"pictures": len(self.corpus.validation)},
        }

    def _judge(self, step: int) -> dict[str, float]:
        """Measure the finished model folder: how well it sees, whether it listens, and whether it only remembers."""
        loaded = load_picture_model(self.folder.model, dtype=torch.float32)
        model = loaded.model.to(torch.device(self.choice.settings.device))
        validation_set = self.latents[1] if self.latents else self.corpus.validation
        metrics = listening(model, validation_set, self.read, len(validation_set), self.further_captions())
        metrics |= memorisation(PictureGenerator(model, self.tokenizer), self.corpus, self.plan.picture)
        loaded.card["validation"] |= metrics
        written = load_picture_model(self.folder.model, verify=False).model  # as it is on disk, in whatever dtypes
        save_picture_model(self.folder.model, written, self.tokenizer, loaded.card)
        self.folder.event("result", step=step, **metrics)
        return metrics


# ── judging ────────────────────────────────────────────────────────────────────────────────────────────


def clean_of(model: PictureModel, images: Tensor) -> Tensor:
    """What noise is added to, float32 on the model's device: latents that were kept, or what is made of uint8 pixels."""
    images = images.to(model.denoiser.patch.weight.device)
    return images.float() if images.is_floating_point() else model.to_latent(from_bytes(images))


def diffusion_loss(
    model: PictureModel,
    picture: Tensor,
    noise: Tensor,
    time: Tensor,
    ids: Tensor,
    mask: Tensor,
    weights: Tensor | None = None,
) -> Tensor:
    """The loss of each picture, shape (batch,): noise is added, and the model says what it sees."""
    diffusion = model.config.diffusion
    noisy = process.add_noise(picture, noise, *process.levels(diffusion.process, time))
    predicted = model(noisy.to(model.denoiser.patch.weight.dtype), time, ids, mask)
    return process.loss(diffusion, predicted.float(), noisy, picture, noise, time, weights)


@torch.no_grad()
def listening(
    model: PictureModel,
    pictures: PictureSet,
    read: Callable[[Sequence[str]], tuple[Tensor, Tensor]],
    count: int,
    further: Sequence[str] = (),
) -> dict[str, float]:
    """The loss with the pictures' own captions, and with those of others: a model that listens does worse there.

    Args:
        pictures: or their latents.
        read: captions to ids and mask.
        count: pictures to look at; noise and times are the same each time.
        further: captions to take where all pictures that are looked at together have the same one.
    Returns:
        ``loss``, and ``loss_other_captions`` unless no other caption was found for some of the pictures.
    """
    device = model.denoiser.patch.weight.device

    def loss_with(captions: Sequence[str], *seen: Tensor) -> float:
        parts = [part.to(device) for part in (*seen, *read(captions))]
        return float(diffusion_loss(model, *parts).sum())

    batches = PictureBatches(pictures, min(32, len(pictures)), seed=0)
    own = others = 0.0
    seen, all_heard = 0, True
    for index in range(max(1, min(count, len(pictures)) // batches.batch_size)):
        batch = batches(index)
        generator = torch.Generator().manual_seed(index)
        picture = clean_of(model, batch.images)
        noise = torch.randn(picture.shape, generator=generator)
        times = process.draw_times(model.config.diffusion, len(picture), generator)
        seen += len(picture)
        own += loss_with(batch.captions, picture, noise, times)
        captions = exchanged(batch.captions, further)
        if captions is None:
            all_heard = False  # a mean of some pictures says nothing beside that of all
        elif all_heard:
            others += loss_with(captions, picture, noise, times)
    found = {"loss": own / seen}
    return found | {"loss_other_captions": others / seen} if all_heard else found


def exchanged(captions: Sequence[str], further: Sequence[str]) -> list[str] | None:
    """For each caption the next one that is another, of these or else of further ones; None if all are the same."""
    found = []
    for number, own in enumerate(captions):
        rest = (*captions[number + 1 :], *captions[:number], *further)
        other = next((one for one in rest if one != own), None)
        if other is None:
            return None
        found.append(other)
    return found


@torch.no_grad()
def memorisation(painter: PictureGenerator, corpus: PictureCorpus, picture: PictureSettings) -> dict[str, float]:
    """How near painted pictures are to the nearest training picture, and how near held-back ones are.

    Distances are root mean squares between pictures of 16 × 16 pixels, values from −1 to 1. A model that paints its
    training pictures again is much nearer to them than held-back pictures are.

    Returns:
        ``painted_to_nearest`` and ``held_back_to_nearest``, the means; ``painted_copies``, the share of painted pictures
        that are less than half as far from the nearest as held-back ones are. Nothing where no caption fits the window.
    """
    held_back = min(16, len(corpus.validation))
    prompts = [corpus.validation.captions(number)[0] for number in range(held_back)]
    length = painter.config.prompt.context_length
    lower_case = painter.config.lower_case
    prompts = [prompt for prompt in prompts if len(prompt_ids(painter.tokenizer, prompt, lower_case)) <= length]
    if not prompts:
        return {}
    painted = painter.generate(prompts, seed=0, steps=picture.sample_steps, guidance=picture.guidance)
    arrays = [_small(one.image) for one in painted]
    arrays += [_small(Image.fromarray(corpus.validation.picture(number)[0])) for number in range(held_back)]
    nearest = torch.full((len(arrays),), float("inf"))
    wanted = torch.stack(arrays)
    for start in range(0, len(corpus.train), 512):
        some = range(start, min(start + 512, len(corpus.train)))
        known = torch.stack([_small(Image.fromarray(corpus.train.picture(number)[0])) for number in some])
        nearest = torch.minimum(nearest, torch.cdist(wanted, known).amin(dim=1))
    nearest = nearest / wanted.shape[1] ** 0.5
    from_prompts, others = nearest[: len(painted)], nearest[len(painted) :]
    return {
        "painted_to_nearest": float(from_prompts.mean()),
        "held_back_to_nearest": float(others.mean()),
        "painted_copies": float((from_prompts < COPY * others.mean()).float().mean()),
    }


def _small(image: Image.Image) -> Tensor:
    small = image.convert("RGB").resize((16, 16), Image.Resampling.BOX)
    return torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).float().mul_(2 / 255).sub_(1)


# ── beginning and going on ─────────────────────────────────────────────────────────────────────────────


def start(
    plan: PicturePlan,
    out: Path,
    *,
    cache: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> PictureRun:
    """Read the pictures, choose what is not given, and make the run folder.

    Args:
        plan: what is wanted.
        out: the run folder, new.
        cache: where prepared pictures are kept; by default beside prepared texts.
        progress: called while pictures are read, drawn or encoded.
    Raises:
        DataError: data that cannot be read or are too little.
        ConfigError: settings that cannot be used.
        ContextError: a prompt longer than the model will read.
        TrainingError: the folder holds a run already or cannot be written.
    """
    cache = (cache or cache_folder("pictures")).absolute()
    plan = replace(plan, data=tuple(path.absolute() for path in plan.data))
    RunFolder.check_new(out)
    check_drawn(plan.drawn, plan.picture.pixels)
    if plan.picture.objects_first and plan.drawn is None:
        raise ConfigError(
            f"objects_first is {plan.picture.objects_first:g}, but it is known of drawings alone which pixels are an object's. "
            "Write --set objects_first=0, or train on --drawings."
        )
    coder, coder_card = open_autoencoder(plan.picture)
    path, reader = plan.picture.prompt_encoder, None
    if path is not None:
        reader = open_published(path, plan.picture.context_length)
        plan = replace(plan, card={"prompt_encoder": reader.card, **plan.card})
    corpus = open_corpus(plan, cache, progress, 1 if coder is None else coder.factor)
    captions = read_captions(corpus.train, lower_case=reader is None)
    words = caption_words(corpus.train)
    size = plan.picture.vocab_size or min(8192, max(1024, 4 * len(words)))
    tokenizer = train_tokenizer("byte-bpe", captions, vocab_size=size) if reader is None else reader.tokenizer
    lengths = caption_lengths(tokenizer, captions, reader is None)
    choice = choose(plan, corpus, tokenizer, max(lengths), coder, reader)
    plan = replace(plan, prompts=choose_prompts(plan.prompts, corpus.validation, tokenizer, choice.config))
    long_captions = too_long(lengths, choice.config.prompt.context_length)
    latents = make_latents(corpus, coder, choice.settings, progress)
    known = sorted(words) if len(words) <= WORDS_KEPT else []
    folder = RunFolder.create(
        out,
        {
            "kind": "picture",
            "plan": plan.to_dict(),
            "train": choice.settings.to_dict(),
            "picture": choice.config.to_dict(),
            "parameters": choice.parameters,
            "flops_per_picture": choice.flops_per_picture,
            "words": known,
            "long_captions": long_captions,
            "corpus": {"cache": str(cache), **_identity(corpus)},
        },
        choice.settings.keep,
    )
    tokenizer.save(folder.path / "tokenizer")
    if coder is not None:
        save_autoencoder(folder.path / CODER, coder, coder_card)  # the run needs it until its end
    if reader is not None:
        save_model(folder.path / READER, reader.model, None, reader.card)  # and this
    return PictureRun(plan, corpus, tokenizer, known, choice, folder, latents=latents, long_captions=long_captions)


def choose_prompts(
    given: Sequence[str], held_back: PictureSet, tokenizer: Tokenizer, config: PictureConfig
) -> tuple[str, ...]:
    """What is painted as a model learns: what is given, else the first captions held back that the model can read.

    Raises:
        ContextError: one that is given is longer than the model reads.
    """
    length = config.prompt.context_length
    for text in given:
        if (count := len(prompt_ids(tokenizer, text, config.lower_case))) > length:
            raise ContextError(
                f"the prompt {text if len(text) <= 60 else text[:59] + '…'!r} has {count} tokens, but this model is to read {length}. "
                f"Shorten it, or add --set context_length={count}."
            )
    captions = (held_back.captions(number)[0] for number in range(len(held_back)))
    readable = (text for text in captions if len(prompt_ids(tokenizer, text, config.lower_case)) <= length)
    return tuple(given) or tuple(islice(readable, SHOWN))


def go_on(
    run: Path, *, assignments: Sequence[str] = (), progress: Callable[[str, int, int], None] | None = None
) -> PictureRun:
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
    folder, stored = open_run(run, "picture")
    plan = PicturePlan.from_dict(stored["plan"])
    values = dict(split_assignment(assignment) for assignment in assignments)
    settings = changed_on_the_way(TrainSettings.from_dict(stored["train"]), values, folder, partial(_same, plan))
    factor = PictureConfig.from_dict(stored["picture"]).factor
    corpus = open_corpus(plan, Path(stored["corpus"]["cache"]), progress, factor)
    check_same(_identity(corpus), stored["corpus"])
    tokenizer = Tokenizer.load(folder.path / "tokenizer")
    folder.checkpoints.keep = settings.keep
    choice = PictureChoice(
        PictureConfig.from_dict(stored["picture"]), settings, stored["parameters"], stored["flops_per_picture"]
    )
    coder = None
    if choice.config.autoencoder is not None:
        coder, _ = load_autoencoder(folder.path / CODER, dtype=torch.float32)
    latents = make_latents(corpus, coder, settings, progress)
    if values:
        folder.write_plan({**stored, "train": settings.to_dict()})
    told = stored.get("long_captions", "")
    return PictureRun(
        plan, corpus, tokenizer, stored["words"], choice, folder, resumed=True, latents=latents, long_captions=told
    )


def _same(plan: PicturePlan, name: str, value: str) -> bool | None:
    """Whether a setting that is not the loop's is as the run began with; None: it is the loop's, or there is none."""
    if name in {f.name for f in fields(PictureSettings)}:
        return changed(plan.picture, {name: value}) == plan.picture
    if name.startswith("drawn.") and plan.drawn is not None:
        return changed(plan.drawn, {name.removeprefix("drawn."): value}, "drawn.") == plan.drawn
    return None


def _identity(corpus: PictureCorpus) -> dict[str, Any]:
    """What must be the same for a run to go on."""
    return {
        "training_pictures": len(corpus.train),
        "validation_pictures": len(corpus.validation),
        "training_fingerprint": corpus.train.fingerprint(),
        "validation_fingerprint": corpus.validation.fingerprint(),
    }
