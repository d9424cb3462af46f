"""A run that is measured and not judged: everything that was observed, with nothing to compare it with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from statistics import median

from harness.base.domain import CheckResult, Outcome, Value
from harness.base.evidence import Acceptance, Answers, Evidence, KvLedger, Unmeasured
from harness.checks import check, spreads
from harness.checks.check import Spread

MEASURED_ONLY = "measured only, not judged"


def measured_only(judged: Iterable[CheckResult], evidence: Evidence) -> list[CheckResult]:
    """What was observed, from what checks say and from the rest of the evidence, each name once.

    Args:
        judged: The results of the checks that the case has. What could not be measured stays an error; what a server
            does not say is one too, because it was asked for. So is a run that shows something else than what the
            case configures: its numbers are not those of the case.
        evidence: Of the run.
    """
    found: dict[str, CheckResult] = {}
    for each in judged:
        if (each.name == "validity" and each.outcome is not Outcome.FAIL) or _not_shown(each):
            found[each.name] = each
        elif each.outcome in (Outcome.SKIPPED, Outcome.ERROR) or each.name == "validity" or each.measured is None:
            found[each.name] = replace(each, outcome=Outcome.ERROR)
        else:
            only = _only(each.name, each.measured, each.n, each.unit, each.message, each.details)
            found[each.name] = replace(only, interval=each.interval, interval_of=each.interval_of)
    for each in _observed(evidence):
        found.setdefault(each.name, each)
    return list(found.values())


def unjudged_too(judged: Iterable[CheckResult], evidence: Evidence, lacking: Sequence[str]) -> list[CheckResult]:
    """What was judged, and what was observed of that for which the case has no baseline.

    Args:
        judged: The results of the checks that the case has.
        evidence: Of the run.
        lacking: Checks that it would need.
    """
    found = list(judged)
    if not lacking:
        return found
    names = {each.name for each in found}
    seen = [each for each in _observed(evidence) if each.name not in names]
    told = f"no baseline: measured, not judged; `harness calibrate` makes one ({', '.join(lacking)})"
    return found + [each if each.outcome is Outcome.ERROR else replace(each, message=told) for each in seen]


def _not_shown(judged: CheckResult) -> bool:
    """Whether servers show nothing of what is in force, or of what they hold, which no case asked them for."""
    return judged.name in ("in_force", "at_rest") and judged.outcome is Outcome.SKIPPED


def _only(name: str, measured: object, n: int, unit: str, message: str = "", details: str = "") -> CheckResult:
    """One observation; what a check had against it is said, and counts for nothing."""
    told = "\n".join(filter(None, (message, details)))
    result = CheckResult(name, Outcome.MEASURED, n=n, unit=unit, message=MEASURED_ONLY, details=told)
    return replace(result, measured=measured)  # type: ignore[arg-type] # as another result has it


def _observed(evidence: Evidence) -> Iterator[CheckResult]:
    measured = evidence.measured
    main = measured.answers["main"]
    if not main.answered:
        yield check.unmeasured("answers", "no request was answered")
        return
    yield from _answers(evidence, main)
    for name, answers in measured.answers.items():
        if answers.scored:
            title, spread = "accuracy" if name == "main" else f"control[{name}]", spreads.of_right_answers(answers)
            yield _sure(_only(title, answers.accuracy, answers.scored, "share"), spread)
    if main.compared:
        share = _only("parity", main.equal / main.compared, main.compared, "share")
        yield _sure(share, spreads.of_items(main.equal, main.compared))
    speculation = measured.acceptance
    if speculation and not isinstance(speculation, Unmeasured) and speculation.drafts:
        length = _only("acceptance_length", speculation.length, speculation.drafts, "tokens per draft")
        yield _sure(length, spreads.of_length(evidence, speculation))
        if isinstance(speculation, Acceptance):
            for position, accepted in enumerate(speculation.per_position):
                only = _only(f"acceptance_per_position[{position}]", accepted, speculation.drafts, "share")
                yield _sure(only, spreads.of_position(evidence, speculation, position))
    if isinstance(measured.kv, KvLedger):
        ledger = measured.kv
        names = ("external", "local_compute", "local_cache_hit", "transfers", "bytes")
        yield _only("kv_transfer", {name: getattr(ledger, name) for name in names}, main.answered, "")


def _sure(result: CheckResult, spread: Spread) -> CheckResult:
    return replace(result, interval=spread.ends, interval_of=spread.of)


def _answers(evidence: Evidence, main: Answers) -> Iterator[CheckResult]:
    """How many there were, what became of them, how long they are and how long they took."""
    seconds = [each.seconds for each in evidence.samples if each.run == "main" and not each.error]
    found: dict[str, Value] = {"answered": main.answered, "reasoned": main.reasoned}
    if main.scored:
        found["without_a_number_to_read"] = main.invalid
    yield _only("answers", found, main.answered, "requests")
    ends = [each.finish_reason for each in evidence.samples if each.run == "main" and not each.error]
    yield _only("finish_reasons", {end: ends.count(end) for end in _sorted(ends)}, len(ends), "answers")
    counted = main.answered - main.uncounted
    if counted:
        tokens = {"prompt": main.prompt_tokens, "answers": main.completion_tokens}
        yield _only("tokens", tokens, counted, "tokens")
    yield _only("seconds", {"median": round(median(seconds), 3), "most": max(seconds)}, len(seconds), "seconds")


def _sorted(ends: Sequence[str]) -> list[str]:
    return sorted(set(ends))
