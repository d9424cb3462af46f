"""A case that looks at its answers as they come stops as soon as they decide; what they do not decide is not green."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from harness.base.domain import Outcome
from harness.cases.load import load
from harness.plan.points import everything
from harness.run.judge import judge
from harness.run.rundir import RunDir
from harness.upkeep.rules import problems
from known_answer.checkpoints import CHECKPOINTS
from tests.fake.conftest import QUICK
from tests.fake_engine.install import install
from tests.helpers import REPOSITORY, Run, command, edited, environment, harness, left_in, run, validated, wait_for

CASE = "eagle3/known_answer"
LOOKS, ITEMS = [16, 40], 56
WORKFLOWS = {"ci.yml": "session: [eagle3_cpu]"}


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cases with one that was calibrated at its looks, on models of which nothing is computed beforehand."""
    folder = tmp_path_factory.mktemp("looks")
    for name in ("target", "eagle3"):
        for file, content in CHECKPOINTS[name].files().items():
            (folder / name).mkdir(exist_ok=True)
            (folder / name / file).write_bytes(content)
    changes = QUICK | {
        "serve/model": {"path": str(folder / "target")},
        "serve/speculation/model": {"path": str(folder / "eagle3")},
        "evaluation/items": ITEMS,
        "evaluation/looks": LOOKS,
        "checks": {},
    }
    cases = edited(folder / "cases", CASE, changes, generate=False)
    python = install(folder / "engine", {})
    into = folder / "calibration"
    asked = ("calibrate", CASE, "--cases", cases, "--engine-python", python, "--runs-below", into, "--runs", "3")
    without = harness(*asked)
    assert (without.returncode, "give --margin" in without.stderr) == (2, True), without.stderr
    done = harness(*asked, "--margin", "10%")
    assert done.returncode == 0, done.stdout + done.stderr
    return cases


def judged(folder: Path, cases: Path, faults: dict[str, Any] | None = None, *more: str) -> Run:
    python = install(folder / "engine", {"server": faults or {}})
    return run(folder, "--cases", cases, "--engine-python", python, *more)


@pytest.fixture(scope="module")
def early(tmp_path_factory: pytest.TempPathFactory, calibrated: Path) -> Run:
    """A run of the engine that was calibrated."""
    done = judged(tmp_path_factory.mktemp("early"), calibrated)
    assert done.code == 0, done.output
    return done


def by_name(done: Run) -> dict[str, Any]:
    return {each.name: each for each in done.result.checks}


def test_a_good_engine_is_asked_no_more_than_decides(early: Run, calibrated: Path) -> None:
    assert problems(everything(load(calibrated)), WORKFLOWS, None) == []
    checks = by_name(early)
    assert (checks["accuracy"].look, checks["accuracy"].looks, checks["accuracy"].n) == (2, 3, LOOKS[1])
    assert checks["acceptance_length"].outcome is Outcome.PASS
    assert checks["acceptance_length"].margin == pytest.approx(0.1 * checks["acceptance_length"].expected)
    assert f"decided after {LOOKS[1]} of {ITEMS} items" in early.output
    assert "checks state how often an equal run is red" in early.output
    assert len((early.directory / "samples.jsonl").read_text().splitlines()) == LOOKS[1]
    properties = {
        each.get("name"): each.get("value") for each in validated(early.directory / "junit.xml").iter("property")
    }
    assert properties["accuracy.look"] == "2 of 3"
    assert properties["accuracy.power"] == "0.95"
    assert left_in(early.runs) == []


def test_judged_again_elsewhere_it_is_the_same(early: Run, tmp_path: Path) -> None:
    copied = shutil.copytree(early.directory, tmp_path / "copied")
    done = harness("assert", copied)
    assert done.returncode == 0, done.stdout + done.stderr
    again = json.loads((copied / "rejudged.json").read_text())["checks"]
    assert again == json.loads((early.directory / "result.json").read_text())["checks"]


def test_a_large_loss_is_red_at_the_first_look(calibrated: Path, tmp_path: Path) -> None:
    done = judged(tmp_path, calibrated, {"no_drafts": True})
    assert done.code == 1, done.output
    assert len((done.directory / "samples.jsonl").read_text().splitlines()) == ITEMS  # nothing was drafted to look at
    wrong = shutil.copytree(calibrated, tmp_path / "higher")
    path = wrong / f"{CASE}.toml"
    document = tomlkit.parse(path.read_text())
    table: Any = document["checks"]["acceptance_length"]
    table["passport"]["looks"][0]["expected"] += 0.5  # so that the engine is 14 % below it
    path.write_text(tomlkit.dumps(document))
    less = judged(tmp_path / "less", wrong)
    assert less.code == 1, less.output
    assert len((less.directory / "samples.jsonl").read_text().splitlines()) == LOOKS[0]
    assert by_name(less)["acceptance_length"].look == 1


def test_what_stays_undecided_is_an_outcome_of_its_own(calibrated: Path, tmp_path: Path) -> None:
    cases = shutil.copytree(calibrated, tmp_path / "cases")
    path = cases / f"{CASE}.toml"
    path.write_text(path.read_text().replace("margin = 0.1", "margin = 0.02"))
    done = judged(tmp_path, cases)
    assert (done.code, done.result.outcome) == (4, Outcome.INCONCLUSIVE), done.output
    found = by_name(done)["accuracy"]
    assert (found.outcome, found.n) == (Outcome.INCONCLUSIVE, ITEMS)
    assert "undecided after all 56 items that may be asked" in found.message
    (error,) = validated(done.directory / "junit.xml").iterfind(".//testcase[@name='accuracy']/error")
    assert error.get("type") == "Inconclusive"
    allowed = harness("assert", done.directory, "--allow-inconclusive")
    assert (allowed.returncode, "inconclusive" in allowed.stdout) == (0, True), allowed.stderr


def test_many_checks_share_one_rate_of_false_alarms(calibrated: Path, tmp_path: Path) -> None:
    done = judged(tmp_path, calibrated, None, "--family-wise", "0.001")
    assert done.code == 0, done.output
    checks = [each for each in done.result.checks if each.false_alarm]
    assert sum(each.false_alarm or 0.0 for each in checks) == pytest.approx(0.001)
    assert "red for nothing in 0.001 of all such runs at most" in done.output


def changed(name: str, change: Callable[[Any], object]) -> Callable[[Path], None]:
    def tamper(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))

    return tamper


def without_the_last(content: Any) -> None:
    content["parts"].pop()


def another_item(content: Any) -> None:
    content["parts"][0]["items"][0] = "K99"


def looks_moved(content: Any) -> None:
    first, second = content["parts"]
    first["items"].append(second["items"].pop(0))


def counted(part: int, name: str, by: float) -> Callable[[Any], object]:
    def change(content: Any) -> None:
        content["parts"][part]["counters"]["server"][name] += by

    return change


TAMPERED = {
    "no looks": lambda folder: (folder / "looks.json").unlink(),
    "no last look": changed("looks.json", without_the_last),
    "an item of another run": changed("looks.json", another_item),
    "a look at another time": changed("looks.json", looks_moved),
    "a first look that fails": changed("looks.json", counted(0, "accepted", -20)),
    "a counter that falls": changed("looks.json", counted(0, "drafts", 10_000)),
    "another last look": changed("looks.json", counted(1, "drafts", 1)),
    "a stricter share": changed("case.json", lambda content: content.update(alarm_share=2.0)),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_a_changed_look_is_red(early: Run, what: str, tmp_path: Path) -> None:
    copied = shutil.copytree(early.directory, tmp_path / "copied")
    (copied / "measurements.json").unlink()  # which would say so of every change
    assert judge(RunDir.existing(copied)).outcome is Outcome.PASS
    TAMPERED[what](copied)
    done = harness("assert", copied)
    assert done.returncode != 0, done.stdout


def test_any_number_of_a_look_is_kept_in_the_measurement(early: Run, tmp_path: Path) -> None:
    copied = shutil.copytree(early.directory, tmp_path / "copied")
    changed("looks.json", counted(0, "accepted", 1))(copied)
    result = judge(RunDir.existing(copied))
    assert "measurements.json: looks" in next(each.message for each in result.checks if each.name == "evidence")


@pytest.fixture
def slow(calibrated: Path, tmp_path: Path) -> Iterator[tuple[Path, list[str]]]:
    """A run that takes its time, as words of a command."""
    python = install(tmp_path / "engine", {"server": {"latency": 0.4}})
    told = ("run", CASE, "--cases", calibrated, "--engine-python", python, "--runs", tmp_path / "runs")
    yield tmp_path, command(*told)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=str)
def test_ended_between_two_looks_nothing_is_left(slow: tuple[Path, list[str]], number: signal.Signals) -> None:
    folder, words = slow
    process = subprocess.Popen(words, env=environment(), cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    wait_for(lambda: list(folder.rglob("looks.json")), 60)
    process.send_signal(number)
    code = process.wait(60)
    if number is signal.SIGKILL:
        assert "removed: " in harness("reap", "--runs", folder / "runs").stdout
        return
    assert code == 130
    (path,) = folder.rglob("samples.jsonl")
    assert LOOKS[0] <= len(path.read_text().splitlines()) < ITEMS
