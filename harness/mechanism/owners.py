"""Owners: the harness process that will stop what a run started, and whether it lives."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self

import psutil

from harness.mechanism import identity
from harness.mechanism.identity import Identity

_PROGRAM = "harness"


@dataclass(frozen=True)
class Owner(Identity):
    """A harness process, as a run directory and labels name it."""

    @property
    def unseen(self) -> str:
        """Why nobody can see from here whether it lives; empty if it can be seen."""
        if not self.ticks:
            return "its harness is of another version, and cannot be seen from here to be dead"
        boot, namespace = identity.here()
        if self.boot != boot:
            return (
                "its harness ran on another machine, or before this one was started last, "
                "and cannot be seen from here to be dead"
            )
        if self.namespace != namespace:
            return (
                "its harness is in another PID namespace, as one in a container is, "
                "and cannot be seen from here to be dead"
            )
        return ""

    @property
    def other_boot(self) -> bool:
        """Whether this machine was started since, or it is another one."""
        return self.ticks > 0 and self.boot != identity.here().boot

    @property
    def is_harness(self) -> bool:
        """Whether it is the harness's own program, and none that uses it as a library."""
        try:
            argv = psutil.Process(self.pid).cmdline()
        except psutil.Error:
            return False
        named = any(Path(each).name == _PROGRAM for each in argv[:2])
        return named or any(pair == ("-m", _PROGRAM) for pair in pairwise(argv))

    @property
    def text(self) -> str:
        """For a label."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """From a label; None if it names nobody. One that another version wrote cannot be seen from anywhere."""
        if not text:
            return None
        try:
            found = json.loads(text)
            return cls(int(found["pid"]), int(found["ticks"]), str(found["boot"]), str(found["namespace"]))
        except (TypeError, ValueError, LookupError, RecursionError):
            return cls(pid=0)
