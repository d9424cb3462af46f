"""The part of the command line that looks at cases and starts nothing."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.base.errors import EXIT_PASSED, NothingSelected, UsageError
from harness.base.settings import cut
from harness.base.texts import say
from harness.cli.assembling import expanded
from harness.cli.options import (
    CASES,
    CaseArgument,
    CaseArguments,
    Cases,
    Checkpoints,
    Devices,
    EngineVersion,
    Platform,
)
from harness.cli.statistics_options import FAMILY_WISE, FamilyWise
from harness.cli.what_runs import OnlyOptions

if TYPE_CHECKING:
    from harness.plan.points import Versions


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(expanded(plan))
    app.command()(show)


def plan(
    only: OnlyOptions,
    wanted: CaseArguments = None,
    platform: Platform = None,
    devices: Devices = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Part I of N of about the same device-seconds.")
    ] = None,
    times: Annotated[
        Path | None,
        typer.Option(
            help="File of `harness learn` with what points took, instead of what their cases expect; for shards the "
            "same for all parts."
        ),
    ] = None,
    changed_files: Annotated[
        Path | None, typer.Option(help="File with one changed path of the engine's repository a line; - reads stdin.")
    ] = None,
    form: Annotated[
        Literal["table", "json", "github"], typer.Option("--format", help="github: a matrix for GitHub Actions.")
    ] = "table",
    power: Annotated[
        bool, typer.Option("--power", help="What each check sees at its n, and how often it is red for nothing.")
    ] = False,
    family_wise: FamilyWise = FAMILY_WISE,
    checkpoints: Checkpoints = "",
    engine_version: EngineVersion = None,
    cases: Cases = CASES,
) -> int:
    """Say what would run, and of everything else why not; starts nothing."""
    from harness.devices.accelerators import on_paper
    from harness.plan import detectable
    from harness.plan import points as planning
    from harness.plan.listing import render
    from harness.run import learned_times
    from harness.run.selection import matching

    planned = matching(
        cases,
        wanted=wanted or [],
        narrowed=only.narrowing(),
        platform=platform,
        checkpoints=checkpoints,
        versions=_versions(engine_version),
    )
    if devices is not None:
        planned = planning.within(planned, devices)
    if changed_files is not None:
        planned = planning.touched(planned, _lines(changed_files))
    if times is not None:
        planned = learned_times.existing(times).applied(planned)
    if shard is not None:
        planned = planning.shard(planned, *_shard(shard))
    if power and form != "table":
        raise UsageError(f"--power: a table of its own; leave --format {form} out")
    say(detectable.table(planned, family_wise) if power else render(planned, form, on_paper))
    if all(each.skip for each in planned) and form != "table":
        raise NothingSelected("nothing of this runs here; harness plan --format table says why")
    return EXIT_PASSED


def show(
    case: CaseArgument,
    platform: Platform = None,
    checkpoints: Checkpoints = "",
    engine_version: EngineVersion = None,
    cases: Cases = CASES,
) -> int:
    """Print a case as shell lines, with every check and its origin; needs no engine, no device and no network."""
    from harness.devices.accelerators import on_paper
    from harness.plan.show import show as shown
    from harness.run.selection import matching

    found = matching(
        cases,
        wanted=[case],
        platform=platform,
        checkpoints=checkpoints,
        versions=_versions(engine_version),
    )
    say("\n".join(shown(each, on_paper(each.platform)) for each in found), end="")
    return EXIT_PASSED


def _versions(named: str | None) -> Versions:
    """The version that somebody names, whatever the engine, else those that pins and locks stand for."""
    from packaging.version import InvalidVersion, Version

    if named is None:
        from harness.images.pinned_versions import version

        return version
    try:
        Version(named)
    except InvalidVersion:
        raise UsageError(f"--engine-version {cut(named)}: must be a version, as in 0.33.0 or 0.34.0.dev12") from None
    return lambda _engine, _platform: named


def _lines(path: Path) -> list[str]:
    try:
        if str(path) == "-":
            text = sys.stdin.read() if sys.stdin else ""
        elif path.is_fifo() and not str(path).startswith(("/dev/fd/", "/proc/")):
            raise UsageError(f"--changed-files {path}: a pipe, to which nobody may write; give a file, or - for stdin")
        else:
            text = path.read_text(encoding="utf-8", errors="replace")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UsageError(f"--changed-files {path}: cannot be read: {reason}") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def _shard(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", text)
    if not (found and 1 <= int(found[1]) <= int(found[2])):
        raise UsageError(f"--shard {text}: must be like 2/4, from 1/4 to 4/4")
    return int(found[1]), int(found[2])
