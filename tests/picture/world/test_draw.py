"""Pictures that show what they should, where their truth says so."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from limner.core.errors import ConfigError
from limner.picture.world.draw import draw
from limner.picture.world.hats import COLOURS_AS_DRAWN
from limner.picture.world.scene import Figure, Scene, sample_scene
from limner.picture.world.vocabulary import ANIMALS, BACKGROUNDS, COLOURS, HATS, POSES, TIMES


def one(figure: Figure, seed: int = 0, background: str = "beach", time: str = "noon") -> Scene:
    return Scene((figure,), None, background, time, seed)


def test_a_scene_is_one_picture() -> None:
    scene = sample_scene(5)
    image = draw(scene, 64).image
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8
    assert np.array_equal(image, draw(scene, 64).image)
    assert not np.array_equal(image, draw(sample_scene(6), 64).image)


def test_every_size_shows_the_same() -> None:
    for seed in range(8):
        scene = sample_scene(seed)
        small = draw(scene, 64).image.astype(float)
        large = draw(scene, 512).image.astype(float).reshape(64, 8, 64, 8, 3).mean((1, 3))
        assert np.abs(small - large).mean() < 10  # of 255: edges are half a pixel bolder, nothing else differs
        for few, many in zip(draw(scene, 64).boxes, draw(scene, 512).boxes, strict=True):
            assert few.animal is not None and many.animal is not None
            assert np.allclose(np.array(few.animal) * 8, many.animal, atol=16)


@pytest.mark.parametrize("size", [31, 1025])
def test_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(ConfigError, match=f"size is {size}"):
        draw(sample_scene(0), size)


@pytest.mark.parametrize("time", TIMES)
def test_every_hat_has_the_colour_that_it_is_said_to_have(time: str) -> None:
    """Most of a hat's inner pixels are nearer to its own colour's hue than to any other's."""
    for number, (hat, colour) in enumerate(product(HATS, COLOURS)):
        figure = Figure(ANIMALS[number % len(ANIMALS)], POSES[number % 4], hat, colour)
        drawing = draw(one(figure, number, BACKGROUNDS[number % 8], time), 96)
        pixels = drawing.image[drawing.masks[0].hat] / 255
        known = np.array([COLOURS_AS_DRAWN[name] for name in COLOURS])
        nearest = np.abs(pixels[:, None] - known).sum(-1).argmin(-1)
        votes = np.bincount(nearest, minlength=len(COLOURS))
        assert COLOURS[votes.argmax()] == colour, (hat, colour, dict(zip(COLOURS, votes, strict=True)))


def test_hats_of_one_colour_differ_but_never_cross_into_a_neighbour() -> None:
    known = {name: np.array(colour) for name, colour in COLOURS_AS_DRAWN.items()}
    for colour in COLOURS:
        means = []
        for seed in range(20):
            drawing = draw(one(Figure("fox", "sitting", "beanie", colour), seed), 64)
            means.append((drawing.image[drawing.masks[0].hat] / 255).mean(0))
        assert np.ptp(np.array(means), axis=0).max() > 0.01
        centre = np.mean(means, axis=0)
        spread = max(np.abs(mean - centre).sum() for mean in means)
        others = min(np.abs(known[colour] - known[name]).sum() for name in COLOURS if name != colour)
        assert spread < others / 2, colour


@pytest.mark.parametrize("pose", POSES)
def test_an_animal_is_large_whole_and_wears_its_hat(pose: str) -> None:
    for number, animal in enumerate(ANIMALS):
        figure = Figure(animal, pose, HATS[number % 8], COLOURS[number % 10])
        for size in (32, 128):
            drawing = draw(one(figure, number), size)
            (masks,), (boxes,) = drawing.masks, drawing.boxes
            assert boxes.animal is not None and boxes.hat is not None
            left, top, right, bottom = boxes.animal
            assert min(left, top) >= 0 and max(right, bottom) <= size
            assert max(bottom - top, right - left) >= 0.44 * size, (animal, pose)
            assert masks.animal.mean() > 0.1 and masks.hat.mean() > 0.008, (animal, pose)
            assert not (masks.animal & masks.hat).any()
            assert boxes.hat[1] < (top + bottom) / 2  # on the head, which is in the upper half


def test_boxes_are_tight_around_what_is_seen() -> None:
    for seed in range(20):
        drawing = draw(sample_scene(seed, two=0.5), 96)
        for boxes, masks in zip(drawing.boxes, drawing.masks, strict=True):
            for box, mask in ((boxes.animal, masks.animal), (boxes.hat, masks.hat)):
                if box is None:
                    assert not mask.any()
                    continue
                left, top, right, bottom = box
                inside = mask[top:bottom, left:right]
                assert inside.sum() == mask.sum()
                assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()


def test_without_a_hat_there_is_no_box_for_one() -> None:
    drawing = draw(one(Figure("panda", "sitting")), 64)
    assert drawing.boxes[0].hat is None and not drawing.masks[0].hat.any()


def test_masks_are_where_the_animal_is() -> None:
    """The black cat's mask is dark, the Dalmatian's bright, whatever is behind."""
    for seed in range(10):
        cat = draw(one(Figure("black cat", "sitting"), seed, "snowy mountains"), 64)
        dog = draw(one(Figure("Dalmatian", "sitting"), seed, "forest"), 64)
        assert np.median(cat.image[cat.masks[0].animal]) < 80
        assert np.quantile(dog.image[dog.masks[0].animal], 0.7) > 180  # the rest are spots, ears and lines


def test_relations_are_as_said() -> None:
    sides = set()
    for seed in range(120):
        scene = sample_scene(seed, two=1)
        first, second = draw(scene, 96).boxes
        assert first.animal is not None and second.animal is not None
        middle = [((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in (first.animal, second.animal)]
        match scene.relation:
            case "left of":
                assert middle[0][0] + 20 < middle[1][0]
            case "next to":
                assert abs(middle[0][0] - middle[1][0]) > 20
                sides.add(middle[0][0] < middle[1][0])
            case "on":
                assert first.animal[3] + 8 < second.animal[3]
                assert first.animal[3] > second.animal[1]  # they touch
        for figure, boxes in zip(scene.figures, (first, second), strict=True):
            assert (boxes.hat is not None) == (figure.hat is not None)
    assert sides == {True, False}


def test_who_is_sat_on_is_still_seen() -> None:
    for seed in range(60):
        scene = sample_scene(seed, two=1)
        if scene.relation == "on":
            under = draw(scene, 96).masks[1]
            alone = scene.figures[1]
            assert under.animal.sum() > 0.055 * 96 * 96, scene
            assert alone.hat is None or under.hat.sum() > 12, scene


def test_the_hour_changes_the_scenery_more_than_the_animal() -> None:
    for background in BACKGROUNDS:
        noon, night = (
            draw(one(Figure("fox", "sitting", "crown", "red"), 1, background, t), 96) for t in ("noon", "night")
        )
        change = np.abs(noon.image.astype(int) - night.image).mean(-1)
        figure = noon.parts > 0
        assert change[~figure].mean() > 1.8 * change[figure].mean()
        assert change[noon.masks[0].hat].mean() < 12
