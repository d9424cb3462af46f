"""Points on the hosts of a cluster: what is sent there, who runs them, and how their run directories come back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from harness.base.clock import SYSTEM_CLOCK, Clock, Deadline
from harness.base.domain import Device, Platform
from harness.base.errors import CannotJudge, HarnessError
from harness.fleet.jobs import Host, Job, Placed
from harness.host.data_files import DATA_FOLDER
from harness.hosts.node import Node, NodeLost
from harness.hosts.ray_cluster import Cluster, RemoteAgent, Reservation
from harness.plan.points import Planned
from harness.run import occupancy
from harness.run.places import Command
from harness.run.point_process import LOG, PointProcess, ending
from harness.run.remote_harness import RemoteHarness
from harness.run.rundir import directly_below, make_folder

_NODES_EVERY = 5.0
_WAIT_FOR_NODES = 60.0
_RESERVE = 2.0
"""Seconds for Ray to say that resources are free: it answers at once, unless others have them."""
_TRY_AGAIN = 5.0


@dataclass(frozen=True)
class Sent:
    """What points need on every host, by the name that it has there.

    Attributes:
        folders: Packed.
        data: Content of data files.
    """

    folders: Mapping[str, bytes]
    data: Mapping[str, bytes]


@dataclass(frozen=True)
class _Worker:
    """A node with an agent that has what points need.

    Attributes:
        home: A folder on the node.
        devices: Accelerators, with names that no other node has.
    """

    agent: RemoteAgent
    home: str
    devices: tuple[Device, ...]
    counted: str

    @cached_property
    def host(self) -> Host:
        found = self.agent.node.resources
        names = tuple(device.name for device in self.devices)
        return Host(self.agent.node.address, names, int(found.get("CPU", 0)), int(found.get("memory", 0)))


@dataclass
class OnCluster:
    """The hosts of a cluster.

    Attributes:
        cluster: Connected to.
        platform: Of all points.
        command: What the harness of a point is told there.
        sent: What points need.
        runs: Folder of the run directories.
        devices: Accelerators that may be used at a time; None: all that there are.
        note: Called with what becomes of nodes.
    """

    cluster: Cluster
    platform: Platform
    command: Command
    sent: Sent
    runs: Path
    devices: int | None
    note: Callable[[str], None]
    clock: Clock = SYSTEM_CLOCK
    kind: str | None = None
    _workers: dict[str, _Worker] = field(default_factory=dict)
    _refused: dict[str, str] = field(default_factory=dict)
    _reserved: dict[str, Reservation] = field(default_factory=dict)
    _full: dict[str, Deadline] = field(default_factory=dict)
    _look_again: Deadline | None = None
    _without: Deadline | None = None

    def __post_init__(self) -> None:
        self._join()
        if not self._workers:
            raise CannotJudge(f"no node of the cluster can run points: {self._why_none()}", fault="host")

    def _join(self) -> None:
        """Have an agent on every node that lives, and forget those that do not."""
        nodes = {
            each.id: each for each in self.cluster.nodes() if each.resources.get("CPU") or each.resources.get("GPU")
        }
        for gone in self._workers.keys() - nodes.keys():
            del self._workers[gone]
        new = [each for name, each in nodes.items() if name not in self._workers and name not in self._refused]
        agents = [self.cluster.agent(node) for node in new]  # all at once: starting one takes seconds
        for node, agent in zip(new, agents, strict=True):
            try:
                self._workers[node.id] = self._worker(node, agent)
            except HarnessError as error:
                agent.kill()
                if not isinstance(error, NodeLost):
                    self._refused[node.id] = str(error)
                self.note(f"{node.address} runs no points: {error}")
        self._look_again = Deadline(_NODES_EVERY, self.clock)

    def _worker(self, node: Node, agent: RemoteAgent) -> _Worker:
        about = agent.about(self.platform)
        if about.lacking:
            raise CannotJudge(
                f"{node.address} lacks what the harness needs: {', '.join(about.lacking)}; "
                "install it in the environment that Ray was started from",
                fault="host",
            )
        home = agent.home()
        for name, packed in self.sent.folders.items():
            agent.put_folder(f"{home}/{name}", packed)
        for name, content in self.sent.data.items():
            agent.put(f"{home}/data/{name}", content)
        counted = self.platform if self.platform in node.resources else "GPU"
        known = int(node.resources.get(counted, 0))
        devices = tuple(about.devices[:known])
        if len(devices) < len(about.devices):
            self.note(f"{node.address}: {len(about.devices)} {self.platform} devices, of which Ray gives {known}")
        named = tuple(replace(each, name=f"{node.address}/{each.name}") for each in devices)
        return _Worker(agent, home, named, counted)

    def _why_none(self) -> str:
        return "; ".join(self._refused.values()) or "there is none with processors (`ray start --num-cpus`)"

    def hosts(self, running: Sequence[Placed], *, sharing: bool) -> list[Host]:  # noqa: ARG002 # nobody shares there
        if self._look_again is None or self._look_again.passed:
            self._join()
        ours = {placed.host for placed in running}
        found = [each.host for each in self._workers.values()]
        free = [
            each for each in found if each.name in ours or each.name not in self._full or self._full[each.name].passed
        ]
        return free if self.devices is None else self._fewer(free, running)

    def _fewer(self, hosts: Sequence[Host], running: Sequence[Placed]) -> list[Host]:
        """The same with no more devices in all than may be used."""
        assert self.devices is not None
        ours = {name for placed in running for name in placed.devices}
        rest = [name for host in hosts for name in host.devices if name not in ours]
        may = ours | set(rest[: max(0, self.devices - len(ours))])
        return [
            Host(host.name, tuple(name for name in host.devices if name in may), host.cores, host.memory)
            for host in hosts
        ]

    def suited(self, each: Planned) -> list[str] | None:
        pool = [device for worker in self._workers.values() for device in worker.devices]
        found = [device.name for device in occupancy.suitable(each.case, pool)]
        return None if len(found) == len(pool) else found  # all will do: those of nodes that join later, too

    def share_of(self, each: Planned) -> int:  # noqa: ARG002 # a placement group has whole devices
        return 0

    def alone(self, job: Job) -> None:
        if self._workers:
            self._without = None
            most = max(len(each.devices) for each in self._workers.values())
            if any(self._holds(job, each.host) for each in self._workers.values()):
                return  # others have it now
            raise CannotJudge(
                f"no node of the cluster can hold it: it needs {job.devices} {self.platform} devices on one, "
                f"and the node with the most has {most}",
                fault="host",
            )
        if self._without is None:
            self.note(f"no node of the cluster is left; waiting {_WAIT_FOR_NODES:.0f} s for one")
            self._without = Deadline(_WAIT_FOR_NODES, self.clock)
        if self._without.passed:
            raise CannotJudge("no node of the cluster is left that can run points", fault="host")

    @staticmethod
    def _holds(job: Job, host: Host) -> bool:
        return sum(job.suited is None or name in job.suited for name in host.devices) >= job.devices

    def begin(self, each: Planned, placed: Placed, earlier: Sequence[str]) -> PointProcess | None:
        worker = next((found for found in self._workers.values() if found.host.name == placed.host), None)
        if worker is None:
            return None
        try:
            return self._begin(worker, each, placed, earlier)
        except NodeLost as error:
            self._look_again = None
            self._workers.pop(worker.agent.node.id, None)
            self.note(str(error))
            return None

    def _begin(self, worker: _Worker, each: Planned, placed: Placed, earlier: Sequence[str]) -> PointProcess | None:
        node, job = worker.agent.node, placed.job
        amounts = {
            worker.counted: job.devices,
            "CPU": min(job.cores, worker.host.cores),
            "memory": min(job.memory, worker.host.memory),
        }
        reserved = self.cluster.reserve(node, amounts, _RESERVE)
        if reserved is None:
            self._full[node.address] = Deadline(_TRY_AGAIN, self.clock)
            return None
        path = directly_below(self.runs, each.folder)
        there = f"{worker.home}/runs/{each.folder}"
        facts = {"address": node.address} | {f"before.{number}": why for number, why in enumerate(earlier, 1)}
        told = [word for name, fact in facts.items() for word in ("--host-fact", f"{name}={fact}")]
        try:
            make_folder(path)
            worker.agent.put(f"{there}/{LOG}", b"")
            number = worker.agent.start_harness(
                [*self.command(each), *told, "--run-dir", there],
                env={DATA_FOLDER: f"{worker.home}/data"} if self.sent.data else {},
                folder=worker.home,
                log=f"{there}/{LOG}",
                grace=ending(each.case),
            )
        except BaseException:
            reserved.release()
            raise
        self._reserved[each.id] = reserved
        return PointProcess(each, path, RemoteHarness(worker.agent, number, there, path, self.clock))

    def ended(self, name: str) -> None:
        self._reserved.pop(name).release()

    def close(self) -> None:
        for reserved in self._reserved.values():
            reserved.release()
        for worker in self._workers.values():
            with suppress(NodeLost):
                worker.agent.end()
        self.cluster.close()
