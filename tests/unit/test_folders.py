"""Folders of runs: each made once, sorted by time, had by one run."""

from __future__ import annotations

import errno
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harness.base.errors import UsageError
from harness.run import folders
from harness.run.folders import claimed, make_new
from harness.run.rundir import RunDir


@pytest.fixture
def one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "utc_now", lambda: datetime(2026, 11, 27, 7, 15, 36, tzinfo=UTC))


def test_folders_of_one_second_are_different_and_sort_as_they_came(tmp_path: Path, one_second: None) -> None:
    made = [make_new(tmp_path).name for _ in range(12)]
    assert made[:3] == ["20261127T071536Z", "20261127T071536Z-002", "20261127T071536Z-003"]
    assert sorted({*made, "20261127T071537Z"}) == [*made, "20261127T071537Z"]


def test_a_folder_is_one_runs_as_long_as_it_runs(tmp_path: Path) -> None:
    given = tmp_path / "runs"
    with (
        claimed(given, tmp_path) as folder,
        pytest.raises(UsageError, match="another run has it; --runs must name a new or empty folder"),
        claimed(given, tmp_path),
    ):
        pass
    with claimed(given, tmp_path):
        (folder / "junit.xml").write_text("")
    with pytest.raises(UsageError, match="must name a new or empty folder"), claimed(given, tmp_path):
        pass


def test_where_nothing_can_be_locked_run_directories_are_still_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with claimed(tmp_path / "runs", tmp_path) as one, claimed(tmp_path / "runs", tmp_path) as other:
        RunDir.create(one / "case")
        with pytest.raises(UsageError, match="case: already a run directory"):
            RunDir.create(other / "case")
