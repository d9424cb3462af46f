"""What is said between points and at the end: times in words, and a table that fits a terminal."""

from __future__ import annotations

import io

import pytest
import rich.console

from harness.base.domain import CheckResult, Outcome, Stage, StageRecord
from harness.cases.load import load
from harness.plan.points import everything
from harness.reports.result import Result, Timing, conclude, skipped
from harness.run.console import Console
from harness.run.course import Course, minutes, tell_end
from tests.helpers import BASELINES, FakeClock

CAUSE = "the server ended with status 1: not enough memory for the KV cache of 32768 tokens on this device"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5700, "95 min"), (7200, "2 h 0 min"), (11_100, "3 h 5 min")],
)
def test_times_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert minutes(seconds) == words


def result(name: str, outcome: Outcome) -> Result:
    if outcome is Outcome.SKIPPED:
        return skipped(suite="mtp", name=name, platform="cpu", started="2026-01-01", reason="not here")
    record = StageRecord(Stage.SERVE, Outcome.ERROR, 1.0, CAUSE) if outcome is Outcome.ERROR else None
    check = CheckResult("validity", Outcome.PASS, measured=1, expected=1)
    return conclude(
        suite="mtp", name=name, platform="cpu", started="2026-01-01", stages=[record] if record else [],
        checks=[check], provenance={}, timing=Timing(), interrupted=False,
    )  # fmt: skip


def test_the_table_at_the_end_has_what_is_wrong_first_and_breaks_no_word() -> None:
    points = [each for each in everything(load(BASELINES)) if each.suite == "mtp"][:3]
    out = io.StringIO()
    console = Console(rich.console.Console(file=out, force_terminal=True, color_system=None, width=80))
    outcomes = (Outcome.PASS, Outcome.SKIPPED, Outcome.ERROR)
    pairs = [(each, result(each.name, outcome)) for each, outcome in zip(points, outcomes, strict=True)]
    tell_end(pairs, BASELINES / "runs", console)
    said = out.getvalue()
    assert max(map(len, said.splitlines())) <= 80
    rows = [line.split() for line in said.splitlines()]
    verdicts = [row[0] for row in rows if row and row[0] in {str(each) for each in Outcome}]
    assert verdicts == ["error", "pass"], "what did not run is counted, and no row"
    assert rows[-1] == ["1", "error,", "1", "pass,", "1", "skipped"]
    assert set(CAUSE.split()) <= {word for row in rows for word in row}
    tell_end(pairs[:1], BASELINES, console)
    assert out.getvalue() == said, "of one point its own table says all"


def test_each_point_is_counted_with_the_time_that_is_left() -> None:
    points = [each for each in everything(load(BASELINES)) if each.suite == "mtp" and each.platform == "cuda"][:2]
    out, clock = io.StringIO(), FakeClock()
    course = Course(Console(rich.console.Console(file=out, width=80)), points, clock)
    left = sum(each.seconds for each in points)
    for each in points:
        with course.point(each):
            clock.sleep(60.0)
    first, second = out.getvalue().splitlines()
    assert first == f"[1/2] {points[0].id}: 0 s gone, about {minutes(left)} to go"
    assert second == f"[2/2] {points[1].id}: 60 s gone, about {minutes(points[1].seconds)} to go"
