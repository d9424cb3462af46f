"""What must hold for mutants of engines: they name what is there, and what nobody sees says why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from engine_mutants.every_mutant import ALL
from engine_mutants.mutant import Mutant
from harness.base.domain import Stage
from harness.checks import CHECKS
from harness.engines import ENGINES
from harness.plan.points import Planned
from harness.power.mutant_records import Record

_ALWAYS = {"validity", "in_force", "at_rest", "teardown", "evidence", *map(str, Stage)}
"""What may turn red of every case: checks without a table, and stages."""
_BUG = re.compile(r"[\w.-]+/[\w.-]+#\d+")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def problems(
    planned: Sequence[Planned],
    records: Mapping[tuple[str, str], tuple[str, Record]],
    mutants: Sequence[Mutant] = ALL,
) -> list[str]:
    """Every broken rule, one line each.

    Args:
        planned: Every point there is.
        records: The latest of each mutant and platform, with the name of its folder.
        mutants: Every mutant there is.
    """
    found = [f"mutant {name}: there are {count} of that name" for name, count in _names(mutants).items() if count > 1]
    for each in mutants:
        found += [f"mutant {each.name}: {what}" for what in (*_entry(each), *_links(each, planned))]
    known = {each.name: each for each in mutants}
    for (name, _), (folder, record) in sorted(records.items()):
        found += _recorded(known.get(name), folder, record)
    return found


def _names(mutants: Sequence[Mutant]) -> Counter[str]:
    return Counter(each.name for each in mutants)


def _entry(mutant: Mutant) -> Iterator[str]:
    """What is wrong with an entry by itself."""
    if not _NAME.fullmatch(mutant.name):
        yield "name: must be small letters, digits and _"
    if mutant.engine not in ENGINES:
        yield f"engine: there is no {mutant.engine!r}"
    if not mutant.bugs or not all(map(_BUG.fullmatch, mutant.bugs)):
        yield f"bugs: must be published ones, as owner/repository#number, not {', '.join(mutant.bugs) or 'nothing'}"
    if not mutant.cases:
        yield "cases: none; name the one that should see it, the cheapest first"
    if not mutant.checks and not mutant.unseen:
        yield "checks: none; name one that must turn red, or say in `unseen` why there is none"
    try:
        SpecifierSet(mutant.versions)
    except InvalidSpecifier:
        yield f"versions: {mutant.versions!r} is no version specifier, as in '>=0.32,<0.34'"


def _links(mutant: Mutant, planned: Sequence[Planned]) -> Iterator[str]:
    """Cases that are none, and checks that none of the cases has."""
    judged = set(_ALWAYS)
    for case in mutant.cases:
        points = [each for each in planned if case in (each.id, each.case_file.id)]
        there = [each for each in points if mutant.is_on(each.platform)]
        if not there:
            where = "no point of that name" if not points else f"does not run on {mutant.platform}"
            yield f"cases: {case}: {where}; `harness plan` lists them"
        judged |= {name for each in there for name in _judged(each)}
    for check in mutant.checks:
        if check not in judged:
            why = "none of its cases has that check" if check in CHECKS else "there is no such check"
            yield f"checks: {check}: {why}"


def _judged(each: Planned) -> set[str]:
    case = each.case
    return {*case.checks.configured(), *case.controls, *case.comparisons}


def _recorded(mutant: Mutant | None, folder: str, record: Record) -> Iterator[str]:
    """Records of what is no mutant any more, or of what nothing saw and nobody says why."""
    where = f"docs/evidence/power/{folder}/{record.mutant}.json"
    if mutant is None:
        yield f"{where}: there is no mutant {record.mutant}; remove it"
    elif not record.status.is_killed and not mutant.unseen:
        yield f"mutant {mutant.name}: {record.status} ({where}): let a check see it, or say in `unseen` why none does"
