"""The part of the command line that removes what killed runs left."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.base.errors import EXIT_PASSED, CannotJudge
from harness.base.texts import one_line, say

RUNS = Path("runs")
"""Where run directories are unless somebody says otherwise."""


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(reap)


def reap(
    runs: Annotated[Path, typer.Option(help="Folder whose run directories are looked through too.")] = RUNS,
    end_running: Annotated[
        bool,
        typer.Option("--end-running", help="End a harness that is still running there first: for clean-up steps."),
    ] = False,
) -> None:
    """Remove what a killed harness left: provably ours, and nothing else. Exit code 4 if something is still there."""
    from harness.run.reap import Fate
    from harness.run.reap import reap as reap_all

    fates = set()
    for each in reap_all(runs, end_running=end_running):
        say(one_line(f"{each.fate}: {each.what}"))
        fates.add(each.fate)
    if not fates:
        say("nothing of ours is left")
    elif fates == {Fate.KEPT}:
        say("nothing of ours is left but what was kept")
    sys.exit(CannotJudge.exit_code if Fate.STILL_THERE in fates else EXIT_PASSED)
