"""Several points in turn: where the run is, when it ends early, and what is said at its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fake.conftest import ONE_POINT, QUICK, SMALL
from tests.fake_engine.install import install
from tests.helpers import edited, harness, left_in, validated

POINTS = [f"mtp.cpu.known_answer_k1[stop={seconds}]" for seconds in (4, 5, 6)]


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    axis = {name: {"timeouts": {"stop": float(name)}} for name in ("4", "5", "6")}
    return edited(tmp_path / "cases", ONE_POINT, SMALL[ONE_POINT] | QUICK | {"matrix": {"stop": axis}})


def reasons(runs: Path) -> dict[str, str]:
    """Of each point of the folder's JUnit file why it was skipped; empty if it was not."""
    found = {}
    for suite in validated(runs / "junit.xml").iter("testsuite"):
        skipped = [each for case in suite.iter("testcase") for each in case.iter("skipped")]
        found[str(suite.get("name"))] = str(skipped[0].get("message")) if skipped else ""
    return found


def test_it_ends_after_the_first_that_is_not_green_if_it_is_told_to(cases: Path, tmp_path: Path) -> None:
    python, runs = install(tmp_path / "engine", {"server": {"no_drafts": True}}), tmp_path / "runs"
    done = harness("run", "-x", "--jobs", "1", "--runs", runs, "--cases", cases, "--engine-python", python)
    assert done.returncode == 1, done.stdout + done.stderr
    why = "not run: mtp/known_answer_k1[stop=4] is not green, and --exitfirst ends there"
    assert reasons(runs) == dict(zip(POINTS, ("", why, why), strict=True))
    assert "1 fail, 2 skipped" in done.stdout
    assert left_in(tmp_path) == []


def test_points_in_turn_are_parts_of_a_log_and_one_table_at_its_end(cases: Path, tmp_path: Path) -> None:
    python, runs = install(tmp_path / "engine", {}), tmp_path / "runs"
    chosen: list[str | Path] = ["--cases", cases, "-k", "stop=4 or stop=6"]
    done = harness("run", "--runs", runs, *chosen, "--engine-python", python, env={"GITHUB_ACTIONS": "true"})
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    marks = [line for line in lines if line.startswith("::")]
    assert [line.split(":", 4)[2] for line in marks] == ["group", "endgroup", "group", "endgroup"]
    assert marks[0].startswith("::group::[1/2] mtp/known_answer_k1[stop=4]: 0 s gone, about ")
    assert marks[2].startswith("::group::[2/2] mtp/known_answer_k1[stop=6]: ")
    end = lines[lines.index(marks[3]) :]
    assert any(line.split()[:2] == ["pass", "mtp/known_answer_k1[stop=6]"] for line in end)
    assert "2 pass" in end


def test_quiet_is_one_line_a_point(cases: Path, tmp_path: Path) -> None:
    python, runs = install(tmp_path / "engine", {}), tmp_path / "runs"
    done = harness("run", "-q", "--runs", runs, "--cases", cases, "-k", "stop=4", "--engine-python", python)
    assert done.returncode == 0, done.stdout + done.stderr
    said = [line for line in done.stdout.splitlines() if not line.startswith("false alarms")]
    assert [line.split(" (")[0] for line in said[1:]] == [
        "pass mtp/known_answer_k1[stop=4]",
        f"junit: {runs}/junit.xml",
    ]
    assert said[0].startswith("case mtp/known_answer_k1[stop=4], run directory ")


def test_what_is_wrong_with_the_host_is_said_once(cases: Path, tmp_path: Path) -> None:
    runs, nobody = tmp_path / "runs", {"DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"}
    done = harness("run", "--runs", runs, "--cases", cases, "--runtime", "docker", env=nobody)
    assert done.returncode == 4, done.stdout + done.stderr
    broken, *others = reasons(runs).values()
    assert broken == ""
    assert all(each.startswith("not run: no container engine answers: unix://") for each in others)
    assert "not run for the same reason: 2 more" in done.stdout
    assert "1 error, 2 skipped" in done.stdout
    assert not (runs / "mtp.known_answer_k1.stop=4").exists()
