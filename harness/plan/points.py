"""What runs: every case on every platform, point by point of its matrix, and why a point does not run."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from harness.base.domain import Platform
from harness.base.errors import UsageError
from harness.base.settings import cut
from harness.cases import engine_versions, own_models
from harness.cases.load import CaseFile
from harness.cases.matrix import Variant, label
from harness.cases.model import Case
from harness.cases.serve_settings import UNRESOLVED
from harness.engines import ENGINES

NO_SET = "has no checkpoint set"
"""How the reason begins why a point does not run with a checkpoint set."""

ATTACHED_ONLY = "nothing starts its servers: name one that runs already with --url or --attach"
"""Why a point does not run of itself."""

NEEDS_HOSTS = "needs two hosts to itself: run it alone with --ray ADDRESS"
"""Why a point whose servers are spread over hosts does not run on this one."""


Versions = Callable[[str, Platform], str | None]
"""The version of an engine on a platform; None where nobody knows it."""


@dataclass(frozen=True)
class Planned:
    """One case on one platform, at one point of its matrix.

    Attributes:
        skip: Why it does not run; empty if it does.
        checkpoints: The checkpoint set it runs with; empty for the models of the case.
        own: Folders of the user's that stand for models of the case.
        learned: Seconds that it took in earlier runs; None: nobody knows any.
    """

    case_file: CaseFile
    platform: Platform
    variant: Variant = ()
    skip: str = ""
    checkpoints: str = ""
    own: own_models.Own = ()
    learned: float | None = None

    @property
    def conditional(self) -> bool:
        """Whether what it is depends on the version of the engine."""
        return self.case_file.every_rule(self.platform).depends_on_version

    @property
    def not_there(self) -> str:
        """Why it does not exist on the version that it is planned for; empty if it does."""
        every = self.case_file.every_rule(self.platform)
        of_versions = every.model_copy(update={"exclude": [rule for rule in every.exclude if rule.engine]})
        reason = of_versions.on(self.case_file.version).excluded(self.variant)
        return f"not on {self.engine_version.rstrip(',')}: {reason}" if reason else ""

    @property
    def engine_version(self) -> str:
        """The engine and the version that it is planned for, in words."""
        name = str(self.case_file.merged(self.platform).get("engine", {}).get("name", ""))
        if self.case_file.version is None:
            return f"{name}, whatever its version"
        how = engine_versions.words(self.case_file.version)
        return f"{name} {self.case_file.version or 'without a version'}" + (f", {how}," if how else "")

    def on(self, version: str) -> Planned:
        """The same point on a build of this version, which says so itself."""
        found = replace(self, case_file=replace(self.case_file, version=version))
        return replace(found, skip=self.skip or found.not_there)

    @cached_property
    def case(self) -> Case:
        """Resolved."""
        return own_models.replaced(self.case_file.resolve(self.platform, self.variant, self.checkpoints), self.own)

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
        return "".join(f"@{name}" for name in (self.checkpoints, "own" if self.own else "") if name)

    @property
    def unpinned(self) -> list[str]:
        """Repositories that nobody has pinned: their commit is taken at the first run."""
        return [model.name for model in self.case.models() if model.revision == UNRESOLVED]

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

    @property
    def share(self) -> int:
        """Bytes of an accelerator's memory that each of its servers is content with; 0: it has its own to itself."""
        return share_bytes(self.case, self.platform)

    @property
    def least_devices(self) -> int:
        """Accelerators without which it cannot run: where servers share, one will do."""
        return least_devices(self.case, self.platform)

    @property
    def seconds(self) -> float:
        """How long it is expected to take: as it was learned, else as its case says."""
        return self.case.expected_seconds if self.learned is None else self.learned

    @property
    def device_seconds(self) -> float:
        """What it is expected to take of a host, which is paid for by its accelerators; without any, by the host."""
        return self.seconds * max(1, self.devices)


def session_of(suite: str, platform: Platform) -> str:
    """Name of the Nox session that runs a suite."""
    return f"{suite}_{platform}"


def attached_only(case: Case) -> bool:
    """Whether a case runs only on servers that somebody else runs: its engine's, or with a model of theirs."""
    return ENGINES[case.engine.name].server is None or any(model.served for model in case.models())


def devices(case: Case, platform: Platform) -> int:
    """Accelerators that a case needs at the same time, if no two servers share one."""
    if platform == "cpu":
        return 0
    of_one = ENGINES[case.engine.name].devices
    return sum(count * of_one(case.serve_of(role)) for role, count in case.topology.roles.items())


def share_bytes(case: Case, platform: Platform) -> int:
    """As of :attr:`Planned.share`. A server of several accelerators shares none."""
    return case.device_share_gib << 30 if devices(case, platform) == sum(case.topology.roles.values()) else 0


def least_devices(case: Case, platform: Platform) -> int:
    """As of :attr:`Planned.least_devices`."""
    return 1 if share_bytes(case, platform) else devices(case, platform)


def everything(
    case_files: Iterable[CaseFile], checkpoints: str = "", versions: Versions | None = None, *, decided: bool = True
) -> list[Planned]:
    """All points of all cases; those that their case excludes say so.

    Args:
        case_files: The cases.
        checkpoints: Name of a checkpoint set to run with instead of the models that cases have from the hub; cases that
            have such models and no such set do not run.
        versions: The version of an engine on a platform; None: rules with a condition on it do not count.
        decided: Whether that version is the one that runs. If not, it says what the points are, and no point is left
            out because of it.
    """
    points = [
        replace(point, skip=_excluded(point, decided=decided))
        for case_file in case_files
        for platform in case_file.platforms
        for each in [_for_version(case_file, platform, versions)]
        for variant in each.matrix(platform).variants()
        for point in [
            Planned(each, platform, variant, checkpoints=checkpoints if checkpoints in each.checkpoint_sets else "")
        ]
    ]
    return [
        each if each.skip else replace(each, skip=_lacks(each, checkpoints) or not_started(each.case))
        for each in points
    ]


def _excluded(each: Planned, *, decided: bool) -> str:
    """Why its case leaves it out; what it leaves out on some versions only, only if the version is decided."""
    every = each.case_file.every_rule(each.platform)
    for_all = every.model_copy(update={"exclude": [rule for rule in every.exclude if not rule.engine]})
    return for_all.excluded(each.variant) or (each.not_there if decided else "")


def _for_version(case_file: CaseFile, platform: Platform, versions: Versions | None) -> CaseFile:
    """The file for the version of its engine."""
    if versions is None or not case_file.every_rule(platform).depends_on_version:
        return case_file
    # Any point will do: what is asked may be on an axis, and a file without a point of its matrix is no case then.
    point = next(iter(case_file.matrix(platform).variants()), ())
    return replace(case_file, version=versions(case_file.resolve(platform, point).engine.name, platform))


def _lacks(each: Planned, checkpoints: str) -> str:
    """Why a point cannot run with a checkpoint set: known-answer models are small already, and stay."""
    if each.checkpoints == checkpoints or all(model.known_answer for model in each.case.models()):
        return ""
    return f"{NO_SET} {checkpoints}"


def with_own(planned: Sequence[Planned], own: own_models.Own) -> list[Planned]:
    """The same, each with those of the user's folders that stand for models of its case.

    Raises:
        UsageError: No case has a model of that name.
    """
    names = [own_models.names(each.case) for each in planned]
    for name, _ in own:
        if not any(name in found for found in names):
            there = ", ".join(sorted({each for found in names for each in found}))
            raise UsageError(f"--model {cut(name)}: no such model in these cases; there are: {there}")
    mine = [tuple(pair for pair in own if pair[0] in found) for found in names]
    return [replace(each, own=some) for each, some in zip(planned, mine, strict=True)]


def not_started(case: Case) -> str:
    """Why the servers of a case cannot be started; empty if they can. What runs already needs nothing of it."""
    return ATTACHED_ONLY if attached_only(case) else NEEDS_HOSTS if case.topology.spread else ""


def within(planned: Iterable[Planned], devices: int) -> list[Planned]:
    """The same, without what needs more than ``devices`` accelerators: indices are never wrapped around."""
    return [
        replace(each, skip=f"needs {each.least_devices} devices, there are {devices}")
        if not each.skip and each.least_devices > devices
        else each
        for each in planned
    ]


def sources(each: Planned) -> tuple[str, ...]:
    """Folders and files of its engine that it is about: its suite's, and those of every suite of the engine."""
    return (*each.case_file.suite.about.paths, *ENGINES[each.case.engine.name].paths)


def touched(planned: Iterable[Planned], changed_files: Iterable[str]) -> list[Planned]:
    """The same, without what is about none of ``changed_files``: paths from the root of the engine's repository."""
    changed = list(changed_files)
    return [
        each
        if each.skip or any(below(name, path) for name in changed for path in sources(each))
        else replace(each, skip="no changed file is below the suite's paths")
        for each in planned
    ]


def below(name: str, path: str) -> bool:
    """Whether a file or folder is the one at ``path``, or in it: a path that ends with a slash is a folder."""
    return name.startswith(path) if path.endswith("/") else name == path


def shard(planned: Sequence[Planned], index: int, count: int) -> list[Planned]:
    """Part ``index`` (from 1) of ``count`` whose expected device-seconds add up to about the same; skipped ones stay.

    What takes most first, each to the part with the least to do; ties by id, so that every part is the same everywhere.
    """
    loads = [(0.0, number) for number in range(1, count + 1)]
    chosen: set[str] = set()
    running = (each for each in planned if not each.skip)
    for each in sorted(running, key=lambda one: (-one.device_seconds, one.id, one.platform)):
        load, number = heapq.heappop(loads)
        heapq.heappush(loads, (load + each.device_seconds, number))
        if number == index:
            chosen.add(f"{each.id} {each.platform}")
    return [each for each in planned if each.skip or f"{each.id} {each.platform}" in chosen]
