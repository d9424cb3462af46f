"""Run directories read back: finished ones stay as they are, damaged ones are named, and a verdict is whole or none."""

from __future__ import annotations

import json
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.base.domain import Outcome, Stage, StageRecord
from harness.base.errors import CannotJudge, UsageError
from harness.reports.result import Result
from harness.run import finished as over
from harness.run.judge import judge, judge_again, unjudged
from harness.run.rundir import RunDir
from tests.finished import DISAGG, SINGLE, finished
from tests.fuzz.program import harness

VERDICT = ("junit.xml", "measurements.json", "result.json")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(tmp_path_factory.mktemp("original"), DISAGG).path


@pytest.fixture
def rundir(original: Path, tmp_path: Path) -> RunDir:
    shutil.copytree(original, tmp_path / "run")
    return RunDir(tmp_path / "run")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """A disk that takes no file of more bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("command", ["eval", "health-wait", "stop"])
def test_a_stage_asked_again_touches_nothing(rundir: RunDir, command: str) -> None:
    before = contents(rundir.path)
    answer = harness([command, str(rundir.path)])
    assert contents(rundir.path) == before
    if command == "stop":
        assert (answer.code, answer.stdout) == (0, f"{rundir.path}: stopped already\n")
    else:
        assert answer.is_a_refusal()
        assert "its servers were stopped, and what a run found is not overwritten" in answer.stderr


def test_what_was_evaluated_is_not_evaluated_again_while_its_servers_live(rundir: RunDir) -> None:
    path = rundir.path / "servers.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"stopped": None}))
    with pytest.raises(UsageError, match="it was evaluated, and what a run found is not overwritten"):
        over.require_open(rundir, Stage.EVAL)
    events = rundir.events_file.read_text().splitlines()
    rundir.events_file.write_text("".join(f"{line}\n" for line in events if '"eval"' not in line))
    over.require_open(rundir, Stage.EVAL)
    with pytest.raises(UsageError, match="its servers were started"):
        over.require_open(rundir, Stage.SERVE)


def test_another_version_judges_beside_the_run(rundir: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(rundir.path)
    monkeypatch.setattr("harness.run.provenance.__version__", "99")
    answer = harness(["assert", str(rundir.path)])
    assert answer.code == 0
    assert "judged again" in answer.stdout
    after = contents(rundir.path)
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {"rejudged.json", "rejudged.xml"}
    assert Result.model_validate_json(after["rejudged.json"]).provenance["harness"] == "99"


def test_judging_again_writes_only_what_changed(rundir: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    harness(["assert", str(rundir.path)])
    path = rundir.path / "rejudged.json"
    os.utime(path, (1, 1))
    assert harness(["assert", str(rundir.path)]).code == 0
    assert path.stat().st_mtime == 1
    monkeypatch.setattr("harness.run.provenance.__version__", "99")
    assert harness(["assert", str(rundir.path)]).code == 0
    assert path.stat().st_mtime > 1


def test_judging_again_mends_nothing_that_broke(rundir: RunDir) -> None:
    """As on a disk that was full: the verdict knows what the record does not."""
    broken = StageRecord(Stage.STOP, Outcome.ERROR, 0.0, "the operating system refused: no space left")
    (rundir.path / "result.json").unlink()
    recorded = judge(rundir, known=[broken])
    assert recorded.outcome is Outcome.ERROR
    again = judge_again(rundir, recorded)
    assert again.outcome is Outcome.ERROR
    assert broken in again.stages


@pytest.mark.parametrize("name", [*VERDICT[:2], "result.json"])
def test_a_verdict_is_written_whole_or_not_at_all(rundir: RunDir, name: str) -> None:
    sizes = {each: (rundir.path / each).stat().st_size for each in VERDICT}
    for each in VERDICT:
        (rundir.path / each).unlink()
    with largest_file(sizes[name] - 1), pytest.raises(OSError, match="File too large"):
        judge(rundir)
    left = contents(rundir.path)
    assert not left.keys() & set(VERDICT)
    assert not [path for path in left if Path(path).name.startswith(".")]


def test_what_is_written_with_a_verdict_counts_with_it(rundir: RunDir, tmp_path: Path) -> None:
    for each in VERDICT:
        (rundir.path / each).unlink()
    larger = max(rundir.path.joinpath("samples.jsonl").stat().st_size, 100_000)
    also: Callable[[Result], dict[Path, bytes]] = lambda _: {tmp_path / "junit.xml": b"x" * (larger + 1)}  # noqa: E731
    with largest_file(larger), pytest.raises(OSError, match="File too large"):
        judge(rundir, also=also)
    assert not contents(rundir.path).keys() & set(VERDICT)
    with largest_file(larger):
        assert unjudged(rundir, "the verdict could not be written", [], also).outcome is Outcome.ERROR
    assert not contents(tmp_path).keys() & {"junit.xml"}


Damage = Callable[[Path], Any]


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nonexistent")


DAMAGE: dict[str, Damage] = {
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "nested": lambda path: path.write_bytes(b"[" * 200_000),
    "no_utf8": lambda path: path.write_bytes(b"\xff" + path.read_bytes()),
    "nul": lambda path: path.write_bytes(path.read_bytes()[:-3] + b"\0" + path.read_bytes()[-3:]),
    "surrogate": lambda path: path.write_bytes(b'{"run_id": "\\ud800"}\n'),
    "folder": _folder,
    "pipe": _pipe,
    "nowhere": _nowhere,
}
FILES = ("servers.json", "ready.json", "samples.jsonl", "result.json", "metrics/before-decode.prom")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_one_line_with_its_file(rundir: RunDir, name: str, damage: str) -> None:
    if name != "result.json":
        (rundir.path / "result.json").unlink()
    DAMAGE[damage](rundir.path / name)
    answer = harness(["assert", str(rundir.path)])
    if (name, damage) == ("samples.jsonl", "empty"):
        assert answer.code == 4  # read, and nothing of what was planned is in it
        return
    assert answer.is_a_refusal(), answer
    assert f"{rundir.path}/{name}" in answer.stderr
    assert "copy the run directory again" in answer.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pid": 1}, "no process has the id 1"),
        ({"pid": 10**300}, "servers.0.process.pid: a number that nothing here can have"),
        ({"name": "../../../etc/passwd"}, "is no name of a server"),
        ({"ports": {"http": 0}}, "a port that none can be"),
        ({"has_metrics": "yes"}, "has_metrics: Input should be a valid boolean"),
    ],
)
def test_servers_that_cannot_be_are_refused(rundir: RunDir, change: dict[str, Any], words: str) -> None:
    path = rundir.path / "servers.json"
    document = json.loads(path.read_text())
    running = document["servers"][0]
    for key, value in change.items():
        (running["process"] if key in running["process"] and key != "name" else running["server"])[key] = value
    path.write_text(json.dumps(document))
    (rundir.path / "result.json").unlink()
    answer = harness(["assert", str(rundir.path)])
    assert answer.is_a_refusal()
    assert words in answer.stderr


@pytest.mark.parametrize("value", ["NaN", "+Inf", "1e400", "0.5"])
def test_a_counter_that_is_no_count_cannot_be_judged(rundir: RunDir, value: str) -> None:
    path = rundir.metrics_file("after", "decode")
    lines = path.read_text().splitlines()
    lines = [f"{line.split(' ')[0]} {value}" if "num_drafts" in line else line for line in lines]
    path.write_text("\n".join(lines) + "\n")
    (rundir.path / "result.json").unlink()
    result = judge(rundir)
    assert result.outcome is Outcome.ERROR
    outcomes = {check.name: check for check in result.checks}
    assert outcomes["acceptance_length"].outcome is Outcome.ERROR
    assert "drafts of decode is" in outcomes["acceptance_length"].message


def test_a_series_that_is_there_twice_is_damage(rundir: RunDir) -> None:
    path = rundir.metrics_file("after", "decode")
    line = next(each for each in path.read_text().splitlines() if "num_drafts" in each)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(UsageError, match="is there twice with the same labels"):
        judge(rundir, strict=True)


def test_what_stops_a_run_needs_no_file_that_can_be_read(rundir: RunDir) -> None:
    """The case is known from the start; what happens to its file meanwhile is another matter."""
    assert rundir.prepared().suite == "disagg"
    rundir.case_file.write_text("junk")
    assert rundir.prepared().suite == "disagg"
    with pytest.raises(UsageError, match=r"case\.json"):
        RunDir(rundir.path).prepared()


def test_a_run_without_evidence_is_an_error_and_a_junit_file(tmp_path: Path) -> None:
    rundir = finished(tmp_path, SINGLE)
    (rundir.path / "samples.jsonl").write_text("junk\n")
    with pytest.raises(UsageError, match=r"samples\.jsonl:1: Invalid JSON"):
        judge(rundir, strict=True)
    result = judge(rundir)
    assert "samples.jsonl:1: Invalid JSON" in next(each.message for each in result.checks if each.name == "evidence")
    result = unjudged(rundir, "samples.jsonl: junk", [], lambda _: {})
    assert result.outcome is Outcome.ERROR
    assert result.exit_code == CannotJudge.exit_code
    assert b"samples.jsonl: junk" in rundir.junit_file.read_bytes()
    assert rundir.read("result", Result) == result
