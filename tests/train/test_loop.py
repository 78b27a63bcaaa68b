"""The loop on a toy: what it promises has nothing to do with text."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from limner.core.errors import TrainingError, WeightsError
from limner.train.checkpoint import write_checkpoint
from limner.train.loop import Evaluation, Outcome, StepReport, Watcher, crossed, resolve, seed_everything
from limner.train.optimizers import Muon, Optimizers, is_layer_matrix
from limner.train.run import RunFolder, read_events
from limner.train.settings import TrainSettings
from tests.train import toy


class Notes(Watcher):
    def __init__(self) -> None:
        self.steps: list[StepReport] = []
        self.evaluations: list[tuple[int, Evaluation]] = []
        self.saves: list[int] = []
        self.texts: list[str] = []
        self.ends: list[Outcome] = []

    def stepped(self, report: StepReport) -> None:
        self.steps.append(report)

    def evaluated(self, step: int, evaluation: Evaluation) -> None:
        self.evaluations.append((step, evaluation))

    def saved(self, step: int) -> None:
        self.saves.append(step)

    def said(self, text: str) -> None:
        self.texts.append(text)

    def ended(self, outcome: Outcome) -> None:
        self.ends.append(outcome)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# ── learning ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_the_loss_falls(tmp_path: Path, optimizer: str) -> None:
    notes = Notes()
    toy.run(tmp_path, steps=150, optimizer=optimizer, learning_rate=0.02, matrix_rate=0.05, watchers=(notes,))
    first, last = (sum(r.loss for r in part) / 20 for part in (notes.steps[:20], notes.steps[-20:]))
    assert last < 0.5 * first


def test_rates_follow_the_schedule(tmp_path: Path) -> None:
    notes = Notes()
    toy.run(tmp_path, steps=10, warmup=0.2, schedule="linear", watchers=(notes,))
    assert [r.rate for r in notes.steps[:3]] == pytest.approx([0.5, 1.0, 7 / 8])
    assert notes.steps[-1].rate == pytest.approx(0.0)


def test_accumulated_batches_are_one_large_batch(tmp_path: Path) -> None:
    """With plain gradients of a model without dropout, two batches of 8 are one of 16."""
    made = {}
    for name, accumulate in (("two", 2), ("one", 1)):
        (tmp_path / name).mkdir()
        with RunFolder(tmp_path / name) as folder:
            run = toy.training(folder, steps=1, accumulate=accumulate, optimizer="adamw", clip=0)
            run.model.eval()
            if accumulate == 1:
                run.batches = lambda _: torch.cat((toy.batch(0), toy.batch(1)))
            for module in run.model.modules():
                module.training = False
            run.take_step()
            made[name] = {k: v.detach().clone() for k, v in run.masters.parameters.items()}
    for key, value in made["one"].items():
        torch.testing.assert_close(made["two"][key], value)


def test_clipping_limits_the_step_and_reports_the_norm_before(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        run = toy.training(folder, steps=1, clip=1e-3, optimizer="adamw")
        seen: list[float] = []
        step = run.optimizers.step
        run.optimizers.step = lambda factor: (  # type: ignore[method-assign]
            seen.append(math.sqrt(sum(float((p.grad**2).sum()) for p in run.trained if p.grad is not None))),
            step(factor),
        )
        report = run.take_step()
    assert report.gradient_norm > 1e-2
    assert seen[0] == pytest.approx(1e-3, rel=1e-2)


def test_the_bfloat16_copy_learns_and_its_masters_stay_float32(tmp_path: Path) -> None:
    notes = Notes()
    run, _ = toy.run(tmp_path, steps=100, precision="bfloat16", learning_rate=0.02, matrix_rate=0.05, watchers=(notes,))
    assert {p.dtype for p in run.model.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in run.masters.parameters.values()} == {torch.float32}
    assert sum(r.loss for r in notes.steps[-10:]) < 0.5 * sum(r.loss for r in notes.steps[:10])
    for name, parameter in run.model.named_parameters():
        assert torch.equal(parameter, run.masters.parameters[name].bfloat16())


def test_the_average_is_what_is_evaluated_and_kept(tmp_path: Path) -> None:
    exported: list[dict[str, torch.Tensor]] = []
    run, _ = toy.run(
        tmp_path,
        steps=20,
        ema=0.5,
        evaluations=1,
        learning_rate=0.1,
        export=lambda weights, step, metrics: exported.append({k: v.clone() for k, v in weights.items()}),
    )
    assert run.average is not None
    assert same(exported[-1], run.average)
    assert not torch.equal(run.average["layers.0.weight"], run.masters.parameters["layers.0.weight"])
    assert torch.equal(run.model.get_parameter("layers.0.weight"), run.masters.parameters["layers.0.weight"])


def test_a_compiler_that_fails_does_not_stop_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.compile

    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("conflicting declaration")

    monkeypatch.setattr(torch, "compile", lambda step, **_: real(step, backend=broken))
    _, outcome = toy.run(tmp_path / "compiled", steps=3, compile="on")
    toy.run(tmp_path / "plain", steps=3)
    assert outcome.reason == "finished"
    notes = [event["text"] for event in read_events(tmp_path / "compiled") if event["event"] == "note"]
    assert any("cannot be compiled here" in note and "conflicting declaration" in note for note in notes)
    one, other = toy.weights(tmp_path / "compiled"), toy.weights(tmp_path / "plain")
    assert all(torch.equal(one[name], other[name]) for name in one)


# ── which parameter goes where ──────────────────────────────────────────────────────────────────────────


def test_matrices_go_to_muon_and_nothing_else_is_decayed() -> None:
    model = toy.Toy()
    optimizers = Optimizers(dict(model.named_parameters()), TrainSettings(steps=1, weight_decay=0.3))
    found = {
        optimizers.names[id(p)]: (type(o).__name__, group["weight_decay"], group["peak"])
        for o in optimizers.all
        for group in o.param_groups
        for p in group["params"]
    }
    rate, matrix = TrainSettings.learning_rate, TrainSettings.matrix_rate
    assert found == {
        "embedding.weight": ("AdamW", 0.0, rate),
        "layers.0.weight": ("Muon", 0.3, matrix),
        "layers.0.bias": ("AdamW", 0.0, rate),
        "norm.weight": ("AdamW", 0.0, rate),
        "head.weight": ("AdamW", 0.3, rate),
        "head.bias": ("AdamW", 0.0, rate),
    }


def test_muon_is_torchs_own_but_for_bfloat16s_rounding() -> None:
    """Many matrices of one shape, wide ones, tall ones, one without a gradient. Updates are some 0.01, rounded to 1/256."""
    shapes = [(24, 24)] * 11 + [(16, 40)] * 3 + [(40, 16)] * 7 + [(8, 8), (8, 8)]
    torch.manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [torch.nn.Parameter(parameter.detach().clone()) for parameter in ours]
    settings: dict[str, Any] = {"lr": 0.02, "weight_decay": 0.1, "momentum": 0.9}
    optimizers = Muon(ours, **settings), torch.optim.Muon(theirs, **settings, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        for one, other in zip(ours[:-1], theirs[:-1], strict=True):
            one.grad = torch.randn(one.shape)
            other.grad = one.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=3e-4, rtol=0)
    assert ours[-1] not in optimizers[0].state


def test_names_of_the_transformer_are_told_apart() -> None:
    two = torch.zeros(2, 2)
    assert is_layer_matrix("decoder.layers.0.attention.query.weight", two)
    assert not is_layer_matrix("embedding.token.weight", two)
    assert not is_layer_matrix("head.linear.weight", two)
    assert not is_layer_matrix("decoder.layers.0.attention.query.bias", torch.zeros(2))
    assert not is_layer_matrix("denoiser.stack.layers.0.condition", two)
    assert is_layer_matrix("denoiser.output.weight", two)


# ── going on exactly ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "values",
    [
        {"optimizer": "muon", "ema": 0.9},
        {"optimizer": "adamw", "accumulate": 2},
        {"optimizer": "muon", "precision": "bfloat16"},
        {"optimizer": "muon", "precision": "autocast"},
    ],
)
def test_an_interrupted_run_ends_with_the_same_weights(tmp_path: Path, values: dict[str, Any]) -> None:
    whole, _ = toy.run(tmp_path / "whole", steps=30, **values)
    _, stopped = toy.run(tmp_path / "parts", steps=30, watchers=(toy.StopAfter(7),), **values)
    assert (stopped.reason, stopped.step) == ("interrupted", 7)
    _, stopped = toy.run(tmp_path / "parts", resume=True, steps=30, watchers=(toy.StopAfter(19),), **values)
    assert stopped.step == 19
    np.random.rand(5)  # whatever else draws random numbers between does not matter
    torch.rand(5)
    resumed, outcome = toy.run(tmp_path / "parts", resume=True, steps=30, **values)
    assert outcome.reason == "finished"
    assert same(whole.state()[0], resumed.state()[0])
    assert same(toy.weights(tmp_path / "whole"), toy.weights(tmp_path / "parts"))


def test_evaluating_more_often_changes_nothing(tmp_path: Path) -> None:
    rarely, _ = toy.run(tmp_path / "a", steps=20, evaluations=1)
    often, _ = toy.run(tmp_path / "b", steps=20, evaluations=20, checkpoints=20)
    assert same(rarely.state()[0], often.state()[0])


@pytest.mark.parametrize(
    ("steps", "evaluations", "at"),
    [
        (40, 0, [2, 22, 40]),  # of 20 marks, every second step, the first, the last, and none within 20 steps
        (100, 0, [5, 25, 45, 65, 85, 100]),
        (3, 0, [1, 3]),
        (40, 4, [10, 20, 30, 40]),
        (10, 10, [*range(1, 11)]),
    ],
)
def test_evaluations_are_worth_their_time_unless_more_are_asked_for(
    tmp_path: Path, steps: int, evaluations: int, at: list[int]
) -> None:
    notes = Notes()
    toy.run(tmp_path, steps=steps, evaluations=evaluations, watchers=(notes,))
    assert [step for step, _ in notes.evaluations] == at


def test_an_interrupted_run_is_evaluated_at_the_same_steps(tmp_path: Path) -> None:
    notes = Notes()
    toy.run(tmp_path, steps=100, watchers=(notes, toy.StopAfter(31)))
    toy.run(tmp_path, resume=True, steps=100, watchers=(notes,))
    assert [step for step, _ in notes.evaluations] == [5, 25, 45, 65, 85, 100]


def test_slow_evaluations_are_rare_under_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is told: steps take a second, evaluations a hundred; they get about a tenth of the time."""
    monkeypatch.setattr("limner.train.loop.STEPS_BETWEEN", 1)
    with RunFolder(tmp_path) as folder:
        run = toy.training(folder, minutes=5_000 / 60)
        run.evaluation_seconds = 100.0
        evaluated = []
        while not run.clock.done:
            before = run.clock.progress()
            run.clock.tick(1.0)
            if run.evaluation_due(before, run.clock.progress()):
                evaluated.append(run.clock.step)
                run.clock.elapsed += 100.0
                run.evaluated_step, run.evaluated_at = run.clock.step, run.clock.elapsed
    assert evaluated == [250, 1150, 2050, 2950, 3850, 4500], "the first mark, one each ten evaluations' time, the end"


def test_under_minutes_the_clock_goes_on_where_it_stood(tmp_path: Path) -> None:
    _, stopped = toy.run(tmp_path, minutes=1.0, watchers=(toy.StopAfter(5),))
    notes = Notes()
    _, again = toy.run(tmp_path, resume=True, minutes=1.0, watchers=(notes, toy.StopAfter(9)))
    assert (again.reason, again.step) == ("interrupted", 9)
    assert notes.steps[0].step == 6
    assert notes.steps[0].elapsed > stopped.elapsed
    _, end = toy.run(tmp_path, resume=True, minutes=again.elapsed / 60)
    assert (end.reason, end.step) == ("finished", 9)


def test_steps_are_seeded_apart() -> None:
    drawn = []
    for seed, step in ((0, 1), (0, 2), (1, 1), (0, 1)):
        seed_everything(seed, step)
        drawn.append((float(torch.rand(())), float(np.random.rand())))
    assert drawn[0] == drawn[3]
    assert len({*drawn}) == 3


# ── what is kept, and what is said ──────────────────────────────────────────────────────────────────────


def test_the_last_checkpoints_and_the_best_are_kept(tmp_path: Path) -> None:
    losses = [5, 4, 1, 3, 3.1, 3, 3.1, 3, 3.1, 3]
    run, outcome = toy.run(tmp_path, steps=100, evaluations=10, checkpoints=10, losses=losses)
    assert run.folder.checkpoints.steps() == [30, 90, 100]
    assert (outcome.best_step, outcome.best["loss"]) == (30, 1.0)


def test_overfitting_is_said_once(tmp_path: Path) -> None:
    notes = Notes()
    losses = [1.0, 0.9, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8]
    toy.run(tmp_path, steps=200, evaluations=10, losses=losses, learning_rate=0.02, overfit_after=3, watchers=(notes,))
    (said,) = [text for text in notes.texts if "Overfitting" in text]
    assert "from 0.9000 to 1.3000" in said
    assert "step 40" in said


def test_no_overfitting_is_said_while_training_does_not_fall(tmp_path: Path) -> None:
    notes = Notes()
    toy.run(tmp_path, steps=50, evaluations=10, losses=range(1, 11), learning_rate=0, matrix_rate=0, watchers=(notes,))
    rises = [r.loss for r in notes.steps]
    assert min(rises) > 0
    assert len([text for text in notes.texts if "Overfitting" in text]) <= 1


def test_a_loss_that_is_no_number_stops_before_the_weights_change(tmp_path: Path) -> None:
    notes = Notes()
    with pytest.raises(TrainingError, match="loss is nan") as caught:
        toy.run(tmp_path, steps=20, checkpoints=20, poison=12, watchers=(notes,))
    assert "step 13" in str(caught.value)
    assert "step-00000012" in str(caught.value)
    assert notes.ends[0].reason == "failed"
    assert all(torch.isfinite(value).all() for value in toy.weights(tmp_path).values())
    assert read_events(tmp_path)[-1]["reason"] == "failed"


def test_gradients_that_are_not_finite_stop_it_too(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        run = toy.training(folder, steps=3)
        run.step = lambda ids: (run.model(ids) * 0).sqrt().mean()  # 0, with an infinite slope
        before = {name: p.detach().clone() for name, p in run.masters.parameters.items()}
        with pytest.raises(TrainingError, match=r"gradient norm (nan|inf)"):
            run.run()
        assert same(before, {name: p.detach() for name, p in run.masters.parameters.items()})


def test_events_tell_what_happened(tmp_path: Path) -> None:
    toy.run(tmp_path, steps=10, evaluations=2, checkpoints=2)
    kinds = [event["event"] for event in read_events(tmp_path)]
    assert kinds[0] == "started"
    assert kinds[-1] == "ended"
    assert kinds.count("evaluation") == 2
    assert kinds.count("checkpoint") == 2
    for line in (tmp_path / "events.jsonl").read_text().splitlines():
        assert "time" in json.loads(line)


def test_a_line_that_was_cut_off_is_passed_over(tmp_path: Path) -> None:
    toy.run(tmp_path, steps=4, watchers=(toy.StopAfter(2),))
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"event": "ste')
    toy.run(tmp_path, resume=True, steps=4)
    assert [e["event"] for e in read_events(tmp_path)].count("started") == 2


def test_marks_are_crossed_once() -> None:
    marks = [step for step in range(1, 11) if crossed((step - 1) / 10, step / 10, 5)]
    assert marks == [2, 4, 6, 8, 10]
    assert not crossed(0.1, 0.9, 0)


def test_a_run_without_a_length_is_refused() -> None:
    with pytest.raises(TrainingError, match="--steps or --minutes"):
        resolve(TrainSettings())


def test_compiling_is_for_long_runs() -> None:
    assert resolve(TrainSettings(minutes=5)).compile == "off"
    assert resolve(TrainSettings(minutes=60)).compile == "on"
    assert resolve(TrainSettings(minutes=60, compile="off")).compile == "off"
    assert resolve(TrainSettings(steps=10), expected_seconds=1e5).compile == "on"


# ── what does not fit ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "group", "average", "optimizer", "moment", "moments"])
def test_a_tensor_that_does_not_fit_is_named(tmp_path: Path, change: str) -> None:
    run, _ = toy.run(tmp_path, steps=4)
    tensors, note = run.state()
    words = {
        "missing": "layers.0.weight",
        "extra": "layer.more",
        "shape": r"\(3, 3\)",
        "group": "gradients/x",
        "average": "layers.0.weight",
        "optimizer": "layer.gone",
        "moment": "optimizer state layers.0.weight/momentum_buffer is missing",
        "moments": "has no optimizer state, but after 9 steps",
    }
    if change == "missing":
        del tensors["weights/layers.0.weight"]
    elif change == "moment":
        del tensors["optimizer/layers.0.weight/momentum_buffer"]
    elif change == "moments":
        tensors = {name: value for name, value in tensors.items() if not name.startswith("optimizer/")}
    elif change == "shape":
        tensors["weights/layers.0.weight"] = torch.zeros(3, 3)
    else:
        name = {
            "extra": "weights/layer.more",
            "group": "gradients/x",
            "average": "average/layers.0.weight",
            "optimizer": "optimizer/layer.gone/momentum_buffer",
        }[change]
        tensors[name] = torch.zeros(8, 8)
    write_checkpoint(run.folder.checkpoints.folder(9), tensors, {**note, "step": 9, "best": None})
    with pytest.raises(WeightsError, match=words[change]):
        toy.run(tmp_path, resume=True, steps=20)
