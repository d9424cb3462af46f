"""``bisect.json``: what is searched, every start that was made for it, and what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from harness.base.domain import Platform
from harness.base.errors import UsageError
from harness.host import files
from harness.run import documents
from harness.run.documents import Document

NAME = "bisect"
FILE = f"{NAME}.json"
_NEXT = "give another folder with --runs to begin anew"

Said = Literal["good", "bad", "undecided", "skip"]


class Trial(Document):
    """One start.

    Attributes:
        build: Place in the list, from 0.
        said: ``undecided``: its noise hides whether anything is lost; ``skip``: it could not be judged.
        why: What turned red, or what could not be judged, in one line.
        folder: Its run directory, below the folder of the search.
        spelling: What the build is, where a command made it of its name.
        engine: As the build calls itself.
    """

    build: int
    said: Said
    why: str
    folder: str
    spelling: str = ""
    engine: str = ""


class Asked(Document):
    """What is searched: a search goes on only if all of it is the same.

    Attributes:
        builds: In order, from the good one to the bad one.
        make: Command that makes a build of its name; empty: the names are builds.
        by: ``checks``: a build is judged as ``harness run`` does; ``paired``: beside the good one.
        broken_is_bad: A build whose engine breaks is bad, and not left out.
        false_alarm: How often a good build is called bad.
        false_pass: How often a bad one is called good.
        confidence: With which the first bad one is named.
    """

    case: str
    platform: Platform
    builds: tuple[str, ...]
    make: str
    by: Literal["checks", "paired"]
    quantities: tuple[str, ...]
    margins: dict[str, float] = Field(default_factory=dict)
    broken_is_bad: bool = False
    false_alarm: float
    false_pass: float
    confidence: float


class Search(Document):
    """The whole.

    Attributes:
        first: Place of the first bad build, once it is found and confirmed.
    """

    schema_version: Literal[1] = 1
    harness: str
    asked: Asked
    trials: tuple[Trial, ...] = ()
    first: int | None = None

    def of(self, build: int) -> list[Trial]:
        """Every start of one build."""
        return [each for each in self.trials if each.build == build]


def begun(folder: Path, asked: Asked) -> Search | None:
    """The search that was begun in a folder; None if none was.

    Raises:
        UsageError: It is another one, or its file is damaged.
    """
    found = documents.read(folder / FILE, Search, _NEXT)
    if found is not None and found.asked != asked:
        ours, theirs = asked.model_dump(), found.asked.model_dump()
        other = next(name for name in ours if ours[name] != theirs[name])
        raise UsageError(f"{folder / FILE}: a search with another {other.replace('_', ' ')}; {_NEXT}")
    return found


def keep(folder: Path, search: Search) -> None:
    """Write it, so that a search that is killed goes on from here.

    Raises:
        OSError: It cannot be written.
    """
    files.write(folder / FILE, search.model_dump_json(indent=2) + "\n")
