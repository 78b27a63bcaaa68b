from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import get_args

import pytest

from limner.core.errors import ConfigError
from limner.picture.world.scene import Figure, Scene, Which, sample_scene
from limner.picture.world.split import has_held_back_pair, held_back_triple, in_training
from limner.picture.world.vocabulary import ANIMALS, BACKGROUNDS, COLOURS, DOGS, HATS, POSES, TIMES


def hatted(scene: Scene) -> list[tuple[str, str, str]]:
    return [(f.animal, f.hat, f.colour) for f in scene.figures if f.hat and f.colour]


def test_the_world_is_as_large_as_promised() -> None:
    assert (len(ANIMALS), len(DOGS), len(HATS), len(COLOURS)) == (18, 8, 8, 10)
    assert (len(POSES), len(BACKGROUNDS), len(TIMES)) == (4, 8, 4)
    assert all(len(set(words)) == len(words) for words in (ANIMALS, HATS, COLOURS, POSES, BACKGROUNDS, TIMES))


def test_the_same_seed_gives_the_same_scene_for_ever() -> None:
    """A change of this number changes what every model was trained on; it must be meant."""
    scenes = [sample_scene(seed, which=which).to_dict() for seed in range(200) for which in get_args(Which)]
    assert hashlib.sha256(json.dumps(scenes).encode()).hexdigest()[:16] == "fdf40015f3687518"


def test_training_shows_nothing_that_is_held_back() -> None:
    for seed in range(3000):
        assert all(in_training(*triple) for triple in hatted(sample_scene(seed)))


def test_the_test_splits_show_only_what_is_held_back() -> None:
    for seed in range(500):
        triples, pairs = sample_scene(seed, which="triples"), sample_scene(seed, which="pairs")
        assert len(hatted(triples)) == len(triples.figures)
        assert all(held_back_triple(*triple) for triple in hatted(triples))
        assert has_held_back_pair(*hatted(pairs)[0])
        assert all(in_training(*triple) for triple in hatted(pairs)[1:])


def test_all_that_is_free_occurs() -> None:
    scenes = [sample_scene(seed, two=0.3) for seed in range(4000)]
    firsts = [scene.figures[0] for scene in scenes]
    assert {f.animal for f in firsts} == set(ANIMALS)
    assert {f.pose for f in firsts} == set(POSES)
    assert {scene.background for scene in scenes} == set(BACKGROUNDS)
    assert {scene.time for scene in scenes} == set(TIMES)
    relations = Counter(scene.relation for scene in scenes)
    assert 0.27 < 1 - relations[None] / len(scenes) < 0.33
    assert set(relations) == {None, "left of", "next to", "on"}
    assert 0.87 < sum(f.hat is not None for f in firsts) / len(firsts) < 0.93
    seconds = [scene.figures[1] for scene in scenes if scene.relation]
    assert 0.55 < sum(f.hat is not None for f in seconds) / len(seconds) < 0.65


def test_two_animals_are_of_two_kinds_and_there_is_one_tree_at_most() -> None:
    for seed in range(500):
        first, second = sample_scene(seed, two=1).figures
        assert first.animal != second.animal
        assert second.pose in ("sitting", "standing") or first.pose in ("sitting", "standing")


def test_a_scene_survives_being_written_down() -> None:
    for seed in range(50):
        scene = sample_scene(seed, two=0.5)
        assert Scene.from_dict(json.loads(json.dumps(scene.to_dict()))) == scene


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match="animal is 'cow'"):
        Figure("cow", "sitting")
    with pytest.raises(ConfigError, match=r"hat is 'fez'.*"):
        Figure("fox", "sitting", "fez", "red")
    with pytest.raises(ConfigError, match="colour is None"):
        Figure("fox", "sitting", "crown", None)
    fox = Figure("fox", "sitting")
    with pytest.raises(ConfigError, match="has 3"):
        Scene((fox, fox, fox), "on", "beach", "noon", 0)
    with pytest.raises(ConfigError, match="relation is 'on'"):
        Scene((fox,), "on", "beach", "noon", 0)
    with pytest.raises(ConfigError, match="background is 'moon'"):
        Scene((fox,), None, "moon", "noon", 0)
    with pytest.raises(ConfigError, match="which is 'test'"):
        sample_scene(0, which="test")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="seed"):
        Scene.from_dict({"figures": []})
