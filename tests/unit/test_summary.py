"""The summary of a CI job: shows every verdict, and whatever an engine wrote into a message stays text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from harness.base.domain import CheckResult, Outcome, Stage, StageRecord
from harness.base.errors import NothingSelected
from harness.reports import junit
from harness.reports.markdown import escape, render
from harness.reports.result import Result, Timing, conclude, skipped
from harness.run.summary import summary

MARKDOWN = MarkdownIt("gfm-like", {"html": True, "linkify": False})
PASSED = CheckResult("accuracy", Outcome.PASS, 0.75, 0.75, 0.75, 0.75, 100)
FAILED = CheckResult(
    "acceptance_length", Outcome.FAIL, 3.0, 3.3, 3.1, 3.4, 360, message="too short|<b>", details="more\nlines"
)
DIED = StageRecord(Stage.HEALTH_WAIT, Outcome.ERROR, 2.0, "server exited: ValueError: `x` @someone #1", "log")
SKIPPED = skipped(suite="suite", name="big[tp=8]", platform="cuda", started="2026-11-20T21:12:11", reason="needs 8")


def result(name: str, *checks: CheckResult, stages: tuple[StageRecord, ...] = (), interrupted: bool = False) -> Result:
    return conclude(
        suite="suite", name=name, platform="cpu", started="2026-11-20T21:12:11.123456+00:00", stages=stages,
        checks=checks, provenance={}, timing=Timing(total=61.7), interrupted=interrupted,
    )  # fmt: skip


def cells(text: str) -> list[str]:
    """Text of every cell as a reader sees it; no markup may be in it."""
    inline = [token for token in MARKDOWN.parse(text) if token.type == "inline"]
    assert {child.type for token in inline for child in token.children or []} <= {"text", "text_special"}
    return ["".join(child.content for child in token.children or []) for token in inline]


def test_the_summary_shows_every_verdict_and_the_numbers_of_what_is_not_green() -> None:
    found = cells(render([result("good", PASSED), result("bad", PASSED, FAILED), SKIPPED], {"suite.gone": "why"}))
    assert found == [
        "1 pass, 1 fail, 1 error, 1 skipped",
        "verdict", "case", "platform", "seconds",
        "pass", "suite/good", "cpu", "62",
        "fail", "suite/bad", "cpu", "62",
        "skipped", "suite/big[tp=8]", "cuda", "0",
        "error", "suite.gone", "", "",
        "fail suite/bad",
        "check", "outcome", "measured", "interval", "expected", "bound", "n", "detects", "message",
        "acceptance_length", "fail", "3", "", "3.3", "3.1 .. 3.4", "360", "", "too short|<b>",
        "skipped suite/big[tp=8]",
        "check", "outcome", "measured", "interval", "expected", "bound", "n", "detects", "message",
        "case", "skipped", "", "", "", "", "", "", "needs 8",
        "error suite.gone",
        "why",
    ]  # fmt: skip


def test_a_stage_that_broke_and_an_interrupt_say_so() -> None:
    shown = cells(render([result("died", stages=(DIED,)), result("cut", PASSED, interrupted=True)]))
    assert "server exited: ValueError: `x` @someone #1" in shown
    assert "Interrupted, or nothing was checked." in shown
    assert not re.search(r"(?<!\\)[@#](?=someone|1)", render([result("died", stages=(DIED,))]))


@given(st.text(max_size=80))
def test_whatever_a_message_holds_is_one_cell_that_shows_it(text: str) -> None:
    shown = cells(f"| a | b |\n| --- | --- |\n| {escape(text)} | end |")
    assert shown == ["a", "b", " ".join(junit.clean(text).split()), "end"]


@pytest.mark.parametrize("text", ["&amp;", "<!-- x", "[a](http://b)", "![i](u)", "a|b\n|c|", "`` ` ``", "\\|", "**a**"])
def test_markup_stays_text(text: str) -> None:
    assert cells(f"| a |\n| --- |\n| {escape(text)} |") == ["a", " ".join(text.split())]


def test_a_folder_of_run_directories_is_summed_up(tmp_path: Path) -> None:
    for made in (result("good", PASSED), result("bad", FAILED)):
        folder = tmp_path / "20261120" / f"suite.{made.name}"
        folder.mkdir(parents=True)
        (folder / "case.json").write_text("{}")
        (folder / "result.json").write_text(made.model_dump_json())
        (folder / "junit.xml").write_bytes(junit.render([made]))
    (tmp_path / "20261120" / "suite.gone").mkdir()
    (tmp_path / "20261120" / "suite.gone" / "case.json").write_text("{}")
    (tmp_path / "20261120" / "junit.xml").write_bytes(junit.render([result("good", PASSED), SKIPPED]))
    gone = {"suite.gone": "No verdict: the harness was ended before it had one, or still runs."}
    expected = render([result("bad", FAILED), result("good", PASSED), SKIPPED], gone)
    assert summary(tmp_path) == (expected, [])


def test_what_cannot_be_read_is_an_error_with_a_line_of_its_own_and_hides_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "20261120"
    for name, document in (
        ("good", result("good", PASSED).model_dump_json()),
        ("half", result("half", PASSED).model_dump_json()[:80]),
        ("forged", result("forged", FAILED).model_dump_json().replace('"fail","exit_code":1', '"pass","exit_code":0')),
    ):
        (folder / name).mkdir(parents=True)
        (folder / name / "case.json").write_text("{}")
        (folder / name / "result.json").write_text(document)
    (folder / "junit.xml").write_text("<testsuites")
    text, broken = summary(tmp_path)
    assert cells(text)[0] == "1 pass, 3 error"
    assert [re.sub(r".*20261120/", "", line)[:40] for line in broken] == [
        "forged/result.json: outcome is pass, its",
        "half/result.json: Invalid JSON: EOF while"[:40],
        "junit.xml: not a JUnit file of ours: Couldn't"[:40],
    ]


def test_no_run_directory_is_no_summary(tmp_path: Path) -> None:
    with pytest.raises(NothingSelected, match="no run directory there"):
        summary(tmp_path)
