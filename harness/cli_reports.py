"""The part of the command line that shows what runs found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.ground.texts import say


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(summary)


def summary(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="Folder with run directories, at any depth.")],
) -> None:
    """Print Markdown for the summary of a CI job: every verdict, and of what is not green the numbers."""
    from harness.run.summary import summary as summarised

    say(summarised(runs), end="")
