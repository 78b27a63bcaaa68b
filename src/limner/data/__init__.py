"""From files to batches: readers, the split, tokenized shards, and the order in which they are drawn."""

from __future__ import annotations

from limner.data.batches import Batches, prefetched
from limner.data.bundled import BundledCorpus, bundled, corpora
from limner.data.corpus import Corpus, TokenizerPlan, prepare_corpus
from limner.data.documents import Document, read_documents
from limner.data.report import ReadReport, Skip
from limner.data.shards import IGNORE, Shards

__all__ = [
    "IGNORE",
    "Batches",
    "BundledCorpus",
    "Corpus",
    "Document",
    "ReadReport",
    "Shards",
    "Skip",
    "TokenizerPlan",
    "bundled",
    "corpora",
    "prefetched",
    "prepare_corpus",
    "read_documents",
]
