"""``assert``: from the files of a run to its verdict. Needs no engine, no network and not the machine of the run."""

from __future__ import annotations

from harness import __version__
from harness.ground.domain import Outcome, Sample, Stage, StageRecord
from harness.mechanism import files
from harness.policy.checks import compare, judge_all
from harness.policy.report import junit
from harness.policy.report.result import Result, Timing, conclude
from harness.run.measurements import take
from harness.run.rundir import Prepared, RunDir
from harness.run.stages.stop import teardown

_INTERRUPTED = "interrupted by"


def judge(rundir: RunDir) -> Result:
    """Judge the run and write ``measurements.json``, ``result.json`` and ``junit.xml``."""
    prepared, stages = rundir.prepared(), rundir.stages()
    measured = take(rundir)
    if measured is not None:
        checks = judge_all(prepared.case.checks, prepared.case.controls, prepared.case.comparisons, measured)
    elif all(record.outcome is Outcome.PASS for record in stages):
        checks = [compare.unmeasured("validity", "nothing was measured; run `harness eval` first")]
    else:
        checks = []  # the stage that broke is the error
    result = conclude(
        suite=prepared.suite,
        name=prepared.name,
        platform=prepared.platform,
        started=prepared.created,
        stages=[record for record in stages if record.stage is not Stage.ASSERT],
        checks=[*checks, *teardown(rundir)],
        provenance=_provenance(prepared),
        timing=_timing(rundir, stages),
        interrupted=any(record.message.startswith(_INTERRUPTED) for record in stages),
    )
    rundir.write("result", Result, result)
    files.write(rundir.junit_file, junit.render([result]))
    return result


def _provenance(prepared: Prepared) -> dict[str, str]:
    found = {"harness": __version__, "engine": prepared.case.engine.name, "run_id": prepared.run_id}
    found |= {f"version.{name}": version for name, version in prepared.versions.items()}
    found |= {f"checkpoint.{name}.sha256": made.sha256 for name, made in prepared.checkpoints.items() if made.sha256}
    found |= {f"model.{name}.revision": made.revision for name, made in prepared.checkpoints.items() if made.revision}
    found |= {f"host.{name}": value for name, value in prepared.host.items()}
    if prepared.runtime:
        found |= {"runtime": prepared.runtime.kind, "runtime.environment": prepared.runtime.environment}
        found |= {"runtime.base": prepared.runtime.base} if prepared.runtime.base else {}
        found |= {"runtime.passthrough": prepared.runtime.passthrough} if prepared.runtime.passthrough else {}
    return found


def _timing(rundir: RunDir, stages: list[StageRecord]) -> Timing:
    """Where the time went; the total ends with the last stage that ended."""
    seconds = {record.stage: record.seconds for record in stages}
    return Timing(
        total=sum(seconds.values()),
        prepare=seconds.get(Stage.PREPARE, 0.0),
        start_up=seconds.get(Stage.HEALTH_WAIT, 0.0),
        in_flight=sum(_covered(samples) for samples in _by_run(rundir.samples() or [])),
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
