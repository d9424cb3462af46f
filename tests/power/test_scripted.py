"""The runner on the scripted engine: what it says of each kind of mutant, going on, and being killed half-way."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.power.mutant_records import Record
from harness.power.overlay import over
from harness.power.verdicts import Status
from tests.fake.conftest import QUICK, SMALL
from tests.fake_engine.install import environment as engine_environment
from tests.helpers import REPOSITORY, busy_ports, edited, environment, harness, left_in, wait_for
from tests.power.scripted_mutants import CASE

SWITCHED = (
    "counts_one_more",
    "says_nothing",
    "does_no_harm",
    "is_not_reached",
    "is_gone",
    "does_not_fit",
    "ends_with_an_error",
)


class Place:
    """A scripted engine in an environment of its own, a small case, and a registry with its mutants."""

    def __init__(self, folder: Path, faults: dict[str, dict[str, object]]) -> None:
        self.folder = folder
        self.python = engine_environment(folder / "engine", faults)
        self.cases = edited(folder / "cases", CASE, SMALL[CASE] | QUICK)
        self.package = folder / "package" / "engine_mutants"
        shutil.copytree(REPOSITORY / "engine_mutants", self.package, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(Path(__file__).with_name("scripted_mutants.py"), self.package / "every_mutant.py")
        self.before = self._state()

    def _state(self) -> dict[str, float]:
        return {str(path): path.lstat().st_mtime for path in sorted((self.folder / "engine").rglob("*"))}

    def begin(self, *arguments: str, runs: str = "runs") -> subprocess.Popen[str]:
        argv = [
            *(sys.executable, "-P", "-m", "harness", "power"),
            *("--engine-python", self.python, "--platform", "cpu", "--cases", self.cases),
            *("--record", self.folder / "record", "--runs", self.folder / runs, *arguments),
        ]
        env = environment({"PYTHONPATH": str(self.package.parent), "XDG_CACHE_HOME": str(self.folder / "cache")})
        return subprocess.Popen(
            list(map(str, argv)),
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=REPOSITORY,
            process_group=0,
        )

    def run(self, *arguments: str, runs: str = "runs") -> tuple[int, str]:
        process = self.begin(*arguments, runs=runs)
        output, _ = process.communicate(timeout=240)
        assert left_in(self.folder) == []
        assert busy_ports(self.folder) == []
        assert self._state() == self.before, "the user's environment was written to"
        return process.returncode, output

    def record(self, name: str) -> Record:
        return Record.model_validate_json((self.folder / "record" / f"{name}.json").read_bytes())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, {})


def test_each_kind_of_mutant_gets_its_word(place: Place) -> None:
    code, output = place.run()
    found = {name: place.record(name).status for name in (*SWITCHED, "is_there_from_the_start")}
    assert found == {
        "counts_one_more": Status.KILLED,
        "says_nothing": Status.KILLED_BY_ANOTHER,
        "does_no_harm": Status.NOT_SEEN,
        "is_not_reached": Status.NEVER_REACHED,
        "is_gone": Status.GONE,
        "does_not_fit": Status.GONE,
        "ends_with_an_error": Status.KILLED,
        "is_there_from_the_start": Status.KILLED,
    }, output
    assert all(attempt.confirmed for name in found for attempt in place.record(name).attempts)
    assert "no_such_method" in place.record("is_gone").best.misfit
    assert "no_such_attribute" in place.record("does_not_fit").best.misfit
    assert "draft_counts" in place.record("counts_one_more").best.red
    assert place.record("counts_one_more").best.hits.keys() == {"server"}
    assert "parity" in place.record("says_nothing").best.red
    assert place.record("ends_with_an_error").best.red[0] == "eval"
    assert place.record("is_there_from_the_start").best.how == "whole run"
    assert "4 of 6 killed (67 %), 3 of them by a check that the mutant names" in output
    # One of those that nobody saw has no reason why.
    assert code == 1
    # Two leave something behind, and the last one is a whole run.
    assert output.count("starting its servers") == 2
    again, said = place.run(runs="again")
    assert (again, said.count("starting its servers")) == (1, 0)


def test_a_module_is_broken_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """CPython reads the ``.pth`` files of a virtual environment twice: two exchanges would be none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(place.folder / "cache"))
    with over(place.python) as overlay:
        overlay.want("switched", ["does_no_harm"])
        program = "import sys; print([type(each).__name__ for each in sys.meta_path].count('Breaking'))"
        done = subprocess.run([overlay.python, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_runs_side_by_side_break_an_environment_each_in_a_place_of_its_own(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(place.folder / "cache"))
    with over(place.python) as first:
        with over(place.python) as second:
            second.want("static", ["says_nothing"])
            assert second.root != first.root
            assert not (first.root / "mutants.json").exists()
        with over(place.python) as third:
            assert third.root == second.root
    with over(place.python) as alone:
        assert alone.root == first.root


def test_what_was_not_begun_in_time_is_run_by_the_next_call(place: Place) -> None:
    code, output = place.run("--mutants", "counts_one_more,does_no_harm", "--budget", "0")
    assert (code, "2 are left" in output) == (0, True), output
    assert not (place.folder / "record").exists()
    code, output = place.run("--mutants", "counts_one_more,does_no_harm", runs="again")
    assert code == 0, output  # the one that is not seen says why
    assert place.record("does_no_harm").status is Status.NOT_SEEN


def test_an_engine_that_is_red_unbroken_says_nothing_of_mutants(tmp_path: Path) -> None:
    place = Place(tmp_path, {"server": {"no_drafts": True}})
    code, output = place.run("--mutants", "counts_one_more")
    assert code == 4
    assert "is not green on the unbroken engine" in output
    assert not (place.folder / "record").exists()


def test_a_script_is_no_interpreter_to_lay_mutants_over(place: Place) -> None:
    shim = place.folder / "shim"
    shim.write_text(f'#!/bin/sh\nexec {place.python} "$@"\n')
    shim.chmod(0o755)
    place.python = shim
    code, output = place.run()
    assert (code, len(output.splitlines())) == (2, 1)
    assert "name the interpreter itself" in output


def test_a_name_that_is_none(place: Place) -> None:
    code, output = place.run("--mutants", "no_such_mutant")
    assert (code, len(output.splitlines())) == (3, 1)
    assert "no_such_mutant" in output


@pytest.mark.parametrize(
    ("number", "mutant"), [(signal.SIGTERM, "does_no_harm"), (signal.SIGINT, "is_there_from_the_start")]
)
def test_killed_half_way(tmp_path: Path, number: signal.Signals, mutant: str) -> None:
    place = Place(tmp_path, {"server": {"latency": 0.5}})
    process = place.begin("--mutants", f"counts_one_more,{mutant}")
    wait_for(lambda: any((place.folder / "runs").glob("*/mutants/hits/*@server.*")), 60)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert left_in(place.folder) == []
    assert busy_ports(place.folder) == []
    # What is left of it does not keep the next call from going on.
    code, output = place.run("--mutants", f"counts_one_more,{mutant}", runs="again")
    assert code == 0, output
    assert place.record("counts_one_more").status is Status.KILLED


def test_what_a_killed_runner_leaves_is_reaped(tmp_path: Path) -> None:
    place = Place(tmp_path, {"server": {"latency": 0.5}})
    process = place.begin("--mutants", "counts_one_more,does_no_harm")
    wait_for(lambda: any((place.folder / "runs").glob("*/mutants/hits/*@server.*")), 60)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert len(left_in(place.folder)) == 1
    assert "removed: " in harness("reap", "--runs", place.folder / "runs").stdout
    assert left_in(place.folder) == []
    code, output = place.run("--mutants", "counts_one_more", runs="again")
    assert (code, place.record("counts_one_more").status) == (0, Status.KILLED), output
