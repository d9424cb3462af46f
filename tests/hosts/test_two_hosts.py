"""The real engine on two hosts: known answers, and a KV cache that crosses the network between them."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from harness.base.domain import Outcome
from harness.base.evidence import KvLedger
from harness.run.rundir import RunDir
from tests.cpu.conftest import measurement
from tests.helpers import end, recorded, wait_for
from tests.hosts.conftest import Pair
from tests.hosts.test_spread import CASE, begin_on

_START = 400.0


@pytest.fixture(scope="module")
def python(request: pytest.FixtureRequest) -> Path:
    """Of the engine that is named, or else of the locked environment."""
    given = request.config.getoption("--engine-python")
    return Path(given) if given else Path(request.getfixturevalue("engine_python"))


@pytest.mark.long  # on scripted engines: test_spread.py
@pytest.mark.timeout(900)
def test_the_kv_cache_crosses_the_network(
    pair: Pair,
    cluster: str,
    folder: Path,
    python: Path,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    before = [host.counters() for host in pair]
    result = end(begin_on(pair[0], folder, CASE, "--engine-python", python, "--ray", cluster), None, folder, _START)
    after = [host.counters() for host in pair]
    assert result.code == 0, result.output
    found = measurement(result)
    assert found.answers["main"].accuracy == 0.625
    assert isinstance(found.kv, KvLedger)
    moved = found.kv.bytes
    assert moved
    sent, received = (after[0]["sent"] - before[0]["sent"], after[1]["received"] - before[1]["received"])
    record_testsuite_property("bytes", {"ledger": moved, "prefill sent": sent, "decode received": received})
    assert sent >= moved
    assert received >= moved
    transport = next(check for check in result.result.checks if check.name == "transport")
    assert transport.outcome is Outcome.PASS
    assert "tcp/fabric0" in transport.details
    assert "inter-node" in transport.details


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_link_that_is_cut_is_named(
    pair: Pair,
    cluster: str,
    folder: Path,
    python: Path,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    running = begin_on(pair[0], folder, CASE, "--engine-python", python, "--ray", cluster)
    wait_for(lambda: recorded(folder, "main: ") or running.poll() is not None, _START)
    began = time.time()
    pair[1].cut()
    try:
        result = end(running, None, folder, _START)
    finally:
        pair[1].mend()
    over = time.time()
    assert result.code == 4, result.output
    assert f"the link is lost from {pair[0].address} to {pair[1].address}" in result.errors["eval"]
    assert {each.fault for each in RunDir(result.directory).stages() if each.stage == "eval"} == {"network"}
    events = [each for each in RunDir(result.directory).events() if (each.stage, each.kind) == ("eval", "end")]
    said = datetime.fromisoformat(events[-1].time).timestamp()
    record_testsuite_property("seconds", {"until the error": said - began, "until all was over": over - began})
    assert said - began < 10
