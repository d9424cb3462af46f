"""A case run several times, each on a start of its own, and what the runs measured."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from harness.base.clock import utc_now
from harness.base.domain import CheckResult, Outcome
from harness.base.errors import CannotJudge
from harness.base.evidence import Look
from harness.calibration.proposal import CHECKED, Values, average
from harness.checks import early_verdicts
from harness.plan.points import Planned
from harness.reports.result import Result
from harness.run import measured_on, one_start
from harness.run.console import Console
from harness.run.evidence_files import take
from harness.run.point_run import point_run
from harness.run.prepare import Options
from harness.run.rundir import Prepared, RunDir

_WHOLE = "a baseline is made of whole runs only"
_COMPARISON = re.compile(r"parity\[(.+)\]")
_PER_POSITION = re.compile(r"acceptance_per_position\[([0-9]+)\]")


@dataclass(frozen=True)
class Done:
    """One run that was measured, and what there was to see at each of its looks."""

    result: Result
    prepared: Prepared
    looks: tuple[Look, ...] = ()


def run_once(point: Planned, folder: Path, number: int, options: Options, console: Console) -> Done:
    """Run the point, measured only, in a folder of its own below ``folder``.

    Raises:
        CannotJudge: It could not be measured; the console has said why.
        Interrupted: A signal ended it.
    """
    rundir, result = point_run(point, folder / f"run-{number:03}", options, console)
    if result is None or result.outcome is not Outcome.MEASURED:
        said = "left no verdict" if result is None else f"is {result.outcome}"
        raise CannotJudge(f"run {number} of {point.id} {said}; {_WHOLE}")
    return _done(result, rundir)


def _done(result: Result, rundir: RunDir) -> Done:
    evidence = take(rundir)
    assert evidence is not None  # it was measured
    return Done(result, rundir.prepared(), evidence.measured.looks)


def run_start(
    point: Planned, folder: Path, number: int, options: Options, console: Console, repeats: int
) -> list[Done]:
    """Start the servers of the point once, and measure as often as asked; of a single time it is a run like any other.

    Raises:
        CannotJudge: It could not be measured.
        Interrupted: A signal ended it; the servers are stopped.
    """
    if repeats == 1:
        return [run_once(point, folder, number, options, console)]
    found = list[Done]()
    with one_start.started(point, folder / f"run-{number:03}", options) as running:
        for repeat in range(1, repeats + 1):
            result = running.evaluate()
            console.result(result)
            if result.outcome is not Outcome.MEASURED:
                raise CannotJudge(f"run {number}.{repeat} of {point.id} is {result.outcome}; {_WHOLE}")
            found.append(_done(result, running.context.rundir))
    return found


def values(done: Sequence[Done], repeats: int = 1) -> list[Values]:
    """What the runs measured, of each check that has a value in all of them.

    Args:
        done: The runs, those of one start together.
        repeats: Runs of each start.

    Raises:
        CannotJudge: None has.
    """
    found = [dict(_measured(each.result.checks)) for each in done]
    known = [*CHECKED, *(f"comparisons.{name}" for name in done[0].prepared.case.comparisons)]
    common = [name for name in known if all(name in each for each in found)]
    made = [
        _with_looks(
            Values(name, tuple(each[name][0] for each in found), average(each[name][1] for each in found), repeats),
            done,
        )
        for name in common
        if len({len(each[name][0]) for each in found}) == 1
    ]
    if not made:
        raise CannotJudge("the runs measured nothing that a baseline could be made of", cause="nothing was scored")
    return made


def _with_looks(values: Values, done: Sequence[Done]) -> Values:
    """With what the runs had measured at the looks before the last one, if they looked.

    Raises:
        CannotJudge: There was nothing to see at one of them.
    """
    if not done[0].looks:
        return values
    positions = len(values.runs[0])
    readers = (
        [early_verdicts.READERS[values.name]]
        if values.name in early_verdicts.READERS
        else [*map(early_verdicts.share_at, range(positions))]
    )
    at_looks = []
    for index, look in enumerate(done[0].looks):
        seen = [[reader(each.looks[index]) for reader in readers] for each in done]
        known = [[one for one in each if one is not None] for each in seen]
        if any(len(each) < len(readers) for each in known):
            raise CannotJudge(
                f"{values.name} cannot be measured after {look.asked} items; evaluation.looks: look later"
            )
        numbers = tuple(tuple(one.value for one in each) for each in known)
        n, most = average(each[0].n for each in known), max(each[0].most for each in known)
        at_looks.append((look.asked, Values(values.name, numbers, n, values.repeats, most)))
    *early, (_, last) = at_looks
    return replace(values, most=last.most, early=tuple(early))


def _measured(checks: Sequence[CheckResult]) -> Iterator[tuple[str, tuple[tuple[float, ...], int]]]:
    """Values and n by the check's name, of what was measured."""
    numbers = {each.name: each for each in checks if isinstance(each.measured, int | float)}
    for name in ("accuracy", "acceptance_length"):
        if name in numbers:
            yield name, ((_number(numbers[name]),), numbers[name].n)
    for name, each in numbers.items():
        if compared := _COMPARISON.fullmatch(name):
            yield f"comparisons.{compared[1]}", ((_number(each),), each.n)
    positions = sorted((int(at[1]), each) for name, each in numbers.items() if (at := _PER_POSITION.fullmatch(name)))
    if positions:
        yield "acceptance_per_position", (tuple(_number(each) for _, each in positions), positions[0][1].n)


def _number(check: CheckResult) -> float:
    assert isinstance(check.measured, int | float)
    return float(check.measured)


def where(done: Sequence[Done], valid_days: int) -> dict[str, Any]:
    """What the runs were run on, as a passport says it.

    Raises:
        CannotJudge: They were not all run on the same.
    """
    found = [_where(each) for each in done]
    if any(each != found[0] for each in found):
        other = next(key for each in found for key in each if each[key] != found[0][key])
        raise CannotJudge("the runs are not equal", cause=f"{other} is not the same in all of them")
    now = utc_now()
    dates = {"date": f"{now:%Y-%m-%d}", "expires": f"{now + timedelta(days=valid_days):%Y-%m-%d}"}
    return found[0] | dates | {"run": done[0].prepared.run_id}


def _where(done: Done) -> dict[str, Any]:
    prepared, case = done.prepared, done.prepared.case
    runtime = prepared.runtime
    image = f"{runtime.base} {runtime.environment}" if runtime and runtime.kind == "docker" else ""
    return {
        "engine": measured_on.build(prepared),
        **({"image": image} if image else {}),
        "device": measured_on.device(prepared),
        "protocol": case.evaluation.protocol,
        "prompts": prepared.prompts,
        "concurrency": case.evaluation.concurrency,
    }
