"""Builds that cannot be asked as expected: the case runs, and its result says what nobody could verify, and why."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from harness.base.domain import Outcome
from tests.fake.conftest import QUICK, SGLANG, SINGLE, SMALL, Judge
from tests.fake_engine.install import SITE, install
from tests.helpers import Run, begin, edited, end, harness, left_in, recorded, run, wait_for

BROKEN = "ImportError: libcuda.so.1: cannot open shared object file"
UNKNOWN = {"serve/flags/attention-backend": "TRITON_ATTN"}
"""A flag that the scripted engine has only if its build says so."""


@pytest.fixture(autouse=True)
def nothing_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers are kept by the interpreter's path, and pytest uses its paths again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def said(found: Run) -> str:
    """What the result says that was not verified; it stands in the JUnit file and on the console too."""
    (check,) = [each for each in found.result.checks if each.name == "flags"]
    assert check.outcome is Outcome.SKIPPED
    assert found.problems["flags"].startswith(check.message[:100])
    assert f"flags: {check.message[:60]}" in found.output
    return check.message


def started(found: Run) -> str:
    return (found.directory / "commands.sh").read_text()


@pytest.mark.parametrize(
    ("build", "words"),
    [
        ({"broken": BROKEN, "help": "says RuntimeError: moved"}, ["libcuda.so.1", "RuntimeError: moved"]),
        ({"broken": BROKEN, "help": "dies"}, ["libcuda.so.1", "killed by SIGKILL"]),
        ({"broken": BROKEN, "help": "other"}, ["lists no --host and no --port: a form that is not understood"]),
        ({"broken": BROKEN, "help": "endless"}, ["`vllm serve --help=all`: ", "/vllm wrote more than 8 MiB"]),
    ],
    ids=lambda each: each.get("help", "").partition(" ")[0] if isinstance(each, dict) else "",
)
def test_a_build_that_says_nothing_in_any_way_runs(judge: Judge, build: dict[str, Any], words: list[str]) -> None:
    found = judge(SINGLE, {"build": {"module_help": "says ImportError: gone", **build}})
    assert found.code == 0, found.output
    message = said(found)
    assert message.startswith("flags and environment variables were not verified beforehand; ")
    for each in words:
        assert each in message
    assert "vllm serve model --host" in started(found), "a command whose help breaks may start a server all the same"


def test_an_answer_that_never_comes_is_not_waited_for(judge: Judge) -> None:
    found = judge(SINGLE, {"build": {"asked_for": 60.0, "help_waits": 60.0}}, {"timeouts/start": 4.0})
    assert found.code == 0, found.output
    assert "its argument parser: " in said(found)
    assert "did not answer within 4 s" in said(found)


@pytest.mark.parametrize("padding", [0, 3_000_000])
def test_where_the_parser_cannot_be_asked_the_help_can(judge: Judge, padding: int) -> None:
    build = {"broken": BROKEN, "help_padding": padding}
    found = judge(SINGLE, {"build": build}, UNKNOWN)
    assert found.code == 0, found.output
    assert said(found).startswith("environment variables were not verified beforehand; its argument parser: ended with")
    assert BROKEN in said(found)
    lacking = judge_again(found, build | {"options": []})
    assert lacking.code == 4
    assert "serve.flags.attention-backend: no --attention-backend" in lacking.problems["serve"]


def judge_again(found: Run, build: dict[str, Any]) -> Run:
    """The same case on another build."""
    folder = found.runs.parent / "again"
    python = install(folder / "engine", {"build": build})
    return run(folder, "--cases", found.runs.parent / "cases", "--engine-python", python)


def test_a_build_without_the_command_is_run_as_the_module_it_has(judge: Judge, tmp_path: Path) -> None:
    site = tmp_path / "site"
    shutil.copytree(SITE, site)
    shutil.rmtree(site / "vllm" / "entrypoints" / "cli")
    cases = edited(tmp_path / "cases", SINGLE, SMALL[SINGLE] | QUICK)
    found = run(tmp_path, "--cases", cases, "--engine-python", install(tmp_path / "engine", {}, site))
    assert found.code == 0, found.output
    assert "run as a module and not as `vllm serve`: the build has no such command" in found.output
    assert "-m vllm.entrypoints.openai.api_server --model model --host" in started(found)
    assert "flags" not in found.problems


def test_a_command_that_does_not_start_here_gives_way_to_the_module(judge: Judge) -> None:
    found = judge(SINGLE, {"build": {"help": "says PackageNotFoundError: No package metadata was found for vllm"}})
    assert found.code == 0, found.output
    assert "run as a module and not as `vllm serve`" in found.output
    assert "PackageNotFoundError: No package metadata was found for vllm" in found.output
    assert "-m vllm.entrypoints.openai.api_server --model model" in started(found)


def test_a_command_that_broke_is_not_preferred_to_a_module_that_was_slow(judge: Judge) -> None:
    build = {"help": "says PackageNotFoundError: No package metadata was found for vllm", "module_help": "waits"}
    found = judge(SINGLE, {"build": build}, {"timeouts/start": 6.0})
    assert found.code == 0, found.output
    assert "did not answer within 6 s" in found.output
    assert "-m vllm.entrypoints.openai.api_server --model model" in started(found)


def test_a_help_in_another_form_says_nothing_against_the_command(judge: Judge) -> None:
    found = judge(SINGLE, {"build": {"broken": BROKEN, "help": "other"}})
    assert found.code == 0, found.output
    assert "/vllm serve model --host" in started(found)
    flags = found.result.provenance["flags"]
    assert "options by `python -m vllm.entrypoints.openai.api_server --help=all`; its argument parser: ended" in flags


def test_a_wrapper_of_another_interpreter_is_not_passed_over(judge: Judge, tmp_path: Path) -> None:
    python = install(tmp_path / "engine", {})
    (python.parent / "vllm").write_text("#!/somewhere/else/python\nraise SystemExit('another build')\n")
    cases = edited(tmp_path / "cases", SINGLE, SMALL[SINGLE] | QUICK)
    found = run(tmp_path, "--cases", cases, "--engine-python", python)
    assert found.code == 0, found.output
    assert "from vllm.entrypoints.cli.main import main as main" in started(found)


def test_sglang_is_started_as_its_users_do(judge: Judge) -> None:
    found = judge(SGLANG, {})
    assert found.code == 0, found.output
    assert "/sglang serve --model-path model" in started(found)


def test_a_refusal_is_kept_and_the_canary_says_it(tmp_path: Path) -> None:
    cases = edited(tmp_path / "cases", SINGLE, SMALL[SINGLE] | QUICK)
    silent = {"broken": BROKEN, "help": "dies", "module_help": "dies"}
    python = install(tmp_path / "engine", {"build": silent})
    arguments: list[str | Path] = ["canary", SINGLE, "--cases", cases, "--engine-python", python]
    alone = harness(*arguments)
    assert alone.returncode == 0, alone.stdout + alone.stderr
    (line,) = [each for each in alone.stdout.splitlines() if " flags: " in each]
    assert line.startswith("ok   flags: flags and environment variables were not verified beforehand; ")
    assert BROKEN in line
    found = run(tmp_path, "--cases", cases, "--engine-python", python)
    assert found.code == 0
    assert "asking vllm for its flags" not in found.output, "kept"
    assert BROKEN in said(found)
    doctor = harness("doctor", "--engine-python", python, "--offline", "--cases", cases)
    assert "flags and environment variables were not verified beforehand" in " ".join(doctor.stdout.split())
    (kept,) = (tmp_path / "cache" / "inference-harness" / "capabilities").iterdir()
    document = json.loads(kept.read_text())
    kept.write_text(json.dumps(document | {"asked": "2026-11-01T00:00:00+00:00"}))
    later = run(tmp_path / "later", "--cases", cases, "--engine-python", python)
    assert "asking vllm for its flags" in later.output, "of a refusal nobody knows whether it still holds"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_killed_while_the_help_is_waited_for(tmp_path: Path, number: signal.Signals) -> None:
    cases = edited(tmp_path / "cases", SINGLE, SMALL[SINGLE] | {"timeouts/start": 100.0})
    python = install(tmp_path / "engine", {"build": {"help_waits": 90.0}})
    process = begin(tmp_path, "--cases", cases, "--engine-python", python)
    wait_for(lambda: recorded(tmp_path, "asking vllm for its flags"))
    wait_for(lambda: any("--help" in each for each in left_in(tmp_path)))
    found = end(process, number, tmp_path)
    if number == signal.SIGKILL:
        assert harness("reap", "--runs", tmp_path / "runs").returncode == 0
    else:
        assert found.code == 130
    wait_for(lambda: left_in(tmp_path) == [])
