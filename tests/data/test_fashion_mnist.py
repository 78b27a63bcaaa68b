from __future__ import annotations

import gzip
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np

from limner.data import prepare_pictures

SCRIPT = Path(__file__).parents[2] / "examples" / "fashion_mnist.py"


def test_sentences_are_made_of_the_labels(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (30, 28, 28), dtype=np.uint8)
    labels = np.arange(30, dtype=np.uint8) % 10
    for name, values in (("images-idx3", pictures), ("labels-idx1", labels)):
        head = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
        (tmp_path / f"t10k-{name}-ubyte.gz").write_bytes(gzip.compress(head + values.tobytes()))
    out = tmp_path / "pictures.tar"
    done = subprocess.run([sys.executable, SCRIPT, tmp_path, out], capture_output=True, text=True, check=True)
    assert done.stdout == f"30 pictures in {out}\n"
    data = prepare_pictures([out], size=28, multiple=4, cache=tmp_path / "cache")
    found = {}
    for part in (data.train, data.validation):
        for number in range(len(part)):
            array, captions = part.picture(number)
            found[array[..., 0].tobytes()] = captions
            assert (array == array[..., :1]).all()
    assert (
        found[pictures[9].tobytes()]
        == found[pictures[29].tobytes()][:2]
        == ("a picture of an ankle boot", "an ankle boot")
    )
    assert found[pictures[10].tobytes()] == ("a picture of a T-shirt", "a T-shirt")
    assert len(found) == 30
