"""Several harnesses on one host, one of them killed again and again: every point of all gets its devices, in its turn.

In CI a slice with lessees that have no engine. `nox -s storm -- --points 200 --record FILE` has real runs, each with
the scripted engine, of which one is killed every 20 s and taken up again.
"""

from __future__ import annotations

import json
import os
import platform
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from harness.devices import leases
from harness.run.documents import Event
from tests.fake.conftest import ONE_POINT, QUICK, SMALL
from tests.fake.hosts import Nvidia
from tests.fake_engine.install import install
from tests.helpers import REPOSITORY, command, edited, environment, left_in, validated, wait_for

WIDTHS = (1, 2, 4)
SHARES = (-1, -2)
"""Points that have so many parts of devices."""
WIDEST = max(WIDTHS)
_EVERY = 20.0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(leases.FOLDER, str(tmp_path / "leases"))
    return tmp_path


def lessee(folder: Path, name: str, points: list[int]) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "tests.storm.lessee", str(folder), name, ",".join(map(str, points))]
    return subprocess.Popen(argv, cwd=REPOSITORY, stderr=subprocess.PIPE)


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    path = folder / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def overtaken(wide: Mapping[str, Any], others: list[dict[str, Any]]) -> int:
    """How many of those got theirs first that came when this one had its ticket; it has all devices, so none may."""
    return sum(other["before"] > wide["came"] and other["got"] < wide["got"] for other in others)


def test_every_point_gets_its_devices_in_its_turn_whoever_is_killed(folder: Path) -> None:
    chance = random.Random(0)
    points = {name: [chance.choice((*WIDTHS, *SHARES)) for _ in range(30)] for name in ("one", "two", "killed")}
    with ExitStack() as held:
        runs = {name: held.enter_context(lessee(folder, name, each)) for name, each in points.items()}
        for kills in range(1, 7):
            # While it waits, and while it has devices: whichever it is when it has come so far.
            wait_for(lambda least=kills * 4: len(lines(folder, "killed")) >= least, 60)
            runs["killed"].kill()
            runs["killed"].wait()
            runs["killed"] = held.enter_context(lessee(folder, "killed", points["killed"]))
        for name, process in runs.items():
            _, error = process.communicate(timeout=120)
            assert process.returncode == 0, (name, error)
    for name, wanted in points.items():
        assert [each["count"] for each in lines(folder, name)] == wanted
    everything = [each for name in points for each in lines(folder, name)]
    wide = [each for each in everything if each["count"] == WIDEST]
    assert sum(overtaken(each, everything) for each in wide) == 0
    assert not list((folder / "leases").glob("*.ticket"))


@dataclass
class Harness:
    """One of the harnesses, with the folder of its runs."""

    folder: Path
    arguments: list[str | Path]
    env: Mapping[str, str]
    kills: int = 0

    def begin(self) -> subprocess.Popen[str]:
        going_on = (self.folder / "runs" / "selection.json").exists()
        where = ["--resume" if going_on else "--runs", self.folder / "runs"]
        with (self.folder / "printed.txt").open("ab") as output:
            return subprocess.Popen(
                command("run", *where, *self.arguments, "--wait-for-devices", "3600"),
                env=environment(self.env),
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=REPOSITORY,
            )


@pytest.mark.timeout(0)
def test_harnesses(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    count = int(request.config.getoption("--points"))
    if not count:
        pytest.skip("no points of harnesses asked for (--points)")
    host, chance = Nvidia(tmp_path / "host", 4), random.Random(0)
    there = [harness_of(tmp_path / name, host, count // 3, chance) for name in ("one", "two", "killed")]
    killed, began = there[-1], time.monotonic()
    runs = [each.begin() for each in there]
    last = time.monotonic()
    while any(each.poll() is None for each in runs):
        time.sleep(0.2)
        if runs[-1].poll() is None and time.monotonic() - last > _EVERY:
            runs[-1].kill()
            runs[-1].wait()
            killed.kills += 1
            runs[-1], last = killed.begin(), time.monotonic()
    assert [each.wait() for each in runs] == [0, 0, 0], [each.folder for each in there]
    for each in there:
        outcomes = Counter(len(list(suite.iter("error", "failure", "skipped"))) for suite in suites(each))
        assert outcomes == {0: count // 3}, each.folder
    assert left_in(tmp_path) == []
    turns = [turn for each in there for turn in turns_of(each.folder / "runs")]
    longest = max(turn.running for turn in turns)
    late = [turn for turn in turns if turn.width == WIDEST and turn.waited > longest + turn.running]
    if record := request.config.getoption("--record"):
        with Path(record).open("a") as file:
            file.write(table(turns, killed.kills, time.monotonic() - began))
    assert late == []


def harness_of(folder: Path, host: Nvidia, count: int, chance: random.Random) -> Harness:
    """A harness with so many points of 1, 2 and 4 devices, in random order."""
    axis = {f"{number:03}": {"serve": {"tensor_parallel_size": chance.choice(WIDTHS)}} for number in range(count)}
    changes = SMALL[ONE_POINT] | QUICK | {"platforms": ["cuda"], "timeouts/start": 120.0, "matrix": {"point": axis}}
    cases = edited(folder / "cases", ONE_POINT, changes)
    return Harness(folder, ["--cases", cases, "--engine-python", install(folder / "engine", {})], host.env)


def suites(harness: Harness) -> Iterator[Any]:
    return iter(validated(harness.folder / "runs" / "junit.xml").iter("testsuite"))


@dataclass(frozen=True)
class Turn:
    """What one point that came to its end waited and had its devices, in seconds."""

    width: int
    waited: float
    running: float


def turns_of(runs: Path) -> Iterator[Turn]:
    for path in sorted(runs.glob("**/result.json")):
        events = [Event.model_validate_json(line) for line in (path.parent / "events.jsonl").read_text().splitlines()]
        began = next((each.time for each in events if each.text.startswith("waiting for ")), None)
        leased = next(each.time for each in events if each.stage == "prepare" and each.kind == "end")
        width = len(json.loads((path.parent / "case.json").read_text())["runtime"]["devices"])
        yield Turn(width, seconds(began, leased) if began else 0.0, seconds(leased, events[-1].time))


def seconds(since: str, until: str) -> float:
    return (datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds()


def table(turns: list[Turn], kills: int, passed: float) -> str:
    here = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    title = f"{len(turns)} points of three harnesses on 4 devices, one killed {kills} times, {passed:.0f} s"
    found = [
        f"\n{title}, {datetime.now(UTC).date()}, {here}\n",
        "| devices | points | longest wait, s | longest run, s |",
        "| --- | --- | --- | --- |",
    ]
    for width in WIDTHS:
        of_width = [turn for turn in turns if turn.width == width]
        waited, running = max(turn.waited for turn in of_width), max(turn.running for turn in of_width)
        found.append(f"| {width} | {len(of_width)} | {waited:.1f} | {running:.1f} |")
    return "\n".join(found) + "\n"
