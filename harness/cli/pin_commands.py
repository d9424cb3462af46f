"""The part of the command line that is about base images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.base.domain import Outcome
from harness.base.errors import EXIT_FAILED, EXIT_PASSED, CannotJudge
from harness.base.texts import say

AllowUnpinnedOption = Annotated[
    bool, typer.Option("--allow-unpinned", help="Build on the tag of a base image whose digest is unresolved.")
]
RegistryOption = Annotated[
    str | None,
    typer.Option(metavar="HOST[/PREFIX]", help="Registry that stands for those of the base images: a mirror."),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(pins)


def pins(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; fail if a tag is not what it was when it was pinned.")
    ] = False,
    registry: RegistryOption = None,
    pins_file: Annotated[
        Path | None, typer.Option("--pins", help="File of the pins; docker/pins.toml of the harness by default.")
    ] = None,
) -> None:
    """Look up what the tags of the base images stand for, and write their digests down."""
    from harness.host import signals
    from harness.images.base_images import FILE, mirror, refresh

    outcomes = set()
    with signals.handled():
        for name, looked in refresh(pins_file or FILE, mirror(registry) if registry else None, write=not check):
            say(f"{name}: {looked.text}")
            outcomes.add(looked.outcome)
    if Outcome.ERROR in outcomes:
        raise CannotJudge("not every registry answered; for a mirror: --registry HOST[/PREFIX]")
    sys.exit(EXIT_FAILED if Outcome.FAIL in outcomes else EXIT_PASSED)
