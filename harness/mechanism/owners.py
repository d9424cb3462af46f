"""Owners: the harness process that will stop what a run started, and whether it lives."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from harness.mechanism import processes

_NAMESPACE = Path("/proc/self/ns/pid")


@dataclass(frozen=True)
class Owner:
    """A process that can be told from a later one with the same pid, and from one with the same pid elsewhere.

    Attributes:
        pid: Its pid.
        created: When the kernel created it, in seconds since the epoch.
        namespace: The PID namespace in which the pid counts: a container has its own. Empty if unknown.
    """

    pid: int
    created: float
    namespace: str = ""

    @classmethod
    def me(cls) -> Self:
        """This process."""
        return cls(os.getpid(), processes.created(os.getpid()), _namespace())

    @property
    def elsewhere(self) -> bool:
        """Whether it can be seen to live from its own PID namespace alone, which is not this one."""
        return bool(self.namespace) and self.namespace != _namespace()

    @property
    def lives(self) -> bool:
        """Whether it is running here."""
        return not self.elsewhere and processes.is_running(self.pid, self.created)

    @property
    def text(self) -> str:
        """For a label."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """From a label; None if it names nobody. One that another version wrote is elsewhere, wherever that is."""
        try:
            return cls(**json.loads(text)) if text else None
        except (TypeError, ValueError):
            return cls(pid=0, created=0.0, namespace=text)


def _namespace() -> str:
    try:
        return str(_NAMESPACE.readlink())
    except OSError:
        return ""
