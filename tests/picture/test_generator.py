"""Painting: seeds, guidance, pictures to begin from, blends, and repeating a picture from its settings."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from limner.core.errors import ConfigError, ContextError, DataError, LimnerError, WeightsError
from limner.core.tap import Editor, Recorder
from limner.picture.autoencoder import AutoencoderConfig
from limner.picture.config import DiffusionConfig, Flow, Quantity, VariancePreserving
from limner.picture.generator import PictureGenerator, between
from limner.picture.guidance import Guide
from limner.picture.images import to_tensor
from limner.picture.painting import Look, PaintSettings, looks_of, new_seed
from limner.picture.process import add_noise, levels
from limner.picture.prompts import words_of
from limner.picture.samplers import SAMPLERS
from limner.tokens import Tokenizer
from tests.picture.conftest import LONGEST, SIDE, make_painter

FOX, CAT = "a fox with a green hat", "a black cat with a yellow crown in the snow"


def pixels(image: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(image).astype(int)


def drawing(seed: int = 0, size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    """Somebody's picture: every pixel of its own colour. Size is (width, height)."""
    levels = torch.randint(0, 256, (size[1], size[0], 3), generator=torch.Generator().manual_seed(seed))
    return Image.fromarray(levels.to(torch.uint8).numpy())


def left_half() -> Image.Image:
    """A mask: white on the left."""
    mask = Image.new("RGB", (SIDE, SIDE), "black")
    mask.paste("white", (0, 0, SIDE // 2, SIDE))
    return mask


# ── seeds ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_picture_of_a_batch_is_the_one_made_alone(
    painter: PictureGenerator, sampler: str, dtype: torch.dtype
) -> None:
    painter.model.to(dtype)
    batch = painter.generate([FOX, CAT], n=2, seed=5, steps=3, sampler=sampler)
    assert [picture.seed for picture in batch] == [5, 6, 7, 8]
    for picture in batch:
        (alone,) = painter.generate(picture.settings["prompt"], seed=picture.seed, steps=3, sampler=sampler)
        assert alone.image.tobytes() == picture.image.tobytes()
        for one, other in zip(alone.looks, picture.looks, strict=True):
            assert torch.equal(one.seen, other.seen)
            assert torch.equal(one.noisy, other.noisy)
    assert all(one.image.tobytes() != other.image.tobytes() for one, other in pairwise(batch))


def test_the_prompt_and_every_setting_count(painter: PictureGenerator) -> None:
    def made(prompt: str = FOX, **changes: Any) -> bytes:
        return painter.generate(prompt, **({"seed": 1, "steps": 4} | changes))[0].image.tobytes()

    different = [
        made(), made(CAT), made(seed=2), made(steps=5), made(guidance=1.0), made(guidance=9.0), made(negative="snow"),
        made(sampler="heun"), made(sampler="dpm++"), made(sampler="ancestral"), made(size=(SIDE, 2 * SIDE)),
    ]  # fmt: skip
    assert len(set(different)) == len(different)
    assert made(f"  {FOX.upper()}\n") == made(), "letters' case and spaces do not count for this model"


def test_pictures_come_one_by_one_and_wrong_arguments_at_once(painter: PictureGenerator) -> None:
    seen: list[int] = []
    stream = painter.stream(FOX, n=6, seed=1, steps=2, on_step=lambda number, total, look: seen.append(number))
    assert seen == []
    next(stream)
    assert 5 not in seen
    with pytest.raises(ConfigError, match="n is 0"):
        painter.stream(FOX, n=0)
    assert painter.generate([], seed=1) == []


def test_a_seed_that_nobody_chose_is_recorded(painter: PictureGenerator) -> None:
    one, other = (painter.generate(FOX, steps=1)[0] for _ in range(2))
    assert one.seed != other.seed
    assert painter.generate(FOX, steps=1, seed=one.seed)[0].image.tobytes() == one.image.tobytes()
    assert len({new_seed() for _ in range(20)}) == 20


def test_pictures_are_made_together_only_where_that_changes_nothing(
    painter: PictureGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network whose rows depend on how many there are, as some products of matrices do, paints them one by one."""
    rows: list[int] = []
    shift = 0.0
    forward = painter.model.denoiser.forward

    def watched(x: Tensor, *arguments: Any, **values: Any) -> Tensor:
        rows.append(len(x))
        return forward(x, *arguments, **values) + shift * len(x)

    monkeypatch.setattr(painter.model.denoiser, "forward", watched)
    painter.generate(FOX, n=4, seed=5, steps=3)
    assert rows == [8, 2, 2, 2, 2, 8, 8, 8]
    rows.clear()
    painter.generate(FOX, n=4, seed=5, steps=3)
    assert rows == [8, 8, 8], "found out once"
    rows.clear()
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
    painter.generate(FOX, n=4, seed=5, steps=3)
    assert rows == [8, 2, 2, 2, 2, 8, 8, 8], "products that are computed otherwise may add otherwise"
    painter._apart.clear()
    shift = 0.01
    batch = painter.generate(FOX, n=4, seed=5, steps=3)
    (alone,) = painter.generate(FOX, seed=7, steps=3)
    assert batch[2].image.tobytes() == alone.image.tobytes()
    assert rows[-12:] == [2] * 12


def test_pictures_are_made_together_only_where_what_surrounds_the_network_changes_nothing_either(
    painter: PictureGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processors may round the last few numbers of a row otherwise than the others; where a row ends, depends on how many."""
    guide = Guide.guide

    def shifted(self: Guide, predicted: Tensor) -> Tensor:
        return guide(self, predicted) + 0.01 * len(self.prompts)

    monkeypatch.setattr(Guide, "guide", shifted)
    batch = painter.generate(FOX, n=4, seed=5, steps=3)
    (alone,) = painter.generate(FOX, seed=7, steps=3)
    assert batch[2].image.tobytes() == alone.image.tobytes()


class _Processor(TorchFunctionMode):
    """One that adds in another order where a product has many rows, as some do in bfloat16."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        narrows = function is F.linear and args[1].shape[0] < args[1].shape[1]
        return out + 0.01 if narrows and args[0].shape[:-1].numel() > 2 * (SIDE // 4) ** 2 else out


def test_a_product_that_adds_otherwise_is_computed_a_picture_at_a_time_and_all_else_together(
    painter: PictureGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    forward = painter.model.denoiser.forward

    def watched(x: Tensor, *arguments: Any, **values: Any) -> Tensor:
        rows.append(len(x))
        return forward(x, *arguments, **values)

    monkeypatch.setattr(painter.model.denoiser, "forward", watched)
    with _Processor():
        before = torch.get_rng_state()
        batch = painter.generate(FOX, n=4, seed=5, steps=3)
        assert torch.equal(torch.get_rng_state(), before), "the caller's random numbers stay as they are"
        (alone,) = painter.generate(FOX, seed=7, steps=3)
    assert rows == [8, 2, 2, 2, 2, 8, *[8] * 3, *[2] * 3]
    assert batch[2].image.tobytes() == alone.image.tobytes()
    for one, other in zip(alone.looks, batch[2].looks, strict=True):
        assert torch.equal(one.seen, other.seen)


def test_pictures_that_do_not_fit_the_memory_together_are_made_one_by_one(
    painter: PictureGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = painter.model.denoiser.forward

    def small(x: Tensor, *arguments: Any, **values: Any) -> Tensor:
        if len(x) > 2:
            raise torch.OutOfMemoryError(f"{len(x)} rows are too many")
        return forward(x, *arguments, **values)

    monkeypatch.setattr(painter.model.denoiser, "forward", small)
    batch = painter.generate(FOX, n=4, seed=5, steps=3)
    (alone,) = painter.generate(FOX, seed=7, steps=3)
    assert batch[2].image.tobytes() == alone.image.tobytes()


# ── steps and callbacks ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 3])
def test_the_callback_sees_every_look(painter: PictureGenerator, sampler: str, steps: int) -> None:
    seen: list[tuple[int, int, Look]] = []
    pictures = painter.generate(
        FOX, n=2, seed=1, steps=steps, sampler=sampler, on_step=lambda *arguments: seen.append(arguments)
    )
    total = looks_of(PaintSettings(steps=steps, sampler=sampler))  # type: ignore[arg-type]
    for picture in range(2):
        assert [(of, look.number) for number, of, look in seen if number == picture] == [
            (total, at) for at in range(total)
        ]
    assert tuple(look for number, _, look in seen if number == 1) == pictures[1].looks
    assert seen[0][2].time == 1.0
    assert seen[0][2].noisy.shape == (3, SIDE, SIDE)
    last = pictures[0].looks[-1].seen.float().add(1).mul(127.5).round()
    assert np.abs(last.permute(1, 2, 0).numpy() - pixels(pictures[0].image)).max() <= 1, (
        "the last look sees the picture"
    )


def test_nothing_is_kept_that_is_not_asked_for(painter: PictureGenerator) -> None:
    (picture,) = painter.stream(FOX, seed=1, steps=3, record=False)
    assert picture.looks == ()
    assert picture.image.tobytes() == painter.generate(FOX, seed=1, steps=3)[0].image.tobytes()


def test_a_look_can_be_shown(painter: PictureGenerator) -> None:
    (picture,) = painter.generate(FOX, seed=1, steps=3)
    shown = painter.show(picture.looks[-1].seen)
    assert np.abs(pixels(shown) - pixels(picture.image)).max() <= 1


# ── what the model predicts ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("process", [Flow(), VariancePreserving("cosine"), VariancePreserving("linear")], ids=str)
@pytest.mark.parametrize("predict", ["x", "noise", "v", "flow"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_paints_with_every_kind_of_model(
    tokenizer: Tokenizer, process: Any, predict: Quantity, sampler: str
) -> None:
    painter = make_painter(tokenizer, DiffusionConfig(process, predict=predict))
    (picture,) = painter.generate(FOX, seed=1, steps=6, sampler=sampler)
    for look in picture.looks:
        assert look.noisy.isfinite().all()
        assert look.seen.abs().max() <= 1.0


@pytest.mark.parametrize("process", [Flow(), VariancePreserving("cosine"), VariancePreserving("linear")], ids=str)
@pytest.mark.parametrize("sampler", ["euler", "heun", "ddim", "dpm++"])
def test_a_model_that_knows_one_picture_paints_it(tokenizer: Tokenizer, process: Any, sampler: str) -> None:
    """From prompt to pixels, whatever the network predicts: a network made to say what a perfect one would."""
    known = torch.rand(1, 3, SIDE, SIDE) * 1.6 - 0.8
    for predict in ("x", "noise", "v", "flow"):
        painter = make_painter(tokenizer, DiffusionConfig(process, predict=predict))  # type: ignore[arg-type]
        denoiser = painter.model.denoiser

        def perfect(noisy: Tensor, time: Tensor, *_: Any, predict: str = predict, **__: Any) -> Tensor:
            from limner.picture.process import quantity, read

            alpha, sigma = levels(process, time)
            _, noise = read("x", known, noisy, alpha, sigma)
            return quantity(predict, known.expand_as(noisy), noise, alpha, sigma)  # type: ignore[arg-type]

        denoiser.forward = perfect  # type: ignore[method-assign]
        (picture,) = painter.generate(FOX, seed=3, steps=12, sampler=sampler)
        expected = known[0].permute(1, 2, 0).add(1).mul(127.5).round().int().numpy()
        assert np.abs(pixels(picture.image) - expected).max() <= 1


# ── guidance ─────────────────────────────────────────────────────────────────────────────────────────────


def guide(painter: PictureGenerator, guidance: float, negative: str = "", wanted: str = FOX) -> Guide:
    return Guide(painter.model, painter.prompts([(wanted, 1.0)], negative, guidance))


@torch.no_grad()
def test_guidance_goes_from_the_negative_prompt_beyond_the_prompt(painter: PictureGenerator) -> None:
    noisy, time = torch.randn(1, 3, SIDE, SIDE), torch.tensor(0.6)
    seen = {scale: guide(painter, scale, "snow")(noisy, time)[0] for scale in (0.0, 0.5, 1.0, 4.0)}
    ids, mask = (
        rows
        for rows in (painter.prompts([(FOX, 1.0)], "snow", 4.0).ids, painter.prompts([(FOX, 1.0)], "snow", 4.0).mask)
    )
    for scale, row in ((1.0, 0), (0.0, 1)):
        alone = painter.model(noisy, time.expand(1), ids[row : row + 1], mask[row : row + 1])
        torch.testing.assert_close(seen[scale], alone, msg="1 is the prompt alone, 0 the negative prompt alone")
    assert not torch.allclose(seen[0.0], seen[1.0], atol=1e-3)
    for scale in (0.5, 4.0):
        torch.testing.assert_close(seen[scale], seen[0.0] + scale * (seen[1.0] - seen[0.0]), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_only_the_rows_that_count_are_computed(painter: PictureGenerator) -> None:
    for scale, rows in ((0.0, 1), (1.0, 1), (4.0, 2)):
        recorder = Recorder(["look.0.prediction"])
        Guide(painter.model, painter.prompts([(FOX, 1.0)], "", scale), tap=recorder)(
            torch.randn(1, 3, SIDE, SIDE), torch.tensor(0.5)
        )
        assert len(recorder["look.0.prediction"]) == rows


def test_at_guidance_0_the_prompt_is_ignored_and_at_1_the_negative_one(painter: PictureGenerator) -> None:
    def made(prompt: str, **changes: Any) -> bytes:
        return painter.generate(prompt, seed=1, steps=3, **changes)[0].image.tobytes()

    assert made(FOX, guidance=0.0) == made(CAT, guidance=0.0)
    assert made(FOX, guidance=1.0) == made(FOX, guidance=1.0, negative="snow")
    assert made(FOX, guidance=1.0) != made(CAT, guidance=1.0)


@torch.no_grad()
def test_what_is_seen_stays_in_range_and_still_adds_up(painter: PictureGenerator) -> None:
    noisy, time = 3 * torch.randn(1, 3, SIDE, SIDE), torch.tensor(0.6)
    prompts = painter.prompts([(FOX, 1.0)], "snow", 30.0)
    free, _ = Guide(painter.model, prompts)(noisy, time)
    cut, noise = Guide(painter.model, prompts, limit=0.5)(noisy, time)
    assert free.abs().max() > 0.5
    assert torch.equal(cut, free.clamp(-0.5, 0.5))
    alpha, sigma = levels(Flow(), time.view(1))
    torch.testing.assert_close(add_noise(cut, noise, alpha, sigma), noisy)


@torch.no_grad()
@pytest.mark.parametrize("process", [Flow(), VariancePreserving("cosine"), VariancePreserving("linear")], ids=str)
@pytest.mark.parametrize("predict", ["x", "noise", "v", "flow"])
def test_picture_and_noise_add_up_to_what_was_given(tokenizer: Tokenizer, process: Any, predict: Quantity) -> None:
    """Of latents, too, which nothing cuts off, and where there is hardly anything but noise."""
    painter = make_painter(tokenizer, DiffusionConfig(process, predict=predict))
    noisy = torch.randn(1, 3, SIDE, SIDE)
    for time in (torch.tensor(0.999), torch.tensor(0.9), torch.tensor(0.3)):
        alpha, sigma = levels(process, time.view(1))
        torch.testing.assert_close(add_noise(*guide(painter, 4.0)(noisy, time), alpha, sigma), noisy)


# ── a picture to begin from ──────────────────────────────────────────────────────────────────────────────


def test_strength_says_how_much_of_the_picture_is_left(painter: PictureGenerator) -> None:
    start = drawing()

    def distance(strength: float | None) -> float:
        (made,) = painter.generate(FOX, seed=1, steps=10, start=start, strength=strength)
        first = made.looks[0].noisy.float().permute(1, 2, 0).numpy()
        known = pixels(start) / 127.5 - 1
        assert made.looks[0].time == pytest.approx(0.6 if strength is None else strength)
        assert made.settings["strength"] == (0.6 if strength is None else strength)
        return float(np.corrcoef(first.ravel(), known.ravel())[0, 1])

    kept = [distance(strength) for strength in (0.1, 0.3, None, 0.9)]
    assert kept == sorted(kept, reverse=True)
    assert kept[0] > 0.95
    whole, without = (
        painter.generate(FOX, seed=1, steps=3, **rest)[0] for rest in ({"start": start, "strength": 1.0}, {})
    )
    assert whole.image.tobytes() == without.image.tobytes(), "of the whole way, nothing of the picture is left"
    few = painter.generate(FOX, seed=1, steps=10, start=start, strength=0.3)[0]
    assert len(few.looks) == 3
    assert len(painter.generate(FOX, seed=1, steps=3, start=start, strength=0.01)[0].looks) == 1


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("process", [Flow(), VariancePreserving("cosine"), VariancePreserving("linear")], ids=str)
def test_inpainting_keeps_every_pixel_that_is_not_white(tokenizer: Tokenizer, sampler: str, process: Any) -> None:
    painter = make_painter(tokenizer, DiffusionConfig(process))
    start = drawing()
    (made,) = painter.generate(FOX, seed=1, steps=4, sampler=sampler, start=start, mask=left_half())
    assert (pixels(made.image)[:, SIDE // 2 :] == pixels(start)[:, SIDE // 2 :]).all()
    assert (pixels(made.image)[:, : SIDE // 2] != pixels(start)[:, : SIDE // 2]).mean() > 0.5
    assert made.settings["strength"] == 1.0
    kept = made.looks[0].seen[:, :, SIDE // 2 :].float()
    assert torch.allclose(
        kept, torch.from_numpy(pixels(start)[:, SIDE // 2 :] / 127.5 - 1).permute(2, 0, 1).float(), atol=1e-3
    )


def test_inpainting_on_small_pictures_as_latents_keeps_every_pixel_that_is_not_white(tokenizer: Tokenizer) -> None:
    coder = AutoencoderConfig(encoder="average", latent_channels=3, factor=4, width=8, multipliers=(1, 2))
    painter = make_painter(tokenizer, autoencoder=coder, patch=2)
    start = drawing()
    mask = Image.new("L", (SIDE, SIDE))
    mask.paste(255, (0, 0, 7, 9))  # ends within a latent's place, which is then painted whole and cut
    (made,) = painter.generate(FOX, seed=1, steps=4, start=start, mask=mask)
    new, old, open_ = pixels(made.image), pixels(start), np.asarray(mask) > 0
    assert (new[~open_] == old[~open_]).all()
    assert (new[open_] != old[open_]).mean() > 0.5
    seen, known = made.looks[-1].seen.float(), painter.model.to_latent(to_tensor(start))[0]
    assert torch.allclose(seen[:, :, 2:], known[:, :, 2:], atol=1e-2)
    assert torch.allclose(seen[:, 3:], known[:, 3:], atol=1e-2)
    assert (seen[:, :3, :2] - known[:, :3, :2]).abs().max() > 0.1


@torch.no_grad()
def test_what_is_kept_has_the_noise_of_each_moment(painter: PictureGenerator) -> None:
    """x_t where the picture stays is on the straight line between it and the noise, so that the model sees no seam."""
    start = drawing()
    (made,) = painter.generate(FOX, seed=1, steps=5, start=start, mask=left_half())
    (plain,) = painter.generate(FOX, seed=1, steps=5)
    noise = plain.looks[0].noisy.float()
    known = torch.from_numpy(pixels(start) / 127.5 - 1).permute(2, 0, 1).float()
    for look in made.looks:
        expected = (1 - look.time) * known + look.time * noise
        assert torch.allclose(look.noisy.float()[:, :, SIDE // 2 :], expected[:, :, SIDE // 2 :], atol=0.01)


# ── blends ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("sampler", ["euler", "ancestral"])
def test_a_blend_begins_and_ends_with_the_pictures_made_alone(painter: PictureGenerator, sampler: str) -> None:
    frames = painter.blend(FOX, CAT, frames=5, seed=3, other_seed=8, steps=4, sampler=sampler)
    first, last = (painter.generate(p, seed=s, steps=4, sampler=sampler)[0] for p, s in ((FOX, 3), (CAT, 8)))
    assert frames[0].image.tobytes() == first.image.tobytes()
    assert frames[-1].image.tobytes() == last.image.tobytes()
    assert len({frame.image.tobytes() for frame in frames}) == 5
    assert [frame.settings["share"] for frame in frames] == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_a_blend_of_seeds_moves_evenly_where_noise_is_added_on_the_way(painter: PictureGenerator) -> None:
    frames = painter.blend(FOX, FOX, frames=9, seed=3, other_seed=8, steps=6, sampler="ancestral")
    moved = [float((b.looks[-1].noisy - a.looks[-1].noisy).float().abs().mean()) for a, b in pairwise(frames)]
    assert max(moved) < 2 * min(moved)


def test_noise_stays_noise_on_its_way_to_other_noise() -> None:
    one, other = torch.randn(2, 1, 3, 64, 64)
    for share in (0.0, 0.3, 0.5, 1.0):
        assert float(between(one, other, share).std()) == pytest.approx(1.0, abs=0.03)
    assert torch.equal(between(one, other, 0.0), one)
    assert torch.equal(between(one, other, 1.0), other)
    assert torch.allclose(between(one, one, 0.4), one, atol=1e-3)


# ── words ────────────────────────────────────────────────────────────────────────────────────────────────


def test_words_that_the_model_has_never_seen(painter: PictureGenerator) -> None:
    assert painter.unknown_words("A FOX with a zorblax, and a Quux!") == ["and", "quux", "zorblax"]
    (picture,) = painter.generate("a zorblax", seed=1, steps=1, negative="a fox, qux")
    assert picture.notes == ("The model has never seen “qux”, “zorblax”; it may ignore them.",)
    assert painter.generate(FOX, seed=1, steps=1)[0].notes == ()
    assert painter.unknown_words("a 🦊 and a fox") == ["and", "🦊"], "an emoji is a word, too"
    assert words_of("a ⭐,👍🏽 🇩🇪🇫🇷 👩‍🚀!") == ["a", "⭐", "👍🏽", "🇩🇪", "🇫🇷", "👩‍🚀"]
    assert painter.notes_on("a zorblax") == ("The model has never seen “zorblax”; it may ignore it.",)
    painter._words = frozenset()
    assert painter.unknown_words("zorblax") == [], "a model that kept no words says nothing"


def test_where_words_stand_among_the_tokens(painter: PictureGenerator) -> None:
    prompt = "A zorblax, with the   GREEN hat"
    ids = painter.read_prompt(prompt)
    found = painter.word_places(prompt)
    assert [word for word, _ in found] == ["a", "zorblax", "with", "the", "green", "hat"]
    assert len(found[1][1]) > 1, "an unknown word is several pieces"
    for word, places in found:
        assert painter.tokenizer.decode([ids[at] for at in places]).strip().startswith(word)
    used = [at for _, places in found for at in places]
    assert used == sorted(set(used))
    assert (0 in used) == (painter.tokenizer.begin_id is None)


def test_a_prompt_that_is_too_long(painter: PictureGenerator) -> None:
    with pytest.raises(ContextError, match=rf"the prompt has \d+ tokens, but this model reads {LONGEST}"):
        painter.generate("zorblax " * 20, seed=1)
    with pytest.raises(ContextError, match=rf"reads {LONGEST}"):
        painter.generate(FOX, negative="zorblax " * 20)
    with pytest.raises(ContextError):
        painter.blend(FOX, "zorblax " * 20)


# ── taps ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_recording_changes_nothing_and_shows_where_words_went(painter: PictureGenerator) -> None:
    recorder = Recorder(["*"])
    (watched,) = painter.generate(FOX, seed=1, steps=3, tap=recorder)
    (plain,) = painter.generate(FOX, seed=1, steps=3)
    assert watched.image.tobytes() == plain.image.tobytes()
    weights = recorder["look.2.layer.1.cross_attention.weights"]
    assert weights.shape == (2, 2, (SIDE // 4) ** 2, LONGEST)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:-1]))
    count = len(painter.read_prompt(FOX))
    assert weights[0, :, :, count:].abs().max() == 0, "padding gets no attention"
    assert all(len(values) == 1 for values in recorder.values.values()), (
        "every look and the prompt have their own names"
    )
    assert {name.split(".")[0] for name in recorder.values} == {"prompt", "look"}


def test_a_tap_can_reach_in(painter: PictureGenerator) -> None:
    """Without cross-attention the prompt no longer counts."""
    deaf = Editor({"look.*.cross_attention.output": torch.zeros_like})
    one, other = (painter.generate(p, seed=1, steps=3, tap=deaf)[0].image.tobytes() for p in (FOX, CAT))
    assert one == other


# ── again ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_picture_can_be_painted_again_from_its_settings(painter: PictureGenerator) -> None:
    start, mask = drawing(), left_half()
    ways: list[dict[str, Any]] = [
        {"sampler": "ancestral", "negative": "snow"},
        {"size": (SIDE, 2 * SIDE), "sampler": "heun"},
        {"start": start},
        {"start": start, "mask": mask, "sampler": "dpm++"},
    ]
    for way in ways:
        inputs = {name: value for name, value in way.items() if name in ("start", "mask")}
        for picture in painter.generate([FOX, CAT], seed=4, steps=4, **way):
            (repeated,) = painter.again(picture.settings, **inputs)
            assert repeated.image.tobytes() == picture.image.tobytes()
            assert repeated.settings == picture.settings


def test_a_blend_can_be_painted_again_whole_and_frame_by_frame(painter: PictureGenerator) -> None:
    frames = painter.blend(FOX, CAT, frames=4, seed=3, other_seed=8, steps=3, sampler="ancestral")
    for frame in frames:
        assert painter.again(frame.settings)[0].image.tobytes() == frame.image.tobytes()
    whole = {name: value for name, value in frames[0].settings.items() if name != "share"}
    assert [f.image.tobytes() for f in painter.again(whole)] == [f.image.tobytes() for f in frames]


def test_what_keeps_a_picture_from_being_painted_again(painter: PictureGenerator) -> None:
    plain = painter.generate(FOX, seed=4, steps=2)[0].settings
    with pytest.raises(WeightsError, match=r"painted by tiny with weights 111111111111…"):
        painter.again(plain | {"sha256": "1" * 64})
    with pytest.raises(DataError, match="'sampler'"):
        painter.again({name: value for name, value in plain.items() if name != "sampler"})
    with pytest.raises(ConfigError, match="steps is 0"):
        painter.again(plain | {"steps": 0})
    with pytest.raises(DataError, match="painted without"):
        painter.again(plain, start=drawing())
    changed = painter.generate(FOX, seed=4, steps=2, start=drawing(), mask=left_half())[0].settings
    with pytest.raises(DataError, match="with a picture to start from, but none is given"):
        painter.again(changed, mask=left_half())
    with pytest.raises(DataError, match="a picture to start from that had other pixels"):
        painter.again(changed, start=drawing(1), mask=left_half())
    with pytest.raises(DataError, match="a mask that had other pixels"):
        painter.again(changed, start=drawing(), mask=left_half().rotate(90))


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"steps": "many"}, "steps 'many', but it is a whole number"),
        ({"steps": 2.5}, "steps 2.5, but it is a whole number"),
        ({"seed": None}, "seed None"),
        ({"width": "wide"}, "width 'wide'"),
        ({"height": float("inf")}, "height inf"),
        ({"guidance": []}, r"guidance \[\], but it is a number"),
        ({"sampler": 3}, "sampler 3, but it is a text"),
        ({"sampler": "eular"}, "sampler is 'eular'"),
        ({"negative": 3}, "negative 3"),
        ({"strength": True}, "strength True"),
        ({"from": 3}, "from 3, but it is a picture to start from"),
        ({"blend": 3}, "blend 3"),
        ({"blend": CAT}, "lack 'frames'"),
        ({"blend": CAT, "frames": "x"}, "frames 'x'"),
        ({"blend": CAT, "share": "x"}, "share 'x'"),
        ({"blend": CAT, "share": 7.0}, "share 7, but it goes from 0 to 1"),
        ({"blend": CAT, "share": float("nan")}, "share nan"),
        ({"blend": CAT, "share": 0.5, "other_seed": "x"}, "other_seed 'x'"),
        ({"blend": CAT, "share": 0.5, "other_seed": -3}, "seed is -3"),
    ],
)
def test_settings_of_a_picture_that_somebody_changed(
    painter: PictureGenerator, broken: dict[str, Any], said: str
) -> None:
    plain = painter.generate(FOX, seed=4, steps=2)[0].settings
    with pytest.raises(LimnerError, match=said):
        painter.again(plain | broken)


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"steps": 10_000}, "steps is 10000"),
        ({"guidance": 101}, "guidance is 101"),
        ({"guidance": -1.0}, "guidance is -1"),
        ({"guidance": float("nan")}, "guidance is nan"),
        ({"sampler": "eular"}, "sampler is 'eular'.*Did you mean 'euler'"),
        ({"size": (15, 16)}, r"size is 16 × 15 \(width × height\).*multiples of 4: 4 to 32 wide and 4 to 32 high"),
        ({"size": (16, 36)}, r"size is 36 × 16"),
        ({"size": (0, 16)}, r"size is 16 × 0"),
        ({"size": (-16, 16)}, r"size is 16 × -16"),
        ({"strength": 0.5}, "strength is 0.5, but there is no picture"),
        ({"strength": 0.0, "start": drawing()}, "strength is 0,"),
        ({"strength": 1.5, "start": drawing()}, "strength is 1.5"),
        ({"n": 0}, "n is 0"),
        ({"seed": 2**32}, f"seed is {2**32}, but seeds are whole numbers from 0"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**32 - 1, "n": 2}, f"seed is {2**32}"),
        ({"mask": left_half()}, "a mask is given, but there is no picture"),
        ({"start": drawing(size=(20, 16))}, r"start from is 20 × 16, but 16 × 16 \(width × height\) is painted"),
        ({"start": drawing(), "mask": Image.new("L", (9, 7), 255)}, "the mask is 9 × 7, but the picture is 16 × 16"),
        ({"start": drawing(), "mask": Image.new("L", (SIDE, SIDE))}, "the mask is black everywhere"),
        ({"stepz": 3}, "stepz is given.*Did you mean 'steps'"),
    ],
)
def test_settings_that_cannot_be(painter: PictureGenerator, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(LimnerError, match=said):
        painter.generate(FOX, **changes)


@pytest.mark.parametrize("frames", [1, 0, -2, 1001])
def test_a_blend_needs_some_frames(painter: PictureGenerator, frames: int) -> None:
    with pytest.raises(ConfigError, match=f"frames is {frames}"):
        painter.blend(FOX, CAT, frames=frames)


def test_settings_are_plain_and_complete(painter: PictureGenerator) -> None:
    import json

    (picture,) = painter.generate(FOX, seed=1, settings=PaintSettings(steps=2), size=(SIDE, 2 * SIDE))
    assert json.loads(json.dumps(picture.settings)) == picture.settings
    assert picture.settings == {
        "prompt": FOX, "seed": 1, "steps": 2, "guidance": 4.0, "negative": "", "sampler": "euler", "strength": 1.0,
        "width": 2 * SIDE, "height": SIDE, "model": "tiny", "sha256": "0" * 64, "dtype": "float32", "device": "cpu",
    }  # fmt: skip
    assert picture.image.size == (2 * SIDE, SIDE)
    assert replace(PaintSettings(), steps=7).steps == 7
