"""Did the engine see numbers that are none? An answer can look right all the same, or merely worse."""

from __future__ import annotations

from pydantic import Field

from harness.base.domain import CheckResult, Outcome
from harness.base.evidence import Evidence
from harness.base.settings import Origin, Strict
from harness.checks import check
from harness.checks.check import Check

_COUNTER = "corrupted_requests"


class CorruptedRequestsSettings(Strict):
    """``[checks.corrupted_requests]``: requests with NaN in their logits, of all servers together."""

    at_most: int = Field(
        0, ge=0, description="Requests of the main run that may be counted. Engines count only where they are told to."
    )
    origin: Origin


def judge(settings: CorruptedRequestsSettings, evidence: Evidence) -> list[CheckResult]:
    """One result, ``corrupted_requests``; an error where a server does not count them: it was not told to look."""
    measured = evidence.measured
    if measured.restarted:
        return [check.unmeasured(_COUNTER, f"counters of {', '.join(measured.restarted)} began anew")]
    silent = [server for server, counted in measured.counters.items() if _COUNTER not in counted]
    if silent or not measured.counters:
        reason = f"{', '.join(silent) or 'no server'} counts no corrupted requests: it does not look for NaN"
        return [check.unmeasured(_COUNTER, reason)]
    counted = {server: int(counters[_COUNTER]) for server, counters in measured.counters.items()}
    found, where = sum(counted.values()), [server for server, number in counted.items() if number]
    return [
        CheckResult(
            name=_COUNTER,
            outcome=Outcome.PASS if found <= settings.at_most else Outcome.FAIL,
            measured=found,
            expected=settings.at_most,
            high=settings.at_most,
            n=measured.answers["main"].answered,
            unit="requests",
            direction="at-most",
            message=f"NaN in the logits of {found} requests, seen by {', '.join(where)}" if where else "",
        )
    ]


CHECK = Check(
    name=_COUNTER,
    about="Requests in whose logits the engine saw NaN.",
    settings=CorruptedRequestsSettings,
    judge=judge,
    problem=check.lacking("corrupted_requests", "the engine does not count requests with NaN in their logits"),
)
