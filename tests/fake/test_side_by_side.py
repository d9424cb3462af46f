"""Points side by side on one host: what each has, what the others notice of one that dies, and how all of it ends."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.base.domain import Device, Outcome
from harness.devices import leases
from harness.host.ownership import Owner
from harness.reports.result import Result
from harness.run.documents import Prepared
from harness.run.rundir import RunDir, Servers
from tests.fake.conftest import ONE_POINT, QUICK, SMALL
from tests.fake.hosts import Nvidia
from tests.fake_engine.install import install
from tests.helpers import begin, edited, end, harness, left_in, living_in, run, serves, validated, wait_for

PATIENCE = 120.0
SLOW = {"start_after": 300.0}
"""A server that will not be ready before the test has done what it came for."""


def arguments(folder: Path, points: dict[str, Any], server: dict[str, Any] | None = None) -> list[str | Path]:
    """Of a run of one case with these points on GPUs."""
    changes = SMALL[ONE_POINT] | QUICK | {"platforms": ["cuda"], "matrix/point": points}
    if server:
        changes |= {"timeouts/start": 400.0}  # whatever else the machine does
    return [
        "--jobs", "4",  # whatever processors this machine has
        "--cases", edited(folder / "cases", ONE_POINT, changes),
        "--engine-python", install(folder / "engine", {"server": server or {}}),
    ]  # fmt: skip


def folder_of(folder: Path, point: str) -> Path:
    return folder / "runs" / f"{ONE_POINT.replace('/', '.')}.point={point}"


def result_of(folder: Path, point: str) -> Result:
    return Result.model_validate_json((folder_of(folder, point) / "result.json").read_bytes())


def owner_of(folder: Path, point: str) -> Owner:
    """The harness of a point."""
    owner = Prepared.model_validate_json((folder_of(folder, point) / "case.json").read_bytes()).owner
    assert owner is not None
    return owner


def devices_of(folder: Path, point: str) -> str:
    servers = Servers.model_validate_json((folder_of(folder, point) / "servers.json").read_bytes()).servers
    return servers[0].server.env["CUDA_VISIBLE_DEVICES"]


def lasted(folder: Path, point: str) -> tuple[str, str]:
    """When a point began and ended."""
    times = [event.time for event in RunDir(folder_of(folder, point)).events()]
    return times[0], times[-1]


def in_junit(folder: Path) -> list[str]:
    """Names of the points in the run's one file, in its order."""
    suites = validated(folder / "runs" / "junit.xml").iter("testsuite")
    return [suite.get("name").partition("point=")[2].rstrip("]") for suite in suites]


@pytest.fixture
def nothing_left(tmp_path: Path) -> Any:
    yield
    assert left_in(tmp_path) == []


def test_one_that_is_killed_is_an_error_of_its_own(tmp_path: Path, nothing_left: None) -> None:
    """The harness of one of three points dies; the others run side by side and are judged, in the plan's order."""
    host = Nvidia(tmp_path / "host", 4)
    points = {"a": {}, "b": {"serve": {"tensor_parallel_size": 2}}, "c": {}}
    process = begin(tmp_path, *arguments(tmp_path, points, {"start_after": 8.0}), env=host.env)
    wait_for(lambda: serves(folder_of(tmp_path, "b")), PATIENCE)
    psutil.Process(owner_of(tmp_path, "b").pid).kill()
    done = end(process, None, tmp_path, PATIENCE)
    assert done.code == 4, done.output
    assert [result_of(tmp_path, point).outcome for point in "abc"] == [Outcome.PASS, Outcome.ERROR, Outcome.PASS]
    (broke,) = [stage for stage in result_of(tmp_path, "b").stages if stage.outcome is Outcome.ERROR]
    assert "the harness of this point was killed by SIGKILL" in broke.message
    assert in_junit(tmp_path) == ["a", "b", "c"]
    assert devices_of(tmp_path, "a") != devices_of(tmp_path, "c")
    (one_began, one_ended), (other_began, other_ended) = (lasted(tmp_path, point) for point in "ac")
    assert one_began < other_ended
    assert other_began < one_ended
    assert f"[1/3] {ONE_POINT}[point=b], run directory " in done.output
    assert f"pass {ONE_POINT}[point=a] (" in done.output


def test_what_another_harness_has_is_left_alone(tmp_path: Path, nothing_left: None) -> None:
    """One of two devices is somebody else's; a point that needs three says so, and keeps nobody waiting."""
    host = Nvidia(tmp_path / "host", 2)
    wide = {"serve": {"tensor_parallel_size": 3}}
    with pytest.MonkeyPatch.context() as patch, ExitStack() as held:
        patch.setenv(leases.FOLDER, host.env[leases.FOLDER])
        first = Device("0", "GPU-0aaa")
        _, mine = leases.acquire(
            [first], 1, "somebody", tmp_path, foreign=lambda *_: "", wait=0.0, on_tick=lambda _: None
        )
        held.enter_context(mine)
        done = run(tmp_path, *arguments(tmp_path, {"a": {}, "wide": wide, "c": {}}), env=host.env)
    assert done.code == 4, done.output
    assert [devices_of(tmp_path, point) for point in "ac"] == ["1", "1"]
    assert [result_of(tmp_path, point).outcome for point in "ac"] == [Outcome.PASS, Outcome.PASS]
    assert "needs 3 cuda devices, there are 2" in result_of(tmp_path, "wide").stages[0].message
    assert in_junit(tmp_path) == ["a", "wide", "c"]


@dataclass(frozen=True)
class Matrix:
    """A run of three points on two devices: two run for a long time, and one waits for them."""

    process: subprocess.Popen[str]
    running: list[str]
    waiting: str


@pytest.fixture
def matrix(tmp_path: Path) -> Iterator[Matrix]:
    told = arguments(tmp_path, {"a": {}, "b": {}, "c": {}}, SLOW)
    process = begin(tmp_path, *told, env=Nvidia(tmp_path / "host", 2).env)

    def served() -> list[str]:
        return [point for point in "abc" if serves(folder_of(tmp_path, point))]

    wait_for(lambda: len(served()) == 2, PATIENCE)
    (waiting,) = set("abc") - set(served())
    yield Matrix(process, served(), waiting)
    if process.poll() is None:
        end(process, signal.SIGTERM, tmp_path, PATIENCE)
    assert left_in(tmp_path) == []


def codes(folder: Path, matrix: Matrix) -> list[int]:
    return [result_of(folder, point).exit_code for point in matrix.running]


def test_a_signal_ends_every_point(tmp_path: Path, matrix: Matrix) -> None:
    done = end(matrix.process, signal.SIGTERM, tmp_path, PATIENCE)
    assert done.code == 130, done.output
    assert in_junit(tmp_path) == ["a", "b", "c"]
    assert codes(tmp_path, matrix) == [130, 130]
    assert not folder_of(tmp_path, matrix.waiting).exists()
    assert f"skipped {ONE_POINT}[point={matrix.waiting}]: interrupted before it began" in done.output


def test_a_point_that_is_asked_to_end_ends_the_run(tmp_path: Path, matrix: Matrix) -> None:
    """As one does that runs alone: whoever ends it means the run (`harness reap --end-running`)."""
    psutil.Process(owner_of(tmp_path, matrix.running[0]).pid).terminate()
    done = end(matrix.process, None, tmp_path, PATIENCE)
    assert done.code == 130, done.output
    assert codes(tmp_path, matrix) == [130, 130]


def test_points_end_with_a_run_that_is_killed(tmp_path: Path, matrix: Matrix) -> None:
    end(matrix.process, signal.SIGKILL, tmp_path)
    wait_for(lambda: all((folder_of(tmp_path, point) / "result.json").exists() for point in matrix.running), PATIENCE)
    assert codes(tmp_path, matrix) == [130, 130]


def test_what_is_left_of_a_run_that_was_killed_whole_is_reaped(tmp_path: Path, matrix: Matrix) -> None:
    owners = [psutil.Process(owner_of(tmp_path, point).pid) for point in matrix.running]
    for each in owners:
        each.suspend()  # before it can learn that the run has ended
    end(matrix.process, signal.SIGKILL, tmp_path)
    for each in owners:
        each.kill()
    assert len(living_in(tmp_path)) == 2
    done = harness("reap", "--runs", tmp_path / "runs")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("removed: python (") == 2
