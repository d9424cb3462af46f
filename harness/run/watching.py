"""Watching the servers during an evaluation: has one died, is one unhealthy, does anything move at all?

What is kept of servers that do not move any more, before they are stopped: where their processes stand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from harness.base.clock import Clock, Deadline
from harness.base.errors import CannotJudge
from harness.engines import metrics
from harness.host import files, http_client, processes, stacks
from harness.host.http_client import LATE
from harness.host.ownership import Ours
from harness.logs.root_cause import root_cause, tail
from harness.run.context import Context
from harness.run.rundir import RunningServer

_Found = TypeVar("_Found")

_HEALTH_TIMEOUT = 5.0
_HEALTH_TIMEOUT_ELSEWHERE = 2.0  # of another host that cannot be reached any more nobody answers "late"
_HEALTH_STRIKES = 2
# What was killed with memory of a device takes seconds to be gone. Its port is closed at once.
_DEATH_WAIT = 5.0
_READ_EVERY = 5.0
_READ_AT_LEAST = 0.5
_SLACK = 0.25  # a request that was sent right after the last answer is to end at its own limit, not at ours


@dataclass(frozen=True)
class Trouble:
    """Why an evaluation cannot go on.

    Attributes:
        what: In words.
        server: Whose it is; empty if nobody can say.
        stands: Whether processes are there that do not move.
    """

    what: str
    server: str = ""
    stands: bool = False


class Watch:
    """Called about twice a second while requests are in flight; says why to stop, empty to go on.

    Something moves if an answer comes or a counter of an engine changes. When nothing has moved for as long as one
    request may take, every request in flight has had its time, and those behind them would have no other.
    """

    def __init__(self, context: Context, servers: list[RunningServer], deadline: Deadline) -> None:
        self._context, self._servers, self._deadline = context, servers, deadline
        self._clock = context.clock
        self._limit = context.case.timeouts.request
        self._every = min(_READ_EVERY, max(_READ_AT_LEAST, self._limit / 10))
        spread = any(running.process and running.server.is_elsewhere for running in servers)
        self._health_timeout = min(_HEALTH_TIMEOUT_ELSEWHERE if spread else _HEALTH_TIMEOUT, max(2.0, self._limit))
        self._strikes = dict.fromkeys((running.server.name for running in servers), 0)
        self._moved = self._clock.monotonic()
        self._read = -self._every
        self._lines: dict[str, tuple[str, ...]] = {}
        self._in_flight = True
        self.trouble: Trouble | None = None

    def answered(self) -> None:
        """An answer came."""
        self._moved = self._clock.monotonic()

    def stalled(self) -> bool:
        """Whether nothing has moved for nearly as long as a request may take: for as long as the readings can tell."""
        return self._silence >= self._limit - 2 * self._every

    @property
    def _silence(self) -> float:
        return self._clock.monotonic() - self._moved

    def __call__(self) -> str:
        self.trouble = self._look()
        return self.trouble.what if self.trouble else ""

    def soon(self) -> None:
        """Look until there is trouble, as long as a death may take to be seen: clients may notice it before us.

        Nothing is in flight any more, so nothing has to move.
        """
        self._in_flight = False
        _soon(self, self._clock)

    def _look(self) -> Trouble | None:
        for running in self._servers:
            if running.process and (status := processes.exit_status(running.process)):
                return Trouble(status, running.server.name)
        began = self._clock.monotonic()
        engines = [running for running in self._servers if running.server.has_metrics]
        due = began - self._read >= self._every
        reading = engines if due else []
        # Somebody else's is asked no more often than its counters: it has other users, and perhaps a limit.
        asked = self._servers if due or not self._context.prepared.attached else []
        problems, pages = http_client.look(
            [running.server.probes[0] for running in asked],
            [f"{running.server.url}/metrics" for running in reading],
            self._deadline.cut(self._health_timeout),
        )
        if due:
            self._read = began
            self._note({each.server.name: page for each, page in zip(reading, pages, strict=True)})
        if self._deadline.passed:
            return Trouble(f"not over after {self._deadline.seconds:g} s (timeouts.evaluation)")
        for running, problem in zip(asked, problems, strict=True):
            if found := self._unhealthy(running, problem, began):
                return found
        if self._in_flight and self._silence >= self._limit + _SLACK:
            return Trouble(f"nothing moved for {self._limit:g} s (timeouts.request)", stands=True)
        return None

    def _note(self, pages: dict[str, str | None]) -> None:
        """The first reading of a server says nothing yet."""
        for name, page in pages.items():
            if page is None:
                continue
            lines = metrics.moving(page, self._context.engine.moving)
            if self._lines.setdefault(name, lines) != lines:
                self._moved, self._lines[name] = self._clock.monotonic(), lines

    def _unhealthy(self, running: RunningServer, problem: str, began: float) -> Trouble | None:
        """One that is only late, while something moves, is busy and not unhealthy.

        Somebody else's may answer one request after the other, and nobody can tell from here whether it works on one.
        """
        name = running.server.name
        busy = LATE in problem and (running.process is None or self._moved >= began)
        busy |= running.process is None and problem.endswith("answers 429")
        self._strikes[name] = self._strikes[name] + 1 if problem and not busy else 0
        if self._strikes[name] < _HEALTH_STRIKES:
            return None
        ended = _soon(partial(processes.exit_status, running.process), self._clock) if running.process else ""
        return Trouble(ended or f"is not healthy any more ({problem})", name, stands=not ended)

    def error(self, answers: str) -> CannotJudge:
        """The trouble as an error, with what is kept of processes that do not move.

        Args:
            answers: How many there were, in words.
        """
        trouble = self.trouble
        assert trouble is not None, "asked only after it was found"
        context = self._context
        concerned = [running for running in self._servers if trouble.server in ("", running.server.name)]
        note = keep(context, concerned) if trouble.stands else ""
        if trouble.server:
            return context.blame(trouble.server, f"{trouble.what} after {answers}", note)
        names = [running.server.name for running in concerned]
        logs = {name: context.rundir.log_text(name) for name in names}
        said = [
            f"{name} said: {cause}" for name, log in logs.items() if (cause := root_cause(log, context.engine.echoes))
        ]
        silent = f"no answer came and no counter of {', '.join(names)} changed" if trouble.stands else ""
        return CannotJudge(
            f"{trouble.what} after {answers}",
            cause="; ".join(filter(None, [silent, *said[:1], note])),
            details="\n\n".join(f"{context.rundir.log(name)}, last lines:\n{tail(log)}" for name, log in logs.items()),
        )


def death(context: Context, servers: list[RunningServer], unanswered: CannotJudge) -> CannotJudge:
    """Why nobody answered between two runs: one of ``servers`` died, or else ``unanswered`` itself."""
    if context.prepared.attached:
        return unanswered  # nobody here would see it

    def died() -> CannotJudge | None:
        try:
            context.check_alive(servers)
        except CannotJudge as error:
            return error
        return None

    return _soon(died, context.clock) or unanswered


def _soon(ask: Callable[[], _Found | None], clock: Clock) -> _Found | None:
    """What ``ask`` says within the time that a death may take to be seen, if it says anything."""
    deadline = Deadline(_DEATH_WAIT, clock)
    while not deadline.passed:
        if found := ask():
            return found
        clock.sleep(0.2)
    return None


SECONDS = 20.0
"""For all servers together: evidence, for which nobody waits longer."""
_MOST = 32
"""Processes of one server that are looked at."""


def keep(context: Context, servers: Sequence[RunningServer]) -> str:
    """Write ``logs/NAME.stack`` of each of ``servers`` that still has a process; says in words where they are."""
    if context.prepared.attached:
        return ""
    spy = stacks.tool(context.runtime.engine_python)
    written, reasons = [], []
    for running in servers:
        name = running.server.name
        grouped = Ours([running.process] if running.process and running.is_seen else [], context.label).look().grouped
        found = sorted(grouped, key=lambda each: each.pid)[:_MOST]
        if not found:
            continue
        context.progress.tick(f"keeping where the processes of {name} stand")
        text, reason = stacks.dump(found, spy, SECONDS / len(servers), context.clock)
        path = context.rundir.stack(name)
        files.write(path, text)
        written.append(str(path.relative_to(context.rundir.path)))
        reasons += [reason] if reason else []
    if not written:
        return ""
    without = f" (no Python stacks: {reasons[0]})" if reasons else ""
    return f"where its processes stand: {', '.join(written)}{without}"
