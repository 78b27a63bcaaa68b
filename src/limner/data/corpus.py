"""From paths to a corpus that a model can be trained on: read, divide, tokenize, pack, keep for the next time.

A prepared corpus is a folder in the cache named after a fingerprint of everything it was made from. It is built
under another name and renamed when it is whole, so that a build that was killed is never taken for a corpus, and
two processes that build the same one at once do not meet.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from limner.core.errors import ConfigError, DataError, counted
from limner.data.cache import building, identity
from limner.data.documents import Document, ReadOptions, Source, find_sources, nothing_readable, read_sources
from limner.data.report import ReadReport
from limner.data.shards import Shards, ShardWriter, frame, token_dtype
from limner.data.split import DigestSet, Part, SplitPlan, cut_near, digest, plan_split
from limner.weights.places import mark_used

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from limner.tokens import Tokenizer

    Progress = Callable[[str, int, int], None]

FORMAT, VERSION = "limner-corpus", 1
MANIFEST = "manifest.json"
SAMPLE_BYTES = 64 << 20  # of text, to train a tokenizer on; more hardly changes it and takes memory
BATCH_BYTES = 1 << 18  # of text in the tokenizer at once; it takes some 100 times this in memory meanwhile
PIECE = 1 << 15  # characters; longer documents are tokenized in pieces, so that all cores share one long text
_PARTS: tuple[Part, Part] = ("train", "validation")


@dataclass(frozen=True)
class TokenizerPlan:
    """A tokenizer still to be trained, on the training part of the corpus.

    Args:
        kind: ``byte-bpe``, ``wordpiece``, ``unigram``, ``characters`` or ``bytes``.
        vocab_size: tokens it may have at most, special ones included; None for characters and bytes takes all.
        sample_bytes: text it is trained on at most, taken from the beginning of every file in proportion to its size.
    """

    kind: str
    vocab_size: int | None
    sample_bytes: int = SAMPLE_BYTES


@dataclass(frozen=True)
class Corpus:
    """Text ready for training.

    Attributes:
        train, validation: tokens of either part; no document is in both.
        tokenizer: the one they were made with.
        report: what was read, skipped and why.
        folder: where the files lie.
        reused: whether they were there already.
    """

    train: Shards
    validation: Shards
    tokenizer: Tokenizer
    report: ReadReport
    folder: Path
    reused: bool


def prepare_corpus(
    paths: Iterable[Path | str],
    *,
    tokenizer: Tokenizer | TokenizerPlan,
    cache: Path | str,
    validation: float = 0.05,
    column: str | None = None,
    separator: str | None = None,
    train_only: Iterable[Path | str] = (),
    split_seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Corpus:
    """Read, divide, tokenize and pack everything at or under ``paths``; or open what an earlier call made of it.

    Args:
        paths: files and folders, see ``read_documents``.
        tokenizer: one that is there, or a plan for one to be trained on the training part.
        cache: folder for prepared corpora; each takes 2 bytes a token (4 if there are more than 65,536 tokens).
        validation: share of the documents to hold back.
        column, separator: see ``read_documents``.
        train_only: more files and folders, of which nothing is held back.
        split_seed: of the draw of the documents held back.
        workers: batches of documents in the tokenizer at once; None is 2. The tokenizer runs each on all cores.
        progress: called with (what is being done, bytes read, bytes to read).
    Raises:
        DataError: nothing to read, too little text, or the cache cannot be written.
        ConfigError: ``validation`` is not above 0 and at most 0.5.
        MissingExtraError: a file needs a library of the extra ``data``.
    """
    if not 0 < validation <= 0.5:
        raise ConfigError(f"validation is {validation}, but must be above 0 and at most 0.5. The usual share is 0.05.")
    walked = ReadReport()
    cache = Path(cache).expanduser()
    mine = find_sources(paths, walked, passing=cache)
    if not mine:
        raise nothing_readable(walked)
    every = find_sources([*(source.path for source in mine), *train_only], walked, passing=cache)
    job = _Job(mine, every[len(mine) :], ReadOptions(column, separator), validation, split_seed, tokenizer)
    found = job.identities()
    folder = cache / job.fingerprint(found)[:20]
    reused = True
    while (ready := _open(folder, tokenizer, walked, reused=reused)) is None:
        with building(folder, lambda folder: _whole(folder) is not None, "the tokens are") as temporary:
            job.build(temporary, max(1, workers or 2), progress or (lambda *_: None))
            job.expect_unchanged(found)
        reused = False
    mark_used(folder)
    return ready


# ── building ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Job:
    sources: list[Source]
    train_only: list[Source]
    options: ReadOptions
    validation: float
    split_seed: int
    tokenizer: Tokenizer | TokenizerPlan

    def identities(self) -> list[list[Any]]:
        """What each file is known by, those that nothing is held back of apart."""
        return [[identity(source) for source in group] for group in (self.sources, self.train_only)]

    def fingerprint(self, found: list[list[Any]]) -> str:
        """Changes when a file, an option, the tokenizer or the layout on disk does; ``found`` is ``identities()``."""
        made_by = asdict(self.tokenizer) if isinstance(self.tokenizer, TokenizerPlan) else self.tokenizer.fingerprint()
        whole = [VERSION, found, asdict(self.options), self.validation, self.split_seed, made_by]
        return hashlib.sha256(json.dumps(whole).encode()).hexdigest()

    def expect_unchanged(self, found: list[list[Any]]) -> None:
        """Check that the files are still those of which the corpus bears the fingerprint.

        Raises:
            DataError: one was written to while it was read.
        """
        for sources, before, now in zip((self.sources, self.train_only), found, self.identities(), strict=True):
            for source, old, new in zip(sources, before, now, strict=True):
                if old != new:
                    raise DataError(
                        f"{source.path} was changed while it was read, but a corpus is of one state of its files. "
                        "Start again when nothing writes to them."
                    )

    def build(self, folder: Path, workers: int, progress: Progress) -> None:
        plan = self._divide()
        if isinstance(self.tokenizer, TokenizerPlan):
            tokenizer = self._train_tokenizer(self.tokenizer, plan, progress)
        else:
            tokenizer = self.tokenizer
        tokenizer.save(folder / "tokenizer")
        report = ReadReport()
        if plan.note:
            report.note(plan.note)
        dtype = token_dtype(tokenizer.vocab_size)
        with ShardWriter(folder, "train", dtype) as train, ShardWriter(folder, "validation", dtype) as validation:
            writers: dict[Part, ShardWriter] = {"train": train, "validation": validation}
            documents = self._divided(plan, report, progress)
            for part, ids, size in _tokenized(documents, tokenizer, workers):
                writers[part].add(ids, size)
        for name, writer in writers.items():
            if writer.num_tokens < 2:
                raise DataError(
                    f"the {name} part has {counted(writer.num_tokens, 'token')} of {counted(report.documents, 'document')}, but at least 2 "
                    "are needed. Give more text, or another share or split_seed."
                )
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "dtype": dtype.str,
            "tokenizer": tokenizer.fingerprint(),
            "parts": {
                name: {
                    "files": writer.files,
                    "num_tokens": writer.num_tokens,
                    "num_documents": writer.num_documents,
                    "num_bytes": writer.num_bytes,
                }
                for name, writer in writers.items()
            },
            "report": report.to_json(),
        }
        with (folder / MANIFEST).open("w", encoding="utf-8") as file:
            json.dump(manifest, file, indent=1)
            file.flush()
            os.fsync(file.fileno())

    def _divide(self) -> SplitPlan:
        """Look at the first documents and decide how the corpus is divided."""
        report, seen = ReadReport(), DigestSet()
        with closing(read_sources(self.sources, self.options, report)) as documents:
            data = (document.text.encode() for document in documents)
            sizes = ((key, len(text)) for text in data if seen.add(key := digest(text)))
            first = next(sizes, None)
            if first is None:
                raise nothing_readable(report)
            return plan_split(chain([first], sizes), share=self.validation, seed=self.split_seed)

    def _train_tokenizer(self, wanted: TokenizerPlan, plan: SplitPlan, progress: Progress) -> Tokenizer:
        from limner.tokens import train_tokenizer

        every = self.sources + self.train_only
        total = sum(source.size for source in every)

        def sample() -> Iterator[str]:
            allowed = taken = done = 0
            for source in every:
                allowed += max(1, wanted.sample_bytes * source.size // total)
                done += source.size
                if taken >= allowed:
                    continue
                for document in read_sources([source], self.options, ReadReport()):
                    data = document.text.encode()
                    for part, text in _parts(document, digest(data), plan, always_train=source in self.train_only):
                        if part == "train":
                            taken += len(data)
                            yield text
                    if taken >= allowed:
                        break
                progress("training the tokenizer", done, total)

        return train_tokenizer(wanted.kind, sample(), vocab_size=wanted.vocab_size)

    def _divided(self, plan: SplitPlan, report: ReadReport, progress: Progress) -> Iterator[tuple[Part, str, int]]:
        """Every different document once, with its part and its size in bytes."""
        seen = DigestSet()
        total = sum(source.size for source in self.sources + self.train_only)
        done = 0

        def count(size: int) -> None:
            nonlocal done
            done += size
            progress("tokenizing", min(done, total), total)

        for sources, always_train in ((self.sources, False), (self.train_only, True)):
            counted = [replace(source, count=count) for source in sources]
            for document in read_sources(counted, self.options, report):
                data = document.text.encode()
                key = digest(data)
                if not seen.add(key):
                    report.duplicates += 1
                    continue
                for part, text in _parts(document, key, plan, always_train=always_train):
                    yield part, text, len(data) if text is document.text else len(text.encode())
        progress("tokenizing", total, total)


def _parts(document: Document, key: bytes, plan: SplitPlan, *, always_train: bool) -> list[tuple[Part, str]]:
    if always_train:
        return [("train", document.text)]
    if key in plan.cuts:
        at = cut_near(document.text, round(len(document.text) * (1 - plan.cuts[key])))
        return [("train", document.text[:at]), ("validation", document.text[at:])]
    return [(plan.part(key), document.text)]


def _tokenized(
    documents: Iterator[tuple[Part, str, int]], tokenizer: Tokenizer, workers: int
) -> Iterator[tuple[Part, NDArray[Any], int]]:
    """Tokenize in threads, in order, with never more than ``workers + 1`` batches of text in memory.

    Threads, because the tokenizers library works outside Python's lock and on all cores by itself; see
    docs/decisions/0004-data.md for the measurement.
    """
    encode = partial(_encode, tokenizer, token_dtype(tokenizer.vocab_size))
    with ThreadPoolExecutor(workers, thread_name_prefix="limner-tokens") as pool:
        waiting: deque[Any] = deque()
        try:
            for batch in _in_batches(documents):
                waiting.append(pool.submit(encode, batch))
                if len(waiting) > workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _in_batches(documents: Iterator[tuple[Part, str, int]]) -> Iterator[list[tuple[Part, str, int]]]:
    batch: list[tuple[Part, str, int]] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += document[2]
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _encode(
    tokenizer: Tokenizer, dtype: np.dtype[Any], batch: Sequence[tuple[Part, str, int]]
) -> list[tuple[Part, NDArray[Any], int]]:
    before, after = frame(tokenizer)
    pieces = [(number, piece) for number, (_, text, _) in enumerate(batch) for piece in pieces_of(text)]
    found: list[list[NDArray[Any]]] = [[] for _ in batch]
    at_once = max(1, BATCH_BYTES // PIECE)
    for start in range(0, len(pieces), at_once) if len(pieces) > len(batch) else (0,):
        some = pieces[start : start + at_once] if len(pieces) > len(batch) else pieces
        for (number, _), ids in zip(some, tokenizer.encode_batch([piece for _, piece in some]), strict=True):
            found[number].append(np.array(ids, dtype=dtype))
    return [
        (part, np.concatenate([np.array(before, dtype), *ids, np.array(after, dtype)]), size)
        for (part, _, size), ids in zip(batch, found, strict=True)
        if any(map(len, ids))
    ]


_BETWEEN_WORDS = re.compile(r"(?<=[^\W\d_]) (?=[^\W\d_])")


def pieces_of(text: str, size: int = PIECE) -> list[str]:
    """Cut a long text for the tokenizer where that does not change its tokens.

    That is before a space between two letters: no tokenizer in use joins across one. A text without such spaces
    (Chinese) is cut before a line break, or anywhere, where now and then a token may come out otherwise.
    """
    pieces, start = [], 0
    while len(text) - start > 2 * size:
        space = _BETWEEN_WORDS.search(text, start + size, start + 2 * size)
        line = text.find("\n", start + size, start + 2 * size) if space is None else -1
        end = space.start() if space else line if line >= 0 else start + size
        pieces.append(text[start:end])
        start = end
    return [*pieces, text[start:]]


# ── the cache ──────────────────────────────────────────────────────────────────────────────────────────────


def _whole(folder: Path) -> dict[str, Any] | None:
    """The manifest of the corpus in this folder, or None if a file is missing or has the wrong size."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        width = np.dtype(manifest["dtype"]).itemsize
        for part in _PARTS:
            told = manifest["parts"][part]
            size = sum((folder / name).stat().st_size for name in told["files"])
            documents = (folder / f"{part}-documents.bin").stat().st_size
            if size != told["num_tokens"] * width or documents != told["num_documents"] * 16:
                return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return manifest


def _open(folder: Path, tokenizer: Tokenizer | TokenizerPlan, walked: ReadReport, *, reused: bool) -> Corpus | None:
    """The corpus in this folder, or None if there is none that is whole."""
    manifest = _whole(folder)
    if manifest is None:
        return None
    if isinstance(tokenizer, TokenizerPlan):
        from limner.tokens import Tokenizer as Loaded

        tokenizer = Loaded.load(folder / "tokenizer")
    report = ReadReport.from_json(manifest["report"])
    report.skips = walked.skips + report.skips
    report.skip_counts = walked.skip_counts + report.skip_counts
    train, validation = (
        Shards.open(folder, part, manifest["parts"][part]["files"], manifest["dtype"]) for part in _PARTS
    )
    return Corpus(train, validation, tokenizer, report, folder, reused)
