"""``limner studio``: look inside models in the browser."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from limner.studio.server import PORT, serve
from limner.studio.worker import THREAD

app = typer.Typer()


@app.command()
def studio(
    host: Annotated[
        str, typer.Option(help="What to listen on. 0.0.0.0: others may come in, with the key that is printed.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Where; 0: any port that is free.")] = PORT,
    runs: Annotated[Path, typer.Option(help="The directory with your training runs.")] = Path("runs"),
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda, mps.")] = "cpu",
    key: Annotated[
        str | None,
        typer.Option(
            help="A key of your own that every request must bring, 16 characters or more.",
            envvar="LIMNER_STUDIO_KEY",
            show_envvar=True,
            show_default="made and printed where others may come in",
        ),
    ] = None,
    open_page: Annotated[
        bool | None,
        typer.Option("--open/--no-open", help="Open the page in a browser.", show_default="on a terminal"),
    ] = None,
) -> None:
    """Look inside models in the browser: tokens, texts, pictures and training, step by step.

    It runs on this machine and asks nothing of the network. Ctrl-C ends it.
    """
    wanted = sys.stdout.isatty() if open_page is None else open_page

    def ready(address: str) -> None:
        print(address, flush=True)
        print("The studio is open at this address; Ctrl-C closes it.", file=sys.stderr, flush=True)
        if "?key=" in address:
            print(
                "Others who can reach this machine need the key in it. What they send is not encrypted.",
                file=sys.stderr, flush=True,
            )  # fmt: skip
        if wanted:
            _open(address)

    with contextlib.suppress(KeyboardInterrupt):  # which a shell that started it in the background leaves out
        serve(host=host, port=port, runs=runs, device=device, key=key, ready=ready)
    print("The studio is closed.", file=sys.stderr, flush=True)
    if any(thread.name == THREAD for thread in threading.enumerate()):
        # It is deep in a computation, or still loading torch. There is nothing to save, and nothing to wait for.
        os._exit(0)


def _open(address: str) -> None:
    """Open a browser, if there is one; a thread of its own, for some wait until it is closed."""
    import webbrowser

    def show() -> None:
        with contextlib.suppress(webbrowser.Error, OSError):
            webbrowser.open(address)

    threading.Thread(target=show, name="limner-browser", daemon=True).start()
