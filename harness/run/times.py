"""Where the time of a run went, from its record."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from harness.base.domain import Sample, Stage, StageRecord
from harness.base.errors import UsageError
from harness.reports.result import Timing
from harness.run.rundir import RunDir


def timing(rundir: RunDir, stages: Sequence[StageRecord]) -> Timing:
    """Where the time went; the total ends with the last stage that ended."""
    seconds = {record.stage: record.seconds for record in stages}
    samples: list[Sample] = []
    with suppress(UsageError):  # a gap of the record, which says so
        samples = rundir.samples() or []
    return Timing(
        total=sum(seconds.values()),
        prepare=seconds.get(Stage.PREPARE, 0.0),
        start_up=seconds.get(Stage.HEALTH_WAIT, 0.0),
        in_flight=sum(_covered(each) for each in _by_run(samples)),
        stop=seconds.get(Stage.STOP, 0.0),
    )


def _by_run(samples: list[Sample]) -> list[list[Sample]]:
    names = sorted({sample.run for sample in samples})  # sums of floats depend on their order
    return [[sample for sample in samples if sample.run == name] for name in names]


def _covered(samples: list[Sample]) -> float:
    """Seconds during which at least one of the requests was in flight."""
    covered, until = 0.0, 0.0
    for started, ended in sorted((sample.started, sample.started + sample.seconds) for sample in samples):
        covered += max(0.0, ended - max(started, until))
        until = max(until, ended)
    return covered
