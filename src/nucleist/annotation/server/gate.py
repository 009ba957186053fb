"""The one gate before every route: what is not known to be the person's own page is refused.

Pure ASGI, so that nothing reaches a route around it: not a WebSocket either, which middleware of
frameworks lets through.
"""

import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

MOST_BYTES = 4 * 1024**2
"""Largest body of a request."""

_SAFE = ("GET", "HEAD")
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data: blob:; worker-src 'self' blob:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class TooLargeError(Exception):
    """More bytes came than were announced, or than are read."""


class Gate:
    """Refuses requests that are not from the person's own page.

    Args:
        app: What is behind it.
        token: Secret of this server, in the address once, then in a cookie.
        port: Of the server; the host is 127.0.0.1 or localhost.
    """

    def __init__(self, app: App, token: str, port: int):
        self._app, self._token, self._port = app, token, port
        self._hosts = (f"127.0.0.1:{port}", f"localhost:{port}")
        self.cookie = f"nucleist-{port}"

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            raise ValueError(f"a request of the kind {scope['type']!r}")

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): v.decode("latin-1") for name, v in scope["headers"]}
        refused = self._refused(scope, headers)
        if refused is not None:
            await _refuse(send, *refused)
        elif self._has_token(scope):
            await self._enter(send)
        elif not self._has_cookie(headers.get("cookie", "")):
            await _refuse(send, 401, "open the address that nucleist annotate printed")
        else:
            await self._pass(scope, receive, send)

    def _refused(self, scope: Message, headers: dict[str, str]) -> tuple[int, str] | None:
        """Status and words for what no token helps."""
        host = headers.get("host", "")
        if host not in self._hosts:  # another name that leads here: DNS rebinding
            return 403, "this server answers on this computer alone"
        path = scope.get("raw_path") or scope["path"].encode()
        if any(part in path.lower() for part in (b"..", b"%2e", b"%2f", b"%5c", b"\\", b"//")):
            return 400, "no such address"
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            return 403, "not from another page"
        site = headers.get("sec-fetch-site")
        if site not in (None, "same-origin", "none"):
            return 403, "not from another page"
        if scope["method"] in _SAFE:
            return None
        if scope["method"] != "POST":
            return 405, "no such method"
        if origin is None and site != "same-origin":
            return 403, "not from another page"
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return 415, "send JSON"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            return 413, "too much at once"
        return None

    def _has_token(self, scope: Message) -> bool:
        if scope["path"] != "/" or scope["method"] != "GET":
            return False
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])
        return hmac.compare_digest(given[0].encode(), self._token.encode())

    def _has_cookie(self, header: str) -> bool:
        try:
            found = SimpleCookie(header).get(self.cookie)
        except CookieError:
            return False
        given = found.value if found else ""
        return hmac.compare_digest(given.encode(), self._token.encode())

    async def _enter(self, send: Send) -> None:
        """The token goes into a cookie, and out of the address."""
        cookie = f"{self.cookie}={self._token}; HttpOnly; SameSite=Strict; Path=/; Max-Age=2592000"
        more = [(b"location", b"/"), (b"set-cookie", cookie.encode())]
        await _answer(send, 303, b"", more)

    async def _pass(self, scope: Message, receive: Receive, send: Send) -> None:
        count = 0
        began = False

        async def counted() -> Message:
            nonlocal count
            message = await receive()
            count += len(message.get("body", b""))
            if count > MOST_BYTES:
                raise TooLargeError
            return message

        async def with_headers(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                message["headers"] = [*message.get("headers", ()), *_headers()]
            await send(message)

        try:
            await self._app(scope, counted, with_headers)
        except TooLargeError:
            if not began:
                await _refuse(send, 413, "too much at once")


def _headers() -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in _HEADERS.items()]


async def _refuse(send: Send, status: int, words: str) -> None:
    await _answer(send, status, json.dumps({"error": words}).encode(), [])


async def _answer(send: Send, status: int, body: bytes, more: list[tuple[bytes, bytes]]) -> None:
    length = (b"content-length", str(len(body)).encode())
    kind = (b"content-type", b"application/json")
    close = [(b"connection", b"close")] if status == 413 else []  # the rest is not read
    headers = [*_headers(), length, kind, (b"cache-control", b"no-store"), *close, *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
