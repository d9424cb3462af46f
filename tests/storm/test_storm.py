"""A storm of kills. In CI a short one; `nox -s storm -- --kills 1000 --record FILE` is a long one."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harness.containers import lifecycle
from tests.fake.conftest import DISAGG, ONE_POINT, QUICK, SMALL
from tests.fake.hosts import Nvidia
from tests.fake_engine.install import install
from tests.helpers import NO_ENGINE, REPOSITORY, all_live, begin, edited, end, run, started_in
from tests.storm import storm
from tests.storm.storm import Kind

WITH_DOCKER = {"DOCKER_HOST": os.environ.get("DOCKER_HOST", "")}
SLOW = {"latency": 0.1, "start_after": 0.3}
FASTEST_WITH_NOX = 60
"""Kills below which Nox is left out: its environments take a minute to install."""


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """Run directory of a run that ended well."""
    cases = edited(tmp_path / "cases-finished", ONE_POINT, SMALL[ONE_POINT] | QUICK)
    done = run(tmp_path / "finished", "--cases", cases, "--engine-python", install(tmp_path / "engine-finished", {}))
    assert done.code == 0, done.output
    return done.directory


@pytest.fixture
def neighbour(tmp_path: Path) -> Iterator[None]:
    """A run elsewhere that goes on all the time, and is untouched in the end."""
    folder = tmp_path / "neighbour"
    endless = {"timeouts/start": 100_000.0}
    cases = edited(folder / "cases", DISAGG, SMALL[DISAGG] | QUICK | endless)
    python = install(folder / "engine", {"decode": {"start_after": 100_000.0}})
    process = begin(folder, "--cases", cases, "--engine-python", python)
    servers = started_in(folder)
    yield
    assert process.poll() is None, "the neighbour was ended"
    assert all_live(servers), "a server of the neighbour was ended"
    assert end(process, signal.SIGTERM, folder).code == 130


@pytest.fixture
def host(tmp_path: Path) -> Nvidia:
    return Nvidia(tmp_path / "host", 8)


def scripted(tmp_path: Path, host: Nvidia) -> list[Kind]:
    disagg = edited(tmp_path / "cases", DISAGG, SMALL[DISAGG] | QUICK)
    on_gpu = edited(tmp_path / "cases-gpu", ONE_POINT, SMALL[ONE_POINT] | QUICK | {"platforms": ["cuda"]})
    python = install(tmp_path / "engine", dict.fromkeys(("prefill", "decode", "server"), SLOW))
    return [storm.scripted(disagg, python), storm.on_a_device(host, on_gpu, python)]


def nox(tmp_path: Path) -> Kind:
    """Through Nox in a copy of this checkout, so that a kill while it installs breaks no environment of ours."""
    copy = tmp_path / "checkout"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (REPOSITORY / name).is_file():
            shutil.copy2(REPOSITORY / name, target)
    subprocess.run([str(copy / "nox"), "-s", "harness", "--", "plan"], check=True, capture_output=True, cwd=copy)
    cases = edited(tmp_path / "cases-nox", ONE_POINT, SMALL[ONE_POINT] | QUICK)
    return storm.through_nox(copy, cases, install(tmp_path / "engine-nox", {"server": SLOW}))


@pytest.mark.timeout(0)
@pytest.mark.usefixtures("neighbour")
def test_nothing_is_left_and_nobody_else_is_touched(
    tmp_path: Path, host: Nvidia, finished: Path, request: pytest.FixtureRequest
) -> None:
    count, seed = int(request.config.getoption("--kills")), int(request.config.getoption("--storm-seed"))
    kinds = scripted(tmp_path, host)
    if count >= FASTEST_WITH_NOX:
        kinds.append(nox(tmp_path))
    kinds = [storm.timed(kind, tmp_path) for kind in kinds]
    shares = dict.fromkeys(kinds, count // len(kinds)) | {kinds[0]: count - count // len(kinds) * (len(kinds) - 1)}
    workers = int(request.config.getoption("--workers"))
    stormed(request, storm.plan(seed, shares, workers), tmp_path, finished, workers)
    assert storm.held_leases(host) == []


@pytest.mark.timeout(0)
def test_on_the_real_engine(tmp_path: Path, finished: Path, request: pytest.FixtureRequest) -> None:
    count = int(request.config.getoption("--kills-of-engines"))
    given = request.config.getoption("--engine-python")
    options = ["--engine-python", str(given)] if given else ["--runtime", "local"]
    kind = storm.on_the_real_engine([*options, "--environments", str(REPOSITORY / ".nox")], "vLLM", NO_ENGINE)
    if not count:
        pytest.skip("no kills of real engines asked for (--kills-of-engines)")
    stormed(request, storm.plan(1, {storm.timed(kind, tmp_path): count}), tmp_path, finished, 1)


@pytest.mark.timeout(0)
def test_in_docker(tmp_path: Path, finished: Path, request: pytest.FixtureRequest) -> None:
    count = int(request.config.getoption("--kills-of-engines"))
    if not count:
        pytest.skip("no kills of real engines asked for (--kills-of-engines)")
    if reason := lifecycle.unavailable():
        pytest.skip(f"no container engine answers: {reason}")
    base = request.config.getoption("--base-image")
    options = ["--runtime", "docker", *(["--base-image", str(base)] if base else [])]
    kind = storm.on_the_real_engine(options, "vLLM in Docker", WITH_DOCKER)
    stormed(request, storm.plan(2, {storm.timed(kind, tmp_path): count}), tmp_path, finished, 1)


def stormed(
    request: pytest.FixtureRequest, kills: list[storm.Kill], tmp_path: Path, finished: Path, workers: int
) -> None:
    """Kill them all, write the record if one is wanted, and fail with every fault."""
    outcomes, faults = [], []
    for outcome in storm.storm(kills, tmp_path / "storm", finished, workers):
        outcomes.append(outcome)
        faults += [f"{outcome.kill}: {fault}" for fault in outcome.faults]
        if outcome.faults:
            sys.stderr.write(f"{outcome.kill}: {'; '.join(outcome.faults)}\n")
    record = request.config.getoption("--record")
    if record:
        with Path(record).open("a") as file:
            today = datetime.now(UTC).date()
            here = (
                f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"
            )
            file.write(f"\n{len(kills)} kills, {workers} at a time, {today}, {here}\n\n{storm.table(outcomes)}\n")
    assert faults == []
