"""The words of a comparison with upstream: a figure, a point of a sweep, and what could not be read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.base.domain import Platform

LENGTH, PER_POSITION, ACCURACY = "acceptance_length", "acceptance_per_position", "accuracy"
"""The names of our checks of the same."""
RATE = "acceptance_rate"
"""Accepted tokens per drafted token; no check of ours has it."""

_BOUND = re.compile(r"expected|reference|thres|minimum|\bmin_|_min\b|floor|baseline|lower_bound", re.IGNORECASE)
_TOLERANCE = re.compile(r"(^|_)([ra]tol|tolerance)($|_)", re.IGNORECASE)
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SUFFIXES = (".py", ".sh", ".json", ".jsonl", ".yaml", ".yml", ".txt", ".md", ".toml", ".safetensors")


@dataclass(frozen=True)
class Place:
    """Where something stands: path in the checkout, line from 1, and the name of the table, class or function."""

    path: str
    line: int
    symbol: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" + (f" {self.symbol}" if self.symbol else "")


@dataclass(frozen=True)
class Setting:
    """What a figure holds for, as far as it could be read; None and empty: not read.

    Attributes:
        target: Repository of the model that answers.
        drafter: Repository of the drafter.
        method: Of speculation, as upstream calls it.
        draft_tokens: Tokens drafted per step (k).
        tensor_parallel: Tensor parallel size of a server.
        items: Prompts or questions.
        dataset: What is asked.
        platform: The only one that it is for.
    """

    target: str = ""
    drafter: str = ""
    method: str = ""
    draft_tokens: int | None = None
    tensor_parallel: int | None = None
    items: int | None = None
    dataset: str = ""
    platform: Platform | None = None


@dataclass(frozen=True)
class Figure:
    """One number of upstream's, or one a position.

    Attributes:
        place: Where it stands.
        kind: What it bounds: the name of our check, or :data:`RATE`.
        values: The number, or one a position.
        setting: What it holds for.
        tolerances: How far from it may be measured, relative or absolute: of the record and of the file, where a test
            may take either.
        source: The file that judges by it, where the number stands somewhere else.
    """

    place: Place
    kind: str
    values: tuple[float, ...]
    setting: Setting = Setting()
    tolerances: tuple[float, ...] = ()
    source: str = ""

    @property
    def file(self) -> str:
        """The file that judges by it."""
        return self.source or self.place.path


@dataclass(frozen=True)
class Point:
    """One run of a sweep.

    Attributes:
        place: Where it stands.
        variables: What the sweep sets.
        defaults: What the script that it runs takes for what is not set.
    """

    place: Place
    variables: Mapping[str, str]
    defaults: Mapping[str, str]

    def get(self, *names: str) -> str:
        """The value of the first of these that is set, else of the first that has a default; empty for none."""
        for values in (self.variables, self.defaults):
            for name in names:
                if values.get(name):
                    return values[name]
        return ""


@dataclass(frozen=True)
class Registered:
    """A test file that upstream's CI runs.

    Attributes:
        place: Of the registration.
        platform: As upstream calls it: cuda, amd, cpu, ...
        where: Suite or stage, and runner.
        disabled: Why it does not run; empty if it does.
    """

    place: Place
    platform: str
    where: str
    disabled: str = ""


@dataclass(frozen=True)
class Unread:
    """Something that looks like a figure, a point or a table, and could not be read."""

    place: Place
    why: str


@dataclass
class Found:
    """All that was read, in the order of the files."""

    figures: list[Figure] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    registered: list[Registered] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)

    def add(self, other: Found) -> None:
        """Take over what another file holds."""
        self.figures += other.figures
        self.points += other.points
        self.registered += other.registered
        self.unread += other.unread


def is_repository(value: object) -> bool:
    """Whether a text could be a repository of the model hub: ``organisation/name``, and no path of a file."""
    return isinstance(value, str) and bool(_REPOSITORY.fullmatch(value)) and not value.endswith(_SUFFIXES)


def is_tolerance(name: str) -> bool:
    """Whether a name is one of a tolerance."""
    return bool(_TOLERANCE.search(name)) and "regression" not in name.lower()


def kind_of_bound(name: str) -> str:
    """What a setting of this name bounds; empty if it is no bound, or of something else."""
    return measured_kind(name) if _BOUND.search(name) else ""


def measured_kind(text: str) -> str:
    """What an expression with this text measures; empty if it is none of our kinds."""
    lower = text.lower()
    if re.search(r"accept\w*_?rate|rate\w*accept", lower) or "accept_rate" in lower:
        return RATE
    if "accept" in lower and re.search(r"per_?pos", lower):
        return PER_POSITION
    if re.search(r"accept\w*len|acc_len|spec_accept|accept\w*thres|(avg|mean)_accept", lower):
        return LENGTH
    if re.search(r"accuracy|score|(^|\W|_)acc($|\W|_)|gsm8k", lower):
        return ACCURACY
    return ""


def platform_of(name: str) -> Platform | None:
    """The platform that a name says it is for."""
    return "rocm" if re.search(r"(^|_|\W)(rocm|amd|hip)(_|\W|$)", name.lower()) else None
