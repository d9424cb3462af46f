"""Texts equal, to the character: to those known before the engine ran, or to those of the main run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from harness.base.domain import CheckResult, Outcome
from harness.base.evidence import Difference, Evidence
from harness.base.settings import Baseline
from harness.checks import check, spreads
from harness.checks.check import Check

_NAMED = 2  # items that differ in the line that says so, and characters of each; the lines below it have more
_EXCERPT = 24


class ParitySettings(Baseline):
    """``[checks.parity]``: ``expected`` is the share of equal texts, ``n`` the number of items."""


class ComparisonSettings(Baseline):
    """``[comparisons.NAME]``: ``expected`` is the share of items with the main run's text, ``n`` their number."""


def judge(settings: ParitySettings, evidence: Evidence) -> list[CheckResult]:
    """One result, ``parity``."""
    answers = evidence.measured.answers["main"]
    if answers.compared != answers.planned or not answers.planned:
        return [check.unmeasured("parity", f"{answers.compared} of {answers.planned} texts could be compared")]
    result = check.baseline(
        "parity",
        answers.equal / answers.compared,
        answers.compared,
        settings,
        "share",
        spreads.of_items(answers.equal, answers.compared, known=True),
    )
    return [_with(result, answers.equal, answers.differing, "known beforehand")]


def judge_comparison(name: str, settings: ComparisonSettings, evidence: Evidence) -> CheckResult:
    """``parity[NAME]``: the texts of a comparison against those of the main run, all of which must be there."""
    measured = evidence.measured
    title, found, planned = f"parity[{name}]", measured.agreement[name], measured.answers["main"].planned
    if found.compared != planned or not planned:
        return check.unmeasured(title, f"{found.compared} of {planned} items were answered in both runs")
    result = check.baseline(
        title,
        found.equal / found.compared,
        found.compared,
        settings,
        "share",
        spreads.of_items(found.equal, found.compared, known=True),
    )
    return _with(result, found.equal, found.differing, "the comparison")


def _with(result: CheckResult, equal: int, differing: Sequence[Difference], other: str) -> CheckResult:
    """Unless it passed, with the first items that differ, and where."""
    if result.outcome is Outcome.PASS:
        return result
    told = [
        f"{each.item}: equal for {each.at} characters, then main {each.main!r}, {other} {each.other!r}{_meaning(each)}"
        for each in differing
    ]
    first = "; ".join(
        f"{each.item} says {_cut(each.main)} after {each.at} equal characters, {other} is {_cut(each.other)}"
        f"{_meaning(each)}"
        for each in differing[:_NAMED]
    )
    why = f"{result.n - equal} of {result.n} texts are others: {first}" if first else ""
    return replace(result, message=why, details="\n".join(told))


def _cut(text: str) -> str:
    return repr(text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}…")


def _meaning(each: Difference) -> str:
    return f" ({each.means})" if each.means else ""


def weakness(settings: Baseline, _guessed: float) -> Iterable[str]:
    """Of a comparison too: whether no equal text at all would pass."""
    return check.too_low(settings, 0.0, "passes with no equal text at all")


CHECK = Check(
    name="parity",
    about="Texts equal to those known beforehand.",
    settings=ParitySettings,
    judge=judge,
    of_the_model=True,
    weakness=weakness,
)
