"""Going on where a run ended: each point has one verdict, what was found stays, and nothing runs on."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.fake.conftest import ONE_POINT, QUICK, SMALL
from tests.fake_engine.install import install
from tests.helpers import begin, edited, end, harness, left_in, serves, validated, wait_for

POINTS = [f"mtp.cpu.known_answer_k1[stop={seconds}]" for seconds in (4, 5, 6)]
FOLDERS = [f"mtp.known_answer_k1.stop={seconds}" for seconds in (4, 5, 6)]


def cases_of(folder: Path, **more: object) -> Path:
    """One case of three points."""
    axis = {name: {"timeouts": {"stop": float(name)}} for name in ("4", "5", "6")}
    return edited(folder / "cases", ONE_POINT, SMALL[ONE_POINT] | QUICK | {"matrix": {"stop": axis}} | more)


def reported(runs: Path) -> dict[str, str]:
    """Each point of the folder's JUnit file, which must have it once, with how it is reported."""
    suites = list(validated(runs / "junit.xml").iter("testsuite"))
    assert max(Counter(each.get("name") for each in suites).values()) == 1
    found = {}
    for suite in suites:
        kinds = {child.tag for case in suite.iter("testcase") for child in case}
        found[suite.get("name")] = next((kind for kind in ("error", "failure", "skipped") if kind in kinds), "pass")
    return found


def properties(runs: Path, point: str) -> dict[str, str]:
    (suite,) = [each for each in validated(runs / "junit.xml").iter("testsuite") if each.get("name") == point]
    return {each.get("name"): each.get("value") for each in suite.iter("property")}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_killed_run_is_taken_up_again_and_each_point_has_one_verdict(tmp_path: Path) -> None:
    cases = cases_of(tmp_path)
    python = install(tmp_path / "engine", {"server": {"start_after": 3}})
    process = begin(tmp_path, "--cases", cases, "--engine-python", python)
    runs = tmp_path / "runs"
    wait_for(lambda: serves(runs / FOLDERS[1]), 90)
    end(process, signal.SIGKILL, tmp_path)
    # Whoever reads the file now sees that two have no verdict, and whoever reads the summary too.
    assert reported(runs) == dict(zip(POINTS, ("pass", "error", "error"), strict=True))
    said = harness("summary", runs).stdout
    assert said.startswith("### 1 pass, 2 error")
    assert left_in(tmp_path) != []
    before = {name: contents(runs / name) for name in FOLDERS[:2]}
    done = harness("run", "--resume", runs)
    assert done.returncode == 0, done.stdout + done.stderr
    assert left_in(tmp_path) == []
    assert "2 of 3 points to run; verdicts of before: 1" in done.stdout
    assert reported(runs) == dict.fromkeys(POINTS, "pass")
    for name, files in before.items():
        # A log's end may be in a pipe still, and a file half-written (`.part`) at the kill is taken away.
        kept = {each: files[each] for each in files if "logs/" not in each and not each.endswith(".part")}
        assert {each: contents(runs / name)[each] for each in kept} == kept
    assert sorted(each.name for each in (runs / "attempt-2").iterdir()) == [*FOLDERS[1:], "selection.json"]
    assert properties(runs, POINTS[1])["provenance.attempt.1"] == "no verdict"
    assert "provenance.attempt" not in properties(runs, POINTS[0])
    said = harness("summary", runs).stdout
    assert said.startswith("### 3 pass\n")
    assert r"Attempt 2 of mtp/known\_answer\_k1\[stop=5\]; others\: 1 no verdict" in said
    # There is nothing left to do, and that is no empty selection.
    again = harness("run", "--resume", runs)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "0 of 3 points to run; verdicts of before: 3" in again.stdout
    assert reported(runs) == dict.fromkeys(POINTS, "pass")


def test_a_run_that_goes_on_is_left_alone_and_one_that_was_interrupted_is_taken_up_again(tmp_path: Path) -> None:
    cases, runs = cases_of(tmp_path), tmp_path / "runs"
    python = install(tmp_path / "engine", {"server": {"start_after": 300}})
    process = begin(tmp_path, "--cases", cases, "--engine-python", python, f"{ONE_POINT}[stop=4]")
    wait_for(lambda: serves(runs / FOLDERS[0]), 90)
    refused = harness("run", "--resume", runs)
    assert refused.returncode == 2
    assert f"{runs}: another run has it; `harness reap --end-running` ends it" in refused.stderr
    assert end(process, signal.SIGTERM, tmp_path).code == 130
    install(tmp_path / "engine", {})
    done = harness("run", "--resume", runs)
    assert done.returncode == 0, done.stdout + done.stderr
    assert reported(runs) == {POINTS[0]: "pass"}
    assert properties(runs, POINTS[0])["provenance.attempt.1"] == "interrupted"


def test_what_failed_runs_again_and_its_first_verdict_stays_visible(tmp_path: Path) -> None:
    cases = cases_of(tmp_path)
    python = install(tmp_path / "engine", {"server": {"no_drafts": True}})
    runs = tmp_path / "runs"
    first = harness("run", "--runs", runs, "--cases", cases, "--engine-python", python, f"{ONE_POINT}[stop=4]")
    assert first.returncode == 1, first.stdout
    before = contents(runs / FOLDERS[0])
    install(tmp_path / "engine", {})
    kept = harness("run", "--resume", runs)
    assert kept.returncode == 1, "a failure is a verdict"
    done = harness("run", "--failed", runs)
    assert done.returncode == 0, done.stdout + done.stderr
    assert reported(runs) == {POINTS[0]: "pass"}
    assert properties(runs, POINTS[0])["provenance.attempt"] == "3"
    assert properties(runs, POINTS[0])["provenance.attempt.1"] == "fail"
    assert contents(runs / FOLDERS[0]) == before
    said = harness("summary", runs).stdout
    assert said.startswith("### 1 pass\n")
    assert r"others\: 1 fail" in said


def test_a_case_that_has_changed_runs_again_and_one_that_is_gone_keeps_its_verdict(tmp_path: Path) -> None:
    cases = cases_of(tmp_path)
    python = install(tmp_path / "engine", {})
    runs = tmp_path / "runs"
    wanted = [f"{ONE_POINT}[stop=4]", f"{ONE_POINT}[stop=5]"]
    first = harness("run", "--runs", runs, "--cases", cases, "--engine-python", python, *wanted)
    assert first.returncode == 0, first.stdout
    file = cases / f"{ONE_POINT}.toml"
    file.write_text(file.read_text().replace("stop = 5.0", "stop = 7.0"))
    done = harness("run", "--failed", runs, f"{ONE_POINT}[stop=5]")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{wanted[1]}: its case is another one than in attempt 1, so it runs again" in done.stdout
    assert f"not selected now: {wanted[0]}" in done.stdout
    assert reported(runs) == {POINTS[0]: "pass", POINTS[1]: "pass"}
    assert properties(runs, POINTS[1])["provenance.attempt.1"] == "pass"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--resume", "{there}"], "{there}: no folder of a run (selection.json is not there)"),
        (["--failed", "{there}/nothing"], "{there}/nothing: no folder of a run"),
        (["--resume", "{there}", "--failed", "{there}"], "--resume, --failed: give one"),
        (["--resume", "{broken}"], "{broken}/selection.json: asked: "),
        (["--resume", "{newer}"], "{newer}/selection.json: asked.colour: no such option in this version"),
    ],
)
def test_what_is_no_folder_of_a_run_is_one_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    places = {name: tmp_path / name for name in ("there", "broken", "newer")}
    for each in places.values():
        each.mkdir()
    (places["broken"] / "selection.json").write_text(json.dumps({"schema_version": 1, "asked": 5, "points": []}))
    (places["newer"] / "selection.json").write_text(json.dumps({"asked": {"colour": "red"}, "points": []}))
    done = harness("run", *(each.format(**places) for each in arguments))
    assert done.returncode == 2
    assert done.stderr.startswith(f"harness: {said.format(**places)}")
    assert len(done.stderr.splitlines()) == 1
    assert not any(path.name.startswith("attempt") for path in tmp_path.rglob("*"))


def test_a_new_folder_and_an_old_one_contradict_each_other(tmp_path: Path) -> None:
    (tmp_path / "selection.json").write_text(json.dumps({"asked": {}, "points": []}))
    done = harness("run", "--resume", tmp_path, "--runs", tmp_path / "new", env={"PWD": os.fspath(tmp_path)})
    assert done.returncode == 2
    assert f"--runs: not with --resume or --failed, which go on in {tmp_path}" in done.stderr


def test_identical_work_is_not_done_twice_where_the_caller_says_so(tmp_path: Path) -> None:
    cases = cases_of(tmp_path)
    python = install(tmp_path / "engine", {})
    wanted: list[str | Path] = ["--cases", cases, "--engine-python", python, f"{ONE_POINT}[stop=4]"]
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    assert harness("run", "--runs", first, *wanted).returncode == 0
    done = harness("run", "--runs", second, *wanted, "--reuse", first)
    assert done.returncode == 0, done.stdout + done.stderr
    run_id = json.loads((first / FOLDERS[0] / "case.json").read_text())["run_id"]
    assert f"skipped {ONE_POINT}[stop=4]: reused: run {run_id} of " in done.stdout
    assert not (second / FOLDERS[0] / "servers.json").exists()
    assert reported(second) == {POINTS[0]: "skipped"}
    assert properties(second, POINTS[0])["provenance.reused"] == run_id
    said = harness("summary", second).stdout
    assert said.startswith("### 1 skipped\n")
    assert "reused" in said
    # What is reused is no green of its own, and what has changed is run.
    file = cases / f"{ONE_POINT}.toml"
    file.write_text(file.read_text().replace("stop = 4.0", "stop = 7.0"))
    done = harness("run", "--runs", third, *wanted, "--reuse", first, "--reuse", second)
    assert done.returncode == 0, done.stdout + done.stderr
    assert reported(third) == {POINTS[0]: "pass"}
