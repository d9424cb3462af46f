"""Records of mutants: one file each, in a folder for those that belong together."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from harness.base.domain import Platform
from harness.base.errors import UsageError
from harness.host import files
from harness.power.verdicts import Status
from harness.run import documents

RECORDS = Path("docs/evidence/power")
"""Folder of the folders of records."""
_NEXT = "remove it, and the mutant is run again"
_ORDER = list(Status)


class Attempt(BaseModel):
    """What became of a mutant on one case.

    Attributes:
        case: Id of the point.
        how: ``switched``: the servers were started once for several mutants; ``whole run``: for this one alone.
        red: Names of the stages that broke and of the checks that did not hold.
        finding: The first of them, as it was said.
        misfit: Why it does not fit this engine; empty if it does.
        hits: How often its broken path was taken, at least, by server.
        confirmed: The unbroken engine was green in the same servers before it, and after it too, unless it leaves
            something behind there. A whole run has servers of its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    case: str
    how: Literal["switched", "whole run"]
    status: Status
    red: tuple[str, ...] = ()
    finding: str = ""
    misfit: str = ""
    hits: dict[str, int] = {}
    exit_code: int
    seconds: float
    confirmed: bool = False


class Record(BaseModel):
    """What became of a mutant.

    Attributes:
        attempts: On its cases, one after the other, until one of them killed it as it should.
        engine: Name and version.
        host: What it ran on.
        date: Of the last attempt.
        harness: Version of the harness.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    mutant: str
    platform: Platform
    engine: str
    host: dict[str, str]
    harness: str
    date: str
    attempts: tuple[Attempt, ...]

    @property
    def best(self) -> Attempt:
        """The attempt that says most for the cases, of those that are confirmed if any is."""
        confirmed = [each for each in self.attempts if each.confirmed]
        return min(confirmed or self.attempts, key=lambda each: _ORDER.index(each.status))

    @property
    def status(self) -> Status:
        return self.best.status

    def left(self, cases: Iterable[str]) -> list[str]:
        """Those of these points that it has yet to be run on: none once a check that it names has killed it."""
        confirmed = [each for each in self.attempts if each.confirmed]
        if any(each.status in (Status.KILLED, Status.GONE) for each in confirmed):
            return []
        done = {each.case for each in confirmed}
        return [case for case in cases if case not in done]


def path(folder: Path, mutant: str) -> Path:
    """The file of a mutant's record."""
    return folder / f"{mutant}.json"


def read(folder: Path, mutant: str) -> Record | None:
    """The record of a mutant in a folder; None if there is none.

    Raises:
        UsageError: It cannot be read.
    """
    return documents.read(path(folder, mutant), Record, _NEXT)


def write(folder: Path, record: Record) -> None:
    """Put a record in place."""
    folder.mkdir(parents=True, exist_ok=True)
    files.write(path(folder, record.mutant), record.model_dump_json(indent=1) + "\n")


def latest(root: Path) -> dict[tuple[str, str], tuple[str, Record]]:
    """The newest record of each mutant and platform below ``root``, with the name of its folder.

    One of which nothing is confirmed is none yet.

    Raises:
        UsageError: One cannot be read, or its name is another's.
    """
    found: dict[tuple[str, str], tuple[str, Record]] = {}
    for each in sorted(root.glob("*/*.json")):
        record = documents.read(each, Record, _NEXT)
        if record is None:
            continue
        if record.mutant != each.stem:
            raise UsageError(f"{each}: mutant: is {record.mutant}; call the file {record.mutant}.json")
        known = found.get((record.mutant, record.platform))
        if not any(attempt.confirmed for attempt in record.attempts):
            continue
        if known is None or known[1].date <= record.date:
            found[record.mutant, record.platform] = each.parent.name, record
    return found
