"""A run next to a stored one of the same case, item by item: has anything got worse?"""

from __future__ import annotations

from collections.abc import Iterator

from harness.base.domain import CheckResult, Outcome
from harness.base.evidence import Evidence
from harness.base.paired import Paired
from harness.statistics import pairs
from harness.statistics.estimate import POWER
from harness.statistics.ratios import LEAST_GROUPS

FALSE_ALARM = 0.01
"""Of each of the two tests."""


def judge(evidence: Evidence) -> list[CheckResult]:
    """``reference[accuracy]`` and ``reference[acceptance_length]``, as far as there is something to compare."""
    there = evidence.paired
    if there is None:
        return []
    rate = FALSE_ALARM * evidence.alarm_share
    return [*_accuracy(there, rate), *_length(there, rate)] or [
        CheckResult("reference", Outcome.SKIPPED, message="neither answers nor drafts of the two runs can be compared")
    ]


def _accuracy(there: Paired, rate: float) -> Iterator[CheckResult]:
    """McNemar's test on items that were right in one of the two runs."""
    scored = [each for each in there.items if each.right_then is not None and each.right_now is not None]
    if not scored:
        return
    lost = [each.item for each in scored if each.right_then and not each.right_now]
    gained = sum(bool(each.right_now and not each.right_then) for each in scored)
    n, most = len(scored), pairs.most_lost(gained, rate)
    held = len(lost) <= most
    told = f"{len(lost)} items lost and {gained} gained"
    yield CheckResult(
        name="reference[accuracy]",
        outcome=Outcome.PASS if held else Outcome.FAIL,
        measured=(gained - len(lost)) / n,
        expected=0.0,
        low=(gained - most) / n,
        n=n,
        unit="share",
        direction="at-least",
        message=f"{told} against {there.reference}{_texts(there)}",
        details="" if held else f"lost: {', '.join(lost[:20])}",
        detects=pairs.least_loss(gained, rate) / n,
        false_alarm=rate,
    )


def _length(there: Paired, rate: float) -> Iterator[CheckResult]:
    """Student's test on groups of requests."""
    if not there.drafts:
        return
    name = "reference[acceptance_length]"
    if len(there.groups_now) < LEAST_GROUPS:
        why = f"counters were read between {len(there.groups_now)} groups of requests in both, {LEAST_GROUPS} would do"
        yield CheckResult(name, Outcome.SKIPPED, message=f"not compared: {why}")
        return
    if not all(sum(of for _, of in run) for run in (there.groups_then, there.groups_now)):
        yield CheckResult(name, Outcome.FAIL, message=f"one of the two runs drafted nothing; against {there.reference}")
        return
    found = pairs.difference_of_ratios(there.groups_then, there.groups_now)
    drafts = int(sum(of for _, of in there.groups_now))
    width, one = found.reach(1 - rate), 1 / drafts  # a single token is the least that can be missing
    held = found.value >= -width
    yield CheckResult(
        name=name,
        outcome=Outcome.PASS if held else Outcome.FAIL,
        measured=found.value,
        expected=0.0,
        low=-width,
        n=drafts,
        unit="tokens per draft",
        direction="at-least",
        message=f"against {there.reference}{_texts(there)}",
        interval=found.ends,
        interval_of=f"{found.groups} groups of requests, paired",
        detects=max(width + found.reach(POWER), one),
        false_alarm=rate,
    )


def _texts(there: Paired) -> str:
    equal = sum(each.same_text for each in there.items)
    alone = f", {there.alone} items are in one of the two only" if there.alone else ""
    return f"; {equal} of {len(there.items)} texts are equal{alone}"
