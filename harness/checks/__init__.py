"""Checks: rules over the evidence of a run, each with its baseline.

One module a check (:mod:`.check` says what one is), found through the entry points of the group ``harness.checks``. The
table ``[checks]``, its schema, the judging and the reports follow from what is found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field, create_model

from harness.base import plugins
from harness.base.domain import CheckResult, Outcome
from harness.base.evidence import NO_ANSWERS, Agreement, Evidence, Measurement, Unmeasured
from harness.base.settings import Strict
from harness.checks import accuracy, in_force, parity, validity
from harness.checks.accuracy import AccuracySettings
from harness.checks.check import Check, unmeasured
from harness.checks.parity import ComparisonSettings


def _check(name: str, found: object) -> Check | None:
    return found if isinstance(found, Check) and found.name == name else None


CHECKS = plugins.found("harness.checks", _check, "Check")
"""Every check by the name of its table."""


class _Checks(Strict):
    """The ``[checks]`` table. ``validity``, ``in_force`` and ``teardown`` need no baseline and always run."""

    def configured(self) -> dict[str, Any]:
        """The settings of every check that the case has, by its name, in the order in which they are reported."""
        return {name: settings for name in CHECKS if (settings := getattr(self, name)) is not None}


if TYPE_CHECKING:

    class Checks(_Checks):
        """The ``[checks]`` table, whose fields are those that were found."""

        def __getattr__(self, name: str) -> Any: ...

else:
    _tables: dict[str, Any] = {
        name: (each.settings | None, Field(None, description=each.about)) for name, each in CHECKS.items()
    }
    Checks = create_model("Checks", __base__=_Checks, __doc__=_Checks.__doc__, **_tables)


def unjudged(
    checks: Checks,
    controls: Mapping[str, AccuracySettings],
    comparisons: Mapping[str, ComparisonSettings],
    reason: str,
) -> list[CheckResult]:
    """The same results, in the same order, of a run on whose remains nothing is judged: all skipped, with why.

    A report without them would look as if nobody had asked.
    """
    missing = Unmeasured(reason)
    empty = Measurement(
        answers=dict.fromkeys(("main", *controls, *comparisons), NO_ANSWERS),
        acceptance=missing,
        kv=missing,
        finished=missing,
        agreement=dict.fromkeys(comparisons, Agreement(0, 0)),
    )
    results = judge_all(checks, controls, comparisons, Evidence(empty))
    return [CheckResult(each.name, Outcome.SKIPPED, message=f"not judged: {reason}") for each in results]


def judge_all(
    checks: Checks,
    controls: Mapping[str, AccuracySettings],
    comparisons: Mapping[str, ComparisonSettings],
    evidence: Evidence,
) -> list[CheckResult]:
    """All results of a case, in the order in which they are reported."""
    results = [*validity.judge(evidence), *in_force.judge(evidence)]
    for name, settings in checks.configured().items():
        results += _judged(name, CHECKS[name].judge, settings, evidence)
    for name, control in controls.items():
        results += accuracy.judge(control, evidence, run=name)
    results += [parity.judge_comparison(name, settings, evidence) for name, settings in comparisons.items()]
    return results


def _judged(
    name: str, judge: Callable[[Any, Evidence], list[CheckResult]], settings: Any, evidence: Evidence
) -> list[CheckResult]:
    """What a check says. One that breaks, or says nothing, is an error of its own: it may be somebody else's."""
    try:
        results = list(judge(settings, evidence))
    except Exception as error:  # noqa: BLE001 # the others are judged all the same
        return [unmeasured(name, f"the check broke: {type(error).__name__}: {error}")]
    return results or [unmeasured(name, "the check returned no result")]
