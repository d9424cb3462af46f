"""Engines, protocols and checks from other packages: installed into an environment of their own, and run there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from lxml import etree

from tests.helpers import REPOSITORY, environment

EXTENSIONS = REPOSITORY / "tests" / "extensions"
PACKAGES = ("sums_engine", "sums_protocol", "answer_time_check")
CASE = "sums/small"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of a new environment with the harness and the three packages, as users install them."""
    return _installed(tmp_path_factory.mktemp("extended"), [REPOSITORY, *(EXTENSIONS / name for name in PACKAGES)])


def _installed(folder: Path, sources: Sequence[Path]) -> Path:
    programs, wheels = folder / "env" / "bin", folder / "wheels"
    for source in sources:
        _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", wheels], source)
    uv: list[str | Path] = [sys.executable, "-m", "uv"]
    install = [*uv, "pip", "install", "--quiet", "--python", programs / "python"]
    _run([*uv, "venv", "--quiet", "--python", sys.executable, folder / "env"], folder)
    _run([*install, "--require-hashes", "--requirement", REPOSITORY / "requirements" / "harness.txt"], folder)
    _run([*install, "--no-deps", *sorted(wheels.glob("*.whl"))], folder)
    return programs


def _run(command: Sequence[Path | str], folder: Path) -> None:
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def harness(programs: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [str(programs / "harness"), *arguments]
    return subprocess.run(argv, cwd=folder, env=environment(), capture_output=True, text=True, check=False)


@pytest.mark.timeout(600)
def test_a_case_of_other_packages_plans_shows_checks_runs_and_lands_in_junit(installed: Path, tmp_path: Path) -> None:
    cases, python = ("--cases", str(EXTENSIONS / "baselines")), str(installed / "python")
    workflows = tmp_path / "workflows"
    workflows.mkdir()
    (workflows / "ci.yml").write_text("jobs:\n  a:\n    steps:\n      - run: nox -s sums_cpu\n")

    planned = harness(installed, tmp_path, "plan", *cases)
    assert "sums/small" in planned.stdout, planned.stdout + planned.stderr
    shown = harness(installed, tmp_path, "show", CASE, *cases)
    assert "sums-engine --port" in shown.stdout, shown.stderr
    assert "answer_time" in shown.stdout
    checked = harness(installed, tmp_path, "check", *cases, "--workflows", str(workflows))
    assert (checked.returncode, checked.stdout) == (0, "1 points of 1 cases, 0 problems\n"), checked.stderr
    asked = harness(installed, tmp_path, "doctor", *cases, "--offline", "--format", "json", "--engine-python", python)
    assert json.loads(asked.stdout), asked.stderr

    run = ("run", CASE, *cases, "--runs", str(tmp_path / "runs"), "--engine-python", python)
    done = harness(installed, tmp_path, *run)
    assert done.returncode == 0, done.stdout + done.stderr
    (junit,) = (tmp_path / "runs").glob("*/junit.xml")
    suite = etree.parse(junit).find("testsuite")
    assert suite is not None
    found = {case.get("name"): case for case in suite.iter("testcase")}
    assert {"validity", "accuracy", "answer_time", "teardown"} <= found.keys()
    assert "unit=seconds" in (found["answer_time"].findtext("system-out") or "")
    assert [case for case in found.values() if len(case.findall("failure") + case.findall("error"))] == []


def test_a_foreign_engine_that_is_broken_is_red(installed: Path, tmp_path: Path) -> None:
    cases = tmp_path / "baselines"
    for path in (EXTENSIONS / "baselines").rglob("*.toml"):
        target = cases / path.relative_to(EXTENSIONS / "baselines")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path.read_text())
    with (cases / "sums" / "small.toml").open("a") as file:
        file.write("\n[serve.flags]\noff-by = 1\n")
    run = ("run", CASE, "--cases", str(cases), "--runs", str(tmp_path / "runs"))
    done = harness(installed, tmp_path, *run, "--engine-python", str(installed / "python"))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "accuracy is 0, expected 1 (exactly 1, n = 20)" in done.stdout


def test_what_is_behind_an_entry_point_is_what_it_should_be(installed: Path, tmp_path: Path) -> None:
    site = tmp_path / "site" / "broken-1.0.dist-info"
    site.mkdir(parents=True)
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    for points, words in (
        ("mine = json:dumps", "json:dumps is no Check of this name; see docs/extending.md"),
        ("mine = no_such_module:CHECK", "no_such_module:CHECK cannot be loaded: ModuleNotFoundError"),
        ("accuracy = harness.checks.parity:CHECK", "there is another 'accuracy'; uninstall one of the two packages"),
    ):
        (site / "entry_points.txt").write_text(f"[harness.checks]\n{points}\n")
        argv = [str(installed / "harness"), "plan", "--cases", str(EXTENSIONS / "baselines")]
        done = subprocess.run(
            argv,
            cwd=tmp_path,
            env=environment({"PYTHONPATH": str(site.parent)}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1
        assert f"of harness.checks, from broken: {words}" in done.stderr


OURS = {
    "an engine": ("engines", "sums_engine/sums_engine/engine.py", 'sums = "harness.engines.sums:ENGINE"'),
    "an evaluation protocol": ("protocols", "sums_protocol/sums_protocol.py", 'sums = "harness.protocols.sums:Sums"'),
    "a check": (
        "checks",
        "answer_time_check/answer_time_check.py",
        'answer_time = "harness.checks.answer_time:CHECK"',
    ),
}


def test_adding_one_to_the_harness_touches_what_contributing_says(tmp_path: Path) -> None:
    copy = tmp_path / "checkout"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if not name.startswith("tests/") and (REPOSITORY / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, copy / name)
    promised = (copy / "CONTRIBUTING.md").read_text()
    project = copy / "pyproject.toml"
    for what, (room, source, line) in OURS.items():
        # One file more, and one line more: that is all this test does to the copy.
        assert f"| {what} | one module in `harness/{room}/`, a line in `pyproject.toml` |" in promised
        module = copy / "harness" / room / f"{line.split()[0]}.py"
        module.write_text((EXTENSIONS / source).read_text())
        group = f'[project.entry-points."harness.{room}"]\n'
        project.write_text(project.read_text().replace(group, f"{group}{line}\n"))
    programs = _installed(tmp_path, [copy])
    shown = harness(programs, tmp_path, "show", CASE, "--cases", str(EXTENSIONS / "baselines"))
    assert shown.returncode == 0, shown.stderr
    assert "sums-engine --port" in shown.stdout
    assert "answer_time" in shown.stdout
    assert "protocol sums" in shown.stdout
