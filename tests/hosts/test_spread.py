"""Prefill on one host and decode on another, on the scripted engine: what is started, cut, stopped and killed."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from harness.base.domain import Outcome
from harness.run.rundir import RunDir, Servers
from tests.fake_engine.install import install
from tests.helpers import (
    Run,
    begin,
    edited,
    end,
    harness,
    left_in,
    living_in,
    recorded,
    wait_for,
)
from tests.hosts.conftest import Pair
from tests.hosts.namespaces import INTERFACE, RAY_ENVIRONMENT, Host

CASE = "disagg/known_answer_hosts"
SMALL: dict[str, Any] = {
    "evaluation/items": 8,
    "controls/prefill_alone/n": 8,
    "controls/decode_alone/n": 8,
    "checks/transport": None,  # scripted servers have no UCX
    "checks/kv_transfer/bytes": None,  # and blocks of another size
    "timeouts/start": 60.0,
    "timeouts/request": 30.0,
    "timeouts/stop": 5.0,
}


_PATIENCE = 120.0
"""Seconds: two Ray drivers, two agents and three servers start on two busy cores."""


def begin_on(host: Host, folder: Path, *arguments: str | Path) -> subprocess.Popen[str]:
    """``harness run`` on a host; returns while it runs."""
    return begin(folder, *arguments, env=RAY_ENVIRONMENT, by=host.command)


def scripted(folder: Path, cluster: str, faults: dict[str, Any] | None = None) -> list[str | Path]:
    """Arguments of a run of the small case."""
    cases = edited(folder / "cases", CASE, SMALL)
    script = dict.fromkeys(("prefill", "decode"), faults or {})
    return ["--cases", cases, "--engine-python", install(folder / "engine", script), "--ray", cluster]


def begin_asking(host: Host, folder: Path, cluster: str, latency: float) -> subprocess.Popen[str]:
    """The same, and it has sent its first questions, each of which takes so many seconds."""
    running = begin_on(host, folder, *scripted(folder, cluster, {"latency": latency}))
    wait_for(lambda: recorded(folder, "main: ") or running.poll() is not None, _PATIENCE)
    return running


def test_servers_are_on_their_hosts(pair: Pair, cluster: str, folder: Path) -> None:
    result = end(begin_on(pair[0], folder, *scripted(folder, cluster)), None, folder, _PATIENCE)
    assert result.code == 0, result.output
    servers = RunDir(result.directory).read("servers", Servers)
    assert servers is not None
    at = {each.server.name: each.server.host for each in servers.servers}
    assert at == {"prefill": pair[0].address, "decode": pair[1].address, "router": "127.0.0.1"}
    assert at["decode"] in (result.directory / "commands.sh").read_text()
    assert result.result.provenance["host.decode"] == f"{at['decode']} ({INTERFACE})"
    at_rest = next(check for check in result.result.checks if check.name == "at_rest")
    assert at_rest.outcome is Outcome.PASS
    assert "the servers do not run here" in at_rest.message


def test_a_link_that_is_cut_is_named(pair: Pair, cluster: str, folder: Path) -> None:
    running = begin_asking(pair[0], folder, cluster, 2.0)
    pair[1].cut()
    began = time.monotonic()
    try:
        result = end(running, None, folder, _PATIENCE)
        took = time.monotonic() - began
    finally:
        pair[1].mend()
    assert result.code == 4, result.output
    said = result.errors["eval"]
    assert f"decode cannot be reached any more: the link is lost from {pair[0].address} to {pair[1].address}" in said
    assert took < 10
    (record,) = [each for each in RunDir(result.directory).stages() if each.stage == "eval"]
    assert record.fault == "network"


@pytest.mark.long
def test_a_signal_ends_the_servers_on_both_hosts(pair: Pair, cluster: str, folder: Path) -> None:
    running = begin_asking(pair[0], folder, cluster, 4.0)
    result = end(running, signal.SIGTERM, folder, _PATIENCE)
    assert result.code == 130, result.output
    assert left_in(folder) == []


def test_what_a_killed_harness_left_is_reaped_on_both_hosts(pair: Pair, cluster: str, folder: Path) -> None:
    running = begin_asking(pair[0], folder, cluster, 4.0)
    end(running, signal.SIGKILL, folder)
    assert left_in(folder)
    assert harness("reap", "--runs", folder / "runs").returncode == 0
    wait_for(lambda: not left_in(folder), 30)


@pytest.mark.long
def test_a_server_ends_with_what_stands_for_it(pair: Pair, cluster: str, folder: Path) -> None:
    running = begin_asking(pair[0], folder, cluster, 4.0)
    (stand_in,) = [each for each in living_in(folder) if {"stand-in", "decode"} <= {*each.cmdline()}]
    stand_in.kill()
    result: Run = end(running, None, folder, _PATIENCE)
    assert result.code == 4, result.output
    assert "decode killed by SIGKILL" in result.errors["eval"]
