"""The process that stands here for a server on another host.

It starts the server there, passes on what it writes, ends it when it is asked to end, and ends with it. Once the other
host cannot be reached any more it says so and ends, whatever Ray thinks, which waits much longer.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.base.clock import Deadline
from harness.base.domain import Server
from harness.base.errors import CannotJudge, HarnessError
from harness.host import signals
from harness.host.link import Link
from harness.hosts.agent import Agent, pack
from harness.hosts.ray_cluster import RemoteAgent

_LOOK_EVERY = 1.0
_READ_EVERY = 0.5
_UNHEARD = 30.0
"""Seconds after which a server ends that nobody has asked after: a busy host may be silent for most of them."""
_UNAVAILABLE = os.EX_UNAVAILABLE
_LINKED = 'n=$1; shift; while [ "$n" -gt 0 ]; do ln -sfn "$1" "$2"; shift 2; n=$((n - 1)); done; exec "$@"'
"""Makes links in the folder that it runs in, and becomes the server."""


@dataclass
class StandIn:
    """A server on another host, run to its end.

    Attributes:
        agent: On that host.
        server: To be started there.
        grace: Seconds from SIGTERM to SIGKILL.
        write: Takes what the server writes, and what is to be said about it.
    """

    agent: Agent | RemoteAgent
    server: Server
    grace: float
    write: Callable[[bytes], None]
    _over: threading.Event = field(default_factory=threading.Event, init=False)
    _asked: threading.Event = field(default_factory=threading.Event, init=False)
    _status: int = field(default=_UNAVAILABLE, init=False)

    def run(self, env: Mapping[str, str]) -> int:
        """Start the server and wait until it has ended, or cannot be reached any more; returns the exit status.

        Args:
            env: What its environment has on top of what that host gives.
        """
        link, next_look = Link(self.server.host, self.server.ports["http"]), Deadline(_LOOK_EVERY)
        threading.Thread(target=self._follow, args=(dict(env),), daemon=True).start()
        with signals.redirected(self._asked.set):
            while not self._over.wait(next_look.remaining):
                next_look = Deadline(_LOOK_EVERY)
                if link.look():
                    self._say(link.lost)
                    break
        return self._status

    def _follow(self, env: dict[str, str]) -> None:
        """In a thread of its own: what waits for a host that is gone must keep nobody from saying so."""
        try:
            self._status = self._followed(env)
        except (HarnessError, OSError) as error:
            self._say(f"harness: {self.server.name} on {self.server.host}: {error}")
        finally:
            self._over.set()

    def _followed(self, env: dict[str, str]) -> int:
        self.agent.end_unheard(_UNHEARD)
        folder = self.agent.home()
        log = f"{folder}/{self.server.name}.log"
        number = self.agent.start(self._argv(folder), env=env, folder=folder, log=log, grace=self.grace)
        told, read = False, 0
        while True:
            status = self.agent.poll(number)  # before its last words are read
            chunk = self.agent.get(log, read)
            self.write(chunk)
            read += len(chunk)
            if status is not None:
                self.agent.end()  # what it has left there
                return status if status >= 0 else 128 - status
            if self._asked.wait(_READ_EVERY) and not told:
                self.agent.signal(number, signal.SIGTERM)
                told = True
            elif told:
                self._over.wait(_READ_EVERY)

    def _argv(self, folder: str) -> list[str]:
        """The server as a command for that host, where the names are that it knows its models by."""
        links = [word for name, target in self.server.links.items() for word in (self._there(target, folder), name)]
        return ["sh", "-c", _LINKED, "sh", str(len(self.server.links)), *links, *self.server.argv]

    def _there(self, model: str, folder: str) -> str:
        """Where that host has a model: at the path that it has here, or else below a folder, where it is sent.

        Raises:
            CannotJudge: It is nothing that is sent: it leads elsewhere, as a snapshot of the model hub does.
        """
        if self.agent.has(model):
            return model
        here, there = Path(model), f"{folder}/models/{Path(model).name}"
        if any(each.is_symlink() for each in here.rglob("*")):
            raise CannotJudge(f"{model} is not there", cause="put it there at this path, on a shared disk for example")
        self.agent.put_folder(there, pack(here))
        return there

    def _say(self, line: str) -> None:
        self.write(f"{line}\n".encode())
