"""What is to be run somewhere, as a scheduler sees it, and where there is room for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Job:
    """A point that is to run.

    Attributes:
        name: Of the point; no two of a run have the same.
        seconds: That it is expected to take.
        devices: Accelerators that it has to itself; of one that shares them, the shares that it has of some.
        cores: Processors of the host that it keeps busy.
        memory: Bytes of the host's memory that it needs.
        suited: Devices that will do; None: all.
        share: Bytes of an accelerator's memory that each share is; 0: it has accelerators to itself.
    """

    name: str
    seconds: float
    devices: int = 0
    cores: int = 0
    memory: int = 0
    suited: frozenset[str] | None = None
    share: int = 0

    @property
    def rank(self) -> tuple[float, float, float, str]:
        """Sorts jobs by who is served first: the longest, of equal ones the widest; names make it the same everywhere.

        What is short fills the gaps at the end, and beside what is wide; a long job that begins last runs alone.
        """
        return -self.seconds, -self.devices, -self.cores, self.name


@dataclass(frozen=True)
class Host:
    """A machine, with what jobs may have of it.

    Attributes:
        name: No two have the same.
        devices: Accelerators, the preferred one first.
        cores: Processors.
        memory: Bytes.
        room: Bytes of an accelerator's memory that jobs may share; nobody shares one that is not named.
        shared: Accelerators that others have a share of: no job can have them to itself.
    """

    name: str
    devices: tuple[str, ...]
    cores: int
    memory: int
    room: Mapping[str, int] = field(default_factory=dict)
    shared: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Placed:
    """A job that runs, or may start now.

    Attributes:
        host: Name of the host.
        devices: That it has there; one of which it has several shares comes as often.
        ends: When it is expected to end, in the seconds of whoever asks.
    """

    job: Job
    host: str
    devices: tuple[str, ...]
    ends: float


def room(job: Job, host: Host, others: Iterable[Placed]) -> tuple[str, ...] | None:
    """The devices that a host can give a job beside ``others``; None where it has no room for the job.

    A job that asks for more processors or memory than the host has gets the whole host: it runs there alone, as it
    would without anybody who counts. Devices are never given twice, but for shares of them.
    """
    beside = [each for each in others if each.host == host.name]
    cores = host.cores - sum(min(each.job.cores, host.cores) for each in beside)
    memory = host.memory - sum(min(each.job.memory, host.memory) for each in beside)
    if min(job.cores, host.cores) > cores or min(job.memory, host.memory) > memory:
        return None
    suited = [device for device in host.devices if job.suited is None or device in job.suited]
    return _shares(job, host, suited, beside) if job.share else _whole(job, host, suited, beside)


def _whole(job: Job, host: Host, suited: Sequence[str], beside: Iterable[Placed]) -> tuple[str, ...] | None:
    taken = {device for each in beside for device in each.devices} | host.shared
    free = [device for device in suited if device not in taken]
    return tuple(free[: job.devices]) if len(free) >= job.devices else None


def _shares(job: Job, host: Host, suited: Sequence[str], beside: Sequence[Placed]) -> tuple[str, ...] | None:
    """Each of another device if there is room, else several of one; of those first that are shared already."""
    whole = {device for each in beside if not each.job.share for device in each.devices}
    in_use = host.shared | {device for each in beside for device in each.devices}
    left = {device: host.room.get(device, 0) for device in suited if device not in whole}
    for each in beside:
        for device in each.devices:
            if device in left:
                left[device] -= each.job.share
    found = list[str]()
    for _ in range(job.devices):
        fitting = [device for device, room_left in left.items() if room_left >= job.share]
        if not fitting:
            return None
        chosen = min(fitting, key=lambda device: (found.count(device), device not in in_use))
        left[chosen] -= job.share
        found.append(chosen)
    return tuple(found)
