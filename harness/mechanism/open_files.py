"""How many files this process may have open: a connection is one."""

from __future__ import annotations

import resource
from pathlib import Path

_SPARE = 32  # logs, the event loop, the files of the run directory

_OPEN = Path("/proc/self/fd")


def allow(connections: int) -> tuple[int, int]:
    """Raise the soft limit to the hard one, for this process and those that it starts from now on.

    Returns:
        How many files may be open, and how many are needed for so many connections beside what is open already.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    there = sum(1 for _ in _OPEN.iterdir()) if _OPEN.is_dir() else _SPARE
    return (hard if hard != resource.RLIM_INFINITY else 1 << 30), connections + there + _SPARE
