"""What is to be run somewhere, as a scheduler sees it, and where there is room for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """A point that is to run.

    Attributes:
        name: Of the point; no two of a run have the same.
        seconds: That it is expected to take.
        devices: Accelerators that it has to itself.
        cores: Processors of the host that it keeps busy.
        memory: Bytes of the host's memory that it needs.
        suited: Devices that will do; None: all.
    """

    name: str
    seconds: float
    devices: int = 0
    cores: int = 0
    memory: int = 0
    suited: frozenset[str] | None = None

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
    """

    name: str
    devices: tuple[str, ...]
    cores: int
    memory: int


@dataclass(frozen=True)
class Placed:
    """A job that runs, or may start now.

    Attributes:
        host: Name of the host.
        devices: That it has there.
        ends: When it is expected to end, in the seconds of whoever asks.
    """

    job: Job
    host: str
    devices: tuple[str, ...]
    ends: float


def room(job: Job, host: Host, others: Iterable[Placed]) -> tuple[str, ...] | None:
    """The devices that a host can give a job beside ``others``; None where it has no room for the job.

    A job that asks for more processors or memory than the host has gets the whole host: it runs there alone, as it
    would without anybody who counts. Devices are never given twice.
    """
    beside = [each for each in others if each.host == host.name]
    taken = {device for each in beside for device in each.devices}
    free = [device for device in host.devices if device not in taken and (job.suited is None or device in job.suited)]
    cores = host.cores - sum(min(each.job.cores, host.cores) for each in beside)
    memory = host.memory - sum(min(each.job.memory, host.memory) for each in beside)
    if len(free) < job.devices or min(job.cores, host.cores) > cores or min(job.memory, host.memory) > memory:
        return None
    return tuple(free[: job.devices])
