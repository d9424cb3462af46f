"""A token in the environment of the harness: used for the download, and found nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from harness.base.secrets import mask
from harness.host import processes
from tests.fake.conftest import QUICK, SINGLE, SMALL
from tests.fake_engine.install import install
from tests.helpers import begin, edited, end, left_in, listening, living_in, run, wait_for

TOKEN = "hf_" + "PlantedTokenOfATest" * 2
OTHER = "planted-and-secret-as-well"
PLANTED = {"HF_TOKEN": TOKEN, "HUGGING_FACE_HUB_TOKEN": TOKEN, "SOME_API_KEY": OTHER, "AWS_SECRET_ACCESS_KEY": OTHER}
COMMIT = "0" * 40


def planted_in(folder: Path) -> list[Path]:
    """Files below ``folder`` that hold a planted secret."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if any(value.encode() in path.read_bytes() for value in set(PLANTED.values()))]


def test_no_server_no_argument_list_and_no_file_has_it(tmp_path: Path) -> None:
    cases = edited(tmp_path / "cases", SINGLE, SMALL[SINGLE] | QUICK)
    python = install(tmp_path / "engine", {"server": {"latency": 0.2}})
    process = begin(tmp_path, "--cases", cases, "--engine-python", python, env=PLANTED)
    wait_for(lambda: list(tmp_path.glob("runs/*/ready.json")))
    servers = living_in(tmp_path)
    assert servers
    for server in servers:
        assert not set(PLANTED) & set(server.environ())
    everybody = [argument for each in psutil.process_iter(["cmdline"]) for argument in each.info["cmdline"] or []]
    assert not [argument for argument in everybody if TOKEN in argument or OTHER in argument]
    done = end(process, None, tmp_path)
    assert done.code == 0, done.output
    assert TOKEN not in done.output
    assert OTHER not in done.output
    assert planted_in(tmp_path) == []
    assert left_in(tmp_path) == []


@pytest.fixture
def hub() -> Iterator[tuple[str, set[str]]]:
    """A model hub that refuses everything and repeats the token in its answer; its address, and the tokens it got."""
    seen: set[str] = set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the base class's own name
            token = self.headers.get("Authorization", "")
            seen.add(token)
            self.send_response(401)
            self.send_header("X-Error-Message", f"no such user: {token}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with listening(server):
        yield f"http://127.0.0.1:{server.server_address[1]}", seen


@pytest.mark.parametrize("as_file", [False, True], ids=["in the environment", "in a file"])
def test_what_a_hub_says_of_the_token_is_masked(tmp_path: Path, hub: tuple[str, set[str]], *, as_file: bool) -> None:
    address, seen = hub
    model = {"repo": "some/model", "revision": COMMIT}
    cases = edited(tmp_path / "cases", SINGLE, {"serve/model": model}, generate=False)
    token = tmp_path / "token"
    token.write_text(TOKEN)
    given = {"HF_TOKEN_PATH": str(token), "HF_TOKEN": ""} if as_file else PLANTED
    settings = {"HF_ENDPOINT": address, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "0", "NO_PROXY": "*"}
    done = run(tmp_path, "--cases", cases, "--engine-python", install(tmp_path / "engine", {}), env=settings | given)
    assert done.code == 4, done.output
    assert f"Bearer {TOKEN}" in seen
    assert "neither in the hub's cache nor can it be fetched" in done.problems["prepare"]
    assert "no such user: Bearer ***" in done.problems["prepare"]
    assert TOKEN not in done.output
    assert [path for path in planted_in(tmp_path) if path != token] == []


def test_secrets_are_known_by_name_and_by_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (PLANTED | {"SHORT_TOKEN": "model", "HF_TOKEN_PATH": "/run/secrets/hub-token"}).items():
        monkeypatch.setenv(name, value)
    assert mask(f"{OTHER} and {TOKEN}") == "*** and ***"
    assert mask("a model, its hf_transfer, and /run/secrets/hub-token") == (
        "a model, its hf_transfer, and /run/secrets/hub-token"
    )
    assert mask("https://me:password@example.org/simple, https://example.org:8080/@a") == (
        "https://***@example.org/simple, https://example.org:8080/@a"
    )


def test_a_program_gets_no_token_and_its_output_shows_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    seen: list[str] = []
    status, output = processes.run(["sh", "-c", 'echo "$SOME_API_KEY" "[$HF_TOKEN]"'], on_tick=seen.append)
    assert (status, output.strip()) == (0, "*** []")
    assert OTHER not in "".join(seen)
