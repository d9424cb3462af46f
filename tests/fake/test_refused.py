"""What nobody expects: a full disk, a reader who is gone, a fault of ours. Servers are stopped, and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.fake.conftest import ONE_POINT, QUICK, SINGLE, SMALL, Prepared
from tests.fake_engine.install import install
from tests.helpers import (
    REPOSITORY,
    Run,
    begin,
    command,
    edited,
    end,
    environment,
    harness,
    left_in,
    patched,
    started_in,
    validated,
    wait_for,
)


@pytest.mark.parametrize("moment", ["runs/*/servers.json", "runs/*/ready.json", "runs/*/metrics/before-decode.prom"])
def test_a_disk_that_is_full_is_one_line_and_stops_the_servers(prepared: Prepared, moment: str) -> None:
    folder, arguments = prepared
    process = begin(folder, *arguments)
    wait_for(lambda: list(folder.glob(moment)) and left_in(folder))
    psutil.Process(process.pid).rlimit(psutil.RLIMIT_FSIZE, (0, 0))  # no file grows any more
    run = end(process, None, folder)
    assert run.code == 4, run.output
    assert left_in(folder) == []
    assert "Traceback" not in run.output
    assert run.output.splitlines()[-1].endswith("junit.xml could not be written: File too large")


def test_a_reader_who_is_gone_changes_no_verdict(prepared: Prepared) -> None:
    folder, arguments = prepared
    process = begin(folder, *arguments)
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert left_in(folder) == []
    assert list(validated(folder / "runs" / "junit.xml").iter("testcase"))


def test_a_terminal_that_is_gone_interrupts(prepared: Prepared) -> None:
    """As when a connection breaks: the servers, in groups of their own, would hear nothing of it."""
    folder, arguments = prepared
    ours, theirs = os.openpty()
    argv = ["setsid", "--ctty", *command("run", "--runs", folder / "runs", *arguments)]
    handler = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # inherited: these tests may run below nohup themselves
    process = subprocess.Popen(argv, env=environment(), cwd=REPOSITORY, stdin=theirs, stdout=theirs, stderr=theirs)
    signal.signal(signal.SIGHUP, handler)
    os.close(theirs)
    started_in(folder)
    os.close(ours)
    assert process.wait(timeout=60) == 130
    assert left_in(folder) == []
    errors = [error.get("message") for error in validated(folder / "runs" / "junit.xml").iter("error")]
    assert "interrupted by SIGHUP" in errors


def test_below_nohup_a_terminal_may_go(prepared: Prepared) -> None:
    folder, arguments = prepared
    argv = ["nohup", *command("run", "--runs", folder / "runs", *arguments)]
    process = subprocess.Popen(argv, env=environment(), cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    started_in(folder)
    assert end(process, signal.SIGHUP, folder).code == 0


_FAULT_AT_THE_FIRST_CALL = """
import sys
from harness.base.domain import Stage
from harness.run import reap, stages
where = sys.argv.pop(1)
def broken(*_, **__):
    stages.STAGES.update(sound)
    raise KeyError("of ours")
sound = dict(stages.STAGES)
if where == "reap":
    reap.reap = broken
else:
    stages.STAGES[Stage(where)] = broken
from harness.__main__ import main
main()
"""


@pytest.mark.parametrize("stage", ["health-wait", "eval", "stop"])
def test_a_fault_of_ours_costs_its_own_case_and_no_other(tmp_path: Path, stage: str) -> None:
    for case in (SINGLE, ONE_POINT):
        edited(tmp_path / "cases", case, SMALL[case] | QUICK)
    python = install(tmp_path / "engine", {})
    runs = tmp_path / "runs"
    done = patched(
        _FAULT_AT_THE_FIRST_CALL, stage, "run", "--cases", tmp_path / "cases", "--engine-python", python, "--runs", runs
    )
    run = Run(done.returncode, done.stdout + done.stderr, runs)
    assert run.code == 4, run.output
    broken, sound = (suite for suite in validated(runs / "junit.xml").iter("testsuite"))
    (error,) = broken.iter("error")
    assert error.getparent().get("name") == stage
    assert error.get("message") == "internal error: KeyError: 'of ours'"
    assert "in broken" in error.text, "where it happened"
    assert sound.get("errors") == sound.get("failures") == "0"
    if stage == "stop":
        assert "removed: " in harness("reap", "--runs", runs).stdout
    assert left_in(tmp_path) == []


def test_a_fault_of_ours_is_never_the_code_of_a_failed_check() -> None:
    done = patched(_FAULT_AT_THE_FIRST_CALL, "reap", "reap", "--runs", "nowhere")
    assert done.returncode == 4
    assert done.stderr.splitlines()[-2:] == ["KeyError: 'of ours'", "harness: internal error, see above"]
