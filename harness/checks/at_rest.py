"""Is an idle engine empty, and does it hold no more and more as it works? Of every engine server, of every case.

Memory, threads and open files are read when the main run begins and after each quarter of its requests. What an engine
fills once (caches, pools, what a library loads when it is first needed) it fills in the first half, or in one go. What
it loses with each request or step goes on, so growth counts where the second half has more than a bound and each of its
two quarters has a share of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise

from harness.base.domain import CheckResult, Outcome
from harness.base.evidence import Evidence, Unmeasured
from harness.base.resting import NOTHING, Footprint, Gauge, Resting
from harness.checks import check

NAME = "at_rest"

_MIB = 1 << 20
_BOUNDS: Mapping[str, tuple[float, float]] = {
    "memory_bytes": (40 * _MIB, 64 * 1024),
    "threads": (8, 0),
    "descriptors": (8, 0),
    "device_bytes": (256 * _MIB, 0),
}
"""What the second half of the main run may add, and how much more for each request of it.

Measured on vLLM 0.32.0 (CPU): docs/evidence/at-rest.md.
"""
_SHARE = 1 / 6
"""Of the growth of the second half, what each of its quarters has where it goes on: half of what would be even is a
quarter, less what one reading may be off."""
_STEADY = 1.25
"""By how much quarters of one pace may differ: what is lost with each step or request has one, and what fills something
fills it slower and slower."""
_SUDDEN = 40
"""Times the bound, at which growth counts however it came."""
_FEWEST = 16
"""Requests of a main run that growth can be told of: four a quarter."""
_RESIDENT = 512 * _MIB
"""What the process that answers may gain from before the main run to the end, and 256 KiB a request."""
_RESIDENT_EACH = 256 * 1024
_SLACK = 64 * _MIB
"""By how much two readings of the same memory may differ that were taken a moment apart."""


def judge(evidence: Evidence) -> list[CheckResult]:
    """One result, ``at_rest``: skipped where nobody can look, an error where a server of ours does not say."""
    resting = evidence.measured.resting
    if resting is None:
        return [check.unmeasured(NAME, "nobody looked at what servers hold")]
    if isinstance(resting, Unmeasured):
        return [CheckResult(NAME, Outcome.SKIPPED, message=f"not measured: {resting.reason}")]
    lacking = [f"{server} exports no {', '.join(seen.lacking)}" for server, seen in resting.items() if seen.lacking]
    gauges = [each for seen in resting.values() for each in seen.gauges if each.held != "resident"]
    grown = [seen.footprints for seen in resting.values() if _enough(seen.footprints)]
    if not gauges and not grown:
        why = "; ".join(
            lacking or ["the engine's module names nothing that says what a server holds", *_unmeasured(resting)]
        )
        return [CheckResult(NAME, Outcome.SKIPPED, message=f"not measured: {why}")]
    somebody_elses = not any(seen.footprints for seen in resting.values())
    if lacking and not somebody_elses:
        return [check.unmeasured(NAME, "; ".join(lacking))]
    wrong = [f"{server}: {what}" for server, seen in resting.items() for what in (*_held(seen.gauges), *_grew(seen))]
    measured = _numbers(resting)
    return [
        CheckResult(
            name=NAME,
            outcome=Outcome.FAIL if wrong else Outcome.PASS,
            measured=measured,
            expected={name: 0 for name in ("running", "waiting", "kv_usage") if name in measured},
            high={name: 0 for name in ("running", "waiting", "kv_usage") if name in measured},
            n=len(resting),
            unit="servers",
            direction="at-most",
            message="; ".join(wrong) or "; ".join([*lacking, *_unmeasured(resting)]),
            details="\n".join(_lines(resting)),
        )
    ]


def _held(gauges: Iterable[Gauge]) -> Iterator[str]:
    """What was still held when nothing was asked any more. What is not a number is not nothing."""
    for each in gauges:
        if each.held == "resident":
            continue
        allowed = (each.before or 0.0) if each.held == "kv_usage" else 0.0
        readings = {"before the main run": each.before, "after the main run": each.after, "at the end": each.last}
        for when, value in readings.items():
            if when == "before the main run" and each.held == "kv_usage":
                continue
            if value is None and when != "before the main run":
                yield f"{each.series} is not there {when}"
                break
            if value is not None and not abs(value) <= allowed + NOTHING:
                what = {
                    "running": "running requests",
                    "waiting": "waiting requests",
                    "kv_usage": "of the KV cache in use",
                }
                base = f", {allowed:g} before" if each.held == "kv_usage" else ""
                yield f"{value:g} {what[each.held]} {when}, when nothing was asked{base} ({each.series})"
                break


def _grew(seen: Resting) -> Iterator[str]:
    """What went on growing."""
    if _enough(seen.footprints):
        for name in _BOUNDS:
            first, second, third, fourth = _growth(seen.footprints, name)
            half, most, shown = third + fourth, _bound(seen.footprints, name), _shown(name)
            if name == "memory_bytes" and max(second, third, fourth) > _STEADY * min(second, third, fourth):
                most += max(0.0, seen.cache_bytes - max(0.0, first + second))  # what the cache has not filled yet
            if half > _SUDDEN * most or (half > most and min(third, fourth) >= _SHARE * half):
                yield (
                    f"{name.partition('_')[0]} grew by {shown(half)} in the second half of the main run, "
                    f"{shown(third)} and {shown(fourth)} a quarter, after {shown(first + second)} in the first half; "
                    f"at most {shown(most)} is allowed"
                )
    yield from _resident(seen)


def _resident(seen: Resting) -> Iterator[str]:
    """The memory that the first process says it has, against what it had and what all of its server have."""
    last = seen.footprints[-1] if seen.footprints else None
    for each in seen.gauges:
        if each.held != "resident" or each.before is None:
            continue
        allowed = each.before + _RESIDENT + _RESIDENT_EACH * (last.planned if last else 0)
        for when, value in (("after the main run", each.after), ("at the end", each.last)):
            if value is not None and not value <= allowed:
                yield f"{each.series} is {_mib(value)} {when}, {_mib(each.before)} before it"
            elif value is not None and value == each.after and last and not value <= _most(last):
                every = _mib(last.resident_bytes)
                yield f"{each.series} is {_mib(value)} {when}, more than the {every} of all processes"


def _most(footprint: Footprint) -> float:
    return 1.05 * footprint.resident_bytes + _SLACK


def _enough(footprints: tuple[Footprint, ...]) -> bool:
    return len(footprints) == 5 and footprints[-1].planned >= _FEWEST  # four quarters


def _growth(footprints: tuple[Footprint, ...], name: str) -> tuple[float, float, float, float]:
    """What each quarter added; nothing where nobody says."""
    values = [getattr(each, name) for each in footprints]
    if None in values:
        return 0.0, 0.0, 0.0, 0.0
    one, two, three, four = (after - before for before, after in pairwise(values))
    return one, two, three, four


def _bound(footprints: tuple[Footprint, ...], name: str) -> float:
    fixed, each = _BOUNDS[name]
    return fixed + each * footprints[-1].planned / 2


def _numbers(resting: Mapping[str, Resting]) -> dict[str, float]:
    """The most of any server."""
    found: dict[str, float] = {}
    for seen in resting.values():
        for gauge in seen.gauges:
            values = [abs(value) for value in (gauge.after, gauge.last) if value is not None]
            if gauge.held != "resident" and values:
                found[gauge.held] = max(found.get(gauge.held, 0.0), *values)
    for name in _BOUNDS:
        halves = [sum(_growth(seen.footprints, name)[2:]) for seen in resting.values() if _enough(seen.footprints)]
        known = any(getattr(seen.footprints[0], name) is not None for seen in resting.values() if seen.footprints)
        if halves and known:
            unit, scale = ("memory_mib", _MIB) if name == "memory_bytes" else (name, 1)
            unit, scale = ("device_mib", _MIB) if name == "device_bytes" else (unit, scale)
            found[f"{unit}_gained"] = round(max(halves) / scale, 1)
    return found


def _unmeasured(resting: Mapping[str, Resting]) -> Iterator[str]:
    """What a pass does not speak of."""
    asked = [seen.footprints[-1].planned for seen in resting.values() if seen.footprints]
    if not asked:
        yield "memory, threads and open files not measured: the servers do not run here"
    elif not any(_enough(seen.footprints) for seen in resting.values()):
        few = max(asked) < _FEWEST
        why = f"{max(asked)} requests are too few, {_FEWEST} would do" if few else "it was decided before all was asked"
        yield f"growth not measured: {why}"


def _lines(resting: Mapping[str, Resting]) -> Iterator[str]:
    """Memory, threads and files of each server, reading by reading."""
    for server, seen in resting.items():
        for each in seen.footprints:
            device = "" if each.device_bytes is None else f", {_mib(each.device_bytes)} on its devices"
            yield (
                f"{server}, {each.done} of {each.planned}: {_mib(each.memory_bytes)}, {each.threads} threads, "
                f"{each.descriptors} open files{device}"
            )


def _shown(name: str) -> Callable[[float], str]:
    return _mib if name.endswith("_bytes") else lambda value: f"{value:g}"


def _mib(amount: float) -> str:
    return f"{amount / _MIB:.1f} MiB"
