"""The part of the command line that makes a baseline of what a case measures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.base.errors import EXIT_PASSED, CannotJudge, UsageError
from harness.base.texts import say
from harness.cli.assembling import expanded
from harness.cli.options import (
    CASES,
    RUNS,
    BuildOptions,
    CaseArgument,
    Cases,
    Models,
    PlatformHere,
    RunOptions,
)
from harness.cli.shares import share
from harness.cli.what_runs import CaseOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from harness.base.settings import Expectation
    from harness.calibration import case_tables
    from harness.calibration.equal_runs import Done
    from harness.calibration.proposal import Values
    from harness.plan.points import Planned


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(expanded(calibrate))


def calibrate(
    case: CaseArgument,
    number: Annotated[int, typer.Option("--runs", min=2, max=1000, help="Equal runs, each on a start of its own.")] = 5,
    repeats: Annotated[
        int, typer.Option(min=1, max=100, help="Times that each start is asked; says what of the noise is within one.")
    ] = 1,
    platform: PlatformHere = None,
    *,
    where: RunOptions,
    how: BuildOptions,
    until: Annotated[
        str,
        typer.Option(metavar="SHARE", help="Stop as soon as every value is known to this share: 0.5%; never before 3."),
    ] = "",
    false_alarm: Annotated[
        float,
        typer.Option(min=1e-9, max=0.4, help="How often an equal run of the whole case is red, at most."),
    ] = 0.01,
    margin: Annotated[
        str,
        typer.Option(metavar="SHARE", help="Loss that must not pass, 2%; the bound follows from the noise if none."),
    ] = "",
    reason: Annotated[str, typer.Option(help="Why the old figures go; needed where a bound gets wider.")] = "",
    valid_days: Annotated[int, typer.Option(min=1, max=3650, help="Days until it must be measured again.")] = 180,
    model: Models = None,
    runs_below: Annotated[
        Path | None, typer.Option(help="New folder for the run directories; default below runs/.")
    ] = None,
    cases: Cases = CASES,
) -> int:
    """Run a case several times, and write what it measures into its file as the baseline, with interval and bound."""
    from harness.calibration import equal_runs
    from harness.calibration.proposal import LEAST_RUNS, settled
    from harness.host import signals
    from harness.run.console import Console
    from harness.run.folders import claimed
    from harness.run.prepare import require_engine

    wanted, lost = share("--until", until), share("--margin", margin)
    options, console, done = where.options(how.build()), Console(), list[equal_runs.Done]()
    point = _point(CaseOptions(model=model, cases=cases), case, platform)
    if point.case.evaluation.looks and lost is None:
        raise UsageError(f"{point.id} decides early (evaluation.looks): give --margin, the loss that must not pass")
    require_engine([point], options)
    with claimed(runs_below, RUNS) as folder, signals.handled():
        for index in range(1, number + 1):
            done += equal_runs.run_start(point, folder, index, options, console, repeats)
            found = equal_runs.values(done, repeats)
            if wanted is not None and index >= LEAST_RUNS and settled(found, wanted):
                break
    written, refused = _write(point, done, found, Wish(false_alarm, lost, reason, valid_days))
    for line in written:
        say(line)
    if wanted is not None and not (index >= LEAST_RUNS and settled(found, wanted)):
        refused.append(f"not known to {wanted:.2%} after {number} runs")
    if refused:
        raise CannotJudge(f"{point.id} is inconclusive", cause="; ".join(refused))
    return EXIT_PASSED


@dataclass(frozen=True)
class Wish:
    """What the options say about the baselines."""

    false_alarm: float
    margin: float | None
    reason: str
    valid_days: int


def _write(point: Planned, done: list[Done], found: list[Values], wish: Wish) -> tuple[list[str], list[str]]:
    """Write the tables; what is in them in words, and why some of them cannot gate."""
    from harness.calibration import case_tables, equal_runs
    from harness.calibration.proposal import Asked, passport, proposed
    from harness.statistics.decisions import share_each

    there = equal_runs.where(done, wish.valid_days)
    asked = Asked(share_each(wish.false_alarm, sum(len(each.runs[0]) for each in found)), wish.margin)
    tables: dict[case_tables.Key, dict[str, Any]] = {}
    lines, refused = list[str](), list[str]()
    for each in found:
        before, kind, weakness = _of(point, each.key)
        table = proposed(each, asked, before.direction if before else "")
        why = table.pop("why", "")
        origin = f"harness calibrate: {len(done)} runs of {there['engine']} on {there['device']}, {there['date']}"
        if weak := list(weakness(kind.model_validate({**table, "origin": origin}), point.case.evaluation.GUESSED)):
            table["status"], why = "provisional", weak[0]
        wider = before is not None and before.passport and _relative(before) < table["relative_tolerance"]
        if wider and not wish.reason:
            change = f"from {_relative(before):.2%} to {table['relative_tolerance']:.2%}"
            where = f"{point.case_file.path}: {'.'.join(each.key)}"
            raise UsageError(f"{where}: the bound would get wider, {change}; say why with --reason")
        told = {"reason": wish.reason or "measured anew"}
        tables[each.key] = {**table, "origin": origin, **told, "passport": passport(each, asked, there)}
        lines.append(
            f"{each.name}: {table['expected']} -{table['relative_tolerance']:.2%}, {len(done)} runs of {each.n}"
        )
        if why:
            refused.append(f"{each.name} is provisional: {why}")
    case_tables.write(point.case_file, point.platform, tables, there["date"], point.variant)
    return [*lines, f"written: {point.case_file.path}"], refused


def _of(point: Planned, key: case_tables.Key) -> tuple[Expectation | None, Any, Callable[..., Iterable[str]]]:
    """The baseline that the case has now, if any, its type, and what asks whether it catches anything."""
    from harness.checks import CHECKS, parity

    table, name = key
    if table == "comparisons":
        return point.case.comparisons.get(name), parity.ComparisonSettings, parity.weakness
    check = CHECKS[name]
    return getattr(point.case.checks, name), check.settings, check.weakness


def _relative(settings: Any) -> float:
    from harness.base.settings import listed

    first = listed(settings.expected)[0]
    return float(settings.width(first) / abs(first)) if first else 1.0


def _point(which: CaseOptions, case: str, platform: str | None) -> Planned:
    """The one point that is meant: each point of a matrix has baselines of its own.

    Raises:
        UsageError: It is not one, its values are computed, or it stands for other models.
    """
    point = which.one_point(case, platform, "each is measured by itself", measured=True)
    if point.case.is_known:
        raise UsageError(f"{point.case_file.path}: its values are computed, not measured: run `harness generate`")
    return point
