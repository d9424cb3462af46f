"""What was found, and how it reads: as text, as Markdown, as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from harness.base.domain import Platform

What = Literal["missing", "unknown value", "deprecated", "for debugging", "never read", "not looked at"]
ORDER: tuple[What, ...] = ("not looked at", "missing", "unknown value", "never read", "deprecated", "for debugging")
"""The worst first."""
_MOST_CASES = 4


@dataclass(frozen=True)
class Finding:
    """One thing that a build does not do as the cases ask.

    Attributes:
        what: Of which sort it is.
        name: What is asked for, as it stands on a command line, in an environment or on a page.
        told: What about it, with the next step where there is one.
        place: File and line of the build; empty where there is none.
        uses: Cases and platforms that ask for it; empty: all of the engine's.
    """

    what: What
    name: str
    told: str
    place: str = ""
    uses: tuple[tuple[str, Platform], ...] = ()


@dataclass
class Report:
    """What was found out about one build.

    Attributes:
        build: Name and version.
        since: The build that news are counted from; empty if there is none to compare with.
        asked: How many things were looked for.
        points: Of how many points of cases.
        findings: What does not fit.
        notes: What a person should know all the same.
        unseen: What nobody looked at, and why.
    """

    build: str
    since: str = ""
    asked: int = 0
    points: int = 0
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)


def as_json(reports: Sequence[Report]) -> str:
    """Everything, for programs."""
    return json.dumps({"version": 1, "reports": [asdict(each) for each in reports]}, indent=2, ensure_ascii=False)


def as_text(reports: Sequence[Report]) -> str:
    """For a terminal: a block a build, a line and its place a finding."""
    blocks = []
    for report in reports:
        lines = [_head(report)]
        for each in report.findings:
            lines += [f"  {each.what}: {each.name}: {each.told}"]
            lines += [f"    {', '.join(filter(None, (each.place, _uses(each))))}"]
        lines += [f"  note: {note}" for note in report.notes]
        lines += [f"  not looked at: {unseen}" for unseen in report.unseen]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def as_markdown(reports: Sequence[Report]) -> str:
    """For an issue or a page: a table a build."""
    blocks = []
    for report in reports:
        lines = [f"## {report.build}", "", _head(report)]
        if report.findings:
            lines += ["", "| what | name | what the build says | where | asked by |", "| --- | --- | --- | --- | --- |"]
            lines += [_row(each) for each in report.findings]
        for title, each_of in (("Notes", report.notes), ("Not looked at", report.unseen)):
            lines += ["", f"{title}:", "", *(f"- {_cell(line)}" for line in each_of)] if each_of else []
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _row(each: Finding) -> str:
    cells = (each.what, _code(each.name), _cell(each.told), _code(each.place), _cell(_uses(each)))
    return f"| {' | '.join(cells)} |"


def _head(report: Report) -> str:
    against = f", news since {report.since}" if report.since else ""
    number = len(report.findings)
    counted = "nothing found" if not number else "1 finding" if number == 1 else f"{number} findings"
    return f"{report.build}: {counted} ({report.asked} names of {report.points} points{against})"


def _uses(each: Finding) -> str:
    platforms: dict[str, list[str]] = {}
    for case, platform in each.uses:
        platforms.setdefault(case, []).append(platform)
    named = [f"{case} ({', '.join(on)})" for case, on in platforms.items()]
    more = [f"{len(named) - _MOST_CASES} more cases"] if len(named) > _MOST_CASES else []
    return ", ".join([*named[:_MOST_CASES], *more]) or "all cases of the engine"


def _code(text: str) -> str:
    return f"`{_cell(text)}`" if text else ""


def _cell(text: str) -> str:
    """In a cell of a table, where nothing of it is markup, and nobody is called."""
    flat = " ".join(text.split()).replace("`", "'")
    return flat.replace("|", "\\|").replace("<", "&lt;").replace("@", "(at)")
