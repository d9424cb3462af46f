"""Share of right answers, of the evaluation itself or of one of its controls."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from harness.base.domain import CheckResult, Outcome
from harness.base.settings import Baseline
from harness.checks import compare
from harness.checks.evidence import Answers, Measurement


class Config(Baseline):
    """``[checks.accuracy]``: ``n`` is the number of items."""

    max_invalid_share: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Most answers, as a share, from which no answer can be read; judged by itself. Left out: any.",
    )


def judge(config: Config, measured: Measurement, run: str = "main") -> list[CheckResult]:
    """``accuracy`` or ``control[NAME]``, and where invalid answers are bounded, the same with ``_invalid``."""
    name = "accuracy" if run == "main" else f"control[{run}]"
    answers = measured.answers[run]
    bounded = config.max_invalid_share
    if answers.scored != answers.planned or not answers.planned:
        reason = f"{answers.scored} of {answers.planned} items were scored"
        names = [name, f"{name}_invalid"] if bounded is not None else [name]
        return [compare.unmeasured(each, reason) for each in names]
    result = compare.baseline(name, answers.accuracy, answers.scored, config)
    told = [f"{answers.invalid} of {answers.scored} answers hold no answer to read"] if answers.invalid else []
    if result.outcome is Outcome.FAIL:
        told += [
            f"{each.item}: {each.expected} expected, {each.read} read from {each.text!r}" for each in answers.missed
        ]
    result = replace(result, details="\n".join(told))
    return [result] if bounded is None else [result, _invalid(f"{name}_invalid", answers, bounded)]


def _invalid(name: str, answers: Answers, most: float) -> CheckResult:
    share = answers.invalid / answers.scored
    holds = share <= most
    bound = f"<= {compare.show(most)}"
    message = f"no answer can be read from {answers.invalid} of {answers.scored} answers ({bound})"
    return CheckResult(
        name=name,
        outcome=Outcome.PASS if holds else Outcome.FAIL,
        measured=compare.show(share),
        expected="0",
        bound=bound,
        n=answers.scored,
        message="" if holds else message,
    )
