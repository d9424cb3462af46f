"""The part of the command line that makes the known-answer checkpoints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.base.errors import EXIT_PASSED
from harness.base.texts import say
from harness.cli.assembling import help_without_command


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    inside = typer.Typer(callback=help_without_command, invoke_without_command=True, help="Known-answer checkpoints.")
    inside.command("make")(make)
    inside.command("list")(list_all)
    app.add_typer(inside, name="checkpoints")


def make(folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to; made if missing.")]) -> int:
    """Write all known-answer checkpoints: the same bytes every time. Those made from data need it at hand."""
    from harness.run.checkpoint_files import make

    digests, left_out = make(folder)
    for name, digest in digests.items():
        say(f"{digest}  {folder / name}")
    for name, reason in left_out.items():
        say(f"left out: {name}: {reason}", file=sys.stderr)
    return EXIT_PASSED


def list_all() -> int:
    """Say what each known-answer checkpoint is."""
    from known_answer.checkpoints import CHECKPOINTS

    for name, checkpoint in CHECKPOINTS.items():
        say(f"{name:<20} {checkpoint.purpose}")
    return EXIT_PASSED
