"""JUnit XML, inside the subset that every consumer reads the same way.

One suite a case and platform; unique names; at most one failure or error a testcase; messages of one line; measured
values as suite properties and as ``key=value`` lines in ``system-out``; no character that XML forbids.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import junitparser

from harness.base.domain import CheckResult, Outcome, StageRecord
from harness.base.texts import plain, shortened, without_sequences
from harness.reports.numbers import message, show, shown
from harness.reports.result import REPORTED_STAGES, Result, skipped

# XML 1.0, section 2.2: everything else must not appear, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MAX_MESSAGE = 500
_MAX_DETAILS = 20_000


def clean(text: str) -> str:
    """``text`` without the characters that XML forbids and without what a terminal or a CI system obeys."""
    return plain(_FORBIDDEN.sub("", without_sequences(text)))


def _one_line(text: str) -> str:
    return shortened(clean(text), _MAX_MESSAGE)


def render(results: Iterable[Result]) -> bytes:
    """The XML file for one or more results."""
    document = junitparser.JUnitXml()
    for result in results:
        document.add_testsuite(_suite(result))
    return bytes(document.tostring())  # type: ignore[no-untyped-call] # junitparser has no types


def skipped_in(document: bytes) -> list[Result]:
    """The skipped cases of a file of ours: they have no run directory, and are on record only here.

    Raises:
        ValueError: It is no such file.
    """
    try:
        suites = list(junitparser.JUnitXml.fromstring(document))
        return [found for suite in suites for found in _skipped(suite)]
    except (junitparser.JUnitXmlError, SyntaxError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise ValueError(f"not a JUnit file of ours: {' '.join(str(error).split())[:200]}") from None


def _skipped(suite: junitparser.TestSuite) -> list[Result]:
    reasons = [result.message for case in suite for result in case.result if isinstance(result, junitparser.Skipped)]
    folder, platform, name = suite.name.split(".", 2)
    if len(reasons) != 1 or len(list(suite)) != 1:
        return []
    return [skipped(suite=folder, name=name, platform=platform, started=suite.timestamp, reason=reasons[0])]


def _suite(result: Result) -> junitparser.TestSuite:
    suite = junitparser.TestSuite(result.classname)
    suite.timestamp = result.started[:19]  # the XSD wants no zone; it is UTC
    for name, value in _properties(result).items():
        suite.add_property(name, clean(value))
    reported = [each for each in result.stages if each.stage in REPORTED_STAGES or each.outcome is not Outcome.PASS]
    cases = [_stage_case(result, record) for record in reported]
    cases += [_check_case(result, check) for check in result.checks]
    suite.add_testcases(cases)
    # add_testcases recounts; the suite's time is the run's, not the sum of its testcases.
    suite.time = round(result.timing.total, 3)
    return suite


def _properties(result: Result) -> dict[str, str]:
    values = {f"provenance.{name}": value for name, value in result.provenance.items()}
    for check in result.checks:
        values |= {f"{check.name}.{key}": value for key, value in _values(check).items()}
    times = result.timing.model_dump() | {"own": result.timing.own}
    return values | {f"seconds.{name}": f"{seconds:.3f}" for name, seconds in times.items()}


def _values(check: CheckResult) -> dict[str, str]:
    """Its numbers as text, and each one that has a name also by itself, for programs; of a pass also what it says."""
    named = check.measured if isinstance(check.measured, Mapping) else {}
    unit = {"unit": check.unit} if check.unit else {}
    said = {"message": _one_line(check.message)} if check.message and check.outcome is Outcome.PASS else {}
    return shown(check) | unit | said | {f"measured.{name}": show(value) for name, value in named.items()}


def _class(result: Result) -> str:
    """Of a testcase. Some readers keep what stands behind the last dot alone, so that this says all by itself."""
    by_itself = f"{result.case_id} on {result.platform}".replace(".", "_")
    return f"{result.suite}.{result.platform}.{by_itself}"


def _case(result: Result, name: str, outcome: Outcome, why: str, details: str, kind: str) -> junitparser.TestCase:
    case = junitparser.TestCase(name, _class(result), time=0.0)
    # Some readers drop the message of an element that has a text.
    body = "\n".join(filter(None, (_one_line(why), clean(details)[-_MAX_DETAILS:])))
    if outcome is Outcome.FAIL:
        case.result = [_filled(junitparser.Failure(_one_line(why), kind), body)]
    elif outcome in (Outcome.ERROR, Outcome.INCONCLUSIVE):
        case.result = [_filled(junitparser.Error(_one_line(why), kind), body)]
    elif outcome in (Outcome.SKIPPED, Outcome.MEASURED):
        case.result = [junitparser.Skipped(_one_line(why))]
    return case


def _filled(element: junitparser.junitparser.FinalResult, body: str) -> junitparser.junitparser.FinalResult:
    element.text = body
    return element


def _stage_case(result: Result, record: StageRecord) -> junitparser.TestCase:
    case = _case(result, record.stage, record.outcome, record.message, record.details, record.fault or "CannotJudge")
    case.time = round(record.seconds, 3)
    return case


def _check_case(result: Result, check: CheckResult) -> junitparser.TestCase:
    numbers = "\n".join(f"{key}={value}" for key, value in _values(check).items())
    kinds = {Outcome.FAIL: "CheckFailed", Outcome.INCONCLUSIVE: "Inconclusive"}
    kind = kinds.get(check.outcome, check.fault or "CannotJudge")
    details = "\n".join(part for part in (numbers, check.details) if part)
    case = _case(result, check.name, check.outcome, message(check), details, kind)
    case.system_out = clean(numbers)
    return case
