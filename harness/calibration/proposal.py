"""From the values of equal runs to a baseline: expected value, bound, and whether it can gate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from harness.base.settings import Expectation, Passport, listed
from harness.statistics.estimate import Estimate
from harness.statistics.repeated_runs import Split, mean_of, reach, sees, split, width_that_sees

CHECKED = ("accuracy", "acceptance_length", "acceptance_per_position")
"""Checks that a calibration makes the tables of."""
LEAST_RUNS = 3
"""With fewer the noise is hardly known, and a bound is too wide to be of use."""
MOST_LOSS = 0.10
"""A bound that lets such a loss pass, as a share, gates nothing."""
_SAME_NUMBERS = 0.005
"""A bound is never closer than this share: equal runs of one build may not differ at all, and another build that is
as good adds in another order. Equal runs on fixed prompts were seen to differ by 0.0 to 0.3 %."""
_SAME_ITEMS = 1.5
"""Nor closer than so many items, of a share of items."""
_DIRECTIONS = {"accuracy": "at-least", "acceptance_length": "two-sided", "acceptance_per_position": "at-least"}


@dataclass(frozen=True)
class Values:
    """What the runs measured for one check.

    Attributes:
        name: Of the check.
        runs: Of each run, its values: one, or one a position. Runs of one start stand together.
        n: Observations of a run: items, or drafts on average.
        repeats: Runs of each start.
    """

    name: str
    runs: tuple[tuple[float, ...], ...]
    n: int
    repeats: int = 1

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
        return [
            max(stdev(map(fmean, starts)), math.hypot(part.within or 0.0, part.between or 0.0))
            for starts, part in zip(self.by_start, self.parts, strict=True)
        ]

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


def noise_width(
    value: float, noise: float, runs: int, n: int, false_alarm: float, *, name: str, two_sided: bool
) -> float:
    """The narrowest bound that equal runs cross no more often than stated, in the unit of the value.

    Args:
        value: The expected one.
        noise: Standard deviation from run to run.
        runs: From so many runs.
        n: Items, of a share of items.
        false_alarm: How often at most.
        name: Of the check.
        two_sided: Whether there is a bound on either side.
    """
    least = max(_SAME_NUMBERS * abs(value), _SAME_ITEMS / n if name == "accuracy" else 0.0)
    return max(least, reach(runs, false_alarm, two_sided=two_sided) * noise) if runs > 1 else float("inf")


def proposed(values: Values, asked: Asked, direction: str = "") -> dict[str, Any]:
    """The table of a check, without where it was measured.

    Where the bound could gate nothing, ``status`` is ``provisional``, and ``why`` says what to do. A table that gates
    has neither.
    """
    direction = direction or _DIRECTIONS[values.name]
    means = [each.value for each in values.estimates]
    noise = values.noise
    runs, many = values.starts, values.name == "acceptance_per_position"
    width = [
        noise_width(
            *each, runs, values.n, asked.false_alarm, name=values.name, two_sided=direction == "two-sided"
        )
        for each in zip(means, noise, strict=True)
    ]  # fmt: skip
    # One tolerance holds for all positions: that of the one which needs the widest.
    relative = max((each / abs(mean) for each, mean in zip(width, means, strict=True) if mean), default=1.0)
    why = ""
    if asked.margin is not None and means[0]:
        of_margin = width_that_sees(asked.margin * abs(means[0]), noise[0], runs) / abs(means[0])
        if of_margin < relative:
            why = f"its noise needs a bound of {relative:.2%}, and a loss of {asked.margin:.1%} {max(of_margin, 0):.2%}"
        relative = max(relative, of_margin)
    loss = sees(relative * abs(means[0]), noise[0], runs) / abs(means[0]) if means[0] else 1.0
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
        **where,
    }
    Passport.model_validate(table)
    return table


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
        noise_width(value, each, there.runs, settings.n, there.false_alarm, name=name, two_sided=two_sided)
        for value, each in zip(expected, noise, strict=True)
    ]
    for value, least in zip(expected, needed, strict=True):
        if settings.width(value) * rounding < least:
            has = f"{settings.width(value):.3g}"
            yield f"the bound of {value:g} is {has} wide, and its noise needs {least:.3g}; calibrate it"
    first = expected[0]
    if sees(settings.width(first), noise[0], there.runs) > MOST_LOSS * abs(first):
        yield f"a loss of {MOST_LOSS:.0%} passes; narrow the bound, run it more often, or set status to provisional"
    shares = [each / abs(value) for value, each in zip(expected, needed, strict=True) if value]
    widest = max(shares, default=0.0)
    if there.margin is not None and first:
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
