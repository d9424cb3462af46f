"""``assert``: from the files of a run to its verdict. Needs no engine, no network and not the machine of the run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from harness.base import secrets
from harness.base.activity import Reading
from harness.base.domain import CheckResult, Outcome, Stage, StageRecord
from harness.base.errors import UsageError
from harness.base.evidence import Evidence
from harness.checks import judge_all, validity
from harness.checks import unjudged as not_judged
from harness.checks.check import unmeasured
from harness.engines.capabilities import FLAGS, Capabilities
from harness.host import files
from harness.reports import junit
from harness.reports.result import REPORTED_STAGES, Result, conclude, skipped
from harness.run import look_records, new_warnings, provenance, telemetry
from harness.run.completeness import gaps
from harness.run.evidence_files import disagreement, measurements_file, rendered, take
from harness.run.measured_on import as_judged
from harness.run.reference_record import Reference
from harness.run.rundir import Prepared, RunDir
from harness.run.stages.stop import teardown
from harness.run.times import timing

REJUDGED = "rejudged.json"
"""The verdict of a judge that came when the run was over."""

Also = Callable[[Result], Mapping[Path, bytes]]
"""What else must be on the disk before a verdict counts."""


def judge(
    rundir: RunDir, *, known: Sequence[StageRecord] = (), also: Also = lambda _: {}, strict: bool = False
) -> Result:
    """Judge the run and write ``measurements.json``, ``junit.xml`` and ``result.json``: all of them, or none.

    Args:
        rundir: Of the run. Whatever is damaged in it but ``case.json`` is an error in the verdict.
        strict: A document that cannot be read is an error of the caller instead, and nothing is written.
        known: Stages that broke, as who ran them knows; on a full disk the record may not.
        also: What is written with them.

    Raises:
        UsageError: ``case.json`` is damaged, or, if ``strict``, another document; or a folder is where a file is to be
            written.
        OSError: A file cannot be written.
    """
    result, measured = _judged(rundir, known, strict=strict)
    contents: dict[Path, bytes] = {}
    if measured is not None and not os.path.lexists(measurements_file(rundir)):
        contents[measurements_file(rundir)] = measured
    _write({**contents, rundir.junit_file: junit.render([result]), **also(result)}, rundir.path / "result.json", result)
    return result


def judge_again(rundir: RunDir, recorded: Result, reference: Reference | None = None) -> Result:
    """Judge a run that is over, and write ``rejudged.xml`` and ``rejudged.json`` beside its verdict.

    Args:
        rundir: Of the run.
        recorded: Its verdict, which stays. What broke then is not mended by judging again.
        reference: A run to compare it with, instead of the one that it was given, if any.

    Raises:
        UsageError: A document cannot be read.
        OSError: The files cannot be written.
    """
    broken = [each for each in recorded.stages if each.outcome is Outcome.ERROR]
    result, _ = _judged(rundir, broken, strict=True, reference=reference)
    path = rundir.path / REJUDGED
    _write({path.with_suffix(".xml"): junit.render([result])}, path, result)
    return result


def unjudged(rundir: RunDir, reason: str, known: Sequence[StageRecord], also: Also) -> Result:
    """The verdict where there can be none: an error, written if it can be."""
    stages = _merged(_stages(rundir), known)
    checks = [unmeasured("evidence", reason), *_teardown(rundir)]
    result = _concluded(rundir, stages, checks, telemetry.readings(rundir))
    with suppress(OSError, UsageError):
        _write({rundir.junit_file: junit.render([result]), **also(result)}, rundir.path / "result.json", result)
    return result


def left_out(rundir: RunDir, reason: str, also: Also) -> Result:
    """The verdict on a point that does not exist on the build that is there.

    Raises:
        OSError: It cannot be written.
    """
    prepared = rundir.prepared()
    result = skipped(
        suite=prepared.suite,
        name=prepared.name,
        platform=prepared.platform,
        started=prepared.created,
        reason=reason,
        provenance=provenance.of_run(rundir) if prepared.reused else {},
    )
    _write({rundir.junit_file: junit.render([result]), **also(result)}, rundir.path / "result.json", result)
    return result


def _write(contents: Mapping[Path, bytes], last: Path, result: Result) -> None:
    """Put everything in place that is not there already, the verdict last: where it is, all is."""
    for path in (*contents, last):
        if path.is_dir():
            raise UsageError(f"{path}: a folder, where a file of the verdict goes; remove it")
    wanted = {**contents, last: result.model_dump_json(indent=2).encode() + b"\n"}
    files.write_all({path: content for path, content in wanted.items() if not _holds(path, content)})


def _holds(path: Path, content: bytes) -> bool:
    with suppress(files.Unreadable):
        return files.read(path) == content
    return False


def _judged(
    rundir: RunDir, known: Sequence[StageRecord], *, strict: bool, reference: Reference | None = None
) -> tuple[Result, bytes | None]:
    """The verdict, and ``measurements.json`` as it would be."""
    seen = telemetry.readings(rundir)
    stages = telemetry.blamed(_merged(rundir.stages() if strict else _stages(rundir), known), seen)
    checks, evidence = _checks(rundir, rundir.prepared(), stages, reference, strict=strict)
    return _concluded(rundir, stages, checks, seen), None if evidence is None else rendered(evidence.measured)


def _merged(recorded: Iterable[StageRecord], known: Iterable[StageRecord]) -> list[StageRecord]:
    """How each stage ended, in order; what broke counts more than what is on record."""
    found = {record.stage: record for record in recorded}
    found |= {
        each.stage: each for each in known if each.stage not in found or found[each.stage].outcome is not Outcome.ERROR
    }
    return [found[stage] for stage in Stage if stage in found]


def _stages(rundir: RunDir) -> list[StageRecord]:
    try:
        return rundir.stages()
    except UsageError:
        return []  # a gap of the record, which says so


def _teardown(rundir: RunDir) -> list[CheckResult]:
    try:
        return teardown(rundir)
    except UsageError as error:
        return [unmeasured("teardown", str(error))]


def _concluded(
    rundir: RunDir, stages: Sequence[StageRecord], checks: Sequence[CheckResult], seen: Sequence[Reading]
) -> Result:
    prepared = rundir.prepared()
    result = conclude(
        suite=prepared.suite,
        name=prepared.name,
        platform=prepared.platform,
        started=prepared.created,
        stages=_with_those_left_out(
            _with_those_not_run([record for record in stages if record.stage is not Stage.ASSERT]), prepared
        ),
        checks=[*checks, *telemetry.judged(seen)],
        provenance=provenance.of_run(rundir) | telemetry.provenance(seen),
        timing=timing(rundir, stages),
        interrupted=any(record.interrupted for record in stages),
    )
    if result.outcome is Outcome.PASS:
        beside = new_warnings.provenance(rundir)
        result = result.model_copy(update={"provenance": dict(sorted((result.provenance | beside).items()))})
    # Checks quote what servers say: their logs, their metrics, their configuration.
    return Result.model_validate(secrets.masked(result.model_dump(mode="json")))


def _checks(
    rundir: RunDir, prepared: Prepared, stages: Sequence[StageRecord], reference: Reference | None, *, strict: bool
) -> tuple[list[CheckResult], Evidence | None]:
    """Every check of the case: judged if the record is whole and the evaluation passed, else skipped, with why."""
    case, stopped = prepared.case, teardown(rundir) if strict else _teardown(rundir)
    of_case = case.checks, case.controls, case.comparisons
    asked = _not_verified(rundir, strict=strict)
    broke, evidence = _broke(stages), None
    missing: list[str] = []
    try:
        evidence = take(rundir, reference)
        missing = gaps(rundir)
    except UsageError as error:
        if strict:
            raise
        missing = [str(error)]
    if missing:
        evidence = None
    if evidence is not None and not broke:
        others = disagreement(rundir, evidence.measured), look_records.misjudged(prepared, evidence.measured)
        missing += filter(None, others)
        found = as_judged(judge_all(*of_case, evidence), evidence, prepared)
        return [*_damaged(missing), *found, *stopped, *asked], evidence
    reason = f"{broke} broke" if broke else "the record of the run is damaged or not whole"
    first, *checks = not_judged(*of_case, reason)
    if evidence is not None:
        (valid,) = validity.judge(evidence)
        first = valid if valid.outcome is Outcome.ERROR else first  # which requests failed is known
    checks = [first, *checks]
    if not stopped and broke:
        stopped = [CheckResult("teardown", Outcome.SKIPPED, message=f"not judged: {reason}")]
    return [*_damaged(missing), *checks, *stopped, *asked], evidence


def _not_verified(rundir: RunDir, *, strict: bool) -> list[CheckResult]:
    """What could not be verified before the servers were started: the check is there only then."""
    try:
        known = rundir.read("capabilities", Capabilities)
    except UsageError as error:
        if strict:
            raise
        return [unmeasured(FLAGS, str(error))]
    return [CheckResult(FLAGS, Outcome.SKIPPED, message=known.not_verified)] if known and known.not_verified else []


def _damaged(missing: list[str]) -> list[CheckResult]:
    return [unmeasured("evidence", "; ".join(missing))] if missing else []


def _broke(stages: Sequence[StageRecord]) -> str:
    """The first stage up to the evaluation that did not pass; empty if all that are on record did."""
    return next((str(each.stage) for each in stages if each.stage in REPORTED_STAGES and not _passed(each)), "")


def _passed(record: StageRecord) -> bool:
    return record.outcome is Outcome.PASS


_SOMEBODY_ELSES = "not run: somebody else runs the servers"


def _with_those_left_out(stages: list[StageRecord], prepared: Prepared) -> list[StageRecord]:
    """With the stages that are none of ours where somebody else runs the servers."""
    if not prepared.attached:
        return stages
    left_out = {stage: StageRecord(stage, Outcome.SKIPPED, 0.0, _SOMEBODY_ELSES) for stage in (Stage.SERVE, Stage.STOP)}
    known = left_out | {record.stage: record for record in stages}
    return [known[stage] for stage in Stage if stage in known]


def _with_those_not_run(stages: list[StageRecord]) -> list[StageRecord]:
    """With the stages that never began because an earlier one broke: a report without them would look complete."""
    if not (broke := _broke(stages)):
        return stages
    known = {record.stage: record for record in stages}
    not_run = {stage: StageRecord(stage, Outcome.SKIPPED, 0.0, f"not run: {broke} broke") for stage in REPORTED_STAGES}
    return [(not_run | known)[stage] for stage in Stage if stage in not_run | known]
