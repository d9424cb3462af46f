"""From a model of which nobody knows anything to a case that gates: no number is typed by hand."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from harness.base.domain import Outcome
from harness.cases.load import load
from harness.plan.points import everything
from harness.upkeep.rules import problems
from known_answer.checkpoints import CHECKPOINTS
from tests.fake.conftest import QUICK
from tests.fake_engine.install import install
from tests.helpers import REPOSITORY, Run, command, edited, environment, harness, left_in, run, wait_for

CASE = "eagle3/known_answer"
WORKFLOWS = {"ci.yml": "session: [eagle3_cpu]"}


@pytest.fixture(scope="module")
def unknown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Keys of a case on models that are folders of somebody's: what they say is computed nowhere."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("target", "eagle3"):
        for file, content in CHECKPOINTS[name].files().items():
            (folder / name).mkdir(exist_ok=True)
            (folder / name / file).write_bytes(content)
    return QUICK | {
        "serve/model": {"path": str(folder / "target")},
        "serve/speculation/model": {"path": str(folder / "eagle3")},
        "evaluation/items": 32,
        "evaluation/concurrency": 2,
        "checks": {},
    }


def calibrated(
    folder: Path, cases: Path, *arguments: str, faults: dict[str, Any] | None = None, case: str = CASE
) -> tuple[int, str]:
    python = install(folder / "engine", {"server": faults or {}})
    into = folder / "calibration"
    done = harness("calibrate", case, "--cases", cases, "--engine-python", python, "--runs-below", into, *arguments)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory, unknown: dict[str, Any]) -> Path:
    """The folder of the case, calibrated with three runs."""
    folder = tmp_path_factory.mktemp("once")
    cases = edited(folder / "cases", CASE, unknown, generate=False)
    code, output = calibrated(folder, cases, "--runs", "3")
    assert code == 0, output
    return cases


def judged(folder: Path, cases: Path, name: str, faults: dict[str, Any] | None = None) -> Run:
    python = install(folder / f"engine-{name}", {"server": faults or {}})
    return run(folder / name, "--cases", cases, "--engine-python", python)


def test_from_nothing_to_a_case_that_gates(tmp_path: Path, unknown: dict[str, Any], once: Path) -> None:
    cases = edited(tmp_path / "cases", CASE, unknown, generate=False)
    first = judged(tmp_path, cases, "first")
    assert first.code == 0, first.output
    assert first.result.outcome is Outcome.MEASURED  # never green
    seen = {each.name: each for each in first.result.checks}
    assert seen["acceptance_length"].outcome is Outcome.MEASURED
    assert "no baseline" in seen["acceptance_length"].message

    cases = once
    table = tomlkit.parse((cases / f"{CASE}.toml").read_text()).unwrap()["checks"]["acceptance_length"]
    assert table["expected"] == pytest.approx(seen["acceptance_length"].measured, rel=1e-5)
    assert (table["passport"]["runs"], table["passport"]["concurrency"]) == (3, 2)
    assert "status" not in table
    assert problems(everything(load(cases)), WORKFLOWS, None) == []

    good = judged(tmp_path, cases, "good", {"latency": 0.2})  # so that there is time to read between requests
    assert good.code == 0, good.output
    length = next(each for each in good.result.checks if each.name == "acceptance_length")
    assert "groups of requests" in length.interval_of
    assert length.false_alarm
    assert "detects" in good.output
    bad = judged(tmp_path, cases, "bad", {"no_drafts": True})
    assert bad.code == 1, bad.output
    assert left_in(tmp_path) == []


def test_what_was_there_becomes_history_and_a_wider_bound_needs_a_reason(tmp_path: Path, once: Path) -> None:
    cases = shutil.copytree(once, tmp_path / "cases")
    path = cases / f"{CASE}.toml"
    document = tomlkit.parse(path.read_text())
    document["checks"]["acceptance_length"]["relative_tolerance"] = 0.001
    path.write_text(tomlkit.dumps(document))
    assert any("its noise needs" in line for line in problems(everything(load(cases)), WORKFLOWS, None))
    narrow = path.read_text()
    code, output = calibrated(tmp_path, cases, "--runs", "2")
    assert (code, "say why with --reason" in output) == (2, True), output
    assert path.read_text() == narrow
    shutil.rmtree(tmp_path / "calibration")
    code, output = calibrated(tmp_path, cases, "--runs", "3", "--reason", "too narrow by hand")
    assert code == 0, output
    table = tomlkit.parse(path.read_text()).unwrap()["checks"]["acceptance_length"]
    (past,) = table["history"]
    assert (past["relative_tolerance"], past["reason"]) == (0.001, "too narrow by hand")
    assert past["until"] == table["passport"]["date"]


def test_with_too_few_runs_nothing_gates(tmp_path: Path, unknown: dict[str, Any]) -> None:
    cases = edited(tmp_path / "cases", CASE, unknown, generate=False)
    code, output = calibrated(tmp_path, cases, "--runs", "2", "--until", "0.5%")
    assert code == 4, output
    assert "inconclusive" in output
    assert "is provisional: 2 runs; 3 at least" in output
    done = judged(tmp_path, cases, "red", {"no_drafts": True})
    lengths = [each for each in done.result.checks if each.name == "acceptance_length"]
    assert done.result.outcome is not Outcome.PASS
    assert [each.status for each in lengths] in (["provisional"], [""])  # nothing drafted is a finding all the same


def test_starts_are_asked_several_times_to_part_the_noise(tmp_path: Path, unknown: dict[str, Any]) -> None:
    cases = edited(tmp_path / "cases", CASE, unknown, generate=False)
    code, output = calibrated(tmp_path, cases, "--runs", "2", "--repeats", "2")
    assert code == 4, output  # two starts are too few to gate
    table = tomlkit.parse((cases / f"{CASE}.toml").read_text()).unwrap()["checks"]["acceptance_length"]
    passport = table["passport"]
    assert (passport["runs"], passport["repeats"], passport["within"]) == (2, 2, 0.0)
    assert left_in(tmp_path) == []


def test_a_run_that_breaks_writes_nothing(tmp_path: Path, unknown: dict[str, Any]) -> None:
    cases = edited(tmp_path / "cases", CASE, unknown, generate=False)
    before = (cases / f"{CASE}.toml").read_text()
    code, output = calibrated(tmp_path, cases, "--runs", "3", faults={"fail_at_request": 9})
    assert code == 4, output
    assert "a baseline is made of whole runs only" in output
    assert (cases / f"{CASE}.toml").read_text() == before


@pytest.mark.parametrize(
    ("number", "repeats"), [(signal.SIGTERM, "1"), (signal.SIGINT, "2"), (signal.SIGKILL, "2")], ids=str
)
def test_ended_half_way_it_writes_nothing(
    tmp_path: Path, unknown: dict[str, Any], number: signal.Signals, repeats: str
) -> None:
    cases = edited(tmp_path / "cases", CASE, unknown, generate=False)
    before, into = (cases / f"{CASE}.toml").read_text(), tmp_path / "calibration"
    python = install(tmp_path / "engine", {"server": {"latency": 1.0}})
    words: list[str | Path] = [
        "calibrate",
        CASE,
        "--cases",
        cases,
        "--engine-python",
        python,
        "--runs-below",
        into,
        "--runs",
        "3",
    ]
    process = subprocess.Popen(command(*words, "--repeats", repeats), env=environment(), cwd=REPOSITORY)
    wait_for(lambda: list(into.rglob("ready.json")), 60)
    process.send_signal(number)
    code = process.wait(60)
    if number is signal.SIGKILL:
        assert "removed: " in harness("reap", "--runs", into).stdout
    else:
        assert code == 130
    assert left_in(tmp_path) == []
    assert (cases / f"{CASE}.toml").read_text() == before


def test_a_baseline_of_other_prompts_judges_nothing(tmp_path: Path, once: Path) -> None:
    cases = shutil.copytree(once, tmp_path / "cases")
    path = cases / f"{CASE}.toml"
    path.write_text(path.read_text().replace("max_tokens = 128", "max_tokens = 64"))
    done = judged(tmp_path, cases, "other")
    assert done.code == 4, done.output
    assert "the baseline is of other prompts" in done.errors["acceptance_length"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--until", "5"), "--until 5: must be a share, as in 0.5% or 0.005"),
        (("--margin", "0%"), "--margin 0%: must be a share"),
        (("--runs", "1"), "--runs"),
    ],
)
def test_wrong_options_are_one_line(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    cases = edited(tmp_path / "cases", CASE, {})
    code, output = calibrated(tmp_path, cases, *arguments)
    assert code == 2
    assert words in output


def test_what_is_computed_is_not_measured(tmp_path: Path) -> None:
    cases = edited(tmp_path / "cases", CASE, {})
    code, output = calibrated(tmp_path, cases)
    assert code == 2
    assert "its values are computed, not measured: run `harness generate`" in output


def test_a_point_of_a_matrix_is_calibrated_by_itself(tmp_path: Path, unknown: dict[str, Any]) -> None:
    points = {"size": {"small": {"serve": {"flags": {"max-num-seqs": 4}}}, "large": {}}}
    cases = edited(tmp_path / "cases", CASE, unknown | {"matrix": points, "evaluation/items": 24}, generate=False)
    code, output = calibrated(tmp_path, cases)
    assert (code, f"name one of {CASE}[size=small], {CASE}[size=large]" in output) == (2, True), output
    code, output = calibrated(tmp_path, cases, "--runs", "3", case=f"{CASE}[size=small]")
    assert code == 0, output
    (case_file,) = load(cases)
    small, large = (case_file.resolve("cpu", each) for each in case_file.matrix("cpu").variants())
    assert small.checks.acceptance_length.passport.runs == 3
    assert large.without_baseline == ("acceptance_length",)
    assert "[matrix.size.small.checks.acceptance_length]" in (cases / f"{CASE}.toml").read_text()
