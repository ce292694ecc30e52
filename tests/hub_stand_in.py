"""A stand-in for the hub, on this machine: what of its HTTP interface making, filling and reading a model needs."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_ofthestandin"


@dataclasses.dataclass
class Repository:
    """One model: its files as of each commit, the newest last."""

    private: bool
    commits: list[tuple[str, dict[str, bytes]]] = dataclasses.field(default_factory=list)

    def files(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if revision == "main":
            return self.commits[-1]
        return next((commit for commit in self.commits if commit[0] == revision), None)

    def commit(self, files: dict[str, bytes]) -> str:
        name = hashlib.sha1(str(len(self.commits)).encode()).hexdigest()
        self.commits.append((name, (self.commits[-1][1] if self.commits else {}) | files))
        return name


@dataclasses.dataclass
class StandIn:
    """What the server holds, and where it is."""

    address: str
    repositories: dict[str, Repository] = dataclasses.field(default_factory=dict)
    requests: list[str] = dataclasses.field(default_factory=list)


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """The server, for as long as the context lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.hub = StandIn(f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.hub  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> StandIn:
        return self.server.hub  # type: ignore[attr-defined,no-any-return]

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/(.+)", path):
            self._found(match[1], match[2], self._info)
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path):
            self._found(match[1], match[2], self._tree)
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._found(match[1], match[2], lambda *found: self._file(match[3], *found))
        else:
            self._json(404, {"error": "no such place"})

    def do_POST(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"POST {path}")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._json(401, {"error": "Invalid username or password."})
        elif path == "/api/validate-yaml":
            head = yaml.safe_load(json.loads(body)["content"].split("---")[1])
            errors = [] if isinstance(head.get("license"), str) else [{"message": "no license"}]
            self._json(400 if errors else 200, {"errors": errors, "warnings": []})
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif re.fullmatch(r"/api/models/[^/]+/[^/]+/preupload/main", path):
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]
            self._json(200, {"files": modes})
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            lines = [json.loads(line) for line in body.splitlines()]
            files = [line["value"] for line in lines if line["key"] == "file"]
            name = self.hub.repositories[match[1]].commit({f["path"]: base64.b64decode(f["content"]) for f in files})
            url = f"{self.hub.address}/{match[1]}/commit/{name}"
            self._json(200, {"success": True, "commitOid": name, "commitUrl": url, "hookOutput": ""})
        else:
            self._json(404, {"error": "no such place"})

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked.get('organization') or 'ada'}/{asked['name']}"
        if name in self.hub.repositories:
            self._json(409, {"error": "You already created this model repo", "url": f"{self.hub.address}/{name}"})
            return
        # Newer clients say visibility, older ones private.
        private = asked.get("visibility") == "private" or asked.get("private") is True
        repository = self.hub.repositories[name] = Repository(private)
        repository.commit({".gitattributes": b""})
        self._json(200, {"url": f"{self.hub.address}/{name}", "name": name, "id": name})

    def _found(self, name: str, revision: str, answer: Any) -> None:
        repository = self.hub.repositories.get(name)
        if repository is None:
            self._json(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        elif (found := repository.files(revision)) is None:
            self._json(404, {"error": "Revision not found"}, {"X-Error-Code": "RevisionNotFound"})
        else:
            answer(name, *found)

    def _info(self, name: str, commit: str, files: dict[str, bytes]) -> None:
        siblings = [{"rfilename": file} for file in files]
        self._json(200, {"id": name, "modelId": name, "sha": commit, "private": False, "siblings": siblings})

    def _tree(self, name: str, commit: str, files: dict[str, bytes]) -> None:
        rows = [
            {"type": "file", "path": f, "size": len(b), "oid": hashlib.sha1(b).hexdigest()} for f, b in files.items()
        ]
        self._json(200, rows)

    def _file(self, file: str, name: str, commit: str, files: dict[str, bytes]) -> None:
        if file not in files:
            self._json(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
            return
        headers = {"ETag": f'"{hashlib.sha1(files[file]).hexdigest()}"', "X-Repo-Commit": commit}
        self._send(200, files[file], headers)

    def _json(self, status: int, values: Any, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(values).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
