"""The part of the command line that breaks engines on purpose."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from harness.base.errors import EXIT_FAILED, EXIT_PASSED, NothingSelected, UsageError
from harness.base.texts import say
from harness.cli.options import (
    CASES,
    RUNS,
    CaseArguments,
    Cases,
    Checkpoints,
    EnginePython,
    NewRuns,
    PlatformHere,
    require_program,
)
from harness.cli.what_runs import CaseOptions


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(power)


def power(
    wanted: CaseArguments = None,
    engine_python: EnginePython = None,
    mutants: Annotated[
        str, typer.Option(metavar="NAME,...", help="Only these mutants, or those that such patterns fit; all if none.")
    ] = "",
    platform: PlatformHere = None,
    checkpoints: Checkpoints = "",
    record: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the records; what is confirmed there is not run again. Default: of today, below "
            "docs/evidence/power."
        ),
    ] = None,
    budget: Annotated[
        float, typer.Option(min=0, help="Seconds after which nothing is begun any more; run again to go on.")
    ] = math.inf,
    runs: NewRuns = None,
    cases: Cases = CASES,
) -> int:
    """Break the engine on purpose, one published bug after the other, and see which check turns red."""
    from engine_mutants.every_mutant import ALL
    from harness.base.clock import utc_now
    from harness.host import signals
    from harness.power import campaign, choice, mutant_tables
    from harness.power.mutant_records import RECORDS, read
    from harness.power.overlay import over
    from harness.run.folders import claimed
    from harness.run.prepare import Options

    if engine_python is None:
        raise UsageError("--engine-python: missing; name the interpreter of the engine that is to be broken")
    require_program("--engine-python", engine_python)
    chosen = choice.named(ALL, mutants.split(","))
    points = CaseOptions(checkpoints=checkpoints, cases=cases).points(wanted or [], platform)
    here = points[0].platform
    with claimed(runs, RUNS) as folder, signals.handled(), over(engine_python) as overlay:
        engine, build = campaign.engine_of(overlay, {each.engine for each in chosen})
        points = choice.on_build(points, engine, build)
        running = []
        for each in chosen:
            if why := choice.not_here(each, here, engine, build):
                say(f"left out: {each.name} {why}")
            elif any(choice.point(case, points) for case in each.cases):
                running.append(each)
            elif why := choice.left_out(each, points):
                say(f"left out: {each.name}: {why}")
        if not running:
            raise NothingSelected("no mutant can be run on these cases, this platform and this version of the engine")
        into = record or RECORDS / f"{utc_now():%Y-%m-%d}-{here}"
        run = campaign.Campaign(overlay, Options("local", overlay.python), into, folder, budget, say)
        left = run.run(running, points)
    found = {each.name: known for each in running if (known := read(into, each.name))}
    for each in running:
        say(f"{each.name:32} {mutant_tables.state(each, found.get(each.name), here)}")
    say(mutant_tables.score(found.values()))
    if left:
        say(f"{left} are left; the same command with --record {into} goes on")
    say(f"records: {into}; docs/power.md is made of them by `harness generate`")
    unexpected = [each for each in running if each.name in found and not found[each.name].status.is_killed]
    return EXIT_FAILED if any(not each.unseen for each in unexpected) else EXIT_PASSED
