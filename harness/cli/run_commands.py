"""The part of the command line that runs cases: whole, or stage by stage."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.base.domain import Outcome, Stage
from harness.base.errors import EXIT_PASSED, CannotJudge, NothingSelected, UsageError
from harness.base.texts import say
from harness.cli.again import EarlierOptions, asked, resumable
from harness.cli.assembling import expanded
from harness.cli.options import (
    RUNS,
    AttachOptions,
    BuildOptions,
    CaseArgument,
    CaseArguments,
    Devices,
    Jobs,
    NewRuns,
    PlatformHere,
    Ray,
    RunDirectory,
    RunOptions,
)
from harness.cli.statistics_options import FAMILY_WISE, AllowInconclusive, FamilyWise, ReferenceRuns
from harness.cli.what_runs import CaseOptions, OnlyOptions, run_options

if TYPE_CHECKING:
    from harness.run.context import Context
    from harness.run.rundir import RunDir


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(resumable(expanded(run)))
    app.command()(expanded(serve))
    app.command("health-wait")(health_wait)
    app.command("eval")(evaluate)
    app.command("assert")(assert_)
    app.command()(stop)
    app.command(hidden=True)(stage)


def run(
    context: typer.Context,
    only: OnlyOptions,
    wanted: CaseArguments = None,
    case: Annotated[list[str] | None, typer.Option(help="The same as the argument; may be repeated.")] = None,
    platform: PlatformHere = None,
    *,
    where: RunOptions,
    how: BuildOptions,
    attached: AttachOptions,
    earlier: EarlierOptions,
    which: CaseOptions,
    runs: NewRuns = None,
    devices: Devices = None,
    jobs: Jobs = None,
    ray: Ray = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the servers running.")] = False,
    reference: ReferenceRuns = None,
    family_wise: FamilyWise = FAMILY_WISE,
    allow_inconclusive: AllowInconclusive = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Of each point one line, and what is wrong.")] = False,
    exitfirst: Annotated[
        bool, typer.Option("--exitfirst", "-x", help="End after the first point that is not green.")
    ] = False,
) -> int:
    """Run cases from start to verdict: serve, health-wait, eval, assert, stop."""
    from harness.cli.crew import arguments, crew
    from harness.cli.several_hosts import crew_on_ray
    from harness.host import signals
    from harness.plan.detectable import together
    from harness.run import reference_runs, reuse, runtimes
    from harness.run.console import Console, QuietConsole
    from harness.run.prepare import require_engine
    from harness.run.resuming import opened
    from harness.run.shared_fault import tell_once
    from harness.run.side_by_side import side_by_side
    from harness.run.supervise import run_all

    if earlier.folder and runs:
        raise UsageError(f"--runs: not with --resume or --failed, which go on in {earlier.folder}")
    names = [*(wanted or []), *(case or [])]
    options = replace(run_options(where, how, attached), reuse=tuple(earlier.reuse or ()))
    reuse.require(options.reuse)
    given = {"keep": keep, "devices": devices is not None, "reuse": bool(options.reuse)}
    if options.attachment and any(given.values()):
        name = next(name for name, is_given in given.items() if is_given)
        raise UsageError(f"--{name}: not with servers that run already: they are only asked")
    chosen = which.points(
        names, platform, narrowed=only.narrowing(), at_most=devices,
        measured=attached.measure_only, attached=options.attachment is not None, hosts=ray is not None,
    )  # fmt: skip
    require_engine(chosen, options)
    if reference is not None:
        reference_runs.require(chosen, reference)
    alarms = together(chosen, family_wise, paired=reference is not None)
    options = replace(options, alarm_share=alarms.share, reference=reference, cluster=ray or "")
    told = partial(arguments, attached, alarm_share=alarms.share)
    if ray is None:
        several = crew(
            jobs, chosen, options,
            devices=devices, keep=keep, told=told(where, how, which, reuse=earlier.reuse, reference=reference),
        )  # fmt: skip
    else:
        several = crew_on_ray(ray, jobs, chosen, options, where, how, which, devices=devices, keep=keep, told=told)
    console = QuietConsole() if quiet else Console()
    with (
        signals.handled(),
        opened(
            runs, RUNS, chosen, asked(context), console, going_on=earlier.folder, failed=bool(earlier.failed)
        ) as now,
    ):
        if alarms.words and not attached.measure_only:
            console.line(alarms.words)
        perform = side_by_side(several, now.folder, console) if several else None
        if ray is None and (missing := runtimes.missing(options.runtime)):
            perform = tell_once(missing, console)
        return run_all(
            chosen, now.folder, options, console,
            keep=keep, attempt=now, perform=perform,
            allow_inconclusive=allow_inconclusive, until_red=exitfirst,
        )  # fmt: skip


def serve(
    case: CaseArgument,
    run_dir: Annotated[Path, typer.Option(help="New run directory.")],
    platform: PlatformHere = None,
    *,
    where: RunOptions,
    how: BuildOptions,
    attached: AttachOptions,
    which: CaseOptions,
) -> int:
    """Stage 1: make a run directory and start the servers, which go on running; or note those that run already."""
    from harness.host import signals
    from harness.run import prepare

    options = run_options(where, how, attached)
    chosen = which.one_point(
        case, platform, "a run directory holds one",
        measured=attached.measure_only, attached=options.attachment is not None,
    )  # fmt: skip
    prepare.require_engine([chosen], options)
    with signals.handled():
        rundir = prepare.create(chosen, run_dir, options)
        context = _context(rundir)
        try:
            not_there = prepare.run(context, options, chosen)
            if not not_there:
                _perform(context, Stage.SERVE)
                rundir.keep()
        except BaseException:
            if context.prepared.runtime is not None:
                with signals.deferred():
                    _perform(context, Stage.STOP)
            raise
    if not_there:
        raise NothingSelected(f"{chosen.id} does not run: {not_there}")
    return EXIT_PASSED


def health_wait(run_directory: RunDirectory) -> int:
    """Stage 2: wait until the servers are ready for the case, or say at once why they never will be."""
    return _open_stage(run_directory, Stage.HEALTH_WAIT)


def evaluate(run_directory: RunDirectory) -> int:
    """Stage 3: ask the questions and read the counters before and after."""
    return _open_stage(run_directory, Stage.EVAL)


def assert_(
    run_directory: RunDirectory,
    *,
    reference: ReferenceRuns = None,
    allow_inconclusive: AllowInconclusive = False,
) -> int:
    """Stage 4: judge the files of a run; works on any machine, and as often as wanted."""
    from harness.reports.result import exit_code
    from harness.run import finished
    from harness.run.console import Console
    from harness.run.judge import REJUDGED, judge, judge_again
    from harness.run.reference_runs import compared_with
    from harness.run.rundir import RunDir

    rundir, console = RunDir.existing(run_directory), Console()
    recorded = finished.verdict(rundir)
    if reference is not None and recorded is None:
        raise UsageError(f"--reference: {run_directory} is not over; give it to `harness run`")
    compared = compared_with(reference, rundir) if reference is not None else None
    result = judge(rundir, strict=True) if recorded is None else judge_again(rundir, recorded, compared)
    console.result(result)
    if recorded is not None:
        console.line(f"judged again: {REJUDGED}; result.json, the run's own verdict, stays: {recorded.outcome}")
    return exit_code([result], allow_inconclusive=allow_inconclusive)


def stop(run_directory: RunDirectory) -> int:
    """Stage 5: stop the servers, prove that they are gone, and put that into the verdict."""
    from harness.run import finished
    from harness.run.judge import judge
    from harness.run.rundir import RunDir

    rundir = RunDir.existing(run_directory)
    try:
        recorded = finished.verdict(rundir)
        rundir.stages()
    except UsageError:
        with suppress(CannotJudge):  # first of all nothing may be left running
            _stage(rundir, Stage.STOP)
        raise
    if recorded is not None:
        say(f"{run_directory}: stopped already")
        return EXIT_PASSED
    _stage(rundir, Stage.STOP)
    result = judge(RunDir.existing(run_directory), strict=True)
    teardown = [check for check in result.checks if check.name == "teardown" and check.outcome is Outcome.ERROR]
    if teardown:
        raise CannotJudge(f"teardown: {teardown[0].message}")
    return EXIT_PASSED


def stage(name: Stage, run_directory: RunDirectory) -> int:
    """Run one stage on this machine, whatever runtime the case names: this is what runs inside a container."""
    from harness.host import signals
    from harness.run import finished, stages
    from harness.run.rundir import RunDir

    rundir = RunDir.existing(run_directory)
    if name is not Stage.STOP:
        finished.require_open(rundir, name)
    with signals.handled():
        stages.perform(name, _context(rundir))
    return EXIT_PASSED


def _context(rundir: RunDir) -> Context:
    from harness.run.console import Console
    from harness.run.context import Context
    from harness.run.progress import Progress

    return Context(rundir, Progress(rundir, Console().show))


def _perform(context: Context, which: Stage) -> None:
    from harness.run import runtimes
    from harness.run.console import Console

    runtimes.of(context.runtime, Console()).perform(which, context)


def _open_stage(run_directory: Path, which: Stage) -> int:
    from harness.run import finished
    from harness.run.rundir import RunDir

    rundir = RunDir.existing(run_directory)
    finished.require_open(rundir, which)
    _stage(rundir, which)
    return EXIT_PASSED


def _stage(rundir: RunDir, which: Stage) -> None:
    from harness.host import signals
    from harness.run import inplace

    inplace.check(rundir, which)
    with signals.handled():
        _perform(_context(rundir), which)
