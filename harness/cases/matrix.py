"""``[matrix]``: one case file, many cases.

An axis is a table of named overlays, which are laid over the case; the matrix is the product of its axes. ``[[when]]``
changes what only some combinations need, ``[[exclude]]`` leaves some out; both say why.
"""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, Self

from pydantic import Field, model_validator

from harness.base.settings import Name, Strict
from harness.cases.engine_versions import EngineCondition, taken

MOST_POINTS = 1000
"""Points of one case. Each is resolved and checked whenever cases are read, which takes milliseconds, and has a run
directory of its own; a thousand of them at a few minutes each are days on one host."""
Variant = tuple[tuple[str, str], ...]
"""Axis and label, one pair an axis: one point of the matrix."""


def label(variant: Variant) -> str:
    """``[tp=2,backend=X]``, as it ends the id of a case; empty without a matrix."""
    return f"[{','.join(f'{axis}={value}' for axis, value in variant)}]" if variant else ""


class _Rule(Strict):
    match: dict[str, str | list[str]] = Field({}, description="Axis and label, or several labels.")
    engine: EngineCondition | None = Field(None, description="Which versions of the engine it is for; all by default.")
    reason: str = Field(min_length=10, description="Why.")

    @model_validator(mode="after")
    def _says_when(self) -> Self:
        if not self.match and not self.engine:
            raise ValueError("says neither match nor engine.version; add one, or put it into the case itself")
        return self

    def matches(self, variant: Variant) -> bool:
        """Whether the rule is about this point of the matrix."""
        point = dict(variant)
        return all(point.get(axis) in _labels(wanted) for axis, wanted in self.match.items())

    def for_version(self, version: str | None) -> bool:
        """Whether it is for this version of the engine; where nobody knows it, only if it is for all."""
        return self.engine is None or (version is not None and self.engine.holds(taken(version)))

    def reaches(self, variant: Variant, version: str | None) -> bool:
        """Both."""
        return self.matches(variant) and self.for_version(version)


class When(_Rule):
    """``[[when]]``: what else changes where the axes match."""

    set: dict[str, Any] = Field(min_length=1, description="Laid over the case, like an axis.")


class Exclude(_Rule):
    """``[[exclude]]``: combinations that do not run."""

    since: date = Field(description="Since when: a skip that nobody looks at again is a hole.")


class Matrix(Strict):
    """The keys of a case file that make it many."""

    matrix: dict[Name, dict[Name, dict[str, Any]]] = Field({}, description="Axes: label and what it changes.")
    when: list[When] = Field([], description="What only some combinations need.")
    exclude: list[Exclude] = Field([], description="Combinations left out.")

    @property
    def rules(self) -> list[When | Exclude]:
        """Of both kinds."""
        return [*self.when, *self.exclude]

    @property
    def depends_on_version(self) -> bool:
        """Whether a rule is for some versions of the engine only."""
        return any(rule.engine for rule in self.rules)

    def on(self, version: str | None) -> Matrix:
        """The same, without the rules that are for other versions of the engine."""
        when = [rule for rule in self.when if rule.for_version(version)]
        return self.model_copy(
            update={"when": when, "exclude": [rule for rule in self.exclude if rule.for_version(version)]}
        )

    def variants(self) -> Iterator[Variant]:
        """Every point of the matrix, the excluded ones too; one empty point without axes."""
        axes = [[(axis, name) for name in labels] for axis, labels in self.matrix.items()]
        return itertools.product(*axes)

    def excluded(self, variant: Variant) -> str:
        """Why the point does not run; empty if it does."""
        return next((f"{rule.reason} (since {rule.since})" for rule in self.exclude if rule.matches(variant)), "")

    def overlays(self, variant: Variant) -> Iterator[Mapping[str, Any]]:
        """What the point lays over the case, in order."""
        for axis, name in variant:
            yield self.matrix[axis][name]
        for rule in self.when:
            if rule.matches(variant):
                yield rule.set

    def problem(self) -> str:
        """What is wrong with the axes and the rules, as ``key: what``; empty if nothing is."""
        empty = next((axis for axis, labels in self.matrix.items() if not labels), "")
        if empty:
            return f"matrix.{empty}: an axis without labels leaves no point; add one, or leave the axis out"
        points = math.prod(map(len, self.matrix.values()))
        if points > MOST_POINTS:
            return f"matrix: {points} points, {MOST_POINTS} at most a case; drop labels, or make several cases of it"
        for key, rules in (("when", self.when), ("exclude", self.exclude)):
            for index, rule in enumerate(rules):
                for axis, wanted in rule.match.items():
                    where = f"{key}[{index}].match.{axis}"
                    if axis not in self.matrix:
                        return f"{where}: no such axis; {_near(axis, self.matrix)}"
                    for name in _labels(wanted):
                        if name not in self.matrix[axis]:
                            return f"{where}: no label {name!r} on this axis; {_near(name, self.matrix[axis])}"
        return ""


def _labels(wanted: str | list[str]) -> list[str]:
    return [wanted] if isinstance(wanted, str) else wanted


def _near(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known) or 'none'}"
