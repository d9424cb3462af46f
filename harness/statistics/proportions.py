"""Intervals of a share that was counted: right answers of all answers."""

from __future__ import annotations

import math

from harness.statistics.estimate import CONFIDENCE, Estimate, normal_quantile


def wilson(count: int, n: int, confidence: float = CONFIDENCE) -> Estimate:
    """Wilson's score interval without correction (Wilson 1927; Newcombe 1998, method 3).

    (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n). Its coverage is right on average over shares.
    It treats the items as drawn: on fixed items it says how far the share of other items of the same kind may be, not
    how far a second run may be.

    Raises:
        ValueError: ``n`` is not positive, or ``count`` is not of ``n``.
    """
    share = _share(count, n)
    z = normal_quantile((1 + confidence) / 2)
    square = z * z / n
    centre, width = share + square / 2, z * math.sqrt(share * (1 - share) / n + square / (4 * n))
    # At 0 and 1 the formula gives the end itself, but for the last bits.
    low = 0.0 if count == 0 else (centre - width) / (1 + square)
    high = 1.0 if count == n else (centre + width) / (1 + square)
    return Estimate(share, deviation(share) / math.sqrt(n), low, high, n, n, confidence)


def exact(count: int, n: int, confidence: float = CONFIDENCE) -> Estimate:
    """The interval of Clopper and Pearson (1934), which covers at least as often as it says, whatever the share.

    Raises:
        ValueError: As of :func:`wilson`.
    """
    from scipy.special import betaincinv

    share, tail = _share(count, n), (1 - confidence) / 2
    low = float(betaincinv(count, n - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, n - count, 1 - tail)) if count < n else 1.0
    return Estimate(share, deviation(share) / math.sqrt(n), low, high, n, n, confidence)


def deviation(share: float) -> float:
    """Standard deviation of an item that counts with this probability: sqrt(p (1 - p)); 0 of what is no probability."""
    return math.sqrt(max(share * (1 - share), 0.0))


def _share(count: int, n: int) -> float:
    if n < 1 or not 0 <= count <= n:
        raise ValueError(f"{count} of {n} is no share")
    return count / n
