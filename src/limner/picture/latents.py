"""The latents of a set of pictures, made once and kept beside it, for training looks at each picture many times.

SET/latents-…/bucket-16x16.bin, …    the latents of one shape, (count, height, width, channels) float16, nothing else

The folder is named after the autoencoder that made them. Latents have a deviation of 1, so float16 is off by some 0.0002,
a hundredth of how uncertain a good autoencoder is of them; it takes half the bytes of float32.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from limner.core.errors import WeightsError
from limner.data.cache import building
from limner.picture.images import from_bytes
from limner.weights.places import mark_used

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from limner.data.picture_shards import PictureSet
    from limner.picture.autoencoder import Autoencoder

VERSION = 1  # of the files
KIND = np.dtype("<f2")
TOGETHER = 1 << 20  # pixels that are encoded at once

Progress = Callable[[str, int, int], None]
Shape = tuple[int, int, int, int]


def latent_set(pictures: PictureSet, coder: Autoencoder, progress: Progress | None = None) -> PictureSet:
    """The same set with latents on the scale of noise (``Autoencoder.normalise``) in place of pictures.

    Args:
        coder: in float32, on the device that shall compute.
        progress: called with (what is being done, pictures encoded, pictures to encode).
    Raises:
        WeightsError: the autoencoder gives numbers that float16 does not hold.
        ShapeError: a side is no multiple of its factor.
        DataError: the set's folder cannot be written.
    """
    folder = pictures.folder / f"latents-{fingerprint(coder)[:20]}"
    shapes: list[Shape] = []
    for array, (height, width) in zip(pictures.arrays, pictures.buckets, strict=True):
        channels, rows, columns = coder.latent_shape(height, width)
        shapes.append((len(array), rows, columns, channels))
    if not _is_whole(shapes, folder):
        with building(folder, partial(_is_whole, shapes), "the latents are") as temporary:
            _encode(pictures, coder, temporary, shapes, progress or (lambda *_: None))
    mark_used(folder)
    return pictures.holding([_mapped(folder, shape) for shape in shapes])


def fingerprint(coder: Autoencoder) -> str:
    """Changes when the weights, the scale, the shape, or the layout on disk does; of an average, that by which latents differ."""
    averaged = coder.config.encoder == "average"
    if averaged:  # whatever the decoder is
        values = {"encoder": "average", "factor": coder.config.factor}
    else:  # as it was before there were others, so that latents made then are found
        values = {key: value for key, value in coder.config.to_dict().items() if key not in ("encoder", "noise")}
    whole = hashlib.sha256(json.dumps([VERSION, values]).encode())
    for name, value in sorted(coder.state_dict().items()):
        if averaged and name.startswith("decoder."):
            continue
        whole.update(name.encode() + value.float().cpu().contiguous().numpy().tobytes())
    return whole.hexdigest()


@torch.no_grad()
def _encode(pictures: PictureSet, coder: Autoencoder, folder: Path, shapes: list[Shape], progress: Progress) -> None:
    done, total = 0, len(pictures)
    device = coder.mean.device
    for array, (height, width), shape in zip(pictures.arrays, pictures.buckets, shapes, strict=True):
        together = max(1, TOGETHER // (height * width))
        with (folder / _file(shape)).open("wb") as file:
            for start in range(0, len(array), together):
                some = torch.from_numpy(np.array(array[start : start + together])).permute(0, 3, 1, 2)
                latents = coder.normalise(coder.encode(from_bytes(some.to(device))).mean)
                kept = latents.permute(0, 2, 3, 1).half().cpu()
                if not kept.isfinite().all():
                    raise WeightsError(
                        f"the autoencoder gives latents of up to {float(latents.abs().max()):.3g} times their deviation, but "
                        f"{float(torch.finfo(torch.float16).max):,.0f} is the most that can be kept. Train it longer, or use "
                        "another."
                    )
                file.write(kept.contiguous().numpy().astype(KIND, copy=False).data)
                done += len(some)
                progress("encoding pictures", done, total)
            file.flush()
            os.fsync(file.fileno())


def _file(shape: Shape) -> str:
    return f"bucket-{shape[1]}x{shape[2]}.bin"


def _is_whole(shapes: list[Shape], folder: Path) -> bool:
    sizes = {folder / _file(shape): int(np.prod(shape)) * KIND.itemsize for shape in shapes}
    return all(path.is_file() and path.stat().st_size == size for path, size in sizes.items())


def _mapped(folder: Path, shape: Shape) -> NDArray[np.float16]:
    if not shape[0]:
        return np.empty(shape, KIND)  # nothing cannot be mapped
    return np.asarray(np.memmap(folder / _file(shape), dtype=KIND, mode="r", shape=shape))
