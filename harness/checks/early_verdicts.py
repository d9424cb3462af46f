"""Measured baselines of a case that looks at the answers as they come, and decides as soon as it can."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.base.domain import CheckResult, Outcome
from harness.base.evidence import Acceptance, Evidence, Look
from harness.base.settings import Expectation, Passport, listed
from harness.checks.check import unmeasured
from harness.checks.noise import least_width
from harness.statistics.looks import Equal, Limits, Loss, decided, limits
from harness.statistics.sequential import Decision, Errors

_OUTCOMES = {"pass": Outcome.PASS, "fail": Outcome.FAIL, "inconclusive": Outcome.INCONCLUSIVE}
_ALL_ITEMS = "acceptance_per_position"
"""Positions only raise alarms, at every look: what they lose, the acceptance length loses too."""


@dataclass(frozen=True)
class Seen:
    """A value at one look: after so many observations, each of which can lose ``most``."""

    value: float
    n: int
    most: float = 1.0


Reader = Callable[[Look], Seen | None]
"""A value of a look; None where there is nothing to judge."""


def accuracy(look: Look) -> Seen | None:
    """The share of right answers."""
    return Seen(look.correct / look.scored, look.scored) if look.scored == look.asked else None


def length(look: Look) -> Seen | None:
    """The acceptance length, of an engine that counts what it drafts."""
    there = look.acceptance
    if not isinstance(there, Acceptance) or not there.drafts or not there.draft_tokens:
        return None
    return Seen(there.length, there.drafts, math.ceil(there.draft_tokens / there.drafts))


def share_at(position: int) -> Reader:
    """The share that is accepted at a position."""

    def read(look: Look) -> Seen | None:
        there = look.acceptance
        if not isinstance(there, Acceptance) or not there.drafts or position >= len(there.per_position):
            return None
        return Seen(there.per_position[position], there.drafts)

    return read


READERS: Mapping[str, Reader] = {"accuracy": accuracy, "acceptance_length": length}


def applies(settings: Expectation, evidence: Evidence) -> bool:
    """Whether a baseline is judged at looks: it was measured at them, and the run was looked at."""
    return bool(evidence.measured.looks) and _has_looks(settings)


def judged(
    result: CheckResult, settings: Expectation, evidence: Evidence, reader: Reader, position: int | None = None
) -> CheckResult:
    """The result of a check at all looks that there were, in place of that of the last one alone.

    Args:
        result: What the check measured in all that was asked.
        settings: Its baseline, to which :func:`applies` applies.
        evidence: Of the run.
        reader: Its value at a look.
        position: Which of the values of the baseline is meant, where it has one a position.
    """
    if result.outcome not in (Outcome.PASS, Outcome.FAIL):
        return result
    found = _limits(settings, evidence.measured.looks, reader, position)
    decisions = [_decision(each) for each in found]
    verdict, last = decided(decisions), found[-1]
    if last is None:
        return unmeasured(result.name, "nothing was counted at the last look")
    there = settings.passport
    assert there is not None
    equal, there_at, seen = last
    when = decisions.index(verdict) + 1 if verdict in decisions else len(found)
    margin = there.margin * abs(equal.expected) if there.margin is not None and position is None else None
    result = replace(
        result,
        outcome=_OUTCOMES[verdict],
        expected=equal.expected,
        low=there_at.fail_below,
        high=there_at.fail_above,
        detects=margin,
        margin=margin,
        power=there.power if margin is not None else None,
        false_alarm=there.false_alarm,
        look=when,
        looks=len(there.looks) + 1,
    )
    if verdict == "inconclusive":
        return replace(result, message=_undecided(seen.value, there_at, evidence.measured.looks[-1].asked, there))
    if verdict == "fail" and when < len(found):
        at = found[when - 1]
        assert at is not None
        told = f"after {evidence.measured.looks[when - 1].asked} items it was {at[2].value:.6g}"
        return replace(result, message=f"{told}, and the bound there is {_bound(at[1])}")
    return result


def is_over(configured: Mapping[str, Any], looks: Sequence[Look], *, measure_only: bool = False) -> bool:
    """Whether the verdict is clear after some looks: something failed, or nothing is left that could.

    Args:
        configured: The settings of every check that the case has, by its name.
        looks: Those that there were.
        measure_only: Nothing is judged, and so everything is asked.
    """
    if measure_only:
        return False
    expected = {name: each for name, each in configured.items() if isinstance(each, Expectation)}
    if not all(name in (*READERS, _ALL_ITEMS) and _has_looks(each) for name, each in expected.items()):
        return False  # what has no looks is judged on all items
    verdicts = list[Decision]()
    for name, settings in expected.items():
        values = listed(getattr(settings, "expected"))  # noqa: B009 # a number, or one a position
        readers = [READERS[name]] if name in READERS else [share_at(at) for at in range(len(values))]
        for at, reader in enumerate(readers):
            position = None if name in READERS else at
            found = decided([_decision(each) for each in _limits(settings, looks, reader, position)])
            if found == "fail":
                return True
            verdicts += [found] if name in READERS else []
    return bool(verdicts) and set(verdicts) == {"pass"}


def _has_looks(settings: Expectation) -> bool:
    there = settings.passport
    return there is not None and bool(there.looks) and settings.status == "gating"


_At = tuple[Equal, Limits, Seen]


def _decision(at: _At | None) -> Decision:
    return "inconclusive" if at is None else at[1].decision(at[2].value)


def _limits(settings: Expectation, looks: Sequence[Look], reader: Reader, position: int | None) -> list[_At | None]:
    """What equal runs showed at each look, where it decides, and what was seen; None where nothing was."""
    there = settings.passport
    assert there is not None
    errors, planned = Errors(there.false_alarm, 1 - there.power), len(there.looks) + 1
    found: list[_At | None] = []
    for index, look in enumerate(looks):
        seen = reader(look)
        if seen is None:
            found.append(None)
            continue
        equal = _equal(settings, there, index, position, seen.n if reader is accuracy else None)
        loss = None
        if there.margin is not None and position is None:
            loss = Loss(there.margin * abs(equal.expected), seen.most)
        at = limits(equal, loss, seen.n, errors, planned, two_sided=settings.direction == "two-sided")
        found.append((equal, at, seen))
    return found


def _equal(settings: Expectation, there: Passport, index: int, position: int | None, items: int | None) -> Equal:
    early = there.looks[index] if index < len(there.looks) else None
    expected = early.expected if early else getattr(settings, "expected")  # noqa: B009 # as above
    noise = early.noise if early else there.noise
    value = listed(expected)[position or 0]
    part = min(early.n / settings.n, 1.0) if early else 1.0
    least = least_width(value, items or 1, of_items=items is not None, part=part)
    return Equal(value, listed(noise)[position or 0], there.runs, least)


def _undecided(value: float, at: Limits, asked: int, there: Passport) -> str:
    passes = "and no value would do yet" if math.isinf(at.pass_from) else f"and passes from {at.pass_from:.6g} on"
    return (
        f"undecided after all {asked} items that may be asked: {value:.6g} fails {_bound(at)}, {passes}, where a loss "
        f"of {there.margin or 0:.1%} is excluded; raise evaluation.items and calibrate"
    )


def _bound(at: Limits) -> str:
    above = "" if at.fail_above is None else f" or above {at.fail_above:.6g}"
    return f"below {at.fail_below:.6g}{above}"
