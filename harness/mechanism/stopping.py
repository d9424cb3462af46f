"""Stopping what was started, and proving that it is gone."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import psutil

from harness.ground.clock import SYSTEM_CLOCK, Clock, Deadline
from harness.mechanism import ports, processes

_KILL_WAIT = 5.0
_ORPHAN_WAIT = 1.0  # a child may need a moment to notice that its parent is gone


@dataclass(frozen=True)
class Stopped:
    """How stopping went.

    Attributes:
        killed: Processes that needed SIGKILL, as ``name (pid)``.
        leaked: Processes that had left their server's process group and were still there, as ``command (pid)``.
        alive: Processes that survived SIGKILL.
        busy_ports: Ports that nobody else can use yet.
    """

    killed: tuple[str, ...] = ()
    leaked: tuple[str, ...] = ()
    alive: tuple[str, ...] = ()
    busy_ports: tuple[int, ...] = ()


def stop(
    servers: Sequence[processes.Started],
    used_ports: Sequence[int],
    run_id: str,
    grace: float,
    clock: Clock = SYSTEM_CLOCK,
) -> Stopped:
    """SIGTERM, wait, SIGKILL for the groups of ``servers``; then whatever else carries the label of the run.

    Args:
        servers: What was started.
        used_ports: What must be free afterwards.
        run_id: In the labels to look for.
        grace: Seconds between SIGTERM and SIGKILL.
        clock: For waiting.
    """

    def gone(find: Callable[[], Iterable[psutil.Process]], seconds: float) -> bool:
        deadline = Deadline(seconds, clock)
        while any(True for _ in find()):
            if deadline.passed:
                return False
            clock.sleep(0.1)
        return True

    def groups() -> list[psutil.Process]:
        return processes.in_groups(servers)

    def ours() -> list[psutil.Process]:
        return list({*processes.in_groups(servers), *processes.labelled(run_id)})

    killed: tuple[str, ...] = ()
    processes.send(groups(), signal.SIGTERM)
    if not gone(groups, grace):
        stubborn = groups()
        killed = tuple(processes.describe(process) for process in stubborn)
        processes.send(stubborn, signal.SIGKILL)
        gone(groups, _KILL_WAIT)
    gone(lambda: processes.labelled(run_id), _ORPHAN_WAIT)
    escaped = processes.labelled(run_id)
    leaked = tuple(processes.describe(process) for process in escaped)
    processes.send(escaped, signal.SIGKILL)
    gone(ours, _KILL_WAIT)
    alive = tuple(processes.describe(process) for process in ours())
    busy = tuple(port for port in used_ports if not ports.is_free(port))
    return Stopped(killed, leaked, alive, busy)
