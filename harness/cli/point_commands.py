"""The part of the command line that a run calls: for each of several points, and for what is on another host."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.again import Reuse
from harness.cli.assembling import expanded
from harness.cli.options import AttachOptions, BuildOptions, CaseArgument, PlatformHere, RunDirectory, RunOptions
from harness.cli.statistics_options import ReferenceRuns
from harness.cli.what_runs import CaseOptions, run_options


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(hidden=True)(expanded(point))
    app.command(hidden=True)(hold)
    app.command("stand-in", hidden=True)(stand_in)


def point(
    case: CaseArgument,
    run_dir: Annotated[Path, typer.Option(help="New run directory.")],
    platform: PlatformHere = None,
    *,
    where: RunOptions,
    how: BuildOptions,
    attached: AttachOptions,
    which: CaseOptions,
    reuse: Reuse = None,
    reference: ReferenceRuns = None,
    host_fact: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="What is on record of the host, besides.")
    ] = None,
    alarm_share: Annotated[float, typer.Option(help="What of the stated false-alarm rates it may use.")] = 1.0,
) -> int:
    """One point of a `harness run` that has several at a time, which is told of that run's end by standard input."""
    from harness.host import signals
    from harness.run.console import Console
    from harness.run.supervise import run_point

    signals.ended_with_parent()
    options = replace(
        run_options(where, how, attached),
        reuse=tuple(reuse or ()),
        reference=reference,
        alarm_share=alarm_share,
        host_facts=tuple((name, value) for name, _, value in (each.partition("=") for each in host_fact or ())),
    )
    (chosen,) = which.points([case], platform, measured=attached.measure_only, attached=options.attachment is not None)
    with signals.handled():
        return run_point(chosen, run_dir.parent, options, Console(), lambda _: {}, keep=False).exit_code


def hold() -> int:
    """A program that a host was asked to run, as standard input says, and that ends with it."""
    from harness.hosts import held

    return held.hold()


def stand_in(run_directory: RunDirectory, name: str) -> int:
    """Run a server on another host, and stand for it here until it has ended."""
    from harness.run.rundir import RunDir
    from harness.run.spread import run_elsewhere

    return run_elsewhere(RunDir.existing(run_directory), name)
