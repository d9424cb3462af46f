"""One point from its start to its verdict, in a folder of its own, for whoever runs it several times."""

from __future__ import annotations

from pathlib import Path

from harness.base.errors import Interrupted
from harness.plan.points import Planned
from harness.reports.result import Result
from harness.run.console import Console
from harness.run.folders import make_folder
from harness.run.prepare import Options
from harness.run.rundir import RunDir
from harness.run.supervise import run_all


def point_run(point: Planned, into: Path, options: Options, console: Console) -> tuple[RunDir, Result | None]:
    """Run the point below ``into``, which is made; returns its run directory and its verdict, if there is one.

    Raises:
        Interrupted: A signal ended it; everything is stopped.
    """
    make_folder(into)
    code = run_all([point], into, options, console)
    rundir = RunDir(into / point.folder)
    if code == Interrupted.exit_code:
        raise Interrupted("a signal")
    return rundir, rundir.read("result", Result)
