"""What points are expected to take: learned from verdicts, kept in a file, by point, engine and kind of devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base.domain import CheckResult, Outcome, Stage, StageRecord
from harness.base.errors import NothingSelected, UsageError
from harness.base.resting import Footprint
from harness.fleet import needs
from harness.fleet.learned import Learned, kind_of
from harness.plan.points import Planned
from harness.reports.result import Result, Timing, conclude
from harness.run import footprints, learned_times
from harness.run.rundir import RunDir
from harness.run.selection import matching
from tests.helpers import BASELINES

H200 = {"host.devices": "8 x NVIDIA H200"}


@pytest.fixture(scope="module")
def planned() -> Planned:
    found = matching(BASELINES, wanted=["mtp/known_answer_k1"], platform="cuda")
    return found[0]


def result(
    each: Planned, seconds: float, facts: dict[str, str] = H200, *, prepare: float = 5.0, broken: bool = False
) -> Result:
    stages = [StageRecord(Stage.EVAL, Outcome.ERROR if broken else Outcome.PASS, 1.0, "")]
    return conclude(
        suite=each.suite,
        name=each.name,
        platform=each.platform,
        started=f"2026-11-01T00:00:{seconds:02.0f}",
        stages=stages,
        checks=[CheckResult("accuracy", Outcome.PASS)],
        provenance={"engine": "vllm", **facts},
        timing=Timing(total=prepare + seconds, prepare=prepare),
        interrupted=False,
    )


def seconds(learned: Learned, each: Planned, kind: str | None = "NVIDIA H200") -> float:
    return learned.applied([each], kind)[0].seconds


def test_what_is_usual_counts_of_the_latest_runs(planned: Planned) -> None:
    learned = Learned()
    assert seconds(learned, planned) == planned.case.expected_seconds
    for took in (10.0, 50.0, 20.0):
        learned = learned.after(result(planned, took))
    assert seconds(learned, planned) == 20.0
    for took in (58.0,) * 3:
        learned = learned.after(result(planned, took))
    assert seconds(learned, planned) == 58.0
    assert [len(each.seconds) for each in learned.observed] == [5]


def test_waiting_and_downloads_are_not_counted(planned: Planned) -> None:
    assert seconds(Learned().after(result(planned, 30.0, prepare=4000.0)), planned) == 30.0


def test_a_run_that_broke_says_nothing(planned: Planned) -> None:
    assert Learned().after(result(planned, 30.0, broken=True)) == Learned()


def test_another_kind_of_device_says_nothing_of_this_one(planned: Planned) -> None:
    learned = Learned().after(result(planned, 40.0)).after(result(planned, 30.0, {"host.devices": "4 x NVIDIA B200"}))
    assert seconds(learned, planned, "NVIDIA H100") == planned.case.expected_seconds
    assert seconds(learned, planned, "NVIDIA B200") == 30.0
    assert seconds(learned, planned, None) == 40.0, "the slowest"


def test_a_host_without_accelerators_is_its_processors() -> None:
    assert kind_of("cpu", {"host.cpus": "2", "host.machine": "x86_64"}) == "2 processors, x86_64"
    assert kind_of("cuda", {"host.cpus": "2", **H200}) == "NVIDIA H200"


def in_runs(folder: Path, found: Result, *memory: int) -> Path:
    path = folder / found.classname / found.started.replace(":", "")
    path.mkdir(parents=True)
    RunDir(path).write("result", Result, found)
    looks = tuple(Footprint(0, 1, each, each, 1, 1) for each in memory)
    RunDir(path).write(
        footprints.NAME, footprints.Footprints, footprints.Footprints(servers={"a": looks, "b": looks}, logs={})
    )
    return path


def test_runs_are_imported_with_the_memory_of_their_servers(planned: Planned, tmp_path: Path) -> None:
    in_runs(tmp_path / "runs", result(planned, 20.0), 1 << 30, 3 << 30)
    in_runs(tmp_path / "runs", result(planned, 40.0), 2 << 30)
    path = tmp_path / "times.json"
    assert learned_times.note(learned_times.below(tmp_path / "runs"), path) == 2
    learned = learned_times.existing(path)
    assert seconds(learned, planned) == 30.0
    seen = learned.of(planned)
    assert seen is not None
    assert seen.memory_bytes == 6 << 30
    assert needs.job(planned, memory=seen.memory_bytes).memory == 6 << 30


def test_a_damaged_file_of_this_machine_is_made_anew(
    planned: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run = in_runs(tmp_path / "runs", result(planned, 20.0))
    learned_times.note_ended(run)
    learned_times.kept().write_text("{")
    assert learned_times.known() == Learned()
    learned_times.note_ended(run)
    assert seconds(learned_times.known(), planned) == 20.0


def test_a_file_that_somebody_named_is_not(planned: Planned, tmp_path: Path) -> None:
    path = tmp_path / "times.json"
    path.write_text('{"schema_version": 2}')
    with pytest.raises(UsageError, match=r"times\.json: .*schema_version.*harness learn RUNS --to FILE"):
        learned_times.note([in_runs(tmp_path / "runs", result(planned, 20.0))], path)
    assert path.read_text() == '{"schema_version": 2}'
    with pytest.raises(UsageError, match=r"nothing\.json: not there; `harness learn"):
        learned_times.existing(tmp_path / "nothing.json")
    with pytest.raises(NothingSelected, match="no verdict there"):
        learned_times.below(tmp_path / "empty")
