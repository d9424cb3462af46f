"""The part of the command line that asks whether everything is in place for a case."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.base.errors import EXIT_PASSED, CannotJudge
from harness.base.texts import say
from harness.cli.case_commands import CASES, CasesOption, require_program


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(canary)


def canary(
    case: Annotated[str | None, typer.Argument(help="Case id; without one, all that an engine may need.")] = None,
    engine: Annotated[str, typer.Option(help="Engine, where no case is given.")] = "vllm",
    platform: Annotated[str, typer.Option(help="cpu, cuda or rocm.")] = "cpu",
    engine_python: Annotated[
        Path | None,
        typer.Option(help="Interpreter of the engine; by default that of the image this runs in, or the locked one."),
    ] = None,
    environments: Annotated[Path, typer.Option(help="Folder of the locked engine environments.")] = Path(".nox"),
    cases: CasesOption = CASES,
) -> None:
    """Check engine, transports, caches, data and driver here, one line each; takes no device."""
    from harness.host import signals
    from harness.run.canary import by_hand

    if engine_python:
        require_program("--engine-python", engine_python)
    with signals.handled():
        found = by_hand(case, cases, engine, platform, engine_python, environments)
    for each in found:
        say(f"{'ok  ' if each.ok else 'FAIL'} {each.check}: {each.text}")
    sys.exit(EXIT_PASSED if all(each.ok for each in found) else CannotJudge.exit_code)
