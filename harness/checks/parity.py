"""Texts equal, to the character: to those known before the engine ran, or to those of the main run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.base.domain import CheckResult, Outcome
from harness.base.settings import Baseline
from harness.checks import compare
from harness.checks.evidence import Difference, Measurement


class Config(Baseline):
    """``[checks.parity]``: ``expected`` is the share of equal texts, ``n`` the number of items."""


class ComparisonConfig(Baseline):
    """``[comparisons.NAME]``: ``expected`` is the share of items with the main run's text, ``n`` their number."""


def judge(config: Config, measured: Measurement) -> list[CheckResult]:
    """One result, ``parity``."""
    answers = measured.answers["main"]
    if answers.compared != answers.planned or not answers.planned:
        return [compare.unmeasured("parity", f"{answers.compared} of {answers.planned} texts could be compared")]
    result = compare.baseline("parity", answers.equal / answers.compared, answers.compared, config)
    return [_with(result, answers.differing, "known beforehand")]


def judge_comparison(name: str, config: ComparisonConfig, measured: Measurement) -> CheckResult:
    """``parity[NAME]``: the texts of a comparison against those of the main run, all of which must be there."""
    title, found, planned = f"parity[{name}]", measured.agreement[name], measured.answers["main"].planned
    if found.compared != planned or not planned:
        return compare.unmeasured(title, f"{found.compared} of {planned} items were answered in both runs")
    result = compare.baseline(title, found.equal / found.compared, found.compared, config)
    return _with(result, found.differing, "comparison")


def _with(result: CheckResult, differing: Sequence[Difference], other: str) -> CheckResult:
    """Unless it passed, with the first items that differ, and where."""
    if result.outcome is Outcome.PASS:
        return result
    told = [
        f"{each.item}: equal for {each.at} characters, then main {each.main!r}, {other} {each.other!r}"
        for each in differing
    ]
    return replace(result, details="\n".join(told))
