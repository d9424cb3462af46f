"""``assert``: from the files of a run to its verdict. Needs no engine, no network and not the machine of the run."""

from __future__ import annotations

from harness import __version__
from harness.ground import secrets
from harness.ground.domain import CheckResult, Outcome, Sample, Stage, StageRecord
from harness.mechanism import files
from harness.policy.checks import compare, judge_all, unjudged, validity
from harness.policy.report import junit
from harness.policy.report.result import REPORTED_STAGES, Result, Timing, conclude
from harness.run.completeness import gaps
from harness.run.measurements import disagreement, recompute
from harness.run.rundir import Prepared, RunDir
from harness.run.stages.stop import teardown

_INTERRUPTED = "interrupted by"


def judge(rundir: RunDir) -> Result:
    """Judge the run and write ``measurements.json``, ``result.json`` and ``junit.xml``."""
    prepared, stages = rundir.prepared(), rundir.stages()
    reported = [record for record in stages if record.stage is not Stage.ASSERT]
    result = conclude(
        suite=prepared.suite,
        name=prepared.name,
        platform=prepared.platform,
        started=prepared.created,
        stages=_with_those_not_run(reported),
        checks=_checks(rundir, prepared, reported),
        provenance=_provenance(prepared),
        timing=_timing(rundir, stages),
        interrupted=any(record.message.startswith(_INTERRUPTED) for record in stages),
    )
    # Checks quote what servers say: their logs, their metrics, their configuration.
    result = Result.model_validate(secrets.masked(result.model_dump(mode="json")))
    rundir.write("result", Result, result)
    files.write(rundir.junit_file, junit.render([result]))
    return result


def _checks(rundir: RunDir, prepared: Prepared, stages: list[StageRecord]) -> list[CheckResult]:
    """Every check of the case: judged if the record is whole and the evaluation passed, else skipped, with why."""
    case, stopped = prepared.case, teardown(rundir)
    of_case = case.checks, case.controls, case.comparisons
    missing, broke = gaps(rundir), _broke(stages)
    measured = None if missing else recompute(rundir)
    if measured is not None and not broke:
        if other := disagreement(rundir, measured):
            missing.append(other)
        return [*_damaged(missing), *judge_all(*of_case, measured), *stopped]
    reason = f"{broke} broke" if broke else "the record of the run is damaged or not whole"
    first, *checks = unjudged(*of_case, reason)
    if measured is not None:
        (valid,) = validity.judge(measured)
        first = valid if valid.outcome is Outcome.ERROR else first  # which requests failed is known
    checks = [first, *checks]
    if not stopped and broke:
        stopped = [CheckResult("teardown", Outcome.SKIPPED, message=f"not judged: {reason}")]
    return [*_damaged(missing), *checks, *stopped]


def _damaged(missing: list[str]) -> list[CheckResult]:
    return [compare.unmeasured("evidence", "; ".join(missing))] if missing else []


def _broke(stages: list[StageRecord]) -> str:
    """The first stage up to the evaluation that did not pass; empty if all that are on record did."""
    return next((str(each.stage) for each in stages if each.stage in REPORTED_STAGES and not _passed(each)), "")


def _passed(record: StageRecord) -> bool:
    return record.outcome is Outcome.PASS


def _with_those_not_run(stages: list[StageRecord]) -> list[StageRecord]:
    """With the stages that never began because an earlier one broke: a report without them would look complete."""
    if not (broke := _broke(stages)):
        return stages
    known = {record.stage: record for record in stages}
    not_run = {stage: StageRecord(stage, Outcome.SKIPPED, 0.0, f"not run: {broke} broke") for stage in REPORTED_STAGES}
    return [(not_run | known)[stage] for stage in Stage if stage in not_run | known]


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
