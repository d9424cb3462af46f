"""JUnit XML, inside the subset that every consumer reads the same way.

One suite a case and platform; unique names; at most one failure or error a testcase; messages of one line; measured
values as suite properties and as ``key=value`` lines in ``system-out``; no character that XML forbids.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import junitparser

from harness.base.domain import CheckResult, Outcome, Platform, StageRecord
from harness.base.texts import plain, shortened, without_sequences
from harness.reports.numbers import message, show, shown
from harness.reports.result import REPORTED_STAGES, Result, skipped

T = TypeVar("T")

# XML 1.0, section 2.2: everything else must not appear, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_KINDS = {Outcome.FAIL: "CheckFailed", Outcome.INCONCLUSIVE: "Inconclusive"}
"""The type of a failure or error by the outcome of its check; of others it is whose fault that is."""
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
    return [found for each in _read(document, _skipped) for found in each]


def _skipped(suite: junitparser.TestSuite) -> list[Result]:
    reasons = [result.message for case in suite for result in case.result if isinstance(result, junitparser.Skipped)]
    folder, platform, name = _point(suite)
    if len(reasons) != 1 or len(list(suite)) != 1:
        return []
    return [skipped(suite=folder, name=name, platform=platform, started=suite.timestamp, reason=reasons[0])]


@dataclass(frozen=True)
class Red:
    """A testcase of ours that is not green.

    Attributes:
        name: Of the stage or check.
        outcome: How it ended.
        message: Why, in one line.
        details: More lines.
        kind: Whose fault it is, where somebody says so.
    """

    name: str
    outcome: Outcome
    message: str
    details: str
    kind: str


def red_in(document: bytes) -> list[tuple[tuple[str, Platform, str], list[Red]]]:
    """Suite, platform and name of each point in a file of ours, with its testcases that are not green.

    Raises:
        ValueError: It is no such file.
    """
    return _read(document, lambda suite: (_point(suite), list(_red(suite))))


def _red(suite: junitparser.TestSuite) -> Iterator[Red]:
    outcomes = {kind: outcome for outcome, kind in _KINDS.items()}
    for case in suite:
        for each in case.result:
            if isinstance(each, junitparser.Failure | junitparser.Error):
                why, kind = each.message or "", each.type or ""
                details = (each.text or "").removeprefix(why).lstrip("\n")
                yield Red(case.name, outcomes.get(kind, Outcome.ERROR), why, details, kind)


def _read(document: bytes, of: Callable[[junitparser.TestSuite], T]) -> list[T]:
    """What each suite of a file of ours says.

    Raises:
        ValueError: It is no such file.
    """
    try:
        return [of(suite) for suite in junitparser.JUnitXml.fromstring(document)]
    except (junitparser.JUnitXmlError, SyntaxError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise ValueError(f"not a JUnit file of ours: {' '.join(str(error).split())[:200]}") from None


def _point(suite: junitparser.TestSuite) -> tuple[str, Platform, str]:
    folder, platform, name = suite.name.split(".", 2)
    return folder, platform, name


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
    kind = _KINDS.get(check.outcome, check.fault or "CannotJudge")
    details = "\n".join(part for part in (numbers, check.details) if part)
    case = _case(result, check.name, check.outcome, message(check), details, kind)
    case.system_out = clean(numbers)
    return case
