"""The hosts of a Ray cluster: the only module that knows Ray, which is imported when a cluster is asked for.

The harness goes along: Ray sends a folder with its packages to each node, keeps it there, and starts workers that see
it (a runtime environment's ``working_dir``). What it depends on must be on the nodes already.
"""

from __future__ import annotations

import importlib
import socket
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from harness.base.errors import CannotJudge, UsageError
from harness.hosts.agent import Agent
from harness.hosts.own_code import copied

_REACHED = 5.0
_ANSWER = 60.0
"""Seconds in which a node answers; one that does not is lost."""
_QUIET = {"logging_level": "ERROR", "log_to_driver": False}


class NodeLost(CannotJudge):
    """A node of the cluster, or the agent on it, is gone."""

    def __init__(self, node: Node, cause: str) -> None:
        super().__init__(f"node lost: {node.address}", cause=cause, fault="host")


@dataclass(frozen=True)
class Node:
    """A node that lives.

    Attributes:
        id: As Ray numbers it.
        address: That the others know it by.
        resources: What Ray was told that there is: ``CPU``, ``GPU``, ``memory`` in bytes, and what its owner named.
    """

    id: str
    address: str
    resources: Mapping[str, float]


class RemoteAgent:
    """An :class:`~harness.hosts.agent.Agent` on a node: the same methods, called there.

    Each raises NodeLost when node or agent is gone, and what the method raises.
    """

    def __init__(self, node: Node, actor: Any, ray: Any) -> None:
        self.node = node
        self._actor, self._ray = actor, ray

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self._call, name)

    def _call(self, name: str, *args: Any, **named: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(getattr(self._actor, name).remote(*args, **named), timeout=_ANSWER)
        except errors.RayTaskError as error:
            raise error.cause from None
        except (errors.RayError, TimeoutError) as error:
            self.kill()
            raise NodeLost(self.node, str(error).strip().splitlines()[0]) from None

    def kill(self) -> None:
        """End the agent at once, and with it what it started: that gets the time that it was promised."""
        with suppress(self._ray.exceptions.RayError):
            self._ray.kill(self._actor)


class Cluster:
    """A Ray cluster, connected to."""

    def __init__(self, ray: Any) -> None:
        self.ray = ray

    def nodes(self) -> tuple[Node, ...]:
        """Those that live now, in the order of their addresses."""
        found = (Node(each["NodeID"], each["NodeManagerAddress"], each["Resources"]) for each in self.ray.nodes()
                 if each["Alive"])  # fmt: skip
        return tuple(sorted(found, key=lambda each: (each.address, each.id)))

    def agent(self, node: Node) -> RemoteAgent:
        """A new agent on a node.

        Raises:
            CannotJudge: The harness cannot run there, or as NodeLost.
        """
        strategies = importlib.import_module("ray.util.scheduling_strategies")
        there = strategies.NodeAffinitySchedulingStrategy(node.id, soft=False)
        actor = self.ray.remote(Agent).options(num_cpus=0, max_restarts=0, scheduling_strategy=there)
        return RemoteAgent(node, actor.remote(node.address), self.ray)

    def close(self) -> None:
        """Leave the cluster: Ray ends what this process has there."""
        self.ray.shutdown()


def connect(address: str) -> Cluster:
    """Connect to the cluster at ``HOST:PORT``.

    Raises:
        UsageError: Ray is not installed, or the address is none.
        CannotJudge: The cluster does not answer, or has another version of Ray or Python.
    """
    try:
        ray = cast("Any", importlib.import_module("ray"))
    except ImportError:
        raise UsageError("--ray: Ray is not installed; pip install 'inference-harness[ray]'") from None
    _require(address)
    with tempfile.TemporaryDirectory() as folder:
        copied(Path(folder))
        try:
            ray.init(address=address, runtime_env={"working_dir": folder}, **_QUIET)
        except Exception as error:  # Ray's own kinds, RuntimeError, ConnectionError, ValueError
            cause = " ".join(str(error).split())
            raise CannotJudge(f"--ray {address}: no cluster could be joined", cause=cause, fault="host") from error
    return Cluster(ray)


def _require(address: str) -> None:
    """Raise unless somebody listens there: Ray itself tries for minutes."""
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdecimal()):
        raise UsageError(f"--ray {address}: must be like HOST:PORT, as `ray start --head` says it")
    try:
        socket.create_connection((host, int(port)), timeout=_REACHED).close()
    except (OSError, OverflowError) as error:
        raise CannotJudge(f"--ray {address}: nobody answers there", cause=str(error), fault="host") from None
