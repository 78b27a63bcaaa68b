"""Who may ask the studio: whoever sits at this machine, or knows the key; never a page of somebody else.

A page on the internet that is open in the same browser can send requests to this machine, too. Three things keep it out:
the Host header must name this machine (or else a foreign name, made to point here, would count as the studio itself: DNS
rebinding), the Origin header must be the studio's own, and a browser that says where a request comes from
(``Sec-Fetch-Site``) must say that it is the studio.
"""

from __future__ import annotations

import hmac
import ipaddress
import platform
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from limner.core.errors import ConfigError
from limner.studio.wire import to_json

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SHORTEST_KEY = 16  # characters
VISITOR = "limner-visitor"
POLICY = (
    # No 'unsafe-inline' for scripts. Styles need it: charts write <style> into their own SVG.
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address to listen on."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def make_key() -> str:
    """A key that nobody guesses: 128 bits."""
    return secrets.token_urlsafe(16)


def check_key(key: str) -> str:
    """The key.

    Raises:
        ConfigError: it is short, or cannot stand in a cookie.
    """
    if len(key) < SHORTEST_KEY or not all(c.isascii() and (c.isalnum() or c in "-_") for c in key):
        raise ConfigError(
            f"the key is {len(key)} characters long, but it has {SHORTEST_KEY} or more letters, digits, - and _, for whoever "
            "knows it can use this machine. Leave it out, and one is made."
        )
    return key


class Guard:
    """Lets in what may come in, and adds to every answer what keeps the browser on its guard.

    Args:
        app: what is guarded.
        host: what the studio listens on.
        key: what every request must bring, in a cookie, as ``Authorization: Bearer …``, or once as ``?key=…``, which sets the
            cookie; None: nothing.
    """

    def __init__(self, app: App, *, host: str = "127.0.0.1", key: str | None = None) -> None:
        self.app, self.host, self.key = app, host.lower(), key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        if scope["type"] != "http":
            return
        asked = _Asked(scope)
        refusal = self._refusal(asked)
        if refusal is not None:
            status, said = refusal
            await _answer(send, status, said)
            return
        if self.key is not None and "key" in asked.query:
            await self._set_key(asked, send)
            return
        visitor = asked.cookies.get(VISITOR, "")
        known = len(visitor) == 32 and visitor.isalnum()
        if not known:
            visitor = secrets.token_hex(16)
        # Without cookies, everybody at one address is one visitor.
        asks_with_cookies = known or asked.is_page
        scope["limner.visitor"] = visitor if asks_with_cookies else str((scope.get("client") or ("",))[0])

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", []), *_encoded(HEADERS)]
                if not known and asked.is_page:
                    headers.append((b"set-cookie", f"{VISITOR}={visitor}; Path=/; HttpOnly; SameSite=Strict".encode()))
                message["headers"] = headers
            await send(message)

        await self.app(scope, receive, guarded)

    def _refusal(self, asked: _Asked) -> tuple[int, str] | None:
        """Why a request is not answered, with its status; None: it is."""
        if not self._is_own(asked.host):
            return 403, (
                f"the request is for the host {asked.host!r:.60}, but this studio answers at {self._names()} only. "
                "Open the address that it printed."
            )
        origin = asked.headers.get("origin")
        if origin is not None and origin.partition("://")[2].lower() != asked.headers.get("host", "").lower():
            return (
                403,
                f"the request comes from {origin!r:.80}, but only the studio's own pages may ask. Open the studio.",
            )
        site = asked.headers.get("sec-fetch-site")
        if site not in (None, "same-origin", "none") and not asked.navigates:
            return 403, "the request comes from another site, but only the studio's own pages may ask. Open the studio."
        if self.key is not None and not any(
            hmac.compare_digest(given.encode(), self.key.encode()) for given in self._given(asked)
        ):
            return 401, (
                "the key is missing or wrong, but this studio can be reached by others and answers only those who have it. "
                "Open the address with ?key=… that it printed where it was started."
            )
        return None

    def _given(self, asked: _Asked) -> list[str]:
        """Every key that a request brings."""
        found = [asked.query.get("key", ""), asked.cookies.get(self._cookie(asked), "")]
        kind, _, value = asked.headers.get("authorization", "").partition(" ")
        return [key for key in [*found, value if kind.lower() == "bearer" else ""] if key]

    def _is_own(self, host: str) -> bool:
        if host in ("localhost", self.host):
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            # What others call this machine counts only where others may ask, who need the key.
            return self.key is not None and host in _machine_names()
        return address.is_loopback or self.key is not None

    def _names(self) -> str:
        return "localhost" if self.key is None else f"its address and {platform.node() or 'localhost'}"

    def _cookie(self, asked: _Asked) -> str:
        return f"limner-key-{asked.port}"  # browsers do not keep the cookies of two ports apart

    async def _set_key(self, asked: _Asked, send: Send) -> None:
        """Answer a visit with the right ``?key=…``: keep it in a cookie, and lead on to the address without it."""
        assert self.key is not None
        rest = "&".join(part for part in asked.raw_query.split("&") if part and not part.startswith("key="))
        path = "/" + asked.raw_path.lstrip("/\\")  # with two, it would lead to another host
        # Lax, not Strict: whoever follows a link to this address from a letter comes from another site.
        headers = HEADERS | {
            "location": f"{path}?{rest}" if rest else path,
            "set-cookie": f"{self._cookie(asked)}={self.key}; Path=/; HttpOnly; SameSite=Lax",
            "cache-control": "no-store",
        }
        await send({"type": "http.response.start", "status": 303, "headers": _encoded(headers)})
        await send({"type": "http.response.body", "body": b""})


def _machine_names() -> set[str]:
    node = platform.node().lower()
    short = node.partition(".")[0]
    return {name for name in (node, short, f"{short}.local") if short}


class _Asked:
    """What of a request decides whether it is answered."""

    def __init__(self, scope: Scope) -> None:
        # Of a header that is there twice, both count; nothing we know is allowed twice, so the request is then refused.
        self.headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text
        host = self.headers.get("host", "").lower()
        bracket = host.rfind("]")
        name, colon, port = host.rpartition(":") if host.rfind(":") > bracket else (host, "", "")
        self.host = name.strip("[]")
        self.port = port if colon and port.isdigit() else "80"
        self.raw_query: str = scope.get("query_string", b"").decode("latin-1")
        pairs = (part.partition("=") for part in self.raw_query.split("&"))
        self.query = {name: value for name, _, value in pairs if name}
        cookies = (part.strip().partition("=") for part in self.headers.get("cookie", "").split(";"))
        self.cookies = {name: value for name, _, value in cookies if name}
        self.raw_path: str = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
        self.is_page = scope["method"] == "GET" and not scope["path"].startswith("/api/")
        self.navigates = self.is_page and self.headers.get("sec-fetch-mode", "navigate") == "navigate"


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]


async def _answer(send: Send, status: int, said: str) -> None:
    headers = HEADERS | {"content-type": "application/json; charset=utf-8", "cache-control": "no-store"}
    await send({"type": "http.response.start", "status": status, "headers": _encoded(headers)})
    await send({"type": "http.response.body", "body": to_json({"error": said})})
