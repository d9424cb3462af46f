"""Expert load balancing: were experts really moved? Accuracy alone cannot tell: it is as good without."""

from __future__ import annotations

from pydantic import Field

from harness.base.domain import CheckResult, Outcome
from harness.base.evidence import Evidence
from harness.base.settings import Origin, Strict
from harness.checks import check
from harness.checks.check import Check


class RearrangementsSettings(Strict):
    """``[checks.rearrangements]``."""

    at_least: int = Field(
        ge=1,
        description="Rearrangements that the engine's log must show, profiling runs left out. Of asynchronous ones the "
        "second proves the first: it begins only once every layer of that one has moved.",
    )
    origin: Origin


def judge(settings: RearrangementsSettings, evidence: Evidence) -> list[CheckResult]:
    """One result, ``rearrangements``: of all servers together."""
    events = evidence.measured.events
    if not events:
        return [check.unmeasured("rearrangements", "nothing to judge: no engine server has a log")]
    moved = sum(told.get("rearrangements", 0) for told in events.values())
    return [
        CheckResult(
            name="rearrangements",
            outcome=Outcome.PASS if moved >= settings.at_least else Outcome.FAIL,
            measured=moved,
            expected=settings.at_least,
            low=settings.at_least,
            n=moved,
            unit="rearrangements",
            direction="at-least",
            message="" if moved else "the log tells of none, or in other words than known",
        )
    ]


CHECK = Check(
    name="rearrangements",
    about="Expert load balancing: how often experts were moved.",
    settings=RearrangementsSettings,
    judge=judge,
    reads=frozenset({"logs"}),
    problem=check.lacking("rearrangements", "the engine's log does not tell when experts are moved"),
)
