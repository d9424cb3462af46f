"""Where points run side by side: on this host, or wherever else there are hosts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from harness.base.domain import Device, Platform
from harness.containers.lifecycle import ContainerFailed
from harness.devices import accelerators, device_shares, leases
from harness.devices.leases import Unusable
from harness.fleet.jobs import Host, Job, Placed
from harness.host import machine
from harness.plan.points import Planned
from harness.run import abandoned, learned_times, occupancy
from harness.run.point_process import PointProcess
from harness.run.prepare import Options

_HERE = ""
"""Name of this host: where it is the only one, it needs none."""

Command = Callable[[Planned], Sequence[str]]
"""The harness's arguments that run a point, but for its run directory."""


class Places(Protocol):
    """The hosts of a run."""

    @property
    def kind(self) -> str | None:
        """Of the devices there, in the words in which runs on them are learned from; None: of several kinds."""

    def hosts(self, running: Sequence[Placed], *, sharing: bool) -> list[Host]:
        """What there is for us now: what our points have, and what is free of the rest.

        Args:
            running: Our points.
            sharing: Whether shares of accelerators count, for a point that waits for some.
        """

    def suited(self, each: Planned) -> list[str] | None:
        """Names of the devices that will do for a point; None: it is for the point itself to say what is missing."""

    def share_of(self, each: Planned) -> int:
        """Bytes of an accelerator that each server of a point is content with; 0: it has its accelerators to itself."""

    def alone(self, job: Job) -> str | None:
        """Name of the host that a job goes to for which there is no room, though nothing of ours runs; None: not yet.

        Raises:
            CannotJudge: Nowhere.
        """

    def begin(self, each: Planned, placed: Placed, earlier: Sequence[str]) -> PointProcess | None:
        """Start the harness of a point; None where there is no room for it after all.

        Args:
            each: The point.
            placed: Where, and on which devices.
            earlier: Why it did not come to its end where it was before.

        Raises:
            HarnessError: It cannot be started.
            OSError: The same.
        """

    def ended(self, name: str) -> None:
        """Let others have what a point had."""

    def close(self) -> None:
        """Nothing more runs there."""


@dataclass
class Here:
    """This host.

    Attributes:
        platform: Of all points.
        command: What the harness of a point is told.
        options: How points are run.
        runs: Folder of the run directories.
        devices: Accelerators that may be used at a time; None: all that this process may use.
        note: Called with what was removed to make room.
    """

    platform: Platform
    command: Command
    options: Options
    runs: Path
    devices: int | None
    note: Callable[[str], None]
    _cores_of: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._pool = accelerators.visible(self.platform)
        self._cores = machine.cores()
        self._memory = machine.memory()[1]
        self.kind: str | None = learned_times.kind_here(self.platform)

    def hosts(self, running: Sequence[Placed], *, sharing: bool) -> list[Host]:
        ours = {name for placed in running for name in placed.devices}
        others = [device for device in self._pool if device.name not in ours]
        free = self._free(others)
        shared = self._free(self._pool, share=1) if sharing else []
        free += [device for device in shared if device not in free and device in others]
        if self.devices is not None:
            free = free[: max(0, self.devices - len(ours))]
        names = ours | {device.name for device in free}
        theirs = {device.name: self._theirs(device) for device in shared}
        return [
            Host(
                _HERE,
                tuple(device.name for device in self._pool if device.name in names),
                len(self._cores),
                self._memory,
                {device.name: device_shares.capacity(device) - theirs[device.name] for device in shared},
                frozenset(name for name, taken in theirs.items() if taken),
            )
        ]

    def _theirs(self, device: Device) -> int:
        """Bytes of a device that others have a share of; of ours, some may not have come to that yet."""
        own = self.runs.resolve()
        return sum(each.memory_bytes for each in leases.shared(device) if Path(each.party.folder).parent != own)

    def _free(self, devices: Sequence[Device], share: int = 0) -> list[Device]:
        """Those that can be had, or a share of them; none where that cannot be told: a point that tries to says why."""
        options = self.options
        left = partial(abandoned.removed, note=self.note) if options.wait_for_devices else abandoned.of_run
        try:
            return occupancy.free(self.platform, devices, left, assume_free=options.assume_free, share=share)
        except (Unusable, ContainerFailed):
            return []

    def share_of(self, each: Planned) -> int:
        return occupancy.share_of(each.case, self.platform, self._pool)

    def suited(self, each: Planned) -> list[str] | None:
        found = [device.name for device in occupancy.suitable(each.case, self._pool)]
        return found if len(found) >= each.least_devices else None

    def alone(self, job: Job) -> str:  # noqa: ARG002 # there is one host, whatever the job
        return _HERE  # it waits for others, or says what is missing, as it would alone

    def begin(self, each: Planned, placed: Placed, earlier: Sequence[str]) -> PointProcess:
        assert not earlier, "this host is the only one"
        devices = list(dict.fromkeys(placed.devices))
        env: Mapping[str, str] = accelerators.environment(self.platform, devices) if devices else {}
        cores = self._take_cores(placed.job) if self.platform == "cpu" else []
        process = PointProcess.start(each, self.runs, self.command(each), env, cores)
        self._cores_of[each.id] = cores
        return process

    def _take_cores(self, job: Job) -> list[int]:
        """Processors for a point without accelerators: engines that share some wait for each other's threads."""
        taken = {core for cores in self._cores_of.values() for core in cores}
        return [core for core in self._cores if core not in taken][: job.cores]

    def ended(self, name: str) -> None:
        del self._cores_of[name]

    def close(self) -> None:
        pass
