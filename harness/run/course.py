"""How far points that run one after the other have come, and what became of all of them in the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.base.clock import SYSTEM_CLOCK, Clock
from harness.base.domain import Outcome
from harness.plan.points import Planned
from harness.reports.result import Result
from harness.run import learned_times
from harness.run.console import Console, problems

_WORST_FIRST = (
    Outcome.ERROR,
    Outcome.FAIL,
    Outcome.INCONCLUSIVE,
    Outcome.MEASURED,
    Outcome.PASS,
    Outcome.SKIPPED,
)


class Course:
    """Says before each point which it is, since when the run goes on, and how long it may still take.

    Args:
        console: Where.
        points: Those that are to run, in order.
        clock: For what has gone by.
    """

    def __init__(self, console: Console, points: Sequence[Planned], clock: Clock = SYSTEM_CLOCK) -> None:
        self._console, self._clock, self._began, self._begun = console, clock, clock.monotonic(), 0
        kind = learned_times.kind_here(points[0].platform) if points else ""
        self._seconds = [each.seconds for each in learned_times.known().applied(points, kind)]

    @contextmanager
    def point(self, each: Planned) -> Iterator[None]:
        """Around the run of a point: in the log of a CI system a part that can be folded."""
        total, left = len(self._seconds), sum(self._seconds[self._begun :])
        self._begun += 1
        if total == 1:
            yield
            return
        gone = self._clock.monotonic() - self._began
        told = f"{minutes(gone)} gone, about {minutes(left)} to go"
        with self._console.part(f"[{self._begun}/{total}] {each.id}: {told}"):
            yield


def minutes(seconds: float) -> str:
    """A time in the words of people: 40 s, 12 min, 3 h 5 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    whole = round(seconds / 60)
    return f"{whole} min" if whole < 100 else f"{whole // 60} h {whole % 60} min"


def tell_end(points: Sequence[tuple[Planned, Result]], runs: Path, console: Console) -> None:
    """All points of a run in one table, those with a fault first, and how many there are of each kind.

    Args:
        points: Each with its verdict.
        runs: Folder of the run directories.
        console: Where.
    """
    if len(points) < 2:
        return
    ordered = sorted(points, key=lambda pair: _WORST_FIRST.index(pair[1].outcome))
    rows = [
        (str(result.outcome), each.id, f"{result.timing.total:.0f}", next((why for _, why in problems(result)), ""))
        for each, result in ordered
        if result.outcome is not Outcome.SKIPPED
    ]
    if rows:
        console.table(
            f"run directories: {console.path(runs)}/SUITE.NAME", ("verdict", "point", "s", "first cause"), rows
        )
    counts = {kind: sum(result.outcome is kind for _, result in points) for kind in _WORST_FIRST}
    console.line(", ".join(f"{count} {kind}" for kind, count in counts.items() if count))
