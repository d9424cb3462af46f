"""What differs between upstream's tests and the cases, and how it reads: as text, as Markdown, as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

What = Literal["differs", "gone", "new", "same", "not read"]
_MOST_CASES = 4
ORDER: tuple[What, ...] = ("differs", "gone", "new", "not read", "same")
"""What a person has to look at first."""


@dataclass(frozen=True)
class Line:
    """One figure, point or step.

    Attributes:
        what: ``differs``: both have it, and not alike. ``gone``: a case names upstream for it, and upstream does not
            have it any more. ``new``: no case has it. ``same``: both have it. ``not read``: nobody could tell.
        sort: figure, point, step, test.
        name: What it is about.
        told: The numbers, ours and theirs, or why it could not be read.
        place: File and line of upstream; empty where there is none.
        cases: Cases it concerns.
        more: How many others of upstream say the very same in the same file.
    """

    what: What
    sort: str
    name: str
    told: str
    place: str = ""
    cases: tuple[str, ...] = ()
    more: int = 0


@dataclass
class Report:
    """On one checkout and one engine.

    Attributes:
        engine: Its name.
        checkout: What was read: version or commit, as far as it says.
        files: How many files were looked into.
        lines: Everything, the worst first.
        notes: What a person should know all the same.
    """

    engine: str
    checkout: str
    files: int = 0
    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def drifted(self) -> bool:
        """Whether a case says something of upstream that is not so any more."""
        return any(each.what in {"differs", "gone"} for each in self.lines)

    @property
    def head(self) -> str:
        """The numbers in one line."""
        counted = Counter(each.what for each in self.lines)
        told = ", ".join(f"{counted[what]} {what}" for what in ORDER if counted[what])
        return f"{self.engine}, {self.checkout}: {told or 'nothing to compare'} ({self.files} files)"


def sort(report: Report) -> None:
    """Put what has to be looked at first on top; among equals the order of the files stays."""
    report.lines.sort(key=lambda each: ORDER.index(each.what))


def as_json(reports: Sequence[Report]) -> str:
    """Everything, for programs."""
    return json.dumps({"version": 1, "reports": [asdict(each) for each in reports]}, indent=2, ensure_ascii=False)


def as_text(reports: Sequence[Report], *, same: bool = False) -> str:
    """For a terminal: a line and its place for each; what is the same only if ``same``."""
    blocks = []
    for report in reports:
        lines = [report.head]
        for each in _shown(report, same=same):
            lines.append(f"  {each.what}: {each.sort}: {each.name}: {each.told}{_more(each)}")
            if where := ", ".join(filter(None, (each.place, _cases(each)))):
                lines.append(f"    {where}")
        blocks.append("\n".join([*lines, *(f"  note: {note}" for note in report.notes)]))
    return "\n\n".join(blocks)


def as_markdown(reports: Sequence[Report], *, same: bool = False) -> str:
    """For an issue or a page: a table a sort of finding."""
    blocks = []
    for report in reports:
        lines = [f"## {report.engine}: {_cell(report.checkout)}", "", report.head]
        for what in ORDER:
            rows = [each for each in _shown(report, same=same) if each.what == what]
            if rows:
                head = "| what | about | ours and theirs | where | cases |"
                lines += ["", f"### {what.capitalize()}", "", head, "| --- | --- | --- | --- | --- |"]
                lines += [_row(each) for each in rows]
        lines += ["", "Notes:", "", *(f"- {_cell(note)}" for note in report.notes)] if report.notes else []
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _shown(report: Report, *, same: bool) -> list[Line]:
    return [each for each in report.lines if same or each.what != "same"]


def _row(each: Line) -> str:
    place = f"`{_cell(each.place)}`" if each.place else ""
    cells = (each.sort, _cell(each.name), _cell(each.told + _more(each)), place, _cell(_cases(each)))
    return f"| {' | '.join(cells)} |"


def _cases(each: Line) -> str:
    more = len(each.cases) - _MOST_CASES
    return ", ".join([*each.cases[:_MOST_CASES], *([f"{more} more cases"] if more > 0 else [])])


def _more(each: Line) -> str:
    return f" (and {each.more} more in this file)" if each.more else ""


def _cell(text: str) -> str:
    """In a cell of a table, where nothing of it is markup, and nobody is called."""
    flat = " ".join(text.split()).replace("`", "'")
    return flat.replace("|", "\\|").replace("<", "&lt;").replace("@", "(at)").replace("*", "\\*").replace("_", "\\_")
