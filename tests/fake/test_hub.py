"""Models from a hub of our own, over HTTP: fetched, completed, cut off, and a proxy that answers in its place."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.fake.test_pin import drafter
from tests.helpers import REPOSITORY, environment, harness, in_hub_cache, listening

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {"config.json": b"{}", "model.safetensors": b"weights" * 100}
SNAPSHOT = """
import sys
from harness.host import hub
try:
    folder = hub.snapshot("some/model", sys.argv[1])
    print(sorted((path.name, path.stat().st_size) for path in folder.iterdir()))
except hub.Unavailable as error:
    print(error)
    sys.exit(4)
"""


class Hub(BaseHTTPRequestHandler):
    """Has one model; the file named by ``cut`` ends early."""

    cut = ""
    page = False

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        if self.page:
            return self._send(200, b"<!DOCTYPE html><p>Please log in to the proxy", "text/html")
        if "/tree/" in self.path:
            listed = [{"type": "file", "path": name, "size": len(body), "oid": name} for name, body in FILES.items()]
            return self._send(200, json.dumps(listed).encode(), "application/json")
        return self._answer(None)

    def _answer(self, body: bytes | None) -> None:
        name = self.path.rpartition("/")[2]
        content = FILES.get(name)
        if content is None or "/resolve/" not in self.path:
            return self._send(404, b"{}", "application/json")
        sent = content if body is None else body
        if self.cut == name and body is None:
            sent = content[:10]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{name}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        self.wfile.write(sent)
        self.close_connection = True
        return None

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(cache: Path, **how: object) -> Iterator[dict[str, str]]:
    """Environment in which such a hub is the hub."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Served", (Hub,), how))
    with listening(server):
        yield at(cache, f"http://127.0.0.1:{server.server_port}")


def at(cache: Path, address: str) -> dict[str, str]:
    more = {
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    return {"HF_ENDPOINT": address, "HF_HUB_CACHE": str(cache), **more}


def snapshot(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", SNAPSHOT, COMMIT]
    return subprocess.run(argv, env=environment(env), cwd=REPOSITORY, text=True, capture_output=True, check=False)


WHOLE = f"{sorted((name, len(body)) for name, body in FILES.items())}\n"


@pytest.mark.parametrize("there", [{}, {"config.json": b"{}"}, {"model.safetensors": b"weights" * 100}])
def test_what_is_not_in_the_cache_is_fetched(tmp_path: Path, there: dict[str, bytes]) -> None:
    in_hub_cache(tmp_path, "some/model", COMMIT, there)
    with served(tmp_path) as env:
        done = snapshot(env)
    assert (done.returncode, done.stdout) == (0, WHOLE), done.stderr
    done = snapshot(env)  # the hub is gone, and all is there
    assert (done.returncode, done.stdout) == (0, WHOLE), done.stderr


def test_a_broken_download_is_one_line_and_goes_on(tmp_path: Path) -> None:
    with served(tmp_path, cut="model.safetensors") as env:
        done = snapshot(env)
    assert done.returncode == 4, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert "run it again" in done.stdout
    done = snapshot(env)
    assert done.returncode == 4, done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert "no connection" in done.stdout
    with served(tmp_path) as env:
        assert snapshot(env).stdout == WHOLE


@pytest.mark.parametrize("page", [True, False])
def test_a_hub_that_does_not_answer_is_one_line(tmp_path: Path, *, page: bool) -> None:
    cases = drafter(tmp_path / "cases", "some/drafter")
    with served(tmp_path / "hub", page=page) as env:
        asked = env if page else at(tmp_path / "hub", "http://127.0.0.1:9")
        done = harness("pin", "--cases", cases, env=asked)
        model = snapshot(asked)
    assert (done.returncode, done.stderr) == (4, "")
    assert len(done.stdout.splitlines()) == 1
    assert ("no JSON, as a proxy's page is" if page else "no connection") in done.stdout
    assert "HTTPS_PROXY" in done.stdout
    assert model.returncode == 4, model.stderr
    assert len(model.stdout.splitlines()) == 1
    assert "Traceback" not in model.stderr
