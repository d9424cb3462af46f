"""The exchanges of a protocol: sent as they are, wrong ones too, and kept whatever comes back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby

from harness.base import secrets
from harness.base.clock import Deadline
from harness.base.errors import CannotJudge
from harness.base.exchange import Exchange, Exchanged
from harness.host import any_requests, http_client
from harness.host.any_requests import Letter
from harness.run import watching
from harness.run.context import Context
from harness.run.items import destination
from harness.run.readings import Readings
from harness.run.rundir import RunningServer

_LOOK_EVERY = 0.25
_PROBE_TIMEOUT = 15.0
_SHORT = 16
"""Times shorter than what was left is each of the requests that show whether it goes on."""
_FEW = 5


def ask(readings: Readings, exchanged: list[Exchanged]) -> None:
    """Send everything that the protocol exchanges; what came back is added to ``exchanged`` as it comes.

    Raises:
        CannotJudge: A server died, or the time of the evaluation is over.
    """
    context, servers, deadline = readings.context, readings.servers, readings.deadline
    planned = context.case.evaluation.exchanges()
    for together in _rounds(planned):
        if deadline.passed:
            raise CannotJudge(f"{len(exchanged)} of {len(planned)} exchanges within the time of the evaluation")
        found = _send(readings, together)
        exchanged += found
        context.progress.tick(f"exchanges: {together[-1].name} answered", len(exchanged), len(planned))
        lost = next((each for each in found if not each.status), None)
        if lost and _gone(servers, deadline):
            what = f"{len(exchanged) - len(found)} of {len(planned)} exchanges"
            raise watching.death(context, servers, CannotJudge(what, cause=f"{lost.name}: {lost.error}"))


def _rounds(planned: Sequence[Exchange]) -> Iterator[list[Exchange]]:
    """What is sent at once, in order."""
    for alone, together in groupby(planned, lambda each: each.alone):
        if alone:
            yield from ([each] for each in together)
        else:
            yield list(together)


def _send(readings: Readings, together: Sequence[Exchange]) -> list[Exchanged]:
    context, case = readings.context, readings.context.case
    entry = destination(readings.servers, case.evaluation.send_to).url
    letters = [Letter(f"{entry}{each.path}", _content(context, each), each.leave_after) for each in together]
    seconds = readings.deadline.cut(case.timeouts.request)
    answers = any_requests.send(letters, concurrency=case.evaluation.concurrency, seconds=seconds)
    return [
        Exchanged(
            name=each.name,
            status=answer.status,
            error=answer.error,
            # An answer is as it is; a refusal may quote what a server was started with.
            document=answer.document if answer.status == 200 else secrets.masked(answer.document),
            pieces=answer.pieces,
            done=answer.done,
            went_on=_went_on(readings, each, seconds) if each.leave_after else None,
            at_rest=_at_rest(readings) if each.leave_after else {},
            expected=each.expected,
            seconds=answer.seconds,
        )
        for each, answer in zip(together, answers, strict=True)
    ]


def _content(context: Context, exchange: Exchange) -> bytes:
    if exchange.raw:
        return exchange.raw.encode()
    model = context.prepared.model or context.case.serve.served_as
    return json.dumps({"model": model, **exchange.body}).encode()


def _gone(servers: list[RunningServer], deadline: Deadline) -> bool:
    """Whether a server is not there any more."""
    probes = [probe for running in servers for probe in running.server.probes if probe.kind == "http"]
    return any(http_client.ask(probes, deadline.cut(_PROBE_TIMEOUT)))


def _went_on(readings: Readings, left: Exchange, seconds: float) -> bool | None:
    """Whether what was left half-way is computed on: no clock says so, but short requests that run beside it.

    A batch goes step by step, so what was left is less than half done when all of them are over. What ends sooner than
    it would have is told from what came to its end only thus: either is gone in the end.
    """
    if not readings.context.engine.inside.every_step:
        return None
    limit = int(left.body["max_tokens"])
    body = {**left.body, "max_tokens": limit // _SHORT, "stream": False, "n": 1}
    content = _content(readings.context, Exchange(left.name, body))
    entry = destination(readings.servers, readings.context.case.evaluation.send_to).url
    for _ in range(_FEW):
        if not any(readings.held().values()):
            return False
        any_requests.send([Letter(f"{entry}{left.path}", content)], concurrency=1, seconds=seconds)
    return any(readings.held().values())


def _at_rest(readings: Readings) -> dict[str, float]:
    """What the gauges of the engine say as soon as all of them are 0, or when they had time enough to be."""
    limit = Deadline(readings.deadline.cut(readings.context.engine.inside.seconds), readings.context.clock)
    while any((found := readings.held()).values()) and not limit.passed:
        readings.context.clock.sleep(_LOOK_EVERY)
    return found
