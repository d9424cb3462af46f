"""A run of a case from start to verdict, for a mutant that cannot be switched: as a user would run it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import Interrupted
from harness.plan.points import Planned
from harness.power.switchboard import Switchboard
from harness.reports.result import Result
from harness.run import prepare
from harness.run.console import Console
from harness.run.rundir import Prepared
from harness.run.supervise import run_case


@dataclass(frozen=True)
class Found:
    """What came of it: the verdict, hits by server, and why the mutant does not fit."""

    prepared: Prepared
    result: Result
    hits: dict[str, int]
    misfit: str


class _Silent(Console):
    """Says nothing: a person is told of mutants."""

    def line(self, text: str) -> None:
        del text

    def show(self, event: object) -> None:
        del event

    def result(self, result: Result) -> None:
        del result


def run(planned: Planned, path: Path, options: prepare.Options, mutant: str) -> Found:
    """Run a case once.

    Raises:
        Interrupted: A signal ended it; everything is stopped.
    """
    rundir = prepare.create(planned, path)
    result = run_case(planned, rundir, options, _Silent(), lambda _: {})
    if result.exit_code == Interrupted.exit_code:
        raise Interrupted("a signal")
    board = Switchboard(rundir.path)
    return Found(rundir.prepared(), result, board.hits(mutant), board.misfit(mutant))
