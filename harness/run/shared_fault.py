"""Points of which none can run, for one reason that they share."""

from __future__ import annotations

from collections.abc import Generator, Mapping

from harness.base.errors import CannotJudge
from harness.plan.points import Planned
from harness.reports.result import Result
from harness.run.console import Console
from harness.run.supervise import Perform, Report, broken, leave_out, not_run


def tell_once(error: CannotJudge, console: Console) -> Perform:
    """The first point has the error; the others are not tried, and say why."""

    def perform(points: Mapping[int, Planned], _report: Report) -> Generator[tuple[int, Result]]:
        first = next((index for index, each in points.items() if not each.skip), None)
        others = sum(not each.skip for each in points.values()) - 1
        for index, each in points.items():
            if each.skip:
                yield index, leave_out(each, each.skip, console)
            elif index != first:
                yield index, not_run(each, f"not run: {error}")
            else:
                result = broken(each, None, error)
                console.result(result)
                if others:
                    console.line(f"not run for the same reason: {others} more")
                yield index, result

    return perform
