"""Every wait has an end: servers that answer as no server should, and engines that do not move any more."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.base.domain import Stage
from harness.base.errors import CannotJudge
from harness.cases.load import load
from harness.plan import limits
from harness.plan.points import everything
from harness.run import prepare, runtimes
from harness.run.console import Console
from harness.run.context import Context
from harness.run.progress import Progress
from harness.run.rundir import Runtime
from tests.fake.conftest import DISAGG, QUICK, SGLANG, SINGLE, SMALL, Judge
from tests.fake.engine_api import CONTAINER, EngineApi, serving
from tests.fake_engine.install import install
from tests.fake_engine.site.odd import ODD
from tests.helpers import BASELINES, REPOSITORY, Run, begin, command, edited, end, environment, recorded, wait_for

_ASKING = """
import json, resource, sys
from harness.base.domain import Probe
from harness.host import concurrent_requests, http_client
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
ports = json.loads(sys.argv[1])
problems = http_client.ask([Probe("http", port, "it", path="/") for port in ports], 4.0)
replies = {}
calls = [concurrent_requests.Call(str(port), f"http://127.0.0.1:{port}/", {"prompt": "x" * 4096}) for port in ports]
def keep(reply):
    replies[reply.key] = reply.error
concurrent_requests.send(calls, concurrency=len(calls), timeout=4.0, watch=lambda: "", on_reply=keep)
print(json.dumps([problems, [replies[str(port)] for port in ports]]))
"""


@contextmanager
def odd_server(kind: str) -> Iterator[int]:
    """A server on a port of its own that answers everything in this way."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

        def talk(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                connection.recv(65536)
                ODD[kind](connection)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=talk, args=[listener.accept()[0]], daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


@pytest.fixture(scope="module")
def said() -> dict[str, tuple[str, str]]:
    """What a probe and a request of an evaluation say of each odd server, in a process with little memory."""
    with ExitStack() as stack:
        ports = [stack.enter_context(odd_server(kind)) for kind in ODD]
        done = subprocess.run(
            [sys.executable, "-c", _ASKING, json.dumps(ports)],
            capture_output=True,
            text=True,
            check=False,
            cwd=REPOSITORY,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(zip(ODD, zip(*json.loads(done.stdout), strict=True), strict=True))


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_answer_is_one_line_in_time_and_in_little_memory(said: dict[str, tuple[str, str]], kind: str) -> None:
    for words in said[kind]:
        assert words
        assert "\n" not in words
        assert len(words) < 400


@pytest.mark.parametrize(
    ("kind", "probe", "request_"),
    [
        ("drips headers", "it: no answer within 4 s", "no answer within 4 s"),
        ("drips a body", "it: no answer within 4 s", "no answer within 4 s"),
        ("silent", "it: no answer within 4 s", "no answer within 4 s"),
        ("endless body", "it: the answer is longer than 64 KiB", "the answer is longer than 4 MiB"),
        (
            "gzip bomb",
            "it: the answer is compressed (gzip), which was not asked for",
            "the answer is compressed (gzip)",
        ),
        ("zstd", "it: the answer is compressed (zstd), which was not asked for", "the answer is compressed (zstd)"),
        ("redirects to itself", "it answers 307", "status 307"),
        ("redirects elsewhere", "it answers 307", "status 307"),
        ("endless refusal", "it answers 500", "status 500: xxx"),
    ],
)
def test_the_line_says_what_the_server_did(
    said: dict[str, tuple[str, str]], kind: str, probe: str, request_: str
) -> None:
    assert said[kind][0] == probe
    assert said[kind][1].startswith(request_)


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        (
            "/health",
            "drips a header",
            r"not ready after \d s \(timeouts.start\): server: /health: no answer within",
        ),
        ("/health", "endless body", r"server: /health: the answer is longer than 64 KiB"),
        ("/health", "redirects to itself", r"server: /health answers 307"),
        ("/v1/completions", "drips a body", r"not ready after \d s \(timeouts.start\): first token: no answer within"),
        ("/v1/completions", "gzip bomb", r"first token: the answer is compressed"),
    ],
)
def test_a_server_that_is_odd_at_its_start_is_given_up_at_the_limit(
    judge: Judge, path: str, kind: str, words: str
) -> None:
    run = judge(SINGLE, {"server": {"odd": {path: kind}}}, {"timeouts/start": 8.0})
    assert run.code == 4
    assert list(run.errors) == ["health-wait"]
    assert re.search(words, run.problems["health-wait"])


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        ("/metrics", "drips a body", r"/metrics of server cannot be read: no answer within"),
        ("/metrics", "endless chunks", r"/metrics of server cannot be read: the answer is longer than 16 MiB"),
        ("/v1/completions", "endless body", r"6 of 8 requests failed: main \w+: the answer is longer than 4 MiB"),
        ("/v1/completions", "redirects elsewhere", r"6 of 8 requests failed: main \w+: status 307"),
        ("/v1/completions", "drips a stream", r"nothing moved for 2 s \(timeouts.request\) after 2 of 8 answers"),
    ],
)
def test_a_server_that_is_odd_in_the_evaluation_is_one_error(judge: Judge, path: str, kind: str, words: str) -> None:
    since = 4 if path == "/v1/completions" else 1  # the first request is that for a first token
    faults = {"server": {"odd": {path: kind}, "odd_from": since}}
    run = judge(SINGLE, faults, {"timeouts/request": 2.0, "timeouts/evaluation": 8.0})
    assert run.code == 4
    assert re.match(words, run.problems["eval"]), run.problems


def test_a_configuration_that_is_a_bomb_is_one_error(judge: Judge) -> None:
    run = judge(SGLANG, {"server": {"odd": {"/server_info": "gzip bomb"}}})
    assert run.code == 4
    assert run.problems["eval"].startswith("/server_info of server cannot be read: the answer is compressed (gzip)")


def sent(run: Run) -> int:
    return len((run.directory / "samples.jsonl").read_text().splitlines())


MANY = {"evaluation/items": 24, "timeouts/request": 2.0}


def test_an_engine_that_does_not_move_is_given_up_at_once_and_its_stack_is_kept(judge: Judge, tmp_path: Path) -> None:
    tool = tmp_path / "engine" / "py-spy"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\necho "Thread $3: stands here"\n')
    tool.chmod(0o755)
    run = judge(SINGLE, {"server": {"hang_from_request": 3}}, MANY)
    assert run.code == 4
    assert run.problems["eval"] == (
        "nothing moved for 2 s (timeouts.request) after 1 of 24 answers: no answer came and no counter of server "
        "changed; where its processes stand: logs/server.stack"
    )
    assert sent(run) <= 1 + 4
    text = (run.directory / "logs" / "server.stack").read_text()
    assert re.search(r"\w+ \(\d+\): sleeping, \d+ threads, .*\nThread \d+: stands here", text)


def test_a_tool_that_hangs_too_is_ended(judge: Judge, tmp_path: Path) -> None:
    tool, pid = tmp_path / "engine" / "py-spy", tmp_path / "pid"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\necho $$ >{pid}\nexec sleep 600\n")
    tool.chmod(0o755)
    run = judge(SINGLE, {"server": {"hang_from_request": 3}}, MANY)
    assert "logs/server.stack (no Python stacks: py-spy did not end within 5 s)" in run.problems["eval"]
    assert not psutil.pid_exists(int(pid.read_text()))


def test_py_spy_itself_says_where_an_engine_stands(judge: Judge, tmp_path: Path) -> None:
    tool = Path(sys.executable).parent / "py-spy"
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "py-spy").symlink_to(tool)
    run = judge(SINGLE, {"server": {"hang_from_request": 3}}, MANY)
    text = (run.directory / "logs" / "server.stack").read_text()
    if "Permission Denied" in text:
        assert "no Python stacks: py-spy: " in run.problems["eval"]
    else:
        assert re.search(r"complete \(.*fake_engine.py:\d+\)", text)


def test_a_slow_engine_that_moves_is_not_given_up_before_the_limits_of_its_requests(judge: Judge) -> None:
    run = judge(SINGLE, {"server": {"steps": 4.0}}, {"timeouts/request": 1.5})
    assert run.code == 4
    assert run.problems["eval"].startswith("8 of 8 requests failed: main K00: no answer within 1.5 s")
    assert sent(run) == 8


def test_an_evaluation_that_goes_on_and_on_ends_at_its_own_limit(judge: Judge) -> None:
    run = judge(SINGLE, {"server": {"latency": 1.0}}, MANY | {"timeouts/evaluation": 3.0, "evaluation/concurrency": 1})
    assert run.code == 4
    assert re.match(r"not over after 3 s \(timeouts.evaluation\) after [123] of 24 answers", run.problems["eval"])
    assert sent(run) <= 4


def test_a_killed_server_has_no_cause_where_its_log_has_none(tmp_path: Path) -> None:
    cases = edited(tmp_path / "cases", SINGLE, SMALL[SINGLE] | QUICK | {"evaluation/concurrency": 1})
    python = install(tmp_path / "engine", {"server": {"latency": 1.0, "access_log": True}})
    process = begin(tmp_path, "--cases", cases, "--engine-python", python)
    wait_for(lambda: recorded(tmp_path, "main: "))
    (found,) = tmp_path.glob("runs/*/servers.json")
    os.kill(json.loads(found.read_bytes())["servers"][0]["process"]["pid"], signal.SIGKILL)
    run = end(process, None, tmp_path)
    assert run.code == 4
    assert re.fullmatch(r"server killed by SIGKILL after \d of 8 answers: no error in its log", run.problems["eval"]), (
        run.problems
    )


@pytest.mark.parametrize("path", ["/metrics", "/flush_cache?timeout=10", "/server_info"])
def test_a_server_killed_when_no_request_is_in_flight_is_named(judge: Judge, path: str) -> None:
    run = judge(SINGLE if path == "/metrics" else SGLANG, {"server": {"die_on": path}})
    assert run.code == 4
    assert run.problems["eval"] == "server killed by SIGKILL: no error in its log"


@pytest.mark.parametrize(("limit", "code"), [("ulimit -n 64", 4), ("ulimit -S -n 64", 0)], ids=["hard", "soft"])
def test_more_requests_at_once_than_open_files(tmp_path: Path, limit: str, code: int) -> None:
    many = {"evaluation/items": 100, "evaluation/concurrency": 100}
    cases = edited(tmp_path / "cases", SINGLE, SMALL[SINGLE] | QUICK | many)
    python = install(tmp_path / "engine", {})
    argv = command("run", "--runs", tmp_path / "runs", "--cases", cases, "--engine-python", python)
    shell = ["sh", "-c", f'{limit}; exec "$@"', "sh", *argv]
    done = subprocess.run(shell, env=environment(), capture_output=True, text=True, check=False, cwd=REPOSITORY)
    run = Run(done.returncode, done.stdout + done.stderr, tmp_path / "runs")
    assert run.code == code, run.output
    if code:
        assert re.fullmatch(
            r"evaluation.concurrency = 100 needs \d+ open files; a process may have 64: raise the hard limit "
            r"\(ulimit -Hn \d+\), or lower evaluation.concurrency",
            run.problems["serve"],
        )
        assert not (run.directory / "servers.json").exists()


def test_a_signal_while_stacks_are_kept_leaves_nothing(tmp_path: Path) -> None:
    tool, pid = tmp_path / "engine" / "py-spy", tmp_path / "pid"
    cases = edited(tmp_path / "cases", DISAGG, SMALL[DISAGG] | QUICK | {"timeouts/request": 1.0})
    python = install(tmp_path / "engine", {"decode": {"hang_from_request": 2}})
    tool.write_text(f"#!/bin/sh\necho $$ >{pid}\nexec sleep 600\n")
    tool.chmod(0o755)
    process = begin(tmp_path, "--cases", cases, "--engine-python", python)
    wait_for(lambda: pid.exists() and pid.read_text().endswith("\n"), 60)
    run = end(process, signal.SIGTERM, tmp_path)
    assert run.code == 130
    assert not psutil.pid_exists(int(pid.read_text()))


class Paused(EngineApi):
    """What is executed in a container never ends."""

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path == "/exec/one/json":
            return 200, {"Running": True, "ExitCode": None}
        return (201, {"Id": "one"}) if path.endswith("/exec") else super().answer(method, path, body)


def test_a_stage_that_never_ends_in_its_container_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = next(each for each in everything(load(BASELINES)) if each.id == SINGLE)
    rundir = prepare.create(planned, tmp_path / "run")
    runtime = Runtime(kind="docker", why="", engine_python="python", environment="sha256:1", container=CONTAINER)
    rundir.save(rundir.prepared().model_copy(update={"runtime": runtime}))
    monkeypatch.setattr(limits, "stage", lambda _case, _stage: 1.0)
    monkeypatch.setattr(runtimes, "_OUTSIDE", 0.0)
    words = "eval did not end within 1 s in its container"
    with serving(Paused(), tmp_path / "engine.sock") as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        place = runtimes.of(runtime, Console())
        with pytest.raises(CannotJudge, match=words):
            place.perform(Stage.EVAL, Context(rundir, Progress(rundir, lambda _: None)))
    assert [(each.stage, each.message) for each in rundir.stages()] == [(Stage.EVAL, words)]
