"""The shell in workflows and in the composite action: linted, and what needs no runner run by hand."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.fake_engine.install import install
from tests.helpers import NO_ENGINE, REPOSITORY, begin, end, left_in, wait_for
from tests.workflows import ACTION, WORKFLOWS, parsed, steps

SCRIPTS = [
    pytest.param(step, id=f"{path.name}-{number}")
    for path in (*WORKFLOWS, ACTION)
    for number, step in enumerate(steps(parsed(path)))
    if "run" in step
]
SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize("each", SCRIPTS)
def test_shellcheck_has_nothing_to_say(each: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "step.sh"
    given = "".join(f"export {name}=$1\n" for name in each.get("env", {}))
    path.write_text(f"#!/bin/bash\nset -eo pipefail\n{given}{each['run']}")
    done = subprocess.run(["shellcheck", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_shell_of_the_pages_other_systems_is_clean(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "ci.md").read_text()
    lines = re.findall(r"^ +- (exec \./nox .*)$", page, re.MULTILINE)
    lines += re.findall(r"sh '(exec \./nox [^\n]*)'$", page, re.MULTILINE)
    lines += re.findall(r"sh '''\n(.*?)'''", page, re.DOTALL)
    lines += re.findall(r"^ +command: (.*)$", page, re.MULTILINE)
    lines += re.findall(r"^```sh\n(\./nox .*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(lines) == 6
    path = tmp_path / "page.sh"
    given = 'export SESSION="$1" ENGINE_PYTHON="$2" ENGINE_IMAGE="$3" BUILDKITE_LABEL="$4"'
    path.write_text("\n".join(["#!/bin/sh", given, *(f"({each}\n)" for each in lines)]))
    done = subprocess.run(["shellcheck", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def step(workflow: str, job: str, containing: str) -> dict[str, Any]:
    """The one step of a job whose shell contains a text."""
    document = parsed(REPOSITORY / ".github" / "workflows" / workflow)
    (found,) = [each for each in document["jobs"][job]["steps"] if containing in each.get("run", "")]
    return dict(found)


def by_hand(script: str, folder: Path, **env: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run a step as a runner does and return what it put into GITHUB_OUTPUT, too."""
    output, summary = folder / "output.txt", folder / "summary.md"
    output.write_text("")
    given = {**os.environ, "GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary), **env}
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=folder, env=given, capture_output=True, text=True, check=False
    )
    return done, output.read_text()


def test_a_commit_is_all_its_digits_or_nothing_runs(tmp_path: Path) -> None:
    script = step("gpu.yml", "commit", "COMMIT")["run"]
    done, output = by_hand(script, tmp_path, COMMIT=SHA)
    assert (done.returncode, output) == (0, f"sha={SHA}\n")
    for wrong in ("", "main", SHA[:12], SHA.upper(), f"{SHA}0", f"{SHA}\nsha={SHA}", "refs/pull/1/head", "$(id)"):
        done, output = by_hand(script, tmp_path, COMMIT=wrong)
        assert (done.returncode, output) == (2, ""), wrong


def test_another_commit_than_the_approved_one_is_not_run(tmp_path: Path) -> None:
    script = step("gpu.yml", "accept", "APPROVED")["run"]
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "init", "--quiet", "."], cwd=tmp_path, check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "one"], cwd=tmp_path, check=True)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout.strip()
    assert by_hand(script, tmp_path, APPROVED=head)[0].returncode == 0
    assert by_hand(script, tmp_path, APPROVED=SHA)[0].returncode == 1
    assert by_hand(script, tmp_path, APPROVED="")[0].returncode == 1


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A folder whose ./nox runs the harness with this Python, and writes down how a session was called."""
    nox = tmp_path / "nox"
    nox.write_text(
        "#!/bin/sh\nshift; session=$1; shift 2\n"
        f'if [ "$1" = plan ]; then cd {REPOSITORY}; fi\n'
        f'if [ "$session" = harness ]; then PYTHONPATH={REPOSITORY} exec python -m harness "$@"; fi\n'
        'printf "%s\\n" "$session" "$@" > called.txt\n'
    )
    nox.chmod(0o755)
    return tmp_path


def planned(folder: Path, workflow: str, **env: str) -> tuple[int, str]:
    """Run the steps of a workflow's job `plan` after the checkout, as far as they go; the last code and its output."""
    temporary = folder / "temporary"
    temporary.mkdir()
    done, output = None, ""
    for each in parsed(REPOSITORY / ".github" / "workflows" / workflow)["jobs"]["plan"]["steps"]:
        if "run" in each and "APPROVED" not in each.get("env", {}):
            done, output = by_hand(each["run"], folder, RUNNER_TEMP=str(temporary), **env)
            if done.returncode:
                break
    assert done is not None
    return done.returncode, output


@pytest.mark.parametrize("platforms", ["cuda", "rocm", "cuda rocm"])
def test_the_plan_of_the_gpu_workflow_is_the_matrix_of_its_platforms(stand_in: Path, platforms: str) -> None:
    code, output = planned(stand_in, "gpu.yml", PLATFORMS=platforms, SUITE="eagle3", CHECKPOINTS="")
    assert code == 0
    jobs = json.loads(output.removeprefix("matrix="))["include"]
    assert {job["platform"] for job in jobs} == set(platforms.split())
    assert {job["session"] for job in jobs} == {f"eagle3_{platform}" for platform in platforms.split()}
    assert "eagle3/known_answer" in (stand_in / "summary.md").read_text()


def test_no_file_of_the_checkout_adds_a_job(stand_in: Path) -> None:
    smuggled = json.dumps({"include": [{"session": "smuggled", "platform": "cuda"}]})
    for name in ("plans.json", "plan.json", "plan-cuda.json", "plan-rocm.json", "plan-z.json"):
        (stand_in / name).write_text(smuggled)
    code, output = planned(stand_in, "gpu.yml", PLATFORMS="cuda", SUITE="eagle3", CHECKPOINTS="")
    assert code == 0
    assert "smuggled" not in output


def test_a_plan_with_nothing_in_it_is_no_matrix(stand_in: Path) -> None:
    assert planned(stand_in, "gpu.yml", PLATFORMS="cuda", SUITE="nothing", CHECKPOINTS="") == (3, "")


def test_the_plan_of_ci_is_every_session_for_the_cpu(stand_in: Path) -> None:
    code, output = planned(stand_in, "ci.yml")
    assert code == 0
    jobs = json.loads(output.removeprefix("matrix="))["include"]
    assert {job["platform"] for job in jobs} == {"cpu"}
    assert len(jobs) > 4


GIVEN = {
    "WAIT": "1800",
    "SESSION": "eagle3_cuda",
    "CASES": "eagle3/a[tp=2]\neagle3/b",
    "CHECKPOINTS": "",
    "ENGINE": "vllm",
}
NONE = dict.fromkeys(("VLLM_IMAGE", "VLLM_PYTHON", "SGLANG_IMAGE", "SGLANG_PYTHON"), "")


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        ({}, ["--runtime", "docker"]),
        ({"VLLM_IMAGE": "my/vllm:1"}, ["--runtime", "docker", "--base-image", "my/vllm:1"]),
        ({"VLLM_PYTHON": "/v/bin/python"}, ["--runtime", "local", "--engine-python", "/v/bin/python"]),
        ({"SGLANG_IMAGE": "my/sglang:1"}, ["--runtime", "docker"]),
        ({"SGLANG_PYTHON": "/s/python", "ENGINE": "sglang"}, ["--runtime", "local", "--engine-python", "/s/python"]),
        ({"CHECKPOINTS": "tiny"}, ["--runtime", "docker", "--checkpoints", "tiny"]),
        ({"WAIT": "60"}, ["--runtime", "docker", "--wait-for-devices", "60"]),
        ({"VLLM_IMAGE": "$(touch x) `touch x`"}, ["--runtime", "docker", "--base-image", "$(touch x) `touch x`"]),
    ],
)
def test_a_job_runs_its_points_with_the_engine_that_was_named(
    stand_in: Path, given: dict[str, str], arguments: list[str]
) -> None:
    script = step("gpu.yml", "accept", "CASES")["run"]
    done, _ = by_hand(script, stand_in, **GIVEN | NONE | given)
    assert done.returncode == 0, done.stderr
    called = (stand_in / "called.txt").read_text().splitlines()
    if "WAIT" not in given:
        at = called.index("--wait-for-devices")
        assert called[at : at + 2] == ["--wait-for-devices", "1800"]
        del called[at : at + 2]
    assert called == ["eagle3_cuda", *arguments, "eagle3/a[tp=2]", "eagle3/b"]
    assert not (stand_in / "x").exists()


def test_the_last_step_ends_what_a_killed_harness_left_and_gives_files_back(stand_in: Path) -> None:
    python = install(stand_in / "engine", {"server": {"latency": 2.0}})
    running = begin(stand_in, "--case", "eagle3/known_answer", "--platform", "cpu", "--engine-python", python)
    wait_for(lambda: list(stand_in.glob("runs/*/ready.json")))
    assert left_in(stand_in)
    end(running, signal.SIGKILL, stand_in)
    foreign = next(stand_in.glob("runs/*/ready.json")).with_name("left")
    foreign.write_text("")
    root = os.getuid() == 0
    if root:
        os.chown(foreign, 4711, 4711)
        # As root nobody needs sudo, and few machines where root works have it.
        sudo = stand_in / "bin" / "sudo"
        sudo.parent.mkdir()
        sudo.write_text('#!/bin/sh\nshift; exec "$@"\n')
        sudo.chmod(0o755)
    path = f"{stand_in / 'bin'}:{os.environ['PATH']}"
    done, _ = by_hand(step("gpu.yml", "accept", "reap")["run"], stand_in, **NO_ENGINE)
    assert done.returncode == 0, done.stderr
    assert "removed: " in done.stdout
    assert left_in(stand_in) == []
    done, _ = by_hand(step("gpu.yml", "accept", "chown")["run"], stand_in, PATH=path)
    assert done.returncode == 0, done.stderr
    assert foreign.stat().st_uid == os.getuid()
    assert f"not of the runner: ./{foreign.relative_to(stand_in)}" in (stand_in / "summary.md").read_text() or not root
    shown, _ = by_hand(step("gpu.yml", "accept", "summary")["run"], stand_in)
    assert shown.returncode == 0, shown.stderr
    assert "No verdict" in (stand_in / "summary.md").read_text()


def test_the_gate_is_green_only_if_everything_is(tmp_path: Path) -> None:
    gate = step("ci.yml", "all-green", "RESULTS")
    needed = len(parsed(REPOSITORY / ".github" / "workflows" / "ci.yml")["jobs"]["all-green"]["needs"])
    assert by_hand(gate["run"], tmp_path, RESULTS=" ".join(["success"] * needed))[0].returncode == 0
    for other in ("failure", "cancelled", "skipped"):
        assert by_hand(gate["run"], tmp_path, RESULTS=" ".join(["success"] * (needed - 1) + [other]))[0].returncode == 1
    assert by_hand(gate["run"], tmp_path, RESULTS="success")[0].returncode == 1
