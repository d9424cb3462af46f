"""All mutants on their cases: the servers of a case are started once for those that can be switched."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine_mutants.mutant import Mutant
from harness import __version__
from harness.base.clock import utc_now
from harness.base.domain import Outcome, Stage
from harness.base.errors import CannotJudge, UsageError
from harness.engines import ENGINES
from harness.plan.points import Planned
from harness.power import choice, mutant_records, whole_run
from harness.power.mutant_records import Attempt, Record
from harness.power.overlay import Overlay
from harness.power.switchboard import Switchboard
from harness.power.verdicts import first_finding, red, status
from harness.reports.result import Result
from harness.run import ask_engine, one_start
from harness.run.one_start import Started
from harness.run.prepare import Options
from harness.run.rundir import Prepared

Say = Callable[[str], None]
_LIMIT = 120.0
"""Seconds for the environment to say what it holds."""


def engine_of(overlay: Overlay, names: Iterable[str]) -> tuple[str, str]:
    """Name and version of the engine that is there, of those that mutants are for.

    Raises:
        CannotJudge: There is none of them.
    """
    wrong: CannotJudge | None = None
    for name in sorted(names):
        try:
            asked = ask_engine.environment(ENGINES[name], str(overlay.python), ask_engine.here(_LIMIT))
            return name, ENGINES[name].version(asked.versions)
        except CannotJudge as error:
            wrong = error
    assert wrong is not None
    raise wrong


@dataclass
class Campaign:
    """One run of mutants, which can be broken off and taken up again: what is confirmed in a record is not run again.

    Attributes:
        overlay: Environment with the mutants.
        options: How to run, with the overlay's interpreter.
        folder: Of the records.
        runs: Of the run directories.
        budget: Seconds after which nothing is begun any more.
        say: Tells a person.
    """

    overlay: Overlay
    options: Options
    folder: Path
    runs: Path
    budget: float
    say: Say
    _begun: float = field(default_factory=time.monotonic)
    _longest: float = 0.0
    _clean: float = 0.0
    _boots: int = 0

    @property
    def spent(self) -> bool:
        """Whether there is no time for another evaluation and the one of the unbroken engine that confirms it."""
        return time.monotonic() - self._begun + self._longest + self._clean > self.budget

    def run(self, mutants: Sequence[Mutant], cases: Sequence[Planned]) -> int:
        """Run the mutants on the cases that they name, the cheapest of each first; returns how many are left.

        Raises:
            CannotJudge: The unbroken engine is not green, or its servers do not start.
        """
        points = {case: found for each in mutants for case in each.cases if (found := choice.point(case, cases))}
        todo = self._todo(mutants, points)
        while todo and not self.spent:
            case = max(todo, key=lambda each: (len(todo[each]), each))
            switched = [each for each in todo[case] if each.switched]
            if switched:
                self._screen(points[case], switched)
            for each in todo[case]:
                if not each.switched and not self.spent:
                    self._whole(points[case], each)
            todo = self._todo(mutants, points)
        return sum(len(each) for each in todo.values())

    def _todo(self, mutants: Sequence[Mutant], points: dict[str, Planned]) -> dict[str, list[Mutant]]:
        """What is to run next on each case."""
        found: dict[str, list[Mutant]] = {}
        for each in mutants:
            record = mutant_records.read(self.folder, each.name)
            cases = {points[case].id: case for case in each.cases if case in points}
            left = record.left(cases) if record else list(cases)
            if left:
                found.setdefault(cases[left[0]], []).append(each)
        return found

    def _screen(self, planned: Planned, mutants: Sequence[Mutant]) -> None:
        """Start the servers once and switch mutants on, one by one, until one leaves them unfit for the next."""
        # Those that may break an evaluation off come late: after one, what was run before it may not be confirmed.
        in_order = sorted(mutants, key=lambda each: (each.dirty, Stage.EVAL in each.checks))
        self.overlay.want("switched", [each.name for each in in_order])
        self.say(f"{planned.id}: starting its servers for {len(in_order)} mutants")
        with one_start.started(planned, self._new_folder(planned), self.options) as running:
            _board(running).require(running.engines, (each.name for each in in_order))
            self._require_clean(running, planned, [])
            since: list[tuple[Mutant, Attempt]] = []
            for each in in_order:
                if self.spent:
                    break
                if each.dirty:
                    self._confirm(running, planned, since)
                attempt = self._switched(running, planned, each)
                self._keep(running.context.prepared, each, attempt)
                if each.dirty or (running.broken and not self._is_clean(running)):
                    # What is left in these servers nobody knows; the verdict on this one stands all the same.
                    self._confirmed(running, [(each, attempt)])
                    return
                since.append((each, attempt))
                if running.broken:
                    running.broken = False
                    self._confirmed(running, since)
            self._confirm(running, planned, since)

    def _confirm(self, running: Started, planned: Planned, since: list[tuple[Mutant, Attempt]]) -> None:
        """Look whether the unbroken engine is still green, and say so of those that were run since it was."""
        if since:
            self._require_clean(running, planned, [each.name for each, _ in since])
            self._confirmed(running, since)

    def _confirmed(self, running: Started, attempts: list[tuple[Mutant, Attempt]]) -> None:
        for each, attempt in attempts:
            self._keep(running.context.prepared, each, attempt.model_copy(update={"confirmed": True}))
        attempts.clear()

    def _is_clean(self, running: Started) -> bool:
        """Whether the unbroken engine is green although the evaluation before could not be brought to its end."""
        return running.evaluate().outcome is Outcome.PASS

    def _new_folder(self, planned: Planned) -> Path:
        self._boots += 1
        return self.runs / f"{self._boots:03}-{planned.folder}"

    def _switched(self, running: Started, planned: Planned, mutant: Mutant) -> Attempt:
        began = time.monotonic()
        board = _board(running)
        board.switch(mutant.name)
        result = running.evaluate()
        hits, misfit = board.hits(mutant.name), board.misfit(mutant.name)
        board.switch()
        seconds = time.monotonic() - began
        self._longest = max(self._longest, seconds)
        return self._attempt(mutant, planned, result, hits, misfit, seconds)

    def _require_clean(self, running: Started, planned: Planned, since: Sequence[str]) -> None:
        """Raise unless the unbroken engine is green.

        Raises:
            CannotJudge: It is not; ``since`` names the mutants that ran since it was.
        """
        began = time.monotonic()
        result = running.evaluate()
        self._clean = max(self._clean, time.monotonic() - began)
        self._longest = max(self._longest, self._clean)
        if result.outcome is not Outcome.PASS:
            when = f"; one of {', '.join(since)} left something behind: mark it as dirty" if since else ""
            raise CannotJudge(
                f"{planned.id} is not green on the unbroken engine{when}",
                cause=f"{first_finding(result)}; run directory {running.context.rundir.path}",
            )

    def _whole(self, planned: Planned, mutant: Mutant) -> None:
        began = time.monotonic()
        self.overlay.want("static", [mutant.name])
        self.say(f"{planned.id}: a whole run for {mutant.name}")
        found = whole_run.run(planned, self._new_folder(planned), self.options, mutant.name)
        seconds = time.monotonic() - began
        attempt = self._attempt(mutant, planned, found.result, found.hits, found.misfit, seconds, is_whole=True)
        self._longest = max(self._longest, seconds)
        self._keep(found.prepared, mutant, attempt.model_copy(update={"confirmed": True}))

    def _attempt(
        self,
        mutant: Mutant,
        planned: Planned,
        result: Result,
        hits: dict[str, int],
        misfit: str,
        seconds: float,
        *,
        is_whole: bool = False,
    ) -> Attempt:
        wrong = red(result)
        found = Attempt(
            case=planned.id,
            how="whole run" if is_whole else "switched",
            status=status(mutant, wrong, sum(hits.values()), misfit),
            red=tuple(wrong),
            finding=first_finding(result),
            misfit=misfit,
            hits=hits,
            exit_code=result.exit_code,
            seconds=round(seconds, 1),
        )
        counted = ", ".join(f"{name} {count}" for name, count in hits.items()) or "none"
        said = "; ".join(filter(None, [", ".join(wrong), misfit]))
        self.say(
            f"{mutant.name} @ {planned.id}: {found.status} ({said or 'all green'}; hits: {counted}; {seconds:.0f} s)"
        )
        return found

    def _keep(self, prepared: Prepared, mutant: Mutant, attempt: Attempt) -> None:
        """Put an attempt into the mutant's record, in the place of one on the same case."""
        engine = ENGINES[mutant.engine].build(prepared.versions)
        known = mutant_records.read(self.folder, mutant.name)
        if known is not None and known.engine != engine:
            raise UsageError(
                f"{mutant_records.path(self.folder, mutant.name)}: is of {known.engine}; give another --record"
            )
        before = [each for each in known.attempts if each.case != attempt.case] if known else []
        mutant_records.write(
            self.folder,
            Record(
                mutant=mutant.name,
                platform=prepared.platform,
                engine=engine,
                host=prepared.host,
                harness=__version__,
                date=utc_now().isoformat(timespec="seconds"),
                attempts=(*before, attempt),
            ),
        )


def _board(running: Started) -> Switchboard:
    return Switchboard(running.context.rundir.path)
