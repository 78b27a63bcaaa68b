"""What a report shows of changes: each word removed and weighed, small."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from limner.core.errors import ConfigError, DataError
from limner.explain.picture_causal import picture_causal_map
from limner.explain.picture_changes import compare_pictures
from limner.explain.picture_interventions import picture_interventions
from limner.picture.generator import PictureGenerator
from limner.tokens import train_tokenizer
from tests.picture.conftest import CAPTIONS, make_painter


@pytest.fixture(scope="module")
def painter() -> PictureGenerator:
    return make_painter(train_tokenizer("byte-bpe", list(CAPTIONS) * 4, vocab_size=300))


def test_each_word_is_removed_and_weighed(painter: PictureGenerator) -> None:
    (picture,) = painter.generate("a fox with a hat", seed=3, steps=2)
    told: list[tuple[int, int]] = []
    found = picture_interventions(painter, picture, weights=(2.0,), progress=lambda done, of: told.append((done, of)))
    changes, heads = found["changes"], found["heads"]
    assert [one["change"]["kind"] for one in changes] == ["remove_word"] * 5 + ["weigh_word"] * 5
    assert [one["change"]["word"] for one in changes] == [*range(5), *range(5)]
    assert changes[1]["prompt"] == "a with a hat"
    assert [(one["change"]["layer"], one["change"]["head"]) for one in heads] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert told[-1] == (14, 14)
    causal = picture_causal_map(painter, picture)
    for one in heads:
        assert one["changed"] == pytest.approx(causal.change[one["change"]["layer"], one["change"]["head"]], abs=1e-4)

    pair = compare_pictures(painter, picture, [changes[1]["change"]])
    assert changes[1]["changed"] == pytest.approx(pair.changed(), abs=1e-4)
    side = painter.config.multiple
    first = pair.difference[:side, :side].mean()
    assert changes[1]["patches"][0] == pytest.approx(float(first), abs=1e-3)
    image = Image.open(io.BytesIO(base64.b64decode(changes[1]["picture"].split(",")[1])))
    assert image.size == picture.image.size
    far = np.abs(np.asarray(image.convert("RGB")).astype(float) - np.asarray(pair.after.image).astype(float)).mean()
    assert far < 40  # small and lossy, but that picture


def test_as_many_as_are_asked_for_and_no_more(painter: PictureGenerator) -> None:
    (picture,) = painter.generate("a fox with a hat", seed=3, steps=2)
    found = picture_interventions(painter, picture, most=2, most_heads=3)
    assert found["heads"] == [], "the model has 4, and a part of them would say little"
    assert [one["change"] for one in found["changes"]] == [{"kind": "remove_word", "word": n} for n in (0, 1)]
    with pytest.raises(ConfigError, match="most is 0"):
        picture_interventions(painter, picture, most=0)


def test_the_only_word_is_weighed_but_not_removed(painter: PictureGenerator) -> None:
    (picture,) = painter.generate("fox", seed=3, steps=2)
    assert [one["change"]["kind"] for one in picture_interventions(painter, picture)["changes"]] == ["weigh_word"]


def test_without_guidance_no_word_was_read(painter: PictureGenerator) -> None:
    (picture,) = painter.generate("fox", seed=3, steps=2, guidance=0)
    with pytest.raises(DataError, match="guidance"):
        picture_interventions(painter, picture)
