"""Share of right answers, of the evaluation itself or of one of its controls."""

from __future__ import annotations

from harness.ground.domain import CheckResult, Measurement
from harness.policy.checks import compare
from harness.policy.schema import Baseline


class Config(Baseline):
    """``[checks.accuracy]``: ``n`` is the number of items."""


def judge(config: Config, measured: Measurement, run: str = "main") -> list[CheckResult]:
    """One result: ``accuracy``, or ``control[NAME]``."""
    name = "accuracy" if run == "main" else f"control[{run}]"
    answers = measured.answers[run]
    if answers.scored != answers.planned:
        return [compare.unmeasured(name, f"{answers.scored} of {answers.planned} items were scored")]
    return [compare.baseline(name, answers.accuracy, answers.scored, config)]
