"""Share of right answers, of the evaluation itself or of one of its controls."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pydantic import Field

from harness.base.domain import CheckResult, Outcome
from harness.base.evidence import Answers, Evidence, Miss
from harness.base.settings import Baseline
from harness.checks import check, early_verdicts, spreads
from harness.checks.check import Check

_NAMED = 2  # wrong answers in the line that says so; the lines below it have more


class AccuracySettings(Baseline):
    """``[checks.accuracy]``: ``n`` is the number of items."""

    max_invalid_share: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Most answers, as a share, from which no answer can be read; judged by itself. Left out: any.",
    )


def judge(settings: AccuracySettings, evidence: Evidence, run: str = "main") -> list[CheckResult]:
    """``accuracy`` or ``control[NAME]``, and where invalid answers are bounded, the same with ``_invalid``."""
    name = "accuracy" if run == "main" else f"control[{run}]"
    answers = evidence.measured.answers[run]
    bounded = settings.max_invalid_share
    if answers.scored != answers.planned or not answers.planned:
        reason = f"{answers.scored} of {answers.planned} items were scored"
        names = [name, f"{name}_invalid"] if bounded is not None else [name]
        return [check.unmeasured(each, reason) for each in names]
    result = check.baseline(
        name, answers.accuracy, answers.scored, settings, "share", spreads.of_right_answers(answers)
    )
    if run == "main" and early_verdicts.applies(settings, evidence):
        result = early_verdicts.judged(result, settings, evidence, early_verdicts.accuracy)
    told = [f"{answers.invalid} of {answers.scored} answers hold no answer to read"] if answers.invalid else []
    if result.outcome is Outcome.FAIL:
        told += map(_line, answers.missed)
        # Of an answer whose text is the known one it is known that it is wrong: it is not what made the difference.
        other = {each.item for each in answers.differing}
        if first := [_line(each) for each in answers.missed if each.item in other][:_NAMED]:
            wrong = f"{answers.scored - answers.correct} of {answers.scored} answers are wrong"
            named = f"{wrong}, other ones than are known to be: {'; '.join(first)}"
            result = replace(result, message="; ".join(filter(None, (result.message, named))))
    result = replace(result, details="\n".join(told))
    return [result] if bounded is None else [result, _invalid(f"{name}_invalid", answers, bounded)]


def _line(missed: Miss) -> str:
    read = "nothing" if missed.read is None else missed.read
    return f"{missed.item}: {missed.expected} expected, {read} read from {missed.text!r}"


def _invalid(name: str, answers: Answers, most: float) -> CheckResult:
    share, spread = answers.invalid / answers.scored, spreads.of_items(answers.invalid, answers.scored)
    return CheckResult(
        name=name,
        outcome=Outcome.PASS if share <= most else Outcome.FAIL,
        measured=share,
        expected=0.0,
        high=most,
        n=answers.scored,
        unit="share",
        direction="at-most",
        interval=spread.ends,
        interval_of=spread.of,
        message="" if share <= most else f"no answer can be read from {answers.invalid} of {answers.scored} answers",
    )


def _weakness(settings: AccuracySettings, guessed: float) -> Iterable[str]:
    scored = "passes with no right answer at all" if not guessed else f"passes with what guessing scores, {guessed:g}"
    return check.too_low(settings, guessed, scored)


CHECK = Check(
    name="accuracy",
    about="Share of right answers.",
    settings=AccuracySettings,
    judge=judge,
    of_the_model=True,
    weakness=_weakness,
)
