"""What was read, what was not, and why: kept while reading, shown to people, stored beside the shards."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

from limner.core.errors import counted

MOST_SKIPS = 1000  # a folder of a million pictures must not fill the memory with their names


@dataclass(frozen=True)
class Skip:
    """One file, or some lines of one, that gave no document.

    Args:
        path: the file.
        kind: a word to count by, such as ``"not UTF-8"`` or ``"malformed JSON"``.
        detail: where and what, for people.
        count: how many records of the file; 0 when it is the file (or all of it from a point on) that was skipped.
    """

    path: str
    kind: str
    detail: str
    count: int = 0

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}"


@dataclass
class ReadReport:
    """Counts of what was read and the reasons for what was not.

    Args:
        files: files from which at least one document came.
        documents: documents that came out of the readers, duplicates included.
        text_bytes: their size in UTF-8.
        disk_bytes: bytes read from disk (compressed ones where files are).
        duplicates: documents dropped because the same text came before.
        empty: documents of nothing but spaces, dropped.
        cut: documents longer than the longest allowed, which were cut at paragraphs.
        skips: the first thousand reasons; ``skip_counts`` has them all by kind.
        notes: sentences about what was decided (such as how a small corpus was divided).
    """

    files: int = 0
    documents: int = 0
    text_bytes: int = 0
    disk_bytes: int = 0
    duplicates: int = 0
    empty: int = 0
    cut: int = 0
    skips: list[Skip] = field(default_factory=list)
    skip_counts: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def skip(self, path: object, kind: str, detail: str, count: int = 0) -> None:
        """Note that a file (``count=0``) or ``count`` records of it were skipped."""
        self.skip_counts[kind] += count or 1
        if len(self.skips) < MOST_SKIPS:
            self.skips.append(Skip(str(path), kind, detail, count))

    def note(self, sentence: str) -> None:
        """Add a sentence, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def summary(self, most: int = 5) -> str:
        """A few lines for people: one of counts, then notes and the first ``most`` reasons."""
        head = f"{counted(self.documents, 'document')} ({readable_size(self.text_bytes)} of text) from {counted(self.files, 'file')}"
        dropped = []
        if self.duplicates:
            dropped.append(counted(self.duplicates, "exact duplicate"))
        if self.empty:
            dropped.append(f"{self.empty:,} empty")
        if dropped:
            head += "; dropped " + " and ".join(dropped)
        lines = [head]
        if self.cut:
            lines.append(f"{counted(self.cut, 'very long document')} cut at paragraphs")
        lines += self.notes
        if self.skips:
            counts = ", ".join(f"{count:,} {kind}" for kind, count in self.skip_counts.most_common())
            lines.append(f"skipped: {counts}")
            lines += [f"  {skip}" for skip in self.skips[:most]]
            if len(self.skips) > most:
                more = "over a thousand" if len(self.skips) >= MOST_SKIPS else f"{len(self.skips) - most:,}"
                lines.append(f"  and {more} more")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The same as plain dicts, lists and numbers."""
        return asdict(self) | {"skip_counts": dict(self.skip_counts)}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """The opposite of ``to_json``."""
        skips = [Skip(**skip) for skip in stored["skips"]]
        return cls(**(stored | {"skips": skips, "skip_counts": Counter(stored["skip_counts"])}))


@dataclass
class PictureReport(ReadReport):
    """The same for captioned pictures, which are what ``documents`` counts; ``text_bytes`` is of their captions.

    Args:
        captions: of all pictures.
        enlarged: pictures smaller than the size that was asked for.
    """

    captions: int = 0
    enlarged: int = 0

    @property
    def pictures(self) -> int:
        """Pictures that were read, duplicates included."""
        return self.documents

    def read(self, captions: Sequence[str]) -> None:
        """Count one picture."""
        self.documents += 1
        self.captions += len(captions)
        self.text_bytes += sum(len(caption.encode()) for caption in captions)

    def skip(self, path: object, kind: str, detail: str, count: int = 0) -> None:
        if kind not in self.skip_counts and len(self.skips) >= MOST_SKIPS:
            self.skips.append(Skip(str(path), kind, detail, count))  # one example of each reason is always kept
        super().skip(path, kind, detail, count)

    def summary(self, most: int = 20) -> str:
        """A few lines for people: one of counts, then notes, then each reason to skip something with one example."""
        told = f" with {counted(self.captions, 'caption')}" if self.captions else ""
        head = (
            f"{counted(self.documents, 'picture')}{told} from "
            f"{counted(self.files, 'file')} ({readable_size(self.disk_bytes)} read)"
        )
        if self.duplicates:
            head += f"; dropped {counted(self.duplicates, 'exact duplicate')}"
        lines = [head]
        if self.enlarged:
            lines.append(f"{counted(self.enlarged, 'picture')} smaller than the size asked for, enlarged")
        lines += self.notes
        if self.skips:
            lines.append(f"skipped {self.skip_counts.total():,}:")
            first = {skip.kind: skip for skip in reversed(self.skips)}
            ranked = self.skip_counts.most_common()
            lines += [
                f"  {count:,} {kind}{', such as' if count > 1 else ':'} {first[kind]}" for kind, count in ranked[:most]
            ]
            if len(ranked) > most:
                rest = sum(count for _, count in ranked[most:])
                lines.append(f"  and {rest:,} for {len(ranked) - most} other reasons")
        return "\n".join(lines)


def readable_size(count: int) -> str:
    """Bytes as people say them, such as ``1.4 MB``."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return counted(count, "byte")
