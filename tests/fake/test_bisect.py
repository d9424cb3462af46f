"""``harness bisect`` on the scripted engine: sixteen builds, builds that break, a kill half-way, and going on."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.bisection.search_record import Search
from tests.fake.conftest import ONE_POINT, QUICK, SMALL
from tests.fake_engine.install import install
from tests.helpers import REPOSITORY, busy_ports, command, edited, environment, harness, left_in, wait_for

SUBTLE = {"loses_every": 6}
"""One accepted token less, of all that the case asks."""


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    return edited(tmp_path / "cases", ONE_POINT, SMALL[ONE_POINT] | QUICK)


def words(
    folder: Path, cases: Path, number: int, script: Callable[[int], dict[str, Any]], *more: str
) -> list[str | Path]:
    """A search over builds 1 to ``number``, each with its own faults."""
    names = [str(install(folder / f"b{each}", {"server": script(each)})) for each in range(1, number + 1)]
    (folder / "builds").write_text("\n".join(names) + "\n")
    between = ["--builds", str(folder / "builds"), "--good", names[0], "--bad", names[-1]]
    return ["bisect", ONE_POINT, *between, "--cases", cases, "--runs", folder / "runs", *more]


def record(folder: Path) -> Search:
    return Search.model_validate_json((folder / "runs" / "bisect.json").read_bytes())


def test_a_subtle_loss_in_the_eleventh_of_sixteen_builds_is_found_in_five_starts(tmp_path: Path, cases: Path) -> None:
    done = harness(*words(tmp_path, cases, 16, lambda build: SUBTLE if build >= 11 else {}))
    assert done.returncode == 0, done.stdout + done.stderr
    found = record(tmp_path)
    assert found.first == 10
    assert [(each.build + 1, each.said) for each in found.trials] == [
        (8, "good"), (12, "bad"), (10, "good"), (11, "bad"), (11, "bad"),
    ]  # fmt: skip
    assert "first bad: build 11 of 16" in done.stdout
    assert "draft_counts: drafts" in done.stdout  # what turned red, with its numbers before and now
    again = f"harness run {ONE_POINT} --engine-python {tmp_path / 'b11' / 'python'}"
    assert f"see it again: {again}" in done.stdout
    assert again in (tmp_path / "runs" / "bisect.md").read_text()
    assert left_in(tmp_path) == []


def test_beside_the_good_build_a_loss_inside_the_bounds_is_found(tmp_path: Path, cases: Path) -> None:
    more = ["--paired", "--margin", "acceptance_length=0.1%"]
    done = harness(*words(tmp_path, cases, 4, lambda build: SUBTLE if build >= 3 else {}, *more))
    assert done.returncode == 0, done.stdout + done.stderr
    assert record(tmp_path).first == 2
    assert [each.build + 1 for each in record(tmp_path).trials] == [1, 3, 2]
    assert "acceptance_length worse: A 1." in done.stdout


def test_builds_that_break_are_left_out_and_the_first_bad_one_may_be_one_of_two(tmp_path: Path, cases: Path) -> None:
    def script(build: int) -> dict[str, Any]:
        return {"fail_at_start": "OSError: scripted"} if build == 2 else SUBTLE if build >= 3 else {}

    done = harness(*words(tmp_path, cases, 3, script))
    assert done.returncode == 4, done.stdout + done.stderr
    first, second, third = (tmp_path / f"b{each}" / "python" for each in (1, 2, 3))
    assert f"it is one of {second}, {third}; {second} could not be judged" in done.stderr
    assert record(tmp_path).trials[0].said == "skip"
    assert "scripted" in record(tmp_path).trials[0].why
    assert first.is_file()
    assert left_in(tmp_path) == []


def test_an_engine_that_stopped_to_start_is_searched_for_on_request(tmp_path: Path, cases: Path) -> None:
    def script(build: int) -> dict[str, Any]:
        return {"fail_at_start": "OSError: scripted"} if build >= 2 else {}

    done = harness(*words(tmp_path, cases, 3, script, "--broken-is-bad"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert record(tmp_path).first == 1
    assert "OSError: scripted" in done.stdout


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=pytest.mark.long), signal.SIGKILL], ids=str)
def test_ended_half_way_the_same_command_goes_on(tmp_path: Path, cases: Path, number: signal.Signals) -> None:
    slow = {"latency": 1.0}
    argv = words(tmp_path, cases, 4, lambda build: SUBTLE if build == 4 else slow if build == 3 else {})
    process = subprocess.Popen(command(*argv), env=environment(), cwd=REPOSITORY)
    wait_for(lambda: list((tmp_path / "runs").glob("002-*/*/ready.json")), 60)
    process.send_signal(number)
    code = process.wait(60)
    if number is not signal.SIGKILL:
        assert code == 130
        assert left_in(tmp_path) == []
    assert [each.build + 1 for each in record(tmp_path).trials] == [2]
    install(tmp_path / "b3", {"server": {}})
    done = harness(*argv)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "going on after 1 starts" in done.stdout
    assert [each.build + 1 for each in record(tmp_path).trials] == [2, 3, 4]
    assert [each.folder[:3] for each in record(tmp_path).trials] == ["001", "003", "004"]
    assert left_in(tmp_path) == []
    assert busy_ports(tmp_path) == []
    other = harness(*argv, "--confidence", "0.9")
    assert (other.returncode, "a search with another confidence" in other.stderr) == (2, True)


def test_a_command_makes_each_build_of_its_number(tmp_path: Path, cases: Path) -> None:
    words(tmp_path, cases, 3, lambda build: SUBTLE if build >= 2 else {})
    script = tmp_path / "make.sh"
    script.write_text(f'echo making\necho "$1" >>{tmp_path}/made\necho {tmp_path}/b$1/python\n')
    between = ["--good", "1", "--bad", "3", "--make", f"sh {script} {{}}"]
    done = harness("bisect", ONE_POINT, *between, "--cases", cases, "--runs", tmp_path / "runs")
    assert done.returncode == 0, done.stdout + done.stderr
    assert record(tmp_path).first == 1
    assert (tmp_path / "made").read_text().split() == ["2", "1"]  # each once, though one is named again at the end


def test_an_end_that_is_not_bad_is_named(tmp_path: Path, cases: Path) -> None:
    done = harness(*words(tmp_path, cases, 2, lambda _: {}))
    assert done.returncode == 4
    assert f"the ends are not what they are said to be: {tmp_path / 'b2' / 'python'} is good" in done.stderr


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--quantity", "throughput"], "add --paired"),
        (["--paired", "--broken-is-bad"], "--broken-is-bad: not beside the good build"),
        (["--paired", "--quantity", "speed"], "--quantity speed: no such quantity"),
        (["--base-image", "x"], "--base-image: one build of several"),
    ],
)
def test_wrong_options_are_one_line(tmp_path: Path, cases: Path, more: list[str], message: str) -> None:
    done = harness(*words(tmp_path, cases, 2, lambda _: {}, *more))
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
