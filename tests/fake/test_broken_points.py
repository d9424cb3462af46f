"""A point that breaks before or after its stages is an error of that point: the others run, and all are reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fake.conftest import ONE_POINT, QUICK, SINGLE, SMALL
from tests.fake_engine.install import install
from tests.helpers import edited, left_in, patched, validated

BREAK = """
import sys
from harness.run import prepare, supervise
from harness.__main__ import main

where = sys.argv.pop(1)

def create(planned, path, *more, real=prepare.create):
    if planned.suite == "eagle3" and where == "create":
        raise {error}
    return real(planned, path, *more)

def judge(rundir, real=supervise.judge, **more):
    if "eagle3" in rundir.path.name and where == "judge":
        raise {error}
    return real(rundir, **more)

prepare.create, supervise.judge = create, judge
main()
"""


@pytest.mark.parametrize(
    ("where", "error", "code", "words"),
    [
        ("create", "RecursionError('too deep')", 4, "internal error: RecursionError: too deep"),
        (
            "create",
            "OSError(28, 'No space left on device')",
            4,
            "the operating system refused: [Errno 28] No space left",
        ),
        ("create", "__import__('harness').base.errors.UsageError('x.toml: y: wrong')", 2, "x.toml: y: wrong"),
        ("judge", "ValueError('nan')", 4, "could not be judged: internal error: ValueError: nan"),
    ],
)
def test_a_broken_point_does_not_take_the_others_along(
    tmp_path: Path, where: str, error: str, code: int, words: str
) -> None:
    cases = edited(tmp_path / "cases", SINGLE, SMALL[SINGLE] | QUICK)
    edited(tmp_path / "cases", ONE_POINT, SMALL[ONE_POINT] | QUICK)
    python, runs = install(tmp_path / "engine", {}), tmp_path / "runs"
    arguments: list[str | Path] = ["run", "--cases", cases, "--engine-python", python, "--runs", runs]
    done = patched(BREAK.format(error=error), where, *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr == ""
    assert words in done.stdout
    suites = {each.get("name"): each for each in validated(runs / "junit.xml").iter("testsuite")}
    assert set(suites) == {"eagle3.cpu.known_answer", "mtp.cpu.known_answer_k1"}
    (broken,) = suites["eagle3.cpu.known_answer"].iter("error")
    assert broken.get("message").startswith(words)
    assert suites["mtp.cpu.known_answer_k1"].get("errors") == suites["mtp.cpu.known_answer_k1"].get("failures") == "0"
    assert left_in(tmp_path) == []
