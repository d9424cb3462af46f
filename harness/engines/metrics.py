"""Prometheus text to named counters, and the difference between two readings."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

Counters = Mapping[str, float]
_PROCESS_START = "process_start_time_seconds"
_SAME_START = 1.0  # seconds: two readings of one start may differ in how they were rounded
_MOST = 2.0**53


@dataclass(frozen=True)
class Metric:
    """One series of an engine and the name under which the harness knows it.

    Attributes:
        name: The harness's name; one per label value, as ``NAME.VALUE``, if ``by`` is set.
        sample: Sample name on ``/metrics``, ``_total`` or ``_sum`` included, so that ``_created`` never matches.
        by: Label whose values are kept apart. All other labels (engine, rank, model) are summed over.
        scale: What one unit of the engine's is in ours.
        since: First version of the engine that has it, if older ones are fine without.
    """

    name: str
    sample: str
    by: str = ""
    scale: float = 1.0
    since: str = ""


def read(text: str, metrics: tuple[Metric, ...]) -> dict[str, float]:
    """Counters in ``text``; a series that is not there is not in the result.

    Raises:
        ValueError: ``text`` is no Prometheus exposition text.
    """
    wanted = {metric.sample: metric for metric in metrics}
    counters: dict[str, float] = {}
    seen = set()
    for sample in _samples(text):
        metric = wanted.get(sample.name)
        if metric is not None and (not metric.by or metric.by in sample.labels):
            series = (sample.name, *sorted(sample.labels.items()))
            if series in seen:
                raise ValueError(f"{sample.name} is there twice with the same labels")
            seen.add(series)
            name = f"{metric.name}.{sample.labels[metric.by]}" if metric.by else metric.name
            counters[name] = counters.get(name, 0.0) + sample.value * metric.scale
    return counters


def absent(text: str, metrics: tuple[Metric, ...]) -> dict[str, str]:
    """What each of ``metrics`` that ``text`` lacks is called there, in words, and what it has that is similar, by name.

    Raises:
        ValueError: ``text`` is no Prometheus exposition text.
    """
    labels: dict[str, set[str]] = {}
    for sample in _samples(text):
        labels.setdefault(sample.name, set()).update(sample.labels)
    names = [name for name in labels if not name.endswith(("_created", "_bucket"))]
    found = {}
    for metric in metrics:
        if metric.sample not in labels:
            similar = difflib.get_close_matches(metric.sample, names, n=3, cutoff=0.75)
            found[metric.name] = metric.sample + (f"; similar there: {', '.join(similar)}" if similar else "")
        elif metric.by and metric.by not in labels[metric.sample]:
            has = ", ".join(sorted(labels[metric.sample])) or "none"
            found[metric.name] = f"{metric.sample} has no label {metric.by}; it has {has}"
    return found


def infos(text: str) -> dict[str, tuple[dict[str, str], ...]]:
    """Labels of every series of each sample, by its name: of a metric that has only labels to say, what it says.

    Raises:
        ValueError: ``text`` is no Prometheus exposition text.
    """
    found: dict[str, tuple[dict[str, str], ...]] = {}
    for sample in _samples(text):
        told = (sample.labels,) if sample.name.endswith("_info") else ()
        found[sample.name] = (*found.get(sample.name, ()), *told)
    return found


def moving(text: str, samples: tuple[str, ...]) -> tuple[str, ...]:
    """The lines of ``text`` with these samples: two readings that differ say that something moved in between."""
    found = (line for line in text.splitlines() if line.startswith(samples))
    return tuple(line for line in found if re.split(r"[{ ]", line, maxsplit=1)[0] in samples)


def gauges(text: str, samples: Mapping[str, str]) -> dict[str, float]:
    """What gauges stand at, by the names that ``samples`` gives them, summed over labels; those that are there.

    Raises:
        ValueError: ``text`` is no Prometheus exposition text.
    """
    found: dict[str, float] = {}
    names = {sample: name for name, sample in samples.items()}
    for sample in _samples(text):
        if name := names.get(sample.name):
            found[name] = found.get(name, 0.0) + sample.value
    return found


def _samples(text: str) -> Iterator[Sample]:
    """Every sample in ``text``. The parser checks as it goes, and says in many ways that something is wrong."""
    try:
        for family in text_string_to_metric_families(text):
            yield from family.samples
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"no Prometheus text: {error}") from None


def uncountable(counters: Counters) -> list[str]:
    """Counters whose value nothing can have counted: NaN, infinite, beyond a double's precision, or a part of a thing.

    Of bytes there may be parts: an engine that counts them in megabytes rounds.
    """
    return [
        name
        for name, value in counters.items()
        if not abs(value) <= _MOST or (name != "transfer_bytes" and value != int(value))
    ]


def series(text: str, metrics: tuple[Metric, ...]) -> dict[str, float]:
    """Every series of ``metrics`` on its own, by sample name and labels, and when the process began if it says so.

    Raises:
        ValueError: ``text`` is no Prometheus exposition text.
    """
    wanted = {metric.sample for metric in metrics} | {_PROCESS_START}
    return {_spelt(sample.name, sample.labels): sample.value for sample in _samples(text) if sample.name in wanted}


def _spelt(name: str, labels: Mapping[str, str]) -> str:
    said = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{said}}}" if said else name


def restarted(before: Counters, after: Counters) -> str:
    """Why what counted ``before`` is not what counted ``after``, in words; empty if it may be.

    Each series is looked at by itself: in a sum, one rank that began anew hides behind the growth of the others.

    Args:
        before: What :func:`series` found in the first reading.
        after: The same in the second.
    """
    for name, value in before.items():
        if name not in after:
            return f"{name} is gone"
        if name == _PROCESS_START:
            if abs(after[name] - value) > _SAME_START:
                return f"{name} changed from {value:.0f} to {after[name]:.0f}"
        elif after[name] < value:
            return f"{name} went down from {value:g} to {after[name]:g}"
    return ""


def delta(before: Counters, after: Counters) -> dict[str, float]:
    """What was counted in between. A series that appeared in between started at zero."""
    return {name: value - before.get(name, 0.0) for name, value in after.items()}


def add(parts: Iterable[Counters]) -> dict[str, float]:
    """Sum over servers."""
    total: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, 0.0) + value
    return total
