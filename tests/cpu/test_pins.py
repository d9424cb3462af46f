"""Pins at a real registry with a real container engine: resolved, pulled by digest, re-tagged, gone, out of reach."""

from __future__ import annotations

import io
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

import docker
from harness.containers import image_store, lifecycle
from harness.host import ports
from harness.images import base_images
from tests.cpu.conftest import WITH_DOCKER
from tests.helpers import REPOSITORY, command, environment, harness, wait_for

CONFIG = """
version: 0.1
log: {{level: error}}
storage:
  filesystem: {{rootdirectory: {folder}}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:{port}"}}
"""
PIN = """# Why this one.
[vllm.cpu]
image = "{registry}/engines/base"  # a registry on this machine
tag = "v1"
digest = "{digest}"
engine = "from wheels"
source = "written by a test"
read = 2026-01-02
"""


class Registry:
    """A registry server on this machine, and images in it that hold one file each."""

    def __init__(self, folder: Path, client: docker.DockerClient) -> None:
        port = ports.Ports().take()
        self.address = f"127.0.0.1:{port}"
        self._client = client
        self._port = port
        config = folder / "registry.yml"
        config.write_text(CONFIG.format(folder=folder / "blobs", port=port))
        program = shutil.which("docker-registry")
        assert program is not None
        self.process = subprocess.Popen([program, "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        wait_for(self._up)

    def _up(self) -> bool:
        try:
            return requests.get(f"http://{self.address}/v2/", timeout=1).ok
        except requests.ConnectionError:
            return False

    def push(self, content: str, tag: str = "v1") -> str:
        """Push an image whose only file has this content, and return its digest."""
        name = f"{self.address}/engines/base"
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            info = tarfile.TarInfo("content")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content.encode()))
        self._client.api.import_image_from_data(archive.getvalue(), repository=name, tag=tag)
        lines = list(self._client.api.push(name, tag=tag, stream=True, decode=True))
        assert not [line for line in lines if "error" in line], lines
        return str(next(line["aux"]["Digest"] for line in lines if "aux" in line))

    def delete(self, digest: str) -> None:
        requests.delete(f"http://{self.address}/v2/engines/base/manifests/{digest}", timeout=5).raise_for_status()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)
        assert ports.is_free(self._port)

    def forget(self) -> None:
        """Remove every image of this registry from the container engine."""
        for image in self._client.images.list():
            if any(name.startswith(self.address) for name in [*image.tags, *(image.attrs["RepoDigests"] or [])]):
                self._client.images.remove(str(image.id), force=True)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    reason = lifecycle.unavailable()
    if reason:
        pytest.skip(f"no container engine answers: {reason}")
    if shutil.which("docker-registry") is None:
        pytest.skip("no docker-registry here; Debian and Ubuntu have it as a package")
    client = docker.from_env()
    server = Registry(tmp_path, client)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()
        server.forget()
        client.close()


Write = Callable[[str], Path]


@pytest.fixture
def pinned(tmp_path: Path, registry: Registry) -> Write:
    """Writes a file that pins the registry's image to a digest."""

    def write(digest: str) -> Path:
        path = tmp_path / "pins.toml"
        path.write_text(PIN.format(registry=registry.address, digest=digest))
        return path

    return write


def build(reference: str, folder: Path) -> str:
    """Build an image on a base, and return what the base's file holds."""
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n")
    tag = f"inference-harness-test/{folder.parent.name}".lower()
    argv = ["docker", "build", "--no-cache", "--build-arg", f"BASE_IMAGE={reference}", "--tag", tag, str(folder)]
    built = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    client = docker.from_env()
    try:
        container = client.containers.create(tag, ["none"])
        try:
            archive, _ = container.get_archive("/content")
            with tarfile.open(fileobj=io.BytesIO(b"".join(archive))) as tar:
                file = tar.extractfile("content")
                assert file is not None
                return file.read().decode()
        finally:
            container.remove()
            client.images.remove(tag, force=True)
    finally:
        client.close()


def test_resolved_pinned_and_built_by_digest_whatever_the_tag_became(
    tmp_path: Path, registry: Registry, pinned: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = registry.push("first")
    path = pinned("unresolved")
    monkeypatch.setattr(base_images, "FILE", path)
    done = harness("pins", "--pins", path)
    name = f"{registry.address}/engines/base:v1"
    assert (done.returncode, done.stdout) == (0, f"vllm.cpu: {name} is {first}, written\n"), done.stderr
    base = base_images.base("vllm", "cpu", allow_unpinned=False)
    assert base == base_images.Base(f"{name}@{first}", holds_engine=False)

    second = registry.push("second")
    assert second != first
    registry.forget()  # nothing of it is in the container engine: it must come from the registry
    assert build(base.reference, tmp_path / "context") == "first"
    assert build(name, tmp_path / "context") == "second"


def test_what_was_written_keeps_the_comments_and_says_where_it_was_read(registry: Registry, pinned: Write) -> None:
    digest = registry.push("first")
    path = pinned("unresolved")
    before = path.read_text().splitlines()
    assert harness("pins", "--pins", path).returncode == 0
    after = path.read_text().splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert changed[:2] == [f'digest = "{digest}"', f'source = "the answer of the registry {registry.address}"']
    assert changed[2].startswith("read = 20")
    assert base_images.load(path)["vllm", "cpu"].digest == digest
    stamp = path.read_text()
    assert harness("pins", "--pins", path).stdout.endswith("as pinned\n")
    assert path.read_text() == stamp


def test_a_re_tag_is_detected_with_both_digests_and_changes_nothing(registry: Registry, pinned: Write) -> None:
    first = registry.push("first")
    path = pinned(first)
    done = harness("pins", "--check", "--pins", path)
    assert (done.returncode, done.stdout.split(" is ")[1]) == (0, f"{first}, as pinned\n")
    before = path.read_text()
    second = registry.push("second")
    done = harness("pins", "--check", "--pins", path)
    assert done.returncode == 1
    assert done.stdout.endswith(f"base:v1 was re-tagged: it is {second}, pinned is {first}\n")
    assert path.read_text() == before

    path.write_text(before.replace("engine =", "moving = true\nengine ="))
    done = harness("pins", "--check", "--pins", path)
    assert done.returncode == 0, "its publisher moves it on purpose"
    assert f"base:v1 moved: it is {second}, pinned is {first}\n" in done.stdout

    assert harness("pins", "--pins", path).stdout.endswith("; written\n")
    assert base_images.load(path)["vllm", "cpu"].digest == second


def test_a_digest_that_is_gone_is_named_even_where_tags_move(registry: Registry, pinned: Write) -> None:
    first = registry.push("first")
    second = registry.push("second")
    registry.delete(first)
    path = pinned(first)
    path.write_text(path.read_text().replace("engine =", "moving = true\nengine ="))
    done = harness("pins", "--check", "--pins", path)
    assert done.returncode == 1
    assert f"it is {second}, pinned is {first}, which is gone from the registry" in done.stdout
    registry.delete(second)
    done = harness("pins", "--check", "--pins", path)
    assert done.returncode == 1
    assert done.stdout.endswith(f"base:v1 does not exist; the pinned {first} is not there either\n")


def test_what_is_unresolved_is_listed_and_taken_at_first_use(
    tmp_path: Path, registry: Registry, pinned: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = registry.push("first")
    path = pinned("unresolved")
    before = path.read_text()
    done = harness("pins", "--check", "--pins", path)
    assert (done.returncode, done.stdout.split(" is ")[1]) == (0, f"{digest}, unresolved here\n")
    assert path.read_text() == before

    tree = tmp_path / "tree"
    for part in ("harness", "docker", "requirements", "baselines"):
        shutil.copytree(REPOSITORY / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(path, tree / "docker" / "pins.toml")

    def there(*arguments: str) -> subprocess.CompletedProcess[str]:
        argv, variables = command(*arguments), environment(WITH_DOCKER)
        return subprocess.run(argv, cwd=tree, env=variables, capture_output=True, text=True, check=False)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(base_images, "FILE", path)
    taken = base_images.base("vllm", "cpu", allow_unpinned=False)
    assert taken.reference == f"{registry.address}/engines/base:v1@{digest}"
    assert "resolved at first use" in taken.unpinned
    moved = registry.push("second")
    assert base_images.base("vllm", "cpu", allow_unpinned=False) == taken
    allowed = base_images.base("vllm", "cpu", allow_unpinned=True)
    assert allowed.reference == f"{registry.address}/engines/base:v1"
    registry.forget()
    identity = image_store.pull(allowed.reference, lambda _: None)
    assert image_store.image_id(allowed.reference) == identity
    assert image_store.content(allowed.reference) == f"{registry.address}/engines/base@{moved}"

    registry.stop()
    registry.forget()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another cache"))
    tried = there("build")
    assert tried.returncode == 4, tried.stdout + tried.stderr
    assert f"the digest of {registry.address}/engines/base:v1 is not pinned, and no registry says what" in tried.stderr
    assert len(tried.stderr.splitlines()) == 1
    tried = there("build", "--allow-unpinned")
    assert tried.returncode == 4, "it would have been taken"
    assert f"no base image {registry.address}/engines/base:v1: " in tried.stderr
    assert len(tried.stderr.splitlines()) == 1


def test_a_mirror_stands_for_the_public_registry(registry: Registry, pinned: Write) -> None:
    digest = registry.push("first")
    path = pinned("unresolved")
    path.write_text(path.read_text().replace(f"{registry.address}/engines/base", "registry.invalid/base"))
    assert harness("pins", "--pins", path).returncode == 4
    done = harness("pins", "--pins", path, "--registry", f"{registry.address}/engines")
    assert done.returncode == 0, done.stdout
    pin = base_images.load(path)["vllm", "cpu"]
    assert (pin.image, pin.digest) == ("registry.invalid/base", digest)
    assert pin.reference(f"{registry.address}/engines") == f"{registry.address}/engines/base:v1@{digest}"


def test_a_registry_that_is_down_is_one_line_and_no_verdict(registry: Registry, pinned: Write) -> None:
    path = pinned(registry.push("first"))
    before = path.read_text()
    registry.stop()
    for arguments in (["--check"], []):
        done = harness("pins", "--pins", path, *arguments)
        assert done.returncode == 4
        assert done.stdout == f"vllm.cpu: {registry.address}: cannot be reached: [Errno 111] Connection refused\n"
        assert len(done.stderr.splitlines()) == 1
        assert path.read_text() == before
