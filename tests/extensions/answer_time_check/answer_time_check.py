"""``[checks.answer_time]``: the median answer takes no longer than it may."""

from __future__ import annotations

from statistics import median

from pydantic import Field

from harness.base.domain import CheckResult, Outcome
from harness.base.evidence import Evidence
from harness.base.settings import Origin, Strict
from harness.checks.check import Check, unmeasured


class AnswerTimeSettings(Strict):
    """``[checks.answer_time]``."""

    at_most: float = Field(gt=0, le=3600, description="Seconds that the median answer may take.")
    origin: Origin


def judge(settings: AnswerTimeSettings, evidence: Evidence) -> list[CheckResult]:
    """One result, ``answer_time``."""
    seconds = [sample.seconds for sample in evidence.samples if sample.run == "main" and not sample.error]
    if not seconds:
        return [unmeasured("answer_time", "no request was answered")]
    found = median(seconds)
    return [
        CheckResult(
            name="answer_time",
            outcome=Outcome.PASS if found <= settings.at_most else Outcome.FAIL,
            measured=found,
            expected=settings.at_most,
            high=settings.at_most,
            n=len(seconds),
            unit="seconds",
            direction="at-most",
        )
    ]


CHECK = Check(
    name="answer_time",
    about="Time that the median answer takes.",
    settings=AnswerTimeSettings,
    judge=judge,
)
