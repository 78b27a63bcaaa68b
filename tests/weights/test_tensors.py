"""Tensors on disk."""

from __future__ import annotations

from pathlib import Path

import torch

from limner.weights.tensors import write_tensors


def test_what_is_written_can_be_read_by_others(tmp_path: Path) -> None:
    write_tensors(tmp_path, {"a": torch.ones(2)})
    assert (tmp_path / "model.safetensors").stat().st_mode & 0o444 == 0o444
