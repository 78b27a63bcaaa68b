"""Training as a page sees it: runs and their curves, probes across checkpoints, one step taken apart."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import math
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

import limner
from limner.core.errors import ConfigError, DataError, WeightsError
from limner.explain.learning import part_of, take_apart
from limner.studio import events as events_module
from limner.studio.events import EventsFile, read_new, thinned
from limner.studio.state import Studio
from limner.studio.training import AskRun, follow
from limner.studio.worker import Job
from limner.text.generator import TextGenerator
from limner.train.looking_back import checkpoint_steps, open_at
from tests.studio.conftest import events, refused
from tests.studio.shelf import PROBE, train_sky


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 8 steps with checkpoints of steps 4 and 8, and a probe."""
    folder = tmp_path_factory.mktemp("runs")
    return train_sky(folder / "sky", folder / "sky.txt")


@pytest.fixture
def run(trained: Path, studio: Studio) -> Path:
    """The run in the studio's directory, which a test may spoil."""
    return Path(shutil.copytree(trained, studio.shelf.runs / "sky"))


def test_without_runs_there_are_none(page: TestClient) -> None:
    assert page.get("/api/runs").json() == {"runs": []}
    refused(page.get("/api/training/sky/events"), 400, "'sky'")


def test_a_run_is_listed_with_how_far_it_came(page: TestClient, run: Path) -> None:
    (found,) = page.get("/api/runs").json()["runs"]
    assert (found["n"], found["kind"], found["state"]) == ("sky", "text", "finished")
    assert found["finished"] is True
    assert (found["step"], found["steps"]) == (8, 8)
    assert found["checkpoints"] == [4, 8]
    assert found["best"] <= found["loss"]
    assert found["model"] == "runs/sky"


def test_what_state_a_run_is_in(page: TestClient, run: Path) -> None:
    def state() -> str:
        (found,) = page.get("/api/runs").json()["runs"]
        return str(found["state"])

    path = run / "events.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if '"ended"' not in line and '"result"' not in line))
    assert state() == "running"
    os.utime(path, (1.0, 1.0))
    assert state() == "silent"
    path.write_text('{"event": "started", "step": 0}\n{"event": "failed", "step": 3, "problem": "x"}\n')
    assert state() == "failed"
    path.unlink()
    assert state() == "waiting"


def test_a_list_of_runs_is_right_as_they_go_on_and_are_begun_anew(page: TestClient, run: Path) -> None:
    def listed() -> dict[str, Any]:
        (found,) = page.get("/api/runs").json()["runs"]
        return {name: found[name] for name in ("step", "loss", "best", "state")}

    path = run / "events.jsonl"
    before = listed()
    with path.open("a") as file:
        file.write('{"event": "started", "step": 8}\n{"event": "evaluation", "step": 9, "loss": 0.5}\n{"event": "st')
    assert listed() == {"step": 9, "loss": 0.5, "best": 0.5, "state": "running"}
    with path.open("a") as file:
        file.write('ep", "step": 10}\n{"event": "evaluation", "step": 11, "loss": 0.75}\n{"event": "ended"}\n')
    assert listed() == {"step": 11, "loss": 0.75, "best": 0.5, "state": "finished"}
    whole = path.read_text()
    path.write_text(whole.replace('"loss": 0.5}', '"loss": 0.6}') + "\n" * 300)  # longer than what was read
    assert listed()["best"] == 0.6
    path.write_text(whole[: whole.index('{"event": "started", "step": 8}')])
    assert listed() == before


def test_of_events_only_new_lines_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read = tmp_path / "events.jsonl", []
    steps = [json.dumps({"event": "step", "step": n, "loss": 1.0}) for n in range(1000)]
    path.write_text("\n".join(['{"event": "started", "step": 0}', *steps]) + "\n")
    plain = events_module.read_line
    monkeypatch.setattr(events_module, "read_line", lambda line: (read.append(line), plain(line))[1])
    file = EventsFile(path)
    assert file.summary().step == 999
    assert len(read) == 2, "what began, and the last step"
    read.clear()
    assert file.summary().step == 999
    assert read == []
    with path.open("a") as more:
        more.write('{"event": "step", "step": 1000}\n')
    assert file.summary().step == 1000
    assert len(read) == 1


def test_a_checkpoint_that_was_written_anew_while_open_is_opened_anew(page: TestClient, run: Path) -> None:
    def write(name: str) -> list[float]:
        ask = {"model": name, "prompt": "The", "seed": 1, "settings": {"max_tokens": 3}}
        answer = page.post("/api/write", json=ask)
        assert answer.status_code == 200, answer.text
        logprobs: list[float] = events(answer.text)[-1][1]["generation"]["logprobs"]
        return logprobs

    kept = run / "checkpoints"
    first, last = write("runs/sky@4"), write("runs/sky@8")
    shutil.rmtree(kept / "step-00000004")
    assert write("runs/sky@4") == first, "one that is gone is not another"
    shutil.copytree(kept / "step-00000008", kept / "step-00000004")
    assert write("runs/sky@4") == last != first
    shutil.rmtree(kept / "step-00000004")
    (run / "run.json").write_text((run / "run.json").read_text() + " ")  # begun anew, and not at step 4 yet
    refused(page.post("/api/write", json={"model": "runs/sky@4", "prompt": "The"}), 400, "the step is 4")


def test_the_model_of_a_run_and_its_checkpoints_can_be_opened(page: TestClient, run: Path) -> None:
    names = [model["name"] for model in page.get("/api/models").json()["models"]]
    assert "runs/sky" in names
    texts = {}
    for name in ("runs/sky", "runs/sky@4", "runs/sky@8"):
        ask = {"model": name, "prompt": "The", "seed": 1, "settings": {"max_tokens": 4}}
        told = events(page.post("/api/write", json=ask).text)
        texts[name] = told[-1][1]["generation"]["logprobs"]
    assert texts["runs/sky@4"] != texts["runs/sky@8"]
    ask = {"model": "runs/sky@5", "prompt": "The"}
    refused(page.post("/api/write", json=ask), 400, "the step is 5", "4, 8")
    refused(page.post("/api/write", json=ask | {"model": "runs/sea@5"}), 400, "'sea'")
    for step in ("²", "٤", "4" * 5000):
        refused(page.post("/api/write", json=ask | {"model": f"runs/sky@{step}"}), 400, "opens only what it lists")


# ── events, live ────────────────────────────────────────────────────────────────────────────────────────────


def test_events_are_read_as_they_are_written(studio: Studio, run: Path) -> None:
    async def look() -> list[Any]:
        stream = follow(studio, AskRun("sky"), Job("", lambda job: None, lambda message: None))
        seen: list[Any] = [await anext(stream)]
        with (run / "events.jsonl").open("a") as file:
            file.write('{"event": "step", "step": 9, "lo')
            file.flush()
            following = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            file.write('ss": 1.5}\n')
            file.flush()
            seen.append(await following)
        (run / "events.jsonl").write_text('{"event": "started", "step": 0}\n')
        seen.append(await anext(stream))
        return seen

    first, second, third = asyncio.run(look())
    assert first[0] == "history"
    assert {event["event"] for event in first[1]["events"]} >= {"started", "step", "evaluation", "checkpoint", "ended"}
    assert second == ("event", {"event": "step", "step": 9, "loss": 1.5})
    assert third == ("history", {"events": [{"event": "started", "step": 0}]})  # somebody began the run anew


def test_half_a_line_waits_and_a_broken_one_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"event": "a"}\n{"event": \n[1]\n{"event": "b", "loss": NaN}\n{"event": "c"')
    found, place = read_new(path, 0)
    assert found == [{"event": "a"}, {"event": "b", "loss": None}]
    with path.open("ab") as file:
        file.write(b"}\n")
    assert read_new(path, place)[0] == [{"event": "c"}]
    assert read_new(tmp_path / "none.jsonl", 0) == ([], 0)


def test_a_long_curve_is_thinned_and_ends_where_it_ends() -> None:
    events = [{"event": "step", "step": n} for n in range(9999)] + [{"event": "evaluation", "step": 9999}]
    kept = thinned(events, 100)
    assert len(kept) <= 101
    assert kept[-2:] == events[-2:]
    assert thinned(events[:50], 100) == events[:50]


# ── probes ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_probes_that_the_run_was_given(page: TestClient, run: Path) -> None:
    answer = page.get("/api/probes/sky").json()
    (probe,) = answer["probes"]
    assert (probe["prompt"], probe["right"], probe["wrong"]) == ("The sky is", " blue", " green")
    assert [point["step"] for point in probe["points"]] == [4, 8]
    assert all(0 <= point["right"] <= 1 for point in probe["points"])
    assert answer["checkpoints"] == [4, 8]
    with (run / "events.jsonl").open("a") as file:
        file.write(json.dumps({"event": "evaluation", "probes": {"x": [0.1, 0.2]}}) + "\n")
    assert page.get("/api/probes/sky").json() == answer, "an evaluation of no step is passed over"


def test_a_new_probe_is_asked_of_every_checkpoint_and_says_what_the_run_said(page: TestClient, run: Path) -> None:
    told = events(page.post("/api/probes/sky", json=PROBE).text)
    assert [name for name, _ in told if name != "waiting"] == ["point", "point", "done"]
    recorded = page.get("/api/probes/sky").json()["probes"][0]["points"]
    for asked, known in zip(told[-1][1]["points"], recorded, strict=True):
        assert asked["step"] == known["step"]
        assert asked["right"] == pytest.approx(known["right"], rel=1e-3)
        assert asked["wrong"] == pytest.approx(known["wrong"], rel=1e-3)


def test_a_probe_that_cannot_be_asked(page: TestClient, run: Path) -> None:
    refused(page.post("/api/probes/sky", json=PROBE | {"right": ""}), 400, "empty")
    refused(page.post("/api/probes/sky", json=PROBE | {"prompt": "sky " * 500}), 400, "32 tokens")
    shutil.rmtree(run / "checkpoints")
    refused(page.post("/api/probes/sky", json=PROBE), 400, "no checkpoint yet")


def test_a_checkpoint_holds_the_weights_of_its_step(run: Path) -> None:
    assert checkpoint_steps(run) == [4, 8]
    first, last = open_at(run, 4), open_at(run, 8)
    assert isinstance(first, TextGenerator)
    assert first.card["checkpoint"] == 4
    best = limner.load(run)
    same = [
        all(torch.equal(p, dict(best.model.named_parameters())[name]) for name, p in model.model.named_parameters())
        for model in (first, last)
    ]
    assert same.count(True) == 1  # the best model is that of one of the two evaluations
    with pytest.raises(WeightsError, match="the step is 3"):
        open_at(run, 3)


def test_a_trace_says_whose_weights_it_is_of(run: Path) -> None:
    described = json.loads((run / "model" / "config.json").read_text())
    models = [limner.load(run), open_at(run, 4), open_at(run, 8)]
    said = [model.trace("The sky").about["model"] for model in models if isinstance(model, TextGenerator)]
    assert [about["checkpoint"] for about in said] == [None, 4, 8]
    assert said[0]["sha256"] == described["sha256"]
    assert len({about["sha256"] for about in said}) == 3
    assert all(about["sha256"] for about in said)


def test_a_checkpoint_of_another_model_is_refused(run: Path) -> None:
    from limner.train.checkpoint import read_checkpoint, write_checkpoint

    folder = run / "checkpoints" / "step-00000004"
    old = read_checkpoint(folder)
    note = {key: value for key, value in old.note.items() if key not in ("sha256", "format", "version")}
    write_checkpoint(folder, old.tensors | {"weights/strange": torch.zeros(1)}, note)
    with pytest.raises(WeightsError, match="weights/strange"):
        open_at(run, 4)


# ── one step taken apart ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def tiny() -> TextGenerator:
    model = limner.load("tiny")
    assert isinstance(model, TextGenerator)
    return model


def test_a_step_lowers_the_loss_as_the_gradient_says_and_leaves_the_model_as_it_is(tiny: TextGenerator) -> None:
    before = {name: value.clone() for name, value in tiny.model.state_dict().items()}
    small = take_apart(tiny, "Tom climbed a tall tree", rate=1e-3)
    large = take_apart(tiny, "Tom climbed a tall tree", rate=0.1)
    assert all(torch.equal(value, before[name]) for name, value in tiny.model.state_dict().items())
    assert small.loss - small.new_loss == pytest.approx(small.loss - small.expected, rel=0.02)  # so near, it is a plane
    assert large.new_loss < small.new_loss < small.loss == large.loss
    assert small.loss - small.expected == pytest.approx(1e-3 * small.gradient)


def test_losses_and_guesses_are_those_of_the_model(tiny: TextGenerator) -> None:
    step = take_apart(tiny, "Tom climbed a tall tree", rate=0.05)
    ids = tiny.read_prompt("Tom climbed a tall tree")
    with torch.no_grad():
        scores = tiny.model(torch.tensor([ids]))[0].log_softmax(dim=-1)
    assert [guessed.target for guessed in step.guesses] == ids[1:]
    for place, guessed in enumerate(step.guesses):
        assert guessed.guess == int(scores[place].argmax())
        assert guessed.loss == pytest.approx(-float(scores[place, guessed.target]), abs=1e-4)
        assert guessed.target_probability == pytest.approx(math.exp(-guessed.loss), rel=1e-5)
    assert step.loss == pytest.approx(sum(guessed.loss for guessed in step.guesses) / len(step.guesses), abs=1e-5)
    better = sum(guessed.new_target_probability > guessed.target_probability for guessed in step.guesses)
    assert better > len(step.guesses) / 2


def test_the_parts_gradients_make_up_the_whole(tiny: TextGenerator) -> None:
    step = take_apart(tiny, "Tom climbed", rate=0.1)
    assert math.sqrt(sum(part.gradient**2 for part in step.parts)) == pytest.approx(step.gradient, rel=1e-5)
    assert math.sqrt(sum(part.moved**2 for part in step.parts)) == pytest.approx(0.1, rel=1e-5)
    assert sum(part.parameters for part in step.parts) == tiny.parameters
    names = [part.name for part in step.parts]
    assert {"embedding", "layer.0.attention", "layer.1.feed_forward", "layer.0.norm", "head"} <= set(names)
    assert part_of("decoder.final_norm.weight") == "final_norm"


def test_a_page_gets_the_same_numbers(page: TestClient, tiny: TextGenerator) -> None:
    answer = page.post("/api/step", json={"model": "tiny", "text": "Tom climbed", "rate": 0.1}).json()
    alone = json.loads(json.dumps(asdict(take_apart(tiny, "Tom climbed", rate=0.1))))
    assert answer["loss"] == pytest.approx(alone["loss"], abs=1e-5)
    assert answer["new_loss"] == pytest.approx(alone["new_loss"], abs=1e-4)
    assert [part["name"] for part in answer["parts"]] == [part["name"] for part in alone["parts"]]


@pytest.mark.parametrize("rate", [0.0, -0.1, 11.0, math.inf, math.nan])
def test_a_rate_that_says_nothing_of_learning(tiny: TextGenerator, rate: float) -> None:
    with pytest.raises(ConfigError, match=f"rate is {rate:g}"):
        take_apart(tiny, "Tom climbed", rate=rate)


def test_of_one_token_nothing_is_learned(tiny: TextGenerator, page: TestClient) -> None:
    with pytest.raises(DataError, match="1 token"):
        take_apart(tiny, "", rate=0.1)
    refused(page.post("/api/step", json={"model": "tiny", "text": ""}), 400, "1 token")


def test_what_a_run_painted_on_the_way(page: TestClient, run: Path) -> None:
    assert page.get("/api/samples/sky").json() == {"steps": [], "prompts": []}
    (run / "samples").mkdir()
    for step in (8, 120):
        Image.new("RGB", (4, 2), (step, 0, 0)).save(run / "samples" / f"step-{step:07}.png")
    (run / "samples" / "step-notes.png").write_bytes(b"")
    assert page.get("/api/samples/sky").json()["steps"] == [8, 120]
    said = page.get("/api/samples/sky/120").json()
    image = Image.open(io.BytesIO(base64.b64decode(said["picture"].split(",")[1])))
    assert (said["step"], image.size, image.getpixel((0, 0))) == (120, (4, 2), (120, 0, 0))


@pytest.mark.parametrize("step", ["9", "notes", "-1", "٨"])
def test_samples_of_a_step_that_was_not_painted(page: TestClient, run: Path, step: str) -> None:
    refused(page.get(f"/api/samples/sky/{step}"), 400, step)
