"""Whether baselines of published models are what they say: measured, current, and neither too narrow nor too wide."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from harness.base.settings import Expectation, Past, listed
from harness.calibration.proposal import CHECKED, problems
from harness.plan.points import Planned
from harness.plan.soundness import baselines


def of_point(each: Planned, today: date | None) -> Iterator[str]:
    """Every broken rule about the baselines of one point; without ``today`` nothing is too old."""
    for key, settings in baselines(each.case).items():
        table, _, name = key.partition(".")
        if table == "checks" and name not in CHECKED:
            continue
        where = f"{each.case_file.path}: {key}"
        values = listed(getattr(settings, "expected"))  # noqa: B009 # a number, or one a position
        there = settings.passport
        if there is None:
            if table == "checks" and settings.status == "gating" and any(model.repo for model in each.case.models()):
                yield (
                    f"{where}.passport: missing on {each.platform}: nobody measured what gates; `harness calibrate` "
                    "does, or say whose figure it is: status borrowed, floor or provisional"
                )
            continue
        yield from (f"{where}: {what}" for what in problems(name, settings, values))
        yield from (f"{where}: {what}" for what in _widened(settings, values[0]))
        if today is not None and _day(there.expires) < today:
            yield f"{where}.passport.expires: {there.expires} is over; measure it again: harness calibrate {each.id}"


def _widened(settings: Expectation, value: float) -> Iterator[str]:
    """A bound that is wider than the one before it, and nobody says why."""
    if not settings.history or not value:
        return
    last = settings.history[-1]
    before = _relative(last)
    if before is not None and last.until and settings.width(value) / abs(value) > before and not last.reason:
        yield f"history: the bound was {before:.2%} until {last.until} and is wider now; reason: missing, say why"


def _relative(past: Past) -> float | None:
    first = listed(past.expected)[0]
    if past.absolute_tolerance is not None:
        return past.absolute_tolerance / abs(first) if first else None
    return past.relative_tolerance


def _day(text: str) -> date:
    """A date of a passport; one that no calendar has is long over."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return date.min
