"""From files to batches: readers of texts and pictures, the split, shards, and the order in which they are drawn."""

from __future__ import annotations

from limner.data.batches import Batches, prefetched
from limner.data.bundled import BundledCorpus, bundled, corpora
from limner.data.corpus import Corpus, TokenizerPlan, prepare_corpus
from limner.data.documents import Document, read_documents
from limner.data.picture_batches import PictureBatch, PictureBatches
from limner.data.picture_shards import PictureData, PictureSet, PictureSetWriter, prepare_pictures
from limner.data.pictures import CaptionedPicture, read_pictures
from limner.data.report import PictureReport, ReadReport, Skip
from limner.data.shards import IGNORE, Shards

__all__ = [
    "IGNORE",
    "Batches",
    "BundledCorpus",
    "CaptionedPicture",
    "Corpus",
    "Document",
    "PictureBatch",
    "PictureBatches",
    "PictureData",
    "PictureReport",
    "PictureSet",
    "PictureSetWriter",
    "ReadReport",
    "Shards",
    "Skip",
    "TokenizerPlan",
    "bundled",
    "corpora",
    "prefetched",
    "prepare_corpus",
    "prepare_pictures",
    "read_documents",
    "read_pictures",
]
