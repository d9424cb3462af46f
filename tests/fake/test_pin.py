"""Looking up commits, over HTTP, at a hub of our own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.cases.load import load
from tests.fake.conftest import SINGLE
from tests.helpers import edited, harness, listening

COMMITS = {"some/drafter": "0123456789abcdef0123456789abcdef01234567"}


class Hub(BaseHTTPRequestHandler):
    """Knows the repositories above."""

    def do_GET(self) -> None:
        repo = self.path.removeprefix("/api/models/")
        found = repo in COMMITS
        body = json.dumps({"id": repo, "sha": COMMITS[repo]} if found else {"error": "Repository not found"}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[dict[str, str]]:
    """Environment in which that hub is the hub."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    with listening(server):
        yield {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1"}


def drafter(folder: Path, repo: str) -> Path:
    model = {"repo": repo, "revision": "unresolved"}
    return edited(folder, SINGLE, {"serve/speculation/model": model}, generate=False)


def test_an_unresolved_model_is_pinned_where_it_stands(tmp_path: Path, hub: dict[str, str]) -> None:
    cases = drafter(tmp_path / "cases", "some/drafter")
    path = cases / f"{SINGLE}.toml"
    before = path.read_text()
    done = harness("pin", "--cases", cases, env=hub)
    assert (done.returncode, done.stdout) == (0, f"some/drafter: {COMMITS['some/drafter']}\n"), done.stderr
    assert path.read_text() == before.replace("unresolved", COMMITS["some/drafter"])
    speculation = load(cases)[0].resolve("cpu").serve.speculation
    assert speculation is not None
    assert speculation.model is not None
    assert speculation.model.revision == COMMITS["some/drafter"]
    assert harness("pin", "--cases", cases, env=hub).stdout == "every model is pinned\n"


def test_what_the_hub_does_not_know_stays_unresolved_and_is_said(tmp_path: Path, hub: dict[str, str]) -> None:
    cases = drafter(tmp_path / "cases", "some/unknown")
    before = (cases / f"{SINGLE}.toml").read_text()
    done = harness("pin", "--cases", cases, env=hub)
    assert done.returncode == 4
    assert done.stdout.startswith("some/unknown: 127.0.0.1")
    assert len(done.stdout.splitlines()) == 1
    assert (cases / f"{SINGLE}.toml").read_text() == before
