"""The five stages by hand, in a plain shell, and the verdict recomputed somewhere else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.reports.result import Result
from tests.fake.conftest import DISAGG, QUICK, SMALL
from tests.fake_engine.install import install
from tests.helpers import REPOSITORY, edited, environment, harness, left_in, run


@pytest.fixture
def by_hand(tmp_path: Path) -> tuple[Path, str]:
    """A run directory made by the five scripts in one shell, and what they printed."""
    cases = edited(tmp_path / "cases", DISAGG, SMALL[DISAGG] | QUICK)
    python = install(tmp_path / "engine", {})
    rundir = tmp_path / "run"
    shell = "\n".join(
        [
            "set -e",
            f"scripts/serve {DISAGG} --run-dir {rundir} --cases {cases} --engine-python {python}",
            f"scripts/health-wait {rundir}",
            f"scripts/eval {rundir}",
            f"scripts/assert {rundir}",
            f"scripts/stop {rundir}",
        ]
    )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", shell],
        cwd=REPOSITORY,
        env=environment({"PATH": path}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert left_in(tmp_path) == []
    return rundir, done.stdout


def test_same_verdict_by_hand_as_supervised(by_hand: tuple[Path, str], tmp_path: Path) -> None:
    rundir, _ = by_hand
    supervised = run(tmp_path, "--cases", tmp_path / "cases", "--engine-python", tmp_path / "engine" / "python")
    assert supervised.code == 0
    again = type(supervised.result).model_validate_json((rundir / "result.json").read_bytes())
    assert _but_for_one_run(again) == _but_for_one_run(supervised.result)


def _but_for_one_run(result: Result) -> Result:
    """Without what is of one run alone: when it was, where, how long it took, and how much memory its servers took."""
    checks = [
        each if each.name != "at_rest" else replace(each, measured=None, details="", message="")
        for each in result.checks
    ]
    of_one: dict[str, object] = {"stages": (), "provenance": {}, "timing": None, "started": ""}
    return result.model_copy(update={**of_one, "checks": checks})


def test_the_verdict_is_recomputed_on_another_machine(by_hand: tuple[Path, str], tmp_path: Path) -> None:
    rundir, _ = by_hand
    before = (rundir / "result.json").read_text()
    # Another machine: another path, no checkpoints, no engine, and only the files.
    moved = tmp_path / "elsewhere" / "copied"
    shutil.copytree(rundir, moved, symlinks=True)
    shutil.rmtree(tmp_path / "engine")
    for name in ("result.json", "measurements.json", "junit.xml"):
        (moved / name).unlink()
    done = harness("assert", moved, env={"XDG_CACHE_HOME": str(tmp_path / "no-cache")})
    assert done.returncode == 0, done.stderr
    assert (moved / "result.json").read_text() == before


def test_a_changed_baseline_changes_the_recomputed_verdict(by_hand: tuple[Path, str]) -> None:
    rundir, _ = by_hand
    case = rundir / "case.json"
    case.write_text(case.read_text().replace('"expected": 3.0', '"expected": 3.3'))
    done = harness("assert", rundir)
    assert done.returncode == 1
    assert "acceptance_length is 3 tokens per draft, expected 3.3" in done.stdout


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("health-wait", "no run directory"),
        ("eval", "no run directory"),
        ("assert", "no run directory"),
        ("stop", "no run directory"),
    ],
)
def test_a_stage_without_a_run_directory(tmp_path: Path, command: str, words: str) -> None:
    done = harness(command, tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_results_are_never_overwritten(by_hand: tuple[Path, str], tmp_path: Path) -> None:
    rundir, _ = by_hand
    done = harness(
        "serve",
        DISAGG,
        "--run-dir",
        rundir,
        "--cases",
        tmp_path / "cases",
        "--engine-python",
        tmp_path / "engine" / "python",
    )
    assert done.returncode == 2
    assert "already a run directory" in done.stderr


def test_commands_can_be_pasted(by_hand: tuple[Path, str]) -> None:
    rundir, _ = by_hand
    lines = (rundir / "commands.sh").read_text().splitlines()
    router = next(line for line in lines if "launch_router" in line)
    done = subprocess.run(["sh", "-c", f"{router} --help"], capture_output=True, text=True, check=False)
    assert "--decode" in done.stdout, done.stderr


def test_stopping_twice_is_harmless(by_hand: tuple[Path, str]) -> None:
    rundir, _ = by_hand
    assert harness("stop", rundir).returncode == 0


def test_assert_before_eval_is_an_error_with_the_next_step(tmp_path: Path) -> None:
    cases = edited(tmp_path / "cases", DISAGG, SMALL[DISAGG] | QUICK)
    python = install(tmp_path / "engine", {})
    rundir = tmp_path / "run"
    harness("serve", DISAGG, "--run-dir", rundir, "--cases", cases, "--engine-python", python)
    done = harness("assert", rundir)
    assert done.returncode == 4
    assert "events.jsonl: no end of health-wait, eval; run `harness health-wait` first" in done.stdout
    assert harness("stop", rundir).returncode == 0
    assert left_in(tmp_path) == []
