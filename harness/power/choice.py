"""Which mutants run on this machine, and on which points of their cases."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence

from packaging.specifiers import SpecifierSet

from engine_mutants.mutant import Mutant
from harness.base.domain import Platform
from harness.base.errors import NothingSelected
from harness.base.settings import cut
from harness.cases import engine_versions
from harness.plan.points import Planned


def named(mutants: Sequence[Mutant], wanted: Iterable[str]) -> list[Mutant]:
    """Those of the mutants that are meant: by name, or by a pattern with ``*`` and ``?``; all if nothing is wanted.

    Raises:
        NothingSelected: A name or pattern fits none.
    """
    patterns = [each for each in wanted if each]
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(each.name, pattern) for each in mutants):
            raise NothingSelected(f"--mutants {cut(pattern)}: there is none of that name; docs/power.md lists them")
    return [each for each in mutants if not patterns or any(fnmatch.fnmatchcase(each.name, name) for name in patterns)]


def not_here(mutant: Mutant, platform: Platform, engine: str, version: str) -> str:
    """Why a mutant cannot be run on this platform and this build; empty if it can."""
    if mutant.engine != engine:
        return f"is one of {mutant.engine}"
    if not mutant.is_on(platform):
        return f"cannot be on {platform}"
    if not SpecifierSet(mutant.versions).contains(engine_versions.taken(version), prereleases=True):
        return f"was written for {mutant.engine} {mutant.versions}"
    return ""


def on_build(points: Iterable[Planned], engine: str, version: str) -> list[Planned]:
    """The same points; those of the engine say so where its build has no such point."""
    return [each.on(version) if each.case.engine.name == engine else each for each in points]


def left_out(mutant: Mutant, points: Iterable[Planned]) -> str:
    """Why none of a mutant's cases runs, of points that were selected; empty if none of them was."""
    named = [each for each in points if {each.point, each.case_file.id} & set(mutant.cases)]
    return "; ".join(dict.fromkeys(f"{each.id}: {each.skip}" for each in named if each.skip))


def point(case: str, points: Iterable[Planned]) -> Planned | None:
    """The first point that runs of those that a mutant's entry means by an id, on whatever checkpoints; else None."""
    return next((each for each in points if not each.skip and case in (each.point, each.case_file.id)), None)
