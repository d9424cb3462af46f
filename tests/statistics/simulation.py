"""Each rule of ``harness/statistics`` tried many times on numbers whose truth is known.

One entry a claim: what it is about, which rate it is, how often it may be or must be, and a function that tries it so
many times at once. Tests take a slice; ``python -m tests.statistics.simulation`` tries each 100,000 times and prints
the table of docs/evidence/statistics.md.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from harness.statistics import decisions, looks, pairs, proportions, ratios, repeated_runs, sequential
from harness.statistics.estimate import Estimate, normal_quantile
from harness.statistics.looks import Loss
from harness.statistics.sequential import Decision, Errors
from tests.statistics import build_simulation
from tests.statistics.claim import Claim, Generator, Numbers, in_parts

TRIES = 100_000


def share_covered(share: float, n: int, interval: Callable[[int, int], Estimate]) -> Callable[[Generator, int], int]:
    """Whether the interval of a share holds the truth."""

    def tried(draw: Generator, tries: int) -> int:
        counts, times = np.unique(draw.binomial(n, share, tries), return_counts=True)
        found = [interval(int(count), n) for count in counts]
        return int(sum(t for each, t in zip(found, times, strict=True) if each.low <= share <= each.high))

    return tried


def wilson_on_average(n: int) -> Callable[[Generator, int], int]:
    """Whether it does for a share that is itself drawn: of each count, how much of the posterior is inside."""

    def tried(draw: Generator, tries: int) -> int:
        share = draw.uniform(0.05, 0.95, tries)
        ends = [proportions.wilson(count, n) for count in range(n + 1)]
        low, high = np.array([each.low for each in ends]), np.array([each.high for each in ends])
        counts = draw.binomial(n, share)
        return int(((low[counts] <= share) & (share <= high[counts])).sum())

    return tried


def requests(draw: Generator, tries: int, number: int) -> tuple[Numbers, Numbers]:
    """Tokens and drafts of requests: lengths differ, and each request has an acceptance of its own (beta, sd 0.1)."""
    drafts = 20 + draw.integers(0, 120, (tries, number))
    chance = draw.beta(11.7, 9.6, (tries, number))  # mean 0.55
    return (drafts + draw.binomial(3 * drafts, chance)).astype(float), drafts.astype(float)


TRUE_LENGTH = 1 + 3 * 11.7 / (11.7 + 9.6)


def ratio_covered(number: int, *, grouped: int = 1) -> Callable[[Generator, int], int]:
    """Whether the interval of an acceptance length, clustered by groups of requests, holds the truth."""

    def tried(draw: Generator, tries: int) -> int:
        tokens, drafts = (each.reshape(tries, -1, grouped).sum(-1) for each in requests(draw, tries, number))
        value, error = ratios.linearised(tokens, drafts)
        return int((np.abs(value - TRUE_LENGTH) <= ratios.quantile(drafts.shape[-1]) * error).sum())

    return in_parts(tried, 10_000)


def next_run(
    runs: int, false_alarm: float, *, two_sided: bool, between: float = 0.002, loss: float = 0.0
) -> Callable[[Generator, int], int]:
    """Whether a run after so many equal ones, each on a start of its own, is beyond the bound that was made of them."""

    def tried(draw: Generator, tries: int) -> int:
        spread = math.hypot(0.001, between)
        values = 2.0 + spread * draw.standard_normal((tries, runs))
        width = repeated_runs.reach(runs, false_alarm, two_sided=two_sided) * values.std(-1, ddof=1)
        following = 2.0 - loss + spread * draw.standard_normal(tries)
        distance = following - values.mean(-1)
        return int(((np.abs(distance) if two_sided else -distance) > width).sum())

    return tried


def seen_by_runs(runs: int, margin: float | None = None) -> Callable[[Generator, int], int]:
    """Whether the bound of so many runs sees the loss that it is said to see, or that it was made for."""

    def tried(draw: Generator, tries: int) -> int:
        values = 2.0 + 0.002 * draw.standard_normal((tries, runs))
        noise, following = values.std(-1, ddof=1), 2.0 + 0.002 * draw.standard_normal(tries)
        if margin is None:
            width = repeated_runs.reach(runs, 0.01, two_sided=True) * noise
            loss = np.array([repeated_runs.sees(*each, runs) for each in zip(width, noise, strict=True)])
        else:
            width = np.array([repeated_runs.width_that_sees(margin, float(each), runs) for each in noise])
            loss = np.full(tries, margin)
        return int((values.mean(-1) - (following - loss) > width).sum())

    return tried


def mean_covered(runs: int) -> Callable[[Generator, int], int]:
    """Whether the interval of a baseline holds the truth."""

    def tried(draw: Generator, tries: int) -> int:
        values = draw.standard_normal((tries, runs))
        error = values.std(-1, ddof=1) / math.sqrt(runs)
        return int((np.abs(values.mean(-1)) <= ratios.quantile(runs) * error).sum())

    return tried


def beyond(width: float, error: float, loss: float, *, two_sided: bool) -> Callable[[Generator, int], int]:
    """Whether a value with this error is beyond a bound."""

    def tried(draw: Generator, tries: int) -> int:
        distance = error * draw.standard_normal(tries) - loss
        return int(((np.abs(distance) if two_sided else -distance) > width).sum())

    return tried


def share_seen(n: int, alpha: float, loss: float, share: float) -> Callable[[Generator, int], int]:
    """Whether a test of a share at ``alpha`` sees a loss."""

    def tried(draw: Generator, tries: int) -> int:
        bound = share - normal_quantile(1 - alpha) * math.sqrt(share * (1 - share) / n)
        return int((draw.binomial(n, share - loss, tries) / n < bound).sum())

    return tried


def sequence(
    decision: int, errors: Errors, truth: float, expected: float, margin: float, budget: int
) -> Callable[[Generator, int], int]:
    """How often a sequence of single answers ends with a decision: 1 fail, -1 pass, 0 inconclusive."""

    def tried(draw: Generator, tries: int) -> int:
        steps = sequential.steps_of_shares(draw.random((tries, budget)) < truth, expected, margin)
        return int((sequential.decided_all(steps, errors)[0] == decision).sum())

    return in_parts(tried, 2_000)


def sequence_of_runs(
    decision: int, errors: Errors, loss: float, margin: float, deviation: float, budget: int
) -> Callable[[Generator, int], int]:
    """The same of whole runs."""

    def tried(draw: Generator, tries: int) -> int:
        values = 2.0 - loss + deviation * draw.standard_normal((tries, budget))
        steps = sequential.steps_of_runs(values, 2.0, margin, deviation)
        return int((sequential.decided_all(steps, errors)[0] == decision).sum())

    return tried


_LOSS, _ERRORS = Loss(margin=0.06, most=3.0), Errors(0.01, 0.05)


@dataclass(frozen=True)
class Looked:
    """Runs that are looked at several times, against a baseline of equal runs: see :mod:`harness.statistics.looks`.

    Attributes:
        parts: Observations between two looks; each loses all that it can, or nothing.
        noise: Of a part from run to run, beyond what it loses.
    """

    looks: int = 3
    parts: int = 600
    runs: int = 5
    noise: float = 0.003
    expected: float = 2.0
    loss: Loss = _LOSS
    errors: Errors = _ERRORS
    two_sided: bool = True

    def ended(self, decision: str, lost: float) -> Callable[[Generator, int], int]:
        """How often a run with this loss ends with a decision."""

        def tried(draw: Generator, tries: int) -> int:
            number = np.arange(1, self.looks + 1)
            parts = self.noise * draw.standard_normal((tries, self.runs + 1, self.looks))
            values = self.expected + parts.cumsum(-1) / number
            events = draw.binomial(self.parts, lost / self.loss.most, (tries, self.looks)).cumsum(-1)
            values[:, -1] -= events * self.loss.most / (self.parts * number)
            means, noises = values[:, :-1].mean(1), values[:, :-1].std(1, ddof=1)
            return sum(
                looks.decided([self._at(look, *row) for look, row in enumerate(zip(*each, strict=True), 1)]) == decision
                for each in zip(values[:, -1], means, noises, strict=True)
            )

        return tried

    def _at(self, look: int, value: float, mean: float, noise: float) -> Decision:
        equal = looks.Equal(float(mean), float(noise) if self.noise else 0.0, self.runs)
        n = look * self.parts
        return looks.limits(
            equal, self.loss, n, self.errors, self.looks, two_sided=self.two_sided
        ).decision(float(value))  # fmt: skip


def claims_of_looks() -> Iterator[Claim]:
    """Of the rule that looks at answers to fixed questions."""
    margin = Looked().loss.margin
    for rule, of in (
        (Looked(), "5 runs, 3 looks"),
        (Looked(two_sided=False, runs=9, looks=5, parts=400), "9 runs, 5 looks, one-sided"),
        (Looked(noise=0.0), "runs that are all equal, 3 looks"),
        (Looked(loss=Loss(0.05, 1.0), expected=0.9, parts=100, noise=0.0, two_sided=False), "items, 3 looks"),
    ):
        yield Claim(f"looks, false alarms, {of}", "at-most", 0.01, rule.ended("fail", 0.0))
        yield Claim(f"looks, a loss of the margin passes, {of}", "at-most", 0.05, rule.ended("pass", rule.loss.margin))
    yield Claim("looks, twice the margin passes, 5 runs", "at-most", 0.001, Looked().ended("pass", 2 * margin))
    yield Claim("looks, three times the margin is red, 5 runs", "at-least", 0.95, Looked().ended("fail", 3 * margin))
    yield Claim("looks, no loss passes, all runs equal", "at-least", 0.99, Looked(noise=0.0).ended("pass", 0.0))


def pairs_red(n: int, flips: float, lost: int, false_alarm: float = 0.01) -> Callable[[Generator, int], int]:
    """Whether the test on pairs is red: some items flip either way by chance, and so many more are lost."""

    def tried(draw: Generator, tries: int) -> int:
        down, up = draw.binomial(n, flips, tries) + lost, draw.binomial(n, flips, tries)
        bounds = {int(each): pairs.most_lost(int(each), false_alarm) for each in np.unique(up)}
        return int(sum(before > bounds[int(after)] for before, after in zip(down, up, strict=True)))

    return tried


def groups_red(number: int, lost: float, false_alarm: float = 0.01) -> Callable[[Generator, int], int]:
    """The same of acceptance lengths by groups, whose texts are nearly the same in both runs."""

    def tried(draw: Generator, tries: int) -> int:
        tokens, drafts = requests(draw, tries, number)
        now = tokens + np.rint(2.0 * draw.standard_normal((tries, number)) - lost * tokens)
        found = 0
        for then, after, of in zip(tokens, now, drafts, strict=True):
            there = pairs.difference_of_ratios(list(zip(then, of, strict=True)), list(zip(after, of, strict=True)))
            found += there.value < -there.reach(1 - false_alarm)
        return found

    return tried


def claims_of_pairs() -> Iterator[Claim]:
    """Of the tests that compare a run with another one of the same items."""
    for n, flips in ((80, 0.02), (400, 0.05), (1319, 0.01)):
        name = f"pairs, false alarms, {n} items of which {flips:.0%} flip either way"
        yield Claim(name, "at-most", 0.01, pairs_red(n, flips, 0))
    least = math.ceil(pairs.least_loss(20, 0.01))
    yield Claim("pairs, power at what they detect, 400 items", "about", 0.95, pairs_red(400, 0.05, least), 0.03)
    yield Claim("pairs without flips, power at what they detect", "at-least", 0.95,
                pairs_red(80, 0.0, math.ceil(pairs.least_loss(0, 0.01))))  # fmt: skip
    yield Claim("pairs of 16 groups, false alarms", "about", 0.01, groups_red(16, 0.0), 0.003)
    yield Claim("pairs of 16 groups, a loss of 2 % is seen", "at-least", 0.95, groups_red(16, 0.02))


def claims() -> Iterator[Claim]:
    """Everything that is claimed."""
    for share, n in ((0.5, 40), (0.8, 80), (0.97, 200), (0.75, 1319)):
        name = f"Clopper-Pearson holds a share of {share} of {n} items"
        yield Claim(name, "at-least", 0.95, share_covered(share, n, proportions.exact))
    for n in (30, 80, 200, 1319):
        yield Claim(f"Wilson holds a share of {n} items, on average", "about", 0.95, wilson_on_average(n), 0.006)
    for number in (40, 80, 320):
        name = f"clustered interval holds the acceptance length of {number} requests"
        yield Claim(name, "about", 0.95, ratio_covered(number), 0.008)
    name = "clustered interval holds it, 80 requests in 16 groups"
    yield Claim(name, "about", 0.95, ratio_covered(80, grouped=5), 0.008)
    for runs in (3, 5, 9, 20):
        yield Claim(f"interval of a baseline of {runs} runs holds the truth", "about", 0.95, mean_covered(runs))
        for alpha in (0.05, 0.01, 0.001):
            for two_sided in (False, True):
                name = f"false alarms of a bound of {runs} runs, {'two-sided' if two_sided else 'one-sided'}"
                yield Claim(name, "about", alpha, next_run(runs, alpha, two_sided=two_sided))
    for width, error in ((0.02, 0.008), (0.05, 0.03)):
        alarms = decisions.false_alarms(width, error, two_sided=False)
        name = f"false alarms of a bound {width} below, error {error}"
        yield Claim(name, "about", alarms, beyond(width, error, 0.0, two_sided=False))
        both = decisions.false_alarms(width, error, two_sided=True)
        yield Claim(f"{name}, two-sided", "about", both, beyond(width, error, 0.0, two_sided=True))
        loss = decisions.detectable(width, error)
        yield Claim(f"power at what is detectable, {width}, error {error}", "about", 0.95,
                    beyond(width, error, loss, two_sided=False))  # fmt: skip
    for runs in (3, 5, 9):
        yield Claim(f"a bound of {runs} runs sees the loss that it says", "about", 0.95, seen_by_runs(runs))
    for runs in (5, 9):
        name = f"a bound of {runs} runs that was made for a loss sees it"
        yield Claim(name, "about", 0.95, seen_by_runs(runs, margin=0.05))
    for share, loss in ((0.5, 0.05), (0.75, 0.02), (0.9, 0.01)):
        n = decisions.observations_for(loss, math.sqrt(share * (1 - share)), 0.01)
        name = f"power of the n that is named for a loss of {loss} of {share}"
        yield Claim(name, "about", 0.95, share_seen(n, 0.01, loss, share), 0.015)
        yield Claim(f"false alarms of that n, {share}", "about", 0.01, share_seen(n, 0.01, 0.0, share), 0.003)
    errors = Errors(0.01, 0.05)
    for expected, margin, budget in ((0.75, 0.05, 4000), (0.5, 0.1, 1000)):
        of = f"{expected} with margin {margin}, budget {budget}"
        yield Claim(
            f"sequence, false alarms, {of}", "at-most", 0.01, sequence(1, errors, expected, expected, margin, budget)
        )
        passed = sequence(-1, errors, expected - margin, expected, margin, budget)
        yield Claim(f"sequence, false passes, {of}", "at-most", 0.05, passed)
        failed = sequence(1, errors, expected - margin, expected, margin, budget)
        yield Claim(f"sequence, power at the margin, {of}", "at-least", 0.95, failed)
    yield Claim("sequence with a budget that is too small, false alarms", "at-most", 0.01,
                sequence(1, errors, 0.75, 0.75, 0.05, 200))  # fmt: skip
    yield Claim("sequence of runs, false alarms", "at-most", 0.01, sequence_of_runs(1, errors, 0.0, 0.02, 0.02, 100))
    yield Claim("sequence of runs, false passes", "at-most", 0.05, sequence_of_runs(-1, errors, 0.02, 0.02, 0.02, 100))
    yield Claim("sequence of runs, power", "at-least", 0.95, sequence_of_runs(1, errors, 0.02, 0.02, 0.02, 100))


CLAIMS = [
    *claims(), *claims_of_looks(), *claims_of_pairs(), *build_simulation.claims(), *build_simulation.searches(),
]  # fmt: skip


def main() -> int:
    """Try everything at length and print the table."""
    draw, wrong = np.random.default_rng(20261128), []
    print("| claim | stated | seen |\n| --- | --- | --- |")  # noqa: T201
    for claim in CLAIMS:
        happened = claim.tried(draw, TRIES)
        wrong += [each for each in [claim.wrong(happened, TRIES)] if each]
        print(f"| {claim.name} | {claim.kind.replace('-', ' ')} {claim.rate:.4g} | {happened / TRIES:.5f} |")  # noqa: T201
    print("\n".join(wrong), file=sys.stderr)  # noqa: T201
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
