"""What is claimed of comparing builds: starts, groups of requests and items whose truth is known."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator

import numpy as np

from harness.statistics import first_bad, interleaved_starts
from harness.statistics.decisions import share_each
from harness.statistics.first_bad import Outcome
from harness.statistics.interleaved_starts import Change, Flips, Verdict
from harness.statistics.sequential import Errors
from tests.statistics.claim import Claim, Generator, in_parts

Loses = Callable[[Generator, int], Iterator[tuple[Change, float]]]
"""Changes as they are measured, each with the least loss that its own test shows (of items, the exact one)."""


def starts(rounds: int, *, loss: float = 0.0, between: float, within: float, drift: float = 0.0) -> Loses:
    """Logarithms of a speed, of builds that start anew each time on a host that gets slower as the rounds go on.

    Args:
        rounds: A B B A.
        loss: Of the second build, as a share.
        between: Standard deviation that a start adds.
        within: That of a run of a start.
        drift: How much slower the host is with each start.
    """
    order = interleaved_starts.interleaved(rounds)

    def made(draw: Generator, tries: int) -> Iterator[tuple[Change, float]]:
        shape = (tries, len(order))
        noise = between * draw.standard_normal(shape) + within * draw.standard_normal(shape)
        second = np.array([each for _, each in order], dtype=float)
        values = noise - drift * np.arange(len(order)) + math.log1p(-loss) * second
        differences, errors, freedom = interleaved_starts.by_starts(values, order)
        for difference, error in zip(differences, errors, strict=True):
            yield _with_least(Change(float(difference), float(error), freedom))

    return made


def requests(rounds: int, groups: int, *, loss: float = 0.0, own: float = 0.05, between: float = 0.001) -> Loses:
    """Acceptance lengths, of two builds that add in another order: each accepts more here and less there.

    Args:
        rounds: A B B A.
        groups: Of requests, the same ones for both.
        loss: Of the second build, as a share.
        own: By how much a build differs from the truth in a group, which is the same in each of its starts.
        between: What a start adds, as a share.
    """
    order = interleaved_starts.interleaved(rounds)
    second = np.array([each for _, each in order])

    def made(draw: Generator, tries: int) -> Iterator[tuple[Change, float]]:
        drafts = 60.0 + draw.integers(0, 240, (tries, groups))
        length = 2.5 + 0.3 * draw.standard_normal((tries, groups))  # prompts differ, alike in both builds
        of_build = length[None] * (1 + own * draw.standard_normal((2, tries, groups)))
        of_build[1] *= 1 - loss
        start = 1 + between * draw.standard_normal((tries, len(order)))
        tokens = np.stack([of_build[int(each)] * start[:, at, None] for at, each in enumerate(second)], 1)
        tokens *= drafts[:, None, :]
        sums = [tokens[:, second == each].sum(1) for each in (False, True)]
        of = [drafts * int((second == each).sum()) for each in (False, True)]
        values, errors, free = interleaved_starts.by_groups((sums[0], of[0]), (sums[1], of[1]))
        _, noise, freedom = interleaved_starts.by_starts(np.log(tokens.sum(-1)), order)
        for value, error, of_groups, more in zip(values, errors, free, noise, strict=True):
            found = (float(error), float(of_groups)), (float(more), float(freedom))
            yield _with_least(interleaved_starts.together(float(value), *found))

    return made


def items(n: int, flips: float, *, loss: float = 0.0) -> Loses:
    """Right answers: a share ``flips`` of the items flips either way, and ``loss`` more are lost."""

    def made(draw: Generator, tries: int) -> Iterator[tuple[Change, float]]:
        counts = draw.multinomial(n, [flips / 2 + loss, flips / 2, 1 - flips - loss], tries)
        for lost, won, _ in counts:
            found = Flips(int(lost), int(won), n)
            yield found.change, found.p_value

    return made


def _with_least(change: Change) -> tuple[Change, float]:
    return change, math.nan


def says(what: Verdict, loses: Loses, alpha: float, margin: float) -> Callable[[Generator, int], int]:
    """How often a verdict is given. What is measured is a gain where it is positive."""

    def tried(draw: Generator, tries: int) -> int:
        found = 0
        for change, p_value in loses(draw, tries):
            reach = change.beyond(alpha)
            least = -change.value - reach
            if not math.isnan(p_value):  # of items the exact test says whether any loss is shown
                least = alpha - p_value
            found += interleaved_starts.verdict(least, -change.value + reach, margin) == what
        return found

    return in_parts(tried, 5_000)


def shows(loses: Loses, alpha: float) -> Callable[[Generator, int], int]:
    """How often a loss is shown, whatever the margin."""
    return says("worse", loses, alpha, -math.inf)


def sees_what_it_says(rounds: int, alpha: float, deviation: float) -> Callable[[Generator, int], int]:
    """How often a loss is shown that is as large as is said to be seen, with the error that was estimated."""
    made = starts(rounds, between=deviation, within=0.0)

    def tried(draw: Generator, tries: int) -> int:
        found = (change.value - change.detects(alpha) + change.beyond(alpha) for change, _ in made(draw, tries))
        return sum(each < 0 for each in found)

    return tried


def equal_speeds(alpha: float, quantities: int) -> Callable[[Generator, int], int]:
    """How often any of several independent speeds of equal builds is called worse: each has its share of the rate."""
    each, noise = share_each(alpha, quantities), starts(2, between=0.01, within=0.005)

    def worse(change: Change) -> bool:
        reach = change.beyond(each)
        return interleaved_starts.verdict(-change.value - reach, -change.value + reach, 0.03) == "worse"

    def tried(draw: Generator, tries: int) -> int:
        found = zip(*(noise(draw, tries) for _ in range(quantities)), strict=True)
        return sum(any(worse(change) for change, _ in speeds) for speeds in found)

    return in_parts(tried, 5_000)


def claims() -> Iterator[Claim]:
    """Everything that is claimed of comparing builds."""
    for rounds in (1, 2, 3):
        for alpha in (0.05, 0.01):
            noise = starts(rounds, between=0.01, within=0.005)
            name = f"equal builds, {rounds} rounds A B B A, a slower speed is shown"
            yield Claim(name, "about", alpha, shows(noise, alpha))
            yield Claim(f"{name} and called worse", "at-most", alpha, says("worse", noise, alpha, 0.03))
            lost = starts(rounds, loss=-math.expm1(-0.03), between=0.01, within=0.005)
            name = f"a build slower by the margin, {rounds} rounds, is called not worse"
            yield Claim(name, "about", alpha, says("not worse", lost, alpha, 0.03))
        name = f"{rounds} rounds show the loss that they are said to see"
        yield Claim(name, "about", 0.95, sees_what_it_says(rounds, 0.05, 0.01))
    drifting = starts(2, between=0.005, within=0.002, drift=0.01)
    yield Claim("equal builds on a host that gets slower by 1 % a start", "at-most", 0.05,
                says("worse", drifting, 0.05, 0.03))  # fmt: skip
    yield Claim("equal builds, any of 4 speeds at a rate of 0.05 in all", "at-most", 0.05, equal_speeds(0.05, 4))
    for rounds, between in ((1, 0.003), (2, 0.008), (3, 0.011)):
        slower = starts(rounds, loss=0.03, between=between, within=between / 3)
        name = f"steps slower by 3 %, {rounds} rounds, a start adds {between:.1%}: called worse"
        yield Claim(name, "at-least", 0.95, says("worse", slower, 0.05, 0.02))
    for groups in (8, 16):
        for rounds in (1, 2):
            where = f"{groups} groups of requests, {rounds} rounds"
            equal = requests(rounds, groups)
            yield Claim(f"equal builds, {where}, less acceptance is shown", "about", 0.01, shows(equal, 0.01), 0.002)
            at_margin = requests(rounds, groups, loss=-math.expm1(-0.02))
            name = f"acceptance less by the margin, {where}, is called not worse"
            yield Claim(name, "about", 0.01, says("not worse", at_margin, 0.01, 0.02), 0.002)
    less = requests(1, 16, loss=0.03, own=0.015, between=0.001)
    yield Claim("3 % less acceptance, 16 groups of requests, 1 round: called worse", "at-least", 0.95,
                says("worse", less, 0.01, 0.01))  # fmt: skip
    for n, flips in ((80, 0.1), (400, 0.05), (1319, 0.02)):
        equal_items = items(n, flips)
        name = f"equal builds, {flips:.0%} of {n} items flip"
        yield Claim(f"{name}: called worse", "at-most", 0.05, says("worse", equal_items, 0.05, 0.02))
        lost_items = items(n, flips, loss=0.02)
        yield Claim(f"2 points lost, {flips:.0%} of {n} items flip: called not worse", "about", 0.05,
                    says("not worse", lost_items, 0.05, 0.02), 0.01)  # fmt: skip
    yield Claim("5 points lost of 1319 items, 2 % flip: called worse", "at-least", 0.95,
                says("worse", items(1319, 0.02, loss=0.05), 0.01, 0.02))  # fmt: skip


def named(number: int, errors: Errors, confidence: float) -> Callable[[Generator, int], int]:
    """How often the first bad build is named, by starts that are wrong as often as stated."""
    telling = functools.lru_cache(100_000)(functools.partial(_next, number, errors, confidence))

    def one(draw: Generator) -> bool:
        first = int(draw.integers(1, number))
        done: tuple[Outcome, ...] = ()
        while isinstance(at := telling(done), int):
            wrong = errors.false_pass if at >= first else errors.false_alarm
            done = (*done, Outcome(at, (at >= first) != (draw.random() < wrong)))
        return at[0] == first

    return lambda draw, tries: sum(one(draw) for _ in range(tries))


def _next(number: int, errors: Errors, confidence: float, done: tuple[Outcome, ...]) -> int | range:
    """The build to start, or the one that is named."""
    beliefs = first_bad.belief(number, done, errors)
    span, sure = first_bad.narrowed(beliefs, range(number))
    return span if sure >= confidence else first_bad.most_telling(beliefs, range(number), errors)


def searches() -> Iterator[Claim]:
    """Everything that is claimed of looking for the first bad build."""
    for number, errors in ((16, Errors(0.01, 0.05)), (16, Errors(0.1, 0.2)), (5, Errors(0.01, 0.05))):
        name = f"first of {number} bad builds is named, starts are wrong with {errors.false_alarm}, {errors.false_pass}"
        yield Claim(name, "at-least", 0.95, named(number, errors, 0.95))
