"""The part of the command line that makes checkpoints: known-answer ones, and those of published models."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.base.errors import EXIT_PASSED, UsageError
from harness.base.settings import cut
from harness.base.texts import say
from harness.cli.assembling import help_without_command


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    about = "Known-answer checkpoints, and those of published models."
    inside = typer.Typer(callback=help_without_command, invoke_without_command=True, help=about)
    inside.command("make")(make)
    inside.command("list")(list_all)
    app.add_typer(inside, name="checkpoints")


def make(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to; made if missing.")],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Which; every known-answer one if none is named.")
    ] = None,
) -> int:
    """Write checkpoints: the same bytes every time. Those made from data or from a package need it at hand."""
    from harness.published.models import MODELS
    from harness.run import checkpoint_files, published_files
    from known_answer.names import NAMES

    for name in names or ():
        if name not in NAMES and name not in MODELS:
            raise UsageError(f"NAME {cut(name)}: no such checkpoint; `harness checkpoints list` has them all")
    known = [name for name in names if name in NAMES] if names else NAMES
    digests, left_out = checkpoint_files.make(folder, known)
    for name in [each for each in names or () if each in MODELS]:
        digests[name] = checkpoint_files.write(folder / name, published_files.converted(name))
    for name, digest in digests.items():
        say(f"{digest}  {folder / name}")
    for name, reason in left_out.items():
        say(f"left out: {name}: {reason}", file=sys.stderr)
    return EXIT_PASSED


def list_all() -> int:
    """Say what each checkpoint is: the known-answer ones, then those of published models with their licence."""
    from harness.published.models import MODELS
    from known_answer.checkpoints import CHECKPOINTS

    for name, checkpoint in CHECKPOINTS.items():
        say(f"{name:<20} {checkpoint.purpose}")
    for name, model in MODELS.items():
        say(f"{name:<20} {model.purpose} ({model.licence}; {model.origin})")
    return EXIT_PASSED
