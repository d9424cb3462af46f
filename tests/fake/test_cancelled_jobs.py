"""Jobs that a CI system ends, each in its own way and at several moments: nothing of ours is left, and all of others'.

What runs is the shell of the action and of the fragments in docs/ci.md, with the real ./nox; its pip installs nothing.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import jobs
from tests.clone import Clone, clone, nox_packages
from tests.fake.conftest import DISAGG, QUICK, SMALL
from tests.fake_engine.install import install
from tests.helpers import REPOSITORY, busy_ports, edited, left_in, validated, wait_for
from tests.workflows import call

PAGE = (REPOSITORY / "docs" / "ci.md").read_text()
BOTH = ("prefill", "decode")


@dataclass(frozen=True)
class Job:
    """A job that is to be ended.

    Attributes:
        clone: Of this repository, where ./nox is.
        workspace: Where the job runs: the clone's folder, or, for the action, another one.
    """

    clone: Clone
    workspace: Path

    def events(self, text: str) -> bool:
        return any(text in path.read_text() for path in self.workspace.glob("**/events.jsonl"))

    def left(self) -> list[str]:
        """What lives of it."""
        return [*left_in(self.workspace), *self.clone.processes(), *map(str, busy_ports(self.workspace))]


@dataclass(frozen=True)
class Moment:
    """When a job is ended.

    Attributes:
        engine: What the scripted engine does, so that the moment lasts.
        came: Whether the moment has come.
    """

    engine: dict[str, dict[str, Any]]
    came: Callable[[Job], object]


def roles(**script: Any) -> dict[str, dict[str, Any]]:
    return dict.fromkeys(BOTH, script)


MOMENTS = {
    "installation": Moment({}, lambda job: job.clone.installing()),
    "question": Moment({"build": {"asked_for": 60.0}}, lambda job: job.events("asking vllm for its flags")),
    "start-up": Moment(roles(start_after=15.0), lambda job: len(left_in(job.workspace)) >= 3),
    "evaluation": Moment(roles(latency=2.0), lambda job: list(job.workspace.glob("**/metrics/before-decode.prom"))),
    "stop": Moment(roles(ignore_sigterm=True), lambda job: job.events('"stage":"stop"')),
}


@pytest.fixture(scope="module")
def menu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nox_packages(tmp_path_factory.mktemp("menu"))


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is not ours, though its name could be."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)  # -m vllm serve"])
    yield process
    assert process.poll() is None
    process.kill()
    process.wait()


@pytest.fixture
def job(tmp_path: Path, menu: Path, bystander: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[Job]:
    """A job in the clone itself."""
    made = clone(tmp_path / "clone", menu)
    # Longer than GitHub waits before it kills, so that a server that is deaf to SIGTERM makes it kill.
    edited(made.folder / "baselines", DISAGG, SMALL[DISAGG] | QUICK | {"timeouts/stop": 12.0})
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    yield Job(made, made.folder)
    made.release()


def wait_until(moment: str, job: Job, running: subprocess.Popen[str]) -> None:
    wait_for(lambda: MOMENTS[moment].came(job) or running.poll() is not None, 120)
    assert running.poll() is None, f"ended before the moment: status {running.returncode}"


def shell(job: Job, *argv: str, env: dict[str, str]) -> subprocess.Popen[str]:
    """A shell of a job, the leader of a process group."""
    with (job.workspace / "output.txt").open("a") as output:
        return subprocess.Popen(
            argv,
            cwd=job.workspace,
            env={**os.environ, **env},
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )


def verdict_of(job: Job, moment: str) -> None:
    """What was finished is written: a JUnit file that says it was interrupted, once there was a run to interrupt."""
    found = list(job.workspace.glob("**/job/junit.xml")) + list(job.workspace.glob("inference-harness/*/junit.xml"))
    if moment == "installation":
        assert found == []
    else:
        said = [each.get("message") or "" for each in validated(found[0]).iter("error")]
        assert any("interrupted by SIG" in each for each in said), said


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_cancelled_job_on_github(job: Job, tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    job = Job(job.clone, workspace)
    tracking = f"github_{uuid.uuid4()}"
    monkeypatch.setenv("RUNNER_TRACKING_ID", tracking)
    install(workspace / "build", MOMENTS[moment].engine)
    if moment == "installation":
        job.clone.hold()

    def end(running: subprocess.Popen[str]) -> None:
        wait_until(moment, job, running)
        jobs.github_step(running)
        job.clone.release()

    inputs = {"suite": "disagg", "engine-python": "build/python", "runtime": "local"}
    called = call(job.clone.folder / "action.yml", workspace, inputs, end)
    assert job.left() == [], called.log
    assert jobs.carriers({"RUNNER_TRACKING_ID": tracking}) == []
    assert called.codes[-1] != 0
    verdict_of(job, moment)
    if moment != "stop":  # there Nox itself was killed
        assert (called.outputs["verdict"], called.codes[0]) == ("interrupted", 130), called.log
    jobs.github_job(tracking)


def test_githubs_search_finds_servers_whose_harness_was_killed(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody comes to clean up: the machinery of the runner alone."""
    tracking = f"github_{uuid.uuid4()}"
    engine = install(tmp_path / "engine", roles(latency=2.0))
    script = f'exec ./nox -s disagg_cpu -- --runtime local --engine-python "{engine}" --runs runs/job'
    running = shell(job, "bash", "-e", "-c", script, env={"RUNNER_TRACKING_ID": tracking})
    wait_until("evaluation", job, running)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert left_in(job.workspace)
    jobs.github_job(tracking)
    wait_for(lambda: not left_in(job.workspace))


def fragment(pattern: str) -> list[str]:
    """Shell lines of a fragment on the page, for a machine without a container engine."""
    lines = re.findall(pattern, PAGE, re.MULTILINE | re.DOTALL)
    assert lines, pattern
    return [line.replace("--runtime docker", '--runtime local --engine-python "$ENGINE_PYTHON"') for line in lines]


def prepared(job: Job, tmp_path: Path, moment: str) -> dict[str, str]:
    """Its engine, and the variables of the fragments."""
    if moment == "installation":
        job.clone.hold()
    engine = install(tmp_path / "engine", MOMENTS[moment].engine)
    return {"SESSION": "disagg_cpu", "ENGINE_PYTHON": str(engine), "ENGINE_IMAGE": "", "BUILDKITE_LABEL": "disagg_cpu"}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_cancelled_job_on_gitlab(job: Job, tmp_path: Path, moment: str) -> None:
    run, clean_up = fragment(r"^ +- (exec \./nox .*?)$")
    env = prepared(job, tmp_path, moment)
    # A generated script hands the job's lines to eval, behind a pipe.
    running = shell(job, "bash", "-c", 'set -eo pipefail; : | eval "$1"; exit 0', "bash", run, env=env)
    wait_until(moment, job, running)
    jobs.gitlab(running)
    job.clone.release()
    after = shell(job, "bash", "-c", clean_up, env=env)
    assert after.wait(180) == 0
    assert job.left() == [], (job.workspace / "output.txt").read_text()
    verdict_of(job, moment)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_cancelled_job_on_buildkite(job: Job, tmp_path: Path, moment: str) -> None:
    (run,) = fragment(r"^ +command: (.*?)$")
    (hook,) = fragment(r"^```sh\n(\./nox .*?)^```")
    env = prepared(job, tmp_path, moment)
    agent = tmp_path / "bin" / "buildkite-agent"
    agent.parent.mkdir()
    agent.write_text("#!/bin/sh\ncat >/dev/null\n")
    agent.chmod(0o755)
    env["PATH"] = f"{agent.parent}:{os.environ['PATH']}"
    running = shell(job, "bash", "-e", "-c", run.replace("{{matrix}}", env["SESSION"]), env=env)
    wait_until(moment, job, running)
    jobs.buildkite(running)
    job.clone.release()
    assert shell(job, "bash", "-e", "-c", hook, env=env).wait(180) == 0
    assert job.left() == [], (job.workspace / "output.txt").read_text()
    if moment != "stop":  # there the harness itself was killed
        verdict_of(job, moment)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_cancelled_job_on_jenkins(job: Job, tmp_path: Path, moment: str) -> None:
    (run,) = fragment(r"sh '''\n(.*?)'''")
    (clean_up,) = fragment(r"sh '(exec \./nox [^\n]*?)'$")
    env = prepared(job, tmp_path, moment)
    cookies = {"JENKINS_SERVER_COOKIE": f"durable-{uuid.uuid4().hex}", "JENKINS_NODE_COOKIE": str(uuid.uuid4())}
    running = shell(job, "sh", "-xe", "-c", run, env=env | cookies)
    wait_until(moment, job, running)
    jobs.jenkins({"JENKINS_SERVER_COOKIE": cookies["JENKINS_SERVER_COOKIE"]})
    job.clone.release()
    assert shell(job, "sh", "-xe", "-c", clean_up, env=env | cookies).wait(180) == 0
    running.wait(60)
    assert job.left() == [], (job.workspace / "output.txt").read_text()
    jobs.jenkins({"JENKINS_NODE_COOKIE": cookies["JENKINS_NODE_COOKIE"]})
    if moment in ("installation", "question"):  # later its servers are ended first, and that is what it says
        verdict_of(job, moment)


def test_jenkins_finds_servers_of_a_freestyle_build_whose_harness_was_killed(job: Job, tmp_path: Path) -> None:
    env = prepared(job, tmp_path, "evaluation")
    build = {
        "JENKINS_SERVER_COOKIE": "c0ffee", "HUDSON_SERVER_COOKIE": "c0ffee", "JOB_NAME": "accept",
        "JOB_BASE_NAME": "accept", "BUILD_NUMBER": "7", "BUILD_ID": "7", "BUILD_TAG": "jenkins-accept-7",
    }  # fmt: skip
    (run,) = fragment(r"sh '''\n(.*?)'''")
    running = shell(job, "sh", "-xe", "-c", run, env=env | build)
    wait_until("evaluation", job, running)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert left_in(job.workspace)
    jobs.jenkins(build | {"BUILD_ID": "8"})
    assert left_in(job.workspace), "another build's"
    jobs.jenkins(build)
    wait_for(lambda: not left_in(job.workspace))
