"""Images as they are built: from a stand-in of an official image that holds an engine, and the one of vLLM on CPU."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import docker
from harness.base.errors import CannotJudge
from harness.containers import image_store
from harness.datasets.pinned_files import DATASETS
from harness.host.data_files import missing
from harness.images import docker_build, engine_image, source_tree
from harness.upkeep import engine_sources
from tests.cpu.conftest import WITH_DOCKER
from tests.helpers import command, environment, harness, wait_for

STAND_IN = "inference-harness-tests/rocm:stand-in"

# Where vLLM's images for ROCm keep it: packages beside the system's Python, libraries named by the environment.
DOCKERFILE = r"""
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
RUN site=$(python3 -c 'import site; print(site.getsitepackages()[0])') && mkdir -p "$site/vllm" \
 && echo '__version__ = "0.99"' > "$site/vllm/__init__.py" \
 && for each in vllm orjson; do mkdir -p "$site/$each-0.99.dist-info" \
 && printf 'Metadata-Version: 2.1\nName: %s\nVersion: 0.99\n' $each > "$site/$each-0.99.dist-info/METADATA"; done
ENV LD_LIBRARY_PATH=/opt/rocm/lib HSA_NO_SCRATCH_RECLAIM=1 PYTHONPATH=/opt/elsewhere
WORKDIR /app
ENTRYPOINT ["vllm", "serve"]
USER 1000
"""

ASK = """
import importlib.metadata as metadata, importlib.util, json, os, sys
print(json.dumps({
    "prefix": sys.prefix,
    "user": [os.getuid(), os.getgid()],
    "vllm": importlib.util.find_spec("vllm").origin,
    "router": importlib.util.find_spec("vllm_router").origin,
    "versions": [metadata.version(name) for name in ("vllm", "orjson")],
    "environment": {name: os.environ.get(name) for name in ("LD_LIBRARY_PATH", "PYTHONPATH", "HARNESS_DATA_DIR")},
    "compiled": os.path.exists(importlib.util.cache_from_source(importlib.util.find_spec("vllm_router").origin)),
}))
"""


@pytest.fixture(scope="module")
def stand_in(base_options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Options for a base that looks like an official image with an engine in it."""
    if "--base-image" not in base_options:
        pytest.skip("needs a base image that is here: give one with --base-image")
    _, base, *others = base_options
    folder = tmp_path_factory.mktemp("stand-in")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    target = docker_build.Target(folder, STAND_IN, {"BASE_IMAGE": base}, network=others[-1])
    docker_build.build(docker_build.builder(), target, folder, lambda _line: None)
    yield ["--engine", "vllm", "--platform", "rocm", "--base-image", STAND_IN, *others]
    remove(STAND_IN)


def remove(reference: str) -> None:
    client = docker.from_env()
    try:
        client.images.remove(reference, force=True)
    finally:
        client.close()


def described(reference: str) -> dict[str, Any]:
    client = docker.from_env()
    try:
        return dict(client.images.get(reference).attrs["Config"])
    finally:
        client.close()


def inside(reference: str, *argv: str) -> str:
    """Output of a program in a container as the harness runs it."""
    client = docker.from_env()
    try:
        found = client.containers.run(
            reference, list(argv[1:]), entrypoint=argv[0], network_mode="none", read_only=True, remove=True,
            tmpfs={"/tmp": "exec"},
        )  # fmt: skip
        return bytes(found).decode()
    finally:
        client.close()


def test_an_image_over_a_base_that_holds_the_engine(stand_in: list[str]) -> None:
    done = harness("build", *stand_in, env=WITH_DOCKER)
    assert done.returncode == 0, done.stdout + done.stderr
    name, identity = done.stdout.splitlines()[-1].split()
    try:
        found = json.loads(inside(name, engine_image.ENGINE_PYTHON, "-c", ASK))
        assert found["prefix"] == "/opt/engine"
        assert found["user"] == list(engine_image.USER)
        assert not found["vllm"].startswith("/opt/engine"), "the base's own"
        assert found["router"].startswith("/opt/engine"), "what the base lacks"
        assert found["versions"] == ["0.99", "0.99"], "what the base has is not replaced"
        assert found["compiled"], "no server compiles it anew on a root that is read-only"
        assert found["environment"] == {
            "LD_LIBRARY_PATH": "/opt/rocm/lib",
            "PYTHONPATH": "/opt/elsewhere",
            "HARNESS_DATA_DIR": "/opt/data",
        }
        config = described(name)
        assert config["User"] == "2000:2000"
        assert config["Entrypoint"] == [engine_image.HARNESS]
        assert "Usage: " in inside(name, engine_image.HARNESS, "--help")
        data = inside(name, "sh", "-c", "cd /opt/data && sha256sum *.jsonl || true")
        sums = dict(line.split()[::-1] for line in data.splitlines())
        absent = missing(DATASETS)
        assert sums == {each.file: each.sha256 for each in DATASETS if each.file not in absent}
        labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
        assert labels["revision"] == source_tree.revision().name
        assert labels["base.name"] == STAND_IN
        assert labels["base.digest"].startswith("sha256:")
        assert labels["org.inference-harness.identity"].startswith(name.rpartition(":")[2])
        assert len(labels["org.inference-harness.lock"]) == 64
        own = image_store.image(name).layers
        base = image_store.image(STAND_IN).layers
        assert own[: len(base)] == base, "the base is as it was"
        added = image_store.layers(name, range(len(base), len(own)))
        dates = {entry.mtime for layer in added.values() for path, entry in layer.items() if path.startswith("opt")}
        assert dates == {source_tree.FIRST_DATE, source_tree.revision().date}
        again = harness("build", *stand_in, env=WITH_DOCKER)
        assert again.stdout.splitlines()[-1].split() == [name, identity]
        assert "building" not in again.stdout
    finally:
        remove(name)


def test_what_an_image_holds_is_read_and_never_started(stand_in: list[str]) -> None:
    assert STAND_IN in stand_in
    (found,) = engine_sources.given(f"image:{STAND_IN}")
    assert found.sources is not None
    assert (found.engine.name, str(found.sources), found.sources.files) == (
        "vllm",
        "vllm 0.99",
        {"vllm/__init__.py": '__version__ = "0.99"\n'},
    )
    assert (found.router, found.missing) == (None, "no vllm_router is installed there")
    with pytest.raises(CannotJudge, match="cannot be looked at; is it pulled"):
        engine_sources.given("image:inference-harness-tests/none:there-is-none")


def test_a_base_without_the_engine_says_so(stand_in: list[str]) -> None:
    done = harness("build", *stand_in, "--engine", "sglang", env=WITH_DOCKER)
    assert done.returncode == 4
    assert "has no sglang: name an image that holds it with --base-image" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("number", "what"),
    [(signal.SIGINT, ["build", "--rebuild"]), (signal.SIGTERM, ["rebuild-check"])],
    ids=["build", "rebuild-check"],
)
def test_an_interrupted_build_leaves_nothing(
    stand_in: list[str], tmp_path: Path, number: signal.Signals, what: list[str]
) -> None:
    before = tags()
    process = subprocess.Popen(
        command(*what, *stand_in),
        env=environment({**WITH_DOCKER, "TMPDIR": str(tmp_path)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_for(steps, 120)
    assert list(tmp_path.iterdir()), "the build context"
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    assert list(tmp_path.iterdir()) == []
    wait_for(lambda: not steps())
    assert tags() == before


def steps() -> list[int]:
    """Processes of steps of builds of ours, which the engine runs."""
    found = []
    for process in psutil.process_iter():
        try:
            if "/mnt/step.sh" in " ".join(process.cmdline()):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def tags() -> set[str]:
    client = docker.from_env()
    try:
        return {tag for each in client.images.list() for tag in each.tags if tag.startswith("inference-harness/")}
    finally:
        client.close()
