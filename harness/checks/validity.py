"""Is there anything to judge? Counts that must agree and features that must have been active."""

from __future__ import annotations

from collections.abc import Iterator

from harness.base.domain import CheckResult, Outcome
from harness.base.evidence import Answers, Evidence, Measurement, Unmeasured
from harness.checks import check

_STEP = 32
"""Tokens that an engine may have drafted in one step, and thrown away at the end of an answer."""
_ROOM = 8
"""How often what is in flight must fit into a KV cache so that nothing can have to be put back.

A model may have several groups of layers that share its blocks.
"""


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
        false += [prefix + what for what in _ended(answers)]
    broken += _miscounted(measured)
    false += [f"{server}: {what}" for server, found in measured.contradictions.items() for what in found]
    false += [
        f"the log of {server} says {count} times that {what}"
        for server, found in measured.findings.items()
        for what, count in found.items()
    ]
    false += _tokens(measured)
    false += _preempted(measured)
    broken += [f"{name} began anew during the evaluation: {seen}" for name, seen in measured.restarted.items()]
    broken += [f"{name} gave up {number} requests (aborted, or an error)" for name, number in measured.given_up.items()]
    speculation = measured.acceptance
    if speculation and not isinstance(speculation, Unmeasured) and speculation.drafts == 0:
        false.append("speculation is configured and the engine drafted nothing")
    outcome = Outcome.ERROR if broken else Outcome.FAIL if false else Outcome.PASS
    observed = _observed(main)
    none = {name: 0 for name in observed if name != "answered"}
    if (broken or false) and observed == {"answered": main.planned} | none:  # they are in none of these numbers
        observed["problems"], none["problems"] = len(broken) + len(false), 0
    return [
        CheckResult(
            name="validity",
            outcome=outcome,
            measured=observed,
            expected={"answered": main.planned},
            low={"answered": main.planned},
            high=none,
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
        "with_another_end": main.other_ends,
        "with_another_length": main.other_lengths,
    }


def _ended(answers: Answers) -> Iterator[str]:
    """Answers that ended otherwise than they can have, the first of them with what they say."""
    for number, what in ((answers.other_ends, "finish_reason"), (answers.other_lengths, "completion_tokens")):
        if number:
            first = next(each for each in answers.odd if each.what == what)
            yield (
                f"{number} of {answers.answered} answers have another {what} than they can have: {first.item} has "
                f"{first.said}, and it is {first.known}"
            )


def _tokens(measured: Measurement) -> Iterator[str]:
    """Tokens of the answers, and those that the engine counted itself, where they differ.

    Exact where every text is known beforehand. Else an engine that drafts may count what it throws away when a stop
    string ends an answer within a step, and a prompt twice that it computed again.
    """
    main, primed, tokens = measured.answers["main"], measured.primed, measured.tokens
    if measured.restarted or main.uncounted or main.failed or primed.answered != primed.planned:
        return
    exact = main.compared == main.answered > 0
    for what, counted, said in (
        ("prompt", tokens.prompt, main.prompt_tokens + primed.prompt_tokens),
        ("generated", tokens.generated, main.completion_tokens + primed.completion_tokens),
    ):
        more = 0 if exact or counted is None else _STEP * main.answered if what == "generated" else counted
        if counted is not None and not said <= counted <= said + more:
            yield f"the engine counted {counted} {what} tokens, the answers say {said}"


def _preempted(measured: Measurement) -> Iterator[str]:
    """Requests that were put back though there was room for them."""
    for server, found in measured.preempted.items():
        if found.room is not None and found.room >= _ROOM:
            yield (
                f"{server} put back {found.requests} requests to make room, and its KV cache has room for "
                f"{found.room:.0f} times what was in flight"
            )


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
