from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from limner.train.display import Lines, Live, Smoothed, Speed, TensorBoard, duration, reading_progress, sparkline
from limner.train.loop import Evaluation, StepReport
from limner.train.settings import TrainSettings
from tests.train import toy

EVALUATION = Evaluation(
    {"loss": 1.25, "bits_per_byte": 0.75}, ("Once upon\na time [there]",), {"The sky is → blue / green": (0.6, 0.1)}
)


def report(step: int = 3, seconds: float = 0.5) -> StepReport:
    return StepReport(step, 2.5, 1.0, 0.3, 0.25, 10.0, seconds, 3725.0)


def test_speed_counts_tokens_and_the_share_of_the_peak() -> None:
    speed = Speed(100, 1e6, 1e9)
    assert speed.per_second == 0
    speed.add(report(step=1, seconds=50.0))
    speed.add(report(step=2))
    assert speed.per_second == 200
    assert speed.share_of_peak == pytest.approx(0.2)
    assert Speed(100).share_of_peak is None


def test_the_loss_shown_is_an_average_from_the_first_step_on() -> None:
    loss = Smoothed(keep=0.5)
    for value, mean in ((8.0, 8.0), (2.0, (8 * 0.25 + 2 * 0.5) / 0.75), (5.0, (8 / 8 + 2 / 4 + 5 / 2) / (7 / 8))):
        loss.add(value)
        assert loss.value == pytest.approx(mean)
    lines = Lines(Speed(100), every=0.0, out=(out := io.StringIO()))
    for step, value in enumerate((8.0, 2.0), 1):
        lines.stepped(replace(report(step), loss=value))
    assert "loss 4.9231" in out.getvalue().splitlines()[1]  # (0.95 × 8 + 2) / 1.95, not 0.95 × 8 + 0.05 × 2


def test_one_step_is_one_step(tmp_path: Path) -> None:
    out = io.StringIO()
    toy.run(tmp_path, steps=1, watchers=(Lines(Speed(100), out=out),))
    assert "finished after 1 step, " in out.getvalue()


def test_reading_says_nothing_where_there_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with reading_progress() as show:
        show("tokenizing", 1, 2)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("what", "done", "total", "amount"),
    [("encoding pictures", 1_200, 40_000, "1,200 of 40,000"), ("tokenizing", 1_200, 40_000, "1.2 kB of 40.0 kB")],
)
def test_pictures_are_counted_and_files_are_measured(
    monkeypatch: pytest.MonkeyPatch, what: str, done: int, total: int, amount: str
) -> None:
    out = io.StringIO()
    terminal = Console(file=out, force_terminal=True, width=120, _environ={"TERM": "xterm"})
    monkeypatch.setattr("rich.console.Console", lambda **_: terminal)
    with reading_progress() as show:
        show(what, done, total)
    assert amount in out.getvalue()


def test_lines_tell_the_same() -> None:
    out = io.StringIO()
    lines = Lines(Speed(100), every=0.0, out=out)
    lines.stepped(report())
    lines.evaluated(3, EVALUATION)
    lines.said("A note.")
    text = out.getvalue()
    for word in (
        "loss 2.5000",
        "200 tokens/s",
        "1:02:05 left",
        "bits per byte 0.7500",
        "Once upon a time [there]",
        "A note.",
    ):
        assert word in text


def test_the_panel_shows_all_there_is_to_see() -> None:
    console = Console(file=io.StringIO(), width=110, force_terminal=True, color_system=None)
    live = Live(Speed(100, 1e6, 1e9), console)
    console.print(live.render())
    live.stepped(report())
    live.evaluated(3, EVALUATION)
    live.saved(2)
    console.print(live.render())
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for word in (
        "starting",
        "step 3",
        "2.5000",
        "1.2500",
        "0.7500",
        "200",
        "20%",
        "1:02:05",
        "60%",
        "10%",
        "saved at step 2",
        "[there]",
    ):
        assert word in text, word


def test_every_number_of_the_panel_has_its_name_in_colour_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm")
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system="truecolor")
    live = Live(Speed(100, 1e6, 1e9, "pictures"), console)
    live.stepped(report())
    names = ("loss", "pixels", "spectrum", "divergence", "psnr", "sharpness", "noise")  # more than one row has room for
    live.evaluated(3, Evaluation(dict.fromkeys(names, 0.5)))
    console.print(live.render())
    assert isinstance(console.file, io.StringIO)
    text = re.sub(r"\x1b\[[0-9;]*m", "", console.file.getvalue())
    for name in ("│ loss ", *(f"validation {name} " for name in names), "pictures/s", "share of peak", "time left"):
        assert name in text, text


def test_the_panel_lasts_as_long_as_the_run(tmp_path: Path) -> None:
    out = io.StringIO()
    live = Live(Speed(32), Console(file=out, width=100, force_terminal=True))
    toy.run(tmp_path, steps=5, evaluations=2, watchers=(live,))
    assert live.screen is None
    assert "step 5" in out.getvalue()


def test_curves_are_written_for_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = TensorBoard(tmp_path, Speed(100))
    board.started(step=0, settings=TrainSettings(steps=9))
    board.stepped(report())
    board.evaluated(3, EVALUATION)
    board.ended(SimpleNamespace())  # type: ignore[arg-type]
    found = EventAccumulator(str(tmp_path)).Reload()
    assert found.Scalars("loss/train")[0].value == 2.5
    assert found.Scalars("bits_per_byte/validation")[0].step == 3


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (61, "1:01"), (3725, "1:02:05")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_sparklines() -> None:
    assert sparkline([]) == ""
    assert sparkline([3.0, 1.0, 2.0]) == "█▁▅"
    assert sparkline([2.0, 2.0]) == "▁▁"
