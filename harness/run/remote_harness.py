"""The harness of a point on another host: watched from here, asked to end, and its run directory brought back."""

from __future__ import annotations

import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.base.clock import Clock, Deadline
from harness.hosts.agent import unpack
from harness.hosts.node import NodeLost
from harness.hosts.ray_cluster import RemoteAgent

_EVENTS = "events.jsonl"
_WATCHED = ("case.json", "capabilities.json")
"""What is had here as soon as it is there: which run it is, and whether others of its engine may begin."""
_LOOK_EVERY = 0.5
_KILL_WAIT = 30.0


@dataclass
class RemoteHarness:
    """The harness of a point on a node, as :class:`~harness.run.point_process.Running` says."""

    agent: RemoteAgent
    number: int
    there: str
    here: Path
    clock: Clock
    _status: int | None = None
    _lost: NodeLost | None = None
    _seen: int = 0
    _next: Deadline | None = None

    @property
    def status(self) -> int | None:
        if self._status is None and self._lost is None and (self._next is None or self._next.passed):
            try:
                self._look()
            except NodeLost as error:
                self._lost = error
            self._next = Deadline(_LOOK_EVERY, self.clock)
        return -signal.SIGKILL if self._lost else self._status

    def _look(self) -> None:
        """Ask whether it has ended, and have here what it said meanwhile."""
        self._status = self.agent.poll(self.number)
        if more := self.agent.get(f"{self.there}/{_EVENTS}", self._seen):
            self._seen += len(more)
            with (self.here / _EVENTS).open("ab") as events:
                events.write(more)
            for name in _WATCHED:
                if not (self.here / name).exists() and (content := self.agent.get(f"{self.there}/{name}")):
                    (self.here / name).write_bytes(content)

    def send(self, number: signal.Signals) -> None:
        with suppress(NodeLost):  # then it has ended
            self.agent.signal(self.number, number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        limit = Deadline(_KILL_WAIT, self.clock)
        while self.status is None and not limit.passed:
            self.clock.sleep(_LOOK_EVERY)
        if self.status is None:
            self._lost = NodeLost(self.agent.node, "a point there cannot be ended")

    def close(self) -> None:
        """Raises: NodeLost."""
        if self._lost:
            raise self._lost
        unpack(self.agent.get_folder(self.there), self.here)
