"""What a check is, and one number against one baseline, which most of them come down to.

A check is one module: the table of its settings in ``[checks]``, the evidence it reads, and its judgement. It is found
through an entry point of the group ``harness.checks`` whose name is that of its table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.base.domain import CheckResult, Outcome
from harness.base.evidence import Evidence, Offer, Source
from harness.base.settings import Baseline, Direction, Expectation, Passport, Strict, Tolerance
from harness.statistics.decisions import detectable
from harness.statistics.estimate import Estimate
from harness.statistics.repeated_runs import sees, width_that_sees

# A baseline computed from the same integers as the measurement may differ in the last bits of a double.
_ROUNDING = 1e-9
_AS_WRITTEN = 1e-4  # a tolerance is written with four digits, rounded up
_AS_DECLARED = 0.1  # by which share the number of observations may differ before it is told


Problem = tuple[str, str]


def lacking(offer: Offer, what: str) -> Callable[[Any, frozenset[Offer]], Problem | None]:
    """The problem of an engine that does not offer something, in words."""
    return lambda _settings, offers: None if offer in offers else ("", what)


@dataclass(frozen=True)
class Check:
    """A check.

    Attributes:
        name: Of its table in ``[checks]``, and of its entry point.
        about: What it judges, in a line: the reference of case files says it.
        settings: Its table.
        judge: From its table and the evidence to one result or more, the same names in the same order whatever was
            observed. What cannot be judged is an error and never a pass.
        of_the_model: Whether its numbers are of one model, so that those of another one take their place.
        reads: What of a run it reads besides the measurement.
        problem: Why an engine that offers so much cannot be judged by these settings: the key of its table that it is
            about, empty for all of it, and what is wrong; None if it can.
        stands_for: Checks that a case with this one does not need beside it.
        weakness: Why a broken engine would pass these settings too, given the share of right answers that guessing
            scores; nothing if none is known.
    """

    name: str
    about: str
    settings: type[Strict]
    judge: Callable[[Any, Evidence], list[CheckResult]]
    of_the_model: bool = False
    reads: frozenset[Source] = frozenset()
    stands_for: frozenset[str] = frozenset()
    problem: Callable[[Any, frozenset[Offer]], Problem | None] = lambda _settings, _offers: None
    weakness: Callable[[Any, float], Iterable[str]] = lambda _settings, _guessed: ()


def bounds(expected: float, direction: Direction, tolerance: Tolerance) -> tuple[float, float | None]:
    """The lowest and the highest value that pass; None: no value is too high."""
    width = tolerance.width(expected) + _ROUNDING
    return expected - width, None if direction == "at-least" else expected + width


@dataclass(frozen=True)
class Spread:
    """How sure a measured value is.

    Attributes:
        estimate: Its interval, over what may be taken as independent.
        of: What that is: ``items``, ``drafts``.
        known: Whether every answer is known beforehand, so that equal runs cannot differ.
    """

    estimate: Estimate
    of: str
    known: bool = False

    @property
    def ends(self) -> tuple[float, float]:
        """Of the interval."""
        return self.estimate.low, self.estimate.high


_PROVISIONAL = "provisional: measured, not judged; `harness calibrate` makes a baseline of it"


def against(
    name: str,
    value: float,
    n: int,
    *,
    expected: float,
    settings: Expectation,
    unit: str = "",
    position: int | None = None,
    spread: Spread | None = None,
) -> CheckResult:
    """Judge ``value``, observed ``n`` times, against ``expected``. What was never observed cannot be judged.

    Args:
        name: Of the result.
        value: What was measured.
        n: Observations behind it.
        expected: What should have been.
        settings: How far from it is too far, and what the baseline was measured on.
        unit: Of the values.
        position: Which of the values of the passport is meant, where it has one a position.
        spread: How sure ``value`` is.
    """
    if n < 1:
        return unmeasured(name, f"nothing to judge: {n} observations")
    low, high = bounds(expected, settings.direction, settings)
    width = settings.width(expected)  # as it was meant: what is allowed for rounding is no part of it
    provisional = settings.status == "provisional"
    held = low <= value and (high is None or value <= high)
    there = settings.passport if not provisional and not position else None
    excluded = not held or _excludes(value, expected, there)
    undecided = "" if excluded or provisional else _UNDECIDED
    return CheckResult(
        name=name,
        outcome=(
            Outcome.MEASURED
            if provisional
            else Outcome.FAIL
            if not held
            else Outcome.PASS
            if excluded
            else Outcome.INCONCLUSIVE
        ),
        measured=value,
        expected=expected,
        low=None if provisional else expected - width,
        high=None if high is None or provisional else expected + width,
        n=n,
        unit=unit,
        direction=settings.direction,
        message=_PROVISIONAL if provisional else undecided,
        interval=spread.ends if spread else None,
        interval_of=spread.of if spread else "",
        detects=least_loss(expected, n, settings, spread, position),
        false_alarm=settings.passport.false_alarm if settings.passport and not provisional else None,
        status="" if settings.status == "gating" else settings.status,
        margin=there.margin * abs(expected) if there and there.margin else None,
        power=there.power if there and there.margin else None,
    )


_UNDECIDED = (
    "no equal run is excluded, and no loss of the margin: raise --family-wise, run fewer cases at once, or calibrate "
    "with more runs"
)


def _excludes(value: float, expected: float, there: Passport | None) -> bool:
    """Whether a value excludes a loss of the margin, where its baseline names one: a test of non-inferiority.

    A bound that shares its rate of false alarms with many others may be too wide for that.
    """
    if there is None or there.margin is None or there.runs < 2 or isinstance(there.noise, list):
        return True
    width = width_that_sees(there.margin * abs(expected), there.noise, there.runs, there.power)
    return value >= expected - max(width, 0.0) - _AS_WRITTEN * abs(expected)


def least_loss(
    expected: float, n: int, settings: Expectation, spread: Spread | None, position: int | None = None
) -> float | None:
    """The least loss that the bound sees 95 times of 100; None where nothing is known of the noise.

    The noise is that between equal runs where the baseline was measured, and none where every answer is known. Else it
    is that of other items of the same kind, which is more than equal runs on fixed items differ by.
    """
    if settings.status in ("floor", "provisional"):
        return None  # what is expected is no figure that a loss could be counted from, or nothing is judged
    width = settings.width(expected)
    if there := settings.passport:
        if there.looks and there.margin is not None and position is None:
            return there.margin * abs(expected)  # which is what a look has to exclude before it passes
        noise = there.noise[position or 0] if isinstance(there.noise, list) else there.noise
        return sees(width, noise, there.runs) if there.runs > 1 else None
    if spread is None:
        return None
    return max(width, 1 / n) if spread.known else detectable(width, spread.estimate.error)


def baseline(
    name: str, value: float, n: int, settings: Baseline, unit: str = "", spread: Spread | None = None
) -> CheckResult:
    """Judge ``value`` against a whole baseline table."""
    return against(name, value, n, expected=settings.expected, settings=settings, unit=unit, spread=spread)


def declared(result: CheckResult, number: int, counted: int, what: str) -> CheckResult:
    """The same; where the baseline says another number of observations than there were, saying so."""
    if abs(counted - number) <= _AS_DECLARED * number or result.outcome is Outcome.ERROR:
        return result
    said = f"the baseline is of {number} {what}, this run of {counted}"
    if result.outcome is Outcome.FAIL:  # its numbers are the message
        return replace(result, details="\n".join(filter(None, [said, result.details])))
    return replace(result, message="; ".join(filter(None, [said, result.message])))


def unmeasured(name: str, reason: str) -> CheckResult:
    """The result of a check whose measurement could not be taken."""
    return CheckResult(name=name, outcome=Outcome.ERROR, message=f"could not be judged: {reason}")


def first(lines: Sequence[str], most: int = 3) -> str:
    """The first of some lines as a message, and how many more there are."""
    more = f"; and {len(lines) - most} more" if len(lines) > most else ""
    return "; ".join(lines[:most]) + more


_MOST = 0.5  # the share of what an expected value says that a tolerance may take away


def too_low(settings: Baseline, least: float, passes: str) -> Iterable[str]:
    """Why a lower bound catches nothing, where a broken engine comes to ``least``."""
    low, _ = bounds(settings.expected, settings.direction, settings)
    if low <= least:
        yield passes
    elif low < least + (1 - _MOST) * (settings.expected - least):
        yield f"its tolerance of {settings.width(settings.expected):g} takes more than half of what is expected"
