"""The run directory: whole files or none, and readable after a kill."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base.clock import utc_now
from harness.base.domain import Outcome, Sample, Stage
from harness.base.errors import CannotJudge, Interrupted, UsageError
from harness.cases.load import load
from harness.host import files
from harness.host.ownership import Label, Owner
from harness.run.checkpoint_files import cached, make
from harness.run.documents import Prepared
from harness.run.progress import Progress
from harness.run.rundir import Event, RunDir, Servers
from tests.helpers import BASELINES, FakeClock


def rundir(path: Path) -> RunDir:
    return RunDir.create(path / "run")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    files.write(path, "old")

    def refuse(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(OSError, match="disk full"):
        files.write(path, "new")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["result.json"]


def test_an_event_cut_off_by_a_kill_is_left_out(tmp_path: Path) -> None:
    directory = rundir(tmp_path)
    for _ in range(2):
        directory.append(Event(time="t", stage=Stage.SERVE, kind="start"))
    with directory.events_file.open("a") as file:
        file.write('{"time":"t","sta')
    assert len(list(directory.events())) == 2


def test_stages_end_as_their_last_event_says(tmp_path: Path) -> None:
    directory = rundir(tmp_path)
    progress = Progress(directory, lambda _: None)
    with progress.stage(Stage.PREPARE):
        pass
    with pytest.raises(CannotJudge), progress.stage(Stage.SERVE):
        raise CannotJudge("server broke", cause="why", details="log")
    with progress.stage(Stage.SERVE):  # by hand, once more
        pass
    with pytest.raises(Interrupted), progress.stage(Stage.HEALTH_WAIT):
        raise Interrupted("SIGINT")
    directory.append(Event(time=utc_now().isoformat(), stage=Stage.EVAL, kind="start"))
    outcomes = {record.stage: (record.outcome, record.message) for record in directory.stages()}
    assert outcomes == {
        Stage.PREPARE: (Outcome.PASS, ""),
        Stage.SERVE: (Outcome.PASS, ""),
        Stage.HEALTH_WAIT: (Outcome.ERROR, "interrupted by SIGINT"),
        Stage.EVAL: (Outcome.ERROR, "began and never ended"),
    }


def test_an_unexpected_exception_ends_the_stage_too(tmp_path: Path) -> None:
    directory = rundir(tmp_path)
    with pytest.raises(ZeroDivisionError), Progress(directory, lambda _: None).stage(Stage.EVAL):
        raise ZeroDivisionError("oops")
    assert directory.stages()[0].message == "internal error: ZeroDivisionError: oops"


def test_a_document_of_another_version_is_refused_with_its_key(tmp_path: Path) -> None:
    directory = rundir(tmp_path)
    (directory.path / "servers.json").write_text('{"servers": [], "sessions": 1}')
    with pytest.raises(UsageError, match=r"servers.json: sessions: .* written by another version of the harness\?"):
        directory.read("servers", Servers)


def test_checkpoints_are_cached_verified_and_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder, sha256 = cached("eagle3")
    assert folder.is_relative_to(tmp_path)
    original = (folder / "config.json").read_bytes()
    (folder / "config.json").write_text("{}")
    assert cached("eagle3") == (folder, sha256)
    assert (folder / "config.json").read_bytes() == original
    with monkeypatch.context() as patch:
        patch.setattr("harness.run.checkpoint_files._made", lambda _: pytest.fail("made anew"))
        assert cached("eagle3") == (folder, sha256)
    (note,) = tmp_path.rglob("eagle3-*.json")
    for wrong in (f'"{"0" * 64}"', '"../../.."', "{"):
        note.write_text(wrong)
        assert cached("eagle3") == (folder, sha256)


def test_a_checkpoint_is_made_anew_for_another_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = cached("eagle3")
    monkeypatch.setattr("harness.run.checkpoint_files._made", lambda name: {name: b"another"})
    assert cached("eagle3") == first
    monkeypatch.setattr("importlib.metadata.version", lambda _: "another numpy")
    assert cached("eagle3") != first


def test_making_checkpoints_twice_is_the_same_and_never_overwrites(tmp_path: Path) -> None:
    few = ("target", "eagle3", "qwen3_moe_fp8")
    first = make(tmp_path, few)
    assert set(first[0]) == {path.name for path in tmp_path.iterdir()} == set(few)
    assert make(tmp_path, few) == first
    (tmp_path / "target" / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="target: exists with another content"):
        make(tmp_path, few)


def test_a_stage_that_broke_off_took_until_its_last_line(tmp_path: Path) -> None:
    directory, clock = rundir(tmp_path), FakeClock()
    progress = Progress(directory, lambda _: None, clock)

    def wait() -> None:
        with progress.stage(Stage.HEALTH_WAIT):
            clock.sleep(460)
            raise Interrupted("interrupted by SIGINT")

    with pytest.raises(Interrupted):
        wait()
    with progress.stage(Stage.STOP):
        clock.sleep(10)
    progress.broke_off(Stage.HEALTH_WAIT, Interrupted("SIGINT"))
    assert [(each.stage, each.seconds) for each in directory.stages()] == [(Stage.HEALTH_WAIT, 460), (Stage.STOP, 10)]


def test_no_sample_is_lost(tmp_path: Path) -> None:
    directory = rundir(tmp_path)
    assert directory.samples() is None
    written = [
        Sample(run=run, item=item, status=200, error="", text=f"{item}\n\u2028", finish_reason="stop", prompt_tokens=1,
               completion_tokens=1, started=0.0, seconds=1.0, expected=None, expected_text=None,
               expected_prompt_tokens=None)
        for run in ("main", "control") for item in ("first", "second", "second", "last")
    ]  # fmt: skip
    directory.write_samples(written)
    assert RunDir(directory.path).samples() == written


def test_stages_come_in_their_order_whatever_came_first(tmp_path: Path) -> None:
    directory = rundir(tmp_path)
    for stage in reversed(Stage):
        directory.append(Event(time="t", stage=stage, kind="end", outcome=Outcome.PASS))
    assert [record.stage for record in directory.stages()] == list(Stage)


def test_a_label_names_run_folder_and_owner() -> None:
    case = next(each for each in load(BASELINES) if each.id == "eagle3/known_answer").resolve("cpu")
    owner = Owner(pid=7, ticks=8, boot="boot", namespace="namespace")
    prepared = Prepared(
        run_id="id", suite="eagle3", name="known_answer", platform="cpu", case=case, created=utc_now().isoformat(),
        owner=owner,
    )  # fmt: skip
    assert prepared.label(Path("/runs/one")) == Label("id", "/runs/one", owner.text)
    kept = prepared.model_copy(update={"owner": None})
    assert kept.label(Path("/runs/one")) == Label("id", "/runs/one", "")


def test_the_latest_event_is_the_last_whole_line(tmp_path: Path) -> None:
    rundir = RunDir.create(tmp_path / "run")
    assert rundir.latest() is None
    for number in range(1000):
        rundir.append(Event(time="now", stage=Stage.EVAL, kind="progress", done=number, total=1000, text="x" * 200))
    with rundir.events_file.open("a") as file:
        file.write('{"time": "now", "stage": "eval", "kind": "prog')
    found = rundir.latest()
    assert found is not None
    assert found.done == 999
