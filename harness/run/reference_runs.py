"""Finding the stored run that a run is compared with, and making sure that the two can be compared."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.base.domain import Outcome
from harness.base.errors import UsageError
from harness.base.settings import cut
from harness.plan.points import Planned
from harness.reports.result import Result
from harness.run import measured_on, reference_record
from harness.run.completeness import gaps
from harness.run.documents import Prepared
from harness.run.evidence_files import take
from harness.run.reference_record import Reference
from harness.run.rundir import RunDir

_OPTION = "--reference"


def require(planned: Iterable[Planned], folder: Path) -> None:
    """Raise unless every point that is to run has a stored run below ``folder``, or is the one that is stored there.

    Raises:
        UsageError: One has none, or the one that is named is of another case.
    """
    for each in planned:
        if not each.skip:
            _find(folder, each.suite, each.name, each.platform)


def _find(folder: Path, suite: str, name: str, platform: str) -> RunDir:
    """The run of a point: ``folder`` itself, or the one directly in it.

    Raises:
        UsageError: There is none, or several.
    """
    where, wanted = f"{_OPTION} {cut(str(folder))}", f"{suite}/{name} on {platform}"
    if (folder / RunDir.CASE).is_file():
        there = RunDir(folder).prepared()
        if (there.suite, there.name, there.platform) != (suite, name, platform):
            raise UsageError(f"{where}: a run of {there.suite}/{there.name} on {there.platform}, not of {wanted}")
        return RunDir(folder)
    stored = [RunDir(path.parent) for path in sorted(folder.glob(f"*/{RunDir.CASE}"))]
    found = [
        each
        for each in stored
        if (there := each.prepared()) and (there.suite, there.name, there.platform) == (suite, name, platform)
    ]
    if len(found) != 1:
        has = ", ".join(each.path.name for each in found) or "no run"
        raise UsageError(f"{where}: {has} of {wanted} there; name a folder that holds one, or its run directory")
    return found[0]


def keep(folder: Path, run: RunDir) -> str:
    """Write what a run is compared with into its directory; which one that is, in words.

    Raises:
        UsageError: As :func:`compared_with`.
    """
    compared = compared_with(folder, run)
    run.write(reference_record.NAME, Reference, compared)
    run.save(run.prepared().model_copy(update={"reference": compared.digest}))
    return compared.words


def compared_with(folder: Path, run: RunDir) -> Reference:
    """What a stored run answered, for another one of the same case.

    Args:
        folder: The stored run, or a folder that holds it.
        run: The other one, whose data files are at hand, or which says what it asks.

    Raises:
        UsageError: It is of another case, asked something else or in another way, or is not whole.
    """
    here = run.prepared()
    rundir = _find(folder, here.suite, here.name, here.platform)
    there, where = rundir.prepared(), f"{_OPTION} {cut(str(rundir.path))}"
    ours = here.case.evaluation.model_dump()
    for key, value in there.case.evaluation.model_dump().items():
        if key not in ours or ours[key] != value:
            raise UsageError(f"{where}: evaluation.{key} is {value!r} there, and {ours.get(key)!r} here")
    asked = _asked(there, where)
    if asked != (here.prompts or _asked(here, str(run.path))):
        raise UsageError(f"{where}: other prompts; compare with a run that asked the same")
    result = rundir.read("result", Result)
    if result is None or result.outcome in (Outcome.ERROR, Outcome.SKIPPED):
        how = result.outcome if result else "not judged"
        raise UsageError(f"{where}: is {how}; compare with a run that came to its end")
    evidence = None if (missing := gaps(rundir)) else take(rundir)
    if evidence is None:
        raise UsageError(f"{where}: {missing[0] if missing else 'nothing was measured'}; compare with a whole run")
    return Reference(
        run=str(rundir.path),
        run_id=there.run_id,
        build=measured_on.build(there),
        created=there.created,
        prompts=asked,
        answers=reference_record.answers(there.case.evaluation, evidence.samples),
        drafted=reference_record.drafted(evidence.measured),
    )


def _asked(prepared: Prepared, where: str) -> str:
    """SHA-256 of what a run asked: as it says, or of a run of an earlier version from its data files."""
    try:
        return prepared.prompts or measured_on.prompts(prepared)
    except (OSError, UnicodeDecodeError):
        why = "does not say what it asked, and its data files are not here"
        raise UsageError(f"{where}: {why}; run it again") from None
