"""A model hub on 127.0.0.1 that speaks as much of the hub's API as its library asks for, with faults on demand."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.helpers import listening

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "fedcba9876543210fedcba9876543210fedcba98"
_LARGE = 256
"""Bytes from which on a file is kept as Git LFS does."""


class Hub(ThreadingHTTPServer):
    """A hub.

    Attributes:
        repos: Files by repository and commit.
        heads: The commit that a repository's default branch is at.
        gated: Repositories whose files only the token gets.
        hidden: Repositories that only the token sees.
        token: The one that is right.
        answers: Status instead of an answer, for requests whose path contains the text; one request each.
        cut: Bytes after which the connection is cut, by name of the file; one request each.
        slow: Names of files that come a byte at a time.
        page: Answer everything with a page, as a proxy does.
        asked: Method, path and range of every request.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.repos: dict[str, dict[str, Mapping[str, bytes]]] = {}
        self.heads: dict[str, str] = {}
        self.gated: set[str] = set()
        self.hidden: set[str] = set()
        self.token = "hf_right"
        self.answers: list[tuple[str, int]] = []
        self.cut: dict[str, list[int]] = {}
        self.slow: set[str] = set()
        self.page = False
        self.asked: list[str] = []

    def add(self, repo: str, files: Mapping[str, bytes], commit: str = COMMIT) -> None:
        """A repository, whose default branch is at this commit from now on."""
        self.repos.setdefault(repo, {})[commit] = files
        self.heads[repo] = commit

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def environment(self, cache: Path) -> dict[str, str]:
        """Environment in which this is the hub, and ``cache`` its cache."""
        return at(cache, self.address)

    def fetched(self) -> set[str]:
        """Names of the files whose content was asked for."""
        return {
            line.split("/resolve/")[1].split("/", 1)[1].split(" ")[0]
            for line in self.asked
            if "GET" in line and "/resolve/" in line
        }


def at(cache: Path, address: str) -> dict[str, str]:
    """Environment in which the hub is at this address."""
    return {
        "HF_ENDPOINT": address,
        "HF_HUB_CACHE": str(cache),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_TOKEN_PATH": str(cache / "no-token"),
        "NO_PROXY": "127.0.0.1",
    }


class _Answers(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub, path = self.server, unquote(urlsplit(self.path).path)
        hub.asked.append(f"{self.command} {path} {self.headers.get('Range', '')}".rstrip())
        if hub.page:
            return self._send(200, b"<!DOCTYPE html><p>Please log in to the proxy", {"Content-Type": "text/html"})
        for index, (part, status) in enumerate(hub.answers):
            if part in path:
                del hub.answers[index]
                return self._send(status, b'{"error": "as a test wants it"}')
        knows = self.headers.get("Authorization") == f"Bearer {hub.token}"
        if path == "/api/whoami-v2":
            return self._send(200 if knows else 401, b"{}")
        if path == "/api/models":
            return self._send(200, b"[]")
        found = re.fullmatch(r"(?:/api/models)?/([^/]+/[^/]+)(?:/(revision|tree|resolve)/([^/]+)(?:/(.*))?)?", path)
        repo = found[1] if found else ""
        if repo not in hub.repos or (repo in hub.hidden and not knows):
            # The hub does not say which of the two it is.
            return self._send(404 if knows else 401, b"{}", {"X-Error-Code": "RepoNotFound"})
        assert found is not None
        revision = found[3] or "main"
        commit = hub.heads[repo] if revision == "main" else revision
        if commit not in hub.repos[repo]:
            return self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        files = hub.repos[repo][commit]
        if path.startswith("/api/"):
            return self._send(
                200, json.dumps(_tree(files) if found[2] == "tree" else {"id": repo, "sha": commit}).encode()
            )
        if repo in hub.gated and not knows:
            return self._send(
                401 if not self.headers.get("Authorization") else 403, b"{}", {"X-Error-Code": "GatedRepo"}
            )
        if found[4] not in files:
            return self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"})
        return self._file(found[4], files[found[4]], commit)

    def _file(self, name: str, content: bytes, commit: str) -> None:
        etag = f'"{_etag(content)}"'
        headers = {"X-Repo-Commit": commit, "ETag": etag, "Accept-Ranges": "bytes"}
        if len(content) >= _LARGE:
            headers |= {"X-Linked-Size": str(len(content)), "X-Linked-ETag": etag}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        cuts = self.server.cut.get(name, []) if self.command == "GET" else []
        self._send(206 if start else 200, content[start:], headers, cut=cuts.pop(0) if cuts else None, name=name)

    def _send(
        self, status: int, body: bytes, headers: Mapping[str, str] | None = None, cut: int | None = None, name: str = ""
    ) -> None:
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | dict(headers or {})).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and name in self.server.slow:
            with suppress(OSError):
                for each in body:
                    self.wfile.write(bytes((each,)))
                    time.sleep(0.05)
        elif self.command != "HEAD":
            self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def _etag(content: bytes) -> str:
    """SHA-256 of what LFS keeps, Git's own of the rest."""
    if len(content) >= _LARGE:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _tree(files: Mapping[str, bytes]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for name, content in files.items():
        entry: dict[str, object] = {"type": "file", "path": name, "size": len(content), "oid": _etag(content)[:40]}
        if len(content) >= _LARGE:
            entry["lfs"] = {"oid": _etag(content), "size": len(content), "pointerSize": 130}
        found.append(entry)
    return found


@contextmanager
def serving() -> Iterator[Hub]:
    """Such a hub as long as the block lasts."""
    hub = Hub()
    with listening(hub):
        yield hub
