"""Markdown, as the summary of a job in a CI system shows it: verdicts in a table, then what is not green."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from harness.base.domain import CheckResult, Outcome, StageRecord
from harness.base.texts import shortened
from harness.reports.junit import clean
from harness.reports.numbers import message, shown
from harness.reports.result import NEW_WARNINGS, NOT_GREEN, Result

_MAX_CELL = 500
_NUMBERS = ("measured", "interval", "expected", "bound", "n", "detects")
# CommonMark 2.4 lets any ASCII punctuation follow a backslash. The rest means nothing inside a cell.
_ACTIVE = re.compile(r"([\\`*_{}\[\]<>()#!|~&@:$^+-])")


def escape(text: str) -> str:
    """``text`` as one line that Markdown shows as it is: no markup, no link, no mention, no new cell of a table."""
    return _ACTIVE.sub(r"\\\1", shortened(clean(text), _MAX_CELL))


def render(results: Sequence[Result], unjudged: Mapping[str, str] | None = None) -> str:
    """A summary of several cases.

    Args:
        results: Of the cases that were judged or skipped.
        unjudged: Run directories without a verdict, and why there is none. They count as errors.
    """
    unjudged = unjudged or {}
    counts = Counter(result.outcome for result in results) + Counter({Outcome.ERROR: len(unjudged)})
    counted = ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome if counts[outcome])
    lines = [f"### {counted or 'no case'}", ""]
    lines += table(("verdict", "case", "platform", "seconds"), [
        *((str(each.outcome), each.case_id, each.platform, f"{each.timing.total:.0f}") for each in results),
        *((str(Outcome.ERROR), name, "", "") for name in unjudged),
    ])  # fmt: skip
    lines += [
        f"\nUnpinned in {escape(each.case_id)}: {escape(each.provenance['unpinned'])}"
        for each in results
        if "unpinned" in each.provenance
    ]
    lines += [
        f"\nNew warnings in {escape(each.case_id)}: {escape(each.provenance[NEW_WARNINGS])}"
        for each in results
        if NEW_WARNINGS in each.provenance
    ]
    lines += [f"\n{escape(line)}" for each in results if (line := _attempts(each))]
    for result in results:
        if result.outcome is not Outcome.PASS or _unmeasured(result):
            lines += ["", f"#### {result.outcome} {escape(result.case_id)}", "", *_not_green(result)]
    for name, reason in unjudged.items():
        lines += ["", f"#### {Outcome.ERROR} {escape(name)}", "", escape(reason)]
    return "\n".join(lines) + "\n"


def _attempts(result: Result) -> str:
    """Of a point that was tried more than once, which attempt its verdict is of, and what the others came to."""
    if "attempt" not in result.provenance:
        return ""
    others = [
        f"{name.removeprefix('attempt.')} {outcome}"
        for name, outcome in result.provenance.items()
        if name.startswith("attempt.")
    ]
    return f"Attempt {result.provenance['attempt']} of {result.case_id}; others: {', '.join(others)}"


def _not_green(result: Result) -> Iterable[str]:
    """What kept the case from passing; of a skipped one why, and of one that passed what was not measured."""
    if result.outcome is Outcome.PASS:
        return table(
            ("check", "outcome", "message"),
            [(each.name, str(each.outcome), each.message) for each in _unmeasured(result)],
        )
    as_it_is = result.outcome in (Outcome.SKIPPED, Outcome.MEASURED)
    wanted = (result.outcome,) if as_it_is else NOT_GREEN
    stages = [each for each in result.stages if each.outcome in wanted]
    checks = [each for each in result.checks if each.outcome in wanted]
    if not stages and not checks:
        return ["Interrupted, or nothing was checked."]
    return table(("check", "outcome", *_NUMBERS, "message"), [*map(_stage, stages), *map(_check, checks)])


def _unmeasured(result: Result) -> list[CheckResult]:
    """Checks that were left out of a judgement because somebody else's server does not say what they need."""
    return [each for each in result.checks if each.outcome is Outcome.SKIPPED and each.name != "teardown"]


def _stage(record: StageRecord) -> tuple[str, ...]:
    return (str(record.stage), str(record.outcome), *("" for _ in _NUMBERS), record.message)


def _check(check: CheckResult) -> tuple[str, ...]:
    found = shown(check)
    numbers = (found.get(key, "") for key in _NUMBERS)
    return (check.name, str(check.outcome), *numbers, message(check))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table; what is in its cells is shown as it is."""
    lines = [header, ["---"] * len(header), *([escape(cell) for cell in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]
