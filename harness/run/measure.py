"""Samples and metrics to a measurement. Pure, so that a verdict can be recomputed from the files of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from harness import protocols
from harness.base.domain import Sample
from harness.base.evidence import (
    Acceptance,
    Agreement,
    Answers,
    Difference,
    KvLedger,
    KvTransfers,
    Measurement,
    Miss,
    Offer,
    Primed,
    Source,
    Unmeasured,
    Verifications,
)
from harness.cases.model import Case, Role
from harness.engines import ENGINES, metrics
from harness.engines.counting import lacking
from harness.plan.request_bodies import ENDS, UNSAID, not_an_answer
from harness.protocols import Evaluation
from known_answer import faults

T = TypeVar("T")
_REQUESTS = "finished_requests"
_SHOWN = 5  # differing items of a comparison that are kept, and characters of each: enough to look into it
_EXCERPT = 60


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
    return Measurement(
        answers={run: count(case.evaluation, found) for run, found in by_run.items()},
        acceptance=acceptance,
        kv=kv,
        finished=finished,
        given_up={name: number for name, delta in deltas.items() if (number := _given_up(delta))},
        events=events or {},
        counters=deltas,
        restarted=restarted or {},
        agreement={name: agree(by_run["main"], by_run[name]) for name in case.comparisons},
        primed=_primed(case.evaluation, f"prime_{answering}", priming),
        missing={} if silent is None else {**silent, **_missing(acceptance, kv, finished)},
    )


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


def agree(main: list[Sample], other: list[Sample]) -> Agreement:
    """Compare two runs item by item."""
    said = {sample.item: sample.text for sample in _answered(main)}
    both = sorted((each.item, said[each.item], each.text) for each in _answered(other) if each.item in said)
    differing = [_difference(*each) for each in both if each[1] != each[2]]
    return Agreement(len(both), len(both) - len(differing), tuple(differing[:_SHOWN]))


def _difference(item: str, main: str, other: str) -> Difference:
    at = next((index for index, pair in enumerate(zip(main, other, strict=False)) if len(set(pair)) > 1), None)
    at = min(len(main), len(other)) if at is None else at
    means = faults.explained(main, other) or ""
    return Difference(item, at, main[at : at + _EXCERPT], other[at : at + _EXCERPT], means)


def _primed(evaluation: Evaluation, run: str, priming: Mapping[str, list[Sample]]) -> Primed:
    """What went ahead of items to the servers whose counters are read."""
    answered = _answered(priming.get(run, []))
    # No protocol that asks from a data file primes.
    items = [] if protocols.datasets(evaluation) else protocols.items(evaluation)
    return Primed(
        planned=sum(item.primed_run == run for item in items),
        answered=len(answered),
        prompt_tokens=sum(sample.prompt_tokens or 0 for sample in answered),
    )


def count(evaluation: Evaluation, samples: list[Sample]) -> Answers:
    """Score one run. A failed request is counted as failed and never scored."""
    answered = _answered(samples)
    scored = [sample for sample in answered if sample.expected is not None]
    read = [protocols.answer(evaluation, sample.text) for sample in scored]
    pairs = list(zip(scored, read, strict=True))
    missed = sorted((pair for pair in pairs if pair[1] != pair[0].expected), key=lambda pair: _as_known(pair[0]))
    compared = [sample for sample in answered if sample.expected_text is not None]
    differing = [sample for sample in compared if not _as_known(sample)]
    return Answers(
        planned=evaluation.items,
        answered=len(answered),
        failed=len(samples) - len(answered),
        empty=sum(_says_nothing(sample) for sample in answered),
        scored=len(scored),
        correct=len(scored) - len(missed),
        invalid=sum(found is None for found in read),
        compared=len(compared),
        equal=len(compared) - len(differing),
        prompt_tokens=sum(sample.prompt_tokens or 0 for sample in answered),
        unexpected_prompt_tokens=sum(
            sample.prompt_tokens is not None and sample.expected_prompt_tokens not in (None, sample.prompt_tokens)
            for sample in answered
        ),
        completion_tokens=sum(sample.completion_tokens or 0 for sample in answered),
        uncounted=sum(None in (sample.prompt_tokens, sample.completion_tokens) for sample in answered),
        unended=sum(sample.finish_reason == UNSAID for sample in answered),
        reasoned=sum(bool(sample.reasoning) for sample in answered),
        missed=tuple(
            Miss(sample.item, sample.expected or "", found, sample.text[-_EXCERPT:])
            for sample, found in missed[:_SHOWN]
        ),
        differing=tuple(_difference(each.item, each.text, each.expected_text or "") for each in differing[:_SHOWN]),
    )


def _says_nothing(sample: Sample) -> bool:
    """Whether there is not a single token, or, where nobody counts them, not a single character."""
    tokens = sample.completion_tokens
    return not (sample.text or sample.reasoning) if tokens is None else tokens == 0


def _as_known(sample: Sample) -> bool:
    """Whether the text is the one known beforehand: of some questions it is known that their answer is wrong."""
    return sample.text == sample.expected_text


def _answered(samples: list[Sample]) -> list[Sample]:
    """Those that came to their end. What a record does not say of its end is not taken for granted."""
    return [sample for sample in samples if not sample.error and not not_an_answer(sample.finish_reason)]


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
