"""Two hosts out of one machine: network namespaces joined by a veth pair, with a Ray node in each.

What crosses the pair is counted by the kernel, and it can be cut. Processes and files are those of one machine.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers import wait_for

INTERFACE = "fabric0"
"""The end of the pair in either namespace."""
RAY_ENVIRONMENT = {**os.environ, "RAY_AUTH_MODE": "disabled"}
"""Whatever token somebody has in their home."""
_PORT = 26_379
_RAY_START = 60.0
_RAY_END = 20.0
_STARTED = "Ray runtime started."


def needs_namespaces() -> None:
    """Skip the test where there can be none."""
    if os.geteuid() != 0:
        pytest.skip("only root makes network namespaces")
    if not shutil.which("ip"):
        pytest.skip("there is no program `ip`")
    probe = f"probe{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no network namespace here: {made.stderr.strip()}")
    ip("netns", "delete", probe)


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=True).stdout


@dataclass(frozen=True)
class Host:
    """One namespace.

    Attributes:
        namespace: Its name.
        address: On the pair.
    """

    namespace: str
    address: str

    def command(self, *argv: str | Path) -> list[str]:
        """As a program of this host."""
        return ["ip", "netns", "exec", self.namespace, *map(str, argv)]

    def counters(self) -> dict[str, int]:
        """Bytes that its end of the pair has received and sent."""
        folder = f"/sys/class/net/{INTERFACE}/statistics"
        # A namespace entered by `ip netns exec` has its own /sys.
        read = subprocess.run(
            self.command("cat", f"{folder}/rx_bytes", f"{folder}/tx_bytes"), capture_output=True, text=True, check=True
        )
        received, sent = map(int, read.stdout.split())
        return {"received": received, "sent": sent}

    def cut(self) -> None:
        """Take its end of the pair down."""
        ip("-n", self.namespace, "link", "set", INTERFACE, "down")

    def mend(self) -> None:
        ip("-n", self.namespace, "link", "set", INTERFACE, "up")


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Two namespaces that reach one another over a veth pair, and nothing else."""
    tag = os.getpid() % 100_000
    # A /30 of its own, so that tests of several checkouts do not share addresses.
    base = f"10.{77 + tag % 100}.{tag // 100 % 250}"
    hosts = Host(f"one{tag}", f"{base}.1"), Host(f"two{tag}", f"{base}.2")
    with ExitStack() as made:
        for host in hosts:
            ip("netns", "add", host.namespace)
            made.callback(ip, "netns", "delete", host.namespace)
        ends = [f"v{number}{tag}" for number in range(2)]
        ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for host, end in zip(hosts, ends, strict=True):
            ip("link", "set", end, "netns", host.namespace)
            ip("-n", host.namespace, "link", "set", end, "name", INTERFACE)
            ip("-n", host.namespace, "address", "add", f"{host.address}/30", "dev", INTERFACE)
            ip("-n", host.namespace, "link", "set", "lo", "up")
            ip("-n", host.namespace, "link", "set", INTERFACE, "up")
        yield hosts


@contextmanager
def ray_nodes(hosts: tuple[Host, Host], folder: Path) -> Iterator[str]:
    """A Ray node on each host; yields the address of the cluster."""
    ray = Path(sys.executable).parent / "ray"
    head, worker = hosts
    address = f"{head.address}:{_PORT}"
    common = ["--block", "--num-cpus", "1", "--disable-usage-stats", "--object-store-memory", "80000000"]
    with ExitStack() as running:
        for host, where in (
            (head, ["--head", "--port", str(_PORT), "--include-dashboard=false", "--temp-dir", str(folder)]),
            (worker, ["--address", address]),
        ):
            argv = host.command(ray, "start", *where, "--node-ip-address", host.address, *common)
            running.enter_context(_node(argv, folder / f"{host.namespace}.log"))
        yield address


@contextmanager
def _node(argv: list[str], log: Path) -> Iterator[None]:
    """A Ray node, which ends its own processes when it is asked to end."""
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT, process_group=0, env=RAY_ENVIRONMENT)
    try:
        wait_for(lambda: process.poll() is not None or _STARTED in log.read_text(), _RAY_START)
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.terminate()
        try:
            process.wait(_RAY_END)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
