"""From the values of equal runs to a baseline: expected value, bound, and whether it can gate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from harness.base.settings import Expectation, Passport, listed
from harness.checks.noise import least_width, noise_width
from harness.statistics.estimate import POWER, Estimate
from harness.statistics.looks import Equal, Loss, limits, observations_to_pass
from harness.statistics.repeated_runs import Split, mean_of, sees, split, width_that_sees
from harness.statistics.sequential import Errors

CHECKED = ("accuracy", "acceptance_length", "acceptance_per_position")
"""Checks that a calibration makes the tables of."""
LEAST_RUNS = 3
"""With fewer the noise is hardly known, and a bound is too wide to be of use."""
MOST_LOSS = 0.10
"""A bound that lets such a loss pass, as a share, gates nothing."""
_DIRECTIONS = {"accuracy": "at-least", "acceptance_length": "two-sided", "acceptance_per_position": "at-least"}


_NOTHING = 1e-12
"""What means of equal numbers differ by in the last bits."""


@dataclass(frozen=True)
class Values:
    """What the runs measured for one check.

    Attributes:
        name: Of the check, or ``comparisons.NAME``.
        runs: Of each run, its values: one, or one a position. Runs of one start stand together.
        n: Observations of a run: items, or drafts on average.
        repeats: Runs of each start.
        most: What one observation can lose, in the unit of the value: see :class:`harness.statistics.looks.Loss`.
        early: The same at the looks before the last one, by the number of items asked by then.
    """

    name: str
    runs: tuple[tuple[float, ...], ...]
    n: int
    repeats: int = 1
    most: float = 1.0
    early: tuple[tuple[int, Values], ...] = ()

    @property
    def of_items(self) -> bool:
        """Whether it is a share of items."""
        return not self.name.startswith("acceptance")

    @property
    def key(self) -> tuple[str, str]:
        """Of its table in a case."""
        table, _, name = self.name.rpartition(".")
        return table or "checks", name

    @property
    def looks(self) -> int:
        """How often a run looks at it, the last look being at all items."""
        return len(self.early) + 1

    @property
    def starts(self) -> int:
        """How often the servers were started. Runs of one start are no independent witnesses of the next one."""
        return len(self.runs) // self.repeats

    @property
    def by_start(self) -> list[list[tuple[float, ...]]]:
        """Of each value, the runs of each start."""
        return [
            [each[first : first + self.repeats] for first in range(0, len(each), self.repeats)]
            for each in zip(*self.runs, strict=True)
        ]

    @property
    def estimates(self) -> list[Estimate]:
        """Mean and interval of each value, over starts."""
        return [mean_of([fmean(runs) for runs in starts]) for starts in self.by_start]

    @property
    def parts(self) -> list[Split]:
        """Of each value, what differs within a start and between starts."""
        return [split(starts) for starts in self.by_start]

    @property
    def noise(self) -> list[float]:
        """Of each value, the standard deviation from one run to one of another start."""
        found = [
            max(stdev(map(fmean, starts)), math.hypot(part.within or 0.0, part.between or 0.0))
            for starts, part in zip(self.by_start, self.parts, strict=True)
        ]
        return [0.0 if each < _NOTHING else each for each in found]

    @property
    def widest(self) -> float:
        """Half of the widest interval, as a share of its mean; 0 of values that are 0."""
        return max((each.high - each.value) / abs(each.value) if each.value else 0.0 for each in self.estimates)


@dataclass(frozen=True)
class Asked:
    """What is asked of the baselines of a case.

    Attributes:
        false_alarm: Of each value, how often an equal run is red, at most.
        margin: Loss that must not pass, as a share; None: the bound follows from the noise.
    """

    false_alarm: float
    margin: float | None = None


def proposed(values: Values, asked: Asked, direction: str = "") -> dict[str, Any]:
    """The table of a check, without where it was measured.

    Where the bound could gate nothing, ``status`` is ``provisional``, and ``why`` says what to do. A table that gates
    has neither.
    """
    direction = direction or _DIRECTIONS.get(values.name, "at-least")
    means = [each.value for each in values.estimates]
    noise = values.noise
    runs, many = values.starts, values.name == "acceptance_per_position"
    width = [
        noise_width(
            *each, runs, values.n, asked.false_alarm / values.looks,
            of_items=values.of_items, two_sided=direction == "two-sided",
        )
        for each in zip(means, noise, strict=True)
    ]  # fmt: skip
    # One tolerance holds for all positions: that of the one which needs the widest.
    relative = max((each / abs(mean) for each, mean in zip(width, means, strict=True) if mean), default=1.0)
    why = ""
    if values.early:
        why = _never_passes(values, asked, direction)
    elif asked.margin is not None and means[0]:
        of_margin = width_that_sees(asked.margin * abs(means[0]), noise[0], runs) / abs(means[0])
        if of_margin < relative:
            why = f"its noise needs a bound of {relative:.2%}, and a loss of {asked.margin:.1%} {max(of_margin, 0):.2%}"
        relative = max(relative, of_margin)
    loss = sees(relative * abs(means[0]), noise[0], runs) / abs(means[0]) if means[0] else 1.0
    if values.early and asked.margin is not None:
        loss = asked.margin
    if runs < LEAST_RUNS:
        why = f"{runs} runs; {LEAST_RUNS} at least"
    elif loss > MOST_LOSS:
        why = f"a loss of {MOST_LOSS:.0%} would pass: it sees one of {loss:.1%}; run it more often, or ask more items"
    table: dict[str, Any] = {
        "expected": _rounded(means) if many else _rounded(means)[0],
        "direction": direction,
        "relative_tolerance": min(_up(relative), 0.99),
        "n": values.n,
    }
    return table | ({"status": "provisional", "why": why} if why else {})


def _never_passes(values: Values, asked: Asked, direction: str) -> str:
    """Why no run passes that is as good as those that were measured, not even at the last look; empty if one does."""
    if values.name == "acceptance_per_position":
        return ""
    assert asked.margin is not None  # a case with looks is not calibrated without
    mean, errors = values.estimates[0].value, Errors(asked.false_alarm, 1 - POWER)
    loss = Loss(asked.margin * abs(mean), values.most)
    equal = Equal(mean, values.noise[0], values.starts, least_width(mean, values.n, of_items=values.of_items))
    if limits(equal, loss, values.n, errors, values.looks, two_sided=direction == "two-sided").pass_from <= mean:
        return ""
    needed = observations_to_pass(loss, errors, values.looks)
    more = f"it takes {needed} at least" if needed > values.n else f"its noise is {values.noise[0] / mean:.2%}"
    return f"{values.n} observations cannot exclude a loss of {asked.margin:.1%}: {more}; raise evaluation.items"


def passport(values: Values, asked: Asked, where: Mapping[str, Any]) -> dict[str, Any]:
    """The passport of a check: what the runs say, and where they were run."""
    many, found = values.name == "acceptance_per_position", values.estimates
    told = {
        "noise": [float(f"{each:.4g}") for each in values.noise],
        "low": [float(f"{each.low:.6g}") for each in found],
        "high": [float(f"{each.high:.6g}") for each in found],
    }
    table = {
        "runs": values.starts,
        **_repeated(values),
        **{name: each if many else each[0] for name, each in told.items()},
        "false_alarm": float(f"{asked.false_alarm:.3g}"),
        **({"margin": asked.margin} if asked.margin is not None else {}),
        **({"looks": [_early(*each, many=many) for each in values.early]} if values.early else {}),
        **where,
    }
    Passport.model_validate(table)
    return table


def _early(items: int, values: Values, *, many: bool) -> dict[str, Any]:
    """A look before the last one, as a passport has it."""
    expected, noise = _rounded(each.value for each in values.estimates), [float(f"{each:.4g}") for each in values.noise]
    return {
        "items": items,
        "n": values.n,
        "expected": expected if many else expected[0],
        "noise": noise if many else noise[0],
    }


def _repeated(values: Values) -> dict[str, Any]:
    """How often each start was asked, and what of the noise is there within one; nothing of single runs."""
    if values.repeats == 1:
        return {}
    within = [float(f"{part.within or 0.0:.4g}") for part in values.parts]
    return {"repeats": values.repeats, "within": within if values.name == "acceptance_per_position" else within[0]}


def problems(name: str, settings: Expectation, expected: Sequence[float]) -> Iterable[str]:
    """What is wrong with the bound of a measured baseline that gates.

    Args:
        name: Of the check.
        settings: Its table.
        expected: Its values.
    """
    there = settings.passport
    if there is None or settings.status != "gating":
        return
    noise = listed(there.noise)
    if len(noise) != len(expected):
        yield f"passport.noise: has {len(noise)} values, expected {len(expected)}; measure it again"
        return
    if there.runs < LEAST_RUNS:
        yield f"passport.runs: {there.runs} say too little of the noise; {LEAST_RUNS} at least, or status provisional"
        return
    two_sided, rounding = settings.direction == "two-sided", 1.02
    needed = [
        noise_width(
            value, each, there.runs, settings.n, there.false_alarm / (len(there.looks) + 1),
            of_items=not name.startswith("acceptance"), two_sided=two_sided,
        )
        for value, each in zip(expected, noise, strict=True)
    ]  # fmt: skip
    for value, least in zip(expected, needed, strict=True):
        if settings.width(value) * rounding < least:
            has = f"{settings.width(value):.3g}"
            yield f"the bound of {value:g} is {has} wide, and its noise needs {least:.3g}; calibrate it"
    first = expected[0]
    seen = sees(settings.width(first), noise[0], there.runs)
    if there.looks and there.margin is not None:
        seen = there.margin * abs(first)
    if seen > MOST_LOSS * abs(first):
        yield f"a loss of {MOST_LOSS:.0%} passes; narrow the bound, run it more often, or set status to provisional"
    shares = [each / abs(value) for value, each in zip(expected, needed, strict=True) if value]
    widest = max(shares, default=0.0)
    if there.margin is not None and first and not there.looks:
        widest = max(widest, width_that_sees(there.margin * abs(first), noise[0], there.runs) / abs(first))
    if first and settings.width(first) > widest * abs(first) * rounding and not there.reason:
        yield "the bound is wider than its noise and its margin ask for; passport.reason: missing, say why"


def _rounded(values: Iterable[float]) -> list[float]:
    return [float(f"{each:.6g}") for each in values]


def _up(share: float) -> float:
    """The next share with four digits after the point, so that the bound is not narrower than it was computed."""
    return (int(share * 10_000) + 1) / 10_000


def settled(found: Sequence[Values], until: float) -> bool:
    """Whether every value is known to this share of itself."""
    return all(each.starts >= LEAST_RUNS and each.widest <= until for each in found)


def average(numbers: Iterable[int]) -> int:
    """The mean of counts, as a count."""
    return max(1, round(fmean(numbers)))
