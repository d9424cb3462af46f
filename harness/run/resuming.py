"""Where a run goes: a new folder, or on in that of an earlier run, once nothing of that goes on any more."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from harness.base import secrets
from harness.base.clock import utc_now
from harness.base.domain import Outcome
from harness.checks.check import unmeasured
from harness.host import files
from harness.plan.points import Planned
from harness.reports import junit
from harness.reports.result import Result, Timing, conclude, skipped
from harness.run.attempts import AGAIN, SELECTION, Key, Point, Selection, Tried, history, verdict, with_attempts
from harness.run.console import Console
from harness.run.folders import claimed, claimed_again, make_folder
from harness.run.reap import clear

_NO_VERDICT = "no verdict: the harness was ended before it had one, or still runs"
_ELSEWHERE = "no verdict: an earlier attempt had none, and this one was not about it"


@dataclass(frozen=True)
class Attempt:
    """One attempt at the points of a folder.

    Attributes:
        folder: Where its run directories are made.
        report: The folder's JUnit file.
        selected: The points, in order.
        number: From 1.
        kept: Verdicts of earlier attempts that stay, by index of the point.
        others: Results of points of earlier attempts that are not selected now.
        earlier: What became of points in earlier attempts.
    """

    folder: Path
    report: Path
    selected: Sequence[Planned]
    number: int = 1
    kept: Mapping[int, Result] = field(default_factory=dict)
    others: tuple[Result, ...] = ()
    earlier: Mapping[Key, Sequence[Tried]] = field(default_factory=dict)

    def junit(self, results: Mapping[int, Result]) -> bytes:
        """The JUnit file: every point once, and one without a result as an error, whatever becomes of this process."""
        return junit.render(self._all(results))

    def _all(self, results: Mapping[int, Result]) -> Iterator[Result]:
        for index, each in enumerate(self.selected):
            if index in self.kept:
                yield self.kept[index]
            elif index in results:
                yield with_attempts(results[index], self.number, self.earlier.get(_key(each), ()))
            else:
                yield _left_out(_key(each), each.skip) if each.skip else _without_verdict(_key(each))
        yield from self.others


def first(folder: Path, selected: Sequence[Planned]) -> Attempt:
    """The first attempt, in a new folder."""
    return Attempt(folder, folder / "junit.xml", selected)


def again(folder: Path, selected: Sequence[Planned], *, failed: bool) -> tuple[Attempt, list[str]]:
    """Another attempt in the folder of an earlier one, and what is to be said about it.

    Args:
        folder: Of the earlier run.
        selected: What would run in a new folder.
        failed: Run also what has a verdict that is a failure or an error.

    Raises:
        UsageError: It is no folder of a run, or its record is damaged.
    """
    tried = history(folder)
    said, kept = list[str](), dict[int, Result]()
    for index, each in enumerate(selected):
        counts = verdict(tried.get(_key(each), ()))
        if counts is None or counts.result is None:
            continue
        if not each.skip and counts.case != _digest(each):
            said.append(f"{each.id}: its case is another one than in attempt {counts.number}, so it runs again")
        elif not failed or counts.result.outcome not in (Outcome.FAIL, Outcome.ERROR):
            kept[index] = with_attempts(counts.result, counts.number, tried[_key(each)])
    now = {_key(each) for each in selected}
    others = tuple(_standing(point, several) for point, several in tried.items() if point not in now)
    to_run = sum(not each.skip for index, each in enumerate(selected) if index not in kept)
    said.append(f"{to_run} of {len(selected)} points to run; verdicts of before: {len(kept)}")
    said += [f"not selected now: {each.case_id}" for each in others]
    places = ((number, folder / AGAIN.format(number)) for number in count(2))
    number, place = next(each for each in places if make_folder(each[1], alone=True))
    return Attempt(place, folder / "junit.xml", selected, number, kept, others, tried), said


@contextmanager
def opened(
    given: Path | None,
    below: Path,
    selected: Sequence[Planned],
    asked: Mapping[str, Any],
    console: Console,
    *,
    going_on: Path | None = None,
    failed: bool = False,
) -> Iterator[Attempt]:
    """An attempt at ``selected`` that is on record, with its folder ours as long as the block lasts.

    Args:
        given: A new folder of the caller's; None for one below ``below``.
        below: Where a new one is made.
        selected: The points.
        asked: What the command line says, for the record.
        console: For what is to be said.
        going_on: Folder of an earlier run, instead of a new one.
        failed: There, run also what failed.

    Raises:
        UsageError: The folder cannot be made, is not empty, is no folder of a run, or another run has it.
        CannotJudge: Something of the earlier run is still there and cannot be ended.
    """
    with claimed_again(going_on) if going_on else claimed(given, below) as folder:
        if going_on:
            for each in clear(folder):
                console.line(f"{each.fate}: {each.what}")
            attempt, said = again(folder, selected, failed=failed)
            for line in said:
                console.line(line)
        else:
            attempt = first(folder, selected)
        with suppress(OSError):  # a full disk: points say so, each for itself
            _record(attempt, asked)
            files.write(attempt.report, attempt.junit({}))
        yield attempt


def _record(attempt: Attempt, asked: Mapping[str, Any]) -> None:
    """Write down what an attempt is to run, before it begins: all of it may be killed."""
    to_run = [each for index, each in enumerate(attempt.selected) if not each.skip and index not in attempt.kept]
    points = [
        Point(suite=each.suite, name=each.name, platform=each.platform, folder=each.folder, case=_digest(each))
        for each in to_run
    ]
    document = Selection(asked=secrets.masked(dict(asked)), points=points)
    files.write(attempt.folder / SELECTION, document.model_dump_json(indent=2) + "\n")


def _key(planned: Planned) -> Key:
    return Key(planned.suite, planned.name, planned.platform)


def _digest(planned: Planned) -> str:
    return hashlib.sha256(planned.case.model_dump_json().encode()).hexdigest()


def _without_verdict(point: Key) -> Result:
    """What is reported of a point that has no verdict: an error, because nobody knows."""
    return conclude(
        suite=point.suite,
        name=point.name,
        platform=point.platform,
        started=utc_now().isoformat(),
        stages=[],
        checks=[unmeasured("case", _NO_VERDICT)],
        provenance={},
        timing=Timing(),
        interrupted=False,
    )


def _left_out(point: Key, reason: str) -> Result:
    started = utc_now().isoformat()
    return skipped(suite=point.suite, name=point.name, platform=point.platform, started=started, reason=reason)


def _standing(point: Key, tried: Sequence[Tried]) -> Result:
    """The result of a point that this attempt is not about."""
    counts = verdict(tried)
    if counts is None or counts.result is None:
        return _left_out(point, _ELSEWHERE)
    return with_attempts(counts.result, counts.number, tried)
