"""Two runs of the same questions, item by item: what both have in common says nothing, and leaves the noise of neither.

A loss is seen among the items that differ, so about half of what two samples apart from each other would see is enough.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.statistics.estimate import CONFIDENCE, POWER, normal_quantile, student_quantile
from harness.statistics.exact_tests import tail


def p_of_loss(lost: int, gained: int) -> float:
    """How probable it is that chance alone lost so many or more of the items whose answer became another.

    McNemar's test (1947) in its exact form, one-sided: of items that differ either way with the same probability,
    P(X >= lost) of X ~ Binomial(lost + gained, 1/2).
    """
    return tail(lost, lost + gained, 0.5) if lost > gained else 1.0


def most_lost(gained: int, false_alarm: float) -> int:
    """The largest number of items that may be lost beside so many gained ones and pass at this rate."""
    lost = gained
    while p_of_loss(lost + 1, gained) > false_alarm:
        lost += 1
    return lost


def least_loss(gained: int, false_alarm: float, power: float = POWER) -> float:
    """Items that have to be lost so that the test sees it with this probability, beside so many that flip either way.

    (c - g) + z(power) * sqrt(2 g) with the first count c that is red: flips are about Poisson each way. Without any
    flips a loss of that many items is always seen.
    """
    return most_lost(gained, false_alarm) + 1 - gained + normal_quantile(power) * math.sqrt(2 * gained)


@dataclass(frozen=True)
class Difference:
    """A ratio now less the same then.

    Attributes:
        value: The difference.
        error: Its standard error, over groups.
        groups: How many there were.
    """

    value: float
    error: float
    groups: int

    def reach(self, probability: float) -> float:
        """Student's quantile with one degree of freedom less than groups, times the error."""
        return student_quantile(probability, self.groups - 1) * self.error

    @property
    def ends(self) -> tuple[float, float]:
        """Of the 95 % interval."""
        width = self.reach((1 + CONFIDENCE) / 2)
        return self.value - width, self.value + width


def difference_of_ratios(then: Sequence[tuple[float, float]], now: Sequence[tuple[float, float]]) -> Difference:
    """The difference of two ratios of sums over the same groups of requests: (counted, of how many) of each group.

    With e = (y - R x) / sum(x) of each group in each run, R_now - R_then has the variance G / (G - 1) * sum((e_now -
    e_then)^2): the linear part of a difference of ratios (Cochran, Sampling Techniques, 3rd ed. (1977), section 6.11,
    two ratios of one sample, without the correction for a finite population).

    Raises:
        ValueError: Fewer than two groups, or nothing to divide by.
    """
    if len(then) != len(now) or len(then) < 2:
        raise ValueError(f"{len(then)} and {len(now)} groups are no pairs")
    parts = []
    ratios = []
    for run in (then, now):
        total = sum(x for _, x in run)
        if total <= 0:
            raise ValueError("nothing was counted")
        ratio = sum(y for y, _ in run) / total
        ratios.append(ratio)
        parts.append([(y - ratio * x) / total for y, x in run])
    groups = len(then)
    rest = sum((after - before) ** 2 for before, after in zip(*parts, strict=True))
    return Difference(ratios[1] - ratios[0], math.sqrt(groups / (groups - 1) * rest), groups)
