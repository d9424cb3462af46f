"""Numbers of a check as people read them: the one place where they become text."""

from __future__ import annotations

from collections.abc import Mapping

from harness.base.domain import CheckResult, Number, Outcome, Value


def show(value: Value | Mapping[str, Value] | None) -> str:
    """A value, or values by name: of a number enough digits to see a difference, no more. Of None nothing."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {show(each)}" for name, each in value.items())
    if isinstance(value, bool):
        return str(value).lower()
    # A count is exact, however long it is.
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def bound(check: CheckResult) -> str:
    """What passes."""
    low, high = check.low, check.high
    if isinstance(low, Mapping) or isinstance(high, Mapping):
        return _named(check, low if isinstance(low, Mapping) else {}, high if isinstance(high, Mapping) else {})
    if check.direction in ("equal", "not-equal"):
        return f"{'' if check.direction == 'equal' else 'not '}{show(check.expected)} on every engine server"
    return _range(low, high)


def _named(check: CheckResult, low: Mapping[str, Number], high: Mapping[str, Number]) -> str:
    """The bounds by name; what must be as it is expected, the column beside says."""
    expected = check.expected if isinstance(check.expected, Mapping) else {}
    bounds = {name: (low.get(name), high.get(name)) for name in {**low, **high}}
    told = {name: each for name, each in bounds.items() if each != (expected.get(name), expected.get(name))}
    parts = [f"{name} {_range(*each)}" for name, each in told.items()]
    return ", ".join([*parts, *(["the rest equal"] if parts and len(told) < len(bounds) else [])]) or "equal"


def _range(low: Number | None, high: Number | None) -> str:
    match low, high:
        case None, None:
            return ""
        case _, None:
            return f">= {show(low)}"
        case None, _:
            return f"<= {show(high)}"
    return f"exactly {show(low)}" if low == high else f"{show(low)} .. {show(high)}"


def message(check: CheckResult) -> str:
    """Why it did not pass: what the check says, or where it says nothing, its numbers; empty if it did."""
    if check.message or check.outcome is not Outcome.FAIL:
        return check.message
    parts = [bound(check), f"n = {check.n}" if check.n else ""]
    unit = f" {check.unit}" if check.unit and check.unit != "share" else ""
    return (
        f"{check.name} is {show(check.measured)}{unit}, expected {show(check.expected)} "
        f"({', '.join(filter(None, parts))})"
    )


def interval(check: CheckResult) -> str:
    """The 95 % interval of what was measured."""
    return "" if check.interval is None else " .. ".join(f"{end:.4g}" for end in check.interval)


def detects(check: CheckResult) -> str:
    """The least loss that is seen 95 times of 100: in the unit of the value, and as a share of what is expected."""
    return _lost(check, check.detects)


def _lost(check: CheckResult, loss: float | None) -> str:
    """A loss of what is expected; empty where there is none."""
    if loss is None:
        return ""
    whole = check.expected if isinstance(check.expected, int | float) else 0
    share = f" ({loss / abs(whole):.1%})" if whole else ""
    return f"-{loss:.3g}{share}"


def shown(check: CheckResult) -> dict[str, str]:
    """What is told of a check as text, by name, ``measured`` first; what says nothing is left out."""
    values = {
        "measured": show(check.measured),
        "interval": interval(check),
        "expected": show(check.expected),
        "bound": bound(check),
        "n": str(check.n) if check.n else "",
        "detects": detects(check),
        "interval_of": check.interval_of,
        "false_alarm": show(check.false_alarm),
        "margin": _lost(check, check.margin),
        "power": show(check.power),
        "look": f"{check.look} of {check.looks}" if check.looks else "",
        "status": check.status,
    }
    return {name: text for name, text in values.items() if text}
