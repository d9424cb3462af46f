"""What an image is made from and how it would be built, before anything is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness.base.errors import UsageError
from harness.images import build_context, distribution_packages, docker_build, engine_image, source_tree
from tests.helpers import REPOSITORY

REQUIREMENTS = REPOSITORY / "docker" / "requirements"


def target(folder: Path) -> docker_build.Target:
    return docker_build.Target(
        folder / "context",
        "name:tag",
        arguments={"BASE_IMAGE": "base", "ENGINE": "vllm"},
        labels={"org.opencontainers.image.title": "costs ${a} %{b}"},
        secrets={"ca": folder / "ca.pem"},
        network="host",
        no_cache=True,
    )


def test_the_bake_file_says_what_the_options_of_a_build_say(tmp_path: Path) -> None:
    wanted = target(tmp_path)
    described = json.loads(docker_build.bake_file(wanted))["target"]["image"]
    assert described == {
        "context": str(tmp_path / "context"),
        "dockerfile": "Dockerfile",
        "tags": ["name:tag"],
        "args": {"BASE_IMAGE": "base", "ENGINE": "vllm"},
        # Bake expands templates: these are escaped.
        "labels": {"org.opencontainers.image.title": "costs $${a} %%{b}"},
        "secret": [f"id=ca,src={tmp_path / 'ca.pem'}"],
        "network": "host",
        "no-cache": True,
        "output": ["type=docker"],
    }


def test_bake_is_told_which_entitlements_it_has_where_it_asks(tmp_path: Path) -> None:
    wanted = target(tmp_path)
    bake = ["/d", "buildx", "bake", "--progress", "plain", "--file", "docker-bake.json"]
    assert docker_build.command(docker_build.Builder("/d", True, ""), wanted) == [*bake, "image"]
    allowed = [f"fs.read={tmp_path / 'context'}", f"fs.read={tmp_path / 'ca.pem'}", "network.host"]
    options = [part for each in allowed for part in ("--allow", each)]
    assert docker_build.command(docker_build.Builder("/d", True, "", allow=True), wanted) == [*bake, *options, "image"]


def test_a_client_without_buildx_gets_the_same_as_options(tmp_path: Path) -> None:
    line = " ".join(docker_build.command(docker_build.Builder("/d", False, ""), target(tmp_path)))
    assert line.startswith(
        f"/d build --progress plain --file {tmp_path}/context/Dockerfile --tag name:tag --network host"
    )
    assert "--build-arg BASE_IMAGE=base --build-arg ENGINE=vllm" in line
    assert f"--secret id=ca,src={tmp_path}/ca.pem --no-cache {tmp_path}/context" in line


def recipe(engine: str, platform: str, **options: object) -> engine_image.Recipe:
    return engine_image.recipe(engine, platform, engine_image.Build(**options))  # type: ignore[arg-type]


def test_where_the_engine_comes_from() -> None:
    cpu = recipe("vllm", "cpu")
    assert cpu.base.startswith("docker.io/library/python:3.11-slim-bookworm@sha256:")
    assert (cpu.parts.engine_from, [path.name for path in cpu.parts.locks]) == ("wheels", ["engine.txt", "torch.txt"])
    assert cpu.parts.packages == REQUIREMENTS / "vllm-cpu" / "packages.txt"
    cuda = recipe("sglang", "cuda", base_image="theirs:1")
    assert (cuda.base, cuda.parts.engine_from) == ("theirs:1", "base")
    assert [path.name for path in cuda.parts.locks] == ["sglang-router.txt", "nixl.txt"]
    assert cuda.parts.packages is None
    rocm = recipe("vllm", "rocm", base_image="theirs:1")
    assert [path.name for path in rocm.parts.locks] == ["vllm-router.txt"], "NIXL on the index is built for CUDA"
    locked = recipe("vllm", "cuda", base_image="plain", engine_from="wheels")
    assert locked.parts.locks == (REQUIREMENTS / "vllm-cuda" / "engine.txt",)
    over = recipe("vllm", "cpu", base_image="theirs:1", engine_from="base")
    assert [path.name for path in over.parts.locks] == ["vllm-router.txt", "nixl.txt"]


@pytest.mark.parametrize(
    ("engine", "platform", "options", "words"),
    [
        ("vllm", "rocm", {"base_image": "b", "engine_from": "wheels"}, "no vllm for rocm comes with the harness"),
        ("vllm", "cpu", {"engine_wheel": Path("/nowhere.whl")}, "--engine-wheel /nowhere.whl: no wheel there"),
        ("vllm", "cpu", {"engine_wheel": REPOSITORY / "pyproject.toml"}, "no wheel there .a file that ends in .whl"),
    ],
)
def test_what_cannot_be_built_is_one_line(engine: str, platform: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        recipe(engine, platform, **options)


def test_a_wheel_of_another_engine_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "sglang-1-py3-none-any.whl"
    wheel.touch()
    with pytest.raises(UsageError, match="not a wheel of vllm; name the engine with --engine"):
        recipe("vllm", "cpu", engine_wheel=wheel)


def test_data_that_is_not_at_hand_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_DATA_DIR", str(tmp_path))
    assert recipe("vllm", "cpu").parts.data == ()


@pytest.mark.parametrize("engine_from", ["base", "wheels"])
def test_a_step_finds_every_script_it_calls(tmp_path: Path, engine_from: build_context.From) -> None:
    options = {"base_image": "b", "engine_from": engine_from}
    build_context.make(tmp_path, recipe("vllm", "cuda", **options).parts)
    for folder in ("packages", "engine", "harness", "source"):
        there = {path.name for path in (tmp_path / folder).iterdir()}
        for script in (tmp_path / folder).glob("*.sh"):
            called = set(re.findall(r"\$here/([a-z-]+\.(?:sh|py))", script.read_text()))
            branch = {"adopt-engine.sh"} if engine_from == "wheels" else {"find-python.sh", "install-engine.sh"}
            assert called - branch <= there, script
    dockerfile = (tmp_path / "Dockerfile").read_text()
    for folder, script in re.findall(r"source=(\w+),.*?sh /mnt/step\.sh \S+ sh /mnt/(\S+)", dockerfile, re.DOTALL):
        assert (tmp_path / folder / script).is_file()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_context_is_the_same_every_time(tmp_path: Path) -> None:
    parts = recipe("vllm", "cpu").parts
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        build_context.make(tmp_path / name, parts)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert "source/tree/harness/images/engine_image.py" in contents(tmp_path / "a")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://user:hf_secret@host/a/b.git", "https://host/a/b.git"),
        ("https://host/a/b.git", "https://host/a/b.git"),
        ("git@host:a/b.git", "git@host:a/b.git"),
        ("", ""),
    ],
)
def test_a_label_never_holds_credentials(address: str, shown: str) -> None:
    assert source_tree.without_credentials(address) == shown


INDEX = """Package: libnuma1
Source: numactl
Version: {version}
Architecture: amd64
Description: Libraries
 for more than one line: SHA256: none
SHA256: {sha}

Package: numactl
Version: 9
Architecture: amd64
SHA256: ff
"""


def test_locked_packages_are_resolved_anew_for_each_release() -> None:
    lock = "# about it\ndebian-12 amd64 libnuma1 1 00\n"
    indices = {"debian-12": INDEX.format(version="2", sha="ab"), "ubuntu-24.04": INDEX.format(version="3", sha="cd")}
    found = distribution_packages.locked(lock, indices)
    assert found == "# about it\ndebian-12 amd64 libnuma1 2 ab\nubuntu-24.04 amd64 libnuma1 3 cd\n"
    assert distribution_packages.locked(found, indices) == found
    assert distribution_packages.locked(found, {"debian-12": INDEX.format(version="9", sha="ef")}) == (
        "# about it\ndebian-12 amd64 libnuma1 9 ef\nubuntu-24.04 amd64 libnuma1 3 cd\n"
    )
    with pytest.raises(KeyError, match="debian-13 has no package libnuma1"):
        distribution_packages.locked(lock, {"debian-13": INDEX.replace("libnuma1", "other")})


@pytest.mark.parametrize("path", sorted(REQUIREMENTS.glob("*/packages.txt")), ids=lambda path: path.parent.name)
def test_every_release_has_every_locked_package(path: Path) -> None:
    lines = [line.split() for line in path.read_text().splitlines() if not line.startswith("#")]
    wanted = {
        (each.name, name)
        for each in distribution_packages.RELEASES
        for name in distribution_packages.names(path.read_text())
    }
    assert {(release, name) for release, _, name, _, _ in lines} == wanted
    assert all(re.fullmatch("[0-9a-f]{64}", sha256) for *_, sha256 in lines)


LOCKS = [*sorted(REQUIREMENTS.glob("*.txt")), *sorted(REQUIREMENTS.glob("*/engine.txt"))]


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_requirement_of_an_image_is_locked_by_hash(path: Path) -> None:
    for block in re.split(r"\n(?=\S)", path.read_text().strip()):
        assert re.match(r"[a-z0-9-]+==\S+", block), block
        assert "--hash=sha256:" in block, block
