"""The census of warnings: what is new in a green run is said beside its verdict, and never changes it."""

from __future__ import annotations

import json
import shutil
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.domain import Outcome
from harness.explanation.warning_census import census
from harness.logs.log_warnings import LONGEST, benign, new, warnings, without_what_varies
from harness.reports import markdown
from harness.reports.result import NEW_WARNINGS
from harness.run.judge import judge
from harness.run.rundir import RunDir
from tests.finished import SINGLE, finished
from tests.fuzz.program import harness

LOG = """\
(EngineCore pid=7) INFO 11-20 10:00:00 [x.py:1] no WARNING, and no ERROR
(EngineCore pid=7) WARNING 11-20 10:00:00 [x.py:1] falling back to backend 3 at 0x7f00aa11 of /opt/engine/a/b.so
(EngineCore pid=8) WARNING 11-20 10:00:09 [x.py:1] falling back to backend 4 at 0x7f00bb22 of /srv/engine/a/c.so
/opt/engine/a.py:24: UserWarning: x86 builds are slow, see https://example.org/x?y=1
  warnings.warn("x86 builds are slow")
(APIServer pid=7) INFO:     127.0.0.1:1 - "POST /ERROR HTTP/1.1" 500 Internal Server Error
[rank0]:[W1120 10:00:00.123 ProcessGroupNCCL.cpp:1479] Warning: not destroyed (function ~x)
"""
FALLING = "falling back to backend # at # of #"


@pytest.fixture(scope="module")
def green(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(tmp_path_factory.mktemp("green"), SINGLE).path


@pytest.fixture
def run(green: Path, tmp_path: Path) -> RunDir:
    shutil.copytree(green, tmp_path / "runs" / "one")
    rundir = RunDir(tmp_path / "runs" / "one")
    rundir.logs.mkdir(exist_ok=True)
    return rundir


def test_the_same_warning_is_counted_as_one() -> None:
    assert warnings(LOG) == {
        FALLING: 2,
        "#:# UserWarning: x86 builds are slow, see #": 1,
        "Warning: not destroyed (function ~x)": 1,
    }


def test_of_an_engine_whose_warnings_nobody_looked_at_none_is_new() -> None:
    assert benign("nobody") is None
    assert new(LOG, "nobody") == {}
    assert FALLING in new(LOG, "vllm")


@given(st.text(max_size=300))
def test_without_what_varies_nothing_varies(text: str) -> None:
    once = without_what_varies(text)
    assert len(once) <= LONGEST
    warnings(text)


@pytest.mark.parametrize("path", list(resources.files("harness.logs").joinpath("benign").iterdir()))
def test_a_list_of_benign_warnings_is_as_the_command_writes_it(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines == sorted(set(lines))
    assert [line for line in lines if without_what_varies(line) != line] == []


@pytest.mark.parametrize(("log", "said"), [(LOG, True), ("(X pid=1) INFO 11-20 10:00:00 [x:1] fine\n", False)])
def test_a_green_verdict_names_new_warnings_and_stays_green(run: RunDir, log: str, said: bool) -> None:
    before = json.loads((run.path / "result.json").read_text())
    run.log("server").write_text(log)
    result = judge(run)
    assert result.outcome is Outcome.PASS
    assert [each.name for each in result.checks] == [each["name"] for each in before["checks"]]
    assert (FALLING in result.provenance.get(NEW_WARNINGS, "")) is said
    assert (NEW_WARNINGS in (run.path / "junit.xml").read_text()) is said
    assert ("New warnings in" in markdown.render([result])) is said


def test_a_red_verdict_is_about_something_else(run: RunDir) -> None:
    run.log("server").write_text(LOG)
    (run.path / "ready.json").unlink()
    result = judge(run)
    assert result.outcome is Outcome.ERROR
    assert NEW_WARNINGS not in result.provenance


def test_what_is_accepted_is_new_no_more(run: RunDir, tmp_path: Path) -> None:
    run.log("server").write_text(LOG)
    shutil.copytree(run.path, run.path.with_name("two"))
    text = census(run.path.parent, kept=tmp_path)
    assert text.startswith("vllm: 3 new of 3 warnings in 2 runs that passed\n")
    assert f"  2 of 2: {FALLING}\n" in text
    assert not (tmp_path / "vllm.txt").exists()
    assert "called benign" in census(run.path.parent, accept=True, kept=tmp_path)
    assert census(run.path.parent, kept=tmp_path) == "vllm: 0 new of 3 warnings in 2 runs that passed\n"
    lines = (tmp_path / "vllm.txt").read_text().splitlines()
    assert lines == sorted(lines)
    assert len(lines) == 3


def test_a_damaged_run_hides_no_other(run: RunDir) -> None:
    shutil.copytree(run.path, run.path.with_name("damaged"))
    (run.path.with_name("damaged") / "case.json").write_text("{")
    answer = harness(["warnings", str(run.path.parent)])
    assert answer.code == 0
    assert "not read: " in answer.stdout
    assert "in 1 runs that passed" in answer.stdout


def test_a_folder_without_a_green_run_is_refused_in_a_line(tmp_path: Path) -> None:
    answer = harness(["warnings", str(tmp_path)])
    assert answer.is_a_refusal()
    assert answer.code == 3
