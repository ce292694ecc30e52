"""evaluation/features/weights_download.py against a server of this machine, with a stand-in file."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from open_tunit.evaluation.features.weights_download import fetch

CONTENT = bytes(range(256)) * 50
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class _Server(ThreadingHTTPServer):
    """Serves `content`, resuming or not, and remembers what was asked of it."""

    def __init__(self) -> None:
        self.content, self.resumes, self.asked = CONTENT, True, []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights.pth"


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.server.resumes else 0
        if start >= len(self.server.content):
            self.send_error(416)
            return
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[_Server]:
    server = _Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_file_is_fetched_once(server: _Server, tmp_path: Path) -> None:
    target = tmp_path / "cache" / "weights.pth"
    assert fetch(server.url, target, SHA256[:8]) == target
    assert target.read_bytes() == CONTENT
    fetch(server.url, target, SHA256[:8])
    assert server.asked == [None]
    assert [path.name for path in target.parent.iterdir()] == ["weights.pth"]


@pytest.mark.parametrize("resumes", [True, False])
@pytest.mark.parametrize("have", [100, len(CONTENT)])
def test_a_killed_download_is_resumed_or_begun_anew(server: _Server, tmp_path: Path, resumes: bool, have: int) -> None:
    server.resumes = resumes
    target = tmp_path / "weights.pth"
    (tmp_path / "weights.pth.part").write_bytes(CONTENT[:have])
    assert fetch(server.url, target, SHA256[:8]).read_bytes() == CONTENT
    assert server.asked == [f"bytes={have}-"]


def test_a_wrong_beginning_is_not_trusted(server: _Server, tmp_path: Path) -> None:
    (tmp_path / "weights.pth.part").write_bytes(b"x" * 100)
    assert fetch(server.url, tmp_path / "weights.pth", SHA256[:8]).read_bytes() == CONTENT
    assert server.asked == ["bytes=100-", None]


def test_a_damaged_file_in_the_cache_is_fetched_again(server: _Server, tmp_path: Path) -> None:
    target = tmp_path / "weights.pth"
    target.write_bytes(CONTENT[:-1])
    assert fetch(server.url, target, SHA256[:8]).read_bytes() == CONTENT


def test_another_file_is_refused_and_not_kept(server: _Server, tmp_path: Path) -> None:
    server.content = b"not these weights"
    with pytest.raises(ValueError, match=f"SHA-256 does not begin with {SHA256[:8]}"):
        fetch(server.url, tmp_path / "weights.pth", SHA256[:8])
    assert list(tmp_path.iterdir()) == []


def test_no_server(server: _Server, tmp_path: Path) -> None:
    server.shutdown()
    server.server_close()
    with pytest.raises(ValueError, match="cannot be fetched"):
        fetch(server.url, tmp_path / "weights.pth", SHA256[:8])
    assert not (tmp_path / "weights.pth").exists()
