"""``hosts.json``: which servers of a run are on which other hosts. A run on this host alone has none.

A server on another host has a process here that stands for it (``stand_in.py``): it is started, watched, stopped and
looked for like any server, its output is the server's log, and its end is the server's. So only two things differ: the
addresses and ports that a server is given, and the command that is started for it here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial

from pydantic import Field

from harness.base.domain import Server
from harness.base.errors import CannotJudge, UsageError
from harness.base.settings import cut
from harness.cases.model import Case, Role
from harness.engines.engine import Place
from harness.host import processes
from harness.host.ownership import PROCESS
from harness.hosts import ray_cluster
from harness.hosts.ray_cluster import Cluster, RemoteAgent
from harness.plan import points
from harness.run.context import Context
from harness.run.documents import Document
from harness.run.rundir import RunDir
from harness.run.stand_in import StandIn

_NAME = "hosts"
_OF_RAY = "RAY_"
"""How variables begin that say how to join a cluster, with which token for example."""


class OnHost(Document):
    """A host that takes the servers of a role."""

    node: str
    """Its id in the cluster."""
    address: str
    interface: str
    """The network interface that has the address."""


class Spread(Document):
    """``hosts.json``."""

    cluster: str
    """Address of the Ray cluster."""
    hosts: dict[Role, OnHost]
    servers: Mapping[str, Server] = Field(default_factory=dict)
    """Those on other hosts, by name, once they are to be started."""


def of(rundir: RunDir) -> Spread | None:
    """Where the servers of a run are; None if all are on this host."""
    return rundir.read(_NAME, Spread)


def require(case: Case, cluster: str, runtime: str) -> None:
    """Raise if the servers of a case cannot be spread over hosts.

    Raises:
        UsageError: They would have to be in containers, or there is no cluster.
    """
    if not case.topology.spread:
        return
    if not cluster:
        raise UsageError(f"topology.spread: {points.NEEDS_HOSTS}")
    if runtime == "docker":
        raise UsageError("--runtime docker: not with servers on several hosts, which are in no container; leave it out")


def choose(context: Context, cluster: str) -> None:
    """Take a host of a cluster for each role, and write down which.

    Raises:
        CannotJudge: The cluster has too few hosts, or a wrong address of one, or the case needs accelerators.
    """
    case = context.case
    if points.devices(case, context.prepared.platform):
        raise CannotJudge("servers on several hosts have no accelerators yet", cause="run the case with --platform cpu")
    roles = list(case.topology.roles)
    with closing(ray_cluster.connect(cluster)) as ray:
        nodes = list({each.address: each for each in ray.nodes()}.values())
        if len(nodes) < len(roles):
            there = ", ".join(each.address for each in nodes) or "none"
            raise CannotJudge(f"{len(roles)} hosts are needed", cause=f"Ray at {cluster} has {there}", fault="host")
        hosts = {
            role: OnHost(node=node.id, address=node.address, interface=ray.agent(node).interface())
            for role, node in zip(roles, nodes, strict=False)
        }
    if unheld := [host.address for host in hosts.values() if not host.interface]:
        raise CannotJudge(
            f"Ray knows a host as {unheld[0]}, and no interface of it has that address",
            cause="start Ray there with --node-ip-address",
            fault="host",
        )
    context.rundir.write(_NAME, Spread, Spread(cluster=cluster, hosts=hosts))
    facts = {role: f"{host.address} ({host.interface})" for role, host in hosts.items()}
    prepared = context.prepared
    context.rundir.save(prepared.model_copy(update={"host": {**prepared.host, **facts}}))
    for role, where in facts.items():
        context.progress.note(f"{role} on {where}")


@contextmanager
def places(rundir: RunDir, place: Place) -> Iterator[Mapping[Role, Place]]:
    """Where servers of roles are that are not at ``place``. Ports are chosen on the host that binds them."""
    spread = of(rundir)
    if spread is None:
        yield {}
        return
    with closing(ray_cluster.connect(spread.cluster)) as ray:
        yield {
            role: replace(place, host=host.address, interface=host.interface, port=partial(_port, _agent(ray, host)))
            for role, host in spread.hosts.items()
        }


def _agent(ray: Cluster, host: OnHost) -> RemoteAgent:
    """A new agent on a host.

    Raises:
        CannotJudge: The host has left the cluster.
    """
    node = next((each for each in ray.nodes() if each.id == host.node), None)
    if node is None:
        raise CannotJudge(f"{host.address} has left the Ray cluster", cause=f"its node was {host.node}", fault="host")
    return ray.agent(node)


def _port(agent: RemoteAgent, width: int) -> int:
    return int(agent.free_ports(width)[0])


def command(rundir: RunDir, server: Server) -> tuple[Sequence[str], Mapping[str, str]]:
    """What is started here for a server, itself or what stands for it, and what of our environment that needs."""
    if not server.is_elsewhere:
        return server.argv, {}
    spread = of(rundir)
    assert spread is not None, "a server is elsewhere only where hosts were chosen"
    rundir.write(_NAME, Spread, spread.model_copy(update={"servers": {**spread.servers, server.name: server}}))
    argv = (processes.own_interpreter(), "-m", "harness", "stand-in", str(rundir.path), server.name)
    return argv, {name: value for name, value in os.environ.items() if name.startswith(_OF_RAY)}


def run_elsewhere(rundir: RunDir, name: str) -> int:
    """Run a server where it is to be, until it has ended, and return its exit status.

    Raises:
        UsageError: The run has no such server.
        CannotJudge: Its host has left the cluster.
    """
    spread = of(rundir)
    if spread is None or name not in spread.servers:
        raise UsageError(f"{rundir.path}: has no server {cut(name)} on another host; `harness run` starts those")
    server = spread.servers[name]
    given = (*server.env, *server.pass_env, *PROCESS)
    env = {each: os.environ[each] for each in given if each in os.environ}
    (host,) = [host for role, host in spread.hosts.items() if role == server.role]
    with closing(ray_cluster.connect(spread.cluster)) as ray:
        stand_in = StandIn(_agent(ray, host), server, rundir.prepared().case.timeouts.stop, _write)
        return stand_in.run(env)


def _write(content: bytes) -> None:
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()
