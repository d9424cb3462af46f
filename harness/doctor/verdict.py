"""What a machine can run: facts in, for each session yes, no or how much of it, with the reason and the next step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from harness.base.domain import Platform
from harness.doctor import blockers, setting_libraries
from harness.doctor.blockers import Way
from harness.doctor.facts import Facts
from harness.doctor.obstacle import Obstacle
from harness.plan.points import Planned


@dataclass(frozen=True)
class Verdict:
    """What a session can do here.

    Attributes:
        points: Of its cases on the platform, less those that a case excludes.
        cases: Ids of those that can run.
        way: Where; None if none can.
        command: That runs them; empty if none can.
        instead: Why they do not run where they would by themselves; empty if they do.
        libraries: What settings of those that can run need besides the engine, where nobody could look for it.
        obstacles: Of the others, the most frequent first, each with the number of points.
    """

    session: str
    suite: str
    platform: Platform
    points: int
    cases: tuple[str, ...]
    way: Way | None
    command: str
    instead: str
    libraries: tuple[str, ...]
    obstacles: tuple[tuple[Obstacle, int], ...]

    @property
    def runs(self) -> int:
        """How many points can run."""
        return len(self.cases)

    @property
    def answer(self) -> str:
        """yes, no or partly."""
        return "no" if not self.runs else "yes" if self.runs == self.points else "partly"


def judge(
    planned: Sequence[Planned],
    facts: Facts,
    runtime: Literal["auto", "docker", "local"] = "auto",
    arguments: Sequence[str] = (),
) -> list[Verdict]:
    """The verdict on every session of ``planned``, in its order by name.

    Args:
        planned: From :func:`harness.plan.points.everything`, or some of it.
        facts: Of the machine.
        runtime: As ``harness run`` takes it.
        arguments: Further ones of ``harness run`` that the caller gave.
    """
    menu = (each for each in planned if each.on_menu)
    here = (each for each in menu if not each.case.topology.spread)  # sessions are of one host
    points = [each for each in here if not each.case_file.matrix(each.platform).excluded(each.variant)]
    by_name = sorted(points, key=lambda each: each.session)
    groups = groupby(by_name, key=lambda each: each.session)
    return [_session(list(group), facts, runtime, list(arguments)) for _, group in groups]


def _session(points: list[Planned], facts: Facts, runtime: str, arguments: list[str]) -> Verdict:
    first = points[0]
    given = any(blockers.source_of(each, facts).given for each in points)
    usual: Way = "local" if facts.container.problem or given else "docker"
    ways: list[Way] = [usual, "local" if usual == "docker" else "docker"]
    ways = [way for way in ways if way == runtime or (runtime == "auto" and not (given and way == "docker"))]
    found = {way: [blockers.of(each, facts, way) for each in points] for way in ways}
    way = max(ways, key=lambda one: found[one].count(None))  # of equals the first
    others = [found[one] for one in ways if one != way]
    left = [_both(one, [other[index] for other in others]) for index, one in enumerate(found[way]) if one]
    cases = tuple(each.id for each, one in zip(points, found[way], strict=True) if one is None)
    arguments = [*(["--runtime", way] if way != usual or runtime != "auto" else []), *arguments]
    if cases and any(each.kind == "devices" for each in left):
        arguments += ["--devices", str(len(facts.accelerators[first.platform].devices))]
    stopped = next((each.reason for each in found[usual] if each), "") if usual in found and way != usual else ""
    return Verdict(
        session=first.session,
        suite=first.suite,
        platform=first.platform,
        points=len(points),
        cases=cases,
        way=way if cases else None,
        command=facts.command(first.suite, first.platform, arguments) if cases else "",
        instead=stopped if cases else "",
        libraries=tuple(
            dict.fromkeys(
                line
                for each, one in zip(points, found[way], strict=True)
                if one is None and not (way == "local" and blockers.source_of(each, facts).absent is not None)
                for line in setting_libraries.unverified(each.case)
            )
        ),
        obstacles=_told_together(left),
    )


def _both(one: Obstacle, others: Sequence[Obstacle | None]) -> Obstacle:
    """An obstacle of one way together with that of the other, where they differ."""
    for other in others:
        if other and other != one:
            return Obstacle(one.kind, f"{one.reason}; {other.reason}", f"{one.next_step}; or {other.next_step}")
    return one


def _told_together(left: Sequence[Obstacle]) -> tuple[tuple[Obstacle, int], ...]:
    """Each kind once, in the words of most of its points."""
    kinds = Counter(each.kind for each in left)
    words = {kind: Counter(each for each in left if each.kind == kind).most_common(1)[0][0] for kind in kinds}
    return tuple((words[kind], count) for kind, count in kinds.most_common())
