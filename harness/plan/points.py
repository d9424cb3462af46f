"""What runs: every case on every platform, point by point of its matrix, and why a point does not run."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from harness.base.domain import Platform
from harness.cases.load import CaseFile
from harness.cases.matrix import Variant, label
from harness.cases.model import Case
from harness.cases.serve_settings import UNRESOLVED
from harness.engines import ENGINES

NO_SET = "has no checkpoint set"
"""How the reason begins why a point does not run with a checkpoint set."""

ATTACHED_ONLY = "nothing starts its servers: name one that runs already with --url or --attach"
"""Why a point does not run of itself."""


@dataclass(frozen=True)
class Planned:
    """One case on one platform, at one point of its matrix.

    Attributes:
        skip: Why it does not run; empty if it does.
        checkpoints: The checkpoint set it runs with; empty for the models of the case.
    """

    case_file: CaseFile
    platform: Platform
    variant: Variant = ()
    skip: str = ""
    checkpoints: str = ""

    @cached_property
    def case(self) -> Case:
        """Resolved."""
        return self.case_file.resolve(self.platform, self.variant, self.checkpoints)

    @property
    def suite(self) -> str:
        return self.case_file.suite.name

    @property
    def name(self) -> str:
        return self.case_file.name + label(self.variant) + self._set

    @property
    def id(self) -> str:
        return f"{self.suite}/{self.name}"

    @property
    def point(self) -> str:
        """The id whatever the checkpoints."""
        return self.id.removesuffix(self._set)

    @property
    def folder(self) -> str:
        """Name of its run directory."""
        point = "".join(f".{axis}={value}" for axis, value in self.variant)
        return f"{self.suite}.{self.case_file.name}{point}{self._set}"

    @property
    def _set(self) -> str:
        """So that no verdict on other checkpoints passes for one on the models of the case."""
        return f"@{self.checkpoints}" if self.checkpoints else ""

    @property
    def session(self) -> str:
        """The Nox session that runs it."""
        return session_of(self.suite, self.platform)

    @property
    def on_menu(self) -> bool:
        """Whether a session runs it, as its suite says: see :class:`harness.cases.model.SuiteTable`."""
        return self.case_file.suite.about.menu

    @property
    def devices(self) -> int:
        """Accelerators it needs at the same time, over all servers."""
        return devices(self.case, self.platform)


def session_of(suite: str, platform: Platform) -> str:
    """Name of the Nox session that runs a suite."""
    return f"{suite}_{platform}"


def attached_only(case: Case) -> bool:
    """Whether a case runs only on servers that somebody else runs: its engine's, or with a model of theirs."""
    return ENGINES[case.engine.name].server is None or any(model.served for model in case.models())


def devices(case: Case, platform: Platform) -> int:
    """Accelerators that a case needs at the same time: no two servers share one."""
    if platform == "cpu":
        return 0
    of_one = ENGINES[case.engine.name].devices
    return sum(count * of_one(case.serve_of(role)) for role, count in case.topology.roles.items())


def everything(case_files: Iterable[CaseFile], checkpoints: str = "") -> list[Planned]:
    """All points of all cases; those that their case excludes, or whose models nobody has pinned, say so.

    Args:
        case_files: The cases.
        checkpoints: Name of a checkpoint set to run with instead of the models that cases have from the hub; cases that
            have such models and no such set do not run.
    """
    points = [
        Planned(
            case_file,
            platform,
            variant,
            matrix.excluded(variant),
            checkpoints if checkpoints in case_file.checkpoint_sets else "",
        )
        for case_file in case_files
        for platform in case_file.platforms
        for matrix in [case_file.matrix(platform)]
        for variant in matrix.variants()
    ]
    return [
        each if each.skip else replace(each, skip=_lacks(each, checkpoints) or not_started(each.case))
        for each in points
    ]


def _lacks(each: Planned, checkpoints: str) -> str:
    """Why a point cannot run with a checkpoint set: known-answer models are small already, and stay."""
    if each.checkpoints == checkpoints or all(model.known_answer for model in each.case.models()):
        return ""
    return f"{NO_SET} {checkpoints}"


def not_started(case: Case) -> str:
    """Why the servers of a case cannot be started; empty if they can. What runs already needs nothing of it."""
    return _unpinned(case) or (ATTACHED_ONLY if attached_only(case) else "")


def _unpinned(case: Case) -> str:
    unpinned = [model.name for model in case.models() if model.revision == UNRESOLVED]
    return f"no revision is pinned yet of {', '.join(unpinned)}: harness pin" if unpinned else ""


def within(planned: Iterable[Planned], devices: int) -> list[Planned]:
    """The same, without what needs more than ``devices`` accelerators: indices are never wrapped around."""
    return [
        replace(each, skip=f"needs {each.devices} devices, there are {devices}")
        if not each.skip and each.devices > devices
        else each
        for each in planned
    ]


def touched(planned: Iterable[Planned], changed_files: Iterable[str]) -> list[Planned]:
    """The same, without the suites whose source paths match none of ``changed_files``.

    Args:
        planned: What would run.
        changed_files: Paths relative to the root of the engine's repository.
    """
    changed = list(changed_files)
    return [
        each
        if each.skip or any(_below(name, path) for name in changed for path in each.case_file.suite.about.paths)
        else replace(each, skip="no changed file is below the suite's paths")
        for each in planned
    ]


def _below(name: str, path: str) -> bool:
    return name.startswith(path) if path.endswith("/") else name == path


def shard(planned: Sequence[Planned], index: int, count: int) -> list[Planned]:
    """Part ``index`` (from 1) of ``count`` whose expected durations add up to about the same; skipped ones stay.

    Longest first, each to the part with the least to do; ties by id, so that every part is the same everywhere.
    """
    loads = [(0, number) for number in range(1, count + 1)]
    chosen: set[str] = set()
    running = (each for each in planned if not each.skip)
    for each in sorted(running, key=lambda one: (-one.case.expected_seconds, one.id, one.platform)):
        seconds, number = heapq.heappop(loads)
        heapq.heappush(loads, (seconds + each.case.expected_seconds, number))
        if number == index:
            chosen.add(f"{each.id} {each.platform}")
    return [each for each in planned if each.skip or f"{each.id} {each.platform}" in chosen]
