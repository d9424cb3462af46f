"""Two builds beside one another: how much the second one loses against the first, and how sure that is.

A loss is a share of the first one's value (of an accuracy: points), positive where the second is worse. Three kinds of
noise are in it, each with its estimate: from start to start of the servers, from group to group of requests, and from
item to item. What takes arrays works on the last axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.statistics import pairs
from harness.statistics.estimate import POWER, student_quantile

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from harness.statistics.estimate import Numbers

Verdict = Literal["worse", "not worse", "undecided"]

NORMAL = 10_000
"""Degrees of freedom of what is not estimated here: Student's quantile is the normal one, to three digits."""


@dataclass(frozen=True)
class Change:
    """Second less first, in the unit in which both are compared.

    Attributes:
        value: Of values that are divided, the logarithm of the ratio.
        error: Its standard error; infinite where nobody knows it.
        freedom: Degrees of freedom of the error.
    """

    value: float
    error: float
    freedom: float

    def beyond(self, alpha: float) -> float:
        """How far the truth may be to one side, but for a share ``alpha``: t(1 - alpha, freedom) * error."""
        if not self.error or math.isinf(self.error):
            return self.error
        return _quantile(1 - alpha, self.freedom) * self.error

    def detects(self, alpha: float, power: float = POWER) -> float:
        """The least change for the worse that is seen with ``power``, with noise as it was.

        (t(1 - alpha, freedom) + t(power, freedom)) * error.
        """
        if not self.error or math.isinf(self.error):
            return self.error
        return (_quantile(1 - alpha, self.freedom) + _quantile(power, self.freedom)) * self.error


def _quantile(probability: float, freedom: float) -> float:
    return student_quantile(probability, min(freedom, NORMAL))


def interleaved(rounds: int) -> list[tuple[int, bool]]:
    """The starts of so many rounds A B B A: number of the round, and whether it is the second build's.

    Within a round both have the same mean place in time, so that a drift of the host, if it is steady, favours none.
    """
    return [(number, second) for number in range(rounds) for second in (False, True, True, False)]


def by_starts(values: ArrayLike, starts: Sequence[tuple[int, bool]]) -> tuple[Numbers, Numbers, int]:
    """Difference of two builds, its standard error and degrees of freedom, of one value a start on the last axis.

    Least squares for value = round + build + noise: a randomised block design, with the round as the block. With R
    rounds A B B A that is the difference of the means, with 3 R - 1 degrees of freedom (Cochran, Cox, Experimental
    Designs, 2nd ed. (1957), section 4.2). The noise is that of whole starts, so what a new start adds is in it.
    The error is infinite where no degree of freedom is left.

    Raises:
        ValueError: A build has no start.
    """
    import numpy as np

    y = np.asarray(values, dtype=float)
    rounds = sorted({number for number, _ in starts})
    design = np.array([[*(number == each for each in rounds), second] for number, second in starts], dtype=float)
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise ValueError("both builds must have a start in one round")
    inverse = np.linalg.pinv(design)
    effects = y @ inverse.T
    freedom = len(starts) - design.shape[1]
    rest = ((y - effects @ design.T) ** 2).sum(-1)
    # What rounding leaves of equal values is no noise.
    rest = np.where(rest <= 1e-24 * (y**2).sum(-1), 0.0, rest)
    of_one = float((inverse @ inverse.T)[-1, -1])
    error = np.sqrt(rest / freedom * of_one) if freedom else np.full(rest.shape, math.inf)
    return effects[..., -1], error, freedom


def by_groups(
    first: tuple[ArrayLike, ArrayLike], second: tuple[ArrayLike, ArrayLike]
) -> tuple[Numbers, Numbers, Numbers]:
    """Logarithm of the ratio of two ratios of sums, its standard error and degrees of freedom, over G groups on the
    last axis.

    Of each build what was counted in each group, and of how many; a group is of the same requests in both. The error is
    the jackknife's: with L_g for the logarithm without group g, se = sqrt((G - 1) / G * sum((L_g - mean)^2)) (Efron,
    Stein, Annals of Statistics 9 (1981), pp. 586-596: too large on average, where the delta method is too small).
    What the requests have in common in both builds is taken away in L_g. Groups of unlike size w count as fewer:
    (sum w)^2 / sum w^2 (Kish, Survey Sampling (1965), section 11.7), less one.
    """
    import numpy as np

    def length(y: Numbers, x: Numbers) -> Numbers:
        return np.log(y / x)

    value = without = size = np.zeros(1)
    for sign, (counted, of) in ((-1, first), (1, second)):
        y, x = np.asarray(counted, dtype=float), np.asarray(of, dtype=float)
        sums = y.sum(-1), x.sum(-1)
        value = value + sign * length(*sums)
        without = without + sign * length(sums[0][..., None] - y, sums[1][..., None] - x)
        size = size + x
    groups = without.shape[-1]
    spread = ((without - without.mean(-1, keepdims=True)) ** 2).sum(-1)
    error = np.sqrt((groups - 1) / groups * np.where(spread < 1e-24, 0.0, spread))
    return value, error, size.sum(-1) ** 2 / (size**2).sum(-1) - 1


def together(value: float, *errors: tuple[float, float]) -> Change:
    """A change with several independent errors, each with its degrees of freedom.

    Variances add up; the degrees of freedom are those of Welch and Satterthwaite (Satterthwaite 1946):
    (sum v)^2 / sum(v^2 / freedom).
    """
    squares = [(error**2, freedom) for error, freedom in errors if error]
    total = sum(each for each, _ in squares)
    if not total or math.isinf(total):
        return Change(value, math.sqrt(total), 1)
    return Change(value, math.sqrt(total), total**2 / sum(each**2 / freedom for each, freedom in squares))


@dataclass(frozen=True)
class Flips:
    """Items of which the two builds make something else.

    Attributes:
        lost: Right with the first build and wrong with the second.
        won: The other way round.
        n: Items that both were asked.
    """

    lost: int
    won: int
    n: int

    @property
    def p_value(self) -> float:
        """As of :func:`harness.statistics.pairs.p_of_loss`."""
        return pairs.p_of_loss(self.lost, self.won)

    @property
    def change(self) -> Change:
        """Difference of the two shares, second less first, with half a flip more in each cell of the table.

        (won - lost) / (n + 2), se = sqrt(lost + won + 1 - (won - lost)^2 / (n + 2)) / (n + 2). Agresti, Min, Statistics
        in Medicine 24 (2005), pp. 729-740: Wald's interval covers too seldom where few items flip, and this one does
        not.
        """
        n, difference = self.n + 2, self.won - self.lost
        error = math.sqrt(max(self.lost + self.won + 1 - difference**2 / n, 0.0)) / n
        return Change(difference / n, error, NORMAL)


def verdict(least: float, most: float, margin: float) -> Verdict:
    """What is said of a loss that is between two ends, each with its error.

    ``not worse``: by less than the margin, a test of non-inferiority. ``worse``: more than nothing. Where both hold,
    the loss is real and smaller than what matters here.
    """
    if most < margin:
        return "not worse"
    return "worse" if least > 0 else "undecided"


def rounds_for(loss: float, deviation: float, alpha: float, power: float = POWER, most: int = 200) -> int:
    """Rounds A B B A with which such a loss is seen with ``power``, or excluded as often; 0 if more than ``most``.

    Args:
        loss: As a logarithm of a ratio, above 0.
        deviation: Standard deviation from start to start, in the same unit.
        alpha: Of the test.
        power: How often at least.
        most: Where the search ends.
    """
    for rounds in range(1, most + 1):
        if Change(0.0, deviation / math.sqrt(rounds), 3 * rounds - 1).detects(alpha, power) <= loss:
            return rounds
    return 0
