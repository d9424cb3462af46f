"""The part of the command line that a run calls for its servers on other hosts."""

from __future__ import annotations

import typer

from harness.cli.options import RunDirectory


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command("stand-in", hidden=True)(stand_in)


def stand_in(run_directory: RunDirectory, name: str) -> int:
    """Run a server on another host, and stand for it here until it has ended."""
    from harness.run.rundir import RunDir
    from harness.run.spread import run_elsewhere

    return run_elsewhere(RunDir.existing(run_directory), name)
