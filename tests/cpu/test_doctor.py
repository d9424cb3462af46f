"""`harness doctor` with a real container engine, where one answers."""

from __future__ import annotations

import io
import json
import os
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import docker
from harness.containers import lifecycle
from harness.host.ownership import CONTAINER
from tests.helpers import harness

WITH_DOCKER = {"DOCKER_HOST": os.environ.get("DOCKER_HOST", "")}
IN_DOCKER = ("--platform", "cpu", "--suite", "eagle3", "--runtime", "docker")


@pytest.fixture
def client() -> Iterator[docker.DockerClient]:
    if reason := lifecycle.unavailable():
        pytest.skip(f"no container engine answers: {reason}")
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture
def base(client: docker.DockerClient) -> Iterator[str]:
    """An image of our own with nothing in it."""
    name = f"harness-test-{uuid.uuid4().hex[:12]}:empty"
    content = io.BytesIO()
    tarfile.open(fileobj=content, mode="w").close()
    repository, _, tag = name.partition(":")
    client.api.import_image_from_data(content.getvalue(), repository=repository, tag=tag)
    yield name
    client.images.remove(name)


def doctor(*arguments: str) -> tuple[dict[str, Any], dict[str, Any]]:
    done = harness("doctor", "--offline", "--format", "json", *arguments, env=WITH_DOCKER)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    return found["machine"], {each["session"]: each for each in found["sessions"]}


def test_the_engine_says_what_it_is_and_is_left_alone(client: docker.DockerClient) -> None:
    def everything() -> tuple[list[str], list[str]]:
        ours = client.containers.list(all=True, filters={"label": CONTAINER.run_id})
        return sorted(str(each.id) for each in ours), sorted(volume.name for volume in client.volumes.list())

    before = everything()
    machine, sessions = doctor()
    said, info = machine["container"], client.info()
    assert said["version"].endswith(client.version()["Version"])
    assert said["cgroup"] == info["CgroupVersion"]
    assert set(said["runtimes"]) == set(info["Runtimes"])
    assert said["root"] == info["DockerRootDir"]
    assert said["builder"] or said["builder_problem"]
    assert machine["folders"]["images"]["path"] == info["DockerRootDir"]
    assert len(sessions) >= 28
    assert everything() == before


def test_a_base_image_is_here_or_it_is_not(base: str, tmp_path: Path) -> None:
    machine, sessions = doctor(*IN_DOCKER, "--base-image", base)
    assert machine["engines"]["vllm-cpu"]["base_here"]
    assert [each["kind"] for each in sessions["eagle3_cpu"]["obstacles"]] in (["packages"], ["builder"])
    machine, sessions = doctor(*IN_DOCKER, "--base-image", "harness-test-absent:none")
    assert not machine["engines"]["vllm-cpu"]["base_here"]
    assert "harness-test-absent:none is not here" in sessions["eagle3_cpu"]["obstacles"][0]["reason"]


def test_an_image_that_is_there_needs_no_network(client: docker.DockerClient, base: str, tmp_path: Path) -> None:
    """The name alone says that it is current: an empty image under it will do to be found."""
    from harness.images import engine_image

    base_id = str(client.images.get(base).id)
    name = engine_image.name("vllm", "cpu", engine_image.Build(base_image=base), base_id)
    repository, _, tag = name.partition(":")
    client.images.get(base).tag(repository, tag)
    try:
        machine, sessions = doctor(
            "--platform", "cpu", "--suite", "eagle3", "--runtime", "docker", "--base-image", base
        )
    finally:
        client.images.remove(name)
    assert machine["engines"]["vllm-cpu"]["image"] == name
    assert sessions["eagle3_cpu"]["answer"] == "yes"
    assert sessions["eagle3_cpu"]["command"] == f"nox -s eagle3_cpu -- --runtime docker --base-image {base}"
