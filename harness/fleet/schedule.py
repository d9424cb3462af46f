"""Which jobs start now: the longest first, and what is narrow ahead of what is wide only where that waits no longer.

EASY backfilling (Lifka, "The ANL/IBM SP scheduling system", 1995): the first job for which there is no room gets a
reservation, at the earliest moment at which there will be, as far as running jobs are expected to end. A job behind it
may go ahead only if that moment stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.fleet.jobs import Host, Job, Placed, room


@dataclass(frozen=True)
class Reserved:
    """What the first job that has to wait is promised.

    Attributes:
        host: Name of the host.
        at: When there is room for it, unless running jobs take longer than expected.
    """

    job: Job
    host: str
    at: float


@dataclass(frozen=True)
class Decision:
    """What happens now.

    Attributes:
        starts: Jobs to be started, in order.
        reserved: For the first one that has to wait; None if none has to, or none has a chance.
    """

    starts: tuple[Placed, ...]
    reserved: Reserved | None


def decide(waiting: Iterable[Job], running: Sequence[Placed], hosts: Sequence[Host], now: float) -> Decision:
    """Which of the waiting jobs start now. Depends on no order of what is given.

    Args:
        waiting: What is to run. A job for which no host has room, however empty, is passed over: it blocks nobody.
        running: What runs. A job that should have ended counts as one that ends now.
        hosts: Where.
        now: In the seconds of :attr:`Placed.ends`.
    """
    busy = list(running)
    starts = list[Placed]()
    reserved: Reserved | None = None
    for job in sorted(waiting, key=lambda each: each.rank):
        chosen = _place(job, busy, hosts, now, reserved)
        if chosen is not None:
            busy.append(chosen)
            starts.append(chosen)
        elif reserved is None:
            reserved = _reserve(job, busy, hosts, now)
    return Decision(tuple(starts), reserved)


def _place(
    job: Job, busy: Sequence[Placed], hosts: Iterable[Host], now: float, reserved: Reserved | None
) -> Placed | None:
    """The job on the host where it leaves the fewest devices over, so that wide jobs find whole hosts."""
    found = [
        (len(host.devices) - _taken(host, busy), host.name, placed)
        for host in hosts
        if (devices := room(job, host, busy)) is not None
        for placed in [Placed(job, host.name, devices, now + job.seconds)]
        if reserved is None or host.name != reserved.host or not _delays(placed, host, busy, reserved)
    ]
    return min(found, key=lambda each: each[:2])[2] if found else None


def _taken(host: Host, busy: Iterable[Placed]) -> int:
    return len({device for each in busy if each.host == host.name for device in each.devices} | host.shared)


def _delays(placed: Placed, host: Host, busy: Iterable[Placed], reserved: Reserved) -> bool:
    """Whether there would be no room for the reserved job at its time any more."""
    if placed.ends <= reserved.at:
        return False
    then = [each for each in busy if each.ends > reserved.at]
    return room(reserved.job, host, [*then, placed]) is None


def _reserve(job: Job, busy: Sequence[Placed], hosts: Iterable[Host], now: float) -> Reserved | None:
    """The earliest moment at which a host has room for the job; None if none ever has."""
    found = []
    for host in hosts:
        ends = sorted({max(now, each.ends) for each in busy if each.host == host.name})
        for at in ends:
            if room(job, host, [each for each in busy if each.ends > at]) is not None:
                found.append(Reserved(job, host.name, at))
                break
    return min(found, key=lambda each: (each.at, each.host), default=None)
