"""The part of the command line that looks at this machine and starts nothing."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from harness.base.errors import CannotJudge, UsageError
from harness.base.texts import say
from harness.cli.case_commands import CASES, CasesOption, CheckpointsOption
from harness.cli.image_commands import BaseImageOption, EngineFromOption, options_of_build
from harness.cli.pin_commands import AllowUnpinnedOption, RegistryOption


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"


class Where(StrEnum):
    AUTO = "auto"
    LOCAL = "local"
    DOCKER = "docker"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(doctor)


def doctor(
    suite: Annotated[str | None, typer.Option(help="Only sessions of this suite.")] = None,
    platform: Annotated[str | None, typer.Option(help="cpu, cuda or rocm; all if not given.")] = None,
    runtime: Annotated[Where, typer.Option(help="Where the engine would run; auto: wherever it can.")] = Where.AUTO,
    engine_python: Annotated[Path | None, typer.Option(help="Interpreter of an environment with your engine.")] = None,
    environments: Annotated[Path, typer.Option(help="Folder of the locked engine environments.")] = Path(".nox"),
    base_image: BaseImageOption = None,
    engine_from: EngineFromOption = None,
    allow_unpinned: AllowUnpinnedOption = False,
    registry: RegistryOption = None,
    checkpoints: CheckpointsOption = "",
    assume_free: Annotated[
        bool, typer.Option("--assume-free", help="As harness run takes it, of accelerators that may be in use.")
    ] = False,
    cases: CasesOption = CASES,
    runs: Annotated[Path, typer.Option(help="Folder for the run directories.")] = Path("runs"),
    offline: Annotated[bool, typer.Option("--offline", help="Ask nobody: as if there were no network.")] = False,
    form: Annotated[Format, typer.Option("--format", help="json: everything, for programs.")] = Format.TABLE,
) -> None:
    """Say what this machine can run, and of everything else why not and what to do; starts and writes nothing.

    Ends with 0 if anything can run, with 4 if nothing can.
    """
    import rich.console

    from harness.doctor import report
    from harness.doctor.gather import Looking, gather
    from harness.doctor.verdict import judge
    from harness.host import signals
    from harness.run.prepare import Options
    from harness.run.selection import matching

    if engine_python and runtime is Where.DOCKER:
        raise UsageError("--engine-python names an interpreter of this machine: not with --runtime docker")
    planned = matching(cases, wanted=[], suite=suite, platform=platform, checkpoints=checkpoints)
    build = options_of_build(base_image, engine_from, None, allow_unpinned, registry, None, "default")
    options = Options(runtime.value, engine_python, environments, build, assume_free=assume_free)
    with signals.handled():
        facts = gather(planned, Looking(options, runs, offline))
    given: dict[str, object] = {
        "--engine-python": engine_python,
        "--base-image": base_image,
        "--engine-from": engine_from and engine_from.value,
        "--registry": registry,
        "--checkpoints": checkpoints,
    }
    arguments = [text for name, value in given.items() if value for text in (name, str(value))]
    arguments += ["--allow-unpinned"] if allow_unpinned else []
    arguments += ["--assume-free"] if assume_free else []
    verdicts = judge(planned, facts, runtime.value, arguments)
    if form is Format.JSON:
        say(report.document(facts, verdicts))
    else:
        report.show(facts, verdicts, rich.console.Console(highlight=False))
    if not any(each.runs for each in verdicts):
        raise CannotJudge("nothing of this can run here")
