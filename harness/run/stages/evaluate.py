"""``eval``: ask, and read the counters before and after."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import requests

from harness.ground.clock import Clock, Deadline
from harness.ground.domain import Item, Sample
from harness.ground.errors import CannotJudge
from harness.mechanism import files, http, load, processes
from harness.policy import metrics
from harness.policy.protocols.base import Destination
from harness.policy.requests import Completion, completion, not_an_answer, priming, read_completion
from harness.run import questions
from harness.run.context import Context
from harness.run.destinations import destination
from harness.run.measurements import take
from harness.run.rundir import RunningServer

_SCRAPE_TIMEOUT = 15.0
_RESET_TIMEOUT = 30.0
_SETTLE_TIMEOUT = 15.0
_SETTLE_EVERY = 0.5
_HEALTH_TIMEOUT = 5.0
_HEALTH_STRIKES = 2
# What was killed with memory of a device takes seconds to be gone. Its port is closed at once.
_DEATH_WAIT = 5.0


def run(context: Context) -> None:
    """Send the main run, then controls and comparisons; write metrics, samples and ``measurements.json``.

    Whatever ends the stage, the samples that came back are written.

    Raises:
        CannotJudge: A server died or would not be reset, requests failed, or the metrics cannot be read.
    """
    servers = context.servers()
    evaluation = context.case.evaluation
    samples: list[Sample] = []
    try:
        items = {item.id: questions.rendered(context.case, servers, item) for item in questions.items(context)}
        _reset(context, servers)
        _scrape(context, servers, "before")
        _send(context, servers, items, "main", evaluation.send_to, samples)
        _settle(context, servers)
        _keep_info(context, servers)
        for name, other in (context.case.controls | context.case.comparisons).items():
            _send(context, servers, items, name, other.send_to, samples)
    finally:
        context.rundir.write_samples(sorted(samples, key=lambda sample: (sample.run, sample.item)))
    take(context.rundir)
    failed = [sample for sample in samples if sample.error]
    if failed:
        first = failed[0]
        raise CannotJudge(
            f"{len(failed)} of {len(samples)} requests failed",
            cause=f"{first.run} {first.item}: {first.error}",
            details="\n".join(f"{sample.run} {sample.item}: {sample.error}" for sample in failed[:20]),
        )


def _send(
    context: Context,
    servers: list[RunningServer],
    items: dict[str, Item],
    run: str,
    send_to: Destination,
    samples: list[Sample],
) -> None:
    case = context.case
    done = failed = 0
    asked: dict[str, tuple[str, Item]] = {}
    calls: list[load.Call] = []

    def call(name: str, item: Item, to: Destination, body: dict[str, Any]) -> None:
        key = item.id if name == run else f"{name} {item.id}"
        asked[key] = name, item
        calls.append(load.Call(key, f"{destination(servers, to).url}/v1/completions", body))

    def collect(reply: load.Reply) -> None:
        nonlocal done, failed
        sample = _sample(*asked[reply.key], reply)
        samples.append(sample)
        done += 1
        failed += bool(sample.error)
        context.progress.tick(f"{run}: {reply.key} answered", done, len(calls))

    for item in items.values():
        if item.prime and run == "main":
            ahead = replace(item, expected=None, expected_text=None, prompt_tokens=None)
            call(item.primed_run, ahead, item.prime.role, priming(case, item.prime.prompt))
        call(run, item, send_to, completion(case, item))

    watch = _watch(servers, context.clock)
    try:
        load.send(
            calls,
            concurrency=case.evaluation.concurrency,
            timeout=case.timeouts.request,
            watch=watch,
            on_reply=collect,
            on_tick=lambda: context.progress.tick(f"{run}: waiting for answers", done, len(calls)),
            clock=context.clock,
        )
        # Clients may notice that a server died before its parent does.
        found = _soon(watch, context.clock) if failed else ""
    except load.Aborted as aborted:
        found = str(aborted)
    if found:
        server, _, what = found.partition(" ")
        raise context.blame(server, f"{what} after {done - failed} of {len(calls)} answers")


def _watch(servers: list[RunningServer], clock: Clock) -> Callable[[], str]:
    """A check that finds a dead or unhealthy server: a name and what happened to it."""
    strikes = dict.fromkeys((running.server.name for running in servers), 0)

    def watch() -> str:
        for running in servers:
            name = running.server.name
            status = processes.exit_status(running.process)
            if status is not None:
                return f"{name} {status}"
            problem = http.ask(running.server.probes[0], _HEALTH_TIMEOUT)
            strikes[name] = strikes[name] + 1 if problem else 0
            if strikes[name] >= _HEALTH_STRIKES:
                ended = _soon(partial(processes.exit_status, running.process), clock)
                return f"{name} {ended or f'is not healthy any more ({problem})'}"
        return ""

    return watch


def _soon(ask: Callable[[], str | None], clock: Clock) -> str:
    """What ``ask`` says within the time that a death may take to be seen; empty if it says nothing."""
    deadline = Deadline(_DEATH_WAIT, clock)
    while not deadline.passed:
        if found := ask():
            return found
        clock.sleep(0.2)
    return ""


def _sample(run: str, item: Item, reply: load.Reply) -> Sample:
    said, error = Completion("", "", 0, 0), reply.error
    if not error:
        try:
            said = read_completion(reply.body)
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
    )


def _reset(context: Context, servers: list[RunningServer]) -> None:
    """Ask every engine server to forget what it did before: a refusal would leave its caches and means as they are."""
    path = context.engine.reset
    for running in servers:
        if not path or not running.server.has_metrics:
            continue
        try:
            status, reply = http.post(f"{running.server.url}{path}", {}, _RESET_TIMEOUT)
        except requests.RequestException as error:
            status, reply = 0, type(error).__name__
        if status != 200:
            cause = f"{path} answers {status}: {' '.join(str(reply).split())[:200]}"
            raise CannotJudge(f"{running.server.name} was not reset", cause=cause)


def _keep_info(context: Context, servers: list[RunningServer]) -> None:
    """Read and keep what every engine server says about its configuration."""
    path = context.engine.info
    for running in servers:
        if not path or not running.server.has_metrics:
            continue
        name = running.server.name
        try:
            document = json.loads(http.text(f"{running.server.url}{path}", _SCRAPE_TIMEOUT))
        except (requests.RequestException, ValueError) as error:
            raise CannotJudge(f"{path} of {name} cannot be read", cause=str(error)) from error
        files.write(context.rundir.info_file(name), json.dumps(document, indent=1, sort_keys=True))


def _scrape(context: Context, servers: list[RunningServer], when: Literal["before", "after"]) -> dict[str, Any]:
    """Read and keep ``/metrics`` of every engine server; returns the counters by server."""
    counters = {}
    for running in servers:
        if not running.server.has_metrics:
            continue
        name = running.server.name
        try:
            text = http.text(f"{running.server.url}/metrics", _SCRAPE_TIMEOUT)
            counters[name] = metrics.read(text, context.engine.metrics)
        except (requests.RequestException, ValueError) as error:
            raise CannotJudge(f"/metrics of {name} cannot be read", cause=str(error)) from error
        files.write(context.rundir.metrics_file(when, name), text)
    return counters


def _settle(context: Context, servers: list[RunningServer]) -> None:
    """Read the counters until they stand still: they reach ``/metrics`` later than the answers reach us."""
    deadline = Deadline(_SETTLE_TIMEOUT, context.clock)
    last: dict[str, Any] = {}
    while not deadline.passed:
        counters = _scrape(context, servers, "after")
        if counters == last:
            return
        last = counters
        context.progress.tick("waiting for the counters to settle")
        context.clock.sleep(_SETTLE_EVERY)
