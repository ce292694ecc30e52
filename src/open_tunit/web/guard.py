"""Who may ask the page: requests to other host names are refused, and those without the password."""

from __future__ import annotations

import base64
import hmac
import ipaddress
from typing import Any

POLICY = "; ".join([
    "default-src 'self'", "script-src 'self' 'unsafe-inline' 'unsafe-eval'", "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:", "media-src 'self' data: blob:", "font-src 'self' data:",
    "connect-src 'self' data: blob:", "worker-src 'self' blob:", "object-src 'none'", "base-uri 'self'",
])  # fmt: skip
"""The browser may load what this server sends, and nothing else."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
STARTUP = "/gradio_api/startup-events"
"""What Gradio asks of itself, without our password; it gives nothing away."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens at `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def credentials(auth: str | None) -> str | None:
    """The Authorization header of HTTP Basic for USER:PASSWORD. Raises ValueError for anything else."""
    if auth is None:
        return None
    user, colon, password = auth.partition(":")
    if not user or not colon or not password:
        raise ValueError("auth needs a user and a password, as in --auth USER:PASSWORD")
    return "Basic " + base64.b64encode(auth.encode()).decode()


class Guard:
    """ASGI middleware: checks Host and password, and adds the policy to every answer.

    `host` is where the page listens. On a loopback address the Host header must name one: a foreign page could lead its
    own name here (DNS rebinding) and read along.
    """

    def __init__(self, app: Any, host: str, authorization: str | None) -> None:
        self.app, self.authorization = app, authorization
        self.hosts = (*LOOPBACK, host) if is_loopback(host) else None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if self.hosts is not None and _name(headers.get(b"host", "")) not in self.hosts:
            await _refuse(scope, send, 421, b"This page answers to localhost only.")
        elif not self._may_enter(scope["path"], headers.get(b"authorization", "")):
            await _refuse(scope, send, 401, b"A user and a password are needed.")
        else:
            await self.app(scope, receive, _with_policy(send))

    def _may_enter(self, path: str, given: str) -> bool:
        wanted = self.authorization
        return wanted is None or path == STARTUP or hmac.compare_digest(given.encode(), wanted.encode())


def _name(host: str) -> str:
    """The name of a Host header, without the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


async def _refuse(scope: Any, send: Any, status: int, text: bytes) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(text)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="open-tunit", charset="UTF-8"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def _with_policy(send: Any) -> Any:
    async def send_with_policy(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = [(b"content-security-policy", POLICY.encode()), (b"referrer-policy", b"no-referrer")]
            message = {**message, "headers": [*message.get("headers", []), *headers]}
        await send(message)

    return send_with_policy
