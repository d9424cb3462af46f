"""Is there anything to judge? Counts that must agree and features that must have been active."""

from __future__ import annotations

from collections.abc import Iterator

from harness.base.domain import CheckResult, Outcome
from harness.base.evidence import Answers, Evidence, Measurement, Unmeasured
from harness.checks import check


def judge(evidence: Evidence) -> list[CheckResult]:
    """One result, ``validity``.

    An error when the evidence is incomplete (requests failed, a server restarted, counts disagree): no conclusion is
    possible. A failure when it is complete and shows an engine that did not do what was configured.
    """
    broken, false = [], []
    measured = evidence.measured
    main = measured.answers["main"]
    if not main.planned:
        return [check.unmeasured("validity", "nothing to judge: no item was planned")]
    for run, answers in measured.answers.items():
        prefix = "" if run == "main" else f"{run}: "
        if answers.failed:
            broken.append(f"{prefix}{answers.failed} of {answers.planned} requests failed")
        if answers.answered + answers.failed != answers.planned:
            sent = answers.answered + answers.failed
            broken.append(f"{prefix}{answers.planned} items planned, {sent} accounted for")
        if answers.empty:
            false.append(f"{prefix}{answers.empty} of {answers.answered} answers have no token")
        if answers.unexpected_prompt_tokens:
            false.append(
                f"{prefix}{answers.unexpected_prompt_tokens} prompts arrived with another number of tokens than was "
                "sent (a second BOS?)"
            )
    broken += _miscounted(measured)
    broken += [f"{name} began anew during the evaluation: {seen}" for name, seen in measured.restarted.items()]
    broken += [f"{name} gave up {number} requests (aborted, or an error)" for name, number in measured.given_up.items()]
    speculation = measured.acceptance
    if speculation and not isinstance(speculation, Unmeasured) and speculation.drafts == 0:
        false.append("speculation is configured and the engine drafted nothing")
    outcome = Outcome.ERROR if broken else Outcome.FAIL if false else Outcome.PASS
    return [
        CheckResult(
            name="validity",
            outcome=outcome,
            measured=_observed(main),
            expected={"answered": main.planned},
            low={"answered": main.planned},
            high={"failed": 0, "without_a_token": 0, "with_another_prompt": 0},
            n=main.planned,
            unit="requests",
            direction="at-least",
            message="; ".join(broken + false),
            details="; ".join(_unsaid(measured)),
        )
    ]


def _unsaid(measured: Measurement) -> Iterator[str]:
    """What somebody else's server does not say, so that it was not compared."""
    main = measured.answers["main"]
    if why := measured.missing.get("finished_requests"):
        yield f"not compared with the requests that the server counted: {why}"
    if main.uncounted:
        yield f"the server does not say how many tokens {main.uncounted} of {main.answered} answers have"
    if main.unended:
        yield f"the server does not say why {main.unended} of {main.answered} answers ended"
    if main.reasoned:
        yield f"{main.reasoned} of {main.answered} answers came with reasoning, which is no part of them"


def _observed(main: Answers) -> dict[str, int]:
    """What was answered, and what was wrong with it, in numbers."""
    return {
        "answered": main.answered,
        "failed": main.failed,
        "without_a_token": main.empty,
        "with_another_prompt": main.unexpected_prompt_tokens,
    }


def _miscounted(measured: Measurement) -> list[str]:
    """Requests that were sent and those that the engine says it finished, where they differ."""
    answered, primed, wrong = measured.answers["main"].answered, measured.primed, []
    if primed.answered != primed.planned:
        wrong.append(f"{primed.answered} of {primed.planned} priming requests answered")
    if measured.restarted:
        return wrong  # that says it
    if "finished_requests" in measured.missing:
        return wrong
    if isinstance(measured.finished, Unmeasured):
        wrong.append(measured.finished.reason)
    elif measured.finished is not None and measured.finished != answered + primed.answered:
        ahead = f" and {primed.answered} priming requests" if primed.answered else ""
        wrong.append(f"the engine counted {measured.finished} finished requests for {answered} answers{ahead}")
    return wrong
