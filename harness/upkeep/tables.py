"""Tables of sessions and cases for the documentation, made from the case files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from harness.cases.load import CaseFile
from harness.cases.model import Case
from harness.plan.points import Planned, everything


def sessions(case_files: Sequence[CaseFile]) -> str:
    """One row a session."""
    rows = [["session", "what it shows", "cases", "points", "devices", "minutes"]]
    found = everything(case_files)
    for session in sorted({each.session for each in found if each.on_menu}):
        points = [each for each in found if each.session == session]
        running = [each for each in points if not each.skip]
        rows.append(
            [
                f"`{session}`",
                points[0].case_file.suite.about.title,
                str(len({each.case_file.id for each in points})),
                str(len(points)) if len(running) == len(points) else f"{len(points)}, of which {len(running)} run",
                _devices(points),
                _minutes(points),
            ]
        )
    return table(rows)


def cases(case_files: Sequence[CaseFile]) -> str:
    """One row a case and platform; what its matrix varies is in the row."""
    rows = [["case", "platform", "what it shows", "servers", "devices", "points", "minutes", "on a CPU"]]
    for case_file in case_files:
        for platform in case_file.platforms:
            points = [each for each in everything([case_file]) if each.platform == platform]
            reasons = dict.fromkeys(each.skip for each in points if each.skip)
            counted = f"{len(points)}" + "".join(
                f"; {sum(each.skip == reason for each in points)} not: {reason}" for reason in reasons
            )
            servers = " or ".join(dict.fromkeys(_servers(each.case) for each in points))
            rows.append(
                [
                    f"`{case_file.id}`",
                    platform,
                    points[0].case.title,
                    servers,
                    _devices(points),
                    counted,
                    _minutes(points),
                    "itself" if "cpu" in case_file.platforms else _twin(points[0].case),
                ]
            )
    return table(rows)


def _twin(case: Case) -> str:
    return case.cpu_twin if case.cpu_twin.startswith("none") else f"`{case.cpu_twin}`"


def _devices(points: Iterable[Planned]) -> str:
    return " or ".join(str(number) if number else "none" for number in sorted({each.devices for each in points}))


def _minutes(points: Iterable[Planned]) -> str:
    """Of the points that run, one after the other, rounded up."""
    return str(math.ceil(sum(each.case.expected_seconds for each in points if not each.skip) / 60))


def _servers(case: Case) -> str:
    roles = [f"{count} {role}" for role, count in case.topology.roles.items()]
    return ", ".join([*roles, "router"] if case.topology.kind == "disagg" else roles)


def table(rows: list[list[str]]) -> str:
    """Markdown; the first row is the head."""
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, f"|{' --- |' * len(rows[0])}", *body])
