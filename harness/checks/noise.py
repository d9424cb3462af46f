"""How close a bound may be to a measured baseline: no closer than equal runs differ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from harness.base.settings import Expectation, listed
from harness.statistics.repeated_runs import reach

_SAME_NUMBERS = 0.005
"""A bound is never closer than this share: equal runs of one build may not differ at all, and another build that is
as good adds in another order. Equal runs on fixed prompts were seen to differ by 0.0 to 0.3 %."""
_SAME_ITEMS = 1.5
"""Nor closer than so many items, of a share of items."""


def least_width(value: float, n: int, *, of_items: bool, part: float = 1.0) -> float:
    """The narrowest bound there is, whatever the noise, in the unit of the value.

    Args:
        value: The expected one.
        n: Items, of a share of items.
        of_items: Whether it is a share of items.
        part: Of everything that is asked, what had been by then. Texts that another order of adding changes matter the
            more the fewer there are: their sum grows with the root of their number.
    """
    return max(_SAME_NUMBERS * abs(value) / math.sqrt(part), _SAME_ITEMS / n if of_items else 0.0)


def noise_width(
    value: float, noise: float, runs: int, n: int, false_alarm: float, *, of_items: bool, two_sided: bool
) -> float:
    """The narrowest bound that equal runs cross no more often than stated, in the unit of the value.

    Args:
        value: The expected one.
        noise: Standard deviation from run to run.
        runs: From so many runs.
        n: Items, of a share of items.
        false_alarm: How often at most.
        of_items: Whether it is a share of items.
        two_sided: Whether there is a bound on either side.
    """
    least = least_width(value, n, of_items=of_items)
    return max(least, reach(runs, false_alarm, two_sided=two_sided) * noise) if runs > 1 else float("inf")


def of_items(check: str) -> bool:
    """Whether the values of a check are shares of items: all others are of drafts."""
    return not check.startswith("acceptance")


def sharing(configured: Mapping[str, Any], share: float) -> dict[str, Any]:
    """Settings of checks by name, each measured baseline with so much of the false-alarm rate that it states.

    Where many checks share one rate, each has less of it, and a bound that its noise needs is wider (Bonferroni).
    """
    return {
        name: _sharing(name, each, share) if isinstance(each, Expectation) and each.passport and share < 1 else each
        for name, each in configured.items()
    }


def _sharing(check: str, settings: Expectation, share: float) -> Expectation:
    there = settings.passport
    assert there is not None
    rate, values = there.false_alarm * share, listed(getattr(settings, "expected"))  # noqa: B009 # one, or one a position
    widths = [
        noise_width(
            value, noise, there.runs, settings.n, rate / (len(there.looks) + 1),
            of_items=of_items(check), two_sided=settings.direction == "two-sided",
        )
        for value, noise in zip(values, listed(there.noise), strict=False)
    ]  # fmt: skip
    if settings.absolute_tolerance is not None:
        key, needed, now = "absolute_tolerance", max(widths), settings.absolute_tolerance
    else:
        needed = max((width / abs(value) for width, value in zip(widths, values, strict=False) if value), default=0.0)
        key, now = "relative_tolerance", settings.relative_tolerance or 0.0
    passport = there.model_copy(update={"false_alarm": rate})
    return settings.model_copy(update={key: max(needed, now), "passport": passport})
