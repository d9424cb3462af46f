"""A verdict at several looks at answers to fixed questions: stop as soon as it is decided, ask more where it is not.

The questions and their order are fixed, and so is what a good engine answers but for the noise of a run. So at each
look an equal run is compared with equal runs of the same first questions, and what differs from question to question is
in neither. Wald's rule (:mod:`.sequential`) is for answers that are drawn, which those to fixed questions are not: a
hard beginning would fail a good engine every time.

Two statements are made, each with an error of its own, which the looks share in equal parts (Bonferroni):

* *fail*: an equal run is beyond this value no more often than ``false_alarm``, over all looks together. The distance is
  a prediction limit for one more run (:func:`.repeated_runs.reach`).
* *pass*: with a loss of the margin so little is lost no more often than ``false_pass``, over all looks together. A loss
  shows by chance too: of n observations that each lose up to ``most`` with the same probability, independently, the
  number that lose it is binomial. With nothing lost at all that is the rule of three, n >= 3 / margin.

In between nobody knows yet. Where the two overlap the loss is real and smaller than the margin: that passes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from harness.statistics.estimate import student_quantile
from harness.statistics.repeated_runs import reach
from harness.statistics.sequential import Decision, Errors

_ROUNDING = 1e-9
"""A baseline that is computed of the same integers may differ in the last bits of a double."""


@dataclass(frozen=True)
class Equal:
    """What equal runs showed at one look, in the unit of the value.

    Attributes:
        expected: Their mean.
        noise: Standard deviation from run to run.
        runs: How many there were.
        least: The bound is never closer than this.
    """

    expected: float
    noise: float
    runs: int
    least: float = 0.0


@dataclass(frozen=True)
class Loss:
    """What must not pass.

    Attributes:
        margin: The loss, in the unit of the value.
        most: What one observation can lose: 1 of an item, the drafted tokens of a draft.
    """

    margin: float
    most: float


@dataclass(frozen=True)
class Limits:
    """Where one look decides.

    Attributes:
        fail_below, fail_above: Beyond them it fails; None: no value is too high.
        pass_from: From here up to ``fail_above`` it passes; infinite where the look can excuse nobody.
    """

    fail_below: float
    pass_from: float
    fail_above: float | None

    def decision(self, value: float) -> Decision:
        """What the value says."""
        if value < self.fail_below - _ROUNDING:
            return "fail"
        if self.fail_above is not None and value > self.fail_above + _ROUNDING:
            return "fail"
        return "pass" if value >= self.pass_from - _ROUNDING else "inconclusive"


def limits(equal: Equal, loss: Loss | None, n: int, errors: Errors, looks: int, *, two_sided: bool) -> Limits:
    """The limits of one of several looks.

    Args:
        equal: What equal runs showed there.
        loss: What must not pass; None: whatever does not fail passes.
        n: Observations of the run by then.
        errors: Of all looks together.
        looks: How many there are, at most.
        two_sided: Whether a value may be too high, too.
    """
    width = max(equal.least, reach(equal.runs, errors.false_alarm / looks, two_sided=two_sided) * equal.noise)
    fail_above = equal.expected + width if two_sided else None
    if loss is None:
        return Limits(equal.expected - width, equal.expected - width, fail_above)
    miss = errors.false_pass / looks
    of_runs = 0.0
    if equal.noise > 0:  # two things that can hide a loss have half of the error each
        miss /= 2
        of_runs = student_quantile(1 - miss, equal.runs - 1) * equal.noise * math.sqrt(1 + 1 / equal.runs)
    shown = shown_at_least(loss, n, miss)
    pass_from = math.inf if shown is None else equal.expected - shown + of_runs
    return Limits(min(equal.expected - width, pass_from), pass_from, fail_above)


@lru_cache(maxsize=256)
def shown_at_least(loss: Loss, n: int, miss: float) -> float | None:
    """What a loss of the margin shows of itself in n observations, all but ``miss`` times; None where that may be none.

    The largest q with P(X <= q) <= miss of X ~ Binomial(n, margin / most), in the unit of the value: more than q times
    ``most`` is lost. Of losses with one mean, all or nothing spreads most (Bhatia and Davis 2000: the variance is at
    most margin * (most - margin)).
    """
    from scipy.special import bdtr, bdtrik

    share = min(loss.margin / loss.most, 1.0)
    if share >= 1 or n < 1:
        return loss.margin if n >= 1 else None
    if bdtr(0, n, share) > miss:
        return None
    count = max(math.floor(float(bdtrik(miss, n, share))), 0)
    return count * loss.most / n


def observations_to_pass(loss: Loss, errors: Errors, looks: int) -> int:
    """Observations with which a run that lost nothing at all passes at one of several looks: ln(miss) / ln(1 - p)."""
    share = min(loss.margin / loss.most, 1 - 1e-12)
    return math.ceil(math.log(errors.false_pass / looks) / math.log1p(-share))


def decided(decisions: Sequence[Decision]) -> Decision:
    """The verdict of some looks: one that fails fails it, whatever the others say; else one that passes is enough."""
    if "fail" in decisions:
        return "fail"
    return "pass" if "pass" in decisions else "inconclusive"
