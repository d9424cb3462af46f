"""What every part of a case file is built from: strict models and the baseline."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema


class Strict(BaseModel):
    """A frozen table of a case file in which an unknown key, a loosely typed value or no finite number is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Like:
    """A text that matches ``pattern``, or is told in words what it should look like."""

    pattern: str
    words: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "pattern": f"^(?:{self.pattern})$"}

    def _check(self, value: Any) -> Any:
        if isinstance(value, str) and not re.fullmatch(self.pattern, value):
            raise ValueError(f"must be like {self.words}, not {cut(repr(value))}")
        return value


def cut(given: str, most: int = 80) -> str:
    """``given``, or its beginning."""
    return given if len(given) <= most else f"{given[: most - 1]}…"


Name = Annotated[
    str,
    Like(
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
        "a name: at most 64 letters, digits, '.', '_' and '-', the first a letter or a digit",
    ),
]
"""Of what becomes part of a path, of an id or of a file's name."""

Variable = Annotated[str, Like(r"[A-Za-z_][A-Za-z0-9_]{0,127}", "the name of an environment variable: OMP_NUM_THREADS")]
Flag = Annotated[
    str, Like(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", "the name of a flag, without the dashes before it: max-model-len")
]
Seconds = Annotated[float, Field(gt=0, le=7 * 24 * 3600)]
"""A time to wait; nothing is waited for longer than a week."""
Number = Annotated[float, Field(ge=-1e12, le=1e12)]
"""A value that something is compared with."""


_PLAIN = (bool, int, float, str)


def _writable(value: Any) -> Any:
    """A value that has a form on a command line."""
    if isinstance(value, dict):
        unwritable = not _is_json(value)
    elif isinstance(value, list):
        unwritable = not value or not all(isinstance(each, _PLAIN) for each in value)
    else:
        unwritable = not isinstance(value, _PLAIN)
    if unwritable:
        raise ValueError("must be true, false, a number, a text, a list of numbers and texts, or a table")
    return value


def _is_json(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(map(_is_json, value.values() if isinstance(value, dict) else value))
    return isinstance(value, _PLAIN)


FlagValue = Annotated[bool | int | float | str | list[Any] | dict[str, Any], BeforeValidator(_writable)]
"""Of a flag, typed; the engine's module makes text of it."""


Direction = Annotated[
    Literal["two-sided", "at-least"],
    Field(description="two-sided: no further from it than the tolerance; at-least: no further below it."),
]
Origin = Annotated[str, Field(min_length=10, description="Where the expected value came from.")]


class Tolerance(Strict):
    """How far a measured value may be from the expected one. Exactly one of the two, so that nobody has to guess."""

    relative_tolerance: float | None = Field(None, ge=0, lt=1, description="As a share of the expected value.")
    absolute_tolerance: float | None = Field(None, ge=0, le=1e12, description="In the unit of the value itself.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.relative_tolerance is None) == (self.absolute_tolerance is None):
            raise ValueError("give either relative_tolerance or absolute_tolerance")
        return self

    def width(self, expected: float) -> float:
        """Distance from ``expected`` to the bound."""
        if self.absolute_tolerance is not None:
            return self.absolute_tolerance
        return abs(expected) * (self.relative_tolerance or 0.0)


Date = Annotated[str, Like(r"20[0-9]{2}-[01][0-9]-[0-3][0-9]", "a date: 2026-11-28")]
Digest = Annotated[str, Like(r"[0-9a-f]{64}", "a SHA-256 of 64 digits")]
Numbers = Number | list[Number]
"""One value, or one a position."""


def listed(numbers: Numbers) -> list[Number]:
    """The same as a list."""
    return numbers if isinstance(numbers, list) else [numbers]


FalseAlarm = Annotated[float, Field(gt=0, lt=0.5, description="How often an equal run is red, at most.")]


class Past(Strict):
    """Another figure for the same value: an older or a later one. It judges nothing; to use it, move it up."""

    expected: Numbers = Field(description="The other figure.")
    origin: Origin
    relative_tolerance: float | None = Field(None, ge=0, lt=1, description="What was allowed, as a share of it.")
    absolute_tolerance: float | None = Field(None, ge=0, le=1e12, description="What was allowed, in its unit.")
    until: Date | None = Field(None, description="Day on which another one took its place.")
    reason: str = Field("", max_length=500, description="Why.")


class EarlyLook(Strict):
    """What equal runs had measured at one of the looks of ``evaluation.looks``."""

    items: int = Field(ge=1, le=100_000, description="Items that had been asked by then, from the first one on.")
    n: int = Field(ge=1, le=10**15, description="Observations by then: items or drafts.")
    expected: Numbers = Field(description="Mean of the runs; one a position, where the baseline has one a position.")
    noise: Numbers = Field(description="Standard deviation from run to run, in the unit of the value.")


class Passport(Strict):
    """``[checks.NAME.passport]``: what a baseline was measured on. ``harness calibrate`` writes it."""

    runs: int = Field(ge=1, le=10_000, description="Equal runs behind the expected value, each on a start of its own.")
    repeats: int = Field(1, ge=1, le=1000, description="How often each of them was asked, on the same servers.")
    noise: Numbers = Field(description="Standard deviation from run to run, in the unit of the value.")
    within: Numbers | None = Field(None, description="What of it is there between runs of one start.")
    low: Numbers = Field(description="Lower end of the 95 % interval of the expected value.")
    high: Numbers = Field(description="Upper end.")
    false_alarm: FalseAlarm
    margin: float | None = Field(
        None, gt=0, lt=1, description="Loss that must not pass, as a share; left out: the bound follows from the noise."
    )
    power: float = Field(0.95, gt=0.5, lt=1, description="How often a loss of the margin does not pass, at least.")
    looks: list[EarlyLook] = Field([], description="The same at the looks before the last one, if there are any.")
    reason: str = Field("", max_length=500, description="Why the bound is wider than noise and margin ask for.")
    engine: str = Field(min_length=3, max_length=200, description="Engine and version, as the build says it.")
    image: str = Field("", max_length=300, description="Image with its digest; empty where none was run.")
    device: str = Field(min_length=2, max_length=200, description="Kind of device.")
    protocol: str = Field(min_length=2, max_length=64, description="What was asked: the id of the protocol.")
    prompts: Digest = Field(description="SHA-256 of everything that was asked, in order.")
    concurrency: int = Field(ge=1, le=10_000, description="Requests in flight at once.")
    date: Date = Field(description="Day on which it was measured.")
    expires: Date = Field(description="Day after which it must be measured again.")
    run: str = Field(min_length=2, max_length=200, description="Id of the first of the runs.")


Status = Annotated[
    Literal["gating", "floor", "borrowed", "provisional"],
    Field(
        description="gating: judged. borrowed: somebody else's figure, judged by their rule until one of ours is "
        "there. floor: judged, and shows only that something works at all. provisional: measured and shown, never "
        "judged."
    ),
]


class Expectation(Tolerance):
    """What is known of an expected value: how far from it is too far, where it came from, what it was before."""

    direction: Direction
    n: int = Field(ge=1, le=10**15, description="Observations behind the expected value.")
    origin: Origin
    status: Status = "gating"
    passport: Passport | None = Field(None, description="What it was measured on, where it was measured here.")
    history: list[Past] = Field([], description="Other figures there were or are for it, each with where it came from.")


class Baseline(Expectation):
    """An expected value, how far from it is too far, and where it came from."""

    expected: Number = Field(description="What should be measured.")
