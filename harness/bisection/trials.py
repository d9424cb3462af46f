"""Starts of builds for a search, and what each says: by the case's own checks, or beside the good build."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.base.domain import Outcome, Stage
from harness.base.errors import CannotJudge, NothingSelected, UsageError
from harness.base.texts import one_line
from harness.bisection.search_record import Said, Search, Trial
from harness.comparison.comparison_page import words
from harness.comparison.comparison_record import Finding
from harness.comparison.interleaved import measured
from harness.comparison.losses import Shown, findings
from harness.comparison.named_builds import Build, build, made, require_place
from harness.comparison.observed import Observed, observed
from harness.comparison.quantities import Quantity
from harness.engines import ENGINES
from harness.plan.points import Planned
from harness.power.verdicts import first_finding
from harness.reports.result import Result
from harness.run.console import Console, Ticker
from harness.run.point_run import point_run
from harness.run.prepare import Options, require_engine
from harness.run.rundir import RunDir

_OF_THE_ENGINE = (Stage.SERVE, Stage.HEALTH_WAIT, Stage.EVAL)
_OUTCOMES: Mapping[Outcome, Said] = {Outcome.PASS: "good", Outcome.FAIL: "bad"}


@dataclass
class Trials:
    """Makes starts of a search.

    Attributes:
        point: What is run: with its checks, or measured only.
        options: How, without a build.
        quantities: What is compared with the good build; empty where checks judge.
        folder: Of the search.
        console: For people.
    """

    point: Planned
    options: Options
    quantities: Mapping[str, Quantity]
    folder: Path
    console: Console

    def build(self, search: Search, at: int) -> Build:
        """The build at a place, made anew only if no start of it is on record.

        Raises:
            CannotJudge: It cannot be made.
            UsageError: There is no such program, wheel or image.
        """
        name, make = search.asked.builds[at], search.asked.make
        known = next((each.spelling for each in search.of(at) if each.spelling), "")
        return made(name, make, self.options, Ticker().tick) if make and not known else build(name, self.options, known)

    def attempt(self, search: Search, at: int) -> Trial:
        """Start the build at a place once.

        Raises:
            Interrupted: A signal ended it; everything is stopped.
        """
        into = self._new_folder(search.asked.builds[at])
        spelling = ""
        try:
            started = self.build(search, at)
            spelling = started.spelling if search.asked.make else ""
            rundir, said, why = (self._beside if self.quantities else self._checked)(search, at, started, into)
        except (CannotJudge, NothingSelected) as error:
            return Trial(build=at, said="skip", why=one_line(str(error)), folder=into.name, spelling=spelling)
        prepared = rundir.prepared()
        engine = ENGINES[prepared.case.engine.name].build(prepared.versions)
        below = str(rundir.path.relative_to(self.folder.resolve()))
        return Trial(build=at, said=said, why=why, folder=below, spelling=spelling, engine=engine)

    def _new_folder(self, name: str) -> Path:
        """One that no earlier start has, also none that was killed."""
        numbers = [int(found[0]) for each in self.folder.iterdir() if (found := re.match("[0-9]+", each.name))]
        plain = re.sub("[^A-Za-z0-9.]+", "-", name).strip("-.")[-40:]
        return self.folder / f"{max(numbers, default=0) + 1:03}-{plain}"

    def _checked(self, search: Search, at: int, started: Build, into: Path) -> tuple[RunDir, Said, str]:
        """What the case's own checks say."""
        del at
        rundir, result = point_run(self.point, into, started.options, self.console)
        if result is None:
            raise CannotJudge(f"{started.name} left no verdict")
        if result.outcome is Outcome.MEASURED:
            raise CannotJudge("no check of the case gates", cause="judge beside the good build with --paired")
        said = _OUTCOMES.get(result.outcome, "skip")
        if said == "skip" and search.asked.broken_is_bad and _engine_broke(result):
            said = "bad"
        return rundir, said, one_line(first_finding(result))

    def _beside(self, search: Search, at: int, started: Build, into: Path) -> tuple[RunDir, Said, str]:
        """What a comparison with the good build says, of everything that was started of both."""
        rundir, found = measured(self.point, into, started, self.console)
        if at == 0:
            return rundir, "good", "others are compared with it"
        seen = self._compared(search, self._seen(search, 0), [*self._seen(search, at), found])
        return rundir, _said(seen), "; ".join(f"{each.quantity} {words(each)}" for each in seen)

    def shows(self, search: Search, last: int, first: int) -> bool:
        """Whether the starts of two builds, beside one another, show a loss."""
        return _said(self._compared(search, self._seen(search, last), self._seen(search, first))) == "bad"

    def _seen(self, search: Search, at: int) -> list[Observed]:
        measured_ = [each for each in search.of(at) if each.said != "skip"]
        return [observed(RunDir.existing(self.folder / each.folder)) for each in measured_]

    def _compared(self, search: Search, first: Sequence[Observed], second: Sequence[Observed]) -> list[Finding]:
        shown = [Shown(0, of, each) for of, several in ((False, first), (True, second)) for each in several]
        seen = findings(shown, self.quantities, search.asked.false_alarm)
        found = [each for each in seen if each.said != "not compared"]
        if not found:
            raise UsageError(f"nothing of {', '.join(self.quantities)} can be compared; choose another --quantity")
        return found


def _engine_broke(result: Result) -> bool:
    """Whether a stage that the engine takes part in broke, and nobody else is known to be at fault."""
    broken = [each for each in result.stages if each.outcome is Outcome.ERROR]
    return any(each.stage in _OF_THE_ENGINE and not each.fault for each in broken[:1])


def _said(found: Sequence[Finding]) -> Said:
    if any(each.said == "worse" for each in found):
        return "bad"
    return "good" if all(each.said == "not worse" for each in found) else "undecided"


def require_builds(point: Planned, names: Sequence[str], options: Options) -> None:
    """Say before anything is started which of the builds are none, or have nowhere to run.

    Raises:
        UsageError: One is not there, or the options do not go with it.
        CannotJudge: It is an image, and no container engine answers.
    """
    try:
        found = [build(name, options) for name in names]
    except UsageError as error:
        raise UsageError(f"--builds: {error}") from None
    for kind in {each.options.runtime: each for each in found}.values():
        require_engine([point], kind.options)
        require_place(kind)
