"""``result.json``: everything a report or another machine needs to know about one judged case."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from harness.base.domain import CheckResult, Outcome, Platform, Stage, StageRecord
from harness.base.errors import EXIT_FAILED, EXIT_PASSED, CannotJudge, Interrupted

EXIT_CODES = {
    Outcome.PASS: EXIT_PASSED,
    Outcome.SKIPPED: EXIT_PASSED,
    Outcome.MEASURED: EXIT_PASSED,
    Outcome.FAIL: EXIT_FAILED,
    Outcome.ERROR: CannotJudge.exit_code,
    Outcome.INCONCLUSIVE: CannotJudge.exit_code,
}


class Timing(BaseModel):
    """Where the time went, in seconds. ``own`` is what is left for the harness itself."""

    model_config = ConfigDict(frozen=True)

    total: float = 0.0
    prepare: float = 0.0
    start_up: float = 0.0
    in_flight: float = 0.0
    stop: float = 0.0

    @property
    def own(self) -> float:
        return max(0.0, self.total - self.prepare - self.start_up - self.in_flight - self.stop)


class Result(BaseModel):
    """The verdict on one case on one platform."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[2] = 2
    suite: str
    name: str
    platform: str
    outcome: Outcome
    exit_code: int
    started: str
    stages: tuple[StageRecord, ...]
    checks: tuple[CheckResult, ...]
    provenance: dict[str, str]
    timing: Timing

    @staticmethod
    def upgraded(content: Any) -> Any:
        """A document of an older version as this one has it, anything else as it is.

        What version 1 said in words is read as numbers where it is some, and kept as words where it is not.
        """
        if not isinstance(content, dict) or content.get("schema_version") != 1:
            return content
        return {**content, "schema_version": 2, "checks": [_from_words(each) for each in content.get("checks", ())]}

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        """A verdict that its own lines do not bear out is damage, and must not be counted."""
        outcome = judged(self.stages, self.checks, interrupted=self.exit_code == Interrupted.exit_code)
        if self.outcome is not outcome:
            raise ValueError(f"outcome is {self.outcome}, its stages and checks say {outcome}")
        return self

    @property
    def case_id(self) -> str:
        return f"{self.suite}/{self.name}"

    @property
    def classname(self) -> str:
        """Unique per case and platform, as JUnit consumers group by it."""
        return f"{self.suite}.{self.platform}.{self.name}"


def _from_words(check: Any) -> Any:
    """A check of version 1: ``measured``, ``expected`` and ``bound`` were texts."""
    if not isinstance(check, dict):
        return check
    rest = {name: value for name, value in check.items() if name not in ("measured", "expected", "bound")}
    told = {name: _number(check[name]) for name in ("measured", "expected") if check.get(name) not in (None, "", "-")}
    words = str(check.get("bound", ""))
    for pattern, names in _BOUNDS:
        if found := pattern.fullmatch(words):
            limits = dict(zip(names, map(float, found.groups() * (len(names) // len(found.groups()))), strict=True))
            return {**rest, **told, **limits}
    return {**rest, **told, "details": "\n".join(filter(None, [words, rest.get("details", "")]))}


def _number(words: Any) -> Any:
    return float(words) if isinstance(words, str) and re.fullmatch(_NUMBER, words) else words


_NUMBER = r"-?[0-9.]+(?:e[+-]?[0-9]+)?"
_BOUNDS = (
    (re.compile(f">= ({_NUMBER})"), ("low",)),
    (re.compile(f"<= ({_NUMBER})"), ("high",)),
    (re.compile(f"exactly ({_NUMBER})"), ("low", "high")),
    (re.compile(rf"({_NUMBER}) \.\. ({_NUMBER})"), ("low", "high")),
)


def judged(stages: Iterable[StageRecord], checks: Iterable[CheckResult], *, interrupted: bool) -> Outcome:
    """The verdict of many: an error outranks a failure, and nothing checked is an error, never a pass.

    What is undecided, or was measured only, is no pass either, whatever else was looked at.
    """
    found = [check.outcome for check in checks]
    outcomes = {*found, *(record.outcome for record in stages)}
    if Outcome.ERROR in outcomes or not found or interrupted:
        return Outcome.ERROR
    if outcomes == {Outcome.SKIPPED}:
        return Outcome.SKIPPED
    worst = (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.MEASURED)
    return next((each for each in worst if each in outcomes), Outcome.PASS)


def conclude(
    *,
    suite: str,
    name: str,
    platform: Platform,
    started: str,
    stages: Iterable[StageRecord],
    checks: Iterable[CheckResult],
    provenance: Mapping[str, str],
    timing: Timing,
    interrupted: bool,
) -> Result:
    """Put the verdict together."""
    stages, checks = tuple(stages), tuple(checks)
    outcome = judged(stages, checks, interrupted=interrupted)
    return Result(
        suite=suite,
        name=name,
        platform=platform,
        outcome=outcome,
        exit_code=Interrupted.exit_code if interrupted else EXIT_CODES[outcome],
        started=started,
        stages=stages,
        checks=checks,
        provenance=dict(sorted(provenance.items())),
        timing=timing,
    )


def skipped(
    *,
    suite: str,
    name: str,
    platform: Platform,
    started: str,
    reason: str,
    provenance: Mapping[str, str] = MappingProxyType({}),
) -> Result:
    """What is reported of a point that was chosen not to run: a report without it would look complete."""
    check = CheckResult("case", Outcome.SKIPPED, message=reason)
    return Result(
        suite=suite,
        name=name,
        platform=platform,
        outcome=Outcome.SKIPPED,
        exit_code=EXIT_CODES[Outcome.SKIPPED],
        started=started,
        stages=(),
        checks=(check,),
        provenance=dict(sorted(provenance.items())),
        timing=Timing(),
    )


def exit_code(results: Iterable[Result], *, allow_inconclusive: bool = False) -> int:
    """One exit code for many cases: an interrupt, then an error, then a failure decides.

    What is inconclusive counts as an error, unless it is allowed; it is never green all the same.
    """
    codes = [
        EXIT_PASSED if allow_inconclusive and each.outcome is Outcome.INCONCLUSIVE else each.exit_code
        for each in results
    ]
    return max(codes, default=CannotJudge.exit_code)


NOT_GREEN = (Outcome.FAIL, Outcome.ERROR, Outcome.INCONCLUSIVE)
"""How a stage or a check ends that keeps a run from being green."""

NEW_WARNINGS = "new_warnings"
"""Of a provenance: what servers warned of that nobody has called benign."""

REPORTED_STAGES = (Stage.PREPARE, Stage.SERVE, Stage.HEALTH_WAIT, Stage.EVAL)
"""Stages that are testcases of their own; stopping is judged by the ``teardown`` check."""
