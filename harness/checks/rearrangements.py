"""Expert load balancing: were experts really moved? Accuracy alone cannot tell: it is as good without."""

from __future__ import annotations

from pydantic import Field

from harness.base.domain import CheckResult, Outcome
from harness.base.settings import Origin, Strict
from harness.checks import compare
from harness.checks.evidence import Measurement


class Config(Strict):
    """``[checks.rearrangements]``."""

    at_least: int = Field(
        ge=1,
        description="Rearrangements that the engine's log must show, profiling runs left out. Of asynchronous ones the "
        "second proves the first: it begins only once every layer of that one has moved.",
    )
    origin: Origin


def judge(config: Config, measured: Measurement) -> list[CheckResult]:
    """One result, ``rearrangements``."""
    name, found = "rearrangements", measured.rearrangements
    if found is None:
        return [compare.unmeasured(name, "nobody looked into the logs")]
    enough = found >= config.at_least
    return [
        CheckResult(
            name=name,
            outcome=Outcome.PASS if enough else Outcome.FAIL,
            measured=str(found),
            expected=str(config.at_least),
            bound=f">= {config.at_least}",
            n=found,
            message="" if enough else f"experts were rearranged {found} times, expected at least {config.at_least}",
        )
    ]
