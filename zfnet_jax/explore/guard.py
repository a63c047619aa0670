"""Who may ask: this machine alone, or who has the token; and no page of another site."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import secrets
import urllib.parse
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

# Nothing is loaded from elsewhere, and nobody frames the page.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:;"
    " media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cache-control": "no-store",
}
TOKEN = "token"  # in the link that is printed


class Guard:
    """Turns away what a person before the page would not ask, and sets headers on all answers.

    A site that a person visits could ask this machine through the browser: directly (its Origin
    and Sec-Fetch-Site tell), or with a name of its own that it lets point here (DNS rebinding, its
    Host tells).

    Args:
      token: whoever has it may ask, by any name of this machine; None where only the machine's
        loopback is listened to.
    """

    def __init__(self, app: App, token: str | None) -> None:
        self._app, self._token = app, token
        # Browsers tell servers apart by host, not by port.
        self._cookie = f"explore_{hashlib.sha256((token or '').encode()).hexdigest()[:8]}"

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): v.decode("latin-1") for name, v in scope["headers"]}

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = dict(message.get("headers", []))
                more = {name.encode(): value.encode() for name, value in HEADERS.items()}
                message = {**message, "headers": [*(more | own).items()]}
            await send(message)

        if refused := self._foreign(scope, headers):
            await _answer(sent, 403, refused)
        elif self._token is None or self._knows(headers):
            await self._app(scope, receive, sent)
        elif self._is_token(_query(scope).get(TOKEN, "")):
            await self._welcome(sent)
        else:
            await _answer(
                sent, 401, "open the link that scripts.explore has printed: it has the token"
            )

    def _foreign(self, scope: Message, headers: dict[str, str]) -> str | None:
        """Why a request is no person's before the page; None if it may be."""
        host = headers.get("host", "")
        if self._token is None and not is_loopback(_name(host)):
            return f"this is no name of this machine's loopback: {host[:80]!r}"
        origin = headers.get("origin")
        if origin is not None and urllib.parse.urlsplit(origin).netloc != host:
            return f"another site asks: {origin[:80]!r}"
        inside = scope["path"] != "/"
        if inside and headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return "another site asks"
        return None

    def _knows(self, headers: dict[str, str]) -> bool:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return False
        return cookie is not None and self._is_token(cookie.value)

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), (self._token or "").encode())

    async def _welcome(self, send: Send) -> None:
        """To the page, without the token in its address."""
        cookie = f"{self._cookie}={self._token}; HttpOnly; SameSite=Lax; Path=/"
        headers = [(b"location", b"/"), (b"set-cookie", cookie.encode())]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def new_token() -> str:
    return secrets.token_urlsafe(24)


def is_loopback(name: str) -> bool:
    """Whether a host's name or address is this machine's own to itself."""
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    """Of a Host header, without the port."""
    try:
        return urllib.parse.urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _query(scope: Message) -> dict[str, str]:
    return dict(urllib.parse.parse_qsl(scope.get("query_string", b"").decode("latin-1")))


async def _answer(send: Send, status: int, error: str) -> None:
    body = json.dumps({"error": error}).encode()
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
