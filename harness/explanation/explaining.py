"""``harness explain``: of a run directory, a folder of such, or a JUnit file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.base.errors import NothingSelected, UsageError
from harness.explanation import explanation_page
from harness.explanation.red_rows import RedPoint, Row, of_junit, of_result, one_causes, without_verdict
from harness.reports.result import Result
from harness.run import attempts, documents
from harness.run.rundir import RunDir


def explain(path: Path) -> str:
    """Why it is red, in text of 80 columns.

    Args:
        path: A run directory, a folder with such at any depth, or a JUnit file; beside run directories that have the
            verdicts of its points, it is explained from those.

    Raises:
        UsageError: Nothing is there, or it cannot be read.
        NothingSelected: There is no run in it.
    """
    if path.is_file():
        return _of_report(path)
    if not path.is_dir():
        raise UsageError(f"{path}: nothing there; give a run directory, a folder of such, or a JUnit file")
    if _is_run(path):
        return _of_run(path)
    folders = _standing(sorted({each.parent for name in ("case", "result") for each in path.glob(f"**/{name}.json")}))
    if not folders:
        raise NothingSelected(f"{path}: no run directory there; give one, a folder of such, or a JUnit file")
    return _of_many(folders, path)


def _is_run(folder: Path) -> bool:
    return any((folder / f"{name}.json").is_file() for name in ("case", "result"))


def _of_report(path: Path) -> str:
    content = documents.content(path) or b""
    red, points = of_junit(path, content)
    beside = {each.parent for each in path.parent.glob("*/result.json")} if path.name == "junit.xml" else set()
    if _is_run(path.parent):
        return _of_run(path.parent)
    if len(beside) >= points > 0:
        return _of_many(_standing(sorted(beside)), path)
    if points == 1 and red:
        return explanation_page.of_one(red[0], None)
    return explanation_page.of_many(one_causes(red), points, path, ())


def _of_run(folder: Path) -> str:
    point, result = _read(folder)
    if point is None:
        outcome = result.outcome if result else "nothing"
        return f"{folder}: {outcome}; nothing is red\n"
    return explanation_page.of_one(point, result)


def _of_many(folders: Iterable[Path], where: Path) -> str:
    red, unread, count = [], [], 0
    for folder in folders:
        count += 1
        try:
            point, _ = _read(folder)
        except UsageError as error:
            unread.append(str(error))
        else:
            red += [point] if point else []
    return explanation_page.of_many(one_causes(red), count, where, unread)


def _read(folder: Path) -> tuple[RedPoint | None, Result | None]:
    """The red rows of a run directory, and its verdict.

    Raises:
        UsageError: A document is damaged.
    """
    rundir = RunDir(folder)
    result = rundir.read("result", Result)
    if result is not None:
        return of_result(result, folder), result
    prepared = rundir.prepared()
    rows = [Row(each.stage, each.outcome, each.message, each.details, each.fault) for each in rundir.stages()]
    return without_verdict(folder, f"{prepared.suite}/{prepared.name}", prepared.platform, rows), None


def _standing(folders: Iterable[Path]) -> list[Path]:
    """Without those that a later attempt at the same point stands for."""
    found = list(folders)
    roots = {root for folder in found if (root := attempts.root_of(folder))}
    superseded = attempts.superseded(tried for root in roots for tried in attempts.history(root).values())
    return [folder for folder in found if folder not in superseded]
