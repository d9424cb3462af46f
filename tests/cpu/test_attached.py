"""A run attached to a real vLLM that another run started: judged to the unit, and left as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base.domain import Outcome
from harness.run.rundir import Servers
from tests.cpu.conftest import LOCAL, SINGLE
from tests.helpers import BASELINES, harness, run


@pytest.mark.long  # on a scripted engine: tests/fake/test_attach.py
def test_a_real_server_is_judged_as_if_we_had_started_it(folder: Path) -> None:
    theirs = folder / "theirs"
    done = harness("serve", SINGLE, "--platform", "cpu", "--run-dir", theirs, *LOCAL)
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        done = harness("health-wait", theirs)
        assert done.returncode == 0, done.stdout + done.stderr
        (running,) = Servers.model_validate_json((theirs / "servers.json").read_bytes()).servers
        found = run(folder, SINGLE, "--cases", BASELINES, "--platform", "cpu", "--url", f"{running.server.url}/v1")
        assert running.process
        assert running.process.lives
    finally:
        stopped = harness("stop", theirs)
    assert found.code == 0, found.output
    outcomes = {each.name: each.outcome for each in found.result.checks}
    assert outcomes.pop("teardown") is Outcome.SKIPPED
    assert {"acceptance_length", "draft_counts", "accuracy", "parity"} <= outcomes.keys()
    assert set(outcomes.values()) == {Outcome.PASS}
    assert found.result.provenance["version.vllm"]
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
