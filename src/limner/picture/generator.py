"""Painting: from prompts to pictures with a picture model."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from limner.core.errors import ConfigError, DataError, WeightsError, suggest
from limner.core.tap import NO_TAP, Tap
from limner.picture.denoiser import PictureModel
from limner.picture.guidance import Guide, Prompts, weigh
from limner.picture.images import pixel_digest, to_image, to_tensor
from limner.picture.painting import (
    FROM_PICTURE,
    MOST_FRAMES,
    SEEDS,
    Given,
    Look,
    PaintSettings,
    Picture,
    looks_of,
    new_seed,
)
from limner.picture.process import add_noise, levels
from limner.picture.prompts import WORD, as_read, check_length, framing, pad, prompt_ids, words_of
from limner.picture.samplers import SAMPLERS, Fresh, make_times
from limner.picture.together import weights_apart
from limner.tokens import Tokenizer

if TYPE_CHECKING:
    from limner import PictureChange, PictureTrace


@dataclass(frozen=True)
class _Start:
    """A picture to begin from, and what of it stays."""

    pixels: Tensor  # shape (1, 3, height, width)
    latent: Tensor
    open: Tensor | None = None  # in pixels: True where something new is painted, False where the start stays
    open_latent: Tensor | None = None


@dataclass(frozen=True)
class _Job:
    """One picture to be made."""

    prompts: Prompts
    noise: Tensor  # shape (1, channels, height, width)
    fresh: Fresh  # what ``ancestral`` adds later
    described: dict[str, Any]
    notes: tuple[str, ...] = ()


TOGETHER = 4  # pictures in one pass, where that changes no bit of them; more gain little (docs/log.md)
OnStep = Callable[[int, int, Look], None]
OnLook = Callable[[Tensor, Tensor, Tensor], None]


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
        words = self.card.get("words")  # written by whoever made the model
        self._apart: dict[tuple[object, ...], tuple[Tensor, ...] | None] = {}  # what _together found
        self._words = frozenset(map(str, words)) if isinstance(words, list | tuple) else frozenset()

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.model.denoiser.patch.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in; noise, steps and pixels are float32 whatever this is."""
        return self.model.denoiser.patch.weight.dtype

    @property
    def parameters(self) -> int:
        """How many numbers the weights are."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    # ── prompts ─────────────────────────────────────────────────────────────────────────────────────

    def read_prompt(self, prompt: str, name: str = "prompt") -> list[int]:
        """The ids of a prompt, what frames it included; ``name`` is what a message calls it.

        Raises:
            ContextError: it is longer than the model reads.
        """
        ids = prompt_ids(self.tokenizer, prompt, self.config.lower_case)
        check_length(ids, self.config.prompt.context_length, name)
        return ids

    def word_places(self, prompt: str) -> list[tuple[str, list[int]]]:
        """The words of a prompt in order, each with the places of its tokens among those of ``read_prompt``."""
        text = as_read(prompt, self.config.lower_case)
        begin = len(framing(self.tokenizer)[0])
        places: list[list[int]] = []
        spans = [match.span() for match in re.finditer(WORD, text)]
        pieces = self.tokenizer.pieces(text)
        for start, end in spans:
            places.append([begin + at for at, piece in enumerate(pieces) if piece.start < end and piece.end > start])
        return [(text[start:end], where) for (start, end), where in zip(spans, places, strict=True)]

    def unknown_words(self, prompt: str) -> list[str]:
        """The words of a prompt that the model's captions never had; empty where it was not recorded."""
        if not self._words:
            return []
        return sorted({word for word in words_of(prompt) if word not in self._words})

    def notes_on(self, *texts: str) -> tuple[str, ...]:
        """What a person should know of these prompts: sentences, or none."""
        words = sorted({word for text in texts for word in self.unknown_words(text)})
        if not words:
            return ()
        listed = ", ".join(f"“{word}”" for word in words[:8]) + (" …" if len(words) > 8 else "")
        return (f"The model has never seen {listed}; it may ignore {'it' if len(words) == 1 else 'them'}.",)

    def prompts(self, wanted: Sequence[tuple[str, float]], negative: str, guidance: float) -> Prompts:
        """Prompts with their weights, and the negative one, as a network reads them; padded always to the same length."""
        rows = [self.read_prompt(text) for text, _ in wanted] + [self.read_prompt(negative, "negative prompt")]
        ids, mask = pad(rows, self.config.prompt.context_length)
        return Prompts(ids.to(self.device), mask.to(self.device), weigh([w for _, w in wanted]), guidance)

    def settle(
        self,
        settings: PaintSettings | None = None,
        *,
        start: Image.Image | None = None,
        mask: Image.Image | None = None,
        **changes: Any,
    ) -> PaintSettings:
        """The settings with size and strength decided, as ``generate`` uses them.

        Raises:
            ConfigError: a setting out of its range, or that does not exist.
        """
        unknown = set(changes) - {field.name for field in fields(PaintSettings)}
        if unknown:
            name = sorted(unknown)[0]
            known = [field.name for field in fields(PaintSettings)]
            raise ConfigError(f"{name} is given, but painting has no such setting. {suggest(name, known)}")
        settings = replace(settings or PaintSettings(), **changes)
        strength = settings.strength
        if strength is None:
            strength = 1.0 if start is None or mask is not None else FROM_PICTURE
        elif start is None and strength < 1.0:
            raise ConfigError(f"strength is {strength:g}, but there is no picture to start from. Give one.")
        return replace(settings, strength=strength, size=settings.check_size(self.config))

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
            prompt: one or several; an empty one is what the model paints of itself.
            n: pictures for each prompt.
            seed: of the first picture; the others count on from it. None: a new one.
            settings, changes: how; ``steps=50`` and the like change single values.
            start: refine this picture instead of pure noise, from ``strength`` of the way.
            mask: white where to paint anew, black where ``start`` stays; of start's size.
            on_step: called with the picture's number, how many looks it takes, and each look; pictures that are made
                together take turns.
            tap: sees the forward passes, a picture at a time, under ``look.0``, ``look.1``, …
        Returns:
            n pictures for the first prompt, then n for the second, …
        Raises:
            ConfigError: a setting out of its range.
            ContextError: a prompt longer than the model reads.
            DataError: a start or a mask of another size than the picture.
        """
        return list(
            self.stream(
                prompt, n=n, seed=seed, settings=settings, start=start, mask=mask, on_step=on_step, tap=tap, **changes
            )
        )

    def stream(
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
        record: bool = True,
        **changes: Any,
    ) -> Iterator[Picture]:
        """As ``generate``, pictures as they are done; what is wrong with the arguments is told at once.

        A few pictures are made together where that changes no bit of them, and come one after another then.

        Args:
            record: keep each picture's looks.
        """
        settings = self.settle(settings, start=start, mask=mask, **changes)
        if n < 1:
            raise ConfigError(f"n is {n}, but at least 1 picture can be painted. Choose a larger number.")
        texts = [prompt] if isinstance(prompt, str) else list(prompt)
        first = new_seed() if seed is None else seed
        for one in (first, first + max(0, len(texts) * n - 1)):
            _generator(one)
        beginning = self._begin_from(start, mask, settings)
        all_prompts = [self.prompts([(text, 1.0)], settings.negative, settings.guidance) for text in texts]

        def pictures() -> Iterator[Picture]:
            number, most = 0, TOGETHER if tap is NO_TAP and start is None else 1
            while number < len(texts) * n:
                count = min(most, len(texts) * n - number)
                jobs = [
                    self._job(texts[at // n], all_prompts[at // n], first + at, settings)
                    for at in range(number, number + count)
                ]
                apart = self._together(jobs) if count > 1 else ()
                if apart is None:
                    most = count // 2
                    continue
                yield from self._paint(
                    jobs, number, settings, beginning, apart=apart, on_step=on_step, tap=tap, record=record
                )
                number += count

        return pictures()

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
        the sphere on which it lies, that which ``ancestral`` adds as well. The first and the last picture are those that
        their prompts and seeds make alone.

        Raises:
            ConfigError: fewer than 2 frames, or a setting out of its range.
            ContextError: a prompt longer than the model reads.
        """
        settings = self.settle(settings, **changes)
        if not 2 <= frames <= MOST_FRAMES:
            raise ConfigError(
                f"frames is {frames}, but from one picture to another takes 2 to {MOST_FRAMES:,}. 7 is usual."
            )
        seed = new_seed() if seed is None else seed
        for one in (seed, other_seed):
            if one is not None:
                _generator(one)
        jobs = [self._blended(prompt, other, at / (frames - 1), seed, other_seed, settings) for at in range(frames)]
        for job in jobs:
            job.described["frames"] = frames
        return [self._paint([job], number, settings, None, on_step=on_step)[0] for number, job in enumerate(jobs)]

    def again(
        self,
        described: Mapping[str, Any],
        *,
        start: Image.Image | None = None,
        mask: Image.Image | None = None,
        on_step: OnStep | None = None,
    ) -> list[Picture]:
        """Paint from the settings of a picture, as ``Picture.settings`` or ``read_settings`` give them.

        Args:
            start, mask: the pictures that it was made from, where there were any.
        Returns:
            One picture; of the settings of a whole blend, its frames.
        Raises:
            WeightsError: another model painted it.
            DataError: an entry is missing or no such value, or start or mask are missing or others.
        """
        settings = self.settings_of(described, start=start, mask=mask)
        if described.get("changes"):
            raise DataError(
                "the picture was painted with changes in the model, but this repeats what the model paints by itself. Use "
                "limner.paint_changed."
            )
        prompt, seed = described["prompt"], described["seed"]
        if "blend" not in described:
            return self.generate(prompt, seed=seed, settings=settings, start=start, mask=mask, on_step=on_step)
        other, other_seed = described["blend"], described.get("other_seed")
        if "share" not in described:
            frames = described.get("frames", 0)
            return self.blend(
                prompt, other, frames=frames, seed=seed, other_seed=other_seed, settings=settings, on_step=on_step
            )
        job = self._blended(prompt, other, described["share"], seed, other_seed, settings)
        return self._paint([job], 0, settings, None, on_step=on_step)

    def settings_of(
        self, described: Mapping[str, Any], *, start: Image.Image | None = None, mask: Image.Image | None = None
    ) -> PaintSettings:
        """How a picture of this model was made, from its settings.

        Args:
            start, mask: the pictures that it was made from, where there were any.
        Raises:
            WeightsError: another model painted it.
            DataError: an entry is missing or no such value, or start or mask are missing or others.
        """
        check_described(described)
        names = [field.name for field in fields(PaintSettings) if field.name != "size"]
        settings = PaintSettings(
            **{name: described[name] for name in names}, size=(described["height"], described["width"])
        )
        model, digest = described["model"], described["sha256"]
        if digest != self.sha256:
            raise WeightsError(
                f"the picture was painted by {model or 'a model'} with weights {str(digest)[:12]}…, but this model's are "
                f"{self.sha256[:12]}…. Open the model that painted it."
            )
        for name, image in (("from", start), ("mask", mask)):
            _check_given(name, described.get(name), image)
        return settings

    @torch.inference_mode()
    def look_again(
        self,
        described: Mapping[str, Any],
        looks: Iterable[Given],
        *,
        start: Image.Image | None = None,
        mask: Image.Image | None = None,
        tap: Tap = NO_TAP,
    ) -> list[Tensor]:
        """Look once more at what the model was given at some looks of a picture, without painting the rest.

        Args:
            described: ``Picture.settings`` of the picture, which is of one prompt.
            looks: some of ``Picture.looks``.
            start, mask: the pictures that it was made from, where there were any.
            tap: sees each look under its number, as in ``generate``.
        Returns:
            What is seen in each, float32, shape (channels, height, width), on the CPU. It is what was seen then but for
            what half precision took from what was given.
        Raises:
            WeightsError: another model painted it.
            DataError: as for ``again``; or it is a picture of a blend.
        """
        settings = self.settings_of(described, start=start, mask=mask)
        if "blend" in described:
            raise DataError("the picture is one of a blend, but this looks at one prompt's. Give one painted alone.")
        prompts = self.prompts([(described["prompt"], 1.0)], settings.negative, settings.guidance)
        guide = self._guide([prompts], self._begin_from(start, mask, settings), tap=tap)
        seen = []
        for look in looks:
            guide.looks = look.number
            picture, _ = guide(look.noisy[None].float().to(self.device), torch.tensor(look.time))
            seen.append(picture[0].cpu())
        return seen

    def show(self, refined: Tensor) -> Image.Image:
        """What a look holds, its ``noisy`` or its ``seen``, as a picture."""
        with torch.inference_mode():
            return to_image(self.model.to_pixels(refined[None].float().to(self.device))[0])

    def trace(
        self,
        source: Picture | PictureTrace | str,
        *,
        seed: int | None = None,
        settings: PaintSettings | None = None,
        looks: Sequence[int] | None = None,
        detailed: Sequence[int] | None = None,
        self_attention: bool | Collection[int] = False,
        changes: Iterable[PictureChange | Mapping[str, Any]] = (),
        start: Image.Image | None = None,
        mask: Image.Image | None = None,
        on_step: OnStep | None = None,
        **values: Any,
    ) -> PictureTrace:
        """Look inside the making of a picture, or paint one and look meanwhile: see ``limner.trace_picture``."""
        from limner import trace_picture  # explain stands above; the front knows where

        return trace_picture(
            self, source, seed=seed, settings=settings, looks=looks, detailed=detailed, self_attention=self_attention,
            changes=changes, start=start, mask=mask, on_step=on_step, **values,
        )  # fmt: skip

    # ── one picture ─────────────────────────────────────────────────────────────────────────────────

    def _job(self, prompt: str, prompts: Prompts, seed: int, settings: PaintSettings) -> _Job:
        noise, fresh = self._noise(seed, settings)
        plain = asdict(settings)
        height, width = plain.pop("size")
        described = {
            "prompt": prompt,
            "seed": seed,
            **plain,
            "width": width,
            "height": height,
            "model": str(self.card.get("name", "")),
            "sha256": self.sha256,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": self.device.type,
        }
        return _Job(prompts, noise, fresh, described, self.notes_on(prompt, settings.negative))

    def _blended(
        self, prompt: str, other: str, share: float, seed: int, other_seed: int | None, settings: PaintSettings
    ) -> _Job:
        wanted = [pair for pair in ((prompt, 1.0 - share), (other, share)) if pair[1] > 0.0]
        job = self._job(prompt, self.prompts(wanted, settings.negative, settings.guidance), seed, settings)
        mixed: dict[str, Any] = {"blend": other, "share": share}
        noise, fresh = job.noise, job.fresh
        if other_seed is not None:
            last, fresh_last = self._noise(other_seed, settings)
            noise, mixed["other_seed"] = between(job.noise, last, share), other_seed

            def fresh() -> Tensor:
                return between(job.fresh(), fresh_last(), share)

        notes = self.notes_on(prompt, other, settings.negative)
        return replace(job, noise=noise, fresh=fresh, described=job.described | mixed, notes=notes)

    def _noise(self, seed: int, settings: PaintSettings) -> tuple[Tensor, Fresh]:
        """The first noise of a seed, drawn on the CPU so that every device starts alike; and what draws the rest."""
        height, width = settings.check_size(self.config)
        shape = (1, self.config.denoiser.channels, height // self.config.factor, width // self.config.factor)
        fresh = partial(torch.randn, shape, generator=_generator(seed))
        return fresh(), fresh

    @torch.inference_mode()
    def _begin_from(
        self, start: Image.Image | None, mask: Image.Image | None, settings: PaintSettings
    ) -> _Start | None:
        if start is None:
            if mask is not None:
                raise ConfigError("a mask is given, but there is no picture to paint into. Give one to start from.")
            return None
        height, width = settings.check_size(self.config)
        if start.size != (width, height):
            raise DataError(
                f"the picture to start from is {start.width} × {start.height}, but {width} × {height} (width × height) is "
                "painted. Resize it."
            )
        pixels = to_tensor(start).to(self.device)
        latent = self.model.to_latent(pixels)
        if mask is None:
            return _Start(pixels, latent)
        if mask.size != start.size:
            raise DataError(
                f"the mask is {mask.width} × {mask.height}, but the picture is {start.width} × {start.height} (width × "
                "height). Make them the same size."
            )
        wanted = _white(mask).to(self.device)
        if not wanted.any():
            raise DataError("the mask is black everywhere, but white says where to paint. Make a part of it white.")
        factor = self.config.factor
        places = wanted if factor == 1 else torch.nn.functional.max_pool2d(wanted.float(), factor) > 0
        return _Start(pixels, latent, wanted, places)

    @torch.inference_mode()
    def _together(self, jobs: Sequence[_Job]) -> tuple[Tensor, ...] | None:
        """The weights that these pictures must be multiplied by one by one, so that each comes out as it does alone.

        None: they are made alone, as nothing helps or as they do not fit the memory together.
        """
        noise = torch.cat([job.noise for job in jobs]).to(self.device)
        exactness = torch.get_float32_matmul_precision()
        key = (*noise.shape, len(jobs[0].prompts.rows), self.device, self.dtype, exactness, torch.get_num_threads())
        if key not in self._apart:
            alone = [partial(self._one_look, [job], x[None]) for job, x in zip(jobs, noise, strict=True)]
            try:
                self._apart[key] = weights_apart(lambda apart: self._one_look(jobs, noise, apart), alone)
            except torch.OutOfMemoryError:
                self._apart[key] = None
        return self._apart[key]

    def _one_look(self, jobs: Sequence[_Job], noise: Tensor, apart: Collection[Tensor] = ()) -> Tensor:
        """What is seen half way, and its noise, shape (pictures, 2, channels, height, width)."""
        guide = self._guide([job.prompts for job in jobs], None, apart=apart, tap=NO_TAP)
        return torch.stack(guide(noise, torch.tensor(0.5)), dim=1)

    def _guide(
        self,
        prompts: Sequence[Prompts],
        start: _Start | None,
        *,
        apart: Collection[Tensor] = (),
        on_look: OnLook | None = None,
        tap: Tap,
    ) -> Guide:
        keep = None
        if start is not None and start.open_latent is not None:
            keep = partial(_kept, start.latent, start.open_latent)
        limit = 1.0 if self.config.autoencoder is None else None
        return Guide(self.model, *prompts, limit=limit, keep=keep, apart=apart, on_look=on_look, tap=tap)

    @torch.inference_mode()
    def _paint(
        self,
        jobs: Sequence[_Job],
        first: int,
        settings: PaintSettings,
        start: _Start | None,
        *,
        apart: Collection[Tensor] = (),
        on_step: OnStep | None = None,
        tap: Tap = NO_TAP,
        record: bool = True,
    ) -> list[Picture]:
        """Pictures that are made together, the first of them with this number; ``apart``: see ``_together``."""
        process, shift = self.config.diffusion.process, self.config.diffusion.shift
        assert settings.strength is not None
        times = make_times(process, max(1, round(settings.steps * settings.strength)), settings.strength, shift)
        total = looks_of(settings)
        looks: list[list[Look]] = [[] for _ in jobs]
        count = 0

        def seen(time: Tensor, noisy: Tensor, picture: Tensor) -> None:
            nonlocal count
            count += 1
            if not record and on_step is None:
                return
            for number, halves in enumerate(zip(noisy.half().cpu(), picture.half().cpu(), strict=True)):
                look = Look(count - 1, float(time), *(half.clone() for half in halves))
                if record:
                    looks[number].append(look)
                if on_step is not None:
                    on_step(first + number, total, look)

        def fresh() -> Tensor:
            return torch.cat([job.fresh() for job in jobs]).to(self.device)

        x = torch.cat([job.noise for job in jobs]).to(self.device)
        if start is not None:
            alpha, sigma = (level.to(self.device) for level in levels(process, times[:1]))
            x = add_noise(start.latent, x, alpha, sigma)
        look = self._guide([job.prompts for job in jobs], start, apart=apart, on_look=seen, tap=tap)
        made = SAMPLERS[settings.sampler](look, x, times, process, fresh)
        assert count == total
        return [self._finish(job, one[None], start, of) for job, one, of in zip(jobs, made, looks, strict=True)]

    def _finish(self, job: _Job, refined: Tensor, start: _Start | None, looks: Sequence[Look]) -> Picture:
        """The picture of what was refined, shape (1, channels, height, width)."""
        pixels = self.model.to_pixels(refined)
        described = dict(job.described)
        if start is not None:
            described["from"] = {"pixels": pixel_digest(to_image(start.pixels[0]))}
            if start.open is not None:
                pixels = _kept(start.pixels, start.open, pixels)
                described["mask"] = {"pixels": _mask_digest(start.open)}
        return Picture(to_image(pixels[0]), described, tuple(looks), job.notes)


def _kept(old: Tensor, open: Tensor, new: Tensor) -> Tensor:
    """The new picture where it is open, the old one elsewhere."""
    return torch.where(open, new, old)


def _generator(seed: int) -> torch.Generator:
    if not 0 <= seed < SEEDS:
        raise ConfigError(f"seed is {seed}, but seeds are whole numbers from 0 to {SEEDS - 1}. Choose one of them.")
    return torch.Generator().manual_seed(seed)


ALWAYS = {
    "prompt": str, "seed": int, "width": int, "height": int, "model": str, "sha256": str, "steps": int, "guidance": float,
    "negative": str, "sampler": str, "strength": float,
}  # fmt: skip
KINDS: dict[type | str, str] = {
    str: "a text", int: "a whole number", float: "a number", list: "a list", "from": "a picture to start from",
    "mask": "a mask",
}  # fmt: skip
SOMETIMES = {
    "blend": str, "share": float, "frames": int, "other_seed": int, "from": dict, "mask": dict, "changes": list,
}  # fmt: skip


def check_described(described: Mapping[str, Any]) -> None:
    """Whether these may be the settings of a picture; what the values mean is checked where they are used.

    Raises:
        DataError: an entry is missing, or of another kind.
    """
    needed = set(ALWAYS) | ({"frames"} if "blend" in described and "share" not in described else set())
    for name, kind in (ALWAYS | SOMETIMES).items():
        if name not in described:
            if name in needed:
                raise DataError(
                    f"the settings lack {name!r}, but a picture cannot be repeated without. Give those of a picture."
                )
            continue
        value = described[name]
        absent = value is None and name not in needed
        if not absent and (not isinstance(value, (int, float) if kind is float else kind) or isinstance(value, bool)):
            raise DataError(
                f"the settings have {name} {value!r:.60}, but it is {KINDS.get(name) or KINDS[kind]}. Give those of a picture."
            )
    if not 0 <= described.get("share", 0) <= 1:
        raise DataError(
            f"the settings have share {described['share']:g}, but it goes from 0 to 1. Give those of a picture."
        )


def _white(mask: Image.Image) -> Tensor:
    """Where a mask is white, shape (1, 1, height, width); nowhere where it is transparent."""
    return to_tensor(mask, ground="black").mean(dim=1, keepdim=True) > 0


def _mask_digest(open: Tensor) -> str:
    return pixel_digest(to_image(open[0].float().expand(3, -1, -1) * 2 - 1))


def _check_given(name: str, known: Any, image: Image.Image | None) -> None:
    """Whether a picture that another was made from is there, and is the same."""
    what = {"from": "a picture to start from", "mask": "a mask"}[name]
    if known is None:
        if image is not None:
            raise DataError(f"{what} is given, but the picture was painted without. Leave it out.")
        return
    if not isinstance(known, Mapping):
        raise DataError(f"the settings have {name} {known!r}, but it is {what}. Give those of a picture.")
    path = f" ({known['path']})" if "path" in known else ""
    if image is None:
        raise DataError(f"the picture was painted with {what}{path}, but none is given. Give the same one.")
    found = pixel_digest(image) if name == "from" else _mask_digest(_white(image))
    if found != known.get("pixels"):
        raise DataError(f"the picture was painted with {what}{path} that had other pixels. Give the same one.")


def between(one: Tensor, other: Tensor, share: float) -> Tensor:
    """From one noise to another along the sphere (spherical interpolation), so that it stays noise."""
    cosine = torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0).clamp(-0.9999, 0.9999)
    angle = cosine.acos()
    return ((1 - share) * angle).sin() / angle.sin() * one + (share * angle).sin() / angle.sin() * other
