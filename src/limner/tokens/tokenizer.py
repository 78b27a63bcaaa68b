"""A text tokenizer: text to ids and back, in the file format that all of the field's tools read.

Traits: one tokenizer.json for every kind; special tokens are never made from what a user types unless asked;
byte-level kinds give back every text exactly; special ids are read from whatever files the folder has.
The splitting itself is done by the tokenizers library.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tokenizers import Tokenizer as Backend
from tokenizers import models, processors

from limner.core.errors import TokenizerError
from limner.tokens.roles import Roles, read_json, roles_by_name, roles_from_folder, roles_to_config
from limner.tokens.stream import StreamDecoder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
OTHER_FORMATS = (".model", ".spm", ".vocab", ".tiktoken", ".txt", ".bpe")
PICKLES = (".pkl", ".pickle", ".bin", ".pt", ".pth")
PICKLE_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")
BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")


def byte_alphabet() -> list[str]:
    """The printable character that stands for each of the 256 bytes in byte-level pieces.

    Source: Radford et al. 2019 (GPT-2): printable bytes stand for themselves, the others follow from U+0100 on.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


BYTE_OF = {character: byte for byte, character in enumerate(byte_alphabet())}


class Piece(NamedTuple):
    """One token of a text.

    Attributes:
        id: its number in the vocabulary.
        piece: its name in the vocabulary, such as ``Ġcat`` or ``##ning``.
        bytes: what it holds of the text, as UTF-8; may be part of a character.
        start: where it begins, in characters of the text; of a cut character, the whole is counted.
        end: where it ends, in characters of the text.
    """

    id: int
    piece: str
    bytes: bytes
    start: int
    end: int


class Tokenizer:
    """Text to ids and back.

    ``Tokenizer.load`` opens one, ``train_tokenizer`` makes one. It never changes: ``with_special`` returns
    another. It can be sent to other processes.

    Attributes:
        kind: ``byte-bpe``, ``wordpiece``, ``unigram``, ``characters``, ``bytes``, or ``other``.
        roles: which ids begin, end, fill, stand for the unknown and hide.
        opening: ids that a text begins with when this tokenizer's model reads it.
        closing: ids that a text ends with when this tokenizer's model reads it (BERT's ``[SEP]``).
    """

    def __init__(
        self,
        backend: Backend,
        roles: Roles,
        *,
        opening: Sequence[int] | None = None,
        config: dict[str, Any] | None = None,
    ) -> None:
        self._backend = backend
        self._backend.encode_special_tokens = True
        self._backend.no_truncation()
        self._backend.no_padding()
        self._config = dict(config or {})
        self._added = backend.get_added_tokens_decoder()
        self._special = {id: token.content for id, token in self._added.items() if token.special}
        self._decoder = json.loads(backend.decoder.__getstate__()) if backend.decoder is not None else None
        self.roles = roles
        self.byte_level = _holds(self._decoder, "ByteLevel")
        self._byte_fallback = _holds(self._decoder, "ByteFallback")
        self._word_end: str = getattr(backend.model, "end_of_word_suffix", None) or ""  # CLIP's ``</w>``
        self.kind = self._find_kind()
        self._joined: dict[int, bytes | None] = {}  # bytes of the tokens that are joined as bytes, once looked up
        before, after = self._frame()
        self.opening = list(before if opening is None else opening)
        self.closing = list(after)

    # ── what it is ─────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def vocab_size(self) -> int:
        """How many ids there are: one more than the highest."""
        return max(self._backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    @property
    def begin_id(self) -> int | None:
        return self.roles.begin

    @property
    def end_id(self) -> int | None:
        return self.roles.end

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Every id that ends a text; chat models have several."""
        return self.roles.ends

    @property
    def pad_id(self) -> int | None:
        return self.roles.pad

    @property
    def unknown_id(self) -> int | None:
        return self.roles.unknown

    @property
    def mask_id(self) -> int | None:
        return self.roles.mask

    @property
    def special(self) -> dict[str, int]:
        """Special tokens and their ids, in the order of their ids."""
        return {name: id for id, name in sorted(self._special.items())}

    def is_special(self, id: int) -> bool:
        """Whether this id is a special token, which stands for no text."""
        return id in self._special

    def __len__(self) -> int:
        return self.vocab_size

    def __repr__(self) -> str:
        return f"Tokenizer(kind={self.kind!r}, vocab_size={self.vocab_size})"

    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change when any of tokenizer.json does."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    # ── text to ids ────────────────────────────────────────────────────────────────────────────────────────

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """The ids of a text; nothing is put before or after it.

        Args:
            special: read the names of special tokens in the text as those tokens. Otherwise ``<|end|>``, typed
                by somebody, is seven ordinary characters.
        Raises:
            TokenizerError: the text has a lone surrogate, which no UTF-8 file can hold.
        """
        return self.encode_batch([text], special=special)[0]

    def encode_batch(self, texts: Sequence[str], *, special: bool = False) -> list[list[int]]:
        """The ids of many texts, on all cores; the same ids as one by one.

        Raises:
            TokenizerError: a text has a lone surrogate.
        """
        backend = self._reading_special if special else self._backend
        try:
            encodings = backend.encode_batch_fast(list(texts), add_special_tokens=False)
        except TypeError:
            for text in texts:
                _check_text(text)
            raise
        ids: list[list[int]] = [encoding.ids for encoding in encodings]
        if not special and self._typed_special is not None:
            for index, text in enumerate(texts):
                ids[index] = self._without_special(text, ids[index])
        return ids

    def pieces(self, text: str, *, special: bool = False) -> list[Piece]:
        """The tokens of a text with their names, bytes and places.

        Raises:
            TokenizerError: the text has a lone surrogate.
        """
        _check_text(text)
        encoding = (self._reading_special if special else self._backend).encode(text, add_special_tokens=False)
        if not special and self._typed_special is not None:
            ids = self._without_special(text, encoding.ids)
            if ids != encoding.ids:
                return [piece for start, part in self._parts(text) for piece in self._shifted(part, start)]
        return [
            Piece(id, name, self._bytes_in(text, id, start, end), start, end)
            for id, name, (start, end) in zip(encoding.ids, encoding.tokens, encoding.offsets, strict=True)
        ]

    # ── ids to text ────────────────────────────────────────────────────────────────────────────────────────

    def decode(self, ids: Iterable[int], *, skip_special: bool = True) -> str:
        """The text of some ids. Ids that the vocabulary does not have add nothing: models often have a few more.

        Args:
            ids: numbers from 0 on, or a tensor or array of one dimension.
        Raises:
            TokenizerError: an id is negative or beyond 32 bits.
        """
        numbers = [int(id) for id in ids]
        try:
            text: str = self._backend.decode(numbers, skip_special_tokens=skip_special)
        except OverflowError:
            wrong = next(id for id in numbers if not 0 <= id < 2**32)
            raise TokenizerError(
                f"a token id is {wrong}, but ids run from 0 to {self.vocab_size - 1}. Decode ids of this tokenizer."
            ) from None
        if self.byte_level and self._word_end:  # the library leaves it in
            return text.replace(self._word_end, " ").rstrip(" ")
        return text

    def stream(self, *, skip_special: bool = True) -> StreamDecoder:
        """A decoder that is given one id after another."""
        return StreamDecoder(self, skip_special=skip_special)

    def piece(self, id: int) -> str:
        """The token's name in the vocabulary; empty for an id that it does not have."""
        return (self._backend.id_to_token(id) or "") if 0 <= id < 2**32 else ""

    def piece_id(self, piece: str) -> int | None:
        """The id of a token by its name, or None."""
        id: int | None = self._backend.token_to_id(piece)
        return id

    def token_bytes(self, id: int, *, special: bool = False) -> bytes:
        """What this token holds of a text, as UTF-8; may be part of a character.

        Joined over a text this is the text, for the kinds that keep all of it (byte-bpe, unigram, bytes,
        characters). WordPiece drops spaces: ``cat`` is ``b"cat"``, ``##ning`` is ``b"ning"``.

        Args:
            special: the names of special tokens too, which otherwise hold nothing.
        """
        piece = self.piece(id)
        if self.is_special(id) and not special:
            return b""
        if self.byte_level:
            stem = piece.removesuffix(self._word_end)
            mapped = [BYTE_OF.get(character, -1) for character in stem]
            return piece.encode() if -1 in mapped else bytes(mapped) + b" " * (stem != piece)
        if self._byte_fallback and (match := BYTE_PIECE.fullmatch(piece)):
            return bytes([int(match[1], 16)])
        if id in self._added:
            return piece.encode()
        model = self._backend.model
        if isinstance(model, models.WordPiece):
            return piece.removeprefix(model.continuing_subword_prefix).encode()
        if _marks_spaces(self._decoder):
            piece = piece.replace("▁", " ")
        if self._word_end and piece.endswith(self._word_end):
            piece = piece[: -len(self._word_end)] + " "
        return piece.encode()

    def adds_bytes(self, id: int) -> bool:
        """Whether this token is joined to its neighbours byte by byte, whatever they are."""
        if self.byte_level:
            return True
        return self._byte_fallback and BYTE_PIECE.fullmatch(self.piece(id)) is not None

    @cached_property
    def ascii_byte(self) -> list[int]:
        """The id of some byte token that is a character of its own, if there is one; at most one id."""
        return [id for id in [self.piece_id("<0x41>")] if id is not None]

    # ── other tokenizers, files ────────────────────────────────────────────────────────────────────────────

    def with_special(self, names: Sequence[str]) -> Tokenizer:
        """This tokenizer with more special tokens, whose ids follow the highest one.

        Raises:
            TokenizerError: a name is empty, or already an ordinary token.
        """
        backend = Backend.from_str(self.to_json())
        for name in names:
            id = self.piece_id(name)
            if not name or (id is not None and id not in self._added):
                raise TokenizerError(
                    f"a special token is {name!r}, but it must be no ordinary token and not empty. "
                    "Choose a name that no text holds, such as <|user|>."
                )
        backend.add_special_tokens(list(names))
        return Tokenizer(backend, self.roles, opening=self.opening, config=self._config)

    def framed(self) -> Tokenizer:
        """This tokenizer with what opens a text written where all tools look for it: the file's post-processor.

        Then ``tokenizer(text)`` of transformers gives the ids that the model was trained to read, and
        ``add_special_tokens=False`` those of the text alone.
        """
        if self._backend.post_processor is not None or not self.opening:
            return self
        backend = Backend.from_str(self.to_json())
        pieces = [self.piece(id) for id in self.opening]
        backend.post_processor = processors.TemplateProcessing(
            single=[*pieces, "$A"],
            pair=[*pieces, "$A", "$B:1"],
            special_tokens=list(zip(pieces, self.opening, strict=True)),
        )
        return Tokenizer(backend, self.roles, config={k: v for k, v in self._config.items() if k != "limner"})

    def to_json(self) -> str:
        """The content of tokenizer.json."""
        text: str = self._backend.to_str()
        return text

    def save(self, folder: Path | str) -> None:
        """Write tokenizer.json and tokenizer_config.json, which ``AutoTokenizer`` loads; each whole or not at all.

        Raises:
            OSError: the folder cannot be written, or the disk is full.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / FILE, self.to_json())
        _write(folder / CONFIG_FILE, json.dumps(self._config_to_save(), ensure_ascii=False, indent=2) + "\n")

    @classmethod
    def load(cls, path: Path | str) -> Tokenizer:
        """Open a tokenizer.json, or the one in a folder, of ours or of any other tool's making.

        The roles of special tokens come from tokenizer_config.json, special_tokens_map.json,
        generation_config.json and config.json beside it, or else from the tokens' names.

        Raises:
            TokenizerError: there is none, it is damaged, or it is of another format (a pickle is never opened).
        """
        path = Path(path)
        file = path / FILE if path.is_dir() else path
        _check_file(path, file)
        try:
            backend = Backend.from_str(file.read_text(encoding="utf-8"))
        except OSError:
            raise
        except BaseException as error:  # the library panics on some damaged files, which is no Exception
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            raise TokenizerError(
                f"{file} is damaged, but it should be a tokenizer.json: {error}. Fetch or save it again."
            ) from None
        config = read_json(file.parent / CONFIG_FILE)
        roles = roles_from_folder(file.parent, backend.token_to_id, backend.get_added_tokens_decoder())
        ours = config.get("limner")
        opening = None
        if isinstance(ours, dict) and "opening" in ours:
            opening = [id for name in ours["opening"] if (id := backend.token_to_id(name)) is not None]
        return cls(backend, roles, opening=opening, config=config)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.to_json(), self.roles, self.opening, self._config)

    # ── privately ──────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def _reading_special(self) -> Backend:
        """A second copy, which reads special tokens; a switch on one copy would race between threads."""
        return Backend.from_str(self.to_json())

    @cached_property
    def _typed_special(self) -> re.Pattern[str] | None:
        """Names of special tokens that the model knows as words too, and so might make from what is typed."""
        ordinary = self._backend.get_vocab(with_added_tokens=False)
        unknown = self.roles.unknown
        names = [name for id, name in self._special.items() if name in ordinary and id != unknown and len(name) > 1]
        return re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True)))) if names else None

    def _without_special(self, text: str, ids: list[int]) -> list[int]:
        """The same ids, unless the model made special ones, then those of the text cut inside their names."""
        if not any(id in self._special and id != self.roles.unknown for id in ids):
            return ids
        return [id for _, part in self._parts(text) for id in self._backend.encode(part, add_special_tokens=False).ids]

    def _parts(self, text: str) -> list[tuple[int, str]]:
        assert self._typed_special is not None
        cuts = [0, *(match.start() + 1 for match in self._typed_special.finditer(text)), len(text)]
        return [(start, text[start:end]) for start, end in pairwise(cuts)]

    def _shifted(self, part: str, start: int) -> list[Piece]:
        encoding = self._backend.encode(part, add_special_tokens=False)
        return [
            Piece(id, name, self._bytes_in(part, id, begin, end), start + begin, start + end)
            for id, name, (begin, end) in zip(encoding.ids, encoding.tokens, encoding.offsets, strict=True)
        ]

    def _bytes_in(self, text: str, id: int, start: int, end: int) -> bytes:
        """What a token holds of this text, which may differ in case or accents from the token's own name."""
        if id not in self._joined:
            own = self.token_bytes(id, special=True) if self.adds_bytes(id) else None
            if own is not None and self._word_end and self.piece(id).endswith(self._word_end):
                own = own[:-1]  # the space lies beyond its place
            self._joined[id] = own
        joined = self._joined[id]
        return text[start:end].encode() if joined is None else joined

    def _find_kind(self) -> str:
        model = self._backend.model
        if isinstance(model, models.WordPiece):
            return "wordpiece"
        if isinstance(model, models.Unigram):
            return "unigram"
        if isinstance(model, models.BPE):
            pieces = self._backend.get_vocab(with_added_tokens=False)
            if self.byte_level:
                return "bytes" if len(pieces) == 256 else "byte-bpe"
            if self._decoder == {"type": "Fuse"} and all(len(piece) == 1 for piece in pieces):
                return "characters"
        return "other"

    def _frame(self) -> tuple[list[int], list[int]]:
        """What the file's own post-processor puts before and after a text."""
        if self._backend.post_processor is None:
            return [], []
        inner = self._backend.encode("a", add_special_tokens=False).ids
        framed = self._backend.encode("a", add_special_tokens=True).ids
        for start in range(len(framed) - len(inner) + 1):
            if framed[start : start + len(inner)] == inner:
                return framed[:start], framed[start + len(inner) :]
        return [], []

    def _config_to_save(self) -> dict[str, Any]:
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False} | self._config
        names = {key: _name(value) for key, value in config.items() if key.endswith("_token")}
        config |= roles_to_config(self.roles, lambda id: self.piece(id) or None, names)
        ours = {}  # what transformers has no key for
        if self._backend.post_processor is None and self.opening:
            ours["opening"] = [self.piece(id) for id in self.opening]
        if len(self.end_ids) > 1:
            ours["ends"] = [self.piece(id) for id in self.end_ids]
        return config | ({"limner": ours} if ours else {})


def make_tokenizer(backend: Backend) -> Tokenizer:
    """A tokenizer just trained: roles from the tokens' names, and texts open with the token that begins them."""
    roles = roles_by_name(backend.token_to_id)
    return Tokenizer(backend, roles, opening=[] if roles.begin is None else [roles.begin])


def _rebuild(text: str, roles: Roles, opening: list[int], config: dict[str, Any]) -> Tokenizer:
    return Tokenizer(Backend.from_str(text), roles, opening=opening, config=config)


def _name(value: Any) -> str:
    return str(value.get("content", "")) if isinstance(value, dict) else str(value or "")


def _holds(part: Any, kind: str) -> bool:
    """Whether a decoder is, or is a sequence with, a part of this kind."""
    if not isinstance(part, dict):
        return False
    return part.get("type") == kind or any(_holds(inner, kind) for inner in part.get("decoders", ()))


def _marks_spaces(decoder: Any) -> bool:
    """Whether "▁" stands for a space, as in sentencepiece."""
    if not isinstance(decoder, dict):
        return False
    if decoder.get("type") == "Metaspace":
        return True
    if decoder.get("type") == "Replace":
        return bool(decoder.get("pattern", {}).get("String") == "▁")
    return any(_marks_spaces(inner) for inner in decoder.get("decoders", ()))


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TokenizerError(
            f"character {error.start} of the text is U+{ord(text[error.start]):04X}, but half of a surrogate pair is no "
            "character. Read the text as UTF-8, or replace it with text.encode('utf-8', 'replace').decode()."
        ) from None


def _check_file(path: Path, file: Path) -> None:
    """Say what is wrong before the library is asked, which would only say that it is."""
    if not path.exists():
        raise TokenizerError(
            f"the tokenizer {path} is missing, but a folder with a tokenizer.json, or such a file, was asked for. "
            "Check the path."
        )
    if not file.is_file():
        others = sorted(item.name for item in path.iterdir() if item.suffix in (*OTHER_FORMATS, *PICKLES))
        found = f" It has {', '.join(others)}, which is of another format." if others else ""
        raise TokenizerError(
            f"{path} has no tokenizer.json, but only that can be opened.{found} "
            "Save the model's tokenizer once with transformers: "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)."
        )
    with file.open("rb") as handle:
        start = handle.read(4)
    if file.suffix in PICKLES or start.startswith(PICKLE_STARTS):
        raise TokenizerError(
            f"{file} is a pickle, but a pickle can run any code when it is opened, so none is. Give a tokenizer.json."
        )
    if file.suffix in OTHER_FORMATS:
        raise TokenizerError(
            f"{file} is a {file.suffix} file, but only a tokenizer.json can be opened. Make one with transformers: "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)."
        )


def _write(path: Path, text: str) -> None:
    """Write a file that is either whole or not there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
