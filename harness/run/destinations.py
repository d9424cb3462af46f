"""Where requests of an evaluation or a control go."""

from __future__ import annotations

from harness.ground.domain import Server
from harness.policy.protocols.base import Destination
from harness.run.rundir import RunningServer

_ENTRY_ROLES = ("router", "server")


def destination(servers: list[RunningServer], send_to: Destination) -> Server:
    """The server that ``send_to`` names: the entry point, or the first server of a role."""
    roles = _ENTRY_ROLES if send_to == "entry" else (send_to,)
    return next(running.server for running in servers if running.server.role in roles)
