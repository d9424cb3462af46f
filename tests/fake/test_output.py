"""Where output goes that nobody can take: no traceback, the right code, and the verdict in the files."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from tests.fake.conftest import ONE_POINT, QUICK, SMALL
from tests.fake_engine.install import install
from tests.helpers import REPOSITORY, command, edited, environment, left_in, validated

ASCII = {"PYTHONIOENCODING": "ascii"}
POSIX = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "POSIX"}


def shell(
    arguments: list[str | Path], redirected: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A command of the harness in a shell, with what comes after it; the code is the harness's."""
    line = f"set -o pipefail; {shlex.join(command(*arguments))} {redirected}"
    return subprocess.run(
        ["bash", "-c", line], env=environment(env), capture_output=True, text=True, check=False, cwd=REPOSITORY
    )


@pytest.mark.parametrize(
    ("arguments", "redirected", "code", "words"),
    [
        (["plan"], ">&-", 0, ""),
        (["plan"], ">&- 2>&-", 0, ""),
        (["plan", "nothing"], "2>&-", 3, ""),
        (["plan", "nothing"], ">&- 2>&- <&-", 3, ""),
        (["plan", "nothing"], "2>/dev/full", 3, ""),
        (["--help"], ">&-", 0, ""),
        (["plan"], "| head -c 1 >/dev/null", 0, ""),
        (["show", "eagle3/*"], "| true", 0, ""),
        (["--help"], "| true", 0, ""),
        (["plan"], ">/dev/full", 4, "harness: the operating system refused: [Errno 28] No space left on device\n"),
    ],
)
def test_output_that_nobody_takes(arguments: list[str | Path], redirected: str, code: int, words: str) -> None:
    done = shell(arguments, redirected)
    assert done.returncode == code
    assert done.stderr == words


@pytest.mark.parametrize(
    ("redirected", "env"),
    [(">&- 2>&- <&-", {}), (">/dev/full", {}), ("| true", {}), ("", ASCII), ("", POSIX), ("", ASCII | POSIX)],
    ids=["closed", "full", "gone", "ascii", "POSIX", "both"],
)
def test_a_run_whose_output_nobody_takes(tmp_path: Path, redirected: str, env: dict[str, str]) -> None:
    folder = tmp_path / "Läufe 試験"
    cases = edited(folder / "cases", ONE_POINT, SMALL[ONE_POINT] | QUICK)
    python, runs = install(folder / "engine", {}), folder / "runs"
    arguments: list[str | Path] = ["run", "--cases", cases, "--engine-python", python, "--runs", runs]
    done = shell(arguments, redirected, env)
    assert (done.returncode, done.stderr) == (0, "")
    (suite,) = validated(runs / "junit.xml").iter("testsuite")
    assert suite.get("errors") == suite.get("failures") == "0"
    assert "Traceback" not in done.stdout
    if not redirected:
        assert "pass mtp/known_answer_k1" in done.stdout
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("env", [ASCII, POSIX, {}], ids=["ascii", "POSIX", "UTF-8"])
def test_a_name_that_cannot_be_shown_is_spelt(tmp_path: Path, env: dict[str, str]) -> None:
    done = shell(["plan", "--cases", tmp_path / "é"], "", env)
    assert done.returncode == 2
    assert f"{tmp_path}/" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    done = shell(["plan", "--cases"], "$'\\xff'", env)
    assert (done.returncode, done.stderr) == (
        2,
        "harness: argument 3: '\\udcff': not UTF-8 text; give it another name\n",
    )
