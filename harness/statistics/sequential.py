"""Rules that stop as soon as the data decide: Wald's sequential probability ratio test, with a budget.

"No loss" and "a loss of the margin" are compared by their likelihood ratio after each observation. The rule says
``fail`` once the loss is 1 / alpha times as likely, ``pass`` once it is beta times as likely, and ``inconclusive`` when
the budget is spent. A likelihood ratio has expectation 1 under the hypothesis in its denominator, so by Ville's
inequality (1939) no loss fails with probability alpha at most, and the loss passes with probability beta at most,
whenever one stops; a budget only makes both smaller. (Wald, Sequential Analysis (1947), section 3.2; his (1 - beta) /
alpha holds only about.) A larger loss passes, and a gain fails, less often still: both ratios are monotone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from harness.statistics.estimate import Numbers

Decision = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True)
class Errors:
    """Error rates of a rule.

    Attributes:
        false_alarm: How often no loss fails, at most.
        false_pass: How often a loss of the margin passes, at most.
    """

    false_alarm: float
    false_pass: float

    @property
    def fails_at(self) -> float:
        """Logarithm of the likelihood ratio, loss to none, from which on the rule fails."""
        return -math.log(self.false_alarm)

    @property
    def passes_at(self) -> float:
        """Where it passes."""
        return math.log(self.false_pass)


@dataclass(frozen=True)
class Verdict:
    """How a sequence ended: after how many observations, and the logarithm of the likelihood ratio then."""

    decision: Decision
    after: int
    ratio: float


def steps_of_shares(right: ArrayLike, expected: float, margin: float) -> Numbers:
    """Logarithms of the likelihood ratio of single answers: right with share expected - margin, or expected.

    Raises:
        ValueError: One of the two is no share strictly between 0 and 1.
    """
    import numpy as np

    low = expected - margin
    if not 0 < low < expected < 1:
        raise ValueError(f"shares must be strictly between 0 and 1: {low:g}, {expected:g}")
    return np.where(np.asarray(right), math.log(low / expected), math.log((1 - low) / (1 - expected)))


def steps_of_runs(values: ArrayLike, expected: float, margin: float, deviation: float) -> Numbers:
    """The same of values of whole runs, normal with a known standard deviation.

    log f(x; m - d) / f(x; m) = d * ((m - d / 2) - x) / s^2.
    """
    import numpy as np

    return margin * ((expected - margin / 2) - np.asarray(values, dtype=float)) / deviation**2


def decided(steps: Iterable[float], errors: Errors, budget: int) -> Verdict:
    """The decision on a sequence of steps, of which no more are taken than are needed."""
    ratio, after = 0.0, 0
    for after, step in enumerate(steps, 1):
        ratio += float(step)
        if ratio >= errors.fails_at:
            return Verdict("fail", after, ratio)
        if ratio <= errors.passes_at:
            return Verdict("pass", after, ratio)
        if after >= budget:
            break
    return Verdict("inconclusive", after, ratio)


def decided_all(steps: Numbers, errors: Errors) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """The same of many sequences, one a row, whose length is the budget: 1 fail, -1 pass, 0 inconclusive; and when."""
    import numpy as np

    ratio = np.cumsum(steps, axis=-1)
    over, under = ratio >= errors.fails_at, ratio <= errors.passes_at
    crossed = over | under
    first = np.where(crossed.any(-1), crossed.argmax(-1), steps.shape[-1] - 1)
    at = np.take_along_axis(over, first[:, None], -1)[:, 0].astype(np.int8)
    at -= np.take_along_axis(under, first[:, None], -1)[:, 0].astype(np.int8)
    return at, first + 1
