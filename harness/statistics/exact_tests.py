"""Exact tests of counts: how probable it is that chance alone makes a count as far from what is expected, or further.

A p-value is exact or too large, never too small, so a limit on it is a limit on false alarms (Bonferroni's where there
are several: each may have its share). The binomial distribution is summed term by term; nothing is approximated by a
normal one, but for the statement of what can be detected.
"""

from __future__ import annotations

import math

from harness.statistics.estimate import normal_quantile
from harness.statistics.proportions import deviation

_ENOUGH = 1e-18
"""Terms below this share of the sum no longer matter."""


def tail(count: int, n: int, share: float) -> float:
    """P(X >= count) or P(X <= count) of X ~ Binomial(n, share), whichever side ``count`` is on, and at most 1."""
    if share <= 0 or share >= 1:
        return 1.0 if count == (0 if share <= 0 else n) else 0.0
    step = 1 if count >= n * share else -1
    term = total = math.exp(
        math.lgamma(n + 1)
        - math.lgamma(count + 1)
        - math.lgamma(n - count + 1)
        + count * math.log(share)
        + (n - count) * math.log1p(-share)
    )
    odds = share / (1 - share)
    at = count
    while 0 <= at + step <= n and term > _ENOUGH * total:
        term *= odds * (n - at) / (at + 1) if step > 0 else at / (n - at + 1) / odds
        total, at = total + term, at + step
    return min(total, 1.0)


def p_value(count: int, n: int, share: float) -> float:
    """Two-sided: twice the smaller tail, which is never less than the probability of either side together."""
    return min(1.0, 2 * tail(count, n, share))


def least_shift(n: int, share: float, alpha: float, power: float = 0.95) -> float:
    """Smallest change of ``share`` that a test at ``alpha`` sees with probability ``power`` (normal approximation).

    (z(1 - alpha / 2) + z(power)) * sqrt(share * (1 - share) / n); infinite where nothing was counted.
    """
    if n < 1:
        return math.inf
    return (normal_quantile(1 - alpha / 2) + normal_quantile(power)) * deviation(share) / math.sqrt(n)
