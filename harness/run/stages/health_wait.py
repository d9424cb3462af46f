"""``health-wait``: wait until the servers are ready for this case, or say at once why they never will be."""

from __future__ import annotations

from typing import Any

from harness.base import texts
from harness.base.clock import Deadline
from harness.base.domain import Probe
from harness.base.errors import CannotJudge
from harness.cases.model import Case
from harness.host import http_client, processes, waiting
from harness.host.http_client import NoAnswer
from harness.logs.root_cause import last_words, root_cause, tail
from harness.plan.request_bodies import not_an_answer, read, request
from harness.run import attached, watching
from harness.run.context import Context
from harness.run.items import destination, evaluation_items, rendered
from harness.run.rundir import Ready, RunningServer

_PROBE_TIMEOUT = 2.0
_FIRST_TOKEN_TIMEOUT = 15.0
_MAY_PASS = (408, 425, 429)


class _Readiness:
    """What has answered so far. Every call of :meth:`missing` asks for the next thing that has not."""

    def __init__(self, context: Context, servers: list[RunningServer]) -> None:
        self._context = context
        self._servers = servers
        self._pending: list[tuple[str, Probe]] = [
            (running.server.name, probe) for running in servers for probe in running.server.probes
        ]
        self._deadline = Deadline(context.case.timeouts.start, context.clock)
        self.answered: dict[str, float] = {}
        self.silent: dict[str, str] = {}
        """What each server last had against it, by its name, of those that were not up."""
        self.first_token = ""
        self.attempts = 0
        # Somebody else's may have a slower machine, and a queue; a second request would only join it.
        self._patience = context.case.timeouts.request if context.prepared.attached else _FIRST_TOKEN_TIMEOUT

    def missing(self) -> str:
        """What is still missing; empty once a first token has come back end to end."""
        silent: dict[str, str] = {}
        asked = list(self._pending)
        problems = http_client.ask([probe for _, probe in asked], self._deadline.cut(_PROBE_TIMEOUT)) if asked else []
        for (name, probe), problem in zip(asked, problems, strict=True):
            if problem:
                silent.setdefault(name, problem)
                continue
            self._pending.remove((name, probe))
            self.answered[f"{name}: {probe.what}"] = round(self._deadline.elapsed, 3)
        self.silent = silent
        return "; ".join(f"{name}: {problem}" for name, problem in silent.items()) or self._ask_first_token()

    def _ask_first_token(self) -> str:
        """One short request along the whole way: only an answer proves that a connector shook hands."""
        context = self._context
        self.attempts += 1
        item = rendered(context, self._servers, evaluation_items(context)[0], self._deadline)
        first = request(context.case, item, context.prepared.model)
        url = destination(self._servers, "entry").url
        try:
            limit = self._deadline.cut(self._patience)
            status, reply = http_client.post(f"{url}{first.path}", first.body | {"max_tokens": 1}, limit)
        except NoAnswer as error:
            return f"first token: {error} (attempt {self.attempts})"
        if context.prepared.attached and 400 <= status < 500 and status not in _MAY_PASS:
            cause = f"{first.path} answers {status}: {texts.cause(reply)}"
            raise CannotJudge("no first token from somebody else's server", cause=cause)
        self.first_token = _answer(context.case, first.path, reply) if status == 200 else ""
        return "" if self.first_token else f"first token: status {status} (attempt {self.attempts})"


def _answer(case: Case, path: str, reply: Any) -> str:
    try:
        said = read(case, path, reply)
    except ValueError:
        return ""
    return "" if not_an_answer(said.finish_reason) else said.text or said.reasoning


def run(context: Context) -> None:
    """Wait for every probe and a first token, then write ``ready.json``.

    Raises:
        CannotJudge: A server ended, or the case's start timeout passed.
    """
    servers = context.servers()
    if context.prepared.attached:
        servers = attached.found(context, servers)
    readiness = _Readiness(context, servers)
    limit = context.case.timeouts.start
    try:
        seconds = waiting.until(
            readiness.missing,
            limit,
            check_alive=lambda: context.check_alive(servers),
            on_tick=lambda missing: context.progress.tick(f"waiting for {missing}"),
            clock=context.clock,
        )
    except waiting.TimedOut as late:
        missing = [running for running in servers if running.server.name in readiness.silent]
        raise _too_late(context, missing or servers, late) from None
    ready = Ready(
        seconds=round(seconds, 3),
        answered=readiness.answered,
        first_token=readiness.first_token,
        attempts=readiness.attempts,
        workers={each.server.name: processes.workers(each.process, context.label) for each in servers if each.process},
    )
    if context.prepared.attached:
        attached.with_gaps(context, servers, Deadline(limit, context.clock))
    context.rundir.write("ready", Ready, ready)


def _too_late(context: Context, missing: list[RunningServer], late: waiting.TimedOut) -> CannotJudge:
    """With what the logs of those that are missing say: a thread that died may leave its server up and waiting."""
    logs = {running.server.name: context.rundir.log_text(running.server.name) for running in missing}
    said = [_said(context, name, log) for name, log in logs.items() if log]
    stands = watching.keep(context, missing)
    return CannotJudge(
        f"not ready after {late.seconds:.0f} s (timeouts.start)",
        cause="; ".join(filter(None, [late.missing, *said[:1], stands])),
        details="\n\n".join(f"{context.rundir.log(name)}, last lines:\n{tail(log)}" for name, log in logs.items()),
    )


def _said(context: Context, name: str, log: str) -> str:
    cause = root_cause(log, context.engine.echoes)
    return f"{name} said: {cause}" if cause else f"{name} said last: {last_words(log)}"
