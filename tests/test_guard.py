"""guard.py: which requests reach the page."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from open_tunit.web.guard import STARTUP, Guard, credentials, is_loopback


def _ask(guard: Guard, host: str | None, authorization: str | None = None, path: str = "/", kind: str = "http") -> Any:
    """The status, or the websocket's close, of a request through the guard."""
    headers = [] if host is None else [(b"host", host.encode())]
    if authorization is not None:
        headers.append((b"Authorization", authorization.encode()))
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(guard({"type": kind, "path": path, "headers": headers}, None, send))
    if kind == "http" and sent[0]["status"] == 200:
        assert dict(sent[0]["headers"])[b"referrer-policy"] == b"no-referrer"
    return sent[0].get("status", sent[0]["type"])


async def _page(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


@pytest.mark.parametrize("host", ["localhost", "localhost:7860", "127.0.0.1:7860", "[::1]:7860", "LOCALHOST"])
def test_the_machines_own_names_are_let_through(host: str) -> None:
    assert _ask(Guard(_page, "127.0.0.1", None), host) == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "", None, "[::2]"])
def test_other_names_are_refused_on_a_loopback_address(host: str | None) -> None:
    assert _ask(Guard(_page, "127.0.0.1", None), host) == 421
    assert _ask(Guard(_page, "localhost", None), host, kind="websocket") == "websocket.close"
    assert _ask(Guard(_page, "0.0.0.0", None), host) == 200


def test_the_password() -> None:
    wanted = credentials("me:pa:ss")
    assert wanted == "Basic " + base64.b64encode(b"me:pa:ss").decode()
    guard = Guard(_page, "0.0.0.0", wanted)
    assert _ask(guard, "host", wanted) == 200
    for wrong in (None, "", "Basic bWU6eA==", "é", "Bearer x"):
        assert _ask(guard, "host", wrong) == 401
    assert _ask(guard, "host", path=STARTUP) == 200
    assert credentials(None) is None
    for bad in ("", "me", "me:", ":pass"):
        with pytest.raises(ValueError, match="USER:PASSWORD"):
            credentials(bad)


def test_loopback_addresses() -> None:
    hosts = ("127.0.0.1", "127.9.9.9", "::1", "localhost", "0.0.0.0", "192.168.1.2", "my.house")
    assert [is_loopback(host) for host in hosts] == [True] * 4 + [False] * 3
