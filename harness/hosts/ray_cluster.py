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
from harness.host import signals
from harness.hosts.agent import Agent
from harness.hosts.node import Node, NodeLost
from harness.hosts.own_code import copied

_REACHED = 5.0
_ANSWER = 60.0
"""Seconds in which a node answers; one that does not is lost."""
_QUIET = {"logging_level": "ERROR", "log_to_driver": False}
_ALL_DEVICES = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1",
    "RAY_EXPERIMENTAL_NOSET_HIP_VISIBLE_DEVICES": "1",
    "RAY_EXPERIMENTAL_NOSET_ROCR_VISIBLE_DEVICES": "1",
}
"""Ray would hide from an agent the accelerators that it did not ask for. How many a point takes is reserved, and which
of them, says the lease of its own harness."""
_THIS_NODE = 0.001
"""Of the resource ``node:ADDRESS``, of which every node has 1: what pins a reservation to it."""


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


@dataclass(frozen=True)
class Reservation:
    """Resources of a node."""

    _remove: Callable[[], None]

    def release(self) -> None:
        """Let others have them."""
        self._remove()


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

    def reserve(self, node: Node, amounts: Mapping[str, float], seconds: float) -> Reservation | None:
        """What a point uses of a node, taken from what others on the cluster may; None if it is not free in time.

        It ends with :meth:`Reservation.release`, and with this process.
        """
        groups = importlib.import_module("ray.util.placement_group")
        bundle = {name: amount for name, amount in amounts.items() if amount} | {f"node:{node.address}": _THIS_NODE}
        group = groups.placement_group([bundle], strategy="STRICT_PACK")
        found = Reservation(partial(groups.remove_placement_group, group))
        try:
            free = group.wait(timeout_seconds=seconds)
        except BaseException:
            found.release()
            raise
        if not free:
            found.release()
        return found if free else None

    def close(self) -> None:
        """Leave the cluster: Ray ends what this process has there."""
        with signals.kept():  # its end takes handlers away, too
            self.ray.shutdown()


def connect(address: str) -> Cluster:
    """Connect to the cluster at ``HOST:PORT``.

    Raises:
        UsageError: Ray is not installed, or the address is none.
        CannotJudge: The cluster does not answer, or has another version of Ray or Python.
    """
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdecimal()):
        raise UsageError(f"--ray {address}: must be like HOST:PORT, as `ray start --head` says it")
    with signals.kept(), tempfile.TemporaryDirectory() as folder:
        try:
            ray = cast("Any", importlib.import_module("ray"))
        except ImportError:
            raise UsageError("--ray: Ray is not installed; pip install 'inference-harness[ray]'") from None
        try:  # Ray itself tries for minutes
            socket.create_connection((host, int(port)), timeout=_REACHED).close()
        except (OSError, OverflowError) as error:
            raise CannotJudge(f"--ray {address}: nobody answers there", cause=str(error), fault="host") from None
        copied(Path(folder))
        try:
            ray.init(address=address, runtime_env={"working_dir": folder, "env_vars": _ALL_DEVICES}, **_QUIET)
        except Exception as error:  # Ray's own kinds, RuntimeError, ConnectionError, ValueError
            cause = " ".join(str(error).split())
            raise CannotJudge(f"--ray {address}: no cluster could be joined", cause=cause, fault="host") from error
    return Cluster(ray)
