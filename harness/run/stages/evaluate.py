"""``eval``: ask, and read the counters before and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from harness.base.clock import Deadline
from harness.base.domain import Item, Sample
from harness.base.errors import CannotJudge
from harness.base.evidence import Measurement
from harness.base.exchange import Exchanged
from harness.host import concurrent_requests
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
from harness.run.footprints import Watched
from harness.run.groups import Grouped
from harness.run.items import destination, evaluation_items, rendered
from harness.run.look_records import Looking
from harness.run.readings import Readings
from harness.run.rundir import RunningServer
from harness.run.watching import Watch


@dataclass(frozen=True)
class _Asking:
    """What the parts of one evaluation share."""

    context: Context
    servers: list[RunningServer]
    deadline: Deadline
    """For the whole of it."""
    samples: list[Sample]
    began: dict[str, float] = field(default_factory=dict)
    """When each run began: one that is asked in parts goes on where it was."""


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
        readings = Readings(context, servers, asking.deadline)
        readings.reset()
        readings.settle("before")
        watched, grouped = Watched(context, servers), Grouped(readings, case)
        looking = Looking(readings, case, context.prepared.alarm_share)
        answered, planned = 0, _requests(items)

        def look(done: int, _planned: int) -> None:
            watched.look(answered + done, planned)
            grouped.look(answered + done, planned)

        stands = []
        for part in looking.parts(items):
            stands.append(_send(asking, part, "main", case.evaluation.send_to, look))
            answered += _requests(part)
            if looking.over(part, samples):
                context.progress.note(f"decided after {answered} of {planned} items")
                break
        readings.settle("after")
        watched.finish(answered)
        grouped.finish()
        readings.keep_info()
        for name, other in (case.controls | case.comparisons).items():
            stands.append(_send(asking, items, name, other.send_to))
        exchanges.ask(readings, exchanged)
        readings.settle("rest")
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


def _requests(items: Mapping[str, Item]) -> int:
    """How many requests the main run sends for some items, with what goes ahead of them."""
    return sum(1 + bool(item.prime) for item in items.values())


def _send(
    asking: _Asking,
    items: dict[str, Item],
    run: str,
    send_to: Destination,
    look: Callable[[int, int], None] = lambda _done, _planned: None,
) -> str:
    """Ask all of one run. Returns where processes stand that left a request without an answer; empty as a rule.

    ``look`` is told how many of how many requests came back, before the first one and after each.
    """
    context, servers = asking.context, asking.servers
    case, model = context.case, context.prepared.model
    done = failed = late = 0
    now = context.clock.monotonic()
    earlier = now - asking.began.setdefault(run, now)
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
        reply = replace(reply, started=earlier + reply.started)
        sample = _sample(name, item, reply, partial(read, case, path))
        asking.samples.append(sample)
        done += 1
        failed += bool(sample.error)
        late += reply.late
        look(done, len(calls))
        context.progress.tick(f"{run}: {reply.key} {'was late' if reply.late else 'answered'}", done, len(calls))

    for item in items.values():
        if item.prime and run == "main":
            ahead = replace(
                item, expected=None, expected_text=None, prompt_tokens=None, completion_tokens=None, finish_reason=None
            )
            primer = Request(COMPLETIONS, priming(case, item.prime.prompt, model))
            call(item.primed_run, ahead, item.prime.role, primer)
        call(run, item, send_to, request(case, item, model))

    look(0, len(calls))
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
        expected_completion_tokens=item.completion_tokens,
        expected_finish_reason=item.finish_reason,
        reasoning=said.reasoning,
    )
