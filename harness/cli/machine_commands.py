"""The part of the command line that is about this machine: what it can run, and what is left on it."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from harness.base.errors import EXIT_PASSED, CannotJudge
from harness.base.texts import one_line, say
from harness.cli.assembling import expanded
from harness.cli.options import (
    CASES,
    ENVIRONMENTS,
    RUNS,
    BaseImageOptions,
    Cases,
    Checkpoints,
    EngineName,
    EnginePlatform,
    EnginePython,
    Environments,
    Platform,
    Runs,
    RuntimeOptions,
    require_program,
)
from harness.cli.what_runs import OnlyOptions


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (doctor, devices, canary, reap):
        app.command()(expanded(command))


def doctor(
    only: OnlyOptions,
    platform: Platform = None,
    *,
    where: RuntimeOptions,
    base: BaseImageOptions,
    checkpoints: Checkpoints = "",
    cases: Cases = CASES,
    runs: Runs = RUNS,
    offline: Annotated[bool, typer.Option("--offline", help="Ask nobody: as if there were no network.")] = False,
    form: Annotated[Literal["table", "json"], typer.Option("--format", help="json: everything, for programs.")] = (
        "table"
    ),
) -> int:
    """Say what this machine can run, and of everything else why not and what to do; starts and writes nothing.

    Ends with 0 if anything can run, with 4 if nothing can.
    """
    import rich.console

    from harness.doctor import report
    from harness.doctor.gather import Looking, gather
    from harness.doctor.verdict import judge
    from harness.host import signals
    from harness.run.selection import matching

    options = where.options(base.build())
    found = matching(cases, wanted=[], narrowed=only.narrowing(), platform=platform, checkpoints=checkpoints)
    planned = [each for each in found if each.on_menu]  # what is attached asks nothing of this machine
    with signals.handled():
        facts = gather(planned, Looking(options, runs, offline))
    given: dict[str, object] = {
        "--engine-python": where.engine_python,
        "--base-image": base.base_image,
        "--engine-from": base.engine_from,
        "--registry": base.registry,
        "--checkpoints": checkpoints,
    }
    arguments = [text for name, value in given.items() if value for text in (name, str(value))]
    arguments += ["--allow-unpinned"] if base.allow_unpinned else []
    arguments += ["--assume-free"] if where.assume_free else []
    verdicts = judge(planned, facts, where.runtime, arguments)
    if form == "json":
        say(report.document(facts, verdicts))
    else:
        report.show(facts, verdicts, rich.console.Console(highlight=False))
    if not any(each.runs for each in verdicts):
        raise CannotJudge("nothing of this can run here")
    return EXIT_PASSED


def devices(
    platform: Platform = None,
    *,
    form: Annotated[Literal["text", "json"], typer.Option("--format", help="json: for programs.")] = "text",
) -> int:
    """Say of every accelerator here who has it since when, and who waits for which; takes and changes nothing."""
    from harness.devices import accelerators
    from harness.devices.lock_files import Unusable
    from harness.run import device_list

    every = [each.name for each in accelerators.ACCELERATORS.values() if each.has_devices]
    try:
        host = device_list.look([accelerators.named(platform)] if platform else every)
    except Unusable as error:
        raise CannotJudge(str(error), fault="host") from error
    for line in [device_list.document(host)] if form == "json" else map(one_line, device_list.lines(host)):
        say(line)
    return EXIT_PASSED


def canary(
    case: Annotated[
        str | None, typer.Argument(metavar="CASE", help="Case id; without one, all that an engine may need.")
    ] = None,
    engine: EngineName = "vllm",
    platform: EnginePlatform = "cpu",
    engine_python: EnginePython = None,
    environments: Environments = ENVIRONMENTS,
    cases: Cases = CASES,
) -> int:
    """Check engine, transports, caches, data and driver here, one line each; takes no device."""
    from harness.host import signals
    from harness.run.canary import by_hand

    if engine_python:
        require_program("--engine-python", engine_python)
    with signals.handled():
        found = by_hand(case, cases, engine, platform, engine_python, environments)
    for each in found:
        say(f"{'ok  ' if each.ok else 'FAIL'} {each.check}: {each.text}")
    return EXIT_PASSED if all(each.ok for each in found) else CannotJudge.exit_code


def reap(
    runs: Runs = RUNS,
    end_running: Annotated[
        bool,
        typer.Option("--end-running", help="End a harness that is still running there first: for clean-up steps."),
    ] = False,
) -> int:
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
    return CannotJudge.exit_code if Fate.STILL_THERE in fates else EXIT_PASSED
