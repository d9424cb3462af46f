"""Which verdict of several attempts counts, whatever became of each of them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.base.domain import CheckResult, Outcome
from harness.base.errors import EXIT_PASSED, Interrupted, UsageError
from harness.reports.result import Result, Timing, conclude
from harness.run import attempts
from harness.run.attempts import AGAIN, SELECTION, Key, Point, Selection
from harness.run.summary import summary

NAMES = ("a", "b", "c")
Ends = st.sampled_from([*Outcome, "interrupted", "killed", "never begun", "damaged"])
Attempts = st.lists(st.dictionaries(st.sampled_from(NAMES), Ends), min_size=1, max_size=4)


def result(name: str, end: str) -> Result:
    return conclude(
        suite="suite",
        name=name,
        platform="cpu",
        started="2026-11-28T05:00:00+00:00",
        stages=[],
        checks=[] if end == "interrupted" else [CheckResult("accuracy", Outcome(end))],
        provenance={},
        timing=Timing(),
        interrupted=end == "interrupted",
    )


def write(folder: Path, several: Sequence[dict[str, str]]) -> None:
    """Attempts as they lie in a folder, each with how its points ended."""
    for number, points in enumerate(several, 1):
        place = folder if number == 1 else folder / AGAIN.format(number)
        place.mkdir(exist_ok=True)
        listed = [
            Point(suite="suite", name=name, platform="cpu", folder=f"suite.{name}", case=f"case {number}")
            for name in points
        ]
        (place / SELECTION).write_text(Selection(asked={"suite": "suite"}, points=listed).model_dump_json())
        for name, end in points.items():
            if end == "never begun":
                continue
            (place / f"suite.{name}").mkdir()
            (place / f"suite.{name}" / "case.json").write_text("{}")
            if end == "damaged":
                (place / f"suite.{name}" / "result.json").write_text("{")
            elif end != "killed":
                (place / f"suite.{name}" / "result.json").write_text(result(name, end).model_dump_json())


@given(several=Attempts)
@settings(max_examples=60, deadline=None)
def test_the_latest_verdict_counts_and_each_point_is_there_once(several: list[dict[str, str]]) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        write(folder, several)
        history = attempts.history(folder)
        assert set(history) == {Key("suite", name, "cpu") for points in several for name in points}
        expected = {}
        for name in NAMES:
            ends = [(number, points[name]) for number, points in enumerate(several, 1) if name in points]
            judged = [(number, end) for number, end in ends if end in list(Outcome)]
            if ends:
                expected[name] = judged[-1] if judged else None
                tried = history[Key("suite", name, "cpu")]
                assert [each.number for each in tried] == [number for number, _ in ends]
                counts = attempts.verdict(tried)
                assert (counts and (counts.number, counts.result and counts.result.outcome)) == expected[name]
        if expected:
            text, broken = summary(folder)
            rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines() if line.startswith("| ")]
            for name, ended in expected.items():
                (row,) = [row for row in rows if row[2] in (f"suite/{name}", f"suite.{name}")]
                assert row[1] == (ended[1] if ended else "error")
            assert all("result.json: " in line for line in broken)
    finally:
        shutil.rmtree(folder)


def test_an_attempt_that_was_killed_before_it_began_is_none(tmp_path: Path) -> None:
    write(tmp_path, [{"a": "fail"}])
    (tmp_path / AGAIN.format(2)).mkdir()
    (tried,) = attempts.history(tmp_path).values()
    assert [each.number for each in tried] == [1]


def test_a_verdict_says_what_other_attempts_came_to(tmp_path: Path) -> None:
    write(tmp_path, [{"a": "fail"}, {"a": "interrupted"}, {"a": "pass"}, {"a": "killed"}])
    (tried,) = attempts.history(tmp_path).values()
    counts = attempts.verdict(tried)
    assert counts is not None
    assert counts.result is not None
    assert counts.result.exit_code == EXIT_PASSED != Interrupted.exit_code
    assert attempts.with_attempts(counts.result, counts.number, tried).provenance == {
        "attempt": "3",
        "attempt.1": "fail",
        "attempt.2": "interrupted",
        "attempt.4": "no verdict",
    }


def test_whose_attempt_a_run_directory_is(tmp_path: Path) -> None:
    write(tmp_path, [{"a": "fail"}, {"a": "pass"}])
    assert attempts.root_of(tmp_path / "suite.a") == tmp_path
    assert attempts.root_of(tmp_path / AGAIN.format(2) / "suite.a") == tmp_path
    assert attempts.root_of(tmp_path / "elsewhere" / "suite.a") is None


@pytest.mark.parametrize("content", ["", "{", '{"asked": {}, "points": [{"suite": 5}]}', '{"asked": {}, "points": 5}'])
def test_a_damaged_record_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / SELECTION).write_text(content)
    with pytest.raises(UsageError, match=r"selection\.json: "):
        attempts.history(tmp_path)
    with pytest.raises(UsageError, match=r"selection\.json: "):
        attempts.asked(tmp_path)
