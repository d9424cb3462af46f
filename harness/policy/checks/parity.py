"""Texts equal, to the character, to those known before the engine ran."""

from __future__ import annotations

from harness.ground.domain import CheckResult, Measurement
from harness.policy.checks import compare
from harness.policy.schema import Baseline


class Config(Baseline):
    """``[checks.parity]``: ``expected`` is the share of equal texts, ``n`` the number of items."""


def judge(config: Config, measured: Measurement) -> list[CheckResult]:
    """One result, ``parity``."""
    answers = measured.answers["main"]
    if answers.compared != answers.planned:
        return [compare.unmeasured("parity", f"{answers.compared} of {answers.planned} texts could be compared")]
    return [compare.baseline("parity", answers.equal / answers.compared, answers.compared, config)]
