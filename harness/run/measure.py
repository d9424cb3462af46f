"""Samples and metrics to a measurement. Pure, so that a verdict can be recomputed from the files of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TypeVar

from harness.base.domain import Sample
from harness.base.evidence import (
    Acceptance,
    Answers,
    KvLedger,
    KvTransfers,
    Look,
    Measurement,
    Offer,
    Preempted,
    Prefilled,
    Source,
    Tokens,
    Unmeasured,
    Verifications,
)
from harness.base.resting import Resting
from harness.cases.model import Case, Role
from harness.cases.serve_settings import Serve
from harness.engines import ENGINES, metrics
from harness.engines.counting import against_answers, lacking
from harness.engines.engine import EngineSpec
from harness.plan.request_bodies import ENDS
from harness.run.scoring import agree, count, primed

T = TypeVar("T")
_REQUESTS = "finished_requests"


@dataclass(frozen=True)
class Shown:
    """What servers show besides what they counted.

    Attributes:
        contradictions: Of each server, what its counters say of each other that cannot be.
        findings: Of each server, how often its log says that something is broken, by what.
        capacity: Tokens that the KV cache of each server has room for, as far as it says.
        resting: What each holds when nothing is asked of it, or why nobody can say; None if nobody looked.
        between: Counters of each server in the middle of the main run, one reading after the other.
        group_ends: Requests that had come back at each, and in all.
        looks: What there was to see when it was looked whether the verdict is clear.
    """

    contradictions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    findings: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    capacity: Mapping[str, int | None] = field(default_factory=dict)
    resting: Mapping[str, Resting] | Unmeasured | None = None
    between: Sequence[Mapping[str, metrics.Counters]] = ()
    group_ends: tuple[int, ...] = ()
    looks: tuple[Look, ...] = ()


_NOTHING = Shown()


def measure(
    case: Case,
    samples: Iterable[Sample],
    before: Mapping[str, metrics.Counters],
    after: Mapping[str, metrics.Counters],
    roles: Mapping[str, str],
    events: Mapping[str, Mapping[str, int]] | None = None,
    restarted: Mapping[str, str] | None = None,
    absent: Mapping[str, str] | None = None,
    lacks: Mapping[str, str] | None = None,
    silent: Mapping[Offer | Source, str] | None = None,
    shown: Shown = _NOTHING,
) -> Measurement:
    """Put together what was observed.

    Args:
        case: The case that was run.
        samples: Of the main run, the controls and the comparisons, and of what went ahead of items.
        before: Counters of each server before the main run.
        after: The same after it, once they had settled.
        roles: Role of each server.
        events: Of each server, how often its log tells what the engine's module reads there; None if nobody looked.
        restarted: Servers that began anew between the two readings, and how that is seen: their counters say nothing.
        absent: Counters that a server does not export, and what they are called on ``/metrics``, in words.
        lacks: Servers that count and do not say it, and why: what the others say is not the whole. Only of somebody
            else's.
        silent: What else servers do not say, and why; None of ours, where nothing may be missing.
        shown: What they show besides.
    """
    absent = absent or {}
    by_run: dict[str, list[Sample]] = {name: [] for name in ("main", *case.controls, *case.comparisons)}
    priming: dict[str, list[Sample]] = {}
    for sample in samples:
        (by_run if sample.run in by_run else priming).setdefault(sample.run, []).append(sample)
    answering: Role = "decode" if case.topology.kind == "disagg" else "server"
    uncountable = _uncountable(before, after)
    if uncountable:
        before, after = ({name: _countable(each) for name, each in when.items()} for when in (before, after))
    deltas = {name: metrics.delta(before[name], after[name]) for name in roles}
    counted = metrics.add([deltas[name] for name, role in roles.items() if role == answering])
    sent_to = answering if case.evaluation.send_to == "entry" else case.evaluation.send_to
    asked = metrics.add([deltas[name] for name, role in roles.items() if role == sent_to])
    engine = ENGINES[case.engine.name]
    begun_anew = "; ".join(f"of {name}, {seen}" for name, seen in (restarted or {}).items())
    lost = Unmeasured(f"counters began anew: {begun_anew}") if begun_anew else uncountable
    if lacks:
        lost = Unmeasured("; ".join(f"{name}: {why}" for name, why in lacks.items()), absent=True)
    acceptance: Acceptance | Verifications | Unmeasured | None
    kv: KvLedger | KvTransfers | Unmeasured | None
    acceptance = _named(lost or engine.acceptance(counted), absent) if case.serve_of(answering).speculation else None
    kv = _named(lost or engine.kv_transfer(counted, deltas), absent) if case.topology.kind == "disagg" else None
    finished = _named(lost or _finished(asked), absent) if "finished_requests" in engine.offers else None
    asked_for = shown.looks[-1].asked if shown.looks else None
    answers = {run: count(case.evaluation, found, asked_for) for run, found in by_run.items()}
    prefilled = None
    if case.topology.kind == "disagg" and case.evaluation.send_to == "entry" and not lost:
        ahead = primed(case.evaluation, "prime_prefill", priming)
        prefill = metrics.add([deltas[name] for name, role in roles.items() if role == "prefill"])
        if "prefilled_requests" in engine.offers and not isinstance(there := _finished(prefill), Unmeasured):
            main = answers["main"]
            prefilled = Prefilled(
                finished=there,
                prompt_tokens=int(prefill.get("all_prompt_tokens", 0)),
                generated=int(prefill.get("generated_tokens", 0)),
                asked=main.answered + ahead.answered,
                asked_tokens=main.prompt_tokens + ahead.prompt_tokens,
            )
    return Measurement(
        answers=answers,
        acceptance=acceptance,
        kv=kv,
        finished=finished,
        given_up={name: number for name, delta in deltas.items() if (number := _given_up(delta)) > 0},
        events=events or {},
        counters=deltas,
        restarted=restarted or {},
        agreement={name: agree(by_run["main"], by_run[name]) for name in case.comparisons},
        primed=primed(case.evaluation, f"prime_{answering}", priming),
        tokens=Tokens() if lost else Tokens(_whole(asked, "all_prompt_tokens"), _whole(asked, "generated_tokens")),
        prefilled=prefilled,
        preempted={} if lost else _preempted(case, deltas, by_run["main"], shown.capacity),
        contradictions={} if lost else _contradictions(case.serve_of(answering), acceptance, answers["main"], shown),
        findings={name: found for name, found in shown.findings.items() if found},
        resting=shown.resting,
        acceptance_groups=_in_groups(
            engine,
            acceptance,
            [before, *shown.between, after],
            [name for name, role in roles.items() if role == answering],
        ),
        group_ends=shown.group_ends,
        looks=shown.looks,
        missing={} if silent is None else {**silent, **_missing(acceptance, kv, finished)},
    )


def _contradictions(
    serve: Serve, acceptance: Acceptance | Verifications | Unmeasured | None, main: Answers, shown: Shown
) -> dict[str, tuple[str, ...]]:
    """What counters say of each other, and of the answers, that cannot be; only those that say something."""
    found = {name: told for name, told in shown.contradictions.items() if told}
    told = []
    if isinstance(acceptance, Acceptance) and serve.speculation:
        told = against_answers(acceptance, main, serve.speculation.method)
    return found | ({"speculation": tuple(told)} if told else {})


def _in_groups(
    engine: EngineSpec,
    acceptance: Acceptance | Verifications | Unmeasured | None,
    readings: Sequence[Mapping[str, metrics.Counters]],
    names: Sequence[str],
) -> tuple[Acceptance | Verifications, ...]:
    """The same of each group of requests, where counters were read between them and there is something to count."""
    if acceptance is None or isinstance(acceptance, Unmeasured) or len(readings) < 3:
        return ()
    if any(name not in each for name in names for each in readings):
        return ()
    deltas = (
        metrics.add([metrics.delta(earlier[name], later[name]) for name in names])
        for earlier, later in pairwise(readings)
    )
    return tuple(found for each in deltas if not isinstance(found := engine.acceptance(each), Unmeasured))


def _whole(counted: metrics.Counters, name: str) -> int | None:
    return int(counted[name]) if name in counted else None


def _preempted(
    case: Case,
    deltas: Mapping[str, metrics.Counters],
    samples: Iterable[Sample],
    capacity: Mapping[str, int | None],
) -> dict[str, Preempted]:
    """Requests that were put back, and how much more room there was than all that can have been in flight needs."""
    longest = max(((each.prompt_tokens or 0) + (each.completion_tokens or 0) for each in samples), default=0)
    found = {}
    for name, delta in deltas.items():
        if requests := int(delta.get("preempted_requests", 0)):
            tokens = capacity.get(name)
            room = tokens / (case.evaluation.concurrency * longest) if tokens and longest else None
            found[name] = Preempted(requests, room)
    return found


def _missing(
    acceptance: Acceptance | Verifications | Unmeasured | None,
    kv: KvLedger | KvTransfers | Unmeasured | None,
    finished: int | Unmeasured | None,
) -> dict[Offer | Source, str]:
    """What cannot be counted because a server does not export it, and why."""
    found: dict[Offer | Source, str] = {}
    told: tuple[tuple[tuple[Offer, ...], object], ...] = (
        (("drafts", "accepted_per_position", "placeholder_drafts"), acceptance),
        (("prompt_tokens_by_source", "transfers"), kv),
        (("finished_requests",), finished),
    )
    for offers, counted in told:
        if isinstance(counted, Unmeasured) and counted.absent:
            found |= dict.fromkeys(offers, counted.reason)
    if isinstance(acceptance, Acceptance) and not acceptance.accepted_per_position:
        found["accepted_per_position"] = lacking(["accepted_at"]).reason
    return found


def _named(found: T | Unmeasured, absent: Mapping[str, str]) -> T | Unmeasured:
    """The same; where it lacks a counter, with what that is called on ``/metrics``."""
    if not isinstance(found, Unmeasured):
        return found
    without = {name.partition(".")[0] for name in found.counters}
    words = [f"{name} is {absent[name]}" for name in absent if name in without]
    return replace(found, reason=f"{found.reason} ({'; '.join(words)})") if words else found


def _finished(counted: metrics.Counters) -> int | Unmeasured:
    """Requests that came to their end, where the engine keeps them apart by the reason."""
    found = [value for name, value in counted.items() if _reason(name) in ENDS or name == _REQUESTS]
    return int(sum(found)) if found else lacking([_REQUESTS])


def _given_up(counted: metrics.Counters) -> int:
    """Requests that did not."""
    reasons = sum(value for name, value in counted.items() if _reason(name) not in (*ENDS, ""))
    return int(reasons + counted.get("aborted_requests", 0))


def _reason(name: str) -> str:
    """The finish reason that a counter is about; empty if it is not one of finished requests by reason."""
    counter, _, reason = name.partition(".")
    return reason if counter == _REQUESTS else ""


def _uncountable(*readings: Mapping[str, metrics.Counters]) -> Unmeasured | None:
    """Why nothing can be said of what was counted: what else an engine exports that counts like this, nobody knows."""
    for reading in readings:
        for server, counters in reading.items():
            if names := metrics.uncountable(counters):
                return Unmeasured(f"{names[0]} of {server} is {counters[names[0]]:g}, which nothing can have counted")
    return None


def _countable(counters: metrics.Counters) -> metrics.Counters:
    junk = metrics.uncountable(counters)
    return {name: value for name, value in counters.items() if name not in junk}
