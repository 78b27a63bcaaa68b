"""Changes act, where they should and nowhere else, while reading and while writing."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch

from limner.core.errors import ConfigError
from limner.core.tap import NO_TAP, Chain, Recorder, Tap
from limner.explain import picture_changes
from limner.explain.causal import causal_map
from limner.explain.changes import (
    AttentionOff,
    FeedForwardOff,
    HeadOff,
    NeuronOff,
    Patch,
    PositionsOff,
    Steer,
    TextChange,
    change_from_dict,
    compare,
    tap_for,
)
from limner.text.encoder import TextEncoder
from limner.text.generator import TextGenerator
from limner.tokens import Tokenizer
from tests.explain.conftest import build

TEXT = "Once upon a time, there was a curious cat"
EACH: list[TextChange] = [
    HeadOff(1, 1), AttentionOff(0), FeedForwardOff(1), NeuronOff(0, 7), Patch("layer.0.residual", "The moon", 3, 1),
    Steer(0, "a red ball", "a blue kite", 2.0), PositionsOff(),
]  # fmt: skip


def read(model: TextGenerator, tap: Tap, text: str = TEXT) -> tuple[torch.Tensor, Recorder]:
    seen = Recorder()
    with torch.inference_mode():
        logits = model.model(torch.tensor([model.read_prompt(text)]), tap=Chain(tap, seen))[0]
    return logits, seen


def changed(model: TextGenerator, change: TextChange) -> set[str]:
    """The steps whose values are others with the change than without."""
    before, after = read(model, NO_TAP)[1], read(model, tap_for([change], model))[1]
    return {name for name in before.values if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("change", EACH, ids=lambda change: change.kind)
def test_a_change_is_json_both_ways(change: TextChange) -> None:
    values = json.loads(json.dumps(change.to_dict()))
    assert change_from_dict(values) == change
    with pytest.raises(ConfigError, match="colour is set, but there is no such setting"):
        change_from_dict({**values, "colour": "red"})


def test_the_json_is_the_documented_one() -> None:
    assert HeadOff(2, 5).to_dict() == {"kind": "head_off", "layer": 2, "head": 5}
    assert Patch("layer.0.residual", "x", 1, 2).to_dict() == {
        "kind": "patch", "name": "layer.0.residual", "source": "x", "place": 1, "from": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"kind": "head_of", "layer": 1},
            "change.kind is 'head_of', but no change of a text is called so. Did you mean 'head_off'",
        ),
        ({"layer": 1}, "kind is None"),
        ({"kind": "head_off", "layer": 1}, "head_off.head is missing"),
        ({"kind": "head_off", "layer": 1, "head": "two"}, "head_off.head is 'two', but it is a whole number"),
        (["head_off"], r"a change is \['head_off'\]"),
    ],
)
def test_other_json_is_refused(values: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        change_from_dict(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (HeadOff(2, 0), "head_off.layer is 2, but the model has 2 layers. Choose from 0 to 1"),
        (HeadOff(1, 4), "head_off.head is 4, but layer 1 has 4 heads. Choose from 0 to 3"),
        (AttentionOff(-1), "attention_off.layer is -1"),
        (NeuronOff(0, 48), "neuron_off.neuron is 48, but layer 0 has 48 neurons"),
        (FeedForwardOff(7), "feed_forward_off.layer is 7"),
        (Steer(9, "a", "b", 1.0), "steer.layer is 9"),
        (Steer(0, "", "b", 1.0), "steer.towards is ''"),
        (Patch("layer.5.residual", "a", 0, 0), r"patch.name is 'layer.5.residual'.*Did you mean 'layer.\d.residual'"),
        (Patch("layer.0.attention.weights", "a", 0, 0), "patch.name is 'layer.0.attention.weights'"),
        (Patch("layer.0.residual", "a", 0, 40), "patch.from is 40, but the source has"),
        (Patch("layer.0.residual", "a", -1, 0), "patch.place is -1"),
    ],
)
def test_what_the_model_has_no_place_for_is_named(rotary: TextGenerator, change: TextChange, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tap_for([change], rotary)


def test_changes_may_be_json_or_come_one_by_one(rotary: TextGenerator) -> None:
    change = HeadOff(1, 0)
    plain = rotary.trace("The cat", changes=[change])
    for changes in ([change.to_dict()], iter([change])):
        trace = rotary.trace("The cat", changes=changes)
        assert trace.about["changes"] == plain.about["changes"] == [change.to_dict()]
        assert (trace["candidates.logits"] == plain["candidates.logits"]).all()
    assert compare(rotary, "The cat", iter([change.to_dict()]), max_tokens=2).changes == (change,)


@pytest.mark.parametrize("wrong", [picture_changes.PictureHeadOff(1, 0), "head_off", 3, None])
def test_what_is_no_change_of_a_text_is_named(rotary: TextGenerator, wrong: Any) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"changes[0] is {wrong!r}, but")):
        tap_for([wrong], rotary)
    with pytest.raises(
        ConfigError, match=re.escape(f"changes is {wrong!r}, but") if not isinstance(wrong, Iterable) else "changes is"
    ):
        rotary.trace("The cat", changes=wrong)


@pytest.mark.parametrize("strength", [math.inf, -math.inf, math.nan])
def test_a_direction_is_added_a_finite_number_of_times(strength: float) -> None:
    with pytest.raises(ConfigError, match=f"strength is {strength:g}, but"):
        change_from_dict({"kind": "steer", "layer": 0, "towards": "a", "away": "b", "strength": strength})


def test_a_patch_behind_the_text_is_refused_when_it_is_read(rotary: TextGenerator) -> None:
    with pytest.raises(ConfigError, match=r"patch\.place is 30, but the text has"):
        rotary.trace("Tom", changes=[Patch("layer.0.residual", "a", 30, 0)])


def test_without_changes_nothing_is_tapped(rotary: TextGenerator) -> None:
    assert tap_for([], rotary) is NO_TAP


# ── they act, and only where they should ───────────────────────────────────────────────────────────────────


def test_a_head_off_is_that_heads_values_gone(model: TextGenerator) -> None:
    steps = changed(model, HeadOff(1, 1))
    assert "layer.1.attention.mixed" in steps
    assert "logits" in steps
    assert not any(name.startswith(("embedding", "layer.0", "layer.1.attention.q")) for name in steps)
    before, after = read(model, NO_TAP)[1], read(model, tap_for([HeadOff(1, 1)], model))[1]
    mixed = after["layer.1.attention.mixed"][0]
    assert not mixed[1].any()
    assert torch.equal(mixed[0], before["layer.1.attention.mixed"][0, 0])


def test_a_sub_layer_off_adds_nothing(model: TextGenerator) -> None:
    after = read(model, tap_for([AttentionOff(0), FeedForwardOff(1)], model))[1]
    if model.model.config.stack.blocks[0].placement == "pre":
        assert torch.equal(after["layer.0.residual_attention"], after["embedding.output"])
        assert torch.equal(after["layer.1.residual"], after["layer.1.residual_attention"])
    trace = model.trace(TEXT, changes=[AttentionOff(0), FeedForwardOff(1)])
    assert not trace["stream.norm"][1].any()
    assert not trace["stream.norm"][4].any()
    assert trace["stream.norm"][2].all()
    assert not trace["attention_output.0"].any()
    assert not trace["ledger.heads"][:, 0].any()
    np.testing.assert_allclose(trace["ledger.logit"][:, [1, 4]], 0.0, atol=1e-6)
    assert trace.about["changes"] == [{"kind": "attention_off", "layer": 0}, {"kind": "feed_forward_off", "layer": 1}]
    assert trace.about["replay"] is None


def test_everything_off_is_the_embeddings_path(model: TextGenerator) -> None:
    off = [change(layer) for layer in (0, 1) for change in (AttentionOff, FeedForwardOff)]
    logits, seen = read(model, tap_for(off, model))
    if model.model.config.stack.blocks[0].placement == "pre":
        stack = model.model.decoder
        assert stack is not None
        assert stack.final_norm is not None
        with torch.inference_mode():
            wanted = model.model.logits(stack.final_norm(seen["embedding.output"]))[0]
        assert torch.equal(logits, wanted)
    lens = model.trace(TEXT, keep="lens", changes=off)
    np.testing.assert_array_equal(lens["lens.ids"][0], lens["lens.ids"][2])


def test_a_neuron_off_is_that_one_only(model: TextGenerator) -> None:
    before, after = read(model, NO_TAP)[1], read(model, tap_for([NeuronOff(1, 7)], model))[1]
    different = (before["layer.1.feed_forward.hidden"] != after["layer.1.feed_forward.hidden"])[0].any(dim=0)
    assert different.nonzero().flatten().tolist() == [7]
    assert not after["layer.1.feed_forward.hidden"][..., 7].any()


@pytest.mark.parametrize("step", ["residual", "attention.key", "attention.mixed", "feed_forward.hidden"])
def test_a_patch_puts_another_texts_value_at_one_place(model: TextGenerator, step: str) -> None:
    name = f"layer.0.{step}"
    before = read(model, NO_TAP)[1][name][0]
    after = read(model, tap_for([Patch(name, "The moon was round", 3, 2)], model))[1][name][0]
    other = read(model, NO_TAP, "The moon was round")[1][name][0]
    assert torch.equal(after[..., 3, :], other[..., 2, :])
    rest = [place for place in range(before.shape[-2]) if place != 3]
    assert torch.equal(after[..., rest, :], before[..., rest, :])


def test_patching_every_residual_of_another_text_is_reading_that_text(rotary: TextGenerator) -> None:
    other = rotary.tokenizer.decode(rotary.read_prompt(TEXT)[1:-1]) + " dog"
    assert len(rotary.read_prompt(other)) >= len(rotary.read_prompt(TEXT))
    count = len(rotary.read_prompt(TEXT))
    patches = [Patch("layer.1.residual", other, place, place) for place in range(count)]
    np.testing.assert_allclose(
        read(rotary, tap_for(patches, rotary))[0], read(rotary, NO_TAP, other)[0][:count], atol=1e-5
    )


def test_steering_adds_the_difference_of_means(model: TextGenerator) -> None:
    change = Steer(0, "a red ball", "the blue kite went up", 2.5)
    before, after = read(model, NO_TAP)[1]["layer.0.residual"][0], read(model, tap_for([change], model))[1]
    means = [
        read(model, NO_TAP, text)[1]["layer.0.residual"][0, 1:].mean(dim=0) for text in (change.towards, change.away)
    ]
    wanted = before + 2.5 * (means[0] - means[1])
    np.testing.assert_allclose(after["layer.0.residual"][0], wanted, atol=1e-5)


def test_without_positions_the_order_does_not_matter(words: Tokenizer) -> None:
    """What the last token of a text sees is then a bag of tokens, but for what causality tells the lower layers."""
    for kind in ("rotary", "learned", "alibi", "sinusoidal"):
        model = build(words, kind)
        ids = model.read_prompt(TEXT)
        turned = [ids[0], ids[2], ids[1], *ids[3:]]
        off = [PositionsOff(), *(change(0) for change in (AttentionOff, FeedForwardOff))]  # one layer sees no order
        with torch.inference_mode():
            plain, other, moved = (
                model.model(torch.tensor([row]), tap=tap_for(changes, model))[0, -1]
                for row, changes in ((ids, off), (turned, off), (turned, off[1:]))
            )
        torch.testing.assert_close(plain, other, rtol=1e-3, atol=1e-4)
        assert (plain - moved).abs().max() > 1e-2


def test_an_encoder_is_changed_too(encoder: TextEncoder) -> None:
    plain, without = encoder.trace("Tom climbed"), encoder.trace("Tom climbed", changes=[AttentionOff(1)])
    assert without["stream.norm"][3].max() == 0.0
    assert plain["stream.norm"][3].min() > 0.0


# ── while it writes ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("change", EACH, ids=lambda change: change.kind)
def test_writing_under_a_change_is_reading_under_it(model: TextGenerator, change: TextChange) -> None:
    """Token by token through the cache, the changed model says what it says when it reads the whole text at once."""
    made = model.generate(TEXT, seed=1, max_tokens=10, tap=tap_for([change], model))
    assert made.record is not None
    whole = torch.tensor([[*made.prompt_ids, *made.ids]])
    with torch.inference_mode():
        logits = model.model(whole, tap=tap_for([change], model))[0, len(made.prompt_ids) - 1 : -1]
    written = made.record.candidate_logprobs + made.record.logsumexp[:, None]
    np.testing.assert_allclose(written, logits.gather(1, made.record.candidate_ids.long()), atol=1e-3)


def test_a_comparison_shows_before_and_after(rotary: TextGenerator) -> None:
    seen = compare(rotary, TEXT, [FeedForwardOff(0)], count=5, max_tokens=8)
    plain, _ = read(rotary, NO_TAP)
    off, _ = read(rotary, tap_for([FeedForwardOff(0)], rotary))
    assert [guess.id for guess in seen.before] == plain[-1].topk(5).indices.tolist()
    assert [guess.id for guess in seen.after] == off[-1].topk(5).indices.tolist()
    assert seen.after[0].probability == pytest.approx(float(off[-1].softmax(-1).max()), rel=1e-4)
    assert seen.written_before.ids == rotary.generate(TEXT, greedy=True, max_tokens=8).ids
    assert seen.written_after.ids[0] == seen.after[0].id
    logs, other = plain[-1].log_softmax(-1), off[-1].log_softmax(-1)
    assert seen.divergence == pytest.approx(float((logs.exp() * (logs - other)).sum()) / np.log(2), rel=1e-3)
    json.dumps(seen.to_dict(), allow_nan=False)
    assert compare(rotary, TEXT, []).divergence == 0.0


def test_a_comparison_from_a_seed(rotary: TextGenerator) -> None:
    seen = compare(rotary, TEXT, [HeadOff(0, 0)], seed=4, temperature=1.0, max_tokens=6)
    assert seen.written_before.ids == rotary.generate(TEXT, seed=4, temperature=1.0, top_p=1.0, max_tokens=6).ids
    with pytest.raises(ConfigError, match="count is 0"):
        compare(rotary, TEXT, [], count=0)


# ── the causal map ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_causal_map_is_each_part_off_by_itself(model: TextGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    from limner.explain import causal

    found = causal_map(model, TEXT, place=-2, target=40)
    ids = torch.tensor([model.read_prompt(TEXT)])[:, :-1]

    def chance(changes: list[TextChange]) -> float:
        with torch.inference_mode():
            return float(model.model(ids, tap=tap_for(changes, model))[0, -1].softmax(-1)[40])

    plain = chance([])
    assert found.probability == pytest.approx(plain, rel=1e-4)
    for layer in range(2):
        for head in range(found.heads.shape[1]):
            assert found.heads[layer, head] == pytest.approx(chance([HeadOff(layer, head)]) - plain, rel=1e-3, abs=1e-7)
        assert found.attention[layer] == pytest.approx(chance([AttentionOff(layer)]) - plain, rel=1e-3, abs=1e-7)
        assert found.feed_forward[layer] == pytest.approx(chance([FeedForwardOff(layer)]) - plain, rel=1e-3, abs=1e-7)
    assert np.abs(found.heads).max() > 1e-5
    monkeypatch.setattr(causal, "ROOM", 1)  # a row at a time
    np.testing.assert_allclose(causal_map(model, TEXT, place=-2, target=40).heads, found.heads, rtol=1e-3, atol=1e-7)


def test_the_causal_map_says_how_far_it_is_and_can_be_stopped(rotary: TextGenerator) -> None:
    told: list[tuple[int, int]] = []
    whole = causal_map(rotary, TEXT, on_progress=lambda done, of: told.append((done, of)))
    assert told == [(1, 2), (2, 2)]
    assert whole.finished
    part = causal_map(rotary, TEXT, on_progress=lambda done, of: False)
    assert not part.finished
    np.testing.assert_array_equal(part.heads[0], whole.heads[0])
    assert np.isnan(part.heads[1]).all()
    values = json.loads(json.dumps(part.to_dict(), allow_nan=False))
    assert values["change"][1] == [None] * 4
    assert values["change"][0] == pytest.approx(whole.heads[0].tolist())
