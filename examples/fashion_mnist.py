"""Make captioned pictures of Fashion-MNIST: ``python examples/fashion_mnist.py FOLDER OUT.tar``.

FOLDER holds the pictures and labels as they are published (``…-images-idx3-ubyte.gz`` and ``…-labels-idx1-ubyte.gz``,
of ``train`` or ``t10k`` or both). OUT.tar gets each as a PNG of 28 × 28 grey pixels, and ``metadata.jsonl`` with two
sentences for each: for label 9, "a picture of an ankle boot" and "an ankle boot". Then::

    limner.data.prepare_pictures(["OUT.tar"], size=28, multiple=4, cache="prepared")

Source: Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747; the pictures are under the MIT licence, (c) Zalando SE.
"""

from __future__ import annotations

import gzip
import io
import json
import struct
import sys
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = (
    "a T-shirt", "a pair of trousers", "a pullover", "a dress", "a coat", "a sandal", "a shirt", "a sneaker", "a bag",
    "an ankle boot",
)  # fmt: skip


def idx(path: Path) -> np.ndarray:
    """The array in an IDX file: two zeros, its type (8 is bytes), its number of dimensions, their sizes, its values."""
    data = gzip.decompress(path.read_bytes())
    zeros, kind, dimensions = struct.unpack_from(">HBB", data)
    if (zeros, kind) != (0, 8):
        raise SystemExit(f"{path} begins with {data[:4].hex(' ')}, but an IDX file of bytes begins with 00 00 08.")
    shape = struct.unpack_from(f">{dimensions}I", data, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def main(folder: Path, out: Path) -> None:
    """Write the tar."""
    rows, count = [], 0
    with tarfile.open(out, "w") as tar:

        def add(name: str, data: bytes) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))

        for images in sorted(folder.glob("*-images-idx3-ubyte.gz")):
            part = images.name.partition("-")[0]
            labels = idx(folder / f"{part}-labels-idx1-ubyte.gz")
            for number, (picture, label) in enumerate(zip(idx(images), labels, strict=True)):
                name, thing = f"{part}-{number:05d}.png", CLASSES[label]
                png = io.BytesIO()
                Image.fromarray(picture).save(png, "PNG")
                add(name, png.getvalue())
                rows.append({"file_name": name, "text": [f"a picture of {thing}", thing]})
                count += 1
        add("metadata.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())
    print(f"{count:,} pictures in {out}")  # noqa: T201


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("Say where the files lie and what to write: python examples/fashion_mnist.py FOLDER OUT.tar")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
