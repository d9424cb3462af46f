"""Points of one case that ask for different things, and of which nothing that was seen in force differs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import HarnessError
from harness.base.settings import FlagValue
from harness.engines import ENGINES
from harness.engines.engine import numbered
from harness.engines.sights import Told, compare
from harness.plan.points import Planned
from harness.run import evidence_files
from harness.run.rundir import RunDir

Key = tuple[str, str]
"""Server and setting."""


@dataclass(frozen=True)
class _Point:
    """A point, what it asks of each server by role, and what each server told."""

    each: Planned
    asked: Mapping[Key, FlagValue]
    told: Mapping[str, Told]

    def seen(self, key: Key, value: FlagValue) -> tuple[str, ...]:
        """What is in force of a setting, whether the point asks for it or not."""
        server, name = key
        found = compare(server, {name: value}, ENGINES[self.each.case.engine.name].sights, self.told[server])
        return next(iter(found)).seen


def twins(points: Iterable[tuple[Planned, Path]]) -> Iterator[str]:
    """A line for each point that came out as an earlier one did.

    Args:
        points: Of a run, with their run directories. One that was not evaluated is left out.
    """
    found = [point for each, path in points if each.variant and (point := _point(each, path))]
    named: set[str] = set()
    for one, other in itertools.combinations(found, 2):
        if other.each.id in named or not _comparable(one.each, other.each):
            continue
        absent = object()
        keys = one.asked.keys() | other.asked.keys()
        differ = {key: {**one.asked, **other.asked}[key] for key in keys
                  if one.asked.get(key, absent) != other.asked.get(key, absent)}  # fmt: skip
        seen = [(one.seen(key, value), other.seen(key, value)) for key, value in differ.items()]
        if seen and all(mine == theirs for mine, theirs in seen):
            named.add(other.each.id)
            names = ", ".join(sorted({name for _, name in differ}))
            unseen = "" if any(mine for mine, _ in seen) else " (no server shows it)"
            yield (
                f"{one.each.id} and {other.each.id} ask for different {names}, and nothing that was seen "
                f"differs{unseen}"
            )


def _comparable(one: Planned, other: Planned) -> bool:
    same_case = (one.case_file.id, one.platform) == (other.case_file.id, other.platform)
    return same_case and one.case.topology == other.case.topology and one.case.models() == other.case.models()


def _point(each: Planned, path: Path) -> _Point | None:
    try:
        told = evidence_files.told(RunDir(path))
    except HarnessError:
        return None  # its verdict says what is wrong with it
    asks = ENGINES[each.case.engine.name].asks
    asked = {
        (server, name): value
        for role, count in each.case.topology.roles.items()
        for server in numbered(role, count)
        for name, value in asks(each.case, role).items()
    }
    return _Point(each, asked, told) if {server for server, _ in asked} <= told.keys() else None
