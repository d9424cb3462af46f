"""The first bad one of an ordered list, by tests that may be wrong: which to try next, and what is known by then.

Bisection with a posterior: what is believed of each place is multiplied by how likely each outcome is there, and the
next test is the one that is expected to say most (Burnashev, Zigangirov, Problems of Information Transmission 10
(1974), pp. 223-231; Waeber, Frazier, Henderson, SIAM Journal on Control and Optimization 51 (2013), pp. 2261-2279).
Where tests are never wrong it is the bisection that everybody knows, and needs as few of them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import pairwise

from harness.statistics.sequential import Errors

DOUBT = 0.001
"""How probable it is before any test that an end is not what its caller says."""


@dataclass(frozen=True)
class Outcome:
    """One test that said something: of which place, and whether that is bad."""

    at: int
    bad: bool


def belief(number: int, outcomes: Iterable[Outcome], errors: Errors) -> list[float]:
    """Probability of each place to be the first bad one, of ``number`` places; the last value is that none is.

    Before any test all places but the ends are alike. A test of a good one says bad with ``errors.false_alarm``, and
    one of a bad one says good with ``errors.false_pass``.
    """
    between = (1 - 2 * DOUBT) / (number - 1)
    weights = [DOUBT, *[between] * (number - 1), DOUBT]
    for each in outcomes:
        of_bad = 1 - errors.false_pass if each.bad else errors.false_pass
        of_good = errors.false_alarm if each.bad else 1 - errors.false_alarm
        weights = [weight * (of_bad if first <= each.at else of_good) for first, weight in enumerate(weights)]
        total = math.fsum(weights)
        weights = [weight / total for weight in weights]
    return weights


def most_telling(beliefs: list[float], allowed: Collection[int], errors: Errors) -> int:
    """The place whose test is expected to say most, of several as good the first.

    Mutual information of outcome and first bad place: H(p) - q H(false_pass) - (1 - q) H(false_alarm), where q is the
    probability that the place is bad and p that its test says so.

    Raises:
        ValueError: No place is allowed.
    """
    bad, telling = 0.0, dict[int, float]()
    for at, each in enumerate(beliefs[:-1]):
        bad += each
        says = bad * (1 - errors.false_pass) + (1 - bad) * errors.false_alarm
        if at in allowed:
            told = _entropy(says) - bad * _entropy(errors.false_pass) - (1 - bad) * _entropy(errors.false_alarm)
            telling[at] = round(told, 12)
    return max(telling, key=lambda at: (telling[at], -at))


def _entropy(share: float) -> float:
    share = min(max(share, 0.0), 1.0)
    return -sum(each * math.log2(each) for each in (share, 1 - share) if each > 0)


def narrowed(beliefs: list[float], allowed: Collection[int]) -> tuple[range, float]:
    """The most probable places that no test of what is allowed can tell apart, and their probability together.

    One place, unless what is before it cannot be tested. The end of ``beliefs`` stands for none.
    """
    bounds = [0, *(at + 1 for at in sorted(allowed)), len(beliefs)]
    spans = [range(low, high) for low, high in pairwise(bounds) if low < high]
    masses = [math.fsum(beliefs[each] for each in span) for span in spans]
    most = max(range(len(spans)), key=masses.__getitem__)
    return spans[most], masses[most]
