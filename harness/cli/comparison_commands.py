"""The part of the command line that runs several builds of an engine beside one another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from harness.base.errors import NothingSelected, UsageError
from harness.base.texts import one_line, say
from harness.cli.assembling import expanded
from harness.cli.build_options import FalseAlarm, Make, Margins, Quantities
from harness.cli.options import (
    RUNS,
    BuildOptions,
    CaseArguments,
    Devices,
    NewRuns,
    PlatformHere,
    RunOptions,
)
from harness.cli.shares import shares_by_name
from harness.cli.what_runs import CaseOptions, OnlyOptions

if TYPE_CHECKING:
    from harness.comparison.comparison_record import CaseRecord, Comparison
    from harness.run.prepare import Options


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(expanded(compare))


def compare(
    only: OnlyOptions,
    wanted: CaseArguments = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            "--engine",
            metavar="BUILD",
            help="Give it twice: first the build that is known, then the one in question. An interpreter by its path, "
            "a wheel, or an image.",
        ),
    ] = None,
    make: Make = "",
    rounds: Annotated[int, typer.Option(min=1, max=200, help="Rounds A B B A: four starts each.")] = 1,
    warm_up: Annotated[
        bool, typer.Option("--warm-up", help="Start each build once before, so that caches are warm for both.")
    ] = False,
    quantity: Quantities = None,
    margin: Margins = None,
    false_alarm: FalseAlarm = None,
    platform: PlatformHere = None,
    *,
    where: RunOptions,
    how: BuildOptions,
    which: CaseOptions,
    devices: Devices = None,
    runs: NewRuns = None,
) -> int:
    """Compare two builds on the same devices: A B B A, item by item, with an interval and a verdict a quantity."""
    from harness.comparison import comparison_page, quantities
    from harness.comparison.comparison_record import FILE
    from harness.comparison.interleaved import Interleaved
    from harness.comparison.named_builds import build, made, maker, require_place, without_build
    from harness.host import signals
    from harness.run.console import BriefConsole, Ticker
    from harness.run.folders import claimed
    from harness.run.prepare import require_engine

    if len(engine or []) != 2 or not engine:
        raise UsageError("--engine: give it twice, first the build that is known and then the one in question")
    options: Options = without_build(where.options(how.build()))
    compared = quantities.chosen(quantity or [], shares_by_name("--margin", margin))
    if make:
        maker(make, engine[0])
    else:
        given = [build(each, options) for each in engine]
    points = which.points(wanted or [], platform, narrowed=only.narrowing(), at_most=devices, measured=True)
    console = BriefConsole()
    with claimed(runs, RUNS, goes_on=FILE) as folder, signals.handled():
        if make:
            given = [made(each, make, options, Ticker().tick) for each in engine]
        for each in given:
            require_engine(points, each.options)
            require_place(each)

        def told(found: Comparison, case: CaseRecord) -> None:
            comparison_page.write(folder, found)
            if case.findings:
                rows = map(comparison_page.row, case.findings)
                console.table(f"{case.case}: {case.said}", comparison_page.HEADER, rows)
                for each in (found for found in case.findings if found.said in ("worse", "undecided")):
                    console.line(f"{each.quantity}: {comparison_page.words(each)}")
            if case.texts:
                console.line(comparison_page.of_texts(case.texts))
            console.line(f"{case.case}: {case.broken or case.said}")

        turns = Interleaved(
            (given[0], given[1]),
            rounds,
            warm_up,
            compared,
            quantities.FALSE_ALARM if false_alarm is None else false_alarm,
            folder,
            console,
            told,
        )
        turns.go_on()
        found = turns.run(points)
    if not found.cases:
        raise NothingSelected("no case was compared")
    say(one_line(f"page: {folder / comparison_page.PAGE}"))
    return comparison_page.exit_code(found)
