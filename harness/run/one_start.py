"""One start of a case's servers, for as many evaluations as wanted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.base.domain import Outcome, Stage, StageRecord
from harness.base.errors import CannotJudge, NothingSelected
from harness.host import signals
from harness.plan.points import Planned
from harness.reports.result import Result
from harness.run import prepare, runtimes
from harness.run.console import Console
from harness.run.context import Context
from harness.run.judge import judge
from harness.run.progress import Progress, words
from harness.run.rundir import RunDir

_OF_AN_EVALUATION = (
    "samples.jsonl", "exchanges.jsonl", "footprints.json", "groups.json", "looks.json", "measurements.json",
    "result.json", "junit.xml", "metrics/*", "logs/*.stack",
)  # fmt: skip
"""What an evaluation and its judgement leave in the run directory."""


@dataclass
class Started:
    """Servers that run.

    Attributes:
        context: Of their run directory.
        broken: An evaluation could not be brought to its end: who knows what is left of it in the servers.
    """

    context: Context
    broken: bool = False

    @property
    def engines(self) -> list[str]:
        """Names of the servers that are engines."""
        return [each.server.name for each in self.context.servers() if each.server.has_metrics]

    def evaluate(self) -> Result:
        """Ask all questions and judge the answers, as if nobody had asked before."""
        rundir = self.context.rundir
        for pattern in _OF_AN_EVALUATION:
            for path in rundir.path.glob(pattern):
                path.unlink()
        known = []
        try:
            _perform(self.context, Stage.EVAL)
        except CannotJudge as error:
            self.broken = True
            text, details = words(error)
            known = [StageRecord(Stage.EVAL, Outcome.ERROR, 0.0, text, details, fault=error.fault)]
        return _judged(rundir, known)


def _judged(rundir: RunDir, known: list[StageRecord]) -> Result:
    """The verdict on servers that go on running, which only a run without an owner may do: for this moment it has none,
    so that `harness reap` finds them should this process be killed.
    """
    prepared = rundir.prepared()
    with signals.deferred():
        rundir.keep()
        try:
            return judge(rundir, known=known)
        finally:
            rundir.save(prepared)


@contextmanager
def started(planned: Planned, path: Path, options: prepare.Options) -> Iterator[Started]:
    """Servers of a case, ready for it, until the block ends, also by a signal.

    Args:
        planned: The point.
        path: New run directory.
        options: How to run.

    Raises:
        CannotJudge: They could not be started, or did not get ready.
        NothingSelected: The point does not exist on this build.
    """
    rundir = prepare.create(planned, path, options)
    context = Context(rundir, Progress(rundir, lambda _: None))
    try:
        not_there = prepare.run(context, options, planned)
        if not_there:
            raise NothingSelected(f"{planned.id} does not run: {not_there}")
        _perform(context, Stage.SERVE)
        _perform(context, Stage.HEALTH_WAIT)
        yield Started(context)
    finally:
        try:
            with signals.deferred():
                if context.prepared.runtime is not None:
                    _perform(context, Stage.STOP)
        finally:
            context.held.close()


def _perform(context: Context, stage: Stage) -> None:
    runtimes.of(context.runtime, Console()).perform(stage, context)
