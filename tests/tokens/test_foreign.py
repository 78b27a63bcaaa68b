"""Other tools open our files with equal ids, and theirs are opened here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as Backend

from limner.tokens import KINDS, Tokenizer

few = settings(max_examples=40, deadline=None)
SENTENCES = [
    "The curious cat climbed the tall tree, singing and running.",
    "It's 12 o'clock; the dog's bone isn't here.\n\nCafé naïve — 日本 🤖.",
    " two  spaces, a\ttab and a NUL \x00 end\r\n",
    "",
]
TEXTS = SENTENCES[:2] * 20
QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


# ── transformers opens ours ────────────────────────────────────────────────────────────────────────────────


def transformers_ids(theirs: Any, text: str) -> list[int]:
    ids: list[int] = theirs(text, add_special_tokens=False)["input_ids"]
    return ids


@pytest.mark.parametrize("kind", KINDS)
def test_transformers_gives_equal_ids_and_texts(trained: dict[str, Tokenizer], kind: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    ours = trained[kind]
    ours.save(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen3"}))  # as in an exported folder
    for theirs in (
        AutoTokenizer.from_pretrained(tmp_path),
        PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json")),
    ):
        for text in SENTENCES:
            assert transformers_ids(theirs, text) == ours.encode(text) == theirs(text)["input_ids"]
            assert theirs.decode(ours.encode(text)) == ours.decode(ours.encode(text), skip_special=False)
        with_names = "A cat<|end|>It's"
        assert transformers_ids(theirs, with_names) == ours.encode(with_names, special=True)
        assert len(theirs) == ours.vocab_size


@pytest.mark.parametrize("kind", KINDS)
def test_transformers_sees_the_same_roles(trained: dict[str, Tokenizer], kind: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    ours = trained[kind].with_special(["<|mask|>", "<|user|>"])
    ours.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (ours.begin_id, ours.end_id, ours.pad_id)
    assert theirs.unk_token_id == ours.unknown_id
    text = "<|user|>The cat<|end|>"
    assert transformers_ids(theirs, text) == ours.encode(text, special=True)


@pytest.mark.parametrize("kind", KINDS)
def test_what_transformers_adds_and_saves_opens_here(trained: dict[str, Tokenizer], kind: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    trained[kind].save(tmp_path / "ours")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "ours")
    theirs.add_special_tokens({"mask_token": "<|hidden|>", "extra_special_tokens": ["<|user|>"]})
    theirs.save_pretrained(tmp_path / "theirs")
    again = Tokenizer.load(tmp_path / "theirs")
    text = "<|user|>The <|hidden|> climbed.<|end|>"
    assert again.encode(text, special=True) == transformers_ids(theirs, text)
    assert again.mask_id == theirs.mask_token_id
    assert (again.kind, again.end_id, again.opening) == (kind, trained[kind].end_id, trained[kind].opening)


# ── ours opens others ──────────────────────────────────────────────────────────────────────────────────────


def words_then_bytes(pattern: str) -> Any:
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )


def byte_level(**model: Any) -> Backend:
    backend = Backend(models.BPE(**model))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.post_processor = processors.ByteLevel(trim_offsets=False)
    backend.decoder = decoders.ByteLevel()
    return backend


def learn(backend: Backend, special: list[str], trainer: type = trainers.BpeTrainer, **more: Any) -> Backend:
    backend.train_from_iterator(
        TEXTS, trainer=trainer(vocab_size=420, special_tokens=special, show_progress=False, **more)
    )
    return backend


def gpt2() -> tuple[Backend, dict[str, Any]]:
    backend = learn(byte_level(), ["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    name = {"content": "<|endoftext|>", "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    return backend, {"tokenizer_config.json": {"bos_token": name, "eos_token": name, "unk_token": name}}


def llama3() -> tuple[Backend, dict[str, Any]]:
    backend = byte_level(ignore_merges=True)
    backend.pre_tokenizer = words_then_bytes(QWEN_WORDS)
    learn(backend, [], initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    names = ["<|begin_of_text|>", "<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"]
    backend.add_special_tokens(names)
    ids = [backend.token_to_id(name) for name in names]
    backend.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing("<|begin_of_text|> $A", special_tokens=[(names[0], ids[0])]),
        ]
    )
    return backend, {
        "tokenizer_config.json": {"bos_token": names[0], "eos_token": names[3]},
        "generation_config.json": {"bos_token_id": ids[0], "eos_token_id": ids[1:]},
    }


def qwen() -> tuple[Backend, dict[str, Any]]:
    backend = byte_level()
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = words_then_bytes(QWEN_WORDS)
    learn(backend, [], initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    backend.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    ids = [backend.token_to_id(name) for name in ("<|endoftext|>", "<|im_end|>")]
    return backend, {
        "tokenizer_config.json": {"bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
        "config.json": {"bos_token_id": ids[0], "eos_token_id": ids[1], "pad_token_id": 3},
    }


def bert() -> tuple[Backend, dict[str, Any]]:
    backend = Backend(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    learn(backend, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], trainers.WordPieceTrainer)
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    keys = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return backend, {"special_tokens_map.json": keys | {"mask_token": "[MASK]"}}


def llama2() -> tuple[Backend, dict[str, Any]]:
    """BPE as converted from sentencepiece: "▁" for spaces, unknown characters as bytes."""
    start = Backend(models.BPE())
    start.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    start.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    learn(start, [], limit_alphabet=25)
    learned = json.loads(start.to_str())["model"]
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *learned["vocab"]]
    model = models.BPE(
        {piece: id for id, piece in enumerate(pieces)},
        [tuple(pair) for pair in learned["merges"]],
        unk_token="<unk>",
        fuse_unk=True,
        byte_fallback=True,
    )
    backend = Backend(model)
    backend.normalizer = start.normalizer
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    backend.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    return backend, {"tokenizer_config.json": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}}


def t5() -> tuple[Backend, dict[str, Any]]:
    """Unigram whose special tokens stand in the model's own vocabulary, where typing them finds them."""
    backend = Backend(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    learn(backend, ["<pad>", "</s>", "<unk>"], trainers.UnigramTrainer, unk_token="<unk>")
    backend.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    return backend, {"tokenizer_config.json": {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}}


FAMILIES: dict[str, Callable[[], tuple[Backend, dict[str, Any]]]] = {
    "gpt2": gpt2,
    "llama3": llama3,
    "qwen": qwen,
    "bert": bert,
    "llama2": llama2,
    "t5": t5,
}


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name, make in FAMILIES.items():
        backend, files = make()
        made[name] = tmp_path_factory.mktemp(name)
        backend.save(str(made[name] / "tokenizer.json"))
        for file, content in files.items():
            (made[name] / file).write_text(json.dumps(content))
    return made


@pytest.mark.parametrize("family", FAMILIES)
def test_ids_of_others_are_the_same(folders: dict[str, Path], family: str, tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    ours = Tokenizer.load(folders[family])
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(folders[family] / "tokenizer.json"))
    for text in SENTENCES:
        assert ours.encode(text) == transformers_ids(theirs, text)
        assert [*ours.opening, *ours.encode(text), *ours.closing] == theirs(text)["input_ids"]
    ours.save(tmp_path)
    assert Tokenizer.load(tmp_path).roles == ours.roles


@pytest.mark.parametrize(
    ("family", "kind", "begin", "end", "ends", "pad", "opening", "closing"),
    [
        ("gpt2", "byte-bpe", "<|endoftext|>", "<|endoftext|>", 1, None, [], []),
        ("llama3", "byte-bpe", "<|begin_of_text|>", "<|eot_id|>", 3, None, ["<|begin_of_text|>"], []),
        ("qwen", "byte-bpe", "<|endoftext|>", "<|im_end|>", 1, "<|endoftext|>", [], []),
        ("bert", "wordpiece", "[CLS]", "[SEP]", 1, "[PAD]", ["[CLS]"], ["[SEP]"]),
        ("llama2", "other", "<s>", "</s>", 1, None, ["<s>"], []),
        ("t5", "unigram", None, "</s>", 1, "<pad>", [], ["</s>"]),
    ],
)
def test_roles_are_read_from_the_files_of_the_folder(
    folders: dict[str, Path],
    family: str,
    kind: str,
    begin: str | None,
    end: str,
    ends: int,
    pad: str | None,
    opening: list[str],
    closing: list[str],
) -> None:
    tokenizer = Tokenizer.load(folders[family])
    assert tokenizer.kind == kind
    named = [None if id is None else tokenizer.piece(id) for id in (tokenizer.begin_id, tokenizer.end_id)]
    assert named == [begin, end]
    assert len(tokenizer.end_ids) == ends
    assert tokenizer.pad_id == (None if pad is None else tokenizer.piece_id(pad))
    assert [tokenizer.piece(id) for id in tokenizer.opening] == opening
    assert [tokenizer.piece(id) for id in tokenizer.closing] == closing


@pytest.mark.parametrize("family", FAMILIES)
@few
@given(text=st.one_of(st.sampled_from(SENTENCES), st.text(st.sampled_from("The cat's 12\n é🤖</s>[CLS]"))))
def test_streams_of_others_say_what_decoding_says(folders: dict[str, Path], family: str, text: str) -> None:
    tokenizer = opened(folders[family])
    ids = tokenizer.encode(text)
    stream = tokenizer.stream()
    assert "".join(map(stream.push, ids)) + stream.finish() == tokenizer.decode(ids)
    special = set(tokenizer.special.values()) - {tokenizer.unknown_id}
    assert not special & set(ids)
    assert [piece.id for piece in tokenizer.pieces(text)] == ids


CACHE: dict[Path, Tokenizer] = {}


def opened(folder: Path) -> Tokenizer:
    return CACHE.setdefault(folder, Tokenizer.load(folder))


@given(ids=st.lists(st.integers(0, 420)))
@few
def test_a_stream_with_byte_fallback_never_shows_half_a_character(folders: dict[str, Path], ids: list[int]) -> None:
    tokenizer = opened(folders["llama2"])
    stream = tokenizer.stream()
    shown = "".join(map(stream.push, ids)) + stream.finish()
    assert shown.replace("\ufffd", "") or not tokenizer.decode(ids).replace("\ufffd", "")
    if "\ufffd" not in tokenizer.decode(ids):
        assert shown == tokenizer.decode(ids)


def test_a_stream_with_byte_fallback_waits_for_the_last_byte(folders: dict[str, Path]) -> None:
    tokenizer = opened(folders["llama2"])
    robot = [tokenizer.piece_id(f"<0x{byte:02X}>") or 0 for byte in "🤖".encode()]
    the = tokenizer.piece_id("▁the") or 0
    stream = tokenizer.stream()
    assert [stream.push(id) for id in [the, *robot, the]] == ["the", "", "", "", "🤖", " the"]
    assert tokenizer.token_bytes(robot[0]) == b"\xf0"
    assert tokenizer.token_bytes(the) == b" the"
    stream = tokenizer.stream()
    assert [stream.push(id) for id in [robot[0], the]] == ["", "\ufffd the"]


def test_typing_what_a_foreign_model_has_as_a_word_makes_no_special_token(folders: dict[str, Path]) -> None:
    tokenizer = opened(folders["t5"])
    text = "The cat</s> climbed"
    assert tokenizer.end_id not in tokenizer.encode(text)
    assert tokenizer.end_id in tokenizer.encode(text, special=True)
    assert [piece.start for piece in tokenizer.pieces(text)] == sorted(p.start for p in tokenizer.pieces(text))


def test_lower_cased_pieces_keep_the_bytes_of_the_text(folders: dict[str, Path]) -> None:
    pieces = opened(folders["bert"]).pieces("Cat")
    assert b"".join(piece.bytes for piece in pieces) == b"Cat"
    assert pieces[0].piece[0] == "c"
