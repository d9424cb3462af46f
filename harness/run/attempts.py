"""Attempts: what became of each point in a folder that later runs went on in, and which verdict counts.

The first attempt has its run directories in the folder itself, each later one in ``attempt-N`` in it. Nothing of an
earlier attempt is written over but ``junit.xml`` of the folder, which has every point once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal, NamedTuple

from harness.base.domain import Platform
from harness.base.errors import Interrupted, UsageError
from harness.reports.result import Result
from harness.run import documents
from harness.run.documents import Document

SELECTION = "selection.json"
AGAIN = "attempt-{}"


class Key(NamedTuple):
    """What is one point, whatever the attempt."""

    suite: str
    name: str
    platform: Platform

    @property
    def classname(self) -> str:
        """As that of its results."""
        return f"{self.suite}.{self.platform}.{self.name}"


class Point(Document):
    """A point that was to be run.

    Attributes:
        folder: Name of its run directory.
        case: SHA-256 of its case, resolved.
    """

    suite: str
    name: str
    platform: Platform
    folder: str
    case: str

    @property
    def key(self) -> Key:
        return Key(self.suite, self.name, self.platform)


class Selection(Document):
    """``selection.json``: what an attempt was to run, and what was asked for in words of the command line.

    Attributes:
        asked: Options that were not as they are by default, by the name of the parameter.
        points: In order.
    """

    schema_version: Literal[1] = 1
    asked: dict[str, Any]
    points: list[Point]


@dataclass(frozen=True)
class Tried:
    """What became of a point in one attempt.

    Attributes:
        number: Of the attempt, from 1.
        point: Which one.
        folder: The run directory, which is there if the attempt came to the point.
        case: As of :class:`Point`.
        result: None if there is none.
    """

    number: int
    point: Key
    folder: Path
    case: str
    result: Result | None

    @property
    def is_verdict(self) -> bool:
        """Whether it counts: what a signal ended was not judged."""
        return self.result is not None and self.result.exit_code != Interrupted.exit_code

    def __str__(self) -> str:
        if self.result is None:
            return "no verdict"
        return str(self.result.outcome) if self.is_verdict else "interrupted"


def asked(folder: Path) -> dict[str, Any]:
    """What the first attempt in a folder was asked.

    Raises:
        UsageError: It is no folder of a run, or its record is damaged.
    """
    return _selection(folder).asked


def history(folder: Path) -> dict[Key, list[Tried]]:
    """What became of every point in every attempt, in order.

    Raises:
        UsageError: It is no folder of a run, or its record is damaged.
    """
    found: dict[Key, list[Tried]] = {}
    for number, place, selection in _attempts(folder):
        for point in selection.points:
            found.setdefault(point.key, []).append(_tried(number, place, point))
    return found


def verdict(tried: Sequence[Tried]) -> Tried | None:
    """The one that counts: the latest that is a verdict."""
    return next((each for each in reversed(tried) if each.is_verdict), None)


def standing(tried: Sequence[Tried]) -> Tried:
    """The one that stands for its point: that which counts, else the latest."""
    return verdict(tried) or tried[-1]


def superseded(points: Iterable[Sequence[Tried]]) -> set[Path]:
    """Run directories that another attempt at the same point stands for."""
    return {each.folder for tried in points for each in tried if each is not standing(tried)}


def root_of(path: Path) -> Path | None:
    """The folder of whose attempts one holds ``path``, a run directory or a record; None if it belongs to none."""
    place = path.parent
    if place.match(AGAIN.format("*")) and (place.parent / SELECTION).is_file():
        return place.parent
    return place if (place / SELECTION).is_file() else None


def with_attempts(result: Result, number: int, tried: Iterable[Tried]) -> Result:
    """A result that says which attempt it is of, and what became of the others; as it is where there was but one."""
    others = {f"attempt.{each.number}": str(each) for each in tried if each.number != number}
    if not others:
        return result
    provenance = {**result.provenance, "attempt": str(number), **others}
    return result.model_copy(update={"provenance": dict(sorted(provenance.items()))})


def _attempts(folder: Path) -> Iterator[tuple[int, Path, Selection]]:
    """Number, folder and selection of each attempt."""
    yield 1, folder, _selection(folder)
    for number in count(2):
        place = folder / AGAIN.format(number)
        if not place.is_dir():
            return
        if (place / SELECTION).is_file():  # else it was killed before it began
            yield number, place, _selection(place)


def _selection(folder: Path) -> Selection:
    found = documents.read(folder / SELECTION, Selection)
    if found is None:
        raise UsageError(f"{folder}: no folder of a run ({SELECTION} is not there); name the one of `harness run`")
    return found


def _tried(number: int, place: Path, point: Point) -> Tried:
    """A verdict that cannot be read is none: the point is run again, and the file stays."""
    folder = place / point.folder
    try:
        result = documents.read(folder / "result.json", Result)
    except UsageError:
        result = None
    return Tried(number, point.key, folder, point.case, result)
