"""``eval``: ask, and read the counters before and after."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from pydantic_core import from_json

from harness.base import secrets, texts
from harness.base.clock import Deadline
from harness.base.domain import Item, Sample
from harness.base.errors import CannotJudge
from harness.base.evidence import Measurement
from harness.base.exchange import Exchanged
from harness.engines import metrics
from harness.host import concurrent_requests, files, http_client
from harness.host.http_client import NoAnswer
from harness.plan.request_bodies import (
    COMPLETIONS,
    Completion,
    Request,
    not_an_answer,
    priming,
    read,
    read_completion,
    request,
)
from harness.protocols.protocol import Destination
from harness.run import exchanges, watching
from harness.run.context import Context
from harness.run.evidence_files import take
from harness.run.items import destination, evaluation_items, rendered
from harness.run.rundir import RunningServer
from harness.run.watching import Watch

_SCRAPE_TIMEOUT = 15.0
_RESET_TIMEOUT = 30.0
_SETTLE_TIMEOUT = 15.0
_SETTLE_EVERY = 0.5


@dataclass(frozen=True)
class _Asking:
    """What the parts of one evaluation share."""

    context: Context
    servers: list[RunningServer]
    deadline: Deadline
    """For the whole of it."""
    samples: list[Sample]


def run(context: Context) -> None:
    """Send the main run, controls, comparisons and exchanges; write metrics, samples and ``measurements.json``.

    Whatever ends the stage, the samples that came back are written.

    Raises:
        CannotJudge: A server died or would not be reset, requests failed, or the metrics cannot be read.
    """
    servers = context.servers()
    case = context.case
    context.require_open_files()
    asking = _Asking(context, servers, Deadline(case.timeouts.evaluation, context.clock), [])
    samples, exchanged = asking.samples, list[Exchanged]()
    try:
        items = {item.id: rendered(context, servers, item, asking.deadline) for item in evaluation_items(context)}
        _reset(asking)
        _scrape(asking, "before")
        stands = [_send(asking, items, "main", case.evaluation.send_to)]
        _settle(asking)
        _keep_info(asking)
        for name, other in (case.controls | case.comparisons).items():
            stands.append(_send(asking, items, name, other.send_to))
        exchanges.ask(context, servers, asking.deadline, exchanged)
    finally:
        # Where nothing came back at all, what an earlier attempt left is worth more.
        if samples or context.rundir.samples() is None:
            context.rundir.write_samples(sorted(samples, key=lambda sample: (sample.run, sample.item)))
        if exchanged:
            context.rundir.write_exchanges(exchanged)
    evidence = take(context.rundir)
    if evidence is not None:
        context.rundir.write("measurements", Measurement, evidence.measured)
    failed = [sample for sample in samples if sample.error]
    if failed:
        first = failed[0]
        raise CannotJudge(
            f"{len(failed)} of {len(samples)} requests failed",
            cause="; ".join(filter(None, [f"{first.run} {first.item}: {first.error}", *stands])),
            details="\n".join(f"{sample.run} {sample.item}: {sample.error}" for sample in failed[:20]),
        )


def _send(asking: _Asking, items: dict[str, Item], run: str, send_to: Destination) -> str:
    """Ask all of one run. Returns where processes stand that left a request without an answer; empty as a rule."""
    context, servers = asking.context, asking.servers
    case, model = context.case, context.prepared.model
    done = failed = late = 0
    asked: dict[str, tuple[str, Item, str]] = {}
    calls: list[concurrent_requests.Call] = []

    def call(name: str, item: Item, to: Destination, how: Request) -> None:
        key = item.id if name == run else f"{name} {item.id}"
        asked[key] = name, item, how.path
        calls.append(concurrent_requests.Call(key, f"{destination(servers, to).url}{how.path}", how.body))

    def collect(reply: concurrent_requests.Reply) -> None:
        nonlocal done, failed, late
        if not reply.late:
            watch.answered()
        name, item, path = asked[reply.key]
        sample = _sample(name, item, reply, partial(read, case, path))
        asking.samples.append(sample)
        done += 1
        failed += bool(sample.error)
        late += reply.late
        context.progress.tick(f"{run}: {reply.key} {'was late' if reply.late else 'answered'}", done, len(calls))

    for item in items.values():
        if item.prime and run == "main":
            ahead = replace(item, expected=None, expected_text=None, prompt_tokens=None)
            primer = Request(COMPLETIONS, priming(case, item.prime.prompt, model))
            call(item.primed_run, ahead, item.prime.role, primer)
        call(run, item, send_to, request(case, item, model))

    watch = Watch(context, servers, asking.deadline)
    try:
        concurrent_requests.send(
            calls,
            concurrency=case.evaluation.concurrency,
            timeout=case.timeouts.request,
            watch=watch,
            on_reply=collect,
            on_tick=lambda: context.progress.tick(f"{run}: waiting for answers", done, len(calls)),
            stalled=watch.stalled,
            clock=context.clock,
        )
        if failed > late:
            watch.soon()
    except concurrent_requests.Aborted:
        pass  # the watch knows why
    if watch.trouble:
        raise watch.error(f"{done - failed} of {len(calls)} answers" + (f" of {run}" if run != "main" else ""))
    return watching.keep(context, servers) if late and watch.stalled() else ""


def _sample(
    run: str, item: Item, reply: concurrent_requests.Reply, decoded: Callable[[Any], Completion] = read_completion
) -> Sample:
    said, error = Completion("", "", 0, 0), reply.error
    if not error:
        try:
            said = decoded(reply.body)
            error = not_an_answer(said.finish_reason)
        except ValueError as wrong:
            error = str(wrong)
    return Sample(
        run=run,
        item=item.id,
        status=reply.status,
        error=error,
        text=said.text,
        finish_reason=said.finish_reason,
        prompt_tokens=said.prompt_tokens,
        completion_tokens=said.completion_tokens,
        started=round(reply.started, 4),
        seconds=round(reply.seconds, 4),
        expected=item.expected,
        expected_text=item.expected_text,
        expected_prompt_tokens=item.prompt_tokens,
        reasoning=said.reasoning,
    )


def _unanswered(asking: _Asking, what: str, cause: str) -> CannotJudge:
    """The error for a server that did not answer us while nothing was in flight, and nobody watched."""
    return watching.death(asking.context, asking.servers, CannotJudge(what, cause=cause))


def _unread(asking: _Asking, what: str, error: NoAnswer | ValueError) -> CannotJudge:
    """The error for what cannot be read. Who answered is alive, whatever the answer was."""
    what = f"{what} cannot be read"
    return _unanswered(asking, what, str(error)) if isinstance(error, NoAnswer) else CannotJudge(what, cause=str(error))


def _reset(asking: _Asking) -> None:
    """Ask every engine server to forget what it did before: a refusal would leave its caches and means as they are."""
    path = asking.context.engine.reset
    if path and asking.context.prepared.attached:
        asking.context.progress.note(f"{path} is left out: others may use what somebody else's server keeps")
        return
    for running in asking.servers:
        if not path or not running.server.has_metrics:
            continue
        try:
            status, reply = http_client.post(f"{running.server.url}{path}", {}, asking.deadline.cut(_RESET_TIMEOUT))
            cause = f"{path} answers {status}: {texts.cause(reply)}"
        except NoAnswer as error:
            raise _unanswered(asking, f"{running.server.name} was not reset", f"{path}: {error}") from error
        if status != 200:
            raise CannotJudge(f"{running.server.name} was not reset", cause=cause)


def _keep_info(asking: _Asking) -> None:
    """Read and keep what every engine server says about its configuration."""
    context = asking.context
    path = context.engine.info
    for running in asking.servers:
        if not path or not running.server.has_metrics or "configuration" in running.lacks:
            continue
        name = running.server.name
        try:
            document = from_json(http_client.text(f"{running.server.url}{path}", asking.deadline.cut(_SCRAPE_TIMEOUT)))
        except (NoAnswer, ValueError) as error:
            raise _unread(asking, f"{path} of {name}", error) from error
        files.write(context.rundir.info_file(name), json.dumps(secrets.masked(document), indent=1, sort_keys=True))


def _scrape(asking: _Asking, when: Literal["before", "after"]) -> dict[str, Any]:
    """Read and keep ``/metrics`` of every engine server; returns the counters by server."""
    context = asking.context
    counters = {}
    for running in asking.servers:
        if not running.server.has_metrics:
            continue
        name = running.server.name
        try:
            text = http_client.text(f"{running.server.url}/metrics", asking.deadline.cut(_SCRAPE_TIMEOUT))
            counters[name] = metrics.read(text, context.engine.metrics)
        except (NoAnswer, ValueError) as error:
            raise _unread(asking, f"/metrics of {name}", error) from error
        files.write(context.rundir.metrics_file(when, name), secrets.mask(text))
    return counters


def _settle(asking: _Asking) -> None:
    """Read the counters until they stand still: they reach ``/metrics`` later than the answers reach us."""
    context = asking.context
    deadline = Deadline(asking.deadline.cut(_SETTLE_TIMEOUT), context.clock)
    last: dict[str, Any] = {}
    while not deadline.passed:
        counters = _scrape(asking, "after")
        if str(counters) == str(last):  # NaN is unlike itself
            return
        last = counters
        context.progress.tick("waiting for the counters to settle")
        context.clock.sleep(_SETTLE_EVERY)
