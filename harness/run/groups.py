"""``groups.json``: the counters after each of some groups of requests, which say how much requests differ."""

from __future__ import annotations

from harness.base.clock import Deadline
from harness.base.errors import CannotJudge
from harness.cases.model import Case
from harness.engines import metrics
from harness.host.background import Later
from harness.run.documents import Document
from harness.run.readings import Readings
from harness.statistics.ratios import LEAST_GROUPS

NAME = "groups"
_MOST = 16
_PATIENCE = 15.0  # seconds for the last reading

Reading = dict[str, metrics.Counters]
"""Counters by our names and by server."""


class Groups(Document):
    """``groups.json``: one reading after the other."""

    readings: list[dict[str, dict[str, float]]]
    done: tuple[int, ...] = ()
    """Requests that had come back at each; empty if an earlier version of the harness read them."""


class Grouped:
    """Reads counters during the main run, where a case speculates on a model of which nothing is known beforehand.

    Requests are in flight side by side, so a group has as many as are in flight at least. Where that leaves fewer
    groups than say anything, nothing is read.
    """

    def __init__(self, readings: Readings, case: Case) -> None:
        roles = (case.serve_of(role) for role in case.topology.roles)
        self._wanted = not case.is_known and any(each.speculation for each in roles)
        self._readings, self._concurrency = readings, case.evaluation.concurrency
        self._found: list[dict[str, dict[str, float]]] = []
        self._done: list[int] = []
        self._reading: Later[Reading] | None = None
        self._at = self._asked_at = 0

    def look(self, done: int, planned: int) -> None:
        """Read, if another group of requests has come back; the last one is read when the servers are at rest.

        Nobody waits for it: requests go on meanwhile. As long as one reading goes on, no other begins.
        """
        groups = min(_MOST, planned // self._concurrency)
        if not self._wanted or groups < LEAST_GROUPS or not self._at < (at := done * groups // planned) < groups:
            return
        if self._reading is None or self._taken(0.0):
            self._at, self._asked_at, self._reading = at, done, Later(self._readings.counters)

    def finish(self) -> None:
        """Write down what was read, if anything was."""
        if self._reading is not None and self._taken(_PATIENCE) and self._found:
            self._readings.context.rundir.write(NAME, Groups, Groups(readings=self._found, done=tuple(self._done)))

    def _taken(self, seconds: float) -> bool:
        """Whether what is being read is there by then. Without it the groups would not be whole."""
        assert self._reading is not None
        try:
            found = self._reading.within(Deadline(seconds, self._readings.context.clock), {})
        except CannotJudge:
            self._wanted, self._found, self._done = False, [], []  # whoever watches the servers says why
            return False
        if found:
            self._found.append({name: dict(counters) for name, counters in found.items()})
            self._done.append(self._asked_at)
        return bool(found)
