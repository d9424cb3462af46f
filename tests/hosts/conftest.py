"""Ray clusters on this machine: every node is a `ray start` of its own, in a process group of its own.

Or two network namespaces for hosts, with a node in each, for the whole of a session.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from harness.host.ports import Ports
from tests.cpu.conftest import engine_python as engine_python  # noqa: PLC0414 # a fixture
from tests.helpers import environment, left_in, living_in, wait_for
from tests.hosts.namespaces import Host, needs_namespaces, ray_nodes, two_hosts

_STARTED = "Ray runtime started"
PATIENCE = 90.0


class Ray:
    """A cluster. Its first node only joins the others: it has no processors, and the harness is run on it.

    Attributes:
        address: Of the cluster.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder  # of a short name: sockets are in it
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}
        port = Ports().take()
        said = self._start(
            "head", ["--head", "--port", str(port), "--include-dashboard=false", "--temp-dir", str(folder / "ray")], {}
        )
        found = re.search(r"Local node IP: (\S+)", said)
        assert found, said
        self.address = f"{found[1]}:{port}"

    def add(self, address: str, resources: str = "{}", env: Mapping[str, str] | None = None, cpus: int = 1) -> None:
        """Start a node that is known by an address of the loopback network, and wait until it has joined."""
        more = ["--address", self.address, "--node-ip-address", address, "--resources", resources]
        self._start(address, more, env or {}, cpus)

    def _start(self, name: str, more: list[str], env: Mapping[str, str], cpus: int = 0) -> str:
        log = self._folder / f"{name}.log"
        argv = [
            str(Path(sys.executable).with_name("ray")), "start", "--block", "--disable-usage-stats",
            "--num-cpus", str(cpus), "--num-gpus", "0", "--object-store-memory", str(80 << 20),
            "--min-worker-port", "0", "--max-worker-port", "0", *more,
        ]  # fmt: skip
        with log.open("wb") as output:
            process = subprocess.Popen(
                argv, env=environment(env), stdout=output, stderr=subprocess.STDOUT, process_group=0
            )
        self._nodes[name] = process
        wait_for(lambda: _STARTED in log.read_text() or process.poll() is not None, PATIENCE)
        said = log.read_text()
        assert _STARTED in said, said
        return said

    def kill(self, name: str) -> None:
        """End a node as a power cut does: nobody there can do anything any more."""
        process = self._nodes.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def close(self) -> None:
        for name in reversed(list(self._nodes)):
            self.kill(name)


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ray]:
    """A cluster with no other node yet."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # whatever the user's own cluster has
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    cluster = Ray(folder)
    try:
        yield cluster
    finally:
        cluster.close()
        shutil.rmtree(folder, ignore_errors=True)


Pair = tuple[Host, Host]


@pytest.fixture(scope="package")
def pair() -> Iterator[Pair]:
    """Two hosts that reach one another."""
    needs_namespaces()
    with two_hosts() as hosts:
        yield hosts


@pytest.fixture(scope="package")
def cluster(pair: Pair) -> Iterator[str]:
    """Address of a Ray cluster of the two."""
    pytest.importorskip("ray")
    # Ray's sockets are in this folder, and the path of a socket has 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="ray") as folder, ray_nodes(pair, Path(folder)) as address:
        yield address


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for runs, of which nothing may be left: what runs on either host is a process of this machine."""
    yield tmp_path
    for each in living_in(tmp_path):  # of a test that failed half-way: its harness ends what it started
        if "run" in each.cmdline():
            each.terminate()
    wait_for(lambda: not left_in(tmp_path), 60)
