"""Points that run: on a terminal all of them at once, and a line for good for each that has ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.base.clock import SYSTEM_CLOCK, Clock, Deadline
from harness.base.domain import Outcome
from harness.fleet.jobs import Placed
from harness.plan.points import Planned
from harness.reports.result import Result
from harness.run.console import Console
from harness.run.point_process import PointProcess

_LIVE_EVERY = 0.5
_PLAIN_EVERY = 60.0
"""Seconds between signs of life in a log: some CI systems end a job that says nothing for ten minutes."""


class Board:
    """Shows how far the points of a run have come.

    Args:
        console: Where.
        runs: Folder of the run directories.
        total: Points that are to run.
        clock: For the time between two looks.
    """

    def __init__(self, console: Console, runs: Path, total: int, clock: Clock = SYSTEM_CLOCK) -> None:
        self._console, self._runs, self._total, self._clock = console, runs, total, clock
        self._done = 0
        self._next = Deadline(0.0 if console.is_terminal else _PLAIN_EVERY, clock)

    def show(self, running: Sequence[tuple[PointProcess, Placed]], *, waiting: int) -> None:
        """Say what runs, if it is time to."""
        if not self._next.passed:
            return
        self._next = Deadline(_LIVE_EVERY if self._console.is_terminal else _PLAIN_EVERY, self._clock)
        counted = f"{self._done} of {self._total} done, {len(running)} running, {waiting} waiting"
        rows = [_row(process, placed) for process, placed in running]
        if self._console.is_terminal:
            self._console.overview(counted, rows)
        else:
            at = "; ".join(f"{name} {stage}" for name, _, stage, _ in rows)
            self._console.line(f"{counted}: {at}" if at else counted)

    def ended(self, each: Planned, result: Result) -> None:
        """Say how a point ended: in one line where it was as it should be, with its table where it was not."""
        self._done += 1
        counted = f"[{self._done}/{self._total}]"
        if result.outcome in (Outcome.PASS, Outcome.SKIPPED):
            said = f": {result.checks[0].message}" if result.outcome is Outcome.SKIPPED else ""
            self._console.line(f"{counted} {result.outcome} {each.id} ({result.timing.total:.0f} s){said}")
        else:
            self._console.line(f"{counted} {each.id}, run directory {self._console.path(self._runs / each.folder)}")
            self._console.result(result)


def _row(process: PointProcess, placed: Placed) -> tuple[str, str, str, str]:
    """The point, its devices or its host, its stage with the seconds that it is in it, and what that is at."""
    at, where = process.latest, ",".join(dict.fromkeys(placed.devices)) or placed.host
    if at is None:
        return process.each.id, where, "begins", ""
    counted = f"{at.done}/{at.total} " if at.total else ""
    return process.each.id, where, f"{at.stage} {at.elapsed:.0f} s", f"{counted}{at.text}"
