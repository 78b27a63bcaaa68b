"""Every claim that a lesson makes, held against the numbers of the models that come with limner.

The lessons are web/src/lessons/lessons.json; each claim there names how it is checked, and nothing that is said under "What
holds, and is tested" goes without.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import limner
from limner.core.errors import ContextError
from limner.explain.learning import take_apart
from limner.explain.order import compare_order
from limner.explain.overlap import measure_overlap
from limner.explain.text_trace import TextTrace
from limner.explain.vectors import analogy, similarity

WEB = Path(__file__).parents[2] / "web/src"
LESSONS: list[dict[str, Any]] = json.loads((WEB / "lessons/lessons.json").read_text("utf-8"))
CLAIMS = [
    pytest.param(claim["check"], id=f"{lesson['id']}-{number}")
    for lesson in LESSONS
    for number, claim in enumerate(lesson["claims"])
]
Check = Callable[[dict[str, Any]], None]
CHECKS: dict[str, Check] = {}


def check(kind: str) -> Callable[[Check], Check]:
    """Say which claims a function checks."""

    def keep(function: Check) -> Check:
        CHECKS[kind] = function
        return function

    return keep


@lru_cache(maxsize=4)
def model(name: str) -> Any:
    return limner.load(name)


@lru_cache(maxsize=8)
def read(name: str, text: str) -> TextTrace:
    trace = model(name).trace(text)
    assert isinstance(trace, TextTrace)
    return trace


@lru_cache(maxsize=2)
def painted(name: str, prompt: str, steps: int) -> Any:
    return model(name).trace(prompt, seed=0, steps=steps)


@pytest.mark.parametrize("asked", CLAIMS)
def test_a_claim_of_a_lesson_holds(asked: dict[str, Any]) -> None:
    asked = dict(asked)
    CHECKS[asked.pop("kind")](asked)


def test_the_tour_goes_from_token_to_picture() -> None:
    ids = [lesson["id"] for lesson in LESSONS]
    assert ids[0] == "tokens"
    assert ids[-1] == "guidance"
    assert len(set(ids)) == len(ids) == 13
    parts = [lesson["part"] for lesson in LESSONS]
    assert parts == sorted(parts, key=["text", "picture"].index)
    assert all(lesson["claims"] and lesson["lead"] and lesson["text"] and lesson["links"] for lesson in LESSONS)


def test_every_check_is_used_and_every_link_leads_to_a_page() -> None:
    assert {claim["check"]["kind"] for lesson in LESSONS for claim in lesson["claims"]} == set(CHECKS)
    pages = set(re.findall(r"\{ id: '(\w+)'", (WEB / "studio/pages.ts").read_text()))
    assert {link["page"] for lesson in LESSONS for link in lesson["links"]} <= pages


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson["id"])
def test_a_figure_shows_what_the_claims_are_about(lesson: dict[str, Any]) -> None:
    figure = lesson["figure"]
    asked = [claim["check"] for claim in lesson["claims"]]
    models = {name for check in asked for name in [check.get("model"), *check.get("models", [])] if name}
    assert figure["model"] in models
    shown = {figure.get(name) for name in ("text", "prompt", "word", "first")} | set(figure.get("texts", []))
    said = {check.get(name) for check in asked for name in ("text", "prompt", "word", "first")}
    # What is measured over many drawings, and the window, have no text of their own.
    assert shown & said - {None} or {check["kind"] for check in asked} & {"overlap", "window"}


# ── texts ──────────────────────────────────────────────────────────────────────────────────────────────


@check("tokens")
def tokens(asked: dict[str, Any]) -> None:
    pieces = model(asked["model"]).tokenizer.pieces(asked["text"])
    assert [piece.bytes.decode() for piece in pieces] == asked["tokens"]


@check("more_tokens")
def more_tokens(asked: dict[str, Any]) -> None:
    assert len(model(asked["model"]).tokenizer.encode(asked["text"])) > asked["than"]


@check("nearer")
def nearer(asked: dict[str, Any]) -> None:
    near, far = (similarity(model(asked["model"]), asked["word"], asked[name]) for name in ("near", "far"))
    assert near > far + 0.05  # what anybody would see in the bars


@check("analogy")
def sum_of_words(asked: dict[str, Any]) -> None:
    for name in asked["models"]:
        found = analogy(model(name), asked["a"], asked["b"], asked["c"]).found
        assert found[0].word.strip() == asked["answer"], name


@check("order")
def order(asked: dict[str, Any]) -> None:
    found = compare_order(model(asked["model"]), asked["first"], asked["second"])
    assert found.same_tokens
    apart, left = found.with_positions.largest_difference, found.without_positions.largest_difference
    assert apart is not None
    assert left is not None
    assert apart > 0.1
    assert left < 1e-4


@check("order_causal")
def order_causal(asked: dict[str, Any]) -> None:
    found = compare_order(model(asked["model"]), asked["first"], asked["second"])
    assert found.same_tokens
    left = found.without_positions.largest_difference
    assert left is not None
    assert left > 0.1


@check("window")
def window(asked: dict[str, Any]) -> None:
    assert model(asked["model"]).context_length == asked["tokens"]


@check("refused")
def refused(asked: dict[str, Any]) -> None:
    text = asked["text"] * asked["times"]
    generator = model(asked["model"])
    many = len(generator.tokenizer.encode(text))
    assert many > generator.context_length
    with pytest.raises(ContextError) as problem:
        generator.generate(text, max_tokens=1)
    assert str(generator.context_length) in str(problem.value)
    assert re.search(rf"{many:,}|{many}|{many + 1:,}|{many + 1}", str(problem.value))


@check("looks")
def looks(asked: dict[str, Any]) -> None:
    trace = read(asked["model"], asked["text"])
    shares = trace.attention(asked["layer"], asked["head"])[trace.tokens.index(asked["from"])]
    assert shares[trace.tokens.index(asked["to"])] > asked["least"]


@check("looks_mean")
def looks_mean(asked: dict[str, Any]) -> None:
    trace = read(asked["model"], asked["text"])
    place = trace.tokens.index(asked["from"])
    mean = np.mean([trace.attention(layer)[:, place] for layer in range(trace.layers)], axis=(0, 1))
    assert trace.tokens[int(mean.argmax())] != asked["not"]


@check("habit")
def habit(asked: dict[str, Any]) -> None:
    trace = read(asked["model"], asked["text"])
    heads = np.concatenate([trace.attention(layer) for layer in range(trace.layers)])
    time = heads.shape[-1]
    places = np.arange(2, time)  # the first two have next to no choice
    targets = {"previous": places - 1, "first": np.zeros_like(places)}[asked["which"]]
    assert heads[:, places, targets].mean(axis=1).max() > asked["least"]


@check("stream_grows")
def stream_grows(asked: dict[str, Any]) -> None:
    lengths = read(asked["model"], asked["text"])["stream.length"].mean(axis=1)
    assert (np.diff(lengths) > 0).all()


@check("ledger_sums")
def ledger_sums(asked: dict[str, Any]) -> None:
    trace = read(asked["model"], asked["text"])
    best = float(trace["candidates.logits"][-1, 0])  # after the last token the likeliest is asked about
    assert float(trace["ledger.logit"][-1].sum()) == pytest.approx(best, abs=1e-3)
    assert abs(float(trace["ledger.logit"][-1, -1])) < 1e-3, "the rest takes up what was reckoned wrongly"


@check("next")
def following(asked: dict[str, Any]) -> None:
    trace = read(asked["model"], asked["text"])
    assert trace.text(int(trace["candidates.ids"][-1, 0])) == asked["token"]


@check("temperature")
def temperature(asked: dict[str, Any]) -> None:
    trace = read(asked["model"], asked["text"])
    low, usual, high = (
        float(trace.distribution(temperature=heat).probabilities[0]) for heat in (asked["low"], 1.0, asked["high"])
    )
    assert low > usual > high


@check("same_seed")
def same_seed(asked: dict[str, Any]) -> None:
    generator = model(asked["model"])
    first, again, other = (
        generator.generate(asked["text"], seed=seed, max_tokens=12).ids
        for seed in (asked["seed"], asked["seed"], asked["seed"] + 1)
    )
    assert first == again
    assert first != other  # or nothing is thrown


@check("step")
def step(asked: dict[str, Any]) -> None:
    found = take_apart(model(asked["model"]), asked["text"], rate=asked["rate"])
    assert found.new_loss < 0.95 * found.loss


@check("step_token")
def step_token(asked: dict[str, Any]) -> None:
    found = take_apart(model(asked["model"]), asked["text"], rate=asked["rate"])
    (guess,) = (guess for guess in found.guesses if guess.target_text == asked["token"])
    assert guess.new_target_probability > guess.target_probability


# ── pictures: whichever painter is bundled, so nothing here asks for more than a small one can ───────────────────


@check("overlap")
def overlap(asked: dict[str, Any]) -> None:
    found = _overlap(asked["model"], asked["scenes"])
    scores = found.scores["colour and hat" if asked["words"] == "hat" else asked["words"]]
    assert scores["mass"] > 1.25 * scores["chance"]  # of all its attention, so much lies on the object


@lru_cache(maxsize=1)
def _overlap(name: str, scenes: int) -> Any:
    return measure_overlap(model(name), scenes=scenes, seed=0)


@check("noise_falls")
def noise_falls(asked: dict[str, Any]) -> None:
    trace = painted(asked["model"], asked["prompt"], asked["steps"])
    ratios = [look["sigma"] / max(look["alpha"], 1e-9) for look in trace.about["looks"]]
    assert (np.diff(ratios) < 0).all()


@check("seen_nears")
def seen_nears(asked: dict[str, Any]) -> None:
    trace = painted(asked["model"], asked["prompt"], asked["steps"])
    picture, seen = trace["picture"].astype(float), trace["seen"].astype(float)
    first, last = (np.abs(frame - picture).mean() for frame in (seen[0], seen[-1]))
    assert last < first


@check("guidance_matters")
def guidance_matters(asked: dict[str, Any]) -> None:
    few, much = (
        np.asarray(
            model(asked["model"])
            .generate(asked["prompt"], seed=0, steps=asked["steps"], guidance=float(asked[name]))[0]
            .image,
            float,
        )
        for name in ("low", "high")
    )
    assert np.abs(few - much).mean() / 255 > 0.01


@check("guidance_length")
def guidance_length(asked: dict[str, Any]) -> None:
    trace = painted(asked["model"], asked["prompt"], asked["steps"])
    lengths = trace["guidance"].astype(float).mean(axis=(1, 2))
    assert len(lengths) == asked["steps"]
    assert (lengths > asked["least"]).all(), "what rounding makes of two equal looks is far less"
