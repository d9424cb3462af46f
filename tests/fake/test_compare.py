"""``harness compare`` on the scripted engine: equal and unequal builds, one that breaks, and being ended half-way."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.comparison.comparison_record import Comparison
from tests.fake.conftest import ONE_POINT, QUICK, SMALL
from tests.fake_engine.install import install
from tests.helpers import REPOSITORY, busy_ports, command, edited, environment, harness, left_in, validated, wait_for

ANSWERS = ("accuracy", "acceptance_length", "acceptance_per_position[0]", "time_between_tokens")


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    return edited(tmp_path / "cases", ONE_POINT, SMALL[ONE_POINT] | QUICK)


def words(folder: Path, cases: Path, faults: dict[str, Any], *more: str | Path) -> list[str | Path]:
    first, second = install(folder / "first", {}), install(folder / "second", {"server": faults})
    builds = ["--engine", str(first), "--engine", str(second)]
    return ["compare", ONE_POINT, *builds, "--cases", cases, "--runs", folder / "runs", *more]


def record(folder: Path) -> Comparison:
    return Comparison.model_validate_json((folder / "runs" / "compare.json").read_bytes())


def test_a_loss_of_acceptance_and_slower_steps_are_worse(tmp_path: Path, cases: Path) -> None:
    done = harness(*words(tmp_path, cases, {"loses_every": 2, "latency": 0.0103}))
    assert done.returncode == 1, done.stdout + done.stderr
    found = record(tmp_path).cases[0]
    assert [each.build for each in found.starts] == ["A", "B", "B", "A"]
    said = {each.quantity: each for each in found.findings}
    assert [said[name].said for name in ANSWERS] == ["not worse", "worse", "worse", "worse"]
    assert said["time_between_tokens"].change == pytest.approx(1.03)
    assert found.texts is not None
    assert (found.texts.compared, found.texts.differ) == (8, 0)
    assert {"throughput", "start_up", "time_to_first_token"} <= set(said)
    document = validated(tmp_path / "runs" / "junit.xml")
    (failed,) = document.iterfind(".//testcase[@name='acceptance_length']/failure")
    assert failed.attrib["message"].startswith("worse: A ")
    assert "acceptance" in (tmp_path / "runs" / "compare.md").read_text()
    for each in found.starts:
        assert (tmp_path / "runs" / each.folder / "result.json").is_file()
    assert left_in(tmp_path) == []


def test_equal_builds_are_not_worse(tmp_path: Path, cases: Path) -> None:
    quantities = [word for name in ("accuracy", "acceptance_length") for word in ("--quantity", name)]
    done = harness(*words(tmp_path, cases, {}, *quantities))
    assert done.returncode == 0, done.stdout + done.stderr
    found = record(tmp_path).cases[0]
    assert {each.said for each in found.findings} == {"not worse"}
    assert len(found.findings) == 2


def test_a_build_that_breaks_could_not_be_judged(tmp_path: Path, cases: Path) -> None:
    done = harness(*words(tmp_path, cases, {"die_at_request": 3}, "--warm-up"))
    assert done.returncode == 4, done.stdout + done.stderr
    found = record(tmp_path).cases[0]
    assert f"on build {tmp_path / 'second' / 'python'} is error" in found.broken
    assert [(each.build, each.round) for each in found.starts] == [("A", 0)]  # what was finished is kept
    assert found.said == "could not be judged"
    assert left_in(tmp_path) == []
    assert busy_ports(tmp_path) == []


def ended_half_way(folder: Path, argv: list[str | Path], number: signal.Signals) -> int:
    """Send a signal while the second start runs; returns the exit status."""
    process = subprocess.Popen(command(*argv), env=environment(), cwd=REPOSITORY)
    wait_for(lambda: list((folder / "runs").rglob("*/02-B/*/ready.json")), 60)
    process.send_signal(number)
    return process.wait(60)


def test_ended_half_way_everything_is_gone_and_what_was_finished_is_kept(tmp_path: Path, cases: Path) -> None:
    assert ended_half_way(tmp_path, words(tmp_path, cases, {"latency": 2.0}), signal.SIGTERM) == 130
    found = record(tmp_path).cases[0]
    assert ([each.build for each in found.starts], found.broken) == (["A"], "interrupted")
    assert validated(tmp_path / "runs" / "junit.xml").findall(".//testcase/error")
    assert left_in(tmp_path) == []
    assert busy_ports(tmp_path) == []


def test_after_a_kill_the_same_command_goes_on(tmp_path: Path, cases: Path) -> None:
    argv = words(tmp_path, cases, {"latency": 2.0}, "--quantity", "acceptance_length")
    ended_half_way(tmp_path, argv, signal.SIGKILL)
    assert [each.build for each in record(tmp_path).cases[0].starts] == ["A"]
    install(tmp_path / "second", {})
    done = harness(*argv)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "going on after 1 starts" in done.stdout
    (found,) = record(tmp_path).cases
    assert [Path(each.folder).parent.name for each in found.starts] == ["01-A", "02-B-2", "03-B", "04-A"]
    assert [each.said for each in found.findings] == ["not worse"]
    assert left_in(tmp_path) == []
    assert busy_ports(tmp_path) == []
    other = harness(*argv, "--rounds", "2")
    assert (other.returncode, "a comparison with another rounds; give another folder" in other.stderr) == (2, True)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--engine", "third"], "--engine: give it twice"),
        (["--quantity", "speed"], "--quantity speed: no such quantity"),
        (["--margin", "throughput"], "--margin throughput: must be like throughput=3%"),
        (["--engine-python", "/bin/sh"], "--engine-python: one build of several"),
        (["--make", "make"], "--make make: no {} in it"),
    ],
)
def test_wrong_options_are_one_line(tmp_path: Path, cases: Path, more: list[str], message: str) -> None:
    done = harness(*words(tmp_path, cases, {}, *more))
    assert (done.returncode, message in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr
