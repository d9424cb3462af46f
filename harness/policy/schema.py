"""What every part of a case file is built from: strict models and the baseline."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Strict(BaseModel):
    """A frozen table of a case file in which an unknown key or a loosely typed value is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


Direction = Literal["two-sided", "at-least"]
Origin = Annotated[str, Field(min_length=10, description="Where the expected value came from.")]


class Tolerance(Strict):
    """How far a measured value may be from the expected one. Exactly one of the two, so that nobody has to guess."""

    relative_tolerance: float | None = Field(None, ge=0, lt=1, description="As a share of the expected value.")
    absolute_tolerance: float | None = Field(None, ge=0, description="In the unit of the value itself.")

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


class Past(Strict):
    """A value that was expected elsewhere or earlier; never judged."""

    expected: float
    origin: Origin


class Baseline(Tolerance):
    """An expected value, how far from it is too far, and where it came from."""

    expected: float
    direction: Direction
    n: int = Field(ge=1, description="Observations behind the expected value.")
    origin: Origin
    history: list[Past] = Field([], description="Other values it has had, and where they came from.")
