"""Points of one case that ask for different things, and of which nothing that was seen in force differs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.base.errors import HarnessError
from harness.base.seen_settings import SeenSetting
from harness.plan.points import Planned
from harness.run import evidence_files
from harness.run.rundir import RunDir

Settings = dict[tuple[str, str], SeenSetting]


def twins(points: Iterable[tuple[Planned, Path]]) -> Iterator[str]:
    """A line for each point that came out as an earlier one did.

    Args:
        points: Of a run, with their run directories. One that was not evaluated is left out.
    """
    found = [(each, settings) for each, path in points if each.variant and (settings := _settings(path))]
    named: set[str] = set()
    for (one, before), (other, after) in itertools.combinations(found, 2):
        if other.id in named or not _comparable(one, other):
            continue
        differ = {key for key in before.keys() | after.keys() if _asked(before, key) != _asked(after, key)}
        if differ and all(_seen(before, key) == _seen(after, key) for key in differ):
            named.add(other.id)
            names = ", ".join(sorted({name for _, name in differ}))
            unseen = "" if any(_seen(before, key) for key in differ) else " (no server shows it)"
            yield f"{one.id} and {other.id} ask for different {names}, and nothing that was seen differs{unseen}"


def _comparable(one: Planned, other: Planned) -> bool:
    same_case = (one.case_file.id, one.platform) == (other.case_file.id, other.platform)
    return same_case and one.case.topology == other.case.topology and one.case.models() == other.case.models()


def _settings(path: Path) -> Settings:
    try:
        evidence = evidence_files.take(RunDir(path))
    except HarnessError:
        return {}  # its verdict says what is wrong with it
    return {(each.server, each.name): each for each in (evidence.settings if evidence else None) or ()}


def _asked(settings: Settings, key: tuple[str, str]) -> str | None:
    return settings[key].asked if key in settings else None


def _seen(settings: Settings, key: tuple[str, str]) -> tuple[str, ...]:
    return settings[key].seen if key in settings else ()
