"""all-MiniLM-L6-v2 gives the numbers that transformers gives from the same files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from limner.models import load
from limner.text.encoder import TextEncoder
from tests.explain.conftest import minilm as minilm
from tests.parity.conftest import near

SENTENCES = [
    "An apple a day keeps the doctor away.",
    "Apple released a new phone, and it's dear!",
    "Cats chase mice",
    "naïve café: 日本 #42",
]
PUBLISHED = (
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # model.safetensors, as its authors list it
)


@pytest.fixture(scope="module")
def folder(minilm: TextEncoder) -> Path:
    return Path(minilm.card["path"])


def test_the_weights_are_the_published_ones(folder: Path, minilm: TextEncoder) -> None:
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() == PUBLISHED
    assert minilm.card["name"] == "all-minilm-l6-v2"
    assert minilm.card["licence"] == "apache-2.0"


@torch.inference_mode()
def test_tokens_vectors_and_sentences_are_those_of_transformers(folder: Path, minilm: TextEncoder) -> None:
    theirs = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(SENTENCES, padding=True, return_tensors="pt")
    for text, ids, mask in zip(SENTENCES, batch["input_ids"], batch["attention_mask"], strict=True):
        assert minilm.read(text) == ids[mask.bool()].tolist()
    mask = batch["attention_mask"]
    out = theirs(**batch, output_hidden_states=True)
    for layer, expected in enumerate(out.hidden_states):
        vectors = minilm.encode(SENTENCES, pooling="none", layer=layer)
        found = torch.from_numpy(np.concatenate(vectors))
        near(found, expected[mask.bool()], f"layer {layer}")
    mean = (out.last_hidden_state * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
    expected = torch.nn.functional.normalize(mean, dim=-1)
    sentences = minilm.encode(SENTENCES, normalize=True)
    assert np.abs(sentences - expected.numpy()).max() <= 1e-6
    assert load("all-minilm-l6-v2").encode(SENTENCES[0], normalize=True) == pytest.approx(sentences[0], abs=1e-6)
