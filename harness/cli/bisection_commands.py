"""The part of the command line that finds the build in which something broke."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.base.errors import EXIT_PASSED, UsageError
from harness.cli.assembling import expanded
from harness.cli.build_options import FalseAlarm, Make, Margins, Quantities
from harness.cli.options import (
    RUNS,
    BuildOptions,
    CaseArgument,
    PlatformHere,
    RunOptions,
)
from harness.cli.shares import shares_by_name
from harness.cli.what_runs import CaseOptions

if TYPE_CHECKING:
    from harness.bisection.search_record import Asked
    from harness.bisection.trials import Trials

_OF_KNOWN = 0.001
"""How often a start of a model of which everything is known says something else than the next one, at most."""
_ONE = "a search is about one"
_USUAL = 0.01
_PASSES = 0.05


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(expanded(bisect))


def bisect(
    case: CaseArgument,
    good: Annotated[str, typer.Option("--good", metavar="BUILD", help="A build in which nothing is broken.")],
    bad: Annotated[str, typer.Option("--bad", metavar="BUILD", help="A later one, in which something is.")],
    builds: Annotated[
        Path | None,
        typer.Option("--builds", metavar="FILE", help="All builds in order, one a line: interpreters, images, wheels."),
    ] = None,
    make: Make = "",
    paired: Annotated[
        bool,
        typer.Option(
            "--paired",
            help="Judge each build beside the good one, not by the case's checks: also a loss that is inside a bound.",
        ),
    ] = False,
    broken_is_bad: Annotated[
        bool, typer.Option("--broken-is-bad", help="An engine that breaks is bad; else such a build is left out.")
    ] = False,
    quantity: Quantities = None,
    margin: Margins = None,
    false_alarm: FalseAlarm = None,
    confidence: Annotated[
        float, typer.Option(min=0.5, max=0.999999, help="With which the first bad build is named.")
    ] = 0.95,
    starts: Annotated[int, typer.Option(min=2, max=10_000, help="Most starts in all.")] = 40,
    platform: PlatformHere = None,
    *,
    where: RunOptions,
    how: BuildOptions,
    which: CaseOptions,
    runs: Annotated[
        Path | None,
        typer.Option("--runs", help="Folder for the run directories, new or of the same search; default below runs/."),
    ] = None,
) -> int:
    """Find the first build in which a case is broken, with as few starts as possible; the same command goes on."""
    from harness.bisection.build_list import build_list
    from harness.bisection.search_record import FILE, Asked
    from harness.bisection.trials import Trials, require_builds
    from harness.comparison import quantities
    from harness.comparison.named_builds import maker, without_build
    from harness.host import signals
    from harness.run.console import BriefConsole
    from harness.run.folders import claimed

    options = without_build(where.options(how.build()))
    names = build_list(good, bad, builds, make)
    margins = shares_by_name("--margin", margin)
    point = which.one_point(case, platform, _ONE, measured=True)
    by_pairs = paired or bool(point.case.without_baseline)
    if by_pairs and broken_is_bad:
        raise UsageError("--broken-is-bad: not beside the good build, where whatever breaks cannot be compared")
    if not by_pairs:
        if quantity or margins:
            raise UsageError("--quantity and --margin: say what is compared with the good build; add --paired")
        point = which.one_point(case, platform, _ONE)
    elif not quantity:
        serve = point.case.serve_of("decode" if point.case.topology.kind == "disagg" else "server")
        quantity = ["acceptance_length"] if serve.speculation else ["accuracy"]
    compared = quantities.chosen(quantity or [], margins) if by_pairs else {}
    if make:
        maker(make, good)
    else:
        require_builds(point, names, options)
    of_known = point.case.is_known
    asked = Asked(
        case=point.id,
        platform=point.platform,
        builds=names,
        make=make,
        by="paired" if by_pairs else "checks",
        quantities=tuple(compared),
        margins={name: each.margin for name, each in compared.items()},
        broken_is_bad=broken_is_bad,
        false_alarm=false_alarm or (_OF_KNOWN if of_known else _USUAL),
        false_pass=_OF_KNOWN if of_known else _PASSES,
        confidence=confidence,
    )
    with claimed(runs, RUNS, goes_on=FILE) as folder, signals.handled():
        return _search(asked, Trials(point, options, compared, folder, BriefConsole()), starts)


def _search(asked: Asked, trials: Trials, starts: int) -> int:
    """Begin the search, or go on with it, and say what it found."""
    from harness import __version__
    from harness.bisection import conclusion
    from harness.bisection.search import Bisection, least_starts
    from harness.bisection.search_record import Search, begun, keep
    from harness.host import files
    from harness.run.reap import clear

    folder, console, number = trials.folder, trials.console, len(asked.builds)
    search = begun(folder, asked)
    if search is None:
        search = Search(harness=__version__, asked=asked)
        keep(folder, search)
        console.line(f"{number} builds: {least_starts(number)} starts if nothing is in doubt")
    else:
        clear(folder)
        console.line(f"going on after {len(search.trials)} starts")
    shows = trials.shows if asked.by == "paired" else None
    searched = Bisection(search, folder, trials.attempt, shows, console.line, starts)
    first = searched.run()
    found = searched.search
    told = list(conclusion.lines(found, trials.build(found, first), trials.build(found, first - 1), folder))
    files.write(folder / conclusion.PAGE, conclusion.page(found, told))
    for line in (*told, f"page: {folder / conclusion.PAGE}"):
        console.line(line)
    return EXIT_PASSED
