"""The measure of composition: right for a painter that draws what it is asked, at chance for one that does not listen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from PIL import Image

from bench.composition import objections, spread
from limner.core.errors import ConfigError
from limner.picture import composition as module
from limner.picture.composition import (
    CHANCE,
    GROUPS,
    Composition,
    Share,
    draw_again,
    frechet,
    measure,
    scenes_of,
    verdict,
)
from limner.picture.judge import Judge, load_judge
from limner.picture.reading import Reading, Seen
from limner.picture.rule import Rule
from limner.picture.sheet import contact_sheet
from limner.picture.world.scene import Figure, Scene, sample_scene
from limner.picture.world.split import has_held_back_pair, held_back_triple, in_training
from tests.picture.drawing import SIDE, drawer, swapped

EACH = 12
PICTURES = EACH * len(GROUPS)


@pytest.fixture(scope="module")
def judge() -> Judge:
    return load_judge()


@pytest.fixture(scope="module")
def obedient(judge: Judge) -> Composition:
    return measure(drawer(EACH, 3), size=SIDE, pictures=PICTURES, seed=3, judge=judge)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule sees only a few of the pictures, where it is not what is tested."""

    class Quick(Rule):
        def read(self, images: Sequence[Image.Image]) -> list[Reading]:
            return super().read(images[:2]) + [Reading("alone", (Seen("bear"),))] * (len(images) - 2)

    monkeypatch.setattr(module, "Rule", Quick)


def test_a_painter_that_draws_what_it_is_asked_scores_near_the_ceiling(obedient: Composition) -> None:
    values = obedient.to_dict()
    for name in ("seen_triples", "heldout_triples", "heldout_pairs", "paraphrases", "animal", "hat", "colour"):
        assert values[name] >= 0.9, name
        assert values["rule"][name] >= 0.8, name
    for name in ("binding", "heldout_binding", "relations", "background", "time"):
        assert values[name] >= 0.9, name
    assert values["rule"]["relations"] >= 0.6
    assert values["agreement"] >= 0.75
    assert values["shuffled"] <= 0.1
    assert values["probe_fid"] < 3 * values["probe_fid_floor"] + 0.5
    assert values["chance"] == CHANCE == 1 / 1440
    assert values["judge_ceiling"] >= 0.995
    assert json.loads(json.dumps(values)) == values


def test_all_that_was_asked_for_is_counted_once(obedient: Composition) -> None:
    assert obedient.pictures == PICTURES == len(obedient.cases)
    assert {group: share["joint"].asked for group, share in obedient.shares["classifier"].items()} == dict.fromkeys(
        GROUPS, EACH
    )
    values = obedient.to_dict()
    low, high = values["intervals"]["heldout_triples"]
    assert low < values["heldout_triples"] <= high


def test_paraphrases_ask_for_the_same_scenes_with_the_same_seeds(obedient: Composition) -> None:
    plain, other = ([case for case in obedient.cases if case.group == name] for name in ("seen_triples", "paraphrases"))
    assert [case.scene for case in plain] == [case.scene for case in other]
    assert all(a.prompt != b.prompt for a, b in zip(plain, other, strict=True))


@pytest.mark.usefixtures("quick")
def test_a_painter_that_does_not_listen_scores_at_chance(judge: Judge) -> None:
    def deaf(prompts: Sequence[str], first: int) -> list[Image.Image]:
        scenes = (sample_scene(77_000 + 1000 * len(text) + first + at) for at, text in enumerate(prompts))
        return [draw_again(scene, SIDE, 1) for scene in scenes]

    values = measure(deaf, size=SIDE, pictures=PICTURES, judge=judge).to_dict()
    for name in ("seen_triples", "heldout_triples", "heldout_pairs", "binding", "relations", "product"):
        assert values[name] <= 0.1, name
    assert values["animal"] < 0.25
    assert values["colour"] < 0.35


@pytest.mark.usefixtures("quick")
def test_hats_on_the_wrong_heads_fail_binding_and_nothing_else(judge: Judge) -> None:
    painter = drawer(EACH, 0, swapped)
    found = measure(painter, size=SIDE, pictures=PICTURES, judge=judge)
    shares, values = found.shares["classifier"]["binding"], found.to_dict()
    assert values["binding"] <= 0.1
    assert values["heldout_binding"] <= 0.1
    assert values["bound_of_right_parts"] <= 0.1
    for name in ("animal", "hat", "colour", "count", "relation"):
        assert shares[name].value >= 0.9, name
    assert values["heldout_triples"] >= 0.9


@pytest.mark.usefixtures("quick")
def test_softness_changes_the_features_distance(judge: Judge, obedient: Composition) -> None:
    sharp = drawer(EACH, 3)

    def soft(prompts: Sequence[str], first: int) -> list[Image.Image]:
        return [image.resize((12, 12)).resize((SIDE, SIDE)) for image in sharp(prompts, first)]

    found = measure(soft, size=SIDE, pictures=PICTURES, seed=3, judge=judge)
    assert found.probe_fid > 2 * obedient.probe_fid


@pytest.mark.usefixtures("quick")
def test_the_same_seed_measures_the_same(judge: Judge) -> None:
    first, again = (
        measure(drawer(1, 5), size=SIDE, pictures=len(GROUPS), seed=5, judge=judge).to_dict() for _ in range(2)
    )
    assert first == again


# ── what is asked ──────────────────────────────────────────────────────────────────────────────────────


def test_prompts_are_of_their_split() -> None:
    worn = {
        group: [(f.animal, f.hat, f.colour) for scene in scenes_of(group, 30, 1) for f in scene.figures]
        for group in GROUPS
    }
    assert all(in_training(*triple) for group in ("seen_triples", "binding", "settings") for triple in worn[group])
    assert all(held_back_triple(*triple) for group in ("heldout_triples", "heldout_binding") for triple in worn[group])  # type: ignore[arg-type]
    assert all(has_held_back_pair(*triple) for triple in worn["heldout_pairs"])  # type: ignore[arg-type]
    for scene in scenes_of("binding", 30, 1):
        one, other = scene.figures
        assert (one.hat, one.colour) != (other.hat, other.colour)


def test_too_few_pictures_and_unmeasured_sizes_are_refused(judge: Judge) -> None:
    for seed in (429, -1):  # painters tell no more of their seeds apart
        with pytest.raises(ConfigError, match=rf"seed {seed}, but .* seeds go from 0 to 428"):
            measure(lambda *_: [], size=64, seed=seed, judge=judge)
    with pytest.raises(ConfigError, match=r"pictures is 6, but there are 7"):
        measure(drawer(1, 0), size=SIDE, pictures=6, judge=judge)
    with pytest.raises(ConfigError, match="40 pixels"):
        measure(drawer(1, 0), size=40, pictures=7, judge=judge)
    bad = Judge(judge.network, {"ceilings": {"64": {"triples": 0.98}}})
    with pytest.raises(ConfigError, match=r"98\.00%.*99\.5%"):
        measure(drawer(1, 0), size=SIDE, pictures=7, judge=bad)


# ── right or wrong ─────────────────────────────────────────────────────────────────────────────────────

FOX, BEAR = Figure("fox", "sitting", "crown", "red"), Figure("bear", "standing", "beanie", "blue")
RED_FOX, BLUE_BEAR = Seen.of(FOX), Seen.of(BEAR)


def scene(relation: str | None, *figures: Figure) -> Scene:
    return Scene(figures, relation, "beach", "noon", 0)  # type: ignore[arg-type]


def test_one_animal_is_right_if_all_of_it_is() -> None:
    asked = scene(None, FOX)
    assert all(verdict(asked, Reading("alone", (RED_FOX,))).values())
    wrong = verdict(asked, Reading("alone", (Seen("fox", "crown", "blue"),)))
    assert wrong == {"count": True, "animal": True, "hat": True, "colour": False, "joint": False}
    two = verdict(asked, Reading("beside", (RED_FOX, BLUE_BEAR)))
    assert two == {"count": False, "animal": True, "hat": True, "colour": True, "joint": False}
    setting = verdict(asked, Reading("alone", (RED_FOX,), "beach", "night"), setting=True)
    assert setting["background"]
    assert not setting["time"]


@pytest.mark.parametrize(
    ("relation", "arrangement", "figures", "right"),
    [
        ("left of", "beside", (RED_FOX, BLUE_BEAR), True),
        ("left of", "beside", (BLUE_BEAR, RED_FOX), False),
        ("next to", "beside", (BLUE_BEAR, RED_FOX), True),
        ("next to", "stacked", (BLUE_BEAR, RED_FOX), False),
        ("on", "stacked", (BLUE_BEAR, RED_FOX), True),
        ("on", "stacked", (RED_FOX, BLUE_BEAR), False),
        ("on", "alone", (RED_FOX,), False),
    ],
)
def test_relations(relation: str, arrangement: str, figures: tuple[Seen, ...], right: bool) -> None:
    found = verdict(scene(relation, FOX, BEAR), Reading(arrangement, figures))  # type: ignore[arg-type]
    assert found["relation"] is found[relation] is right
    assert found["joint"] is (len(figures) == 2)  # where they stand is another question


def test_binding_is_judged_apart_from_the_parts() -> None:
    asked = scene("next to", FOX, BEAR)
    crossed = Reading("beside", (replace(RED_FOX, hat="beanie", colour="blue"), Seen("bear", "crown", "red")))
    found = verdict(asked, crossed)
    assert found["animal"]
    assert found["hat"]
    assert found["colour"]
    assert found["relation"]
    assert not found["joint"]
    assert found["bound"] is False
    assert "bound" not in verdict(asked, Reading("beside", (RED_FOX, Seen("bear"))))


# ── numbers ────────────────────────────────────────────────────────────────────────────────────────────


def test_intervals_are_wilsons() -> None:
    assert Share(8, 10).interval == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert Share(0, 10).interval == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert Share().interval == (0.0, 1.0)
    assert (Share(0, 3).interval[0], Share(3, 3).interval[1]) == (0.0, 1.0)
    assert (Share(1, 2).known, Share().known) == (0.5, None)
    assert (str(Share(1, 2)), str(Share())) == ("50.0%", "–")
    assert Share(1, 2) + Share(2, 3) == Share(3, 5)


@pytest.mark.usefixtures("quick")
def test_what_was_not_asked_is_not_told_as_wrong(judge: Judge) -> None:
    values = measure(drawer(1, 5), size=SIDE, pictures=len(GROUPS), seed=5, judge=judge).to_dict()
    kinds = [values[f"relation_{name}"] for name in ("left_of", "next_to", "on")]
    assert None in kinds, "two pictures cannot have three relations"
    assert values["relations"] is not None
    assert json.loads(json.dumps(values, allow_nan=False)) == values


def test_the_frechet_distance_of_two_normals() -> None:
    a = torch.randn(4000, 3)
    assert frechet(a, a) == pytest.approx(0.0, abs=1e-6)
    assert frechet(a, a + torch.tensor([1.0, 2.0, 0.0])) == pytest.approx(5.0, abs=1e-4)
    assert frechet(a, 3 * a) == pytest.approx(float(4 * a.T.cov().trace() + 4 * a.mean(0).square().sum()), rel=1e-5)


def test_the_sheet_shows_the_first_and_the_failures(obedient: Composition) -> None:
    sheet = contact_sheet(obedient, 8)
    assert sheet.width == 8 * 134 + 6
    none = replace(obedient, cases=tuple(c for c in obedient.cases if c.verdicts["classifier"]["joint"]))
    assert contact_sheet(none, 8).height < sheet.height or len(none.cases) == len(obedient.cases)


def test_a_claim_takes_pictures_and_seeds(obedient: Composition) -> None:
    few = [obedient.to_dict() | {"sha256": "a"}] * 3
    assert len(objections(few)) == 2
    assert "84 pictures" in objections(few)[0]
    assert "1 different models" in objections(few)[1]
    many = [obedient.to_dict() | {"sha256": name, "pictures": 1001} for name in "abc"]
    assert objections(many) == []
    many[0] |= {"heldout_triples": 0.0}
    over = spread(many)["heldout_triples"]
    assert over["mean"] == pytest.approx(sum(one["heldout_triples"] for one in many) / 3)
    assert over["deviation"] > 0
