"""A matrix run with the real scheduler and no machine: how long it takes, and how long it must."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.fleet.jobs import Host, Job, Placed, room
from harness.fleet.schedule import Reserved, decide


@dataclass(frozen=True)
class Ran:
    """A job of a simulation, with seconds since its beginning."""

    placed: Placed
    began: float
    ended: float


@dataclass(frozen=True)
class Simulated:
    """What came out.

    Attributes:
        ran: Every job, as they began.
        promises: Every reservation that was made, in order.
    """

    ran: tuple[Ran, ...]
    promises: tuple[Reserved, ...]

    @property
    def makespan(self) -> float:
        """Seconds until the last job has ended."""
        return max((each.ended for each in self.ran), default=0.0)


def simulate(
    jobs: Sequence[Job], hosts: Sequence[Host], takes: Callable[[Job], float] = lambda job: job.seconds
) -> Simulated:
    """Run all jobs, decided anew whenever one ends, as the scheduler is asked in a real run.

    Args:
        jobs: What is to run. What fits on no host is left out.
        hosts: Where.
        takes: Seconds that a job really takes, whatever is expected of it.
    """
    waiting = [job for job in jobs if any(room(job, host, ()) is not None for host in hosts)]
    now, running, ran, promises = 0.0, list[Ran](), list[Ran](), list[Reserved]()
    while waiting or running:
        decision = decide(waiting, [each.placed for each in running], hosts, now)
        promises += [decision.reserved] if decision.reserved else []
        begun = [Ran(placed, now, now + takes(placed.job)) for placed in decision.starts]
        started = {each.placed.job.name for each in begun}
        waiting = [job for job in waiting if job.name not in started]
        running += begun
        ran += begun
        now = min(each.ended for each in running)
        running = [each for each in running if each.ended > now]
    return Simulated(tuple(ran), tuple(promises))


def lower_bound(jobs: Sequence[Job], hosts: Sequence[Host]) -> float:
    """Seconds that no schedule can do without, for hosts that are all alike: the largest of

    - all device-seconds over all devices, those of a share as the part of the device that it is,
    - the longest job,
    - what needs more than half of a host's devices, over the hosts: no two of these run on one host at a time.
    """
    width = max((len(host.devices) for host in hosts), default=0)
    devices = sum(len(host.devices) for host in hosts)
    most = max((room for host in hosts for room in host.room.values()), default=0)
    area = sum(job.seconds * job.devices * _part(job, most) for job in jobs) / devices if devices else 0.0
    whole = [job for job in jobs if not job.share]
    alone = sum(job.seconds for job in whole if 2 * job.devices > width) / len(hosts) if hosts else 0.0
    return max(area, alone, max((job.seconds for job in jobs), default=0.0))


def _part(job: Job, most: int) -> float:
    """Of a device that a job has, or has a share of."""
    return job.share / most if job.share and most else 1.0
