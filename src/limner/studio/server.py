"""Serving the studio: one address, a clear word where it is taken, a clean end with Ctrl-C."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from limner.core.errors import ConfigError, MissingExtraError
from limner.studio.guard import check_key, is_loopback, make_key

PORT = 8410
FAREWELL = 2  # seconds that connections have to end by themselves


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    runs: Path = Path("runs"),
    device: str = "cpu",
    key: str | None = None,
    ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve the studio until Ctrl-C.

    Args:
        host: what to listen on. Where others can reach it, every request must bring a key.
        port: 0: any that is free.
        key: the key; None: one is made if it is needed.
        ready: called with the address to open, once there is an answer there.
    Raises:
        ConfigError: the port is taken or may not be used, or the host is no address of this machine; a key that is too
            short.
        MissingExtraError: the libraries of the extra ``studio`` are not installed.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ImportError as problem:
        raise MissingExtraError(str(problem.name), "studio", "the studio") from None
    from limner.studio.app import make_app
    from limner.studio.state import Studio

    if not 0 <= port <= 65_535:
        raise ConfigError(f"port is {port}, but ports run from 0 to 65535. Choose one of them; 0 is any that is free.")
    key = check_key(key) if key is not None else None if is_loopback(host) else make_key()
    studio = Studio(runs, device=device)

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            try:
                await super().startup(sockets)
            except SystemExit as end:  # how uvicorn says that it cannot listen
                problem = end.__context__
                raise (_cannot_listen(host, port, problem) if isinstance(problem, OSError) else end) from None
            chosen = int(self.servers[0].sockets[0].getsockname()[1])
            ready(address(host, chosen, key))

        async def shutdown(self, sockets: Any = None) -> None:
            studio.closing.set()  # streams that follow something have no end of their own
            studio.worker.cancel()
            await super().shutdown(sockets)

    config = uvicorn.Config(
        make_app(studio, host=host, key=key),
        host=host,
        port=port,
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="on",
        timeout_graceful_shutdown=FAREWELL,
    )
    Server(config).run()


def address(host: str, port: int, key: str | None) -> str:
    """What to type into the browser on this machine."""
    shown = "localhost" if host in ("0.0.0.0", "::", "127.0.0.1", "::1") else host
    shown = f"[{shown}]" if ":" in shown else shown
    return f"http://{shown}:{port}/" + (f"?key={key}" if key is not None else "")


def _cannot_listen(host: str, port: int, problem: OSError) -> ConfigError:
    if problem.errno == errno.EADDRINUSE:
        return ConfigError(
            f"port is {port}, but something listens there already, perhaps another studio. Open that one, or choose "
            "another port with --port (0: any that is free)."
        )
    if problem.errno in (errno.EACCES, errno.EPERM):
        return ConfigError(f"port is {port}, but this account may not listen there. Choose 1024 or more with --port.")
    why = os.strerror(problem.errno) if problem.errno and problem.errno > 0 else str(problem.strerror or problem)
    return ConfigError(
        f"host is {host!r}, but this machine cannot listen there: {why}. Choose 127.0.0.1, or 0.0.0.0 for everybody."
    )
