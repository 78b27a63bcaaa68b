"""A tokenizer small enough to see through: token 0 begins a document, token b + 1 is the byte b."""

from __future__ import annotations

import json
from pathlib import Path


class ByteTokenizer:
    kind = "bytes"
    vocab_size = 257
    begin_id: int | None = 0
    end_id: int | None = 0

    def __init__(self, name: str = "fake") -> None:
        self.name = name

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        return [[byte + 1 for byte in text.encode()] for text in texts]

    def decode(self, ids: list[int]) -> str:
        return bytes(int(id) - 1 for id in ids if id).decode()

    def fingerprint(self) -> str:
        return self.name

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.json").write_text(json.dumps({"name": self.name}))
