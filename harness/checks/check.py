"""What a check is, and one number against one baseline, which most of them come down to.

A check is one module: the table of its settings in ``[checks]``, the evidence it reads, and its judgement. It is found
through an entry point of the group ``harness.checks`` whose name is that of its table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.base.domain import CheckResult, Outcome
from harness.base.evidence import Evidence, Offer, Source
from harness.base.settings import Baseline, Direction, Strict, Tolerance

# A baseline computed from the same integers as the measurement may differ in the last bits of a double.
_ROUNDING = 1e-9


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


def against(
    name: str,
    value: float,
    n: int,
    *,
    expected: float,
    direction: Direction,
    tolerance: Tolerance,
    unit: str = "",
) -> CheckResult:
    """Judge ``value``, observed ``n`` times, against ``expected``. What was never observed cannot be judged."""
    if n < 1:
        return unmeasured(name, f"nothing to judge: {n} observations")
    low, high = bounds(expected, direction, tolerance)
    width = tolerance.width(expected)  # as it was meant: what is allowed for rounding is no part of it
    return CheckResult(
        name=name,
        outcome=Outcome.PASS if low <= value and (high is None or value <= high) else Outcome.FAIL,
        measured=value,
        expected=expected,
        low=expected - width,
        high=None if high is None else expected + width,
        n=n,
        unit=unit,
        direction=direction,
    )


def baseline(name: str, value: float, n: int, settings: Baseline, unit: str = "") -> CheckResult:
    """Judge ``value`` against a whole baseline table."""
    return against(
        name, value, n, expected=settings.expected, direction=settings.direction, tolerance=settings, unit=unit
    )


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
