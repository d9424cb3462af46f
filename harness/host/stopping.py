"""Stopping what was started, and proving that it is gone."""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from harness.base.clock import SYSTEM_CLOCK, Clock, Deadline
from harness.host import ports, processes
from harness.host.identity import Identity, describe, send
from harness.host.ownership import Label, Ours

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
        unproven: Servers on record without a label, which cannot be proven to be ours and were left alone.
    """

    killed: tuple[str, ...] = ()
    leaked: tuple[str, ...] = ()
    alive: tuple[str, ...] = ()
    busy_ports: tuple[int, ...] = ()
    unproven: tuple[str, ...] = ()


def stop(
    servers: Sequence[processes.Started],
    used_ports: Sequence[int],
    label: Label,
    grace: float,
    clock: Clock = SYSTEM_CLOCK,
) -> Stopped:
    """SIGTERM, wait, SIGKILL for the groups of ``servers``; then whatever else is the run's.

    Args:
        servers: What was started.
        used_ports: What must be free afterwards.
        label: Of the run.
        grace: Seconds between SIGTERM and SIGKILL.
        clock: For waiting.
    """
    run = Ours(servers, label)

    def groups() -> Collection[Identity]:
        return run.look().grouped

    def escaped() -> Collection[Identity]:
        return run.look().escaped

    def everything() -> Collection[Identity]:
        return run.look().everything

    def gone(find: Callable[[], Collection[Identity]], seconds: float) -> bool:
        deadline = Deadline(seconds, clock)
        while find():
            if deadline.passed:
                return False
            clock.sleep(0.1)
        return True

    killed: tuple[str, ...] = ()
    send(groups(), signal.SIGTERM)
    if not gone(groups, grace):
        stubborn = groups()
        killed = _named(stubborn)
        send(stubborn, signal.SIGKILL)
        gone(groups, _KILL_WAIT)
    gone(escaped, _ORPHAN_WAIT)
    leaked = escaped()
    names = _named(leaked)
    send(leaked, signal.SIGKILL)
    gone(everything, _KILL_WAIT)
    last = run.look()
    processes.collect()
    busy = tuple(port for port in used_ports if not ports.is_free(port))
    return Stopped(killed, names, _named(last.everything), busy, _named(last.unproven))


def _named(found: Collection[Identity]) -> tuple[str, ...]:
    return tuple(describe(each) for each in sorted(found, key=lambda each: each.pid))
