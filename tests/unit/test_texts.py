"""Texts of somebody else's on their way to a terminal, and those that are too long."""

from __future__ import annotations

import unicodedata
from io import StringIO

import pytest
import rich.console
from hypothesis import given
from hypothesis import strategies as st

from harness.base.domain import CheckResult, Outcome, Stage
from harness.base.texts import cause, one_line, plain, say, shortened
from harness.reports import junit
from harness.reports.markdown import escape
from harness.reports.result import Result, Timing
from harness.run.console import Console
from harness.run.rundir import Event

EVIL = (
    "\x1b[31mred\x1b]0;title\x07 \x9b2J\x07\x08\u202egnp\u2066.\u200bexe\ufeff \x85 \ud800 ov\rer\n::set-env name=A::b"
)
STEERS = "\x1b\x9b\x07\x08\r\x85\u202e\u2066\u200b\ufeff\ud800"


def result(text: str) -> Result:
    check = CheckResult("accuracy", Outcome.FAIL, text, {text: text}, n=1, unit=text, message=text, details=text)
    return Result(
        suite="a",
        name="b",
        platform="cpu",
        started="2026-01-01T00:00:00",
        outcome=Outcome.FAIL,
        exit_code=1,
        stages=(),
        checks=(check,),
        provenance={},
        timing=Timing(total=1.0),
    )


def shown(text: str, *, terminal: bool) -> str:
    out = StringIO()
    inner = rich.console.Console(file=out, force_terminal=terminal, color_system=None, width=300)
    console = Console(inner)
    console.line(text)
    for kind in ("progress", "end"):
        event = {"time": "t", "stage": Stage.SERVE, "kind": kind, "text": text}
        console.show(Event.model_validate(event))
    console.result(result(text))
    return out.getvalue()


def test_nothing_of_it_steers_a_log() -> None:
    text = shown(EVIL, terminal=False)
    assert not set(STEERS) & set(text)
    assert "red" in text
    assert "\\u202egnp" in text, "it can be seen that something was there"
    assert not [line for line in text.splitlines() if line.lstrip().startswith("::")]


def test_nothing_of_it_steers_a_terminal() -> None:
    assert not set(STEERS) - set("\x1b\r") & set(shown(EVIL, terminal=True))
    assert "\x1b[31m" not in shown(EVIL, terminal=True), "rich's own sequences are others"
    assert "title" not in shown(EVIL, terminal=True)


def test_nothing_of_it_reaches_a_report() -> None:
    for text in (junit.render([result(EVIL)]).decode(), escape(EVIL), junit.clean(EVIL)):
        assert not set(STEERS) & set(text)


@given(st.text(alphabet=st.characters(codec=None)))
def test_whatever_it_is(text: str) -> None:
    told = plain(text)
    assert not {
        character for character in told if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    } - set("\n\t")
    assert plain(told) == told
    told.encode()
    assert "\n" not in one_line(text)


@pytest.mark.parametrize(
    "text",
    [
        "::stop-commands::x",
        "  ::set-output name=a::b",
        "a\n\u00a0::error::x",
        "##[error]x",
        "a ##vso[task.x]y",
        "\r::x",
        "##teamcity[x]",
    ],
)
def test_commands_of_ci_systems_are_defused(text: str) -> None:
    told = plain(text)
    assert not [line for line in told.splitlines() if line.strip().startswith("::")]
    assert "##[" not in told
    assert "##vso[" not in told
    assert "##teamcity[" not in told


def test_harmless_texts_stay() -> None:
    text = "ümlaut 日本語 a::b ### [x]\tc\nd 🙂"
    assert plain(text) == text


def test_what_is_printed_is_plain_and_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "planted-in-a-test")
    out = StringIO()
    say("a planted-in-a-test\x1b[2J\u202e", file=out)
    assert out.getvalue() == "a ***\\u202e\n"


NVIDIA = (
    "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: "
    "unable to start container process: error during container init: error running prestart hook #0: exit status 1, "
    "stdout: , stderr: Auto-detected mode as 'legacy'\nnvidia-container-cli: mount error: file creation failed: "
    "/var/lib/docker/overlay2/0a/merged/usr/lib/firmware/nvidia/580.159.04: read-only file system: unknown"
)


@pytest.mark.parametrize("limit", [200, 300, 400])
def test_what_is_cut_keeps_its_cause(limit: int) -> None:
    told = shortened(NVIDIA, limit)
    assert len(told) <= limit
    assert "\n" not in told
    assert told.startswith("failed to create task for container")
    assert told.endswith("read-only file system: unknown")
    assert "nvidia-container-cli: mount error" in told or limit < 300


def test_what_is_cut_is_masked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "planted-in-a-test")
    told = cause("x" * 30 + " planted-in-a-test " + "y" * 30, 60)
    assert "planted" not in told
    assert "n-a-test" not in told
    assert cause(ValueError()) == "ValueError"
