"""What points took in earlier runs, and so are expected to take: by point, engine and kind of devices."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from statistics import median
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from harness.base.domain import Outcome
from harness.plan.points import Planned
from harness.reports.result import Result

_LATEST = 5
"""Runs that count: an engine gets faster and slower, and the first of a build compiles."""


class Subject(NamedTuple):
    """What an observation is of.

    Attributes:
        point: Its id, with the name of its checkpoint set.
        kind: Of its devices, in the driver's words; of a host without any, its processors.
    """

    point: str
    platform: str
    engine: str
    kind: str


class Observed(BaseModel):
    """What was seen of one subject.

    Attributes:
        seconds: From the start of the servers to the verdict, of the latest runs, the latest last.
        memory_bytes: Of the host, that all servers together held at most.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: Subject
    seconds: tuple[float, ...]
    memory_bytes: int = 0


class Learned(BaseModel):
    """Everything that was seen; a new one is made of it and of another run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    observed: tuple[Observed, ...] = ()

    def after(self, result: Result, memory_bytes: int = 0) -> Learned:
        """With another run. One that was not brought to its end says nothing of how long that takes.

        What comes before servers are started is not counted: what is downloaded, built and waited for once.
        """
        seconds = round(result.timing.total - result.timing.prepare, 1)
        if result.outcome not in (Outcome.PASS, Outcome.FAIL, Outcome.MEASURED) or seconds <= 0:
            return self
        subject = Subject(
            result.case_id,
            result.platform,
            result.provenance.get("engine", ""),
            kind_of(result.platform, result.provenance),
        )
        found = {each.subject: each for each in self.observed}
        before = found.get(subject) or Observed(subject=subject, seconds=())
        found[subject] = Observed(
            subject=subject,
            seconds=(*before.seconds, seconds)[-_LATEST:],
            memory_bytes=max(before.memory_bytes, memory_bytes),
        )
        return Learned(observed=tuple(found[each] for each in sorted(found)))

    def of(self, each: Planned, kind: str | None = None) -> Observed | None:
        """What was seen of a point; None if it never ran there.

        Args:
            each: The point.
            kind: Of the devices; None: whatever they are, and the slowest counts.
        """
        same = (each.id, each.platform, each.case.engine.name)
        found = [seen for seen in self.observed if seen.subject[:3] == same and kind in (None, seen.subject.kind)]
        return max(found, key=lambda seen: median(seen.seconds), default=None)

    def applied(self, planned: Iterable[Planned], kind: str | None = None) -> list[Planned]:
        """The same points, each with what is usual for it; what never ran has what its case says.

        Args:
            planned: The points.
            kind: Of the devices; None: whatever they are, and the slowest counts.
        """
        found = ((each, self.of(each, kind)) for each in planned)
        return [replace(each, learned=median(seen.seconds)) if seen else each for each, seen in found]


def kind_of(platform: str, facts: Mapping[str, str]) -> str:
    """What runs a point, from the facts of its host as a result names them (``host.devices``)."""
    if platform == "cpu":
        return f"{facts.get('host.cpus', '?')} processors, {facts.get('host.machine', '?')}"
    return re.sub(r"^\d+ x ", "", facts.get("host.devices", ""))


def from_results(results: Iterable[tuple[Result, int]], before: Learned) -> Learned:
    """With all of these runs, and the memory of the host that their servers held at most, in the order they began."""
    for result, memory_bytes in sorted(results, key=lambda pair: pair[0].started):
        before = before.after(result, memory_bytes)
    return before
