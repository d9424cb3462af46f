"""``compare.json``: what was started, what each start showed, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from harness.base.domain import Platform
from harness.base.errors import UsageError
from harness.run import documents
from harness.run.documents import Document

Said = Literal["worse", "not worse", "undecided", "not compared"]

NAME = "compare"
FILE = f"{NAME}.json"
_NEXT = "give another folder with --runs to begin anew"


class Finding(Document):
    """What is said of one quantity. A is the first build, B the second.

    Attributes:
        quantity: Its name, with the position where it has several.
        said: ``not worse``: by more than the margin, but for an error of ``alpha``.
        why: Of what is not compared, why not.
        first, second: Value of each build, over all its starts.
        change: B / A, or of shares B - A.
        low, high: Ends of its interval, each of which the truth is beyond no more often than ``alpha``; None where
            nobody knows.
        interval_of: What was taken as independent.
        n: How many of them.
        margin: The loss that matters, as a share, or in the unit of the value.
        detects: The least loss that is seen 95 times of 100 with noise as it was; None where nobody knows.
        rounds: About how many rounds A B B A see a loss of the margin as often; 0 where more rounds do not help.
    """

    quantity: str
    said: Said
    why: str = ""
    unit: str = ""
    higher: bool = True
    relative: bool = True
    first: float | None = None
    second: float | None = None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    interval_of: str = ""
    n: int = 0
    margin: float = 0.0
    alpha: float = 0.0
    detects: float | None = None
    rounds: int = 0

    @property
    def loss(self) -> float | None:
        """How much worse B is; below 0 where it is better."""
        return self.as_loss(self.change)

    @property
    def losses(self) -> tuple[float | None, float | None]:
        """The least and the most that it can be."""
        ends = self.as_loss(self.low), self.as_loss(self.high)
        return (ends[1], ends[0]) if self.higher else ends

    def as_loss(self, change: float | None) -> float | None:
        """A change as a loss."""
        if change is None:
            return None
        gain = change - 1 if self.relative else change
        return -gain if self.higher else gain


class Texts(Document):
    """How many texts are others. It judges nothing: two that are as good may add in another order.

    Attributes:
        compared: Items that both builds answered.
        differ: Of them, how many have other texts with B than with A.
        within: How many have several texts with one and the same build.
    """

    compared: int
    differ: int
    within: int


class StartRecord(Document):
    """One start.

    Attributes:
        build: ``A`` or ``B``.
        round: Number of its round; 0 of one that warms up, and counts for nothing.
        folder: Its run directory, below the folder of the comparison.
        speeds: By quantity.
    """

    build: Literal["A", "B"]
    round: int
    folder: str
    accuracy: float | None = None
    acceptance_length: float | None = None
    speeds: dict[str, float] = Field(default_factory=dict)


class CaseRecord(Document):
    """One case.

    Attributes:
        broken: Why it could not be judged; empty if it was.
    """

    case: str
    platform: Platform
    device: str = ""
    starts: tuple[StartRecord, ...] = ()
    findings: tuple[Finding, ...] = ()
    texts: Texts | None = None
    broken: str = ""
    seconds: float = 0.0

    @property
    def said(self) -> str:
        """The verdict on the case: what could not be judged outranks, then what is worse."""
        found = {each.said for each in self.findings}
        if self.broken or not found & {"worse", "not worse", "undecided"}:
            return "could not be judged"
        return next(each for each in ("worse", "undecided", "not worse") if each in found)


class BuildRecord(Document):
    """A build, as the person spelt it and as it calls itself."""

    spelling: str
    flags: tuple[str, ...]
    engine: str = ""


class Comparison(Document):
    """The whole.

    Attributes:
        margins: Of each quantity that is compared.
    """

    schema_version: Literal[1] = 1
    harness: str
    started: str
    rounds: int
    warm_up: bool = False
    false_alarm: float
    margins: dict[str, float] = Field(default_factory=dict)
    builds: dict[Literal["A", "B"], BuildRecord]
    cases: tuple[CaseRecord, ...] = ()
    host: dict[str, str] = Field(default_factory=dict)

    def of(self, case: str) -> CaseRecord | None:
        """What is on record of a case."""
        return next((each for each in self.cases if each.case == case), None)


def begun(folder: Path, wanted: Comparison) -> Comparison | None:
    """The comparison that was begun in a folder; None if none was.

    Raises:
        UsageError: It is another one than is wanted, or its file is damaged.
    """
    found = documents.read(folder / FILE, Comparison, _NEXT)
    if found is None:
        return None
    for name in ("rounds", "warm_up", "false_alarm", "margins"):
        if getattr(found, name) != getattr(wanted, name):
            raise UsageError(f"{folder / FILE}: a comparison with another {name.replace('_', ' ')}; {_NEXT}")
    for letter, each in found.builds.items():
        if each.spelling != wanted.builds[letter].spelling:
            raise UsageError(f"{folder / FILE}: a comparison with another build {letter}, {each.spelling}; {_NEXT}")
    return found
