"""What a bound does: how often it is red for nothing, and what loss it sees."""

from __future__ import annotations

import math

from harness.statistics.estimate import POWER, normal_quantile, normal_share


def false_alarms(width: float, error: float, *, two_sided: bool) -> float:
    """How often an equal value, measured with this standard error, is further from the expected one than ``width``."""
    if error <= 0:
        return 0.0
    tail = normal_share(-width / error)
    return min(1.0, 2 * tail) if two_sided else tail


def detectable(width: float, error: float, power: float = POWER) -> float:
    """The least loss that a bound ``width`` below the expected value sees with this probability, in its unit.

    width + z(power) * error: a value that much lower is beyond the bound unless noise lifts it by more.
    """
    return width + normal_quantile(power) * max(error, 0.0)


def power_at(loss: float, width: float, error: float) -> float:
    """How often a loss is seen by a bound ``width`` below the expected value."""
    if error <= 0:
        return 1.0 if loss > width else 0.0
    return normal_share((loss - width) / error)


def observations_for(loss: float, spread: float, false_alarm: float, power: float = POWER) -> int:
    """Observations with which a one-sided test at ``false_alarm`` sees ``loss`` with ``power``.

    n = ((z(1 - alpha) + z(power)) * spread / loss)^2, rounded up; a bound z(1 - alpha) standard errors below the
    expected value.
    """
    together = normal_quantile(1 - false_alarm) + normal_quantile(power)
    return math.ceil((together * spread / loss) ** 2)


def share_each(family_wise: float, checks: int) -> float:
    """The false-alarm rate of each check with which all together raise one no more often than ``family_wise``.

    Sidak (1967) for independent checks: 1 - (1 - a)^(1/m). Of checks that rise and fall together, as an
    acceptance length and its positions do, it is more than enough.
    """
    return -math.expm1(math.log1p(-family_wise) / max(checks, 1))
