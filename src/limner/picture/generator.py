"""Painting: from prompts to pictures with a picture model."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor

from limner.core.errors import ConfigError, ContextError, DataError, suggest
from limner.core.tap import NO_TAP, Tap
from limner.picture.config import PictureConfig
from limner.picture.denoiser import PictureModel
from limner.picture.guidance import Guide, Prompts, weigh
from limner.picture.images import save_png, to_image, to_tensor
from limner.picture.process import add_noise, levels
from limner.picture.samplers import SAMPLERS, make_times
from limner.tokens import Tokenizer

MOST_STEPS = 1000
MOST_GUIDANCE = 30.0


@dataclass(frozen=True)
class PaintSettings:
    """How a picture is made. Together with prompt, seed and model it says every pixel.

    Attributes:
        steps: looks of the sampler (Heun takes two a step).
        guidance: how strongly the prompt pulls; 1: not at all beyond itself, 0: the prompt is ignored.
        negative: what to lead away from.
        size: height and width in pixels; None: what the model was trained at.
        strength: with a picture to start from, how much of the way from noise is gone again: above 0, up to 1.
    """

    steps: int = 25
    guidance: float = 4.0
    negative: str = ""
    sampler: Literal["euler", "heun", "ddim", "dpm++", "ancestral"] = "euler"
    size: tuple[int, int] | None = None
    strength: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= MOST_STEPS:
            raise ConfigError(f"steps is {self.steps}, but a picture takes 1 to {MOST_STEPS:,}. 25 is usual.")
        if not (math.isfinite(self.guidance) and 0.0 <= self.guidance <= MOST_GUIDANCE):
            raise ConfigError(
                f"guidance is {self.guidance:g}, but it goes from 0 (ignore the prompt) to {MOST_GUIDANCE:g}. 4 is usual."
            )
        if self.sampler not in SAMPLERS:
            raise ConfigError(f"sampler is {self.sampler!r}, but there is none. {suggest(self.sampler, SAMPLERS)}")
        if not 0.0 < self.strength <= 1.0:
            raise ConfigError(f"strength is {self.strength:g}, but it is a share of the way. Choose above 0, up to 1.")

    def check_size(self, config: PictureConfig) -> tuple[int, int]:
        """Height and width for this model.

        Raises:
            ConfigError: a side is not a multiple that the model makes, or more than twice what it was trained at.
        """
        size = self.size or config.size
        for side, trained in zip(size, config.size, strict=True):
            if side % config.multiple or not 0 < side <= 2 * trained:
                raise ConfigError(
                    f"size is {size[0]} × {size[1]}, but this model makes sides that are multiples of {config.multiple} "
                    f"up to {2 * trained}. It was trained at {config.size[0]} × {config.size[1]}."
                )
        return size


@dataclass(frozen=True)
class Look:
    """One look of the sampler.

    Attributes:
        number: from 0.
        time: 1 (noise) to 0.
        noisy: x_t, half precision, shape (channels, height, width), on the CPU.
        seen: the picture that the guided model saw in it, likewise.
    """

    number: int
    time: float
    noisy: Tensor
    seen: Tensor


@dataclass(frozen=True)
class Picture:
    """A painted picture and everything that made it.

    Attributes:
        settings: plain JSON values: prompt, seed, model, sampler, steps, …; they are saved in the PNG.
        looks: the record of its making.
        notes: what a person should know, such as words that the model has never seen.
    """

    image: Image.Image
    settings: dict[str, Any]
    looks: tuple[Look, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def seed(self) -> int:
        """What its noise was drawn from."""
        return int(self.settings["seed"])

    def save(self, path: Path | str) -> None:
        """Write a PNG that carries the settings.

        Raises:
            DataError: it cannot be written.
        """
        save_png(self.image, path, self.settings)

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows."""
        return self.image._repr_png_()


@dataclass(frozen=True)
class _Job:
    """One picture to be made."""

    prompts: Prompts
    noise: Tensor  # shape (1, channels, height, width)
    generator: torch.Generator
    settings: dict[str, Any]
    notes: tuple[str, ...] = ()
    start: Tensor | None = None
    open: Tensor | None = None  # 1 where something new is painted, 0 where the start stays
    kept: tuple[Tensor, Tensor] | None = None  # the same two in pixels


OnStep = Callable[[int, int, Look], None]


class PictureGenerator:
    """Paints with a picture model: ``limner.load("picturebook").generate("a fox in a green top hat")``.

    Args:
        model: in evaluation mode.
        tokenizer: that its prompts were read with in training.
        card: what the model's folder says of itself.
        sha256: names the weights for good.
    """

    def __init__(
        self, model: PictureModel, tokenizer: Tokenizer, *, card: dict[str, Any] | None = None, sha256: str = ""
    ) -> None:
        self.model, self.tokenizer, self.card, self.sha256 = model, tokenizer, dict(card or {}), sha256
        self.config = model.config
        self._words = frozenset(self.card.get("words") or ())

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.model.denoiser.patch.weight.device

    # ── prompts ─────────────────────────────────────────────────────────────────────────────────────

    def read_prompt(self, prompt: str) -> list[int]:
        """The ids of a prompt, the beginning included.

        Raises:
            ContextError: it is longer than the model reads.
        """
        ids = prompt_ids(self.tokenizer, prompt, self.config.lower_case)
        longest = self.config.prompt.context_length
        if len(ids) > longest:
            raise ContextError(
                f"the prompt has {len(ids)} tokens, but this model reads {longest}. Shorten it; nothing is cut silently."
            )
        return ids

    def unknown_words(self, prompt: str) -> list[str]:
        """The words of a prompt that the model's captions never had; empty where it was not recorded."""
        if not self._words:
            return []
        return sorted({word for word in words_of(prompt) if word not in self._words})

    def prompts(self, wanted: Sequence[tuple[str, float]], negative: str, guidance: float) -> Prompts:
        """Prompts with their weights, and the negative one, as a network reads them; padded always to the same length."""
        rows = [self.read_prompt(text) for text, _ in wanted] + [self.read_prompt(negative)]
        ids, mask = pad(rows, self.config.prompt.context_length)
        return Prompts(ids.to(self.device), mask.to(self.device), weigh([w for _, w in wanted]), guidance)

    # ── painting ────────────────────────────────────────────────────────────────────────────────────

    def generate(
        self,
        prompt: str | Sequence[str],
        *,
        n: int = 1,
        seed: int | None = None,
        settings: PaintSettings | None = None,
        start: Image.Image | None = None,
        mask: Image.Image | None = None,
        on_step: OnStep | None = None,
        tap: Tap = NO_TAP,
        **changes: Any,
    ) -> list[Picture]:
        """Paint pictures; each is the one that its seed makes alone, whatever is painted beside it.

        Args:
            prompt: one or several.
            n: pictures for each prompt.
            seed: of the first picture; the others count on from it. None: a new one.
            settings, changes: how; ``steps=50`` and the like change single values.
            start: refine this picture instead of pure noise, from ``strength`` of the way.
            mask: white where to paint anew, black where ``start`` stays; of start's size.
            on_step: called with the picture's number, how many looks there will be, and each look.
            tap: sees the forward passes, under ``look.0``, ``look.1``, …
        Returns:
            n pictures for the first prompt, then n for the second, …
        Raises:
            ConfigError: a setting out of its range.
            ContextError: a prompt longer than the model reads.
            DataError: a mask of another size than the picture.
        """
        settings = replace(settings or PaintSettings(), **changes)
        if n < 1:
            raise ConfigError(f"n is {n}, but at least 1 picture can be painted. Choose a larger number.")
        first = new_seed() if seed is None else seed
        if start is None and settings.strength < 1.0:
            raise ConfigError(f"strength is {settings.strength:g}, but there is no picture to start from. Give one.")
        texts = [prompt] if isinstance(prompt, str) else list(prompt)
        jobs = []
        for at, text in enumerate(texts):
            prompts = self.prompts([(text, 1.0)], settings.negative, settings.guidance)
            for number in range(n):
                job = self._job(text, prompts, first + at * n + number, settings)
                jobs.append(self._with_start(job, start, mask))
        return [self._paint(job, number, settings, on_step, tap) for number, job in enumerate(jobs)]

    def blend(
        self,
        prompt: str,
        other: str,
        *,
        frames: int = 7,
        seed: int | None = None,
        other_seed: int | None = None,
        settings: PaintSettings | None = None,
        on_step: OnStep | None = None,
        **changes: Any,
    ) -> list[Picture]:
        """From one prompt to another, and from one seed's noise to another's, in equal steps.

        The predictions for both prompts are mixed at each look; noise is turned from one seed's to the other's along
        the sphere on which it lies.

        Raises:
            ConfigError: fewer than 2 frames, or a setting out of its range.
        """
        settings = replace(settings or PaintSettings(), **changes)
        if frames < 2:
            raise ConfigError(f"frames is {frames}, but from one to another takes at least 2. Choose a larger number.")
        seed = new_seed() if seed is None else seed
        pictures = []
        for number in range(frames):
            share = number / (frames - 1)
            wanted = [pair for pair in ((prompt, 1.0 - share), (other, share)) if pair[1] > 0.0]
            job = self._job(prompt, self.prompts(wanted, settings.negative, settings.guidance), seed, settings)
            mixed = {"blend": other, "share": round(share, 6), "frames": frames}
            if other_seed is not None:
                job = replace(job, noise=between(job.noise, self._noise(other_seed, settings)[0], share))
                mixed["other_seed"] = other_seed
            job = replace(job, settings=job.settings | mixed)
            pictures.append(self._paint(job, number, settings, on_step, NO_TAP))
        return pictures

    # ── one picture ─────────────────────────────────────────────────────────────────────────────────

    def _job(self, prompt: str, prompts: Prompts, seed: int, settings: PaintSettings) -> _Job:
        noise, generator = self._noise(seed, settings)
        plain = asdict(replace(settings, size=settings.check_size(self.config)))
        described = {
            "prompt": prompt,
            "seed": seed,
            **plain,
            "size": list(plain["size"]),
            "model": str(self.card.get("name", "")),
            "sha256": self.sha256,
        }
        return _Job(prompts, noise, generator, described, self._notes(prompt, settings.negative))

    def _notes(self, *texts: str) -> tuple[str, ...]:
        words = sorted({word for text in texts for word in self.unknown_words(text)})
        if not words:
            return ()
        listed = ", ".join(f"“{word}”" for word in words[:8]) + (" …" if len(words) > 8 else "")
        return (f"The model has never seen {listed}; it may ignore {'it' if len(words) == 1 else 'them'}.",)

    def _noise(self, seed: int, settings: PaintSettings) -> tuple[Tensor, torch.Generator]:
        """The first noise of a seed, drawn on the CPU so that every device starts alike; and what draws the rest."""
        height, width = settings.check_size(self.config)
        shape = (1, self.config.denoiser.channels, height // self.config.factor, width // self.config.factor)
        try:
            generator = torch.Generator().manual_seed(seed)
        except (RuntimeError, ValueError, OverflowError):
            raise ConfigError(f"seed is {seed}, but it must fit into 64 bits. Choose a smaller number.") from None
        return torch.randn(shape, generator=generator), generator

    def _with_start(self, job: _Job, start: Image.Image | None, mask: Image.Image | None) -> _Job:
        if start is None:
            if mask is not None:
                raise ConfigError("a mask is given, but there is no picture to paint into. Give one to start from.")
            return job
        height, width = job.settings["size"]
        if start.size != (width, height):
            raise DataError(
                f"the picture to start from is {start.height} × {start.width}, but {height} × {width} is painted. Resize it."
            )
        pixels = to_tensor(start).to(self.device)
        job = replace(job, start=self._to_latent(pixels))
        if mask is None:
            return job
        if mask.size != start.size:
            raise DataError(
                f"the mask is {mask.height} × {mask.width}, but the picture is {start.height} × {start.width}. "
                "Make them the same size."
            )
        wanted = (to_tensor(mask).mean(dim=1, keepdim=True).to(self.device) > 0).float()
        if not wanted.any():
            raise DataError("the mask is black everywhere, but white says where to paint. Make a part of it white.")
        factor = self.config.factor
        places = wanted if factor == 1 else torch.nn.functional.max_pool2d(wanted, factor)
        return replace(job, open=places, kept=(pixels, wanted))

    def _to_latent(self, pixels: Tensor) -> Tensor:
        """What is refined, for pixels of shape (batch, 3, height, width) from −1 to 1."""
        return pixels

    def _to_pixels(self, latent: Tensor) -> Tensor:
        """The other way."""
        return latent

    @torch.inference_mode()
    def _paint(self, job: _Job, number: int, settings: PaintSettings, on_step: OnStep | None, tap: Tap) -> Picture:
        process = self.config.diffusion.process
        times = make_times(process, max(1, round(settings.steps * settings.strength)), settings.strength)
        total = self._looks(len(times) - 1, settings)
        looks: list[Look] = []

        def seen(time: Tensor, noisy: Tensor, picture: Tensor) -> None:
            halves = [value[0].half().cpu() for value in (noisy, picture)]
            looks.append(Look(len(looks), float(time), *halves))
            if on_step is not None:
                on_step(number, total, looks[-1])

        def keep(picture: Tensor) -> Tensor:
            assert job.start is not None
            assert job.open is not None
            return torch.where(job.open > 0, picture, job.start)

        def fresh() -> Tensor:
            return torch.randn(job.noise.shape, generator=job.generator).to(self.device)

        look = Guide(self.model, job.prompts, keep=None if job.open is None else keep, on_look=seen, tap=tap)
        x = job.noise.to(self.device)
        if job.start is not None:
            alpha, sigma = (level.to(self.device) for level in levels(process, times[:1]))
            x = add_noise(job.start, x, alpha, sigma)
        latent = SAMPLERS[settings.sampler](look, x, times, process, fresh)
        pixels = self._to_pixels(latent)
        if job.kept is not None:
            pixels = torch.where(job.kept[1] > 0, pixels, job.kept[0])
        return Picture(to_image(pixels[0]), job.settings, tuple(looks), job.notes)

    @staticmethod
    def _looks(steps: int, settings: PaintSettings) -> int:
        return 2 * steps - 1 if settings.sampler == "heun" else steps


# ── prompts as ids, and small things ───────────────────────────────────────────────────────────────────


def prompt_ids(tokenizer: Tokenizer, prompt: str, lower_case: bool) -> list[int]:
    """What a prompt is for the model: the beginning, then its tokens."""
    text = " ".join(prompt.split())
    begin = [] if tokenizer.begin_id is None else [tokenizer.begin_id]
    return begin + tokenizer.encode(text.lower() if lower_case else text)


def pad(rows: Sequence[Sequence[int]], length: int) -> tuple[Tensor, Tensor]:
    """Ids and which of them are real, each (rows, length)."""
    ids, mask = torch.zeros(len(rows), length, dtype=torch.long), torch.zeros(len(rows), length, dtype=torch.bool)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
        mask[number, : len(row)] = True
    return ids, mask


def words_of(text: str) -> list[str]:
    """The words of a caption or a prompt, in small letters."""
    return re.findall(r"[^\W_]+", text.lower())


def between(one: Tensor, other: Tensor, share: float) -> Tensor:
    """From one noise to another along the sphere (spherical interpolation), so that it stays noise."""
    cosine = torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0).clamp(-0.9999, 0.9999)
    angle = cosine.acos()
    return ((1 - share) * angle).sin() / angle.sin() * one + (share * angle).sin() / angle.sin() * other


def new_seed() -> int:
    """A seed that nobody chose."""
    return int(torch.randint(0, 2**31, (), generator=torch.Generator().manual_seed(torch.seed())))
