"""What equal runs differ by: within one start of the servers, from start to start, and how far the next one may be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from harness.statistics.estimate import CONFIDENCE, POWER, Estimate, student_quantile


@dataclass(frozen=True)
class Split:
    """Standard deviations of one value over starts and runs.

    Attributes:
        within: Between runs of one start; None where no start had two.
        between: Between starts, beyond what runs explain; None of a single start.
    """

    within: float | None
    between: float | None


def split(starts: Sequence[Sequence[float]]) -> Split:
    """Parts of the variance, of a value in each run of each start.

    One-way analysis of variance with random effects, also for unequal numbers (Searle, Casella, McCulloch, Variance
    Components (1992), section 3.6): within = MSW, between = (MSB - MSW) / n0, not below 0.
    """
    rows = [list(each) for each in starts if each]
    runs, number = sum(map(len, rows)), len(rows)
    means = [fmean(each) for each in rows]
    rest = sum(sum((value - mean) ** 2 for value in each) for each, mean in zip(rows, means, strict=True))
    msw = rest / (runs - number) if runs > number else None
    if number < 2:
        return Split(None if msw is None else math.sqrt(msw), None)
    grand = sum(map(sum, rows)) / runs
    msb = sum(len(each) * (mean - grand) ** 2 for each, mean in zip(rows, means, strict=True)) / (number - 1)
    n0 = (runs - sum(len(each) ** 2 for each in rows) / runs) / (number - 1)
    between = max(0.0, (msb - (msw or 0.0)) / n0)
    return Split(None if msw is None else math.sqrt(msw), math.sqrt(between))


def mean_of(values: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """Mean of independent runs with Student's interval; ``error`` is the standard error of the mean.

    Raises:
        ValueError: Fewer than two runs.
    """
    if len(values) < 2:
        raise ValueError("one run says nothing of the next")
    mean, error = fmean(values), stdev(values) / math.sqrt(len(values))
    width = student_quantile((1 + confidence) / 2, len(values) - 1) * error
    return Estimate(mean, error, mean - width, mean + width, len(values), len(values), confidence)


def reach(runs: int, false_alarm: float, *, two_sided: bool) -> float:
    """Standard deviations from the mean of so many runs, beyond which the next equal one is no more often than stated.

    A prediction limit for one future observation: t(1 - alpha, runs - 1) * sqrt(1 + 1 / runs), with alpha / 2 for each
    side of two (Hahn, Meeker, Statistical Intervals (1991), section 4.3).
    """
    alpha = false_alarm / 2 if two_sided else false_alarm
    return student_quantile(1 - alpha, runs - 1) * math.sqrt(1 + 1 / runs)


def sees(width: float, noise: float, runs: int, power: float = POWER) -> float:
    """The least loss that a bound ``width`` below the mean of so many runs sees in the next one, in its unit.

    width + t(power, runs - 1) * noise * sqrt(1 + 1 / runs): the same prediction limit, on the side of the loss. That is
    with ``power`` for the noise as it was estimated, whatever the true one is.
    """
    return width + student_quantile(power, runs - 1) * noise * math.sqrt(1 + 1 / runs)


def width_that_sees(loss: float, noise: float, runs: int, power: float = POWER) -> float:
    """The width of the bound that such a loss passes with probability 1 - ``power``; not above 0 if none does.

    A test of non-inferiority turned round: what is above the bound is less than ``loss`` worse, at level 1 - ``power``
    (Rothmann, Wiens, Chan, Design and Analysis of Non-Inferiority Trials (2012), section 2.3).
    """
    return loss - sees(0.0, noise, runs, power)
