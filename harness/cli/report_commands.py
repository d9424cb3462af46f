"""The part of the command line that shows what runs found."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.base.errors import EXIT_PASSED, UsageError
from harness.base.texts import one_line, say


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(summary)
    app.command()(explain)
    app.command()(warnings)
    app.command()(learn)


def summary(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="Folder with run directories, at any depth.")],
) -> int:
    """Print Markdown for the summary of a CI job: every verdict, and of what is not green the numbers."""
    from harness.run.summary import summary as summarised

    text, broken = summarised(runs)
    say(text, end="")
    for line in broken:
        say(f"harness: {one_line(line)}", file=sys.stderr)
    return UsageError.exit_code if broken else EXIT_PASSED


def explain(
    path: Annotated[
        Path,
        typer.Argument(metavar="RUN_OR_JUNIT", help="Run directory, folder of such at any depth, or JUnit file."),
    ],
) -> int:
    """Say why it is red: whose fault, the cause, where it stands, what it is not, and what to do; every cause once."""
    from harness.explanation.explaining import explain as explained

    say(explained(path), end="")
    return EXIT_PASSED


def warnings(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="Folder with run directories, at any depth.")],
    *,
    accept: Annotated[bool, typer.Option("--accept", help="Call them benign from here on.")] = False,
) -> int:
    """List what engines warn of in runs that passed and what nobody has called benign yet; no verdict depends on it."""
    from harness.explanation.warning_census import census

    say(census(runs, accept=accept), end="")
    return EXIT_PASSED


def learn(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="Folder with run directories, at any depth.")],
    to: Annotated[
        Path | None, typer.Option(help="File to add to, for `harness plan --times`; this machine's own if not given.")
    ] = None,
) -> int:
    """Take what points took in recorded runs as what they are expected to take; `harness run` does so by itself."""
    from harness.run import learned_times

    folders = learned_times.below(runs)
    said = learned_times.note(folders, to)
    say(f"learned from {said} of {len(folders)} runs: {to or learned_times.kept()}")
    return EXIT_PASSED
