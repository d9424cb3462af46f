"""A command that goes on with an earlier run: what that one was asked stands for what is not said again."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.base.errors import UsageError

_NOT_ASKED = frozenset({"context", "runs", "resume", "failed", "reuse", "keep"})
"""Parameters that are about one attempt, not about what is run."""

Reuse = Annotated[
    list[Path] | None,
    typer.Option(
        "--reuse",
        metavar="RUNS",
        help="Skip what passed there with the same case, build, checkpoints, kind of device and harness. May be "
        "repeated.",
    ),
]


@dataclass(frozen=True)
class EarlierOptions:
    """Earlier runs that a run goes on from."""

    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume", metavar="RUNS", help="Go on in the folder of an earlier run: run what has no verdict there."
        ),
    ] = None
    failed: Annotated[
        Path | None,
        typer.Option("--failed", metavar="RUNS", help="The same, and run again what failed or could not be judged."),
    ] = None

    reuse: Reuse = None

    @property
    def folder(self) -> Path | None:
        """Of the run to go on with; None for a new one.

        Raises:
            UsageError: Both are given.
        """
        if self.resume and self.failed:
            raise UsageError("--resume, --failed: give one; --failed runs also what has no verdict")
        return self.resume or self.failed


def resumable(command: Callable[..., int]) -> Callable[..., int]:
    """A command with the parameters of EarlierOptions, expanded, and ``context``."""
    parameters = inspect.signature(command).parameters

    @functools.wraps(command)
    def called(**given: Any) -> int:
        folder = EarlierOptions(given["resume"], given["failed"]).folder
        merged = {**given, **_taken_up(folder, given, parameters)} if folder else given
        context: typer.Context = given["context"]
        context.params.update(merged)
        return command(**merged)

    return called


def asked(context: typer.Context) -> dict[str, Any]:
    """What the command line says, where that is not the default, as it is recorded: paths as they are from anywhere."""
    defaults = {each.name: each.default for each in context.command.params}
    return {
        name: _recorded(value)
        for name, value in context.params.items()
        if name not in _NOT_ASKED and name in defaults and value not in (defaults[name], [], None)
    }


def _recorded(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value.absolute())
    return [_recorded(each) for each in value] if isinstance(value, list | tuple) else value


def _taken_up(folder: Path, given: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """What the first attempt was asked, of what is not asked now.

    Raises:
        UsageError: The folder is none of a run, or its record is damaged.
    """
    from pydantic import TypeAdapter, ValidationError

    from harness.run import attempts

    found = {}
    for name, value in attempts.asked(folder).items():
        if name not in parameters or name in _NOT_ASKED:
            raise UsageError(f"{folder / attempts.SELECTION}: asked.{name}: no such option in this version")
        if given[name] in (parameters[name].default, [], None):
            try:
                found[name] = TypeAdapter(parameters[name].annotation).validate_python(value)
            except ValidationError:
                raise UsageError(f"{folder / attempts.SELECTION}: asked.{name}: not what the option takes") from None
    return found
