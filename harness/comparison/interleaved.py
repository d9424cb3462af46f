"""Two builds started in turns, A B B A, on the same devices, and what comes of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path

from harness import __version__
from harness.base.clock import utc_now
from harness.base.domain import Outcome
from harness.base.errors import CannotJudge, HarnessError, Interrupted, NothingSelected
from harness.comparison.comparison_record import FILE, BuildRecord, CaseRecord, Comparison, StartRecord, begun
from harness.comparison.losses import Shown, findings, texts
from harness.comparison.named_builds import Build
from harness.comparison.observed import Observed, observed
from harness.comparison.quantities import Quantity
from harness.host import files, signals
from harness.plan.points import Planned
from harness.run import measured_on
from harness.run.console import Console
from harness.run.point_run import point_run
from harness.run.reap import clear
from harness.run.rundir import RunDir
from harness.statistics.interleaved_starts import interleaved

LETTERS = ("A", "B")


@dataclass
class Interleaved:
    """One comparison. What is finished is on the disk after every start.

    Attributes:
        builds: The first one is what the second is compared with.
        rounds: A B B A, so many times.
        warm_up: Start each build once before, which counts for nothing.
        quantities: What is compared, by name.
        false_alarm: How often equal builds are called worse in anything of a case, at most.
        folder: Of everything.
        console: For people.
        report: Told of each case that is over.
    """

    builds: tuple[Build, Build]
    rounds: int
    warm_up: bool
    quantities: Mapping[str, Quantity]
    false_alarm: float
    folder: Path
    console: Console
    report: Callable[[Comparison, CaseRecord], None]
    record: Comparison = field(init=False)

    def __post_init__(self) -> None:
        self.record = Comparison(
            harness=__version__,
            started=utc_now().isoformat(timespec="seconds"),
            rounds=self.rounds,
            warm_up=self.warm_up,
            false_alarm=self.false_alarm,
            margins={name: each.margin for name, each in self.quantities.items()},
            builds={
                "A": BuildRecord(spelling=self.builds[0].spelling, flags=self.builds[0].flags),
                "B": BuildRecord(spelling=self.builds[1].spelling, flags=self.builds[1].flags),
            },
        )

    def go_on(self) -> None:
        """Take up the comparison that was begun in the folder, if one was: no start that was measured is repeated.

        Raises:
            UsageError: It is another one, or its file is damaged.
            CannotJudge: What a killed run left cannot be ended.
        """
        if (found := begun(self.folder, self.record)) is not None:
            clear(self.folder)
            self.record = found
            self.console.line(f"going on after {sum(len(each.starts) for each in found.cases)} starts")

    def run(self, points: Sequence[Planned]) -> Comparison:
        """Compare the builds on every point, whatever becomes of the others.

        Raises:
            Interrupted: A signal ended it; what was finished is written.
        """
        for point in points:
            if point.skip:
                self.console.line(f"skipped {point.id}: {point.skip}")
                continue
            known = self.record.of(point.id) or CaseRecord(case=point.id, platform=point.platform)
            if not known.findings:
                self._case(point, known)
            self.report(self.record, self.record.of(point.id) or known)
        return self.record

    def _case(self, point: Planned, known: CaseRecord) -> None:
        others = tuple(each for each in self.record.cases if each.case != point.id)
        self.record = self.record.model_copy(update={"cases": (*others, known.model_copy(update={"broken": ""}))})
        began, shown = time.monotonic(), list[Shown]()

        def seconds() -> float:
            return round(known.seconds + time.monotonic() - began, 1)

        try:
            self._starts(point, known.starts, shown)
        except Interrupted:
            with signals.deferred():
                self._update(broken="interrupted", seconds=seconds())
                self.report(self.record, self.record.cases[-1])
            raise
        except HarnessError as error:
            self._update(broken=str(error), seconds=seconds())
        else:
            found = tuple(findings(shown, self.quantities, self.false_alarm))
            self._update(findings=found, texts=texts(shown), seconds=seconds())

    def _starts(self, point: Planned, done: Sequence[StartRecord], shown: list[Shown]) -> None:
        """Make every start that is not done yet, and put what all of them showed into ``shown``."""
        warm = [(-1, False), (-1, True)] if self.warm_up else []
        order = [*warm, *interleaved(self.rounds)]
        for number, (of_round, second) in enumerate(order, 1):
            letter = LETTERS[second]
            if number <= len(done):
                if of_round >= 0:
                    found = observed(RunDir.existing(self.folder / done[number - 1].folder))
                    shown.append(Shown(of_round, second, found))
                continue
            self.console.line(
                f"{point.id}: start {number} of {len(order)}, build {letter} ({self.builds[second].name})"
            )
            into = _new(self.folder / point.folder / f"{number:02}-{letter}")
            rundir, found = measured(point, into, self.builds[second], self.console)
            if of_round >= 0:
                shown.append(Shown(of_round, second, found))
                _require_alike(shown)
            self._started(rundir, letter, of_round, found)

    def _started(self, rundir: RunDir, letter: str, of_round: int, found: Observed) -> None:
        prepared = rundir.prepared()
        start = StartRecord.model_validate(
            {
                "build": letter,
                "round": of_round + 1,
                "folder": str(rundir.path.relative_to(self.folder.resolve())),
                "accuracy": sum(found.right.values()) / len(found.right) if found.right else None,
                "acceptance_length": found.accepted.length if found.accepted else None,
                "speeds": dict(found.speeds),
            }
        )
        builds = {
            name: each.model_copy(update={"engine": found.engine}) if name == letter else each
            for name, each in self.record.builds.items()
        }
        self.record = self.record.model_copy(update={"builds": builds, "host": dict(prepared.host)})
        self._update(starts=(*self.record.cases[-1].starts, start), device=measured_on.device(prepared))

    def _update(self, **changes: object) -> None:
        """Change what is on record of the case that runs, and write all of it."""
        *done, last = self.record.cases
        case = last.model_copy(update=changes)
        self.record = self.record.model_copy(update={"cases": (*done, case)})
        files.write(self.folder / FILE, self.record.model_dump_json(indent=2) + "\n")


def _new(path: Path) -> Path:
    """The path, or where a start that was killed has it, one beside it."""
    names = chain([path], (path.with_name(f"{path.name}-{again}") for again in count(2)))
    return next(each for each in names if not each.exists())


def measured(point: Planned, into: Path, build: Build, console: Console) -> tuple[RunDir, Observed]:
    """One start of a build, measured only.

    Raises:
        CannotJudge: It could not be measured; the console has said why.
        Interrupted: A signal ended it; everything is stopped.
    """
    rundir, result = point_run(point, into, build.options, console)
    if result is not None and result.outcome is Outcome.SKIPPED:
        raise NothingSelected(f"{point.id} does not exist on build {build.name}: {result.checks[0].message}")
    if result is None or result.outcome is not Outcome.MEASURED:
        said = "left no verdict" if result is None else f"is {result.outcome}"
        raise CannotJudge(f"{point.id} on build {build.name} {said}", cause=f"run directory {rundir.path}")
    return rundir, observed(rundir)


def _require_alike(shown: Sequence[Shown]) -> None:
    """Raise unless all starts were asked the same on the same devices.

    Raises:
        CannotJudge: They were not.
    """
    for what, values in (
        ("what was asked", {each.observed.asked for each in shown}),
        ("the devices", {each.observed.devices for each in shown}),
    ):
        if len(values) > 1:
            raise CannotJudge(
                f"{what} differed between starts, so they cannot be compared",
                cause="other cases by version, or devices that others took; free them, or make fewer visible",
            )
