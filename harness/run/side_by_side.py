"""Points side by side on this host: each in a harness of its own, on devices that no other point of the run has."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from harness.base.clock import SYSTEM_CLOCK, Clock, Deadline
from harness.base.domain import Device, Platform
from harness.base.errors import HarnessError, Interrupted
from harness.containers.lifecycle import ContainerFailed
from harness.devices import accelerators, device_shares, leases
from harness.devices.leases import Unusable
from harness.fleet import needs
from harness.fleet.jobs import Host, Job, Placed
from harness.fleet.learned import Observed
from harness.fleet.schedule import decide
from harness.host import files, machine, signals
from harness.plan.points import Planned
from harness.reports.result import Result
from harness.run import abandoned, learned_times, occupancy
from harness.run.board import Board
from harness.run.console import Console
from harness.run.point_process import PointProcess
from harness.run.prepare import Options
from harness.run.supervise import Perform, Report, broken, leave_out

_POLL = 0.1
_LOOK_AGAIN = 5.0
"""Seconds after which devices are looked at again: others may have left some."""
_OF_A_HARNESS = 256 << 20
"""Bytes of the host's memory that the harness of a point takes itself: about 120 MiB, more with many samples."""

Command = Callable[[Planned], Sequence[str]]
"""The harness's arguments that run a point, but for its run directory."""


@dataclass(frozen=True)
class Crew:
    """How points are run side by side.

    Attributes:
        platform: Of all of them.
        command: What the harness of a point is told.
        options: How they are run.
        most: Points at a time, as far as there are accelerators; None: as many as there is room for.
        devices: Accelerators that may be used at a time; None: all that this process may use.
    """

    platform: Platform
    command: Command
    options: Options
    most: int | None = None
    devices: int | None = None
    clock: Clock = SYSTEM_CLOCK


def side_by_side(crew: Crew, runs: Path, console: Console) -> Perform:
    """Runs as many points at a time as there is room for. One that breaks is no other's concern."""

    def perform(points: Mapping[int, Planned], report: Report) -> Generator[tuple[int, Result]]:
        for index, each in points.items():
            if each.skip:
                yield index, leave_out(each, each.skip, console)
        todo = {each.id: index for index, each in points.items() if not each.skip}
        board = Board(console, runs, len(todo), crew.clock)
        matrix = _Matrix(crew, runs, console, board, [each for each in points.values() if not each.skip])
        try:
            for each, result in matrix.results():
                with suppress(OSError):  # at the end it is written once more, and said
                    files.write_all(report(todo[each.id])(result))
                board.ended(each, result)
                yield todo[each.id], result
        finally:
            with signals.deferred():
                matrix.end()
            console.clear()

    return perform


@dataclass
class _Matrix:
    """The points of a run, as far as it has come.

    Attributes:
        waiting: By id, what is to run.
        running: By id, what runs, and where.
        ready: Engines of which one point has had made what all points of it need.
    """

    crew: Crew
    runs: Path
    console: Console
    board: Board
    points: Sequence[Planned]
    waiting: dict[str, Job] = field(init=False)
    running: dict[str, tuple[PointProcess, Placed]] = field(default_factory=dict)
    ready: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._own = self.runs.resolve()
        self._pool = accelerators.visible(self.crew.platform)
        self._cores = machine.cores()
        self._cores_of: dict[str, list[int]] = {}
        self._memory = machine.memory()[1]
        known, kind = learned_times.known(), learned_times.kind_here(self.crew.platform)
        self._by_id = {each.id: each for each in known.applied(self.points, kind)}
        self.waiting = {name: self._job(each, known.of(each, kind)) for name, each in self._by_id.items()}

    def _job(self, each: Planned, seen: Observed | None) -> Job:
        """A point as the scheduler sees it. Who says how many run at a time has counted processors and memory."""
        job = needs.job(
            each,
            memory=seen.memory_bytes + _OF_A_HARNESS if seen and seen.memory_bytes else 0,
            suited=self._suited(each),
            share=occupancy.share_of(each.case, self.crew.platform, self._pool),
        )
        return job if self.crew.most is None else replace(job, cores=0, memory=0)

    def _suited(self, each: Planned) -> list[str] | None:
        """Names of the devices that will do for a point; None where too few do, which the point's own harness says."""
        found = [device.name for device in occupancy.suitable(each.case, self._pool)]
        return found if len(found) >= each.least_devices else None

    def results(self) -> Iterator[tuple[Planned, Result]]:
        """Run everything. Yields each point with its verdict, as they come.

        Raises:
            Interrupted: A point was asked to end before it began.
        """
        look_again = Deadline(0.0, self.crew.clock)
        while self.waiting or self.running:
            ended = [name for name, (process, _) in self.running.items() if process.ended]
            for name in ended:
                process, _ = self.running[name]
                result = process.verdict(self.console)
                del self.running[name], self._cores_of[name]
                yield process.each, result
            ready = {process.each.case.engine.name for process, _ in self.running.values() if process.is_ready}
            if self.waiting and (ended or ready - self.ready or look_again.passed):
                self.ready |= ready
                yield from self._start()
                look_again = Deadline(_LOOK_AGAIN, self.crew.clock)
            self.board.show([(process, placed) for process, placed in self.running.values()], waiting=len(self.waiting))
            self.crew.clock.sleep(_POLL)

    def _start(self) -> Iterator[tuple[Planned, Result]]:
        """Start what there is room for; yields what could not be started."""
        host, now = self._host(), self.crew.clock.monotonic()
        decision = decide(self.waiting.values(), [placed for _, placed in self.running.values()], [host], now)
        starts = decision.starts
        if not starts and not self.running:
            # None of ours is in its way: it waits for others, or says what is missing, as it would alone.
            first = min(self.waiting.values(), key=lambda job: job.rank)
            starts = (Placed(first, host.name, (), now + first.seconds),)
        for placed in starts:
            if self.crew.most is not None and len(self.running) >= self.crew.most:
                return
            if self._may_begin(self._by_id[placed.job.name].case.engine.name):
                yield from self._begin(placed)

    def _may_begin(self, engine: str) -> bool:
        """Whether nobody is making what a point of the engine needs too: then it is done once, and found done."""
        return engine in self.ready or all(
            process.each.case.engine.name != engine for process, _ in self.running.values()
        )

    def _host(self) -> Host:
        """What there is for us now: what our points have, and what is free of the rest."""
        ours = {name for _, placed in self.running.values() for name in placed.devices}
        others = [device for device in self._pool if device.name not in ours]
        free = self._free(others)
        sharing = self._free(self._pool, share=1) if any(job.share for job in self.waiting.values()) else []
        free += [device for device in sharing if device not in free and device in others]
        if self.crew.devices is not None:
            free = free[: max(0, self.crew.devices - len(ours))]
        names = ours | {device.name for device in free}
        theirs = {device.name: self._theirs(device) for device in sharing}
        return Host(
            "here",
            tuple(device.name for device in self._pool if device.name in names),
            len(self._cores),
            self._memory,
            {device.name: device_shares.capacity(device) - theirs[device.name] for device in sharing},
            frozenset(name for name, taken in theirs.items() if taken),
        )

    def _theirs(self, device: Device) -> int:
        """Bytes of a device that others have a share of; of ours, some may not have come to that yet."""
        there = leases.shared(device)
        return sum(each.memory_bytes for each in there if Path(each.party.folder).parent != self._own)

    def _free(self, devices: Sequence[Device], share: int = 0) -> list[Device]:
        """Those that can be had, or a share of them; none where that cannot be told: a point that tries to says why."""
        options = self.crew.options
        left = partial(abandoned.removed, note=self.console.line) if options.wait_for_devices else abandoned.of_run
        try:
            return occupancy.free(self.crew.platform, devices, left, assume_free=options.assume_free, share=share)
        except (Unusable, ContainerFailed):
            return []

    def _begin(self, placed: Placed) -> Iterator[tuple[Planned, Result]]:
        """Start the harness of a point; yields the point where that is refused."""
        name, each = placed.job.name, self._by_id[placed.job.name]
        del self.waiting[name]
        devices = list(dict.fromkeys(placed.devices))
        env = accelerators.environment(self.crew.platform, devices) if devices else {}
        cores = self._take_cores(placed.job) if self.crew.platform == "cpu" else []
        try:
            with signals.deferred():  # what was started is known
                process = PointProcess.start(each, self.runs, self.crew.command(each), env, cores)
                self.running[name], self._cores_of[name] = (process, placed), cores
        except (HarnessError, OSError) as error:
            yield each, broken(each, None, error)

    def _take_cores(self, job: Job) -> list[int]:
        """Processors for a point without accelerators: engines that share some wait for each other's threads."""
        taken = {core for cores in self._cores_of.values() for core in cores}
        return [core for core in self._cores if core not in taken][: job.cores]

    def end(self) -> None:
        """End what runs: each stops its servers and writes its verdict. Who does not in time is killed and stopped."""
        there = [process for process, _ in self.running.values()]
        for process in there:
            process.child.send(signal.SIGTERM)
        limit = Deadline(max((process.ending for process in there), default=0.0), self.crew.clock)
        while not all(process.ended for process in there) and not limit.passed:
            self.crew.clock.sleep(_POLL)
        for process in there:
            if not process.ended:
                process.child.send(signal.SIGKILL)
                process.child.process.wait()
            with suppress(Interrupted):  # nothing had begun
                self.board.ended(process.each, process.verdict(self.console))
