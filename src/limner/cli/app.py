"""The command ``limner``: finds the verb, runs it, and turns what goes wrong into one sentence.

The contract of a verb. Its line stands in ``VERBS`` below, so that ``limner --help`` needs no verb's code;
its code is ``limner/cli/VERB.py``, imported only when the verb is run, and exposes ``app``, a ``typer.Typer``:

    app = typer.Typer()

    @app.command()
    def write(prompt: Annotated[str | None, typer.Argument(help="…")] = None, …) -> None:
        \"\"\"What ``limner write --help`` begins with.\"\"\"
        from limner.models import load      # whatever loads torch is imported inside the function

An app with one command is the verb itself; one with several commands, or with ``@app.callback()``, has
sub-verbs (``limner train text``). A verb prints its result on standard output and everything else on standard
error, returns None, and lets errors rise to here:

    LimnerError                      its message, exit code 2
    wrong usage                      typer's message and where to find help, exit code 2
    no memory, full disk, no access  one sentence, exit code 2
    Ctrl-C                           exit code 130, nothing said (a verb with work to save catches it first)
    a closed pipe                    exit code 141, as other commands; nothing said
    anything else                    a traceback, exit code 1: it is ours to mend
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from limner import __version__
from limner.core.errors import LimnerError, suggest


@dataclass(frozen=True)
class Verb:
    """One line of ``limner --help``: the heading it stands under and what it does."""

    heading: str
    help: str


VERBS = {
    "train": Verb("Learn", "Train a model of your own on texts or pictures."),
    "data": Verb("Learn", "Make training data: captioned pictures of animals in hats."),
    "cache": Verb("Learn", "List what is kept of prepared data, and remove it."),
    "write": Verb("Generate", "Continue a text with a model."),
    "paint": Verb("Generate", "Paint pictures with a model."),
    "tokens": Verb("Explain", "Show how a text becomes tokens."),
    "explain": Verb("Explain", "Look inside a model while it reads a text."),
    "studio": Verb("Explain", "Look inside models in the browser."),
    "eval": Verb("Check", "Measure how well a model predicts a text, or paints what it is asked."),
    "models": Verb("Check", "List the models that can be loaded."),
    "export": Verb("Check", "Write a model in a form that other tools load."),
}


class LazyVerbs(TyperGroup):
    """A group whose verbs are lines of a table until one is run."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        verb = VERBS.get(cmd_name)
        return verb and TyperCommand(cmd_name, help=verb.help)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        if name in VERBS:
            return name, load_verb(name), args[1:]
        if name.startswith("-"):
            return super().resolve_command(ctx, args)
        return ctx.fail(f"{name} is no verb of limner. {suggest(name, VERBS)}")

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The same look as typer's own help, without the third of a second that its Markdown reader takes."""
        from rich.console import Console
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        console = Console(highlight=False)
        console.print(f"\n[bold]limner[/] {__version__}: {self.help}\n")
        console.print("[bold yellow]Usage:[/] limner [bold cyan]VERB[/] …      limner [bold cyan]VERB[/] --help\n")
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, verb in VERBS.items():
            sections.setdefault(verb.heading, []).append((name, verb.help))
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                sections.setdefault("Options", []).append((", ".join(sorted(param.opts, key=len)), record[1]))
        for heading, rows in sections.items():
            table = Table.grid(padding=(0, 2))
            table.add_column(min_width=20)
            for left, right in rows:
                table.add_row(Text(left, "bold cyan"), Text(right))
            console.print(f"[bold yellow]{heading}[/]")
            console.print(Padding(table, (0, 0, 1, 2)))

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            with contextlib.suppress(OSError, ValueError):  # what is still buffered has nowhere to go either
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(128 + 13) from None
        return result

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run, and end the process with the exit codes that the module's docstring lists."""
        run = partial(super().main, args, prog_name, complete_var, False, windows_expand_args, **extra)
        if not standalone_mode:
            return run()
        try:
            code = run()
        except Exception as error:
            sentence = explain_error(error)
            if sentence is None:
                raise
            _say(sentence)
            sys.exit(2)
        sys.exit(code if isinstance(code, int) else 0)


def load_verb(name: str) -> Any:
    """The command of one verb of ``VERBS``; this is what imports its file."""
    command = typer.main.get_command(import_module(f"limner.cli.{name}").app)
    # typer gives every app the options that install completion; one place for them is enough.
    command.params = [param for param in command.params if not str(param.name).endswith("_completion")]
    command.context_settings.setdefault("help_option_names", ["-h", "--help"])
    return command


def explain_error(error: BaseException) -> str | None:
    """What to tell the person at the keyboard, or None where only a traceback helps.

    Args:
        error: anything that a verb let rise.
    """
    match error:
        case LimnerError():
            return f"{type(error).__name__}: {error}"
        case typer.Abort():
            return "Stopped."
        case MemoryError():
            return _no_memory("memory")
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return f"Error: the disk is full{_at(error)}. Free some space or choose another folder."
        case OSError() if error.filename is not None and error.strerror:
            return f"Error: {os.fsdecode(error.filename)} cannot be used: {error.strerror}. Check the path and its permissions."
        case _ if hasattr(error, "format_message"):  # a usage error; its class is private to typer
            return _usage(error)
        case _ if type(error).__name__ == "OutOfMemoryError":  # torch's, which need not be loaded to be known
            return _no_memory("the accelerator's memory")
        case RuntimeError() if "can't allocate memory" in str(error):
            return _no_memory("memory")
        case _ if "No space left on device" in str(error):  # safetensors tells it in words only
            return "Error: the disk is full. Free some space or choose another folder."
        case _:
            return None


def _no_memory(which: str) -> str:
    return f"Error: {which} ran out. Choose a smaller model, a smaller batch or a shorter context."


def _at(error: OSError) -> str:
    return f" (writing {os.fsdecode(error.filename)})" if error.filename is not None else ""


def _usage(error: Any) -> str:
    message = str(error.format_message()).strip()
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "limner"
    return f"Error: {message}\nTry: {path} --help"


def _say(sentence: str) -> None:
    with contextlib.suppress(OSError):
        head, colon, rest = sentence.partition(":")
        if sys.stderr.isatty() and colon and "NO_COLOR" not in os.environ:
            head = f"\033[1;31m{head}\033[0m"
        print(head + colon + rest, file=sys.stderr)


app = typer.Typer(
    name="limner",
    cls=LazyVerbs,
    help="learn from your words, make new ones, and look inside while it happens.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _limner(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show limner's version and exit.")] = False,
) -> None:
    if version:
        print(f"limner {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


def main() -> None:
    """The command's entry point."""
    app(prog_name="limner")
