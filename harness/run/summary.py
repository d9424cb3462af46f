"""What a folder of run directories says, for the summary of a CI job."""

from __future__ import annotations

from pathlib import Path

from harness.ground.errors import NothingSelected, UsageError
from harness.policy.report import junit, markdown
from harness.policy.report.result import Result
from harness.run.rundir import RunDir


def summary(runs: Path) -> str:
    """Markdown about every run directory below ``runs``, and about what was skipped.

    Raises:
        NothingSelected: There is none.
        UsageError: A file is not what the harness wrote.
    """
    # A point that broke before its directory was whole has a verdict and no case.
    folders = sorted({path.parent for name in ("case", "result") for path in runs.glob(f"**/{name}.json")})
    judged = {folder: RunDir(folder).read("result", Result) for folder in folders}
    reports = sorted(path for path in runs.glob("**/junit.xml") if path.parent not in judged)
    skipped = [each for path in reports for each in _skipped_in(path)]
    if not judged and not skipped:
        raise NothingSelected(f"{runs}: no run directory there; nothing ran, or it broke before the first case")
    results = [result for result in judged.values() if result is not None]
    unjudged = [folder.name for folder, result in judged.items() if result is None]
    return markdown.render([*results, *skipped], unjudged)


def _skipped_in(path: Path) -> list[Result]:
    try:
        return junit.skipped_in(path.read_bytes())
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None
