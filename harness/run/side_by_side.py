"""Points side by side: each in a harness of its own, on devices that no other point of the run has."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.base.clock import SYSTEM_CLOCK, Clock, Deadline
from harness.base.errors import HarnessError, Interrupted
from harness.fleet import needs
from harness.fleet.jobs import Job, Placed
from harness.fleet.learned import Observed
from harness.fleet.schedule import decide
from harness.host import files, signals
from harness.hosts.node import NodeLost
from harness.plan.points import Planned
from harness.reports.result import Result
from harness.run import learned_times
from harness.run.board import Board
from harness.run.console import Console
from harness.run.places import Places
from harness.run.point_process import PointProcess
from harness.run.supervise import Perform, Report, broken, leave_out

_POLL = 0.1
_LOOK_AGAIN = 5.0
"""Seconds after which hosts are looked at again: others may have left some of their devices."""
_OF_A_HARNESS = 256 << 20
"""Bytes of the host's memory that the harness of a point takes itself: about 120 MiB, more with many samples."""
_MOST_LOSSES = 3
"""Hosts that a point may lose: beyond that it is likely what brings them down."""
_LOST = "lost-{}"
"""Folder for what is here of the run directories of points whose host was lost once, twice, ..."""


@dataclass(frozen=True)
class Crew:
    """How points are run side by side.

    Attributes:
        places: Makes the hosts where they run, from the folder of the run directories and whom to say what is found.
        most: Points at a time, as far as there are accelerators; None: as many as there is room for.
    """

    places: Callable[[Path, Callable[[str], None]], Places]
    most: int | None = None
    clock: Clock = SYSTEM_CLOCK


def side_by_side(crew: Crew, runs: Path, console: Console) -> Perform:
    """Runs as many points at a time as there is room for. One that breaks is no other's concern."""

    def perform(points: Mapping[int, Planned], report: Report) -> Generator[tuple[int, Result]]:
        for index, each in points.items():
            if each.skip:
                yield index, leave_out(each, each.skip, console)
        todo = {each.id: index for index, each in points.items() if not each.skip}
        if not todo:
            return
        board = Board(console, runs, len(todo), crew.clock)
        places = crew.places(runs, console.line)
        matrix = _Matrix(crew, places, runs, console, board, [each for each in points.values() if not each.skip])
        try:
            for each, result in matrix.results():
                with suppress(OSError):  # at the end it is written once more, and said
                    files.write_all(report(todo[each.id])(result))
                board.ended(each, result)
                yield todo[each.id], result
        finally:
            with signals.deferred():
                matrix.end()
                places.close()
            console.clear()

    return perform


@dataclass
class _Matrix:
    """The points of a run, as far as it has come.

    Attributes:
        waiting: By id, what is to run.
        running: By id, what runs, and where.
        ready: Engines, and hosts, of which one point has had made what all points of that engine need there.
        lost: By id, why a point did not come to its end where it was before.
    """

    crew: Crew
    places: Places
    runs: Path
    console: Console
    board: Board
    points: Sequence[Planned]
    waiting: dict[str, Job] = field(init=False)
    running: dict[str, tuple[PointProcess, Placed]] = field(default_factory=dict)
    ready: set[tuple[str, str]] = field(default_factory=set)
    lost: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known, kind = learned_times.known(), self.places.kind
        self._by_id = {each.id: each for each in known.applied(self.points, kind)}
        self.jobs = {name: self._job(each, known.of(each, kind)) for name, each in self._by_id.items()}
        self.waiting = dict(self.jobs)

    def _job(self, each: Planned, seen: Observed | None) -> Job:
        """A point as the scheduler sees it. Who says how many run at a time has counted processors and memory."""
        job = needs.job(
            each,
            memory=seen.memory_bytes + _OF_A_HARNESS if seen and seen.memory_bytes else 0,
            suited=self.places.suited(each),
            share=self.places.share_of(each),
        )
        return job if self.crew.most is None else replace(job, cores=0, memory=0)

    def results(self) -> Iterator[tuple[Planned, Result]]:
        """Run everything. Yields each point with its verdict, as they come.

        Raises:
            Interrupted: A point was asked to end before it began.
        """
        look_again = Deadline(0.0, self.crew.clock)
        while self.waiting or self.running:
            ended = [name for name, (process, _) in self.running.items() if process.ended]
            for name in ended:
                yield from self._ended(name)
            ready = {
                (process.each.case.engine.name, placed.host)
                for process, placed in self.running.values()
                if process.is_ready
            }
            if self.waiting and (ended or ready - self.ready or look_again.passed):
                self.ready |= ready
                yield from self._start()
                look_again = Deadline(_LOOK_AGAIN, self.crew.clock)
            self.board.show([(process, placed) for process, placed in self.running.values()], waiting=len(self.waiting))
            self.crew.clock.sleep(_POLL)

    def _ended(self, name: str) -> Iterator[tuple[Planned, Result]]:
        """The verdict on a point that has ended; none where its host is gone, and it runs again elsewhere."""
        process, _ = self.running[name]
        result: Result | None
        try:
            result = process.verdict(self.console)
        except NodeLost as error:
            result = self._lost(process, error)
        except (HarnessError, OSError) as error:
            result = broken(process.each, process.path, error)
        self.places.ended(name)
        del self.running[name]
        if result:
            yield process.each, result

    def _lost(self, process: PointProcess, error: NodeLost) -> Result | None:
        """Let a point run again, which has no verdict: with its host it lost all that was to be judged."""
        name = process.each.id
        said = self.lost.setdefault(name, [])
        said.append(f"infrastructure: {error}")
        self.console.line(f"{name}: {said[-1]}")
        if len(said) >= _MOST_LOSSES:
            return broken(process.each, process.path, error)
        if process.path.is_dir():
            beside = self.runs / _LOST.format(len(said))
            beside.mkdir(exist_ok=True)
            process.path.rename(beside / process.path.name)
        self.waiting[name] = self.jobs[name]
        return None

    def _start(self) -> Iterator[tuple[Planned, Result]]:
        """Start what there is room for; yields what could not be started."""
        busy, now = [placed for _, placed in self.running.values()], self.crew.clock.monotonic()
        hosts = self.places.hosts(busy, sharing=any(job.share for job in self.waiting.values()))
        starts = decide(self.waiting.values(), busy, hosts, now).starts
        if not starts and not self.running:
            # None of ours is in its way.
            first = min(self.waiting.values(), key=lambda job: job.rank)
            try:
                alone = self.places.alone(first)
            except HarnessError as error:
                del self.waiting[first.name]
                yield self._by_id[first.name], broken(self._by_id[first.name], None, error)
                return
            starts = () if alone is None else (Placed(first, alone, (), now + first.seconds),)
        for placed in starts:
            if self.crew.most is not None and len(self.running) >= self.crew.most:
                return
            if self._may_begin(self._by_id[placed.job.name].case.engine.name, placed.host):
                yield from self._begin(placed)

    def _may_begin(self, engine: str, host: str) -> bool:
        """Whether nobody is making there what a point of the engine needs too: then it is done once, and found done."""
        return (engine, host) in self.ready or all(
            (process.each.case.engine.name, placed.host) != (engine, host) for process, placed in self.running.values()
        )

    def _begin(self, placed: Placed) -> Iterator[tuple[Planned, Result]]:
        """Start the harness of a point; yields the point where that is refused."""
        name, each = placed.job.name, self._by_id[placed.job.name]
        try:
            with signals.deferred():  # what was started is known
                process = self.places.begin(each, placed, self.lost.get(name, ()))
                if process:
                    del self.waiting[name]
                    self.running[name] = process, placed
        except (HarnessError, OSError) as error:
            self.waiting.pop(name, None)
            yield each, broken(each, None, error)

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
                process.child.kill()
            with suppress(Interrupted, NodeLost):  # nothing had begun, or nothing came back
                self.board.ended(process.each, process.verdict(self.console))
