"""Red rows of verdicts, from run directories or from a JUnit file, and which of them have one cause."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.base.domain import Outcome
from harness.base.errors import UsageError
from harness.explanation.fault_classes import FaultClass, classify
from harness.reports import junit
from harness.reports.numbers import message
from harness.reports.result import NOT_GREEN, Result

_DEPTH = (
    *("prepare", "serve", "health-wait", "eval", "evidence", "flags", "in_force", "server_config", "transport"),
    *("kv_transfer", "cuda_graphs", "rearrangements", "draft_counts", "acceptance_length", "acceptance_per_position"),
    *("validity", "contract", "sampling", "accuracy", "parity", "corrupted_requests", "at_rest", "teardown"),
)
"""Rows from what others rest on to what rests on others: of several red ones in a run the first says most."""

_VARYING = re.compile(r"0x[0-9a-f]+|/[\w./+-]+|\b[0-9a-f]{8,}\b|[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """A stage or check that is not green.

    Attributes:
        name: Of the stage or check.
        outcome: How it ended.
        text: Why, in one line.
        details: More lines.
        fault: Whose it is, as the row says; empty if it does not.
    """

    name: str
    outcome: Outcome
    text: str
    details: str = ""
    fault: str = ""

    @property
    def of(self) -> FaultClass:
        """Its class."""
        return classify(self.name, self.outcome, self.text, self.fault)

    @property
    def depth(self) -> int:
        """How much rests on it: the less, the more."""
        family = self.name.partition("[")[0]
        return _DEPTH.index(family) if family in _DEPTH else len(_DEPTH)


@dataclass(frozen=True)
class RedPoint:
    """A point that is not green.

    Attributes:
        case_id, platform: Of the point.
        rows: Its red rows, that on which the others rest first.
        folder: Its run directory; None where there is only a report.
    """

    case_id: str
    platform: str
    rows: tuple[Row, ...]
    folder: Path | None = None

    @property
    def first(self) -> Row:
        """The row that says most."""
        return self.rows[0]

    @property
    def sign(self) -> tuple[str, str]:
        """The same for points that are red for the same reason: the row, and what it says without what varies."""
        return self.first.name.partition("[")[0], _VARYING.sub("#", self.first.text)


@dataclass
class OneCause:
    """Points that are red for one reason."""

    of: FaultClass
    points: list[RedPoint] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Red rows that it explains."""
        return sum(len(each.rows) for each in self.points)


def of_result(result: Result, folder: Path | None) -> RedPoint | None:
    """The red rows of a verdict; None if it has none."""
    rows = [Row(each.stage, each.outcome, each.message, each.details, each.fault) for each in result.stages]
    rows += [Row(each.name, each.outcome, message(each), each.details, each.fault) for each in result.checks]
    return _point(result.case_id, result.platform, rows, folder)


def without_verdict(folder: Path, case_id: str, platform: str, rows: Iterable[Row]) -> RedPoint:
    """A run that was ended before it was judged: what its stages say, or that they say nothing."""
    said = _point(case_id, platform, list(rows), folder)
    killed = Row("run", Outcome.ERROR, "no verdict: the harness was ended before it had one, or still runs")
    return said or RedPoint(case_id, platform, (killed,), folder)


def _point(case_id: str, platform: str, rows: Sequence[Row], folder: Path | None) -> RedPoint | None:
    red = sorted((each for each in rows if each.outcome in NOT_GREEN), key=lambda row: row.depth)
    return RedPoint(case_id, platform, tuple(red), folder) if red else None


def of_junit(path: Path, content: bytes) -> tuple[list[RedPoint], int]:
    """Red points of a JUnit file of ours, and how many points it has.

    Raises:
        UsageError: It is no such file.
    """
    try:
        told = junit.red_in(content)
    except ValueError as error:
        raise UsageError(f"{path}: {error}; give one that `harness run` wrote") from None
    points = [_point(f"{suite}/{name}", platform, [*map(_row, red)], None) for (suite, platform, name), red in told]
    return [each for each in points if each], len(points)


def _row(told: junit.Red) -> Row:
    return Row(told.name, told.outcome, told.message, told.details, told.kind)


def one_causes(points: Iterable[RedPoint]) -> list[OneCause]:
    """Points put together by what they are red for, that which explains most rows first."""
    found: dict[tuple[str, str, str], OneCause] = {}
    for point in points:
        of = point.first.of
        found.setdefault((of.name, *point.sign), OneCause(of)).points.append(point)
    return sorted(found.values(), key=lambda cause: -cause.rows)
