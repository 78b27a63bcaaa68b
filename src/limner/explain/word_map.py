"""Many words on a plane: where vectors that are alike lie near one another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from limner.core.errors import ConfigError, MissingExtraError, suggest
from limner.explain.vectors import Among, WordVectors, common_words, table_vectors
from limner.explain.words import Model
from limner.text.sampling import check_seed

Floats = NDArray[np.float32]
Layout = Literal["principal", "neighbours"]
LAYOUTS = ("principal", "neighbours")

MOST = 50_000
FEWEST_NEIGHBOURS = 10  # words; with fewer the layout of neighbours is not defined
KEPT_OF, KEPT_WORDS = 10, 500  # nearest words, and of how many words they are looked up
COMPONENTS = 50  # of the vectors, from which neighbours are laid out, as is usual
PERPLEXITY = 30  # about how many neighbours each word minds
EXACT = (
    10_000  # words up to which all distances are computed and forces added up over a tree; above, both approximately
)
EARLY, LATE = (
    250,
    250,
)  # steps, with attraction made larger first; 500 late ones keep 0.6 points more and take 1.8 times as long


@dataclass(frozen=True, eq=False)
class WordMap:
    """Words on a plane.

    Attributes:
        coordinates: shape (words, 2), the middle at 0 and the farthest word 1 from it. Directions mean nothing.
        layout: ``"principal"``: the two directions in which the vectors differ most; ``"neighbours"``: words keep their
            nearest neighbours, and distances between far ones mean nothing.
        source: ``"table"`` or ``"words"``, see ``WordVectors``.
        kept: the share of each word's ten nearest words that are among the ten nearest on the map, over a sample.
        explained: of ``"principal"``: the shares of all variance along the two directions; else both 0.
    """

    words: tuple[str, ...]
    coordinates: Floats = field(repr=False)
    layout: Layout
    source: Among
    seed: int
    kept: float
    explained: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            **vars(self),
            "words": list(self.words),
            "coordinates": self.coordinates.tolist(),
            "explained": list(self.explained),
        }


def map_words(
    words: Model | WordVectors,
    *,
    count: int = 5_000,
    layout: Layout = "principal",
    seed: int = 0,
    threads: int = 1,
) -> WordMap:
    """Lay words out on a plane.

    Args:
        words: what ``table_vectors`` or ``read_vectors`` made; or a model, for the rows of ``common_words``.
        count: how many at most, the first. Up to 50,000.
        layout: see ``WordMap``; ``"neighbours"`` shows more and takes longer: minutes for 50,000 words, not a second.
        seed: the same seed, the same map, on the same machine with one thread.
        threads: for ``"neighbours"``.
    Raises:
        ConfigError: ``count``, ``layout`` or ``seed`` is not to be had, or there are too few words.
        MissingExtraError: ``"neighbours"`` without openTSNE.
    Source: van der Maaten & Hinton 2008 (t-SNE), begun from the principal components, Kobak & Berens 2019, arXiv:1807.11004 being
        why; computed by openTSNE, Poličar et al. 2024.
    """
    if layout not in LAYOUTS:
        raise ConfigError(
            f"layout is {layout!r}, but a map is {' or '.join(map(repr, LAYOUTS))}. {suggest(layout, LAYOUTS)}"
        )
    if not 1 <= count <= MOST:
        raise ConfigError(f"count is {count:,}, but a map holds 1 to {MOST:,} words. Choose a number between.")
    check_seed(seed)
    space = words if isinstance(words, WordVectors) else table_vectors(words, common_words(words, count))
    ids = space.ids[:count]
    space = WordVectors(space.words[:count], space.vectors[:count], space.source, ids)
    fewest = 3 if layout == "principal" else FEWEST_NEIGHBOURS
    if len(space) < fewest:
        raise ConfigError(f"the map has {len(space)} words, but this layout needs {fewest}. Give more words.")
    components, explained = principal_components(space.vectors, COMPONENTS if layout == "neighbours" else 2)
    plane = components if layout == "principal" else _by_neighbours(components, seed, threads)
    plane = plane[:, :2] - plane[:, :2].mean(axis=0)
    farthest = float(np.linalg.norm(plane, axis=1).max())
    plane = (plane / (farthest or 1.0)).astype(np.float32)
    shares = (float(explained[0]), float(explained[1])) if layout == "principal" else (0.0, 0.0)
    return WordMap(space.words, plane, layout, space.source, seed, _kept(space.vectors, plane, seed), shares)


def principal_components(vectors: Floats, count: int = 2) -> tuple[Floats, Floats]:
    """Vectors along the directions in which they differ most, from a singular value decomposition of their own.

    The decomposition is that of the dim × dim matrix of products, which for many words is far smaller than the vectors and
    has the same directions. Of each direction's two signs the one is taken that makes its largest weight positive.

    Args:
        vectors: shape (words, dim).
        count: how many directions; no more than dim.
    Returns:
        Shape (words, count), and each direction's share of all variance, shape (count,).
    Source: Pearson 1901.
    """
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    directions, values, _ = np.linalg.svd(centred.T @ centred, hermitian=True)
    directions = directions[:, :count]
    largest = directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])]
    directions = directions * np.where(largest < 0, -1.0, 1.0)
    total = values.sum() or 1.0
    return (centred @ directions).astype(np.float32), (values[:count] / total).astype(np.float32)


def _by_neighbours(components: Floats, seed: int, threads: int) -> Floats:
    try:
        import openTSNE
    except ImportError as problem:
        raise MissingExtraError("openTSNE", "maps", "laying words out by their neighbours") from problem
    many = len(components) > EXACT
    begin = components[:, :2] / (components[:, 0].std() or 1.0) * 1e-4
    affinities = openTSNE.affinity.PerplexityBasedNN(
        components,
        perplexity=min(PERPLEXITY, (len(components) - 1) / 3),
        metric="euclidean",
        method="approx" if many else "exact",
        random_state=seed,
        n_jobs=threads,
    )
    plane = openTSNE.TSNEEmbedding(
        begin.astype(np.float64),
        affinities,
        negative_gradient_method="fft" if many else "bh",
        random_state=seed,
        n_jobs=threads,
    )
    plane = plane.optimize(n_iter=EARLY, exaggeration=12, momentum=0.5).optimize(n_iter=LATE, momentum=0.8)
    return np.asarray(plane, dtype=np.float32)


def _kept(vectors: Floats, plane: Floats, seed: int) -> float:
    """How true a map is: the share of nearest words that are nearest on it, too."""
    of = min(KEPT_OF, len(vectors) - 1)
    sample = np.random.default_rng(seed).permutation(len(vectors))[:KEPT_WORDS]
    similarities = vectors[sample] @ vectors.T
    shares = []
    for word, alike in zip(sample.tolist(), similarities, strict=True):
        distance = ((plane - plane[word]) ** 2).sum(axis=1)
        alike[word], distance[word] = -np.inf, np.inf
        near, shown = np.argpartition(-alike, of - 1)[:of], np.argpartition(distance, of - 1)[:of]
        shares.append(len(set(near.tolist()) & set(shown.tolist())) / of)
    return float(np.mean(shares))
