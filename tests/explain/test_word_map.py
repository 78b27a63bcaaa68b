"""A map keeps what it says that it keeps, and is the same with the same seed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from limner.core.errors import ConfigError, MissingExtraError
from limner.explain.vectors import WordVectors, table_vectors
from limner.explain.word_map import map_words, principal_components
from limner.text.encoder import TextEncoder

GROUPS = 4


def grouped(each: int = 30, dim: int = 12) -> WordVectors:
    """Words in four groups that have little to do with one another."""
    rng = np.random.default_rng(3)
    centres = np.eye(GROUPS, dim) * 3
    vectors = np.repeat(centres, each, axis=0) + rng.normal(size=(GROUPS * each, dim)) * 0.4
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    words = tuple(f"{group}-{number}" for group in range(GROUPS) for number in range(each))
    return WordVectors(words, vectors.astype(np.float32), "words")


def test_principal_components_are_those_of_a_whole_decomposition() -> None:
    vectors = grouped().vectors
    centred = vectors - vectors.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    found, shares = principal_components(vectors, 3)
    for place in range(3):
        expected = left[:, place] * sizes[place]
        assert min(np.abs(found[:, place] - expected).max(), np.abs(found[:, place] + expected).max()) < 1e-4
    np.testing.assert_allclose(shares, sizes[:3] ** 2 / (sizes**2).sum(), atol=1e-5)


def test_a_map_of_a_table(minilm: TextEncoder) -> None:
    made = map_words(minilm, count=400)
    assert made.words[:2] == ("the", "and")
    assert made.coordinates.shape == (400, 2)
    assert np.linalg.norm(made.coordinates, axis=1).max() == pytest.approx(1)
    np.testing.assert_allclose(made.coordinates.mean(axis=0), 0, atol=1e-6)
    assert 0 < made.explained[1] <= made.explained[0] < 0.2
    again = map_words(minilm, count=400)
    assert np.array_equal(again.coordinates, made.coordinates)
    told = json.loads(json.dumps(made.to_dict()))
    assert told["words"][0] == "the"
    assert len(told["coordinates"]) == 400


def test_neighbours_stay_neighbours_and_groups_apart() -> None:
    pytest.importorskip("openTSNE")
    space = grouped()
    made = map_words(space, layout="neighbours", seed=5)
    assert made.kept > map_words(space).kept
    groups = made.coordinates.reshape(GROUPS, -1, 2)
    spread = np.linalg.norm(groups - groups.mean(axis=1, keepdims=True), axis=-1).mean()
    apart = min(
        np.linalg.norm(groups[i].mean(axis=0) - groups[j].mean(axis=0)) for i in range(GROUPS) for j in range(i)
    )
    assert apart > 2 * spread
    again = map_words(space, layout="neighbours", seed=5)
    assert np.array_equal(again.coordinates, made.coordinates)


def test_words_of_ones_own(minilm: TextEncoder) -> None:
    words = ["cat", "dog", "photosynthesis"]
    made = map_words(table_vectors(minilm, words))
    assert made.words == tuple(words)


def test_how_many_are_kept_is_counted_right() -> None:
    """Points on a plane are their own map."""
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False) ** 1.01
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert map_words(WordVectors(tuple(map(str, range(60))), circle, "words")).kept > 0.95


def test_maps_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    space = grouped()
    with pytest.raises(ConfigError, match="layout is 'neighbors', but a map is 'principal' or 'neighbours'"):
        map_words(space, layout="neighbors")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="count is 50,001"):
        map_words(space, count=50_001)
    with pytest.raises(ConfigError, match="the map has 2 words, but this layout needs 3"):
        map_words(space, count=2)
    with pytest.raises(ConfigError, match="the map has 9 words, but this layout needs 10"):
        map_words(space, count=9, layout="neighbours")
    monkeypatch.setitem(__import__("sys").modules, "openTSNE", None)
    with pytest.raises(MissingExtraError, match=r"openTSNE is not installed, .* pip install 'limner\[maps\]'"):
        map_words(space, layout="neighbours")
