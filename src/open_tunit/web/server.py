"""Serving the page: one process, nothing sent anywhere, nothing kept."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

from open_tunit.model import TUNIT
from open_tunit.web.guard import Guard, credentials, is_loopback
from open_tunit.web.studio import Studio
from open_tunit.web.uploads import MAX_BYTES

KEPT_SECONDS, DELETED_EVERY_SECONDS = 15 * 60, 60
"""Age at which uploads and results are deleted, and how often that is looked at."""
QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_SHARE": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
}
"""What keeps Gradio and its libraries from calling home; read when they are imported."""


def serve(
    models: Mapping[str, tuple[TUNIT, Path]],
    *,
    host: str,
    port: int,
    auth: str | None = None,
) -> None:
    """Serve the page until Ctrl-C or SIGTERM; then every upload and result is deleted.

    Each model has a page, the first one at the address itself, with a folder of examples, which may be missing. `auth`
    is USER:PASSWORD. Raises ValueError for an address where nothing can listen.
    """
    authorization = credentials(auth)
    _check_free(host, port)
    with tempfile.TemporaryDirectory(prefix="open-tunit-") as folder:
        os.environ |= {**QUIET, "GRADIO_TEMP_DIR": folder}
        from starlette.middleware import Middleware

        from open_tunit.web.look import CSS, THEME
        from open_tunit.web.page import build_page

        address = f"http://{host if host != '0.0.0.0' else socket.gethostname()}:{port}"
        studios = {name: Studio(model.eval(), examples) for name, (model, examples) in models.items()}
        page = build_page(studios, deletion=(DELETED_EVERY_SECONDS, KEPT_SECONDS), address=address)
        guard = Middleware(Guard, host=host, authorization=authorization)
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
            allowed_paths=[str(examples) for _, examples in models.values()],
            prevent_thread_lock=True,
            theme=THEME,
            css=CSS,
            app_kwargs={"middleware": [guard], "docs_url": None, "redoc_url": None},
        )
        if not is_loopback(host) and auth is None:
            print("warning: whoever reaches this address may use the page; --auth USER:PASSWORD asks for a password")
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
