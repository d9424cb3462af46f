"""The same cases inside a container, where a container engine answers."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

import docker
from harness.containers import lifecycle
from harness.images import base_images
from tests.cpu.conftest import DISAGG, SIGNALS, SINGLE, WITH_DOCKER, foreign_files, ours_in
from tests.helpers import begin, end, harness, recorded, run, wait_for


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    assert ours_in(tmp_path) == []


def process_in(container: Any, words: str) -> psutil.Process | None:
    """The process of a running container that has these words in its command line."""
    for row in container.top()["Processes"] or []:
        with suppress(psutil.NoSuchProcess):
            found = psutil.Process(int(row[1]))
            if words in " ".join(found.cmdline()):
                return found
    return None


def test_a_container_engine_that_answers_is_the_default(folder: Path, image_options: list[str]) -> None:
    process = begin(folder, SINGLE, *image_options, env=WITH_DOCKER)
    # Others before it are asked what the build knows, and see no models.
    (container,) = wait_for(lambda: [each for each in ours_in(folder) if len(each.attrs["Mounts"]) > 1], 300)
    config, host = container.attrs["Config"], container.attrs["HostConfig"]
    assert config["User"] == (f"{os.getuid()}:{os.getgid()}" if os.getuid() else "2000:2000")
    assert host["NetworkMode"] == "none"
    assert host["CapDrop"] == ["ALL"]
    assert host["CapAdd"] is None
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert not host["Privileged"]
    assert host["PidMode"] == ""
    assert host["IpcMode"] == "private"
    assert host["ReadonlyRootfs"]
    rundir = folder / "runs" / "eagle3.known_answer"
    writable = {each["Destination"] for each in container.attrs["Mounts"] if each["RW"]}
    assert writable == {str(rundir)}
    assert len(container.attrs["Mounts"]) == 3, "the run directory and two checkpoints"
    result = end(process, None, folder, timeout=300)
    assert result.code == 0, result.output
    assert "runtime docker: a container engine answers" in (rundir / "events.jsonl").read_text()


@pytest.mark.long
@pytest.mark.usefixtures("base_options")  # a container engine answers
def test_where_no_base_image_is_to_be_had_the_same_engine_runs_here(folder: Path) -> None:
    nowhere = ("--registry", "127.0.0.1:9")  # nobody listens on the port of `discard`
    result = run(folder, SINGLE, *nowhere, env=WITH_DOCKER)
    assert result.code == 0, result.output
    assert result.result.provenance["runtime"] == "local"
    assert (
        "runtime local: a container engine answers, but there is no image yet and its base image is not to be had"
        in (folder / "runs" / "eagle3.known_answer" / "events.jsonl").read_text()
    )
    asked_for = run(folder / "docker", SINGLE, "--runtime", "docker", *nowhere, env=WITH_DOCKER)
    assert asked_for.code == 4, asked_for.output
    assert "127.0.0.1:9" in asked_for.output


def test_the_canary_says_what_is_in_the_image(folder: Path, image_options: list[str]) -> None:
    process = begin(folder, DISAGG, "--runtime", "docker", *image_options, env=WITH_DOCKER)
    (written,) = wait_for(lambda: list(folder.glob("runs/*/canary.json")), 300)
    found = {each["check"]: each for each in json.loads(written.read_text())}
    assert all(each["ok"] for each in found.values()), found
    assert found["nixl UCX"]["text"] == "loads"
    assert found["user"]["text"] != "uid 0"
    end(process, signal.SIGTERM, folder)
    assert foreign_files(folder) == []


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupt_while_the_engine_is_asked_removes_its_container(
    folder: Path, image_options: list[str], number: signal.Signals
) -> None:
    env = {**WITH_DOCKER, "XDG_CACHE_HOME": str(folder / "cache")}
    process = begin(folder, DISAGG, "--runtime", "docker", *image_options, env=env)
    wait_for(lambda: recorded(folder, "asking vllm for its flags"), 300)
    assert len(ours_in(folder)) == 1
    result = end(process, number, folder)
    assert result.code == 130, result.output
    assert "prepare" in result.problems
    assert foreign_files(folder) == []


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupt_removes_the_container(folder: Path, image_options: list[str], number: signal.Signals) -> None:
    process = begin(folder, SINGLE, "--runtime", "docker", *image_options, env=WITH_DOCKER)
    wait_for(lambda: list(folder.glob("runs/*/servers.json")), 300)
    result = end(process, number, folder)
    assert result.code == 130, result.output
    assert f"interrupted by {number.name}" in "".join(result.problems.values())
    assert foreign_files(folder) == []


def test_reap_removes_the_container_of_a_killed_harness(folder: Path, image_options: list[str]) -> None:
    process = begin(folder, SINGLE, "--runtime", "docker", *image_options, env=WITH_DOCKER)
    wait_for(lambda: list(folder.glob("runs/*/servers.json")), 300)
    process.kill()
    process.communicate()
    assert len(ours_in(folder)) == 1
    done = harness("reap", "--runs", folder / "runs", env=WITH_DOCKER)
    assert done.returncode == 0, done.stderr
    assert "removed: container " in done.stdout
    assert foreign_files(folder) == []


def test_a_container_removed_behind_our_back_is_an_error(folder: Path, image_options: list[str]) -> None:
    process = begin(folder, SINGLE, "--runtime", "docker", *image_options, env=WITH_DOCKER)
    wait_for(lambda: list(folder.glob("runs/*/servers.json")), 300)
    ours_in(folder)[0].remove(force=True)
    result = end(process, None, folder)
    assert result.code == 4
    (message,) = result.errors.values()
    assert "ended while a stage ran in it" in message or "No such container" in message


def test_a_stage_killed_in_its_container_is_an_error(folder: Path, image_options: list[str]) -> None:
    process = begin(folder, SINGLE, "--runtime", "docker", *image_options, env=WITH_DOCKER)
    wait_for(lambda: list(folder.glob("runs/*/servers.json")), 300)
    (container,) = ours_in(folder)
    log = folder / "runs" / "eagle3.known_answer" / "logs" / "harness-health-wait.log"
    wait_for(log.is_file)
    wait_for(lambda: process_in(container, "stage health-wait")).kill()
    result = end(process, None, folder)
    assert result.code == 4
    assert result.errors == {"health-wait": f"health-wait ended with status 137 and said nothing; its output: {log}"}
    assert foreign_files(folder) == []


def test_a_disk_that_is_full_leaves_no_container(folder: Path, image_options: list[str]) -> None:
    process = begin(folder, SINGLE, "--runtime", "docker", *image_options, env=WITH_DOCKER)
    wait_for(lambda: list(folder.glob("runs/*/servers.json")), 300)
    psutil.Process(process.pid).rlimit(psutil.RLIMIT_FSIZE, (0, 0))  # no file of the harness outside grows any more
    result = end(process, None, folder, timeout=300)
    assert result.code == 4, result.output
    assert result.output.splitlines()[-1].endswith("junit.xml could not be written: File too large")
    assert foreign_files(folder) == []


def test_a_container_of_somebody_else_is_never_removed(image_options: list[str]) -> None:
    named = "--base-image" in image_options
    image = image_options[1] if named else base_images.base("vllm", "cpu", allow_unpinned=False).reference
    client = docker.from_env()
    try:
        other = client.containers.run(image, ["sleep", "60"], detach=True, network_mode="none")
        try:
            with pytest.raises(lifecycle.ContainerFailed, match="is not ours"):
                lifecycle.remove(str(other.id))
            assert "nothing of ours is left" in harness("reap", "--runs", "nowhere", env=WITH_DOCKER).stdout
            other.reload()
            assert other.status == "running"
        finally:
            other.remove(force=True)
    finally:
        client.close()
