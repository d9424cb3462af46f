"""Prometheus text to named counters, and the difference between two readings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

Counters = Mapping[str, float]


@dataclass(frozen=True)
class Metric:
    """One series of an engine and the name under which the harness knows it.

    Attributes:
        name: The harness's name; one per label value, as ``NAME.VALUE``, if ``by`` is set.
        sample: Sample name on ``/metrics``, ``_total`` or ``_sum`` included, so that ``_created`` never matches.
        by: Label whose values are kept apart. All other labels (engine, rank, model) are summed over.
        scale: What one unit of the engine's is in ours.
    """

    name: str
    sample: str
    by: str = ""
    scale: float = 1.0


def read(text: str, metrics: tuple[Metric, ...]) -> dict[str, float]:
    """Counters in ``text``; a series that is not there is not in the result.

    Raises:
        ValueError: ``text`` is no Prometheus exposition text.
    """
    wanted = {metric.sample: metric for metric in metrics}
    counters: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            metric = wanted.get(sample.name)
            if metric is None:
                continue
            name = f"{metric.name}.{sample.labels[metric.by]}" if metric.by in sample.labels else metric.name
            counters[name] = counters.get(name, 0.0) + sample.value * metric.scale
    return counters


def moving(text: str, samples: tuple[str, ...]) -> tuple[str, ...]:
    """The lines of ``text`` with these samples: two readings that differ say that something moved in between."""
    found = (line for line in text.splitlines() if line.startswith(samples))
    return tuple(line for line in found if re.split(r"[{ ]", line, maxsplit=1)[0] in samples)


def went_down(before: Counters, after: Counters) -> list[str]:
    """Counters that are lower after than before: their server restarted in between."""
    return [name for name, value in before.items() if after.get(name, value) < value]


def delta(before: Counters, after: Counters) -> dict[str, float]:
    """What was counted in between. A series that appeared in between started at zero."""
    return {name: value - before.get(name, 0.0) for name, value in after.items()}


def add(parts: list[dict[str, float]]) -> dict[str, float]:
    """Sum over servers."""
    total: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, 0.0) + value
    return total
