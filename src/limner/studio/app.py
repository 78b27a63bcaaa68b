"""The studio as an ASGI application: requests to handlers, jobs to the worker, events to the page as they come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Any

from limner.core.errors import DataError
from limner.studio import endpoints
from limner.studio.guard import App, Guard, Receive, Scope, Send
from limner.studio.pages import find_page, missing_page
from limner.studio.wire import (
    JSON_BYTES,
    TRACE_BYTES,
    Endpoint,
    Event,
    parse_json,
    read_request,
    sentence,
    to_event,
    to_json,
)
from limner.studio.worker import GoneError, Job
from limner.studio.worker import Message as Told

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from limner.studio.state import Studio

logger = logging.getLogger("limner.studio")

PING = 15.0  # seconds between signs of life in a stream
QUIET = b": still here\n\n"  # an event that nobody is told of
STREAM = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]
OURS = "limner made a mistake of its own; the terminal in which the studio runs shows where. Please report it."
BROKEN_OFF = 499  # as nginx has it
CLOSED = "the studio was closed while it computed. Start it again with `limner studio`."


class _TooLargeError(Exception):
    """The body of a request is larger than is read."""


def make_app(studio: Studio, *, host: str = "127.0.0.1", key: str | None = None) -> Guard:
    """The application. It starts the worker itself, and ends it.

    Args:
        host: what it listens on.
        key: what every request must bring; None: nothing.
    """
    from contextlib import asynccontextmanager

    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.responses import FileResponse, HTMLResponse
    from starlette.routing import Route

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        studio.worker.start()
        yield
        studio.closing.set()
        await asyncio.to_thread(studio.worker.close)

    async def page(request: Request) -> Response:
        studio.worker.touch()
        path = request.path_params["path"]
        if path.startswith("api/"):
            if any(route.path_regex.match(f"/{path}") for route in asked):
                return _failure(
                    405, f"{'/' + path!r:.80} is asked with GET, but it answers to POST alone. Send a POST."
                )
            known = "but docs/studio.md lists what can be asked"
            return _failure(404, f"there is no {'/' + path!r:.80}, {known}. Correct the address.")
        found = find_page(studio.pages, path)
        if found is not None:
            return FileResponse(found.file, media_type=found.kind, headers={"cache-control": found.keep})
        if (studio.pages / "index.html").is_file():
            return _failure(404, f"there is no page {'/' + path!r:.80}. Go back to the studio's first page.")
        return HTMLResponse(missing_page(), 503)

    async def refused(request: Request, problem: Exception) -> Response:
        assert isinstance(problem, HTTPException)
        method, path = request.method, request.url.path
        said = {405: f"{path!r:.80} is asked with {method}, but it does not answer to that. Use the other method."}
        return _failure(problem.status_code, said.get(problem.status_code, str(problem.detail)))

    def route(endpoint: Endpoint) -> Route:
        return Route(endpoint.path, partial(_answer, studio, endpoint), methods=[endpoint.method])

    asked = [route(endpoint) for endpoint in endpoints.ALL]
    routes = [*asked, Route("/{path:path}", page, methods=["GET"])]
    app: App = Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: refused})
    return Guard(app, host=host, key=key)


# ── one request ────────────────────────────────────────────────────────────────────────────────────────


async def _answer(studio: Studio, endpoint: Endpoint, request: Request) -> Any:
    """What a handler says, as JSON, as a file or as a stream of events."""
    from starlette.requests import ClientDisconnect

    studio.worker.touch()
    try:
        ask = await _read(endpoint, request)
        if endpoint.at_hand is not None:
            found = await asyncio.to_thread(endpoint.at_hand, studio, ask)
            if found is not None:
                return _success(endpoint, found)
        if not endpoint.computes:
            job = Job("", lambda job: None, lambda message: None)
            said = await asyncio.to_thread(endpoint.handle, studio, ask, job)
            return _Stream(studio, said) if endpoint.answers == "events" else _success(endpoint, said)
    except _TooLargeError as problem:
        return _failure(413, str(problem))
    except ClientDisconnect:  # while it sent the request: nobody reads this, and nothing went wrong here
        return _failure(BROKEN_OFF, "the request broke off, but only a whole one can be answered. Send it again.")
    except Exception as problem:
        return _explained(problem)

    told: asyncio.Queue[Told] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def tell(message: Told) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(told.put_nowait, message)

    job = Job(request.scope["limner.visitor"], lambda job: endpoint.handle(studio, ask, job), tell)
    return _Answer(studio, endpoint, job, told)


class _Answer:
    """Waits for a job and sends what comes of it; ends the job when the browser leaves.

    Until the first event nothing is sent, so that what is wrong from the beginning has a status that says so.
    """

    def __init__(self, studio: Studio, endpoint: Endpoint, job: Job, told: asyncio.Queue[Told]) -> None:
        self.studio, self.endpoint, self.job, self.told = studio, endpoint, job, told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.studio.worker.submit(self.job)
        leaving = asyncio.create_task(_left(receive))
        answering = asyncio.create_task(self._send_all(scope, receive, send))
        try:
            await asyncio.wait({leaving, answering}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.studio.worker.leave(self.job)
            leaving.cancel()
            if not answering.done():
                answering.cancel()
            await asyncio.gather(leaving, answering, return_exceptions=True)
        if not answering.cancelled() and (problem := answering.exception()) is not None:
            raise problem

    async def _send_all(self, scope: Scope, receive: Receive, send: Send) -> None:
        events = self.endpoint.answers == "events"
        begun = False
        while True:
            try:
                kind, said = await asyncio.wait_for(self.told.get(), PING if begun else None)
            except TimeoutError:
                await send({"type": "http.response.body", "body": QUIET, "more_body": True})
                continue
            if kind == "event" and not events:
                continue  # how long it takes cannot be told in an answer that is one whole
            if not begun and (kind == "failed" or not events):
                answer = _explained(said) if kind == "failed" else _success(self.endpoint, said)
                await answer(scope, receive, send)
                return
            if not begun:
                begun = True
                await send({"type": "http.response.start", "status": 200, "headers": STREAM})
            body = b""
            if kind == "event":
                body = to_event(*said)
            elif kind == "failed":
                body = to_event("error", {"error": _say(said)[1]})
            else:
                body = to_event("done", said)
            await send({"type": "http.response.body", "body": body, "more_body": kind == "event"})
            if kind != "event":
                return


class _Stream:
    """Sends events as something else has them, until the browser leaves or the studio is closed."""

    def __init__(self, studio: Studio, events: AsyncIterator[Event | None]) -> None:
        self.studio, self.events = studio, events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": STREAM})
        sending = asyncio.create_task(self._send_all(send))
        ending = [asyncio.create_task(_left(receive)), asyncio.create_task(self.studio.closing.wait())]
        try:
            await asyncio.wait({sending, *ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, *ending):
                task.cancel()
            await asyncio.gather(sending, *ending, return_exceptions=True)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_all(self, send: Send) -> None:
        try:
            async for event in self.events:
                body = QUIET if event is None else to_event(*event)
                await send({"type": "http.response.body", "body": body, "more_body": True})
        except Exception as problem:
            body = to_event("error", {"error": _say(problem)[1]})
            await send({"type": "http.response.body", "body": body, "more_body": True})


async def _left(receive: Receive) -> None:
    """Returns when the browser is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read(endpoint: Endpoint, request: Request) -> Any:
    if endpoint.asks is None:
        return None
    if endpoint.method == "GET":
        return read_request(endpoint.asks, {**request.query_params, **request.path_params})
    if endpoint.asks is bytes:
        return await _body(request, TRACE_BYTES)
    values = parse_json(await _body(request, JSON_BYTES))
    if request.path_params and isinstance(values, dict):
        values = {**values, **request.path_params}
    return read_request(endpoint.asks, values)


async def _body(request: Request, most: int) -> bytes:
    """The body, no byte more than ``most`` of which is ever in memory."""
    size, parts = 0, []
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise _TooLargeError(f"the request is more than {most:,} bytes long, but no more are read. Send less.")
        parts.append(part)
    if not size:
        raise DataError("the request is empty, but something must be asked. Send an object, or a trace file.")
    return b"".join(parts)


# ── what came of it ────────────────────────────────────────────────────────────────────────────────────


def _success(endpoint: Endpoint, said: Any) -> Response:
    from starlette.responses import Response

    kind = "application/octet-stream" if endpoint.answers == "bytes" else "application/json; charset=utf-8"
    content = said if endpoint.answers == "bytes" else to_json(said)
    return Response(content, media_type=kind, headers={"cache-control": "no-store"})


def _failure(status: int, said: str) -> Response:
    from starlette.responses import Response

    return Response(
        to_json({"error": said}), status, media_type="application/json", headers={"cache-control": "no-store"}
    )


def _explained(problem: BaseException) -> Response:
    return _failure(*_say(problem))


def _say(problem: BaseException) -> tuple[int, str]:
    """The status and the sentence for an error."""
    if isinstance(problem, GoneError):
        return 503, CLOSED
    said = sentence(problem)
    if said is not None:
        return 400, said
    logger.error("%s", OURS, exc_info=problem)
    return 500, OURS
