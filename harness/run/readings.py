"""Readings of the servers of an evaluation: counters, what they hold at rest, their configuration; and a reset."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic_core import from_json

from harness.base import secrets, texts
from harness.base.clock import Deadline
from harness.base.errors import CannotJudge
from harness.base.resting import NOTHING
from harness.engines import metrics
from harness.host import files, http_client
from harness.host.http_client import NoAnswer
from harness.run import watching
from harness.run.context import Context
from harness.run.rundir import RunningServer, When

T = TypeVar("T")
_SCRAPE_TIMEOUT = 15.0
_RESET_TIMEOUT = 30.0
_SETTLE_EVERY = 0.5


@dataclass(frozen=True)
class Readings:
    """Whoever reads, of whom, and how long there is for the whole of it."""

    context: Context
    servers: list[RunningServer]
    deadline: Deadline

    def reset(self) -> None:
        """Ask every engine server to forget what it did before: a refusal would leave its caches and means as they are.

        Raises:
            CannotJudge: One refuses, or does not answer.
        """
        path = self.context.engine.reset
        if path and self.context.prepared.attached:
            self.context.progress.note(f"{path} is left out: others may use what somebody else's server keeps")
            return
        for running in self.servers:
            if not path or not running.server.has_metrics:
                continue
            try:
                url = f"{running.server.url}{path}"
                status, reply = http_client.post(url, {}, self.deadline.cut(_RESET_TIMEOUT))
                cause = f"{path} answers {status}: {texts.cause(reply)}"
            except NoAnswer as error:
                raise self._unanswered(f"{running.server.name} was not reset", f"{path}: {error}") from error
            if status != 200:
                raise CannotJudge(f"{running.server.name} was not reset", cause=cause)

    def keep_info(self) -> None:
        """Read and keep what every engine server says about its configuration.

        Raises:
            CannotJudge: One cannot be read.
        """
        path = self.context.engine.info
        for running in self.servers:
            if not path or not running.server.has_metrics or "configuration" in running.lacks:
                continue
            name = running.server.name
            try:
                url = f"{running.server.url}{path}"
                document = from_json(http_client.text(url, self.deadline.cut(_SCRAPE_TIMEOUT)))
            except (NoAnswer, ValueError) as error:
                raise self._unread(f"{path} of {name}", error) from error
            text = json.dumps(secrets.masked(document), indent=1, sort_keys=True)
            files.write(self.context.rundir.info_file(name), text)

    def settle(self, when: When) -> None:
        """Read ``/metrics`` until all servers are at rest, after the main run until counters stand still too; keep it.

        Counters reach ``/metrics`` later than the answers reach us, and blocks are given back later still. A server
        that does not come to rest is read as it is: a check says so.

        Raises:
            CannotJudge: A server cannot be read.
        """
        deadline = Deadline(self.deadline.cut(self.context.engine.inside.seconds), self.context.clock)
        last = ""
        while True:
            counters, held = self._scrape(when)
            now = str(counters)  # NaN is unlike itself
            still = when != "after" or now == last
            if deadline.passed or (still and all(abs(each) <= NOTHING for each in held)):
                return
            last = now
            self.context.progress.tick(f"waiting for the servers to come to rest ({when})")
            self.context.clock.sleep(_SETTLE_EVERY)

    def held(self) -> dict[str, float]:
        """What the gauges of the engine say now, by name, summed over servers. Nothing is kept.

        Raises:
            CannotJudge: A server cannot be read.
        """
        read = [gauges for _, _, gauges in self._read(self._gauges)]
        return metrics.add({name: value} for gauges in read for (name, _series), value in gauges.items())

    def counters(self) -> dict[str, metrics.Counters]:
        """What the counters of every engine server say now, by our names. Nothing is kept.

        Raises:
            CannotJudge: One cannot be read.
        """
        names = self.context.engine.metrics
        return {name: found for name, _, found in self._read(lambda text: metrics.read(text, names))}

    def _gauges(self, text: str) -> dict[tuple[str, str], float]:
        return metrics.gauges(text, self.context.engine.inside.gauges)

    def _scrape(self, when: When) -> tuple[dict[str, Any], list[float]]:
        """Read and keep ``/metrics`` of every engine server; returns counters by server, and what all of them hold."""
        counters, held = {}, list[float]()
        for name, text, (counted, gauges) in self._read(
            lambda text: (metrics.read(text, self.context.engine.metrics), self._gauges(text))
        ):
            counters[name] = counted
            held += gauges.values()
            files.write(self.context.rundir.metrics_file(when, name), secrets.mask(text))
        return counters, held

    def _read(self, take: Callable[[str], T]) -> Iterator[tuple[str, str, T]]:
        """Name and ``/metrics`` of every engine server, and what ``take`` finds there."""
        for running in self.servers:
            if not running.server.has_metrics:
                continue
            name = running.server.name
            try:
                text = http_client.text(f"{running.server.url}/metrics", self.deadline.cut(_SCRAPE_TIMEOUT))
                found = take(text)
            except (NoAnswer, ValueError) as error:
                raise self._unread(f"/metrics of {name}", error) from error
            yield name, text, found

    def _unanswered(self, what: str, cause: str) -> CannotJudge:
        """The error for a server that did not answer us while nothing was in flight, and nobody watched."""
        return watching.death(self.context, self.servers, CannotJudge(what, cause=cause))

    def _unread(self, what: str, error: NoAnswer | ValueError) -> CannotJudge:
        """The error for what cannot be read. Who answered is alive, whatever the answer was."""
        what = f"{what} cannot be read"
        return (
            self._unanswered(what, str(error)) if isinstance(error, NoAnswer) else CannotJudge(what, cause=str(error))
        )
