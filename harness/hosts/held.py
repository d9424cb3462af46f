"""A program that ends with whoever had it started: with its whole group, and however that one ends.

Ray kills the processes that a worker has started when the worker ends, but not what those have started in turn, and
gives nobody the time to stop anything. So the program's parent is one that Ray does not know: a process that waits for
the end of its standard input, whose other end the worker holds.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.base.clock import SYSTEM_CLOCK, Deadline
from harness.host.processes import Child

_POLL = 0.1
_NOT_STARTED = 127
"""Exit status of a program that could not be started, as shells have it."""


@dataclass(frozen=True)
class Order:
    """What is to be started, and how it is ended.

    Attributes:
        argv: Program and arguments.
        env: Its environment, whole.
        folder: Where it runs.
        log: File that its output is appended to.
        grace: Seconds between SIGTERM and SIGKILL.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    folder: str
    log: str
    grace: float

    def line(self) -> bytes:
        """For standard input: an environment may hold what no list of processes shows."""
        return json.dumps(asdict(self)).encode() + b"\n"


def signal_line(number: signal.Signals) -> bytes:
    """What asks for a signal to the program's group."""
    return b"%d\n" % number


def hold() -> int:
    """Start what the first line of standard input says, and end it when there are no more lines.

    Returns its exit status; ends of the signal that the program ended of.
    """
    guard = os.fork()
    status = os.waitstatus_to_exitcode(os.waitpid(guard, 0)[1]) if guard else _guarded()
    if status < 0:
        with suppress(OSError):  # SIGKILL has no handler
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def _guarded() -> int:
    lines = _Lines(sys.stdin.fileno())
    while not (first := lines.read()) and not lines.ended:
        pass
    if not first:
        return 0  # whoever wanted it is gone already
    order = Order(**json.loads(first[0]))
    try:
        child = Child.program(order.argv, env=order.env, folder=Path(order.folder), log=Path(order.log))
    except OSError as error:
        with suppress(OSError), Path(order.log).open("a") as log:
            log.write(f"{order.argv[0]}: {error.strerror}\n")
        return _NOT_STARTED
    for line in first[1:]:
        _send(child, signal.Signals(int(line)))
    while not _has_ended(child) and not lines.ended:
        for line in lines.read():
            _send(child, signal.Signals(int(line)))
    _send(child, signal.SIGTERM)
    limit = Deadline(order.grace)
    while not _has_ended(child) and not limit.passed:
        SYSTEM_CLOCK.sleep(_POLL)
    _send(child, signal.SIGKILL)
    return child.process.wait()


class _Lines:
    """Lines of a pipe as they come."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._rest = b""
        self.ended = False

    def read(self) -> list[bytes]:
        """Those that are whole, after waiting for a moment; none may be."""
        ready, _, _ = select.select([self._pipe], [], [], _POLL)
        if ready:
            chunk = os.read(self._pipe, 1 << 16)
            self.ended = not chunk
            self._rest += chunk
        *whole, self._rest = self._rest.split(b"\n")
        return whole


def _send(child: Child, number: signal.Signals) -> None:
    """To the group, whose id nobody else gets before its leader is collected."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.process.pid, number)


def _has_ended(child: Child) -> bool:
    return os.waitid(os.P_PID, child.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
