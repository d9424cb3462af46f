"""How sure each measured ratio is: its interval, and over what."""

from __future__ import annotations

from collections.abc import Callable

from harness.base.evidence import Acceptance, Answers, Evidence, Verifications
from harness.checks.check import Spread
from harness.statistics.proportions import deviation, wilson
from harness.statistics.ratios import LEAST_GROUPS, clustered, of_drafts, spread_at_length, spread_of_a_draft

Counted = Acceptance | Verifications


def of_items(count: int, n: int, *, known: bool = False) -> Spread:
    """Of a share of items."""
    return Spread(wilson(count, n), "items", known=known)


def of_right_answers(answers: Answers) -> Spread:
    """Of the share of right answers: of texts that are all known beforehand equal runs cannot differ."""
    return of_items(answers.correct, answers.scored, known=answers.compared == answers.planned)


def of_length(evidence: Evidence, counted: Counted) -> Spread:
    """Of the acceptance length."""
    if isinstance(counted, Acceptance) and counted.accepted_per_position:
        spread = spread_of_a_draft(counted.per_position)
    else:
        drafted = counted.draft_tokens // counted.drafts if isinstance(counted, Acceptance) else None
        spread = spread_at_length(counted.length, drafted)
    return _by_drafts(evidence, counted, counted.length, spread, lambda group: group.length * group.drafts)


def of_position(evidence: Evidence, counted: Acceptance, position: int) -> Spread:
    """Of the share that is accepted at a position."""

    def accepted(group: Counted) -> float:
        there = group.accepted_per_position if isinstance(group, Acceptance) else ()
        return there[position] if position < len(there) else 0.0

    share = counted.per_position[position]
    return _by_drafts(evidence, counted, share, deviation(share), accepted)


def _by_drafts(
    evidence: Evidence, counted: Counted, value: float, spread: float, of_group: Callable[[Counted], float]
) -> Spread:
    """Of a ratio by drafts: over groups of requests where counters were read between them, else over drafts."""
    measured = evidence.measured
    main, groups = measured.answers["main"], [each for each in measured.acceptance_groups if each.drafts]
    known = bool(main.planned) and main.compared == main.planned
    if len(groups) >= LEAST_GROUPS:
        estimate = clustered([of_group(each) for each in groups], [each.drafts for each in groups])
        if estimate:
            return Spread(estimate, f"{estimate.groups} groups of requests", known=known)
    return Spread(of_drafts(value, spread, counted.drafts), "drafts, taken as independent", known=known)
