"""Checks: rules over the evidence of a run, each with its baseline.

One module a check (:mod:`.check` says what one is), found through the entry points of the group ``harness.checks``. The
table ``[checks]``, its schema, the judging and the reports follow from what is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, get_args

from pydantic import Field, create_model

from harness.base import plugins
from harness.base.domain import CheckResult, Outcome
from harness.base.evidence import NO_ANSWERS, Agreement, Evidence, Measurement, Offer, Source, Unmeasured
from harness.base.settings import Strict
from harness.checks import accuracy, against_reference, at_rest, in_force, noise, parity, validity
from harness.checks.accuracy import AccuracySettings
from harness.checks.check import Check, unmeasured
from harness.checks.parity import ComparisonSettings


def _check(name: str, found: object) -> Check | None:
    return found if isinstance(found, Check) and found.name == name else None


CHECKS = plugins.found("harness.checks", _check, "Check")
"""Every check by the name of its table."""


class _Checks(Strict):
    """The ``[checks]`` table. `validity`, `in_force`, `at_rest` and `teardown` need no baseline and always run."""

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
    results = judge_all(checks, controls, comparisons, _nothing((*controls, *comparisons), reason))
    return [CheckResult(each.name, Outcome.SKIPPED, message=f"not judged: {reason}") for each in results]


def _nothing(others: Iterable[str], reason: str) -> Evidence:
    """Evidence of a run in which nothing was observed."""
    missing = Unmeasured(reason)
    empty = Measurement(
        answers=dict.fromkeys(("main", *others), NO_ANSWERS),
        acceptance=missing,
        kv=missing,
        finished=missing,
        agreement=dict.fromkeys(others, Agreement(0, 0)),
    )
    return Evidence(empty)


def judge_all(
    checks: Checks,
    controls: Mapping[str, AccuracySettings],
    comparisons: Mapping[str, ComparisonSettings],
    evidence: Evidence,
) -> list[CheckResult]:
    """All results of a case, in the order in which they are reported.

    What somebody else's servers do not say is not measured, and the checks that need it are skipped. If that leaves
    none, one more says that nothing was judged: a case is never green without.
    """
    first: list[CheckResult] = [*validity.judge(evidence), *in_force.judge(evidence), *at_rest.judge(evidence)]
    results: list[CheckResult] = []
    missing = evidence.measured.missing
    for name, settings in noise.sharing(checks.configured(), evidence.alarm_share).items():
        if why := _lacking(CHECKS[name], settings, missing):
            names = [each.name for each in _judged(name, CHECKS[name].judge, settings, _nothing((), why))]
            results += [CheckResult(each, Outcome.SKIPPED, message=f"not measured: {why}") for each in names]
        else:
            results += _judged(name, CHECKS[name].judge, settings, evidence)
    for name, control in controls.items():
        results += accuracy.judge(control, evidence, run=name)
    results += [
        parity.judge_comparison(name, settings, evidence)
        for name, settings in noise.sharing(comparisons, evidence.alarm_share).items()
    ]
    results += against_reference.judge(evidence)
    if results and all(each.outcome is Outcome.SKIPPED for each in results):
        results.append(unmeasured("baselines", f"none of the {len(results)} could be measured"))
    return [*first, *results]


def _lacking(check: Check, settings: Any, missing: Mapping[Offer | Source, str]) -> str:
    """Why a check cannot be measured, of what the servers do not say; empty if it can."""
    everything = frozenset(get_args(Offer))
    for what, why in missing.items():
        if what in check.reads or check.problem(settings, everything - {what}) != check.problem(settings, everything):
            return why
    return ""


def _judged(
    name: str, judge: Callable[[Any, Evidence], list[CheckResult]], settings: Any, evidence: Evidence
) -> list[CheckResult]:
    """What a check says. One that breaks, or says nothing, is an error of its own: it may be somebody else's."""
    try:
        results = list(judge(settings, evidence))
    except Exception as error:  # noqa: BLE001 # the others are judged all the same
        return [unmeasured(name, f"the check broke: {type(error).__name__}: {error}")]
    return results or [unmeasured(name, "the check returned no result")]
