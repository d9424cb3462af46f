"""The composite action, as another repository calls it: its own environments from the index, a workspace elsewhere."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.fake_engine.install import install
from tests.helpers import REPOSITORY, busy_ports, left_in, validated, wait_for
from tests.workflows import ACTION, call

CASE = "eagle3/known_answer"
NOT_CARRIED = shutil.ignore_patterns(".git", ".nox", ".*_cache", ".cache", ".hypothesis", "__pycache__", "runs")


@pytest.fixture(scope="module")
def action(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The action where a runner puts it: a checkout of this repository outside the caller's workspace."""
    folder = tmp_path_factory.mktemp("_actions") / "inference-harness"
    shutil.copytree(REPOSITORY, folder, ignore=NOT_CARRIED)
    return folder / ACTION.name


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "a workspace"
    folder.mkdir()
    return folder


def test_it_says_pass_and_everything_lands_in_the_callers_workspace(action: Path, workspace: Path) -> None:
    install(workspace / "build", {})
    before = sorted(path.name for path in action.parent.iterdir())
    called = call(action, workspace, {"case": CASE, "engine-python": "build/python", "runtime": "local"})
    assert called.codes == [0, 0, 0, 0], called.log
    assert (called.outputs["verdict"], called.outputs["exit-code"]) == ("pass", "0")
    runs = Path(called.outputs["runs"])
    assert runs.parent == workspace / "inference-harness"
    assert Path(called.outputs["junit"]) == runs / "junit.xml"
    validated(runs / "junit.xml")
    assert "### 1 pass" in called.summary
    assert "nothing of ours is left" in called.log
    # Both are made by Nox, and no commit takes them.
    assert {path.name for path in action.parent.iterdir()} - set(before) <= {".nox", "__pycache__"}
    assert left_in(workspace) == []
    assert busy_ports(workspace) == []


@pytest.mark.parametrize(
    ("faults", "verdict", "code"),
    [({"no_drafts": True}, "fail", 1), ({"fail_at_start": "out of memory"}, "error", 4)],
    ids=["fail", "error"],
)
def test_a_verdict_that_is_not_green_is_the_exit_code_of_the_last_step(
    action: Path, workspace: Path, faults: dict[str, Any], verdict: str, code: int
) -> None:
    install(workspace / "build", {"server": faults})
    called = call(action, workspace, {"suite": "eagle3", "engine-python": "build/python", "runtime": "local"})
    assert called.codes == [code, 0, 0, code], called.log
    assert (called.outputs["verdict"], called.outputs["exit-code"]) == (verdict, str(code))
    assert f"### 2 {verdict}" in called.summary


@pytest.mark.parametrize(
    ("number", "verdict", "code", "errors"),
    # Asked to end, a run says which point it was at; killed, none of its points has a verdict.
    [(signal.SIGINT, "interrupted", 130, 1), (signal.SIGKILL, "error", 4, 2)],
)
def test_a_step_that_is_ended_leaves_nothing(
    action: Path, workspace: Path, number: signal.Signals, verdict: str, code: int, errors: int
) -> None:
    install(workspace / "build", {"server": {"latency": 2.0}})

    def end(running: subprocess.Popen[str]) -> None:
        wait_for(lambda: list(workspace.glob("inference-harness/*/*/ready.json")), 90)
        assert left_in(workspace)
        os.killpg(running.pid, number)

    called = call(action, workspace, {"suite": "eagle3", "engine-python": "build/python", "runtime": "local"}, end)
    assert called.outputs["verdict"] == verdict, called.log
    assert called.codes[-1] == code
    assert f"### {errors} error" in called.summary
    assert left_in(workspace) == []
    assert busy_ports(workspace) == []


INJECTED = "$(touch pwned); touch pwned; `touch pwned` ${{ github.token }}"
REFUSED: list[tuple[dict[str, str], str]] = [
    ({}, "2"),
    ({"suite": INJECTED}, "2"),
    ({"suite": "eagle3", "platform": INJECTED}, "2"),
    ({"case": f"{CASE}{INJECTED}"}, "3"),
    ({"suite": "eagle3", "runtime": INJECTED, "devices": INJECTED, "engine-image": INJECTED}, "2"),
]


@pytest.mark.parametrize(("inputs", "code"), REFUSED)
def test_no_input_is_shell_and_a_wrong_one_is_an_error(
    action: Path, workspace: Path, inputs: dict[str, str], code: str
) -> None:
    called = call(action, workspace, inputs)
    assert (called.outputs["verdict"], called.outputs["exit-code"]) == ("error", code), called.log
    assert called.codes[-1] == int(code)
    assert list(workspace.rglob("pwned")) == []


def test_a_set_up_that_breaks_is_no_failed_check(action: Path, workspace: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(action.parent, tmp_path / "broken", symlinks=True, ignore=NOT_CARRIED)
    (broken / "requirements" / "nox.txt").write_text("no-such-package==1 --hash=sha256:0000\n")
    called = call(broken / ACTION.name, workspace, {"suite": "eagle3"})
    assert (called.outputs["verdict"], called.outputs["exit-code"]) == ("error", "4"), called.log
    assert called.codes[-1] == 4
