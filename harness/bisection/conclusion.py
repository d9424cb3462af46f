"""What a search found: the first bad build, what was seen of it and of the one before, and how to see it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from harness.bisection.search_record import Search, Trial
from harness.comparison.named_builds import Build
from harness.power.verdicts import red
from harness.reports.markdown import table
from harness.reports.numbers import shown
from harness.reports.result import Result
from harness.run.rundir import RunDir

PAGE = "bisect.md"


def lines(search: Search, first: Build, before: Build, folder: Path) -> Iterator[str]:
    """What a person is told at the end.

    Args:
        search: One that found something.
        first: The first bad build.
        before: The one before it.
        folder: Of the search.
    """
    asked, at = search.asked, search.first
    assert at is not None
    yield f"first bad: build {at + 1} of {len(asked.builds)}, {_named(search, at)}"
    yield f"last good: build {at}, {_named(search, at - 1)}"
    bad, good = _last(search, at, "bad"), _last(search, at - 1, "good")
    if good is None:
        yield f"  {before.name} was not started: it is good because --good says so"
    yield from (f"  {line}" for line in _evidence(good, bad, folder))
    yield f"found with {len(search.trials)} starts; it was seen bad {_times(search, at, 'bad')}"
    yield f"see it again: {first.command(asked.case)}"
    builds = shlex.join(["--engine", before.spelling, "--engine", first.spelling])
    yield f"side by side: harness compare {builds} {shlex.quote(asked.case)}"


def page(search: Search, told: list[str]) -> str:
    """Everything, as Markdown."""
    rows = [
        (str(number), f"{each.build + 1}: {search.asked.builds[each.build]}", each.said, each.why, each.folder)
        for number, each in enumerate(search.trials, 1)
    ]
    found = ["# The first bad build", "", *(f"    {line}" for line in told), "", "## Every start", ""]
    return "\n".join([*found, *table(("start", "build", "verdict", "what was seen", "folder"), rows)]) + "\n"


def _named(search: Search, at: int) -> str:
    engine = next((each.engine for each in search.of(at) if each.engine), "")
    return search.asked.builds[at] + (f" ({engine})" if engine else "")


def _last(search: Search, at: int, said: str) -> Trial | None:
    return next((each for each in reversed(search.of(at)) if each.said == said), None)


def _times(search: Search, at: int, said: str) -> str:
    number = sum(each.said == said for each in search.of(at))
    return "once" if number == 1 else f"{number} times"


def _evidence(good: Trial | None, bad: Trial | None, folder: Path) -> Iterator[str]:
    """What turned red, with the same of the build before; of builds side by side what was said."""
    results = [RunDir(folder / each.folder).read("result", Result) if each else None for each in (good, bad)]
    then, now = ({each.name: each for each in found.checks} if found else {} for found in results)
    wrong = red(results[1]) if results[1] else []
    for name in wrong:
        if name in now:
            numbers = [
                shown(checks[name]).get("measured", "") if name in checks else "not seen" for checks in (then, now)
            ]
            bound = shown(now[name]).get("bound", "")
            yield f"{name}: {numbers[0]} before, now {numbers[1]}; must be {bound}"
    if not wrong and bad:
        yield bad.why
