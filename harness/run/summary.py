"""What a folder of run directories says, for the summary of a CI job."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from harness.base.errors import NothingSelected, UsageError
from harness.reports import junit, markdown
from harness.reports.result import Result
from harness.run import attempts, documents
from harness.run.attempts import Tried
from harness.run.rundir import RunDir


def summary(runs: Path) -> tuple[str, list[str]]:
    """Markdown about every run directory below ``runs``, and about what was skipped.

    Also one line for each file that is not what the harness wrote: its run counts as an error, and hides no other.

    Raises:
        NothingSelected: There is none.
    """
    # A point that broke before its directory was whole has a verdict and no case.
    folders = sorted({path.parent for name in ("case", "result") for path in runs.glob(f"**/{name}.json")})
    results: list[Result] = []
    unjudged: dict[str, str] = {}
    broken: list[str] = []
    tried = _attempts(runs, broken)
    standing = {attempts.standing(each).folder: each for each in tried}
    superseded = attempts.superseded(tried)
    for folder in folders:
        if folder in superseded:
            continue
        try:
            result = RunDir(folder).read("result", Result)
        except UsageError as error:
            broken.append(str(error))
            unjudged[folder.name] = str(error)
        else:
            if result is None:
                unjudged[folder.name] = "No verdict: the harness was ended before it had one, or still runs."
            else:
                several = standing.get(folder, [])
                number = next((each.number for each in several if each.folder == folder), 1)
                results.append(attempts.with_attempts(result, number, several))
    for path in sorted(path for path in runs.glob("**/junit.xml") if path.parent not in folders):
        try:
            known = {(each.classname, each.started[:19]) for each in results}
            found = junit.skipped_in(documents.content(path) or b"")
            # One that was left out when its build was known has a run directory.
            results += [each for each in found if (each.classname, each.started[:19]) not in known]
        except (ValueError, UsageError) as error:
            line = str(error) if isinstance(error, UsageError) else f"{path}: {error}"
            broken.append(line)
            unjudged[str(path.relative_to(runs))] = line
    unjudged |= _never_begun(standing.keys() - set(folders), standing, results)
    if not results and not unjudged:
        raise NothingSelected(f"{runs}: no run directory there; nothing ran, or it broke before the first case")
    return markdown.render(results, unjudged), broken


def _never_begun(
    without: Collection[Path], standing: Mapping[Path, Sequence[Tried]], results: Sequence[Result]
) -> dict[str, str]:
    """Of points ``without`` a run directory those that nobody skipped: the harness was killed before their turn."""
    known = {each.classname for each in results}
    reason = "No verdict: the harness was ended before it came to it, or still runs."
    return {folder.name: reason for folder in sorted(without) if standing[folder][-1].point.classname not in known}


def _attempts(runs: Path, broken: list[str]) -> list[list[Tried]]:
    """What became of each point of folders below ``runs`` that several attempts may be in; damaged ones are said."""
    found: list[list[Tried]] = []
    # The record of a later attempt is read with that of the first.
    records = sorted(runs.glob(f"**/{attempts.SELECTION}"))
    for root in dict.fromkeys(attempts.root_of(path) or path.parent for path in records):
        try:
            found += attempts.history(root).values()
        except UsageError as error:
            broken.append(str(error))
    return found
