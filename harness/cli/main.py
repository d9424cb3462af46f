"""The command line. Everything heavy is imported inside the commands, so that ``--help`` is instant."""

from __future__ import annotations

import sys
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.base.domain import Outcome, Stage
from harness.base.errors import CannotJudge, UsageError
from harness.base.texts import say
from harness.cli import (
    bundle_commands,
    canary_commands,
    case_commands,
    doctor_commands,
    image_commands,
    pin_commands,
    reap_commands,
    report_commands,
)
from harness.cli.case_commands import CASES, CasesOption, CheckpointsOption, PlatformOption, require_program
from harness.cli.image_commands import (
    BaseImageOption,
    CaBundleOption,
    EngineFromOption,
    EngineWheelOption,
    NetworkOption,
    options_of_build,
)
from harness.cli.pin_commands import AllowUnpinnedOption, RegistryOption
from harness.cli.reap_commands import RUNS

if TYPE_CHECKING:
    from harness.images.engine_image import Build
    from harness.run.context import Context
    from harness.run.prepare import Options
    from harness.run.rundir import RunDir

app = typer.Typer(
    name="harness",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Acceptance tests for builds of vLLM and SGLang.",
    epilog="Exit codes: 0 passed, 1 a check failed, 2 wrong input, 3 nothing selected, 4 could not judge, "
    "130 interrupted.",
)


_WEEK = 7 * 24 * 3600.0


class RuntimeChoice(StrEnum):
    AUTO = "auto"
    LOCAL = "local"
    DOCKER = "docker"


RuntimeOption = Annotated[
    RuntimeChoice,
    typer.Option(help="Where the engine runs; auto: docker where a container engine answers, else local."),
]
EnginePythonOption = Annotated[
    Path | None, typer.Option(help="Test the engine in this interpreter's environment instead of the locked one.")
]
EnvironmentsOption = Annotated[
    Path, typer.Option(help="Folder of the locked engine environments of the local runtime.")
]
WaitOption = Annotated[
    float,
    typer.Option("--wait-for-devices", min=0, max=_WEEK, help="Seconds to wait until enough accelerators are free."),
]
AssumeFreeOption = Annotated[
    bool,
    typer.Option("--assume-free", help="Take accelerators too of which nobody can tell whether they are free."),
]
RunDirArgument = Annotated[
    Path, typer.Argument(metavar="RUN_DIRECTORY", help="Made by `harness serve` or `harness run`.")
]

_ENVIRONMENTS = Path(".nox")


@app.command()
def run(
    cases_wanted: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CASE]...", help="Case ids, patterns ('eagle3/*') or case files; all if none."),
    ] = None,
    case: Annotated[list[str] | None, typer.Option(help="The same as the argument; may be repeated.")] = None,
    suite: Annotated[str | None, typer.Option(help="Only cases of this suite.")] = None,
    platform: PlatformOption = None,
    runtime: RuntimeOption = RuntimeChoice.AUTO,
    engine_python: EnginePythonOption = None,
    environments: EnvironmentsOption = _ENVIRONMENTS,
    base_image: BaseImageOption = None,
    engine_from: EngineFromOption = None,
    engine_wheel: EngineWheelOption = None,
    allow_unpinned: AllowUnpinnedOption = False,
    registry: RegistryOption = None,
    ca_bundle: CaBundleOption = None,
    build_network: NetworkOption = "default",
    wait_for_devices: WaitOption = 0.0,
    assume_free: AssumeFreeOption = False,
    checkpoints: CheckpointsOption = "",
    cases: CasesOption = CASES,
    runs: Annotated[Path | None, typer.Option(help="New folder for the run directories; default below runs/.")] = None,
    devices: Annotated[
        int | None, typer.Option(min=0, help="Accelerators to use; what needs more is skipped and reported as such.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the servers running.")] = False,
) -> None:
    """Run cases from start to verdict: serve, health-wait, eval, assert, stop."""
    from harness.host import signals
    from harness.run.console import Console
    from harness.run.folders import claimed
    from harness.run.prepare import require_engine
    from harness.run.selection import select
    from harness.run.supervise import run_all

    wanted = [*(cases_wanted or []), *(case or [])]
    chosen = select(cases, wanted=wanted, suite=suite, platform=platform, at_most=devices, checkpoints=checkpoints)
    build = options_of_build(base_image, engine_from, engine_wheel, allow_unpinned, registry, ca_bundle, build_network)
    options = _options(runtime, engine_python, environments, build, wait_for_devices, assume_free=assume_free)
    require_engine(chosen, options)
    with claimed(runs, RUNS) as folder, signals.handled():
        sys.exit(run_all(chosen, folder, options, Console(), keep=keep))


@app.command()
def serve(
    case: Annotated[str, typer.Argument(help="Case id, as in disagg/known_answer_eagle3.")],
    run_dir: Annotated[Path, typer.Option(help="New run directory.")],
    platform: PlatformOption = None,
    runtime: RuntimeOption = RuntimeChoice.AUTO,
    engine_python: EnginePythonOption = None,
    environments: EnvironmentsOption = _ENVIRONMENTS,
    base_image: BaseImageOption = None,
    engine_from: EngineFromOption = None,
    engine_wheel: EngineWheelOption = None,
    allow_unpinned: AllowUnpinnedOption = False,
    registry: RegistryOption = None,
    ca_bundle: CaBundleOption = None,
    build_network: NetworkOption = "default",
    wait_for_devices: WaitOption = 0.0,
    assume_free: AssumeFreeOption = False,
    checkpoints: CheckpointsOption = "",
    cases: CasesOption = CASES,
) -> None:
    """Stage 1: make a run directory and start the servers, which go on running."""
    from harness.host import signals
    from harness.run import prepare
    from harness.run.selection import select

    found = select(cases, wanted=[case], suite=None, platform=platform, checkpoints=checkpoints)
    chosen, *others = [each for each in found if not each.skip]
    if others:
        names = ", ".join(each.id for each in (chosen, *others[:4]))
        more = f" and {len(others) - 4} more" if len(others) > 4 else ""
        raise UsageError(f"{case} has several points, and a run directory holds one; name one of {names}{more}")
    build = options_of_build(base_image, engine_from, engine_wheel, allow_unpinned, registry, ca_bundle, build_network)
    options = _options(runtime, engine_python, environments, build, wait_for_devices, assume_free=assume_free)
    prepare.require_engine([chosen], options)
    with signals.handled():
        rundir = prepare.create(chosen, run_dir)
        context = _context(rundir)
        try:
            prepare.run(context, options)
            _perform(context, Stage.SERVE)
            rundir.keep()
        except BaseException:
            if context.prepared.runtime is not None:
                with signals.deferred():
                    _perform(context, Stage.STOP)
            raise


@app.command("health-wait")
def health_wait(run_directory: RunDirArgument) -> None:
    """Stage 2: wait until the servers are ready for the case, or say at once why they never will be."""
    _open_stage(run_directory, Stage.HEALTH_WAIT)


@app.command("eval")
def evaluate(run_directory: RunDirArgument) -> None:
    """Stage 3: ask the questions and read the counters before and after."""
    _open_stage(run_directory, Stage.EVAL)


@app.command("assert")
def assert_(run_directory: RunDirArgument) -> None:
    """Stage 4: judge the files of a run; works on any machine, and as often as wanted."""
    from harness.run import finished
    from harness.run.console import Console
    from harness.run.judge import REJUDGED, judge, judge_again
    from harness.run.rundir import RunDir

    rundir, console = RunDir.existing(run_directory), Console()
    recorded = finished.verdict(rundir)
    result = judge(rundir, strict=True) if recorded is None else judge_again(rundir, recorded)
    console.result(result)
    if recorded is not None:
        console.line(f"judged again: {REJUDGED}; result.json, the run's own verdict, stays: {recorded.outcome}")
    sys.exit(result.exit_code)


@app.command()
def stop(run_directory: RunDirArgument) -> None:
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
        return
    _stage(rundir, Stage.STOP)
    result = judge(RunDir.existing(run_directory), strict=True)
    teardown = [check for check in result.checks if check.name == "teardown" and check.outcome is Outcome.ERROR]
    if teardown:
        raise CannotJudge(f"teardown: {teardown[0].message}")


@app.command(hidden=True)
def stage(name: Stage, run_directory: RunDirArgument) -> None:
    """Run one stage on this machine, whatever runtime the case names: this is what runs inside a container."""
    from harness.host import signals
    from harness.run import finished, stages
    from harness.run.rundir import RunDir

    rundir = RunDir.existing(run_directory)
    if name is not Stage.STOP:
        finished.require_open(rundir, name)
    with signals.handled():
        stages.perform(name, _context(rundir))


reap_commands.register(app)
image_commands.register(app)
canary_commands.register(app)
case_commands.register(app)
bundle_commands.register(app)
pin_commands.register(app)
report_commands.register(app)
doctor_commands.register(app)


def _options(
    runtime: RuntimeChoice,
    engine_python: Path | None,
    environments: Path,
    build: Build,
    wait_for_devices: float,
    *,
    assume_free: bool,
) -> Options:
    from harness.run.prepare import Options

    if engine_python and runtime is RuntimeChoice.DOCKER:
        raise UsageError("--engine-python names an interpreter of this machine: not with --runtime docker")
    if engine_python:
        require_program("--engine-python", engine_python)
    return Options(
        runtime=runtime.value,
        engine_python=engine_python,
        environments=environments,
        build=build,
        wait_for_devices=wait_for_devices,
        assume_free=assume_free,
    )


def _context(rundir: RunDir) -> Context:
    from harness.run.console import Console
    from harness.run.context import Context
    from harness.run.progress import Progress

    return Context(rundir, Progress(rundir, Console().show))


def _perform(context: Context, which: Stage) -> None:
    from harness.run import runtimes
    from harness.run.console import Console

    runtimes.of(context.runtime, Console()).perform(which, context)


def _open_stage(run_directory: Path, which: Stage) -> None:
    from harness.run import finished
    from harness.run.rundir import RunDir

    rundir = RunDir.existing(run_directory)
    finished.require_open(rundir, which)
    _stage(rundir, which)


def _stage(rundir: RunDir, which: Stage) -> None:
    from harness.host import signals
    from harness.run import inplace

    inplace.check(rundir, which)
    with signals.handled():
        _perform(_context(rundir), which)
