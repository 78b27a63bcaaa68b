from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.core.errors import TokenizerError
from limner.tokens import KINDS, Tokenizer, train_tokenizer

few = settings(max_examples=60, deadline=None)
BYTE_LEVEL = ("byte-bpe", "unigram", "bytes")
NASTY = (
    "",
    " ",
    "  leading and trailing  ",
    "\r\n\r\n \n\t",
    "\x00\x01\x7f\x85\ufeff\ufffd\uffff\U0010ffff\ue000\ue001",
    "e\u0301 \u0301 नमस्ते 👩‍👩‍👧‍👦🏳️‍🌈",
    "▁Ġ<0x0A><|end|>[UNK]##ing",
)
texts = st.one_of(st.sampled_from(NASTY), st.text(), st.text(st.sampled_from("The cat's 12\n\r \u0301é🤖<|end|>▁")))


@pytest.mark.parametrize("kind", BYTE_LEVEL)
@few
@given(text=texts)
def test_byte_level_kinds_give_back_every_text(trained: dict[str, Tokenizer], kind: str, text: str) -> None:
    tokenizer = trained[kind]
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()
    assert b"".join(piece.bytes for piece in tokenizer.pieces(text)) == text.encode()
    assert not set(ids) & set(tokenizer.special.values())


@few
@given(text=st.text(st.sampled_from('The cat\n \tsaid, "singing" é🤖—日本')))
def test_characters_give_back_what_they_know(trained: dict[str, Tokenizer], text: str) -> None:
    tokenizer = trained["characters"]
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert len(ids) == len(text)


def test_an_unknown_character_is_one_unknown_token(trained: dict[str, Tokenizer]) -> None:
    tokenizer = trained["characters"]
    ids = tokenizer.encode("cΩΩt")
    assert ids[1] == ids[2] == tokenizer.unknown_id
    assert tokenizer.decode(ids) == "c��t"


def test_wordpiece_continues_words_with_two_hashes() -> None:
    tokenizer = train_tokenizer("wordpiece", ["learn train talking going"] * 5, vocab_size=60)
    assert [piece.piece for piece in tokenizer.pieces("learning training")] == ["learn", "##ing", "train", "##ing"]
    assert tokenizer.decode(tokenizer.encode("learning training")) == "learning training"
    assert tokenizer.encode("Ω") == [tokenizer.unknown_id]
    assert tokenizer.token_bytes(tokenizer.piece_id("##ing") or 0) == b"ing"


@pytest.mark.parametrize("kind", KINDS)
@few
@given(data=st.data())
def test_streamed_text_is_the_decoded_text(trained: dict[str, Tokenizer], kind: str, data: st.DataObject) -> None:
    """Of any ids, not only of those that some text has: a model may write anything."""
    tokenizer = trained[kind]
    ids = data.draw(
        st.one_of(
            st.lists(st.integers(0, tokenizer.vocab_size + 3)),
            st.lists(st.integers(0, 255)),
            texts.map(tokenizer.encode),
        )
    )
    for skip_special in (True, False):
        stream = tokenizer.stream(skip_special=skip_special)
        shown = [stream.push(id) for id in ids]
        assert "".join(shown) + stream.finish() == tokenizer.decode(ids, skip_special=skip_special)


def test_a_stream_shows_a_character_only_when_it_is_whole(trained: dict[str, Tokenizer]) -> None:
    stream = trained["bytes"].stream()
    assert [stream.push(byte) for byte in "🤖é".encode()] == ["", "", "", "🤖", "", "é"]
    assert stream.push(0xF0) == ""
    assert stream.finish() == "\ufffd"
    assert stream.finish() == ""


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_are_not_made_by_typing_them(trained: dict[str, Tokenizer], kind: str) -> None:
    tokenizer = trained[kind].with_special(["[MASK]"])
    text = "a <|end|> in a text [MASK] cat"
    special = set(tokenizer.special.values()) - {tokenizer.unknown_id}
    assert not special & set(tokenizer.encode(text))
    assert tokenizer.end_id in tokenizer.encode(text, special=True)
    assert tokenizer.encode_batch([text, "a"]) == [tokenizer.encode(text), tokenizer.encode("a")]
    assert tokenizer.decode([tokenizer.end_id]) == ""  # type: ignore[list-item]
    assert tokenizer.decode([tokenizer.end_id], skip_special=False) == "<|end|>"  # type: ignore[list-item]


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_opened_again_it_is_the_same(trained: dict[str, Tokenizer], kind: str, tmp_path: Path) -> None:
    tokenizer = trained[kind]
    tokenizer.save(tmp_path)
    for path in (tmp_path, tmp_path / "tokenizer.json", str(tmp_path)):
        again = Tokenizer.load(path)
        assert again.fingerprint() == tokenizer.fingerprint()
        assert (again.kind, again.roles, again.opening) == (kind, tokenizer.roles, tokenizer.opening)
    (tmp_path / "tokenizer_config.json").unlink()  # the names of the tokens still say their roles
    assert Tokenizer.load(tmp_path).roles == tokenizer.roles
    other = pickle.loads(pickle.dumps(tokenizer))  # as when it is sent to another process
    assert other.encode("The cat") == tokenizer.encode("The cat")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["tokenizer.json"]


def test_the_first_ids_of_byte_level_kinds_are_the_bytes(trained: dict[str, Tokenizer]) -> None:
    for kind in BYTE_LEVEL:
        assert [trained[kind].token_bytes(byte) for byte in range(256)] == [bytes([byte]) for byte in range(256)]
        assert trained[kind].end_id == trained[kind].vocab_size - 1
        assert trained[kind].vocab_size == (257 if kind == "bytes" else 340) or kind == "unigram"


def test_digits_stand_alone() -> None:
    tokenizer = train_tokenizer("byte-bpe", ["in 1999 and 1999 and 1999"] * 20, vocab_size=300)
    assert [piece.piece for piece in tokenizer.pieces("1999")] == ["1", "9", "9", "9"]


def test_pieces_know_their_places(trained: dict[str, Tokenizer]) -> None:
    text = "The Ω cat"
    pieces = trained["byte-bpe"].pieces(text)
    assert all(text[piece.start : piece.end].encode() == piece.bytes for piece in pieces if piece.bytes.isascii())
    assert [(piece.start, piece.end) for piece in pieces if piece.bytes == b"\xce"] == [(4, 5)]


def test_more_special_tokens_follow_the_others(trained: dict[str, Tokenizer]) -> None:
    tokenizer = trained["byte-bpe"]
    more = tokenizer.with_special(["<|user|>", "<|assistant|>"])
    assert (tokenizer.vocab_size, more.vocab_size) == (340, 342)
    assert more.special == {"<|end|>": 339, "<|user|>": 340, "<|assistant|>": 341}
    assert more.encode("<|user|>Hi", special=True)[0] == 340
    assert more.fingerprint() != tokenizer.fingerprint()
    with pytest.raises(TokenizerError, match="'e'"):
        tokenizer.with_special(["e"])


def test_bert_names_give_bert_roles() -> None:
    names = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    tokenizer = train_tokenizer("wordpiece", ["a cat sat"] * 3, vocab_size=60, special=names)
    roles = (tokenizer.pad_id, tokenizer.unknown_id, tokenizer.begin_id, tokenizer.end_id, tokenizer.mask_id)
    assert roles == tuple(tokenizer.piece_id(name) for name in names)
    assert len(set(roles)) == 5


# ── training ───────────────────────────────────────────────────────────────────────────────────────────────

PROGRAM = """
import sys, zlib
from limner.tokens import train_tokenizer
words = ["".join(chr(97 + zlib.crc32(b"%d %d" % (i, j)) % 26) for j in range(3 + i % 4)) for i in range(300)]
texts = [" ".join(words[(i * k * k) % 300] for i in range(60)) + "é." for k in range(60)]
print([train_tokenizer(kind, texts, vocab_size=400).fingerprint() for kind in sys.argv[1:]])
"""


def test_training_twice_gives_the_same_tokenizer() -> None:
    """In two processes, with different numbers of threads and different hash seeds."""
    runs = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM, *KINDS],
            env={"PYTHONHASHSEED": str(seed), "RAYON_NUM_THREADS": str(threads)},
            capture_output=True,
            text=True,
            check=True,
        )
        for seed, threads in ((1, 1), (2, 3))
    ]
    assert runs[0].stdout == runs[1].stdout
    assert runs[0].stderr == ""


def test_texts_are_streamed_and_progress_is_told() -> None:
    seen: list[tuple[int, int]] = []
    tokenizer = train_tokenizer(
        "byte-bpe", ("word " * 5 for _ in range(2500)), vocab_size=260, progress=lambda *read: seen.append(read)
    )
    assert seen == [(1000, 25_000), (2000, 50_000), (2500, 62_500)]
    assert tokenizer.vocab_size == 260


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "bytes"])
def test_one_word_is_enough(kind: str) -> None:
    tokenizer = train_tokenizer(kind, ["hello"], vocab_size=300)
    assert tokenizer.decode(tokenizer.encode("hello")) == "hello"


def test_bytes_need_no_texts() -> None:
    assert train_tokenizer("bytes", [], vocab_size=None).vocab_size == 257


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "bytes"])
@pytest.mark.parametrize("texts", [[], [""], [" \n", "\t"]])
def test_an_empty_corpus_is_refused(kind: str, texts: list[str]) -> None:
    with pytest.raises(TokenizerError, match=rf"empty \({len(texts)} document"):
        train_tokenizer(kind, texts, vocab_size=300)


def test_an_unknown_kind_suggests_the_nearest() -> None:
    with pytest.raises(TokenizerError, match=r"'wordpeace'.*Did you mean 'wordpiece'"):
        train_tokenizer("wordpeace", ["a"])


@pytest.mark.parametrize(
    ("kind", "size", "message"),
    [
        ("byte-bpe", 200, "vocab_size is 200, but byte-bpe needs 256 bytes and 1 special token. Ask for 257 or more"),
        ("unigram", 0, "vocab_size is 0.*257"),
        ("bytes", 256, "vocab_size is 256.*257"),
        ("characters", 4, "vocab_size is 4, but the texts have 4 different characters, which need 6 tokens"),
        ("wordpiece", 6, "vocab_size is 6, but the texts have 3 different characters, which need 8 tokens"),
        ("byte-bpe", None, "vocab_size is None"),
    ],
)
def test_too_small_a_vocabulary_is_refused(kind: str, size: int | None, message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        train_tokenizer(kind, ["a bc"], vocab_size=size)


@pytest.mark.parametrize("special", [("<|a|>", "<|a|>"), ("",), ("x",)])
def test_special_tokens_that_cannot_be_are_refused(special: tuple[str, ...]) -> None:
    with pytest.raises(TokenizerError, match=repr(special[0]).replace("|", r"\|")):
        train_tokenizer("bytes", [], special=special)
    with pytest.raises(TokenizerError, match="'hello'"):
        train_tokenizer("byte-bpe", ["hello hello"] * 9, vocab_size=300, special=("hello",))


def test_errors_of_the_reader_rise_as_they_are() -> None:
    def reader():  # type: ignore[no-untyped-def]
        yield "a"
        raise KeyError("the disk")

    for kind in ("byte-bpe", "wordpiece", "unigram", "characters"):
        with pytest.raises(KeyError, match="the disk"):
            train_tokenizer(kind, reader(), vocab_size=300)
        with pytest.raises(TypeError, match="one string"):
            train_tokenizer(kind, "one text", vocab_size=300)


@pytest.mark.parametrize("kind", KINDS)
def test_half_a_surrogate_pair_is_refused(trained: dict[str, Tokenizer], kind: str) -> None:
    for use in (trained[kind].encode, trained[kind].pieces, lambda text: trained[kind].encode_batch(["a", text])):
        with pytest.raises(TokenizerError, match=r"character 3 of the text is U\+D83D"):
            use("cat\ud83d")
    if kind != "bytes":
        with pytest.raises(TokenizerError, match=r"U\+D83D"):
            train_tokenizer(kind, ["cat\ud83d"], vocab_size=300)


# ── files ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", b"{", "tokenizer.json is damaged"),
        ("tokenizer.json", b"\xff\xfe", "tokenizer.json is damaged"),
        ("tokenizer.json", b'{"version": "1.0"}', "tokenizer.json is damaged"),
        ("tokenizer.json", b"\x80\x04\x95abc", "tokenizer.json is a pickle"),
        ("vocab.pkl", b"anything", "vocab.pkl is a pickle"),
        ("tokenizer.model", b"\x0a\x0e", r"tokenizer.model is a .model file, but .* AutoTokenizer"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TokenizerError, match=message):
        Tokenizer.load(tmp_path / name)


def test_a_folder_without_tokenizer_says_what_it_has(tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes(b"\x0a")
    with pytest.raises(TokenizerError, match=r"has no tokenizer.json.*spiece.model"):
        Tokenizer.load(tmp_path)
    with pytest.raises(TokenizerError, match="nowhere is missing"):
        Tokenizer.load(tmp_path / "nowhere")


def test_half_a_tokenizer_json_is_damaged(trained: dict[str, Tokenizer], tmp_path: Path) -> None:
    trained["byte-bpe"].save(tmp_path)
    file = tmp_path / "tokenizer.json"
    file.write_text(file.read_text()[:2000])
    with pytest.raises(TokenizerError, match="damaged"):
        Tokenizer.load(tmp_path)
    trained["byte-bpe"].save(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(TokenizerError, match=r"tokenizer_config.json is damaged"):
        Tokenizer.load(tmp_path)


def test_ids_that_are_none(trained: dict[str, Tokenizer]) -> None:
    tokenizer = trained["byte-bpe"]
    assert tokenizer.decode([70, 9_999]) == "F"
    assert tokenizer.token_bytes(9_999) == tokenizer.token_bytes(-1) == b""
    with pytest.raises(TokenizerError, match="id is -5"):
        tokenizer.decode([70, -5])


def test_no_warning_after_a_fork() -> None:
    """Threads used, then forked: silent, and the child does not wait for threads that it does not have."""
    program = """
import os
from limner.tokens import train_tokenizer
tokenizer = train_tokenizer("bytes", [])
texts = ["some text"] * 300
before = tokenizer.encode_batch(texts)
child = os.fork()
if child == 0:
    os._exit(0 if tokenizer.encode_batch(texts) == before else 1)
assert os.waitpid(child, 0)[1] == 0
assert tokenizer.encode_batch(texts) == before
"""
    if not hasattr(__import__("os"), "fork"):
        pytest.skip("no fork on this system")
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_a_foreign_config_is_kept(trained: dict[str, Tokenizer], tmp_path: Path) -> None:
    trained["bytes"].save(tmp_path / "a")
    file = tmp_path / "a" / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"chat_template": "{{ x }}"}))
    Tokenizer.load(tmp_path / "a").save(tmp_path / "b")
    assert json.loads((tmp_path / "b" / file.name).read_text())["chat_template"] == "{{ x }}"
