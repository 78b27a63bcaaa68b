"""The small corpora that come with the package; their licences are in LICENSES.md beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from limner.core.errors import DataError, suggest

FOLDER = Path(__file__).parent.parent / "assets" / "corpora"


@dataclass(frozen=True)
class BundledCorpus:
    """A corpus in the package.

    Args:
        name: what it is called on the command line and by ``bundled``.
        title: for people.
        licence: short name, as in LICENSES.md.
        files: names in the folder of corpora.
    """

    name: str
    title: str
    licence: str
    files: tuple[str, ...]

    @property
    def paths(self) -> list[Path]:
        """Where the files lie."""
        return [FOLDER / file for file in self.files]


_CORPORA = (
    BundledCorpus(
        "stories",
        "10,936 little stories in a small child's words (TinyStories)",
        "CDLA-Sharing-1.0",
        ("stories.jsonl.gz",),
    ),
    BundledCorpus(
        "stories_recased",
        "2,474 more, whose capitals were lost and restored by statistics (TinyStories)",
        "CDLA-Sharing-1.0",
        ("stories_recased.jsonl.gz",),
    ),
    BundledCorpus(
        "shakespeare", "40,000 lines of Shakespeare's plays (tinyshakespeare)", "public domain", ("shakespeare.txt.gz",)
    ),
)


def corpora() -> tuple[BundledCorpus, ...]:
    """The corpora in the package."""
    return _CORPORA


def bundled(name: str) -> list[Path]:
    """The files of a corpus in the package, for ``prepare_corpus``.

    Raises:
        DataError: there is none of this name.
    """
    for corpus in _CORPORA:
        if corpus.name == name:
            return corpus.paths
    known = [corpus.name for corpus in _CORPORA]
    raise DataError(f"the corpus is {name!r}, but no bundled one is called that. {suggest(name, known)}")
