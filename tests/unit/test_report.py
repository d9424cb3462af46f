"""JUnit files and results: valid, readable by somebody else's parser, and honest about outcomes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from junit2htmlreport.parser import Junit
from lxml import etree
from rich.console import Console as RichConsole

from harness.base.domain import CheckResult, Outcome, Stage, StageRecord
from harness.base.errors import CannotJudge, HarnessError, Interrupted, NothingSelected, UsageError
from harness.reports import junit
from harness.reports.result import Result, Timing, conclude, exit_code
from harness.run.console import Console
from tests.helpers import XSD

PASSED = CheckResult("accuracy", Outcome.PASS, 0.75, 0.75, 0.75, 0.75, 100)
FAILED = CheckResult(
    "acceptance_length", Outcome.FAIL, 3.0, 3.3, 3.1, 3.4, 360, message="too short", details="more\nlines"
)
BROKEN = CheckResult("kv_transfer", Outcome.ERROR, message="could not be judged: no counter")
SERVED = StageRecord(Stage.SERVE, Outcome.PASS, 1.5)
DIED = StageRecord(Stage.HEALTH_WAIT, Outcome.ERROR, 2.0, "server exited with status 1: ValueError: x", "log\nlines")


def result(
    *checks: CheckResult, stages: tuple[StageRecord, ...] = (SERVED,), interrupted: bool = False, name: str = "case"
) -> Result:
    return conclude(
        suite="suite", name=name, platform="cpu", started="2026-11-20T21:12:11.123456+00:00", stages=stages,
        checks=checks, provenance={"engine": "vllm"}, timing=Timing(total=60.0), interrupted=interrupted,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("made", "outcome", "code"),
    [
        (result(PASSED), Outcome.PASS, 0),
        (result(PASSED, FAILED), Outcome.FAIL, 1),
        (result(PASSED, FAILED, BROKEN), Outcome.ERROR, 4),
        (result(PASSED, stages=(DIED,)), Outcome.ERROR, 4),
        (result(FAILED, stages=(SERVED, DIED)), Outcome.ERROR, 4),
        (result(), Outcome.ERROR, 4),
        (result(PASSED, interrupted=True), Outcome.ERROR, 130),
    ],
    ids=["pass", "fail", "error outranks", "stage error", "both", "nothing checked", "interrupted"],
)
def test_outcome_and_exit_code(made: Result, outcome: Outcome, code: int) -> None:
    assert (made.outcome, made.exit_code) == (outcome, code)


def test_of_several_cases_the_worst_decides_and_none_is_never_green() -> None:
    assert exit_code([result(PASSED), result(FAILED)]) == 1
    assert exit_code([result(BROKEN), result(FAILED)]) == 4
    assert exit_code([result(BROKEN), result(PASSED, interrupted=True)]) == 130
    assert exit_code([]) == 4


def test_exit_codes_are_unique() -> None:
    classes: list[type[HarnessError]] = [UsageError, NothingSelected, CannotJudge]
    assert sorted(HarnessError.__subclasses__(), key=str) == sorted(classes, key=str)
    codes = [HarnessError.exit_code, *(each.exit_code for each in classes), Interrupted.exit_code, 0, 1]
    assert len(codes) == len(set(codes))
    assert [each.exit_code for each in classes] == [2, 3, 4]


def parsed(*results: Result) -> etree._Element:
    document = etree.fromstring(junit.render(results))
    XSD.assertValid(document)
    return document


def test_the_file_is_valid_and_says_what_happened() -> None:
    document = parsed(result(PASSED, FAILED, BROKEN, stages=(SERVED, DIED)), result(PASSED, name="other"))
    suites = document.findall("testsuite")
    assert [suite.get("name") for suite in suites] == ["suite.cpu.case", "suite.cpu.other"]
    first = suites[0]
    assert (first.get("tests"), first.get("failures"), first.get("errors")) == ("5", "1", "2")
    assert (first.get("timestamp"), first.get("time")) == ("2026-11-20T21:12:11", "60.0")
    cases = {case.get("name"): case for case in first.iter("testcase")}
    assert {case.get("classname") for case in cases.values()} == {"suite.cpu.suite/case on cpu"}
    failure = cases["acceptance_length"].find("failure")
    assert failure is not None
    assert (failure.get("message"), failure.get("type")) == ("too short", "CheckFailed")
    assert failure.text == "too short\nmeasured=3\nexpected=3.3\nbound=3.1 .. 3.4\nn=360\nmore\nlines"
    assert cases["accuracy"].findtext("system-out") == "measured=0.75\nexpected=0.75\nbound=exactly 0.75\nn=100"
    error = cases["health-wait"].find("error")
    assert error is not None
    assert error.text == "server exited with status 1: ValueError: x\nlog\nlines"
    properties = {each.get("name"): each.get("value") for each in first.iter("property")}
    assert properties["provenance.engine"] == "vllm"
    assert properties["acceptance_length.measured"] == "3"


def test_what_is_not_green_is_read_back_as_it_was() -> None:
    ((point, red),) = junit.red_in(junit.render([result(PASSED, FAILED, BROKEN, stages=(SERVED, DIED))]))
    assert point == ("suite", "cpu", "case")
    told = {each.name: (each.outcome, each.message, each.details) for each in red}
    assert told["health-wait"] == (Outcome.ERROR, DIED.message, DIED.details), "the cause is not said twice"
    assert told["acceptance_length"][:2] == (Outcome.FAIL, "too short")
    assert told.keys() == {"health-wait", "acceptance_length", "kv_transfer"}


def test_an_independent_parser_reads_the_same(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    path.write_bytes(junit.render([result(PASSED, FAILED, BROKEN)]))
    (suite,) = Junit(str(path)).suites
    outcomes = {case.name: case.outcome() for case in suite.all()}  # type: ignore[no-untyped-call] # it has no types
    assert outcomes == {"serve": "passed", "accuracy": "passed", "acceptance_length": "failed", "kv_transfer": "failed"}


def test_names_are_unique_and_at_most_one_result_each() -> None:
    document = parsed(result(PASSED, FAILED, BROKEN, stages=(SERVED, DIED)))
    names = [(case.get("classname"), case.get("name")) for case in document.iter("testcase")]
    assert len(names) == len(set(names))
    for case in document.iter("testcase"):
        assert len(case.findall("failure") + case.findall("error") + case.findall("skipped")) <= 1


@given(text=st.text(alphabet=st.characters(codec=None)), more=st.text())
def test_no_text_can_break_the_file(text: str, more: str) -> None:
    check = CheckResult("x", Outcome.FAIL, text, {more: text}, n=1, unit=text, message=text, details=more)
    stage = StageRecord(Stage.EVAL, Outcome.ERROR, 0.1, more, text)
    parsed(result(check, stages=(stage,)))


def test_forbidden_characters_and_colours_are_removed() -> None:
    assert junit.clean("a\x00\x08\x0b\x1b[31mb\ufffe\ud800c\td") == "abc\td"


def test_messages_are_one_short_line() -> None:
    check = CheckResult("x", Outcome.FAIL, message="two\nlines " + "x" * 1000)
    failure = next(parsed(result(check)).iter("failure"))
    message = failure.get("message") or ""
    assert message.startswith("two lines xxx")
    assert len(message) == 500


def test_a_failed_stop_is_reported() -> None:
    stop = StageRecord(Stage.STOP, Outcome.ERROR, 1.0, "container could not be removed")
    names = [case.get("name") for case in parsed(result(PASSED, stages=(SERVED, stop))).iter("testcase")]
    assert names == ["serve", "stop", "accuracy"]


def test_the_harness_has_no_share_in_waiting_for_the_engine() -> None:
    timing = Timing(total=60.0, prepare=10.0, start_up=30.0, in_flight=15.0, stop=3.0)
    assert timing.own == 2.0


def test_the_table_has_every_number_in_plain_text() -> None:
    buffer = io.StringIO()
    Console(RichConsole(file=buffer, force_terminal=False)).result(result(PASSED, FAILED))
    lines = buffer.getvalue().splitlines()
    row = next(line for line in lines if "acceptance_length" in line)
    assert row.split() == ["acceptance_length", "fail", "3", "3.3", "3.1", "..", "3.4", "360"]
    assert "acceptance_length: too short" in lines
    assert "fail suite/case (60 s)" in lines
