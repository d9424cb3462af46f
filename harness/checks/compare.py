"""One number against one baseline."""

from __future__ import annotations

import math

from harness.base.domain import CheckResult, Outcome
from harness.base.settings import Baseline, Direction, Tolerance

# A baseline computed from the same integers as the measurement may differ in the last bits of a double.
_ROUNDING = 1e-9


def show(value: float) -> str:
    """A number as reports print it: enough digits to see a difference, no more."""
    return f"{value:.6g}"


def bounds(expected: float, direction: Direction, tolerance: Tolerance) -> tuple[float, float]:
    """The lowest and the highest value that pass."""
    width = tolerance.width(expected) + _ROUNDING
    return expected - width, math.inf if direction == "at-least" else expected + width


def against(
    name: str, value: float, n: int, *, expected: float, direction: Direction, tolerance: Tolerance
) -> CheckResult:
    """Judge ``value``, observed ``n`` times, against ``expected``. What was never observed cannot be judged."""
    if n < 1:
        return unmeasured(name, f"nothing to judge: {n} observations")
    low, high = bounds(expected, direction, tolerance)
    holds = low <= value <= high
    if direction == "at-least":
        bound = f">= {show(low)}"
    elif tolerance.width(expected) == 0:
        bound = f"exactly {show(expected)}"
    else:
        bound = f"{show(low)} .. {show(high)}"
    message = "" if holds else f"{name} is {show(value)}, expected {show(expected)} ({bound}, n = {n})"
    return CheckResult(
        name=name,
        outcome=Outcome.PASS if holds else Outcome.FAIL,
        measured=show(value),
        expected=show(expected),
        bound=bound,
        n=n,
        message=message,
    )


def baseline(name: str, value: float, n: int, config: Baseline) -> CheckResult:
    """Judge ``value`` against a whole baseline table."""
    return against(name, value, n, expected=config.expected, direction=config.direction, tolerance=config)


def unmeasured(name: str, reason: str) -> CheckResult:
    """The result of a check whose measurement could not be taken."""
    return CheckResult(name=name, outcome=Outcome.ERROR, measured="-", message=f"could not be judged: {reason}")
