"""One case from its file to its verdict, and several of them to an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from harness.ground.clock import utc_now
from harness.ground.domain import Outcome, Stage, StageRecord
from harness.ground.errors import CannotJudge, Interrupted, UsageError, refused
from harness.ground.secrets import mask
from harness.mechanism import files, signals
from harness.policy.plan import Planned
from harness.policy.report import junit
from harness.policy.report.result import Result, Timing, conclude, exit_code, skipped
from harness.run import prepare, runtimes
from harness.run.console import Console
from harness.run.context import Context
from harness.run.judge import judge
from harness.run.progress import Progress, words
from harness.run.rundir import RunDir, directly_below

_INTERRUPTED = "interrupted before it began"
_STAGES = (Stage.SERVE, Stage.HEALTH_WAIT, Stage.EVAL)


def run_all(
    selected: Sequence[Planned], runs: Path, options: prepare.Options, console: Console, *, keep: bool = False
) -> int:
    """Run every case, whatever becomes of the others, and report those that are not to run, or were not after a signal.

    Writes one JUnit file for all and returns the exit code.
    """
    results: list[Result] = []
    left_out = "the run broke off before it began"
    try:
        for each in selected:
            if each.skip:
                results.append(_skipped(each, each.skip, console))
                continue
            results.append(_run_point(each, runs, options, console, keep=keep))
            if results[-1].exit_code == Interrupted.exit_code:
                left_out = _INTERRUPTED
                break
    except Interrupted:
        left_out = _INTERRUPTED
        raise
    finally:
        with signals.deferred():
            if results or left_out == _INTERRUPTED:
                for each in selected[len(results) :]:
                    # Judged it may be all the same: the signal came between the verdict and its place in the list.
                    judged = _judged(runs / each.folder)
                    results.append(judged or _skipped(each, each.skip or left_out, console))
                files.write(runs / "junit.xml", junit.render(results))
                console.line(f"junit: {runs / 'junit.xml'}")
    return exit_code(results)


def _run_point(each: Planned, runs: Path, options: prepare.Options, console: Console, *, keep: bool) -> Result:
    """One point, whatever becomes of it: what breaks before or after its stages is its error, and nobody else's."""
    path = None
    try:
        path = directly_below(runs, each.folder)
        return run_case(prepare.create(each, path), options, console, keep=keep)
    except Exception as error:  # noqa: BLE001 # a fault of ours is on record, and other cases go on
        return _broken(each, path, error, console)


def _broken(each: Planned, path: Path | None, error: Exception, console: Console) -> Result:
    """The verdict on a point that has none of its own."""
    text, details = (mask(part) for part in words(refused(error) if isinstance(error, OSError) else error))
    result = conclude(
        suite=each.suite,
        name=each.name,
        platform=each.platform,
        started=utc_now().isoformat(),
        stages=[StageRecord(Stage.PREPARE, Outcome.ERROR, 0.0, text, details)],
        checks=[],
        provenance={},
        timing=Timing(),
        interrupted=False,
    )
    result = _with_code_of(error, result)
    with suppress(Exception):  # it may be what broke
        if path and path.is_dir():
            RunDir(path).write("result", Result, result)
    console.result(result)
    return result


def _with_code_of(error: BaseException | None, result: Result) -> Result:
    """A point whose input is wrong says so, unless something weighs more."""
    wrong_input = isinstance(error, UsageError) and result.exit_code == CannotJudge.exit_code
    return result.model_copy(update={"exit_code": UsageError.exit_code}) if wrong_input else result


def _skipped(each: Planned, reason: str, console: Console) -> Result:
    console.line(f"skipped {each.id}: {reason}")
    now = utc_now().isoformat()
    return skipped(suite=each.suite, name=each.name, platform=each.platform, started=now, reason=reason)


def _judged(path: Path) -> Result | None:
    return RunDir(path).read("result", Result)


def run_case(rundir: RunDir, options: prepare.Options, console: Console, *, keep: bool = False) -> Result:
    """Run one case through all its stages. Whatever happens, what was started is stopped and the verdict written."""
    context = Context(rundir, Progress(rundir, console.show))
    console.line(f"case {context.prepared.suite}/{context.prepared.name}, run directory {console.path(rundir.path)}")
    stage: Stage = Stage.PREPARE
    broken: BaseException | None = None
    try:
        prepare.run(context, options)
        place = runtimes.of(context.runtime, console)
        for stage in _STAGES:
            place.perform(stage, context)
    except CannotJudge:
        pass  # in events.jsonl, from which the verdict is made
    except (Interrupted, Exception) as error:  # noqa: BLE001 # a fault of ours is on record, and other cases go on
        broken = error
    finally:
        try:
            result = _finish(context, console, stage, broken, keep=keep)
        finally:
            if not keep:
                context.held.close()
    console.result(result)
    return _with_code_of(broken, result)


def _finish(context: Context, console: Console, stage: Stage, broken: BaseException | None, *, keep: bool) -> Result:
    """Stop and judge. A signal that arrives meanwhile waits for the end, and then counts."""
    rundir = context.rundir
    try:
        with signals.deferred():
            if keep and not broken:
                rundir.keep()
                console.line(f"kept running; stop with: harness stop {console.path(rundir.path)}")
            elif context.prepared.runtime is not None:
                with suppress(CannotJudge):
                    runtimes.of(context.runtime, console).perform(Stage.STOP, context)
    except Interrupted as signal:
        broken = signal
    except Exception as error:  # noqa: BLE001 # as above
        stage, broken = Stage.STOP, error
    if broken:
        # The stage may have known nothing of it: it had ended already, or it ran in a container.
        context.progress.broke_off(stage, broken)
    with signals.deferred():
        return judge(rundir)
