"""Losses against those computed directly, token by token."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import pytest
import torch

from limner.core.errors import ConfigError, DataError, WeightsError
from limner.text import evaluate as module
from limner.text.evaluate import Pair, evaluate, judge_pairs, read_pairs, score_texts
from limner.text.generator import TextGenerator
from limner.tokens import Tokenizer, train_tokenizer
from tests.text.conftest import STORY, make_generator

TEXTS = [STORY[:130], "Tom.", "The moon was round and bright. " * 2, "café 🪁", "a"]


def direct(generator: TextGenerator, text: str, context: int, stride: int) -> tuple[float, int]:
    """Each token's loss by a pass of its own, with the context that its window gives it."""
    opening = generator.tokenizer.opening
    ids = [*opening, *generator.tokenizer.encode(text)]
    first = max(len(opening), 1)
    nats = 0.0
    for place in range(first, len(ids)):
        end = context  # the last target of the first window that has this token
        while end < place:
            end += stride
        start = max(min(end, len(ids) - 1) - context, 0)
        with torch.inference_mode():
            logits = generator.model(torch.tensor([ids[start:place]]))[0, -1]
        nats -= logits.log_softmax(dim=-1)[ids[place]].item()
    return nats, len(ids) - first


@pytest.mark.parametrize(("context", "stride"), [(48, 24), (48, 48), (20, 1), (7, 3), (1, 1)])
def test_the_loss_is_that_of_the_direct_computation(
    any_generator: TextGenerator, context: int, stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PASS_TOKENS", 100)  # several passes, several pools, logits in several parts
    monkeypatch.setattr(module, "POOL_TOKENS", 60)
    monkeypatch.setattr(module, "LOGITS", 320 * 7)
    texts = TEXTS if stride > 1 or context == 1 else TEXTS[1:]
    scores = list(score_texts(any_generator, texts, context=context, stride=stride))
    for text, score in zip(texts, scores, strict=True):
        nats, tokens = direct(any_generator, text, context, stride)
        assert score.nats == pytest.approx(nats, rel=1e-4)
        assert score.tokens == tokens
        assert score.bytes == len(text.encode())


def test_the_figures_follow_from_the_sums(generator: TextGenerator) -> None:
    seen: list[int] = []
    result = evaluate(generator, TEXTS, progress=seen.append)
    sums = [direct(generator, text, 48, 24) for text in TEXTS]
    nats, tokens = sum(n for n, _ in sums), sum(t for _, t in sums)
    assert result.loss == pytest.approx(nats / tokens, rel=1e-4)
    assert result.perplexity == pytest.approx(math.exp(nats / tokens), rel=1e-3)
    assert result.bits_per_byte == pytest.approx(nats / math.log(2) / len("".join(TEXTS).encode()), rel=1e-4)
    assert (result.tokens, result.documents) == (tokens, 5)
    assert seen[-1] == len("".join(TEXTS).encode())
    assert set(result.to_dict()) == {"loss", "perplexity", "bits_per_byte", "tokens", "bytes", "documents"}


def test_progress_is_told_within_a_long_text(generator: TextGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PASS_TOKENS", 48 * 4)
    monkeypatch.setattr(module, "POOL_TOKENS", 2000)
    seen: list[int] = []
    text = "The moon was bright. " * 100
    result = evaluate(generator, ["Tom.", text, text], progress=seen.append)
    assert seen == sorted(seen)
    assert len(seen) > 10
    assert 0 < seen[0] < 1000
    assert seen[-1] == result.bytes == 4 + 2 * len(text)


def test_without_a_begin_token_the_first_token_and_its_bytes_do_not_count() -> None:
    tokenizer = train_tokenizer("bytes", [], vocab_size=256, special=())
    generator = make_generator(tokenizer)
    (score,) = score_texts(generator, ["moon"])
    assert (score.tokens, score.bytes) == (3, 3)
    assert score.nats == pytest.approx(direct(generator, "moon", 48, 24)[0], rel=1e-4)


def test_pairs_are_judged_by_the_sums_of_log_probabilities(generator: TextGenerator) -> None:
    sentences = ["Tom climbed a tree.", "Tom climb a tree.", "The moon was bright.", "The moon were bright."]
    nats = [direct(generator, sentence, 48, 24)[0] for sentence in sentences]
    pairs = [
        Pair(sentences[0], sentences[1], "verbs"),
        Pair(sentences[1], sentences[0], "verbs"),
        Pair(sentences[2], sentences[3], "nouns"),
        Pair(sentences[0], sentences[0], "same"),
    ]
    judged = judge_pairs(generator, pairs)
    assert judged.by_field == {"verbs": 0.5, "nouns": float(nats[2] < nats[3]), "same": 0.0}
    assert judged.accuracy == (1 + (nats[2] < nats[3])) / 4
    assert judged.pairs == 4


def test_pairs_are_read_from_plain_and_compressed_files(tmp_path: Path) -> None:
    lines = [
        json.dumps({"good": "a", "bad": "b", "field": "syntax", "uid": 3}),
        "",
        json.dumps({"sentence_good": "é", "sentence_bad": "d", "linguistics_term": "x"}),
        json.dumps({"good": "e", "bad": "f"}),
    ]
    expected = [Pair("a", "b", "syntax"), Pair("é", "d", "x"), Pair("e", "f")]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "pairs.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    assert read_pairs(tmp_path / "pairs.jsonl") == expected
    assert read_pairs(tmp_path / "pairs.jsonl.gz") == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 pairs"),
        (b'{"good": "a", "bad": "b"}\n{"good": "a", "worse": "b"}', "line 2 .* has the keys good, worse"),
        (b'{"good": "a", "bad": 3}', "line 1 .* has the keys bad, good"),
        (b'{"good": "a", "bad": "b"}\n{"good": ', "line 2 .* is no JSON"),
        (b'{"good": "\xff"}', "line 1 .* is no JSON"),
        (b"\x00\x01\x02", "is damaged .*NUL byte"),
    ],
)
def test_files_that_are_no_pairs_say_where(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_pairs(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.jsonl is not there"):
        read_pairs(tmp_path / "nowhere.jsonl")


@pytest.mark.parametrize(("name", "value"), [("context", 0), ("context", 49), ("stride", 0), ("stride", 49)])
def test_windows_out_of_range_are_named(generator: TextGenerator, name: str, value: int) -> None:
    with pytest.raises(ConfigError, match=f"{name} is {value}, but"):
        evaluate(generator, TEXTS, **{name: value})  # type: ignore[arg-type]


def test_nothing_to_predict_is_an_error(generator: TextGenerator) -> None:
    with pytest.raises(DataError, match="2 texts with 0 tokens"):
        evaluate(generator, ["", ""])


def test_a_loss_that_is_no_number_is_an_error(tokenizer: Tokenizer) -> None:
    broken = make_generator(tokenizer)
    with torch.no_grad():
        broken.model.embedding.token.weight.fill_(torch.nan)
    with pytest.raises(WeightsError, match="loss is nan"):
        evaluate(broken, TEXTS)
