"""One case from its file to its verdict, and several of them to an exit code."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path

from harness.base.clock import utc_now
from harness.base.domain import Outcome, Stage, StageRecord
from harness.base.errors import CannotJudge, HarnessError, Interrupted, UsageError, refused
from harness.base.secrets import mask
from harness.host import files, signals
from harness.plan.points import Planned
from harness.reports.result import Result, Timing, conclude, exit_code, skipped
from harness.run import learned_times, prepare, resuming, runtimes, telemetry
from harness.run.console import Console
from harness.run.context import Context
from harness.run.course import Course, tell_end
from harness.run.judge import Also, judge, left_out, unjudged
from harness.run.progress import Progress, fault_of, words
from harness.run.resuming import Attempt
from harness.run.rundir import RunDir, directly_below
from harness.run.twin_points import twins

_INTERRUPTED = "interrupted before it began"
_STAGES = (Stage.SERVE, Stage.HEALTH_WAIT, Stage.EVAL)


Report = Callable[[int], Also]
"""What is written with the verdict on a point, by its place in the plan."""

Perform = Callable[[Mapping[int, Planned], Report], Generator[tuple[int, Result]]]
"""Runs points, by their places in the plan, and yields each place with the verdict; closed, it ends what runs."""


def run_all(
    selected: Sequence[Planned],
    runs: Path,
    options: prepare.Options,
    console: Console,
    *,
    keep: bool = False,
    attempt: Attempt | None = None,
    perform: Perform | None = None,
    allow_inconclusive: bool = False,
    until_red: bool = False,
) -> int:
    """Run every case, whatever becomes of the others, and report those that are not to run, or were not after a signal.

    Keeps one JUnit file for all current from case to case, and returns the exit code.

    Args:
        selected: The points.
        runs: Folder of the run directories.
        options: How to run.
        console: For people.
        keep: Leave the servers running.
        attempt: Of which this is, where it is not the first in its folder.
        perform: Runs the points; None: one after the other, in the order of the plan.
        allow_inconclusive: What decides neither way is no fault.
        until_red: After a point that is not green nothing else is run.
    """
    attempt = attempt or resuming.first(runs, selected)
    perform = perform or _one_by_one(runs, options, console, keep=keep)
    results: dict[int, Result] = dict(attempt.kept)
    todo = {index: each for index, each in enumerate(selected) if index not in results}

    def report(index: int) -> Also:
        return lambda result: {attempt.report: attempt.junit(results | {index: result})}

    written = True
    left_out = "the run broke off before it began"
    try:
        with closing(perform(todo, report)) as verdicts:
            for index, result in verdicts:
                results[index] = result
                if options.attachment is None and not keep:
                    learned_times.note_ended(runs / selected[index].folder)
                if result.exit_code == Interrupted.exit_code:
                    left_out = _INTERRUPTED
                    break
                if until_red and exit_code([result], allow_inconclusive=allow_inconclusive):
                    left_out = f"not run: {selected[index].id} is not green, and --exitfirst ends there"
                    break
    except Interrupted:
        left_out = _INTERRUPTED
        raise
    finally:
        with signals.deferred():
            if results or left_out == _INTERRUPTED:  # and not where it broke off, which is said by itself
                for index, each in enumerate(selected):
                    if index not in results:
                        # Judged it may be all the same: the signal came between the verdict and its place in the list.
                        results[index] = judged(runs / each.folder) or leave_out(each, each.skip or left_out, console)
                written = _written(attempt.report, attempt.junit(results), console)
    _tell_twins(attempt, results, console)
    tell_end([(each, results[index]) for index, each in enumerate(selected) if index in results], runs, console)
    code = exit_code([*results.values(), *attempt.others], allow_inconclusive=allow_inconclusive)
    return code if written else max(code, CannotJudge.exit_code)


def _tell_twins(attempt: Attempt, results: Mapping[int, Result], console: Console) -> None:
    """Name points of this attempt that ask for different things and came out the same."""
    whole = (Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE)
    found = [index for index, each in results.items() if each.outcome in whole and index not in attempt.kept]
    points = (attempt.selected[index] for index in sorted(found))
    for line in twins((each, attempt.folder / each.folder) for each in points):
        console.line(line)


def _one_by_one(runs: Path, options: prepare.Options, console: Console, *, keep: bool) -> Perform:
    def perform(points: Mapping[int, Planned], report: Report) -> Generator[tuple[int, Result]]:
        course = Course(console, [each for each in points.values() if not each.skip])
        for index, each in points.items():
            if each.skip:
                yield index, leave_out(each, each.skip, console)
            else:
                with course.point(each):
                    result = run_point(each, runs, options, console, report(index), keep=keep)
                yield index, result

    return perform


def run_point(
    each: Planned, runs: Path, options: prepare.Options, console: Console, also: Also, *, keep: bool
) -> Result:
    """One point, whatever becomes of it: what breaks before or after its stages is its error, and nobody else's."""
    path = None
    try:
        path = directly_below(runs, each.folder)
        rundir = prepare.create(each, path, options)
        return run_case(each, rundir, options, console, also, keep=keep)
    except Exception as error:  # noqa: BLE001 # a fault of ours is on record, and other cases go on
        result = broken(each, path, error)
        console.result(result)
        return result


def broken(each: Planned, path: Path | None, error: Exception) -> Result:
    """The verdict on a point that has none of its own."""
    text, details = (mask(part) for part in words(refused(error) if isinstance(error, OSError) else error))
    result = conclude(
        suite=each.suite,
        name=each.name,
        platform=each.platform,
        started=utc_now().isoformat(),
        stages=[StageRecord(Stage.PREPARE, Outcome.ERROR, 0.0, text, details, fault=fault_of(error))],
        checks=[],
        provenance={},
        timing=Timing(),
        interrupted=False,
    )
    result = _with_code_of(error, result)
    with suppress(Exception):  # it may be what broke
        if path and path.is_dir():
            RunDir(path).write("result", Result, result)
    return result


def _with_code_of(error: BaseException | None, result: Result) -> Result:
    """A point whose input is wrong says so, unless something weighs more."""
    wrong_input = isinstance(error, UsageError) and result.exit_code == CannotJudge.exit_code
    return result.model_copy(update={"exit_code": UsageError.exit_code}) if wrong_input else result


def leave_out(each: Planned, reason: str, console: Console) -> Result:
    """What is reported of a point that does not run."""
    console.line(f"skipped {each.id}: {reason}")
    return not_run(each, reason)


def not_run(each: Planned, reason: str) -> Result:
    """What is reported of a point that does not run, where nobody is told yet."""
    now = utc_now().isoformat()
    return skipped(suite=each.suite, name=each.name, platform=each.platform, started=now, reason=reason)


def judged(path: Path) -> Result | None:
    """The verdict in a run directory; None if there is none that can be read."""
    try:
        return RunDir(path).read("result", Result)
    except HarnessError:
        return None


def _written(path: Path, content: bytes, console: Console) -> bool:
    try:
        # The last point's verdict may have put it there already, and a full disk has no room for it twice.
        if not path.is_file() or path.read_bytes() != content:
            files.write(path, content)
    except OSError as error:
        console.line(f"junit: {path} could not be written: {error.strerror}")
        return False
    console.line(f"junit: {path}")
    return True


def run_case(
    planned: Planned, rundir: RunDir, options: prepare.Options, console: Console, also: Also, *, keep: bool = False
) -> Result:
    """Run one case through all its stages. Whatever happens, what was started is stopped and the verdict written.

    Args:
        planned: The point.
        rundir: A new one of it.
        options: How to run.
        console: For people.
        also: What is written with the verdict.
        keep: Leave the servers running.
    """
    context = Context(rundir, Progress(rundir, console.show))
    console.line(f"case {context.prepared.suite}/{context.prepared.name}, run directory {console.path(rundir.path)}")
    stage: Stage = Stage.PREPARE
    broken: dict[Stage, BaseException] = {}
    not_there = ""
    try:
        not_there = prepare.run(context, options, planned)
        if not not_there:
            place = runtimes.of(context.runtime, console)
            with telemetry.recorded(context):
                for stage in _STAGES:  # somebody else's servers are not started
                    place.perform(stage, context)
    except (Interrupted, Exception) as error:  # noqa: BLE001 # a fault of ours is on record, and other cases go on
        broken[stage] = error
    finally:
        try:
            if not_there and not broken:
                result = left_out(rundir, not_there, also)
            else:
                result = finish(context, console, stage, broken, also, keep=keep)
        finally:
            if not keep:
                context.held.close()
    if result.outcome is Outcome.SKIPPED:
        console.line(f"skipped {planned.id}: {not_there}")
    else:
        console.result(result)
    return _with_code_of(next(iter(broken.values()), None), result)


def finish(
    context: Context, console: Console, stage: Stage, broken: dict[Stage, BaseException], also: Also, *, keep: bool
) -> Result:
    """Stop and judge. A signal that arrives meanwhile waits for the end, and then counts."""
    rundir = context.rundir
    try:
        with signals.deferred():
            if keep and not broken:
                rundir.keep()
                console.line(f"kept running; stop with: harness stop {console.path(rundir.path)}")
            elif context.prepared.runtime is not None:
                runtimes.of(context.runtime, console).perform(Stage.STOP, context)
    except Interrupted as signal:
        broken[stage] = signal
    except Exception as error:  # noqa: BLE001 # as above
        broken[Stage.STOP] = error
    for which, reason in broken.items():
        if not isinstance(reason, CannotJudge):
            # The stage may have known nothing of it: it had ended already, or it ran in a container.
            context.progress.broke_off(which, reason)
    # What could not be written down, on a full disk, counts all the same.
    known = [
        StageRecord(
            which, Outcome.ERROR, 0.0, mask(text), mask(details), isinstance(reason, Interrupted), fault_of(reason)
        )
        for which, reason in broken.items()
        for text, details in [words(reason)]
    ]
    with signals.deferred():
        return _verdict(rundir, known, also)


def _verdict(rundir: RunDir, known: Sequence[StageRecord], also: Also) -> Result:
    """The verdict, whatever became of the run directory: others are to follow."""
    try:
        return judge(rundir, known=known, also=also)
    except HarnessError as error:
        return unjudged(rundir, str(error), known, also)
    except OSError as error:
        return unjudged(rundir, f"the verdict could not be written: {error.strerror}", known, also)
    except Exception as error:  # noqa: BLE001 # as above
        message, details = words(error)
        fault = StageRecord(Stage.ASSERT, Outcome.ERROR, 0.0, message, details)
        return unjudged(rundir, message, [*known, fault], also)
