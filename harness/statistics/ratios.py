"""Ratios of sums: acceptance length is tokens by drafts, acceptance at a position is accepted by drafts.

Drafts of one request are alike, so the requests are the observations, or groups of them: the drafts of one group are
not independent, those of two groups are. The ratio's variance is that of its linear part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.statistics.estimate import CONFIDENCE, Estimate, normal_quantile, student_quantile

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from harness.statistics.estimate import Numbers


LEAST_GROUPS = 8
"""Fewer groups say too little of how much they differ."""


def linearised(counted: ArrayLike, of: ArrayLike) -> tuple[Numbers, Numbers]:
    """Ratio of sums and its standard error, of G groups on the last axis.

    R = sum(y) / sum(x); se(R) = sqrt(G / (G - 1) * sum((y - R x)^2)) / sum(x). Cochran, Sampling Techniques, 3rd ed.
    (1977), eq. 6.13 without the correction for a finite population: the delta method for a ratio of means.

    Args:
        counted: y: what was counted in each group.
        of: x: of how many.
    """
    import numpy as np

    y, x = np.asarray(counted, dtype=float), np.asarray(of, dtype=float)
    total, groups = x.sum(-1), y.shape[-1]
    ratio = y.sum(-1) / total
    rest = ((y - ratio[..., None] * x) ** 2).sum(-1)
    return ratio, np.sqrt(groups / (groups - 1) * rest) / total


def quantile(groups: int, confidence: float = CONFIDENCE) -> float:
    """Standard errors to either end of the interval: Student's t with one degree of freedom less than groups."""
    return student_quantile((1 + confidence) / 2, groups - 1)


def clustered(counted: Sequence[float], of: Sequence[float], confidence: float = CONFIDENCE) -> Estimate | None:
    """The ratio with its interval; None where fewer than two groups say something."""
    pairs = [(y, x) for y, x in zip(counted, of, strict=True) if x > 0]
    if len(pairs) < 2:
        return None
    ratio, error = linearised(*zip(*pairs, strict=True))
    width = quantile(len(pairs), confidence) * float(error)
    total = int(sum(x for _, x in pairs))
    value = float(ratio)
    return Estimate(value, float(error), value - width, value + width, total, len(pairs), confidence)


def spread_of_a_draft(per_position: Sequence[float]) -> float:
    """Standard deviation of the tokens that one draft has accepted, from the shares by position.

    A token counts only if all before it were accepted, so the share at position j is P(K >= j), from which
    E K = sum P(K >= j) and E K^2 = sum (2 j - 1) P(K >= j).
    """
    mean = sum(per_position)
    square = sum((2 * index + 1) * share for index, share in enumerate(per_position))
    return math.sqrt(max(0.0, square - mean * mean))


def spread_at_length(length: float, drafted: int | None) -> float:
    """The same where only the acceptance length is known: of drafts whose every token is accepted with one probability.

    The probability p is the one with 1 + p + p^2 + ... + p^drafted = length. Where nobody says how many are drafted, it
    is that of drafts without end, a geometric distribution, which spreads more: sqrt(m (1 + m)) with m = length - 1.
    """
    if drafted is None:
        return math.sqrt(max(length - 1, 0.0) * length)
    wanted = min(max(length - 1, 0.0), float(drafted))
    if wanted in (0.0, float(drafted)):
        return 0.0

    low, high = 0.0, 1.0
    while high - low > 1e-12:  # the sum rises with p
        p = (low + high) / 2
        low, high = (p, high) if sum(p**each for each in range(1, drafted + 1)) < wanted else (low, p)
    return spread_of_a_draft([low**position for position in range(1, drafted + 1)])


def of_drafts(value: float, spread: float, drafts: int, confidence: float = CONFIDENCE) -> Estimate:
    """Drafts taken as independent: a lower limit of the error, since those of one request are not."""
    error = spread / math.sqrt(drafts)
    width = normal_quantile((1 + confidence) / 2) * error
    return Estimate(value, error, value - width, value + width, drafts, drafts, confidence)
