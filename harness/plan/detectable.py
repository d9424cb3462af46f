"""What the checks of planned points can see at their n, before anything has run: ``harness plan --power``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import rich.box
import rich.console
import rich.markup
import rich.table

from harness.base.settings import Expectation
from harness.cases.model import Case
from harness.checks import against_reference
from harness.checks.check import Spread, least_loss
from harness.plan.points import Planned
from harness.statistics.decisions import observations_for
from harness.statistics.proportions import deviation, wilson
from harness.statistics.ratios import of_drafts, spread_at_length, spread_of_a_draft

_LOSS, _ALPHA = 0.05, 0.01  # of the n that is named: the loss, as a share, and how often it is red for nothing


@dataclass(frozen=True)
class Sight:
    """What one check can see.

    Attributes:
        check: Name of its result.
        status: Of its baseline.
        n: Observations: items or drafts; drafts at most, where only the items are known.
        false_alarm: How often an equal run is red, where it was measured; 0 where all answers are known beforehand.
        loss: The least loss that is seen 95 times of 100, as a share of what is expected; None if nothing is expected.
        needed: Observations that see a loss of 5 % of it so often on other items; None where equal runs cannot differ.
        known: Whether all answers are known beforehand.
    """

    check: str
    status: str
    n: int
    false_alarm: float | None
    loss: float | None
    needed: int | None
    known: bool


def of_case(case: Case) -> Iterator[Sight]:
    """Everything that a case compares with an expected ratio."""
    checks, known = case.checks, case.evaluation.ANSWERS is not None
    if checks.accuracy:
        n, expected = checks.accuracy.n, checks.accuracy.expected
        spread = deviation(expected)
        there = Spread(wilson(min(round(expected * n), n), n), "items", known=known)
        yield _sight("accuracy", checks.accuracy, expected, n, spread, there)
    length, positions = checks.acceptance_length, checks.acceptance_per_position
    if length:
        n = _drafts(case, length.counts, length.n, length.expected)
        spread = (
            spread_of_a_draft(positions.expected) if positions else spread_at_length(length.expected, _drafted(case))
        )
        there = Spread(of_drafts(length.expected, spread, n), "drafts", known=known)
        yield _sight("acceptance_length", length, length.expected, n, spread, there)
    for name, each in case.comparisons.items():
        there = Spread(wilson(min(round(each.expected * each.n), each.n), each.n), "items", known=each.passport is None)
        yield _sight(f"parity[{name}]", each, each.expected, each.n, deviation(each.expected), there)
    for position, share in enumerate(positions.expected if positions else ()):
        n = _drafts(case, positions.counts, positions.n, 1 + sum(positions.expected))
        spread = deviation(share)
        there = Spread(of_drafts(share, spread, n), "drafts", known=known)
        yield _sight(f"acceptance_per_position[{position}]", positions, share, n, spread, there, position)


@dataclass(frozen=True)
class Together:
    """The checks of the points of one command whose baselines state a rate of false alarms.

    Attributes:
        checks: How many there are.
        stated: Sum of their rates: any of them is red for nothing no more often, whatever they have in common
            (Bonferroni's inequality).
        kept: The rate that all of them together may have.
    """

    checks: int
    stated: float
    kept: float

    @property
    def share(self) -> float:
        """What of its own rate each check may use."""
        return min(1.0, self.kept / self.stated) if self.stated else 1.0

    @property
    def words(self) -> str:
        """In one line; empty where no check states a rate."""
        if not self.checks:
            return ""
        sharing = f", which leaves each {self.share:.2g} of its own rate" if self.share < 1 else ""
        return (
            f"{self.checks} checks state how often an equal run is red; any of them is red for nothing in "
            f"{min(self.stated, self.kept):.2g} of all such runs at most{sharing}"
        )


def together(planned: Iterable[Planned], kept: float, *, paired: bool = False) -> Together:
    """Of the points that run; checks whose answers are all known beforehand are never red for nothing.

    Args:
        planned: Of the command.
        kept: The rate that all of them may have.
        paired: Whether each point is compared with a stored run, too, by two tests.
    """
    running = [each.case for each in planned if not each.skip]
    rates = [sight.false_alarm for case in running for sight in of_case(case)]
    rates += [against_reference.FALSE_ALARM] * (2 * len(running) if paired else 0)
    stated = [rate for rate in rates if rate]
    return Together(len(stated), sum(stated), kept)


def _sight(
    name: str, settings: Expectation, expected: float, n: int, spread: float, there: Spread, position: int | None = None
) -> Sight:
    loss = least_loss(expected, n, settings, there, position)
    gates = settings.status != "provisional"
    measured = settings.passport.false_alarm if settings.passport and gates else None
    needed = observations_for(_LOSS * abs(expected), spread, _ALPHA) if expected and not there.known else None
    return Sight(
        name,
        settings.status,
        n,
        0.0 if there.known and measured is None else measured,
        loss / abs(expected) if loss is not None and expected else None,
        needed,
        there.known,
    )


def _drafts(case: Case, counts: str, n: int, length: float) -> int:
    """Drafts of a run: as the baseline counts them, or as many as there can be if it counts items."""
    return n if counts == "drafts" else max(1, int(case.evaluation.items * case.evaluation.max_tokens / length))


def _drafted(case: Case) -> int | None:
    final = case.serve_of("decode" if case.topology.kind == "disagg" else "server")
    return final.speculation.drafted if final.speculation else None


def table(planned: Sequence[Planned], kept: float) -> str:
    """The table of ``harness plan --power``, and what all checks together are stated to do.

    Points of one case with the same line have one.

    Args:
        planned: Of the plan.
        kept: Rate of false alarms that all checks of a run together may have.
    """
    shown = rich.table.Table(box=rich.box.SIMPLE)
    for name in ("case", "check", "status", "n", "false alarm", "sees a loss of", f"n for {_LOSS:.0%}"):
        shown.add_column(name, justify="left" if name in ("case", "check", "status") else "right", overflow="fold")
    sights = [(each, sight) for each in planned if not each.skip for sight in of_case(each.case)]
    alike = Counter((each.case_file.id, sight) for each, sight in sights)
    first: dict[tuple[str, Sight], Planned] = {}
    for each, sight in sights:
        first.setdefault((each.case_file.id, sight), each)
    for (case, sight), each in first.items():
        points = alike[case, sight]
        status = "known" if sight.known else sight.status
        loss = "" if sight.loss is None else f"{sight.loss:.1%}" if sight.loss < 1 else "none"
        alarm = "" if sight.false_alarm is None else f"{sight.false_alarm:.2g}"
        name = each.id if points == 1 else f"{case} ({points} points)"
        cells = (name, sight.check, status, str(sight.n), alarm, loss, str(sight.needed or ""))
        shown.add_row(*map(rich.markup.escape, cells))
    console = rich.console.Console(width=200, highlight=False)
    with console.capture() as captured:
        console.print(shown)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    stated = together(planned, kept)
    return "\n".join([*lines, stated.words or "no check states how often an equal run is red", _OTHERWISE])


_OTHERWISE = (
    "Without a measured baseline it is the loss that is seen on other items of the same kind. Drafts are taken as "
    "independent, which those of one request are not; where n counts items, they are as many as there can be."
)
