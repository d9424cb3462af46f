"""Exchanges over real sockets: streams, refusals, connections that are closed half-way, and servers that go away."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.host import any_requests
from harness.host.any_requests import Letter
from tests.fake.conftest import QUICK
from tests.fake_engine.install import install
from tests.helpers import Run, busy_ports, edited, harness, left_in, listening, run

CONTRACT, SAMPLING = "api/known_answer", "sampling/known_answer"
SMALL: dict[str, dict[str, Any]] = {
    CONTRACT: {"matrix": None, "when": None, "platform": None},
    SAMPLING: {
        "matrix": None, "when": None, "platform": None, "evaluation/logprobs": 3, "evaluation/items": 10,
        "evaluation/max_tokens": 100, "evaluation/groups": {"greedy": 2, "temperature_1": 6, "same_seed": 2},
        "checks/sampling/n": 1000,
    },
}  # fmt: skip


def judged(folder: Path, case: str, faults: dict[str, Any]) -> Run:
    cases = edited(folder / "cases", case, SMALL[case] | QUICK)
    python = install(folder / "engine", {"server": {"latency": 0.0, **faults}})
    found = run(folder, "--cases", cases, "--engine-python", python)
    assert left_in(folder) == []
    assert busy_ports(folder) == []
    return found


@pytest.mark.parametrize("case", [CONTRACT, SAMPLING])
def test_a_sound_server_passes(tmp_path: Path, case: str) -> None:
    found = judged(tmp_path, case, {})
    assert found.problems == {}, found.output
    assert found.code == 0
    lines = (found.directory / "exchanges.jsonl").read_text().splitlines()
    assert all(json.loads(line)["status"] for line in lines)


@pytest.mark.parametrize(
    ("case", "fault", "check", "says"),
    [
        (CONTRACT, "stop_strings_ignored", "contract", "stop_string: choices.0.text"),
        (CONTRACT, "takes_anything", "contract", "status: 400 expected"),
        (CONTRACT, "finish_reason_twice", "contract", "ends: 1 expected, got 2"),
        (SAMPLING, "always_greedy", "sampling", "temperature_1"),
        (SAMPLING, "logprobs_of_another_row", "sampling", "logprobs"),
        (SAMPLING, "seed_ignored", "sampling", "same seed"),
    ],
)
def test_a_broken_server_fails(tmp_path: Path, case: str, fault: str, check: str, says: str) -> None:
    found = judged(tmp_path, case, {"chain_faults": [fault]})
    assert found.code == 1, found.output
    assert says in found.problems[check]


def test_a_server_that_dies_between_two_exchanges_is_an_error(tmp_path: Path) -> None:
    found = judged(tmp_path, CONTRACT, {"die_on": "/v1/chat/completions"})
    assert found.code == 4, found.output
    assert "eval" in found.problems


def test_exchanges_are_part_of_the_record(tmp_path: Path) -> None:
    found = judged(tmp_path, SAMPLING, {})
    path = found.directory / "exchanges.jsonl"
    first, *others = path.read_text().splitlines()
    changed = json.loads(first)
    changed["expected"]["choices"][0]["finish_reason"] = "stop"
    for lines, says in (
        (others, "is there 0 times"),
        ([first, first, *others], "is there 2 times"),
        ([json.dumps(changed), *others], "the right answer is another one"),
        ([json.dumps(changed | {"name": "stranger"}), first, *others], "stranger was never planned"),
    ):
        path.write_text("".join(f"{line}\n" for line in lines))
        again = harness("assert", found.directory)
        assert says in again.stdout + again.stderr


class Handler(BaseHTTPRequestHandler):
    """Answers a path with what is odd about it."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/torn":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'data: {"a": 1}\n\ndata: {torn\n\n')
            self.close_connection = True
            return
        body = content if self.path == "/echo" else b"x" * (5 << 20) if self.path == "/long" else b"<html>"
        self.send_response(404 if self.path == "/page" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_whatever_comes_back_is_kept() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with listening(server):
        base = f"http://127.0.0.1:{server.server_port}"
        letters = [Letter(f"{base}/{name}", b'{"a": 1}') for name in ("torn", "echo", "long", "page")]
        torn, echo, long, page = any_requests.send(letters, concurrency=4, seconds=10)
    (gone,) = any_requests.send(letters[:1], concurrency=1, seconds=5)
    assert torn.pieces == ({"a": 1}, "{torn")
    assert torn.error
    assert not torn.done
    assert echo.document == {"a": 1}
    assert "longer than 4 MiB" in long.error
    assert (page.status, page.document) == (404, "<html>")
    assert gone.status == 0
    assert gone.error
