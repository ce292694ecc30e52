"""Serving the page: one process, nothing sent anywhere, nothing kept."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import threading
from pathlib import Path
from typing import Any

from open_tunit.model import TUNIT
from open_tunit.web.studio import Studio
from open_tunit.web.uploads import MAX_BYTES

KEPT_SECONDS = 15 * 60
QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_SHARE": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
}
"""What keeps Gradio and its libraries from calling home; read when they are imported."""
POLICY = "; ".join([
    "default-src 'self'", "script-src 'self' 'unsafe-inline' 'unsafe-eval'", "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:", "media-src 'self' data: blob:", "font-src 'self' data:",
    "connect-src 'self' data: blob:", "worker-src 'self' blob:", "object-src 'none'", "base-uri 'self'",
])  # fmt: skip
"""The browser may load what this server sends, and nothing else."""


def serve(model: TUNIT, *, examples: Path, host: str, port: int, kept_seconds: int = KEPT_SECONDS) -> None:
    """Serve the page until Ctrl-C or SIGTERM; then every upload and result is deleted.

    `examples` may be missing. Raises ValueError for an address where nothing can listen.
    """
    _check_free(host, port)
    with tempfile.TemporaryDirectory(prefix="open-tunit-") as folder:
        os.environ |= {**QUIET, "GRADIO_TEMP_DIR": folder}
        from open_tunit.web.look import CSS, THEME
        from open_tunit.web.page import build_page

        address = f"http://{host if host != '0.0.0.0' else socket.gethostname()}:{port}"
        page = build_page(Studio(model.eval(), examples), kept_seconds=kept_seconds, address=address)
        page.launch(
            server_name=host,
            server_port=port,
            share=False,
            ssr_mode=False,
            mcp_server=False,
            run_history=False,
            enable_monitoring=False,
            pwa=False,
            inbrowser=False,
            quiet=True,
            show_error=False,
            footer_links=[],
            max_file_size=MAX_BYTES,
            allowed_paths=[str(examples)],
            prevent_thread_lock=True,
            theme=THEME,
            css=CSS,
            app_kwargs={"middleware": [_policy()], "docs_url": None, "redoc_url": None},
        )
        print(f"the page is at {address} (Ctrl-C ends it)", flush=True)
        try:
            _wait_for_the_end()
        finally:
            page.close(verbose=False)


def _check_free(host: str, port: int) -> None:
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).rstrip(".")
        raise ValueError(f"cannot listen at {host}, port {port}: {reason}; choose another --port or --host") from error


def _wait_for_the_end() -> None:
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    while not ended.wait(1):  # with a timeout, so that Windows sees Ctrl-C
        pass


def _policy() -> Any:
    from starlette.middleware import Middleware

    return Middleware(_WithPolicy)


class _WithPolicy:
    """ASGI middleware that adds the policy to every answer."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = [(b"content-security-policy", POLICY.encode()), (b"referrer-policy", b"no-referrer")]
                message = {**message, "headers": [*message.get("headers", []), *headers]}
            await send(message)

        await self.app(scope, receive, send_with_policy)
