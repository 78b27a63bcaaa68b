"""Picture models beside diffusers: pictures per second in training, seconds to paint sixteen.

    python -m bench.picture [--json] [--turns N] [--threads N] [--only WHAT] [--precision P] [--skip-compiled] [--cost]

One shape on both sides, DiT-S's: width 384, 12 layers, 6 heads, 256 patches of 2 × 2 of a 32 × 32 × 4 latent, a prompt
of 32 vectors. Ours is limner's denoiser, theirs PixArtTransformer2DModel, which has the same parts (self-attention,
cross-attention, feed-forward, one condition for all layers). Training: batch 16, AdamW (fused), clipping; ours is
limner's own loop, theirs a plain PyTorch loop, bfloat16 under autocast as people use it. Painting: 16 pictures, 25
steps of DDIM, guidance on, from prompt vectors to latents; ours as many at a time as PictureGenerator takes where that
changes no bit of them, theirs all together, as diffusers does. All sides are processes that take turns: a
training step each, or 5 of the 25 steps of all 16 pictures, since a shared machine's speed changes within a minute.
"outside" is the share of painting that is spent outside the network. ``--cost`` prints instead how our training and painting grow with resolution and steps.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import harness, sides

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH, DEPTH, HEADS, PATCH, SIDE, CHANNELS, WORDS = 384, 12, 6, 2, 32, 4, 32
BATCH, PAINTED, STEPS, GUIDANCE = 16, 16, 25, 4.0
A_TURN = 5  # steps that a side paints before it is the other's turn; seconds are those of STEPS


def our_model(side: int = SIDE) -> Any:
    """A whole picture model on latents without an autoencoder; the prompt's encoder is as small as can be."""
    from dataclasses import replace

    from limner.picture.autoencoder import AutoencoderConfig
    from limner.picture.config import make_config
    from limner.picture.denoiser import PictureModel

    factor = AutoencoderConfig().factor
    config = make_config(
        size=(side * factor, side * factor),
        patch=PATCH,
        dim=WIDTH,
        num_layers=DEPTH,
        num_heads=HEADS,
        vocab_size=64,
        context_length=WORDS,
        prompt_layers=1,
        autoencoder=replace(AutoencoderConfig(), latent_channels=CHANNELS),
    )
    return PictureModel(config)


def our_training(precision: str, compiled: bool, side: int = SIDE) -> Callable[[], float]:
    """One step of limner's loop; returns the loss."""
    import torch
    from torch import nn

    from limner.picture import process
    from limner.train.loop import Training
    from limner.train.run import RunFolder
    from limner.train.settings import TrainSettings

    torch.manual_seed(0)
    model = our_model(side)
    diffusion = model.config.diffusion
    settings = TrainSettings(
        steps=10_000,
        batch_size=BATCH,
        optimizer="adamw",
        learning_rate=1e-4,
        precision=precision,  # type: ignore[arg-type]
        compile="on" if compiled else "off",
        threads=torch.get_num_threads(),
        device="cpu",
    )

    def batch(index: int) -> tuple[torch.Tensor, ...]:
        latent, noise = torch.randn(2, BATCH, CHANNELS, side, side)
        return latent, noise, process.draw_times(diffusion, BATCH), torch.randn(BATCH, WORDS, WIDTH)

    def step(batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        latent, noise, times, prompt = batch
        dtype = model.denoiser.patch.weight.dtype
        noisy = process.add_noise(latent, noise, *process.levels(diffusion.process, times))
        predicted = model.denoiser(noisy.to(dtype), times, prompt.to(dtype))
        return process.loss(diffusion, predicted.float(), noisy, latent, noise, times).mean()

    folder = RunFolder(Path(tempfile.mkdtemp()))
    only: nn.Module = nn.ModuleDict({"denoiser": model.denoiser})
    training = Training(only, step=step, batches=batch, settings=settings, folder=folder)

    def once() -> float:
        report = training.take_step()
        training.clock.tick(report.seconds)
        return report.loss

    return once


def their_model() -> Any:
    """The same shape in diffusers."""
    from diffusers import PixArtTransformer2DModel

    return PixArtTransformer2DModel(
        num_attention_heads=HEADS,
        attention_head_dim=WIDTH // HEADS,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_layers=DEPTH,
        cross_attention_dim=WIDTH,
        caption_channels=WIDTH,
        sample_size=SIDE,
        patch_size=PATCH,
        use_additional_conditions=False,
    )


def their_training(precision: str, compiled: bool) -> Callable[[], float]:
    """One step of a plain loop; returns the loss."""
    import torch

    torch.manual_seed(0)
    torch.set_flush_denormal(True)
    model = their_model().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.99), weight_decay=0.1, fused=True)
    run = torch.compile(model, dynamic=False) if compiled else model

    def once() -> float:
        latent, noise = torch.randn(2, BATCH, CHANNELS, SIDE, SIDE)
        steps, prompt = torch.randint(0, 1000, (BATCH,)), torch.randn(BATCH, WORDS, WIDTH)
        share = steps.view(-1, 1, 1, 1) / 1000
        noisy = (1 - share) * latent + share * noise
        with torch.autocast("cpu", torch.bfloat16) if precision == "bfloat16" else contextlib.nullcontext():
            predicted = run(noisy, encoder_hidden_states=prompt, timestep=steps, return_dict=False)[0]
        loss = torch.nn.functional.mse_loss(predicted.float(), noise - latent)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.item())

    return once


def our_painting(precision: str, side: int = SIDE, steps: int = A_TURN, painted: int = PAINTED) -> Callable[[], float]:
    """Sixteen pictures; returns the seconds spent outside the network."""
    import torch

    from limner.models import keep_memory
    from limner.picture.generator import TOGETHER
    from limner.picture.guidance import Guide, Prompts
    from limner.picture.samplers import ddim, make_times
    from limner.picture.together import weights_apart

    keep_memory()  # as limner.load does
    torch.manual_seed(0)
    model = our_model(side).eval().to(getattr(torch, precision))
    ids, mask = torch.randint(0, 64, (2, WORDS)), torch.ones(2, WORDS, dtype=torch.bool)
    prompts = Prompts(ids, mask, (1.0,), GUIDANCE)
    inside = 0.0
    forward = model.denoiser.forward

    def timed(*args: Any, **values: Any) -> torch.Tensor:
        nonlocal inside
        start = time.perf_counter()
        out: torch.Tensor = forward(*args, **values)
        inside += time.perf_counter() - start
        return out

    model.denoiser.forward = timed
    process = model.config.diffusion.process

    with torch.inference_mode():
        some, half = torch.randn(TOGETHER, CHANNELS, side, side), torch.tensor(0.5)
        alone = [partial(Guide(model, prompts).predict, one[None], half) for one in some]
        apart = weights_apart(lambda w: Guide(model, *[prompts] * TOGETHER, apart=w).predict(some, half), alone)
    most = 1 if apart is None else TOGETHER

    @torch.inference_mode()
    def once() -> float:
        nonlocal inside
        inside, start = 0.0, time.perf_counter()
        for first in range(0, painted, most):
            count = min(most, painted - first)
            noise = torch.randn(count, CHANNELS, side, side, generator=torch.Generator().manual_seed(first))
            guide = Guide(model, *[prompts] * count, apart=apart or ())
            ddim(guide, noise, make_times(process, steps), process, noise.clone)
        return time.perf_counter() - start - inside

    return once


def their_painting(precision: str) -> Callable[[], float]:
    """Sixteen pictures, all in one batch."""
    import torch
    from diffusers import DDIMScheduler

    torch.manual_seed(0)
    model = their_model().eval().to(getattr(torch, precision))
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(A_TURN)
    prompt = torch.randn(2, WORDS, WIDTH).to(model.dtype).repeat_interleave(PAINTED, dim=0)

    @torch.inference_mode()
    def once() -> float:
        x = torch.randn(PAINTED, CHANNELS, SIDE, SIDE)
        for moment in scheduler.timesteps:
            both = torch.cat((x, x)).to(model.dtype)
            at = moment.expand(2 * PAINTED)
            wanted, other = (
                model(both, encoder_hidden_states=prompt, timestep=at, return_dict=False)[0].float().chunk(2)
            )
            x = scheduler.step(other + GUIDANCE * (wanted - other), moment, x, return_dict=False)[0]
        return float(x.mean())

    return once


def side(name: str, what: str, precision: str, compiled: bool) -> Callable[[], float]:
    """What one process does when it is asked."""
    if what == "training":
        return (our_training if name == "limner" else their_training)(precision, compiled)
    return (our_painting if name == "limner" else their_painting)(precision)


def cost(threads: int) -> None:
    """How our own figures grow: training with resolution, painting with resolution and steps."""
    import torch

    torch.set_num_threads(threads)
    print(f"{'patches':>8} {'training pictures/s':>20} {'seconds a picture, 10 / 25 / 50 steps':>40}")
    for size in (8, 16, 32, 48):
        step = our_training("bfloat16", False, size)
        step()
        start = time.perf_counter()
        step()
        rate = BATCH / (time.perf_counter() - start)
        seconds = []
        for steps in (10, 25, 50):
            paint = our_painting("bfloat16", size, steps, painted=1)
            start = time.perf_counter()
            paint()
            seconds.append(f"{time.perf_counter() - start:.2f}")
        print(f"{(size // PATCH) ** 2:8} {rate:20.1f} {' / '.join(seconds):>40}", flush=True)


def main() -> None:
    parser = harness.parser(__doc__ or "", turns=5)
    parser.add_argument("--serve", nargs=4, help="internal: be one side")
    parser.add_argument("--skip-compiled", action="store_true", help="only the eager sides")
    parser.add_argument("--only", choices=("training", "painting"), help="one of the two alone")
    parser.add_argument("--precision", choices=("bfloat16", "float32"), help="one of the two alone")
    parser.add_argument("--cost", action="store_true", help="how the cost grows, without a peer")
    chosen = parser.parse_args()
    if chosen.serve:
        import torch

        torch.set_num_threads(chosen.threads)
        name, what, precision, compiled = chosen.serve
        sides.serve(side(name, what, precision, compiled == "1"), chosen.threads)
        return
    if chosen.cost:
        cost(chosen.threads)
        return
    results: dict[str, Any] = {}
    print(f"{'what':10} {'precision':10} {'side':22} {'figure':>22} {'to their eager':>15}")
    for what in [chosen.only] if chosen.only else ["training", "painting"]:
        for precision in [chosen.precision] if chosen.precision else ["bfloat16", "float32"]:
            ways = [("limner", False), ("diffusers", False)]
            if what == "training" and not chosen.skip_compiled:
                ways += [("limner", True), ("diffusers", True)]
            started = {
                f"{name}{', compiled' if compiled else ''}": sides.Side(
                    "bench.picture", [name, what, precision, str(int(compiled))], chosen.threads
                )
                for name, compiled in ways
            }
            found = sides.in_turn(started, chosen.turns, warm=2 if what == "training" else 1)
            for name, row in found.items():
                row["ratio"] = sides.times_as_fast(found["diffusers"], row)
                if what == "painting":
                    row.update({name: row[name] * STEPS / A_TURN for name in ("seconds", "value")})
                figure = f"{BATCH / row['seconds']:.1f} pictures/s" if what == "training" else f"{row['seconds']:.1f} s"
                if what == "painting" and name == "limner":
                    row["outside"] = row["value"] / row["seconds"]
                    figure = f"{figure}, {row['outside']:.1%} outside"
                print(f"{what:10} {precision:10} {name:22} {figure:>22} {row['ratio']:15.2f}", flush=True)
            results[f"{what} {precision}"] = found
    first = next(iter(results.values()))
    best = {
        who: min(row["seconds"] for name, row in first.items() if name.startswith(who))
        for who in ("limner", "diffusers")
    }
    ratio = best["diffusers"] / best["limner"]  # the faster of each side's ways
    harness.finish("picture", chosen.json, chosen.threads, {"ratio": ratio, "results": results})


if __name__ == "__main__":
    main()
