"""What one server gets of the caller's environment is found nowhere else, even if that server says it aloud."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.base.domain import Stage
from harness.cases.load import load
from harness.containers import lifecycle
from harness.engines.engine import shell_line
from harness.plan.show import servers
from harness.run import canary
from tests.fake.conftest import DISAGG, QUICK, SINGLE, SMALL
from tests.fake.engine_api import CONTAINER, EngineApi, serving
from tests.fake_engine.install import install
from tests.helpers import begin, edited, end, harness, left_in, living_in, run, validated, wait_for

TOKEN, OTHER = "planted-token-of-no-shape", 'another "one" of them'
GIVEN = {"PLANTED_TOKEN": TOKEN, "OTHER_ONE": OTHER}
"""The second one's name says nothing: that it is handed on is enough."""
PROXY, STORED, BYSTANDER = "pr0xy-passw0rd", "stored-token-of-no-shape", "bystander-of-no-shape"
VALUES = (TOKEN, OTHER, json.dumps(OTHER)[1:-1], PROXY, STORED, BYSTANDER)
EVIL = "\x1b[31m\x1b]0;title\x07\u202e\x9b2J"


def found_in(folder: Path) -> list[tuple[str, str]]:
    """Files below ``folder`` with what they hold of it, the caller's own excepted."""
    files = [path for path in folder.rglob("*") if path.is_file() and "hub" not in path.parts]
    return [(path.name, each) for path in files for each in VALUES if each.encode() in path.read_bytes()]


def environment(folder: Path) -> dict[str, str]:
    """Of a caller with all kinds of secrets."""
    hub = folder / "hub"
    hub.mkdir()
    (hub / "token").write_text(STORED)
    (hub / "stored_tokens").write_text(f"[mine]\nhf_token = {STORED}\n")
    proxy = {"HTTPS_PROXY": f"http://me:{PROXY}@127.0.0.1:9", "NO_PROXY": "*"}
    return {**GIVEN, **proxy, "HF_HOME": str(hub), "UCX_SOME_SECRET": BYSTANDER, "NCCL_NOTE": f"http://me:{PROXY}@a"}


def arguments(folder: Path, case: str, faults: dict[str, Any], changes: dict[str, Any]) -> list[str | Path]:
    cases = edited(folder / "cases", case, SMALL[case] | QUICK | changes)
    return ["--cases", cases, "--engine-python", install(folder / "engine", faults)]


def arguments_of_everybody() -> list[str]:
    return [argument for each in psutil.process_iter(["cmdline"]) for argument in each.info["cmdline"] or []]


def test_it_is_where_its_server_needs_it_and_nowhere_else(tmp_path: Path) -> None:
    talks = {"indiscreet": True, "latency": 0.1}
    faults = dict.fromkeys(("prefill", "decode", "router"), talks)
    given = arguments(tmp_path, DISAGG, faults, {"roles/decode/pass_env": list(GIVEN)})
    env = environment(tmp_path)
    process = begin(tmp_path, *given, env=env)
    (ready,) = wait_for(lambda: list(tmp_path.glob("runs/*/ready.json")))
    has = {Path(each.cwd()).name: [name for name in env if name in each.environ()] for each in living_in(tmp_path)}
    assert has["decode"] == [*GIVEN, "HF_HOME"]
    assert has["prefill"] == has["router"] == ["HF_HOME"]
    assert TOKEN in (ready.parent / "logs" / "decode.log").read_text(), "it does say it"
    assert not [each for each in arguments_of_everybody() if any(value in each for value in VALUES)]
    lines = (ready.parent / "commands.sh").read_text().splitlines()
    assert [line for line in lines if '&& PLANTED_TOKEN="$PLANTED_TOKEN" OTHER_ONE="$OTHER_ONE" env ' in line]
    done = end(process, None, tmp_path)
    assert done.code == 0, done.output
    assert found_in(tmp_path) == []
    assert not [each for each in VALUES if each in done.output]
    assert "PLANTED_TOKEN=***" in (done.directory / "logs" / "decode.log").read_text()
    assert left_in(tmp_path) == []


def test_last_words_with_secrets_and_escapes_reach_no_report(tmp_path: Path) -> None:
    last = f"OSError: {EVIL} refused"
    faults = {"server": {"indiscreet": True, "fail_at_start": last}}
    given = arguments(tmp_path, SINGLE, faults, {"serve/pass_env": list(GIVEN)})
    done = run(tmp_path, *given, env=environment(tmp_path))
    assert done.code == 4, done.output
    assert "PLANTED_TOKEN=*** and ***" in done.problems["health-wait"]
    assert "PLANTED_TOKEN=*** and ***" in done.output
    summary = harness("summary", tmp_path / "runs")
    assert found_in(tmp_path) == []
    for text in (done.output, summary.stdout, (done.directory / "junit.xml").read_text()):
        assert not [each for each in VALUES if each in text]
        assert not set("\x1b\x07\u202e\x9b") & set(text)
    validated(tmp_path / "runs" / "junit.xml")


def test_stages_in_another_shell_know_it_from_the_server(tmp_path: Path) -> None:
    given = arguments(tmp_path, SINGLE, {"server": {"indiscreet": True}}, {"serve/pass_env": list(GIVEN)})
    rundir = tmp_path / "run"
    assert harness("serve", SINGLE, "--run-dir", rundir, *given, env=GIVEN).returncode == 0
    assert harness("health-wait", rundir).returncode == 0
    assert {name for name, _ in found_in(tmp_path)} == {"server.log"}
    assert harness("stop", rundir).returncode == 0
    assert found_in(tmp_path) == []
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_harness_that_is_killed_leaves_none(tmp_path: Path, number: signal.Signals) -> None:
    given = arguments(tmp_path, SINGLE, {"server": {"indiscreet": True}}, {"serve/pass_env": list(GIVEN)})
    process = begin(tmp_path, *given, env=GIVEN)
    wait_for(lambda: TOKEN in "".join(path.read_text() for path in tmp_path.glob("runs/*/logs/server.log")))
    end(process, number, tmp_path)
    if number is signal.SIGKILL:
        assert "removed: " in harness("reap", "--runs", tmp_path / "runs").stdout
    assert found_in(tmp_path) == []
    assert left_in(tmp_path) == []


def test_what_is_not_set_is_said_before_anything_is_made(tmp_path: Path) -> None:
    given = arguments(tmp_path, SINGLE, {}, {"serve/pass_env": ["PLANTED_TOKEN"]})
    done = run(tmp_path, *given)
    assert done.code == 4, done.output
    assert done.problems["prepare"].startswith("PLANTED_TOKEN: not set here: serve.pass_env of the case names it")
    assert not (done.directory / "servers.json").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"serve/env/HF_TOKEN": TOKEN}, "serve.env.HF_TOKEN: a secret"),
        ({"serve/env/HF_TOKEN": [TOKEN]}, "serve.env.HF_TOKEN.0: a secret"),
        ({"roles/server/env": {"A_PROXY": f"http://me:{PROXY}@host"}}, "roles.server.env.A_PROXY: a secret"),
        ({"serve/flags/api-key": TOKEN}, "serve.flags.api-key: a secret"),
        ({"serve/pass_env": ["HF_HUB_OFFLINE"]}, "serve: pass_env: 'HF_HUB_OFFLINE' has a value in env"),
        ({"serve/pass_env": ["A=B"]}, "serve.pass_env.0: must be like the name of an environment variable"),
    ],
)
@pytest.mark.parametrize("command", ["check", "plan", "run"])
def test_a_case_with_a_secret_is_refused(tmp_path: Path, changes: dict[str, Any], words: str, command: str) -> None:
    cases = edited(tmp_path / "cases", SINGLE, changes, generate=False)
    done = harness(command, "--cases", cases)
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert words in line
    assert not [each for each in VALUES if each in line]


def test_what_is_shown_of_a_case_is_a_reference(tmp_path: Path) -> None:
    cases = edited(tmp_path / "cases", SINGLE, SMALL[SINGLE] | {"serve/pass_env": ["PLANTED_TOKEN"]})
    (server,) = servers(load(cases)[0].resolve("cpu"), "")
    assert shell_line(server).startswith('PLANTED_TOKEN="$PLANTED_TOKEN" env ')
    done = harness("show", SINGLE, "--cases", cases, env=GIVEN)
    assert '\nPLANTED_TOKEN="$PLANTED_TOKEN" env ' in done.stdout
    assert TOKEN not in done.stdout


def test_the_canary_is_told_no_more_of_the_environment_than_it_looks_at(tmp_path: Path) -> None:
    needs = canary._of_case(
        load(edited(tmp_path / "cases", SINGLE, SMALL[SINGLE]))[0].resolve("cpu"), "cpu", {}, None, image=False
    )
    assert "OMP_NUM_THREADS" in needs.env
    assert canary.looked_at({**needs.env, "HOME": "/h", "A": "b"}) == {"HOME": "/h"}


def test_a_container_is_not_told_and_its_programs_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is given at creation, everybody who may ask the container engine can read for as long as it is there."""
    api = EngineApi()
    monkeypatch.setenv("PLANTED_TOKEN", TOKEN)
    with serving(api, tmp_path / "engine.sock") as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        assert (
            lifecycle.execute(CONTAINER, ["harness", str(Stage.SERVE)], lambda: None, env={"PLANTED_TOKEN": TOKEN}) == 0
        )
    (asked,) = api.executed
    assert asked["Env"] == [f"PLANTED_TOKEN={TOKEN}"]
    assert TOKEN not in json.dumps(asked["Cmd"])
    assert TOKEN not in json.dumps(api.created)
