"""``servers.json``: the servers of a run, started by it, or somebody else's that it was attached to."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, model_validator

from harness.base.domain import Server
from harness.host.processes import Started
from harness.host.stopping import Stopped
from harness.run.documents import Document

_SERVER = re.compile(r"[\w-][\w.-]{0,99}", re.ASCII)


class RunningServer(Document):
    """A started server, or one that somebody else runs."""

    server: Server
    process: Started | None
    """None of somebody else's."""
    folder: str = ""
    lacks: dict[Literal["metrics", "configuration"], str] = Field(default_factory=dict)
    """What somebody else's server does not say, and why."""

    @property
    def is_seen(self) -> bool:
        """Whether its processes run here, where they can be looked at."""
        return self.process is not None and not self.server.is_elsewhere


class Servers(Document):
    """``servers.json``: what was started and how stopping it went.

    Of somebody else's servers nothing is stopped: ``stopped`` then says that the run is over.
    """

    servers: list[RunningServer]
    stopped: Stopped | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        """Names become names of files, and process ids and ports are asked and signalled."""
        names = [running.server.name for running in self.servers]
        for running in self.servers:
            if not _SERVER.fullmatch(running.server.name) or names.count(running.server.name) > 1:
                raise ValueError(f"{running.server.name[:50]!r} is no name of a server of its own")
            if (running.process is None) != bool(running.server.at):
                raise ValueError(f"{running.server.name}: a server has either a process here or an address elsewhere")
            if running.process and not 1 < running.process.pid < 2**31:
                raise ValueError(f"{running.server.name}: no process has the id {running.process.pid}")
            if not all(0 < port < 1 << 16 for port in running.server.ports.values()):
                raise ValueError(f"{running.server.name}: a port that none can be")
        return self
