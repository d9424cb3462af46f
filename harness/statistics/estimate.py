"""An estimate with its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers: TypeAlias = NDArray[np.float64]

CONFIDENCE = 0.95
"""Of the intervals that are shown. What is judged has error rates of its own."""
POWER = 0.95
"""With which what is called detectable is detected."""


@dataclass(frozen=True)
class Estimate:
    """A ratio and how sure it is.

    Attributes:
        value: The estimate.
        error: Its standard error, in the same unit.
        low: Lower end of the interval.
        high: Upper end.
        n: Observations behind it.
        groups: Independent ones among them: requests, groups of requests or runs.
        confidence: Of the interval.
    """

    value: float
    error: float
    low: float
    high: float
    n: int
    groups: int
    confidence: float = CONFIDENCE


def normal_quantile(probability: float) -> float:
    """Of the standard normal distribution."""
    return NormalDist().inv_cdf(probability)


def normal_share(below: float) -> float:
    """What of the standard normal distribution is below a value."""
    return NormalDist().cdf(below)


def student_quantile(probability: float, freedom: float) -> float:
    """Of Student's t distribution with so many degrees of freedom, whole or not."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))
