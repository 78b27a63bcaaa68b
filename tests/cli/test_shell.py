"""The command itself: finding verbs, and what a person reads when something goes wrong."""

from __future__ import annotations

import errno
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import limner
from limner.cli import app as shell
from limner.core.errors import DataError

Run = Callable[[Callable[[], None]], "Outcome"]


class Outcome:
    """What a run of the command left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


def invoke(*args: str) -> Outcome:
    result = CliRunner().invoke(shell.app, list(args), catch_exceptions=False)
    return Outcome(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a function as if it were the verb ``sing``."""

    def run_verb(work: Callable[[], None]) -> Outcome:
        module = types.ModuleType("limner.cli.sing")
        module.app = typer.Typer()  # type: ignore[attr-defined]
        module.app.command()(work)
        monkeypatch.setitem(sys.modules, "limner.cli.sing", module)
        monkeypatch.setitem(shell.VERBS, "sing", shell.Verb("Generate", "Sing."))
        return invoke("sing")

    return run_verb


def test_help_lists_every_verb_with_its_line() -> None:
    for args in ([], ["--help"], ["-h"]):
        outcome = invoke(*args)
        assert outcome.code == 0
        for name, verb in shell.VERBS.items():
            assert name in outcome.out
            assert verb.help in outcome.out


def test_version() -> None:
    assert invoke("--version").out == f"limner {limner.__version__}\n"


def test_an_unknown_verb_suggests_the_nearest() -> None:
    outcome = invoke("wirte", "hello")
    assert outcome.code == 2
    assert "wirte" in outcome.err
    assert "Did you mean 'write'?" in outcome.err
    assert "limner --help" in outcome.err


def test_a_verb_unlike_any_lists_them_all() -> None:
    outcome = invoke("xyzzy")
    assert outcome.code == 2
    assert all(name in outcome.err for name in shell.VERBS)


def test_an_unknown_option_suggests_the_nearest() -> None:
    outcome = invoke("--versoin")
    assert outcome.code == 2
    assert "--versoin" in outcome.err
    assert "--version" in outcome.err


def test_a_persons_mistake_is_one_sentence(run: Run) -> None:
    def work() -> None:
        raise DataError("songs.txt has 0 lines, but at least 1 is needed. Write one.")

    outcome = run(work)
    assert outcome.code == 2
    assert outcome.err == "DataError: songs.txt has 0 lines, but at least 1 is needed. Write one.\n"
    assert outcome.out == ""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "memory ran out"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"),
            "memory ran out",
        ),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"), "accelerator's memory ran out"),
        (OSError(errno.ENOSPC, "No space left on device", "run/weights"), "disk is full (writing run/weights)"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full"),
        (Exception("I/O error: No space left on device (os error 28)"), "disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "run/events.jsonl"), "run/events.jsonl cannot be used"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "songs"), "songs cannot be used: No such file"),
        (OSError(errno.EROFS, "Read-only file system", "run"), "run cannot be used: Read-only file system"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_the_machine_refuses_is_one_sentence(run: Run, error: Exception, said: str) -> None:
    def work() -> None:
        raise error

    outcome = run(work)
    assert outcome.code == 2
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
    assert "Traceback" not in outcome.err


def test_a_mistake_of_ours_keeps_its_traceback(run: Run) -> None:
    def work() -> None:
        raise ZeroDivisionError("ours")

    with pytest.raises(ZeroDivisionError):
        run(work)


def test_an_interrupt_ends_quietly_with_130(run: Run) -> None:
    def work() -> None:
        raise KeyboardInterrupt

    outcome = run(work)
    assert outcome.code == 130
    assert "Traceback" not in outcome.err


def test_a_verb_may_choose_its_exit_code(run: Run) -> None:
    def work() -> None:
        raise typer.Exit(3)

    assert run(work).code == 3


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    script = tmp_path / "sing.py"
    script.write_text(
        "import sys, types, typer\n"
        "from limner.cli import app as shell\n"
        "verb = types.ModuleType('limner.cli.sing')\n"
        "verb.app = typer.Typer()\n"
        "@verb.app.command()\n"
        "def sing() -> None:\n"
        "    for line in range(100_000):\n"
        "        print('la', line)\n"
        "sys.modules['limner.cli.sing'] = verb\n"
        "shell.VERBS['sing'] = shell.Verb('Generate', 'Sing.')\n"
        "shell.main()\n"
    )
    singer = subprocess.Popen([sys.executable, script, "sing"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert singer.stdout is not None
    assert singer.stderr is not None
    assert singer.stdout.readline() == b"la 0\n"
    singer.stdout.close()
    said = singer.stderr.read()
    singer.stderr.close()
    assert singer.wait() == 128 + 13
    assert said == b""


def test_python_dash_m_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "limner", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"limner {limner.__version__}\n"


def test_a_verb_does_not_offer_to_install_completion_again(run: Run) -> None:
    def work() -> None:
        pass

    run(work)
    outcome = invoke("sing", "-h")
    assert outcome.code == 0
    assert "completion" not in outcome.out
