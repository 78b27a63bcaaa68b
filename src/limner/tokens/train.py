"""Tokenizers of one's own: how each kind is learned from a stream of texts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from tokenizers import Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from limner.core.errors import TokenizerError, counted, suggest
from limner.tokens.roles import END, KNOWN_NAMES, UNKNOWN_CHARACTER
from limner.tokens.tokenizer import Tokenizer, byte_alphabet, make_tokenizer

KINDS = ("byte-bpe", "wordpiece", "unigram", "characters", "bytes")

# Words with the space before them, as in GPT-2, but every digit alone (numbers are then read place by place)
# and marks kept with their letters (in many scripts a vowel is a mark). docs/decisions/0003-tokens.md.
WORDS = r"""'(?i:s|t|re|ve|m|ll|d)| ?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+|\s+(?!\S)|\s+"""

WORD_START = "\ue000"  # private code points: never in a vocabulary, stripped again below
DOUBLED = "\ue001"
SEED_CHARACTERS = 4_000_000  # of the texts, to collect words from for Unigram's seeds; later ones add few
SPARE = 16  # pieces asked for beyond the vocabulary, in place of those with the mark in them
EVERY = 1000  # documents between two calls of the progress callback

Progress = Callable[[int, int], None]


def train_tokenizer(
    kind: str,
    texts: Iterable[str],
    *,
    vocab_size: int | None = 4096,
    special: Sequence[str] = (END,),
    progress: Progress | None = None,
) -> Tokenizer:
    """Learn a tokenizer from texts, which are read once and not kept.

    The same texts give the same tokenizer. Ids: in byte-level kinds (byte-bpe, unigram, bytes) the first 256
    are the bytes themselves, so that every text can be written; then what was learned, best first; special
    tokens last.

    Args:
        kind: one of ``KINDS``.
            byte-bpe: the pair seen most often becomes a token, again and again.
            wordpiece: the same within words, which are then cut greedily from the left; spaces are not kept.
            unigram: the vocabulary under which the texts are likeliest, found by taking away.
            characters: every character seen; any other becomes "�".
            bytes: the 256 bytes; the texts are not read.
        texts: documents, one at a time.
        vocab_size: how many tokens at most, special ones included; None only for characters and bytes, which
            take what they need.
        special: tokens that no text can produce. Names such as ``<|end|>``, ``<s>``, ``[PAD]``, ``[MASK]`` get
            the role they say. wordpiece adds ``[UNK]``.
        progress: called with the number of documents and characters read so far.

    Raises:
        TokenizerError: unknown kind, a vocabulary too small, no text, a special token that cannot be one.
    """
    if kind not in KINDS:
        raise TokenizerError(f"the kind of tokenizer is {kind!r}, but there is none such. {suggest(kind, KINDS)}")
    special = _check_special(special)
    if vocab_size is None and kind not in ("characters", "bytes"):
        raise TokenizerError(
            f"vocab_size is None, but {kind} needs to know how much to learn. Give a number, such as 4096."
        )
    size = vocab_size if vocab_size is not None else 2**31
    check_vocabulary_size(kind, size, len(special))
    counted = _Counted(texts, progress)
    if kind == "byte-bpe":
        backend = _byte_bpe(counted, size - len(special))
    elif kind == "unigram":
        backend = _unigram(counted, size - len(special))
    elif kind == "bytes":
        backend = _bytes()
    elif kind == "characters":
        backend = _characters(counted, size, special)
    else:
        backend = _wordpiece(counted, size, special)
    ordinary = backend.get_vocab(with_added_tokens=False)
    for name in special:
        if name in ordinary and kind != "wordpiece":
            raise TokenizerError(
                f"a special token is {name!r}, but the texts made an ordinary token of it. "
                "Choose a name that no text holds, such as <|end|>."
            )
    backend.add_special_tokens(list(special))
    return make_tokenizer(backend)


def check_vocabulary_size(kind: str, size: int, special: int = 1) -> None:
    """Check what is known of a vocabulary before any text is read.

    Args:
        special: how many special tokens there are.
    Raises:
        TokenizerError: the vocabulary is too small, whatever the texts.
    """
    if kind in ("byte-bpe", "unigram", "bytes"):
        _check_size(size, 256 + special, f"{kind} needs 256 bytes and {counted(special, 'special token')}")
    else:
        _check_size(size, 2 + special, f"{kind} needs {2 + special} tokens at the least")


class _Counted:
    """Passes texts on, counts them, and knows whether there was anything in them."""

    def __init__(self, texts: Iterable[str], progress: Progress | None) -> None:
        self._texts = texts
        self._progress = progress

    def __iter__(self) -> Iterator[str]:
        documents = characters = 0
        anything = False
        if isinstance(self._texts, str):
            raise TypeError("texts is one string; give a list or another iterable of documents")
        for text in self._texts:
            documents += 1
            characters += len(text)
            anything = anything or (not text.isspace() and text != "")
            if self._progress is not None and documents % EVERY == 0:
                self._progress(documents, characters)
            yield text
        if self._progress is not None:
            self._progress(documents, characters)
        if not anything:
            raise TokenizerError(
                f"the corpus is empty ({counted(documents, 'document')}, {counted(characters, 'character')}), but a tokenizer is learned "
                "from text. Give documents with words in them."
            )


# ── byte level ─────────────────────────────────────────────────────────────────────────────────────────────


def _byte_level(model: Any, *, words: bool) -> Backend:
    backend = Backend(model)
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([_split(WORDS), as_bytes]) if words else as_bytes
    backend.decoder = decoders.ByteLevel()
    return backend


def _split(pattern: str) -> Any:
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def _byte_bpe(texts: Iterable[str], size: int) -> Backend:
    backend = _byte_level(models.BPE(), words=True)
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=byte_alphabet(), min_frequency=2, show_progress=False
    )
    _learn(backend, texts, trainer)
    model = json.loads(backend.to_str())["model"]
    learned = sorted(model["vocab"], key=model["vocab"].get)
    backend.model = models.BPE(_numbered([*byte_alphabet(), *learned]), [tuple(pair) for pair in model["merges"]])
    return backend


def _bytes() -> Backend:
    return _byte_level(models.BPE(_numbered(byte_alphabet()), []), words=False)


def _unigram(texts: Iterable[str], size: int) -> Backend:
    """Unigram over bytes, from the library's trainer, with two of its habits mended.

    Its seeds are the strings that occur in two different words, so that a whole word such as " said" is never
    one: each word is shown once more, doubled. And it numbers bytes it never saw, and sums in, the random
    order of a hash table: their scores are set alike, all scores rounded, ties broken by name.
    """
    backend = _byte_level(models.Unigram(), words=True)
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    marker = "".join(byte_alphabet()[byte] for byte in DOUBLED.encode())
    backend.pre_tokenizer = pre_tokenizers.Sequence([_split(rf"{DOUBLED}[^{DOUBLED}]+|{WORDS}"), as_bytes])
    trainer = trainers.UnigramTrainer(vocab_size=size + SPARE, initial_alphabet=byte_alphabet(), show_progress=False)
    _learn(backend, _with_doubled_words(texts), trainer)
    scores = {piece: round(score, 4) for piece, score in json.loads(backend.to_str())["model"]["vocab"]}
    lowest = min(score for piece, score in scores.items() if len(piece) > 1 or score < 0)
    for byte in byte_alphabet():
        score = scores.pop(byte, lowest)
        scores[byte] = lowest if score >= 0 or score < lowest + 0.03 else score
    learned = sorted(
        (piece for piece in scores if len(piece) > 1 and marker not in piece), key=lambda piece: (-scores[piece], piece)
    )
    backend.model = models.Unigram([(piece, scores[piece]) for piece in [*byte_alphabet(), *learned][:size]])
    backend.pre_tokenizer = pre_tokenizers.Sequence([_split(WORDS), as_bytes])
    return backend


def _with_doubled_words(texts: Iterable[str]) -> Iterator[str]:
    split = _split(WORDS)
    words: set[str] = set()
    read = 0
    for text in texts:
        yield text
        if read < SEED_CHARACTERS:
            read += len(text)
            words.update(word for word, _ in split.pre_tokenize_str(text) if 1 < len(word) <= 32)
    for word in sorted(words):
        yield f"{DOUBLED}{word}{word}"


# ── others ─────────────────────────────────────────────────────────────────────────────────────────────────


def _characters(texts: Iterable[str], size: int, special: Sequence[str]) -> Backend:
    """BPE without merges: the one model of tokenizer.json whose pieces are characters, spaces and newlines too."""
    seen: set[str] = set()
    for text in texts:
        seen.update(text)
    seen.discard(UNKNOWN_CHARACTER)
    _check_surrogates(seen)
    needed = len(seen) + 1 + len(special)
    _check_size(size, needed, f"the texts have {counted(len(seen), 'different character')}, which need {needed} tokens")
    vocab = _numbered([*sorted(seen), UNKNOWN_CHARACTER])
    backend = Backend(models.BPE(vocab, [], unk_token=UNKNOWN_CHARACTER, fuse_unk=False))
    backend.decoder = decoders.Fuse()
    return backend


def _wordpiece(texts: Iterable[str], size: int, special: Sequence[str]) -> Backend:
    """BPE over words that carry a mark in front; what keeps the mark begins a word, the rest gets ``##``.

    The library's own trainer for WordPiece numbers ``##`` characters in the random order of a hash table, so
    that it learns another vocabulary each time.
    """
    learner = Backend(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Metaspace(replacement=WORD_START, prepend_scheme="always")]
    )
    _learn(learner, texts, trainers.BpeTrainer(vocab_size=size, min_frequency=2, show_progress=False))
    found = learner.get_vocab()
    alphabet = sorted(piece for piece in found if len(piece) == 1 and piece != WORD_START)
    names = list(dict.fromkeys(["[UNK]", *special]))
    pieces = [*alphabet, *(f"##{character}" for character in alphabet)]
    needed = len(pieces) + len(names)
    _check_size(
        size,
        needed,
        f"the texts have {counted(len(alphabet), 'different character')}, which need {needed} tokens in wordpiece",
    )
    for piece in sorted(found, key=found.__getitem__):
        bare = piece.lstrip(WORD_START)
        if bare and WORD_START not in bare:
            pieces.append(bare if piece.startswith(WORD_START) else f"##{bare}")
    pieces = [piece for piece in dict.fromkeys(pieces) if piece not in names][: size - len(names)]
    backend = Backend(models.WordPiece(_numbered([*pieces, *names]), unk_token="[UNK]", max_input_chars_per_word=100))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    backend.add_special_tokens(["[UNK]"])
    return backend


# ── checks ─────────────────────────────────────────────────────────────────────────────────────────────────


def _learn(backend: Backend, texts: Iterable[str], trainer: Any) -> None:
    try:
        backend.train_from_iterator(iter(texts), trainer=trainer)
    except UnicodeEncodeError as error:
        _check_surrogates(error.object)
        raise


def _check_surrogates(characters: Iterable[str]) -> None:
    for character in characters:
        if "\ud800" <= character <= "\udfff":
            raise TokenizerError(
                f"a text holds U+{ord(character):04X}, but half of a surrogate pair is no character. "
                "Read the texts as UTF-8."
            )


def _check_size(size: int, least: int, why: str) -> None:
    if size < least:
        raise TokenizerError(f"vocab_size is {size}, but {why}. Ask for {least} or more.")


def _check_special(special: Sequence[str]) -> tuple[str, ...]:
    names = tuple(special)
    for index, name in enumerate(names):
        if len(name) < 2 or name in names[:index]:
            raise TokenizerError(
                f"a special token is {name!r}, but each must be there once and have two characters or more. "
                f"Choose names such as {KNOWN_NAMES['end'][0]}."
            )
    return names


def _numbered(pieces: Iterable[str]) -> dict[str, int]:
    return {piece: id for id, piece in enumerate(dict.fromkeys(pieces))}
